"""Splits, cross-validated scores, a vote and a leaderboard for label matrices."""

from typing import Any

from sklearn_mlcl.model_selection._held_out import cross_val_predict
from sklearn_mlcl.model_selection._posthoc import PosthocSearchCV
from sklearn_mlcl.model_selection._splitters import (
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)

#: They need folders that stand later: the package puts them here once it has them.
MultiLabelVotingClassifierCV: Any
compare: Any

__all__ = [
    "MultiLabelVotingClassifierCV",
    "MultilabelStratifiedKFold",
    "MultilabelStratifiedShuffleSplit",
    "PosthocSearchCV",
    "compare",
    "cross_val_predict",
]
