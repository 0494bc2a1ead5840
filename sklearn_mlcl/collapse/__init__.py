"""Multi-label neural collapse: its geometry, its metrics, and decoding by nearest prototypes."""

from typing import Any

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.collapse._decoder_fit import VARIANTS, fit_onn_decoder
from sklearn_mlcl.collapse._etf import etf_deviation, phi_matrix
from sklearn_mlcl.collapse._metrics import CollapseReport, neural_collapse_metrics
from sklearn_mlcl.collapse._search import (
    nearest_cosine,
    nearest_equinorm,
    nearest_prototype,
    nearest_tags,
    observed_marginals,
    subset_marginals,
)
from sklearn_mlcl.collapse._tags import TagPrototypes, fit_tag_prototypes
from sklearn_mlcl.collapse._ufm import UFMScaling, ufm_scaling
from sklearn_mlcl.utils.simplex import simplex_etf

#: An estimator, which stands on a later folder: the package puts it here once it has it.
NearestLabelSetClassifier: Any

__all__ = [
    "VARIANTS",
    "CollapseReport",
    "NearestLabelSetClassifier",
    "ONNDecoder",
    "TagPrototypes",
    "UFMScaling",
    "etf_deviation",
    "fit_onn_decoder",
    "fit_tag_prototypes",
    "nearest_cosine",
    "nearest_equinorm",
    "nearest_prototype",
    "nearest_tags",
    "neural_collapse_metrics",
    "observed_marginals",
    "phi_matrix",
    "simplex_etf",
    "subset_marginals",
    "ufm_scaling",
]
