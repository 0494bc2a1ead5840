"""Precision against recall, label by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from sklearn_mlcl.inspection._drawing import (
    axes_of,
    despine,
    draw_curves,
    draw_macro,
    legend_beside,
    shortened,
)
from sklearn_mlcl.inspection._labels import (
    label_names_of,
    n_labels_of,
    named_labels,
    scores_of,
)
from sklearn_mlcl.metrics import average_precision
from sklearn_mlcl.utils.validation import check_scores

#: Recalls at which the curves are averaged.
RECALLS = np.linspace(0, 1, 201)[1:]


class MultiLabelPrecisionRecallDisplay:
    r"""Precision-recall curves of all labels, and their mean.

    The curve of a label is a step function, as in scikit-learn: the area below it is the average
    precision. The macro curve is the mean, over the labels that have a known positive, of their
    precisions at the same recall; its area is the mean average precision, up to the width of a
    step of 0.005. Entries whose target is missing are left out.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    precision, recall : list of L ndarrays
        Curve of every label, in the order of
        :func:`~sklearn.metrics.precision_recall_curve`; empty for one without a known positive.
    average_precision : ndarray of shape (L,)
        NaN for a label without a known positive.
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

    def __init__(
        self,
        precision: Sequence[np.ndarray],
        recall: Sequence[np.ndarray],
        average_precision: np.ndarray,
        label_names: Sequence[str],
        named: np.ndarray,
    ) -> None:
        self.precision = precision
        self.recall = recall
        self.average_precision = average_precision
        self.label_names = label_names
        self.named = named

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, sample_weight: Any = None,
        response_method: str = "auto", labels: Sequence[Any] | None = None,
        label_names: Sequence[str] | None = None, ax: Any = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> MultiLabelPrecisionRecallDisplay:  # fmt: skip
        """Plot the curves of a fitted classifier on rows that it was not fitted on.

        Parameters
        ----------
        estimator : classifier
            Fitted on a label matrix.
        X : array-like of shape (n, n_features)
            Rows.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Their indicator matrix, NaN where unknown.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.
        response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
            Which scores to take; "auto" takes ``predict_proba`` where there is one.
        labels : sequence of int or str, default=None
            Labels to name, by number or name; None for the six most frequent ones.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame, those that the classifier
            was fitted with, or numbers.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelPrecisionRecallDisplay
            The display, drawn.
        """
        return cls.from_predictions(
            y,
            scores_of(estimator, X, y, response_method),
            sample_weight=sample_weight,
            labels=labels,
            label_names=label_names_of(label_names, y, n_labels_of(y), estimator),
            ax=ax,
            line_kwargs=line_kwargs,
        )

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_score: Any, *, sample_weight: Any = None,
        labels: Sequence[Any] | None = None, label_names: Sequence[str] | None = None,
        ax: Any = None, line_kwargs: Mapping[str, Any] | None = None,
    ) -> MultiLabelPrecisionRecallDisplay:  # fmt: skip
        """Plot the curves of scores.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN where unknown.
        y_score : array-like of shape (n, L)
            Probabilities or other scores, finite.
        sample_weight, labels, label_names, ax, line_kwargs
            As in :meth:`from_estimator`.

        Returns
        -------
        display : MultiLabelPrecisionRecallDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For shapes that differ, entries other than 0, 1 and NaN, scores that are not finite,
            no label with a known positive, or labels that are not there.
        """
        cells = check_scores(y_true, y_score, sample_weight)
        positives = cells.label_sums(cells.positive)
        if not positives.any():
            raise ValueError("No label of y_true has a known positive row: there is no curve.")
        names = label_names_of(label_names, y_true, len(positives))
        nothing = np.empty(0)
        curves = [
            _curve(*column) if weight else (nothing, nothing)
            for column, weight in zip(cells.columns(), positives, strict=True)
        ]
        precision, recall = map(list, zip(*curves, strict=True))
        areas = average_precision(y_true, y_score, average=None, sample_weight=sample_weight)
        named = named_labels(labels, names, positives, positives > 0)
        display = cls(precision, recall, areas, names, named)
        return display.plot(ax=ax, line_kwargs=line_kwargs)

    def plot(
        self, ax: Any = None, *, line_kwargs: Mapping[str, Any] | None = None
    ) -> MultiLabelPrecisionRecallDisplay:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelPrecisionRecallDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(6.8, 4.4))
        self.figure_ = self.ax_.figure
        areas = self.average_precision
        texts = {
            int(label): f"{shortened(self.label_names[label])} ({areas[label]:.2f})"
            for label in self.named
        }
        curves = [_from_first_hit(*c) for c in zip(self.recall, self.precision, strict=True)]
        style = {"drawstyle": "steps-post", **(line_kwargs or {})}
        self.lines_, self.others_ = draw_curves(self.ax_, curves, texts, **style)
        text = f"mean of the labels ({np.nanmean(areas):.2f})"
        self.macro_line_ = draw_macro(self.ax_, RECALLS, self._macro(), text)
        self.ax_.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        despine(self.ax_)
        legend_beside(self.ax_, "label (average precision)", self.others_)
        return self

    def _macro(self) -> np.ndarray:
        """Mean of the labels' step functions at RECALLS."""
        curves = zip(self.recall, self.precision, strict=True)
        return np.mean([_precision_at(r, p) for r, p in curves if len(r)], axis=0)


def _curve(
    positive: np.ndarray, scores: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of one label, by falling recall."""
    curve = precision_recall_curve(positive, scores, sample_weight=weight, drop_intermediate=True)
    return curve[0], curve[1]


def _from_first_hit(recall: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to draw: the misses before the first hit all lie at recall 0, in a line up and down."""
    n = int((recall > 0).sum())
    drawn = precision[: n + 1].copy()
    drawn[n:] = precision[n - 1 : n]
    return recall[: n + 1], drawn


def _precision_at(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Precision of the first hit that reaches each of RECALLS."""
    # A recall like 0.3 may be a rounding error away from that of the grid.
    reached = np.searchsorted(recall[::-1], RECALLS - 1e-9)
    return precision[::-1][reached]
