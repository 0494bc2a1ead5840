"""Callbacks of the net: choice of the epochs, scikit-learn's protocol, the log, their states."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from skorch.callbacks import Callback
from skorch.history import History

from sklearn_mlcl.utils._sklearn_compat import begin_fit_task

#: Where skorch's callbacks are that show a training and have no part in it.
_SHOWING = "skorch.callbacks.logging"


class EpochChoice(Callback):
    """Choose the number of epochs on held-out samples, and end with the weights of that epoch.

    Unlike skorch's ``EarlyStopping`` it keeps the weights of the criterion too: heads and
    prototypes live there.

    Parameters
    ----------
    judge : callable
        ``judge(net)`` returns a loss of held-out samples, not negative, by the weights that the
        net has.
    epochs : sequence of int or None, default=None
        Epochs of this training that are compared; None compares all. So is the last one if another
        callback ends the training after one of them.
    margin : float, default=0.0
        The longest training wins whose loss is at most ``1 + margin`` times the smallest.
    patience : int or None, default=None
        Epochs without a smaller loss after which training stops. None stops at a compared epoch
        that loses by the margin.

    Attributes
    ----------
    losses_ : dict
        The loss by epoch.
    best_epoch_ : int
        The epoch that was chosen, counted within this training; 0 if none was compared.
    """

    def __init__(
        self,
        judge: Callable[[Any], float],
        epochs: Sequence[int] | None = None,
        margin: float = 0.0,
        patience: int | None = None,
    ) -> None:
        self.judge = judge
        self.epochs = epochs
        self.margin = margin
        self.patience = patience

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self._epoch = 0
        self.best_epoch_ = 0
        self.losses_: dict[int, float] = {}
        self._states: dict[int, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what was compared so far."""
        best, losses = self.best_epoch_, dict(self.losses_)
        return {"epoch": self._epoch, "best": best, "losses": losses, "states": dict(self._states)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self._epoch, self.best_epoch_ = state["epoch"], state["best"]
        self.losses_, self._states = state["losses"], state["states"]

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self._epoch += 1
        if self.epochs is not None and self._epoch not in self.epochs:
            return
        smallest = self._compare(net)
        if self.patience is None:
            stops = self.best_epoch_ < self._epoch
        else:
            stops = self._epoch - smallest >= self.patience
        if stops:
            raise KeyboardInterrupt

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        if self.losses_ and self._epoch not in self.losses_:
            self._compare(net)  # another callback ended the training
        if self._states:
            net.put_weights(self._states[self.best_epoch_])
        del self._states

    def _compare(self, net: Any) -> int:
        """Judge the weights of this epoch, and return the epoch of the smallest loss."""
        with net.averaged():
            self.losses_[self._epoch] = self.judge(net)
        self._states[self._epoch] = net.weights_now()
        smallest = min(self.losses_, key=lambda e: (self.losses_[e], e))
        bound = (1 + self.margin) * self.losses_[smallest]
        # What loses by the margin cannot win again: the smallest loss only falls.
        self._states = {e: s for e, s in self._states.items() if self.losses_[e] <= bound}
        self.best_epoch_ = max(self._states)
        return smallest


class TimeBudget(Callback):
    """End the training before an epoch that would last too long.

    Parameters
    ----------
    seconds : float
        What the training may take. The first epoch is always run.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self._start, self._n_epochs = time.monotonic(), 0

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds and epochs so far."""
        return {"spent": time.monotonic() - self._start, "n_epochs": self._n_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self._start, self._n_epochs = time.monotonic() - state["spent"], state["n_epochs"]

    def seconds_left(self) -> float:
        """Return what is left of the seconds."""
        return self.seconds - (time.monotonic() - self._start)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self._n_epochs += 1
        spent = time.monotonic() - self._start
        if spent + spent / self._n_epochs > self.seconds:
            raise KeyboardInterrupt


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
    last_attributes : dict
        Attributes that the fitted estimator gets for the callbacks at the end of the fit.
    """

    fitted_attributes: Callable[[], dict[str, Any]]
    last_attributes: dict[str, Any]

    def __init__(self, estimator: Any, context: Any, given: dict[str, Any]) -> None:
        self.estimator = estimator
        self.context = context
        self.given = given
        self.last_attributes = {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: scikit-learn's callbacks see the epochs that are run."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing."""

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
    listener = FitTaskCallback(estimator, context, given)
    yield listener
    context.call_on_fit_task_end(
        estimator=estimator, **given, reconstruction_attributes=listener.last_attributes
    )


def epoch_log(history: History) -> dict[str, np.ndarray]:
    """Return what was recorded for every epoch, one array of shape (n_epochs,) a name."""
    # An epoch that a callback broke off lacks some: take the names of all epochs.
    names = dict.fromkeys(name for row in history for name in row if name != "batches")
    return {name: np.array([row.get(name, np.nan) for row in history]) for name in names}


# ---------------------------------------------------------------------- states of callbacks


def callback_states(
    callbacks: Sequence[Any], can_keep: Callable[[str, Any], bool]
) -> list[dict[str, Any]]:
    """Return what callbacks hold between two epochs.

    One with ``state_dict`` and ``load_state_dict`` says itself what that is. Of others it is
    attributes that are no parameters.

    Parameters
    ----------
    callbacks : sequence of callbacks
        The callbacks.
    can_keep : callable
        ``can_keep(name, value)`` says whether an attribute can be kept; others are left out.
    """
    return [_state_of(callback, can_keep) for callback in _with_a_state(callbacks)]


def put_callback_states(callbacks: Sequence[Any], states: Sequence[dict[str, Any]]) -> None:
    """Put back what :func:`callback_states` returned."""
    for callback, state in zip(_with_a_state(callbacks), states, strict=True):
        if _has_state_dict(callback):
            callback.load_state_dict(state["state_dict"])
            continue
        vars(callback).update(state["attributes"])
        for name, inner in state["state_dicts"].items():
            getattr(callback, name).load_state_dict(inner)


def _with_a_state(callbacks: Sequence[Any]) -> list[Any]:
    return [
        callback
        for callback in callbacks
        if type(callback).__module__ != _SHOWING and not getattr(callback, "only_shows", False)
    ]


def _has_state_dict(value: Any) -> bool:
    names = ("state_dict", "load_state_dict")
    return not isinstance(value, type) and all(callable(getattr(value, n, None)) for n in names)


def _state_of(callback: Any, can_keep: Callable[[str, Any], bool]) -> dict[str, Any]:
    if _has_state_dict(callback):
        return {"state_dict": callback.state_dict()}
    parameters = callback.get_params(deep=False) if hasattr(callback, "get_params") else {}
    own = {
        name: value
        for name, value in vars(callback).items()
        if not (name in parameters or inspect.isclass(value) or inspect.isroutine(value))
    }
    inner = {n: value.state_dict() for n, value in own.items() if _has_state_dict(value)}
    attributes = {
        name: value
        for name, value in own.items()
        if name not in inner and can_keep(f"{type(callback).__name__}.{name}", value)
    }
    return {"attributes": attributes, "state_dicts": inner}
