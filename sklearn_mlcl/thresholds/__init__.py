"""Decision thresholds for label matrices, searched on the scores of held-out rows."""

from sklearn_mlcl.thresholds._engine import OBJECTIVES, threshold_score, tune_thresholds

__all__ = ["OBJECTIVES", "threshold_score", "tune_thresholds"]
