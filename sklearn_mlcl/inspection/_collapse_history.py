"""The metrics of neural collapse over the epochs of a training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl.inspection._drawing import COLOURS, axes_of

SHOWN = ("nc1_trace", "nc2_h", "nc2_w", "nc3", "phi_rmse", "tag_r2")
#: How a value is called, and its distance from the value at collapse.
TITLES = {
    "nc1_trace": "within / between scatter",
    "nc2_h": "tags off the simplex",
    "nc2_w": "classifier off the simplex",
    "nc3": "tags off the classifier",
    "phi_rmse": "cosines off phi",
    "tag_r2": "1 - R² of the tag model",
}
STYLES = ("-", "--", ":", "-.")


class CollapseHistoryDisplay:
    """Distances from neural collapse over the epochs of a training, zero at collapse.

    Make one by :meth:`from_estimator`, or by :meth:`from_history` from a log.

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

    def __init__(self, epochs: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        self.epochs = epochs
        self.values = values

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metrics: Sequence[str] = SHOWN,
        ax: Any = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> CollapseHistoryDisplay:
        """Plot what a :class:`~sklearn_mlcl.callbacks.NeuralCollapseMonitor` recorded.

        Parameters
        ----------
        estimator : estimator
            Fitted, with the monitor among its ``callbacks``.
        metrics : sequence of str
            Metrics to show; a name like "nc1_trace" stands for all numbers of labels.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : CollapseHistoryDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "history_")
        display = cls.from_history(estimator.history_, metrics=metrics)
        return display.plot(ax=ax, line_kwargs=line_kwargs)

    @classmethod
    def from_history(
        cls, history: Mapping[str, np.ndarray], *, metrics: Sequence[str] = SHOWN
    ) -> CollapseHistoryDisplay:
        """Make the display from a log of epochs, without plotting it.

        Parameters
        ----------
        history : mapping of str to ndarray of shape (n_epochs,)
            As ``history_`` of an estimator; NaN in epochs that were not measured.
        metrics : sequence of str
            As for :meth:`from_estimator`.

        Returns
        -------
        display : CollapseHistoryDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the log has none of the metrics.
        """
        names = [name for family in metrics for name in history if _family(name) == family]
        if not names:
            raise ValueError(
                f"The history has none of {tuple(metrics)}. Fit with "
                "callbacks=[NeuralCollapseMonitor()] to record them."
            )
        table = np.array([history[name] for name in names], dtype=float)
        measured = ~np.isnan(table).all(axis=0)
        values = dict(zip(names, table[:, measured], strict=True))
        return cls(1 + np.flatnonzero(measured), values)

    def plot(
        self, ax: Any = None, *, line_kwargs: Mapping[str, Any] | None = None
    ) -> CollapseHistoryDisplay:
        """Draw one curve for each metric on a logarithmic axis.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : CollapseHistoryDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(7.4, 4.0))
        self.figure_ = self.ax_.figure
        families = list(dict.fromkeys(map(_family, self.values)))
        self.lines_ = {}
        for name, value in self.values.items():
            family = _family(name)
            siblings = [other for other in self.values if _family(other) == family]
            style = {
                "color": COLOURS[families.index(family) % len(COLOURS)],
                "linestyle": STYLES[siblings.index(name) % len(STYLES)],
                **(line_kwargs or {}),
            }
            distance = 1 - value if family in ("tag_r2", "phi_corr") else value
            (line,) = self.ax_.plot(self.epochs, distance, label=_title(name), **style)
            self.lines_[name] = line
        self.ax_.set(xlabel="epoch", ylabel="distance from collapse", yscale="log")
        self.ax_.spines[["top", "right"]].set_visible(False)
        self.ax_.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        return self


def _family(name: str) -> str:
    return re.sub(r"_m\d+$", "", name)


def _title(name: str) -> str:
    family = _family(name)
    labels = name[len(family) + 2 :]
    return TITLES.get(family, family) + (f", m = {labels}" if labels else "")
