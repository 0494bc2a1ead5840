"""Estimators that choose again, after a fit, what depends on some of their parameters."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, ClassVar

from sklearn.pipeline import Pipeline

from sklearn_mlcl.utils._sklearn_compat import CheckedParameters


class KeepsChoices(CheckedParameters):
    """Mixin of estimators of which some parameters can change without a fit.

    A fit that ``_keeps_evidence`` stores what it chooses from as ``_evidence``. Clones keep
    evidence too: a search clones its estimator before it fits.
    """

    #: Names of the parameters that need no fit, as ``set_params`` takes them.
    _without_fit: ClassVar[set[str]] = set()
    _keeps_evidence: bool = False

    @abstractmethod
    def _choose_again(self) -> None:
        """Fit what depends on those parameters to their present values, as a fit would."""

    def __sklearn_clone__(self) -> Any:
        copied = super().__sklearn_clone__()
        if self._keeps_evidence:
            copied._keeps_evidence = True
        return copied


def last_step(estimator: Any) -> tuple[Any, str]:
    """Return the last estimator of a pipeline, and the prefix of its parameters; else itself."""
    prefix = ""
    while isinstance(estimator, Pipeline) and estimator.steps:
        name, estimator = estimator.steps[-1]
        prefix += f"{name}__"
    return estimator, prefix


def keep_evidence(estimator: Any, keeps: bool) -> Any:
    """Let fits of an estimator keep what they choose from, or drop it; return the estimator."""
    last, _ = last_step(estimator)
    for name in ("_keeps_evidence", "_evidence"):
        vars(last).pop(name, None)
    if keeps:
        last._keeps_evidence = True
    return estimator


def with_parameters(estimator: Any, parameters: dict[str, Any]) -> Any:
    """Return a fitted estimator as a fit with other parameters would have left it.

    Parameters
    ----------
    estimator : estimator
        Its fit kept the evidence. It stays as it is, and shares what does not change.
    parameters : dict
        Values by name, of parameters that need no fit.
    """
    changed = _copied(estimator).set_params(**parameters)
    last_step(changed)[0]._choose_again()
    return changed


def _copied(estimator: Any) -> Any:
    """Return a copy down to the last step, with the same fitted attributes."""
    copied = copy.copy(estimator)
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        copied.steps = [*estimator.steps[:-1], (name, _copied(last))]
    return copied
