"""Records of a training over its epochs: losses, and distances from neural collapse."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sklearn_mlcl.inspection._drawing import (
    COLOURS,
    LINE_STYLES,
    Options,
    as_options,
    curve_style,
    despine,
    figure_and_axes,
    legend_beside,
)
from sklearn_mlcl.inspection._labels import fitted_attribute
from sklearn_mlcl.utils.parameters import named_in_errors

LOSSES = {"train_loss": "training", "valid_loss": "validation"}
#: Metrics that are zero at collapse, or whose distance from 1 is, with their titles.
COLLAPSE_METRICS = {
    "nc1_trace": "within / between scatter",
    "nc2_h": "tags off the simplex",
    "nc2_w": "classifier off the simplex",
    "nc3": "tags off the classifier",
    "phi_rmse": "cosines off phi",
    "tag_r2": "1 - R² of the tag model",
}


def history_of(estimator: Any) -> Any:
    """Return the log of the net inside an estimator, a search, a pipeline or a meta-estimator."""
    return fitted_attribute(estimator, "history_", "a net-based estimator of this package")


@named_in_errors
@dataclass(eq=False, repr=False)
class TrainingCurveDisplay:
    """Losses, or other records of a training, over its epochs.

    The training loss of an epoch is the mean over its batches, while the weights change and
    dropout is on. The validation loss is taken at the end of the epoch, without dropout, so that
    it may be lower. The epoch with the lowest validation loss is marked. A fit with a number as
    ``early_stopping`` uses the net of this epoch. By default ``n_iter_`` is the number of epochs of
    the net in use.

    Make one by :meth:`from_estimator`, or by :meth:`from_history` from a log.

    Parameters
    ----------
    epochs : ndarray of shape (n,)
        Numbers of the recorded epochs, from 1.
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
    >>> clf = MultiLabelMLPClassifier(
    ...     max_epochs=3, early_stopping=True, random_state=0
    ... ).fit(X, Y)
    >>> sorted(TrainingCurveDisplay.from_estimator(clf).lines_)
    ['train_loss', 'valid_loss']
    """

    epochs: np.ndarray
    values: Mapping[str, np.ndarray]

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, metrics: Sequence[str] | None = None, ax: Any = None,
        line_kwargs: Options = None,
    ) -> Self:  # fmt: skip
        """Plot the log of a fitted net-based estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``history_``; also inside a search, a pipeline or a meta-estimator.
        metrics : sequence of str, default=None
            Records to show, as in :meth:`from_history`.
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : object
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
    ) -> Self:
        """Make the display from a log of epochs, without plotting it.

        Parameters
        ----------
        history : mapping of str to array-like of shape (n_epochs,), or DataFrame
            As ``history_`` of an estimator; NaN in epochs without a record.
        metrics : sequence of str, default=None
            Names of records. None means the losses in a :class:`TrainingCurveDisplay`, and the
            metrics of collapse in a :class:`CollapseHistoryDisplay`. There a name like "nc1_trace"
            means all numbers of labels.

        Returns
        -------
        display : object
            The display, not drawn yet.

        Raises
        ------
        ValueError
            If the log lacks the records.
        """
        if isinstance(metrics, str) or not isinstance(metrics, Collection | None):
            raise TypeError(f"metrics must be a sequence of names, got {metrics!r}.")
        names = cls._chosen(list(history), metrics)
        table = np.array([history[name] for name in names], dtype=np.float64)
        measured = ~np.isnan(table).all(axis=0)
        return cls(1 + np.flatnonzero(measured), dict(zip(names, table[:, measured], strict=True)))

    def plot(self, ax: Any = None, *, line_kwargs: Options = None) -> Self:
        """Draw one curve for each record.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : object
            The display, drawn.
        """
        wanted = as_options(line_kwargs, "line_kwargs")
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(7.0, 3.8))
        self.lines_ = {}
        for name, (value, style) in self._curves().items():
            known = ~np.isnan(value)
            (self.lines_[name],) = self.ax_.plot(
                self.epochs[known], value[known], **{**style, **wanted}
            )
        self._finish()
        self.ax_.set_xlabel("epoch")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        despine(self.ax_)
        legend_beside(self.ax_)
        return self

    @classmethod
    def _chosen(cls, recorded: list[str], metrics: Sequence[str] | None) -> list[str]:
        names = [n for n in LOSSES if n in recorded] if metrics is None else list(metrics)
        lacking = [name for name in names if name not in recorded]
        if lacking or not names:
            missing = " or ".join(map(str, lacking or LOSSES))
            raise ValueError(f"metrics: the history has no {missing}; it has {recorded}.")
        return names

    def _curves(self) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
        # A single epoch has no line to see.
        marker = {"marker": "o", "markersize": 3} if len(self.epochs) <= 30 else {}
        return {
            name: (value, {**curve_style(place), **marker, "label": LOSSES.get(name, name)})
            for place, (name, value) in enumerate(self.values.items())
        }

    def _finish(self) -> None:
        losses = all(name.endswith("loss") for name in self.values)
        self.ax_.set_ylabel("loss" if losses else "value")
        self.best_ = None
        loss = self.values.get("valid_loss", np.empty(0))
        if not np.isnan(loss).all():
            epoch = self.epochs[np.nanargmin(loss)]
            style = {"markersize": 9, "markerfacecolor": "none", "color": "black"}
            (self.best_,) = self.ax_.plot(
                epoch, np.nanmin(loss), "o", label=f"lowest, epoch {epoch}", **style
            )


