"""Metrics for label matrices: sample weights, NaN targets and CSR targets in every one."""

from sklearn_mlcl.metrics._decisions import (
    f1_macro,
    f1_micro,
    f1_samples,
    hamming_accuracy,
    jaccard_samples,
    subset_accuracy,
)
from sklearn_mlcl.metrics._probabilities import (
    average_precision,
    brier_score,
    multilabel_log_loss,
    reliability_curve,
    roc_auc,
)
from sklearn_mlcl.metrics._ranking import (
    coverage,
    label_propensities,
    ndcg_at_k,
    precision_at_k,
    propensity_scored_precision_at_k,
)
from sklearn_mlcl.metrics._scorers import (
    SCORERS,
    MultiLabelScorer,
    get_scorer,
    get_scorer_names,
)

__all__ = [
    "SCORERS",
    "MultiLabelScorer",
    "average_precision",
    "brier_score",
    "coverage",
    "f1_macro",
    "f1_micro",
    "f1_samples",
    "get_scorer",
    "get_scorer_names",
    "hamming_accuracy",
    "jaccard_samples",
    "label_propensities",
    "multilabel_log_loss",
    "ndcg_at_k",
    "precision_at_k",
    "propensity_scored_precision_at_k",
    "reliability_curve",
    "roc_auc",
    "subset_accuracy",
]
