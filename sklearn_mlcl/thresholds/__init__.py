"""Thresholds and decision rules: from scores to label sets."""

from sklearn_mlcl.thresholds._decisions import choose_decision, threshold_decision, tune_topk
from sklearn_mlcl.thresholds._engine import OBJECTIVES, threshold_score, tune_thresholds
from sklearn_mlcl.utils.topk import topk_decision

__all__ = [
    "OBJECTIVES",
    "choose_decision",
    "threshold_decision",
    "threshold_score",
    "topk_decision",
    "tune_thresholds",
    "tune_topk",
]