class CollapseHistoryDisplay(TrainingCurveDisplay):
    """Distances from neural collapse over the epochs of a training, zero at collapse.

    The records are those of a :class:`~sklearn_mlcl.callbacks.NeuralCollapseMonitor` among the
    ``callbacks`` of a fit. Make one by :meth:`from_estimator`, or by :meth:`from_history` from a
    log.

    Parameters
    ----------
    epochs : ndarray of shape (n,)
        Epochs that were measured, from 1.
    values : dict of str to ndarray of shape (n,)
        Recorded metrics by name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : dict of str to matplotlib Line2D
        The curves by the names of the metrics.

    See Also
    --------
    CollapseDisplay : The geometry at the end of the training.
    sklearn_mlcl.collapse.neural_collapse_metrics : What the metrics are.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.inspection import CollapseHistoryDisplay
    >>> from sklearn_mlcl.callbacks import NeuralCollapseMonitor
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> clf = MultiLabelMLPClassifier(
    ...     max_epochs=3, callbacks=[NeuralCollapseMonitor()], random_state=0
    ... ).fit(X, Y)
    >>> CollapseHistoryDisplay.from_estimator(clf).ax_.get_xlabel()
    'epoch'
    """

    @classmethod
    def _chosen(cls, recorded: list[str], metrics: Sequence[str] | None) -> list[str]:
        wanted = tuple(COLLAPSE_METRICS if metrics is None else metrics)
        names = [name for family in wanted for name in recorded if _family(name) == family]
        if not names:
            raise ValueError(
                f"The history has none of {wanted}. Fit with callbacks=[NeuralCollapseMonitor()] "
                "to record them."
            )
        return names

    def _curves(self) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
        """One colour for each metric, one style of line for each number of labels."""
        families = list(dict.fromkeys(map(_family, self.values)))
        curves = {}
        for name, value in self.values.items():
            family = _family(name)
            siblings = [other for other in self.values if _family(other) == family]
            n_labels = name[len(family) + 2 :]
            title = COLLAPSE_METRICS.get(family, family)
            style = {
                "color": COLOURS[families.index(family) % len(COLOURS)],
                "linestyle": LINE_STYLES[siblings.index(name) % len(LINE_STYLES)],
                "label": title + (f", m = {n_labels}" if n_labels else ""),
            }
            curves[name] = (1 - value if family in ("tag_r2", "phi_corr") else value, style)
        return curves

    def _finish(self) -> None:
        self.ax_.set(ylabel="distance from collapse", yscale="log")


def _family(name: str) -> str:
    """Return the metric of a record: without "_m2", the number of labels."""
    return re.sub(r"_m\d+$", "", name)
