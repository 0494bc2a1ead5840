"""Multi-label neural collapse: its geometry, its metrics, and decoding by nearest prototypes."""

from sklearn_mlcl.collapse._decision import (
    choose_decision,
    threshold_decision,
    topk_decision,
    tune_onn_prior,
    tune_topk,
)
from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.collapse._decoder_fit import VARIANTS, fit_onn_decoder
from sklearn_mlcl.collapse._etf import (
    etf_deviation,
    etf_deviation_floor,
    phi_matrix,
    simplex_etf,
)
from sklearn_mlcl.collapse._marginals import observed_marginals, subset_marginals
from sklearn_mlcl.collapse._metrics import CollapseReport, neural_collapse_metrics
from sklearn_mlcl.collapse._onn import ONNClassifier
from sklearn_mlcl.collapse._search import (
    nearest_cosine,
    nearest_equinorm,
    nearest_prototype,
    nearest_tags,
)
from sklearn_mlcl.collapse._tags import TagPrototypes, fit_tag_prototypes
from sklearn_mlcl.collapse._ufm import UFMScaling, ufm_scaling

__all__ = [
    "VARIANTS",
    "CollapseReport",
    "ONNClassifier",
    "ONNDecoder",
    "TagPrototypes",
    "UFMScaling",
    "choose_decision",
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
    "threshold_decision",
    "topk_decision",
    "tune_onn_prior",
    "tune_topk",
    "ufm_scaling",
]
