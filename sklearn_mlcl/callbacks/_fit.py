"""Callbacks of the net: early stopping, scikit-learn's protocol, the epoch log."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from skorch.callbacks import Callback
from skorch.history import History

from sklearn_mlcl.utils._sklearn_compat import begin_fit_task


class EarlyStopping(Callback):
    """Stop when the validation loss has not improved, and put the best weights back.

    Unlike skorch's own, it keeps the weights of the criterion too: heads and prototypes live
    there.

    Parameters
    ----------
    n_iter_no_change : int
        Epochs without an improvement after which training stops.
    tol : float
        Smallest decrease of the loss that counts as an improvement.
    """

    def __init__(self, n_iter_no_change: int = 10, tol: float = 1e-4) -> None:
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.best_loss_ = np.inf
        self.best_epoch_ = 0
        self.misses_ = 0

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        loss = net.history[-1, "valid_loss"]
        if loss < self.best_loss_ - self.tol:
            self.best_loss_, self.best_epoch_, self.misses_ = loss, len(net.history), 0
            modules = net.module_, net.criterion_
            self._best_states = [copy.deepcopy(module.state_dict()) for module in modules]
            return
        self.misses_ += 1
        if self.misses_ >= self.n_iter_no_change:
            raise KeyboardInterrupt

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        if self.best_epoch_:
            net.module_.load_state_dict(self._best_states[0])
            net.criterion_.load_state_dict(self._best_states[1])
            del self._best_states


class FitTaskCallback(Callback):
    """Report each epoch to scikit-learn's callbacks (1.9) and stop when one asks for it.

    Parameters
    ----------
    estimator : estimator
        The estimator whose ``fit`` is running.
    context : sklearn.callback.CallbackContext
        The root context of that ``fit``.
    given : dict
        What ``fit`` was given: ``X``, ``y`` and ``metadata``, the keyword arguments of a scorer.

    Attributes
    ----------
    fitted_attributes : callable
        Returns the attributes of a fit that stops here; called only if somebody asks for them.
    """

    fitted_attributes: Callable[[], dict[str, Any]]

    def __init__(self, estimator: Any, context: Any, given: dict[str, Any]) -> None:
        self.estimator = estimator
        self.context = context
        self.given = given

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self._epoch = self.context.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(estimator=self.estimator, **self.given)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if self._epoch.call_on_fit_task_end(
            estimator=self.estimator,
            **self.given,
            reconstruction_attributes=self.fitted_attributes,
        ):
            raise KeyboardInterrupt


@contextmanager
def fit_listener(
    estimator: Any, n_epochs: int, given: dict[str, Any]
) -> Iterator[FitTaskCallback | None]:
    """Open and close the task of a fit for scikit-learn's callbacks; None before version 1.9."""
    context = begin_fit_task(estimator, n_epochs, given)
    if context is None:
        yield None
        return
    yield FitTaskCallback(estimator, context, given)
    context.call_on_fit_task_end(estimator=estimator, **given, reconstruction_attributes={})


def epoch_log(history: History) -> dict[str, np.ndarray]:
    """Return what was recorded for every epoch, one array of shape (n_epochs,) a name."""
    # An epoch that a callback broke off lacks some: take the names of all epochs.
    names = dict.fromkeys(name for row in history for name in row if name != "batches")
    return {name: np.array([row.get(name, np.nan) for row in history]) for name in names}
