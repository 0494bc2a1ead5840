"""Multi-label neural collapse: its geometry, its metrics, and decoding by nearest prototypes."""

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.collapse._decoder_fit import VARIANTS, fit_onn_decoder
from sklearn_mlcl.collapse._etf import etf_deviation, etf_deviation_floor, phi_matrix
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

__all__ = [
    "VARIANTS",
    "CollapseReport",
    "ONNDecoder",
    "TagPrototypes",
    "UFMScaling",
    "etf_deviation",
    "etf_deviation_floor",
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
