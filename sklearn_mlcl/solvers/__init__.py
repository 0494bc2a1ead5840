"""Batched solvers: logistic regressions for all labels at once."""

from sklearn_mlcl.solvers.logistic import LogisticSolution, fit_logistic, fit_logistic_path
from sklearn_mlcl.solvers.select import SelectedC, select_C

__all__ = ["LogisticSolution", "SelectedC", "fit_logistic", "fit_logistic_path", "select_C"]
