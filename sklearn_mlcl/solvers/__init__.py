"""Batched solvers: logistic regressions for all labels at once."""

from .logistic import LogisticSolution, fit_logistic, fit_logistic_path
from .select import SelectedC, select_C

__all__ = ["LogisticSolution", "SelectedC", "fit_logistic", "fit_logistic_path", "select_C"]
