"""Multi-label neural collapse: its geometry, its metrics, and decoding by nearest prototypes."""

from importlib import import_module
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


def __getattr__(name: str) -> Any:
    """Import the estimator, which stands above this folder, when it is asked for (PEP 562)."""
    if name != "NearestLabelSetClassifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sklearn_mlcl.estimators.nearest_label_set"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
