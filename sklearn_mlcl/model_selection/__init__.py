"""Stratified splitting and cross-validated scores for label matrices, missing labels included."""

from sklearn_mlcl.model_selection._held_out import cross_val_predict
from sklearn_mlcl.model_selection._splitters import (
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)

__all__ = ["MultilabelStratifiedKFold", "MultilabelStratifiedShuffleSplit", "cross_val_predict"]
