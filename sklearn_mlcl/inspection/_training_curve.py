"""The losses of a net over the epochs of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import NotFittedError

from sklearn_mlcl.inspection._drawing import axes_of, curve_style, despine, legend_beside
from sklearn_mlcl.inspection._labels import decider_of, part_with

if TYPE_CHECKING:
    import pandas as pd


def history_of(estimator: Any) -> Mapping[str, np.ndarray]:
    """Return the log of the net inside an estimator, a search, a pipeline or a meta-estimator."""
    part = part_with(estimator, "history_")
    if part is None:
        raise NotFittedError(
            f"{type(decider_of(estimator)).__name__} has no history_: fit a net-based "
            "estimator of this package first."
        )
    return part.history_


def import_pandas() -> Any:
    """Return pandas, which tables need and no more than they."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "A table needs pandas, which is not installed: pip install 'sklearn-mlcl[plot]'."
        ) from error
    return pd


def training_history(estimator: Any) -> pd.DataFrame:
    """Return what was recorded in every epoch of a training, as a DataFrame.

    ``history_`` of a net-based estimator holds the same as a dict of arrays; after a search it is
    the log of the best estimator, fitted on all rows.

    Parameters
    ----------
    estimator : estimator
        Fitted and net-based, or a search, pipeline or meta-estimator around one.

    Returns
    -------
    history : DataFrame of shape (n_epochs, n_records)
        ``train_loss``, ``dur`` in seconds, with early stopping ``valid_loss``, and what callbacks
        recorded; NaN where an epoch has no record. The index, ``epoch``, counts from 1.

    Raises
    ------
    NotFittedError
        If no part of the estimator has a log.
    ImportError
        If pandas is not installed.

    See Also
    --------
    TrainingCurveDisplay : The same as a plot.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.inspection import training_history
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> clf = MultiLabelMLPClassifier(max_epochs=3, early_stopping=True, random_state=0).fit(X, Y)
    >>> history = training_history(clf)
    >>> list(history.index), bool((history["train_loss"] > 0).all())
    ([1, 2, 3], True)
    """
    history, pd = history_of(estimator), import_pandas()
    frame = pd.DataFrame({name: log for name, log in history.items() if name != "epoch"})
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
    return frame


LOSSES = ("train_loss", "valid_loss")
TITLES = {"train_loss": "training", "valid_loss": "validation"}


class TrainingCurveDisplay:
    """Losses, or other records of a training, over its epochs.

    The training loss of an epoch is the mean over its batches, while the weights move and dropout
    is on; the validation loss is taken at its end, without. The first may well lie above the
    second. Where there is a validation loss, its lowest epoch is marked: with ``early_stopping``
    the net that is used is that of this epoch, up to the tolerance of the stopping rule.

    Make one by :meth:`from_estimator`, or by :meth:`from_history` from a log.

    Parameters
    ----------
    epochs : ndarray of shape (n,)
        Numbers of the epochs, from 1.
    values : dict of str to ndarray of shape (n,)
        Records by name, NaN where an epoch has none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : dict of str to matplotlib Line2D
        The curves by the names of the records.
    best_ : matplotlib Line2D or None
        The point of the lowest validation loss.

    See Also
    --------
    CollapseHistoryDisplay : The metrics of neural collapse over the epochs.
    training_history : The log as a DataFrame.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.inspection import TrainingCurveDisplay
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> clf = MultiLabelMLPClassifier(max_epochs=3, early_stopping=True, random_state=0).fit(X, Y)
    >>> sorted(TrainingCurveDisplay.from_estimator(clf).lines_)
    ['train_loss', 'valid_loss']
    """

    def __init__(self, epochs: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        self.epochs = epochs
        self.values = values

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metrics: Sequence[str] | None = None,
        ax: Any = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> TrainingCurveDisplay:
        """Plot the log of a fitted net-based estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``history_``; also inside a search, a pipeline or a meta-estimator.
        metrics : sequence of str, default=None
            Names of ``history_``; None for the training loss and, where there is one, the
            validation loss.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If no part of the estimator has a log.
        """
        display = cls.from_history(history_of(estimator), metrics=metrics)
        return display.plot(ax=ax, line_kwargs=line_kwargs)

    @classmethod
    def from_history(
        cls, history: Mapping[str, Any], *, metrics: Sequence[str] | None = None
    ) -> TrainingCurveDisplay:
        """Make the display from a log of epochs, without plotting it.

        Parameters
        ----------
        history : mapping of str to array-like of shape (n_epochs,), or DataFrame
            As ``history_`` of an estimator; NaN in epochs without a record.
        metrics : sequence of str, default=None
            As for :meth:`from_estimator`.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the log lacks one of the names, or has neither loss.
        """
        recorded = list(history)
        names = [name for name in LOSSES if name in recorded] if metrics is None else list(metrics)
        lacking = [name for name in names if name not in recorded]
        if lacking or not names:
            raise ValueError(
                f"The history has no {' or '.join(lacking or LOSSES)}; it has {recorded}."
            )
        values = {name: np.asarray(history[name], dtype=np.float64) for name in names}
        return cls(1 + np.arange(len(values[names[0]])), values)

    def plot(
        self, ax: Any = None, *, line_kwargs: Mapping[str, Any] | None = None
    ) -> TrainingCurveDisplay:
        """Draw one curve for each record.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(6.4, 3.6))
        self.figure_ = self.ax_.figure
        # A single epoch has no line to see.
        marker = {"marker": "o", "markersize": 3} if len(self.epochs) <= 30 else {}
        self.lines_ = {}
        for place, (name, value) in enumerate(self.values.items()):
            style = {**curve_style(place), **marker, **(line_kwargs or {})}
            known = ~np.isnan(value)
            (self.lines_[name],) = self.ax_.plot(
                self.epochs[known], value[known], label=TITLES.get(name, name), **style
            )
        self.best_ = self._mark_best()
        losses = all(name.endswith("loss") for name in self.values)
        self.ax_.set(xlabel="epoch", ylabel="loss" if losses else "value")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        despine(self.ax_)
        legend_beside(self.ax_, "")
        return self

    def _mark_best(self) -> Any:
        loss = self.values.get("valid_loss", np.empty(0))
        if np.isnan(loss).all():
            return None
        epoch = self.epochs[np.nanargmin(loss)]
        style = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "linestyle": "none"}
        (point,) = self.ax_.plot(
            epoch, np.nanmin(loss), color="black", label=f"lowest, epoch {epoch}", **style
        )
        return point
