"""Precision against recall, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.metrics import precision_recall_curve

from sklearn_mlcl.inspection._drawing import (
    Options,
    as_options,
    despine,
    draw_curves,
    draw_macro,
    figure_and_axes,
    legend_beside,
    shortened,
)
from sklearn_mlcl.inspection._labels import (
    label_names_of,
    named_labels,
)
from sklearn_mlcl.inspection._scores import ScoresDisplay
from sklearn_mlcl.metrics import average_precision
from sklearn_mlcl.utils.validation import check_scores

#: Recalls at which the curves are averaged.
RECALLS = np.linspace(0, 1, 201)[1:]


@dataclass(eq=False, repr=False)
class MultiLabelPrecisionRecallDisplay(ScoresDisplay):
    r"""Precision-recall curves of all labels, and their mean.

    The curve of a label is a step function, as in scikit-learn: the area below it is the average
    precision. The macro curve is the mean precision of all labels with a positive at the same
    recall. Its area is the mean average precision, up to the width of a step of 0.005. Missing
    labels are dropped.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    precision, recall : list of L ndarrays
        Curve of every label, in the order of
        :func:`~sklearn.metrics.precision_recall_curve`; empty for a label without a positive.
    average_precision : ndarray of shape (L,)
        NaN for a label without a positive.
    label_names : list of str
        Names of the L labels.
    named : ndarray of int
        Labels with a colour and an entry in the legend; the others are thin and grey.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : dict of int to matplotlib Line2D
        Curves of the named labels by their numbers.
    others_ : list of matplotlib Line2D
        Curves of the other labels.
    macro_line_ : matplotlib Line2D
        The mean over all labels.

    See Also
    --------
    sklearn.metrics.PrecisionRecallDisplay : The same for one label.
    sklearn_mlcl.metrics.average_precision : The areas below the curves.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.inspection import MultiLabelPrecisionRecallDisplay
    >>> X, Y = make_multilabel_classification(n_classes=3, random_state=0)
    >>> clf = MultiLabelLogisticRegression().fit(X, Y)
    >>> display = MultiLabelPrecisionRecallDisplay.from_estimator(clf, X, Y)
    >>> sorted(display.lines_)
    [0, 1, 2]
    """

    precision: Sequence[np.ndarray]
    recall: Sequence[np.ndarray]
    average_precision: np.ndarray
    label_names: Sequence[str]
    named: np.ndarray

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_score: Any, *, sample_weight: Any = None,
        labels: Sequence[Any] | None = None, label_names: Sequence[str] | None = None,
        ax: Any = None, line_kwargs: Options = None,
    ) -> Self:  # fmt: skip
        """Plot the curves of scores.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN for missing labels.
        y_score : array-like of shape (n, L)
            Probabilities or other scores, finite.
        sample_weight : array-like of shape (n,), default=None
            Weights of the samples.
        labels : sequence of int or str, default=None
            Labels to name, by number or name; None for the six most frequent ones.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame y_true, or numbers.
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelPrecisionRecallDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For shapes that differ, entries other than 0, 1 and NaN, scores that are not finite,
            no label with a positive, or unknown labels.
        """
        entries = check_scores(y_true, y_score, sample_weight)
        positives = entries.label_sums(entries.positive)
        if not positives.any():
            raise ValueError("No label of y_true has a positive: there is no curve.")
        names = label_names_of(label_names, len(positives), y_true)
        precision, recall = ([np.empty(0)] * len(names) for _ in range(2))
        for label, (positive, scores, weight) in enumerate(entries.columns()):
            if positives[label]:
                precision[label], recall[label], _ = precision_recall_curve(
                    positive, scores, sample_weight=weight, drop_intermediate=True
                )
        areas = average_precision(y_true, y_score, average=None, sample_weight=sample_weight)
        named = named_labels(labels, names, positives, positives > 0)
        display = cls(precision, recall, areas, names, named)
        return display.plot(ax=ax, line_kwargs=line_kwargs)

    def plot(self, ax: Any = None, *, line_kwargs: Options = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelPrecisionRecallDisplay
            The display, drawn.
        """
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(6.8, 4.4))
        areas = self.average_precision
        names = self.label_names
        texts = {int(k): f"{shortened(names[k])} ({areas[k]:.2f})" for k in self.named}
        curves = list(zip(self.recall, self.precision, strict=True))
        style = {"drawstyle": "steps-post", **as_options(line_kwargs, "line_kwargs")}
        drawn = [_from_first_hit(*curve) for curve in curves]
        self.lines_, self.others_ = draw_curves(self.ax_, drawn, texts, **style)
        macro = np.mean(
            [_precision_at_recalls(*curve) for curve in curves if len(curve[0])], axis=0
        )
        self.macro_line_ = draw_macro(self.ax_, RECALLS, macro, f"{np.nanmean(areas):.2f}")
        self.ax_.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        despine(self.ax_)
        legend_beside(self.ax_, "label (average precision)", self.others_)
        return self


def _from_first_hit(recall: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to draw: without the misses before the first hit, a vertical line at recall 0."""
    n = int((recall > 0).sum())
    drawn = precision[: n + 1].copy()
    drawn[n:] = precision[n - 1 : n]
    return recall[: n + 1], drawn


def _precision_at_recalls(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Precision of the first hit that reaches each of RECALLS."""
    # A recall like 0.3 may be a rounding error away from that of the grid.
    reached = np.searchsorted(recall[::-1], RECALLS - 1e-9)
    return precision[::-1][reached]
