"""How far probabilities can be believed, label by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_mlcl.inspection._drawing import (
    QUIET,
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
from sklearn_mlcl.metrics import reliability_curve


class MultiLabelReliabilityDisplay:
    r"""Share of positives against the probability given, of all labels and of their mean.

    A label whose probabilities are right lies on the diagonal; below it they are too high, above
    it too low. Each point is a bin of probabilities, and the *expected calibration error* of a
    label is the mean distance of its rows' bins from the diagonal. In the macro curve every label
    has the same weight; where all targets are known that is one curve of all cells together.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    confidence, frequency, mass : ndarray of shape (L, n_bins)
        As :func:`~sklearn_mlcl.metrics.reliability_curve` returns them.
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
        The curve of all labels, each with the same weight.
    diagonal_ : matplotlib Line2D
        Where right probabilities lie.

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : The same for one label.
    sklearn_mlcl.calibration.MultiLabelCalibratedClassifierCV : Probabilities put right.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.inspection import MultiLabelReliabilityDisplay
    >>> X, Y = make_multilabel_classification(n_classes=3, random_state=0)
    >>> clf = MultiLabelLogisticRegression().fit(X, Y)
    >>> display = MultiLabelReliabilityDisplay.from_estimator(clf, X, Y, n_bins=5)
    >>> display.calibration_error.shape
    (3,)
    """

    def __init__(
        self,
        confidence: np.ndarray,
        frequency: np.ndarray,
        mass: np.ndarray,
        label_names: Sequence[str],
        named: np.ndarray,
    ) -> None:
        self.confidence = confidence
        self.frequency = frequency
        self.mass = mass
        self.label_names = label_names
        self.named = named

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, sample_weight: Any = None, n_bins: int = 10,
        labels: Sequence[Any] | None = None, label_names: Sequence[str] | None = None,
        min_rows: float = 10, ax: Any = None, line_kwargs: Mapping[str, Any] | None = None,
    ) -> MultiLabelReliabilityDisplay:  # fmt: skip
        """Plot the probabilities of a fitted classifier on rows that it was not fitted on.

        Parameters
        ----------
        estimator : classifier
            Fitted on a label matrix, with ``predict_proba``.
        X : array-like of shape (n, n_features)
            Rows.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Their indicator matrix, NaN where unknown.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.
        n_bins : int, default=10
            Bins of equal width; fewer where rows are few.
        labels : sequence of int or str, default=None
            Labels to name, by number or name; None for the six most frequent ones.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame, those that the classifier
            was fitted with, or numbers.
        min_rows : float, default=10
            Rows, or weight, that a label's bin must hold to be drawn: with fewer it lies off the
            diagonal by chance. All bins count in the errors and in the mean of the labels.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelReliabilityDisplay
            The display, drawn.
        """
        return cls.from_predictions(
            y,
            scores_of(estimator, X, y, "predict_proba"),
            sample_weight=sample_weight,
            n_bins=n_bins,
            labels=labels,
            label_names=label_names_of(label_names, y, n_labels_of(y), estimator),
            min_rows=min_rows,
            ax=ax,
            line_kwargs=line_kwargs,
        )

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_proba: Any, *, sample_weight: Any = None, n_bins: int = 10,
        labels: Sequence[Any] | None = None, label_names: Sequence[str] | None = None,
        min_rows: float = 10, ax: Any = None, line_kwargs: Mapping[str, Any] | None = None,
    ) -> MultiLabelReliabilityDisplay:  # fmt: skip
        """Plot probabilities.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN where unknown.
        y_proba : array-like of shape (n, L)
            Probabilities in [0, 1].
        sample_weight, n_bins, labels, label_names, min_rows, ax, line_kwargs
            As in :meth:`from_estimator`.

        Returns
        -------
        display : MultiLabelReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For shapes that differ, entries other than 0, 1 and NaN, probabilities outside [0, 1],
            no known cell, or labels that are not there.
        """
        confidence, frequency, mass = reliability_curve(
            y_true, y_proba, n_bins=n_bins, sample_weight=sample_weight
        )
        if not mass.any():
            raise ValueError("y_true holds no known cell (all NaN); expected some 0 or 1.")
        names = label_names_of(label_names, y_true, len(mass))
        positives = np.nansum(mass * frequency, axis=1)
        named = named_labels(labels, names, positives, mass.sum(axis=1) > 0)
        display = cls(confidence, frequency, mass, names, named)
        return display.plot(ax=ax, min_rows=min_rows, line_kwargs=line_kwargs)

    @property
    def calibration_error(self) -> np.ndarray:
        """Expected calibration error of every label, shape (L,); NaN without a known cell."""
        total = self.mass.sum(axis=1)
        distance = np.nansum(self.mass * np.abs(self.frequency - self.confidence), axis=1)
        return np.divide(distance, total, out=np.full(len(total), np.nan), where=total > 0)

    def plot(
        self,
        ax: Any = None,
        *,
        min_rows: float = 10,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> MultiLabelReliabilityDisplay:
        """Draw the curves over the diagonal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        min_rows : float, default=10
            Rows, or weight, that a label's bin must hold to be drawn.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelReliabilityDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(6.8, 4.4))
        self.figure_ = self.ax_.figure
        (self.diagonal_,) = self.ax_.plot([0, 1], [0, 1], color=QUIET, linestyle=":", zorder=2)
        errors = self.calibration_error
        texts = {
            int(label): f"{shortened(self.label_names[label])} ({errors[label]:.3f})"
            for label in self.named
        }
        curves = [self._curve(label, min_rows) for label in range(len(self.mass))]
        style = {"marker": "o", "markersize": 3, **(line_kwargs or {})}
        self.lines_, self.others_ = draw_curves(self.ax_, curves, texts, **style)
        text = f"mean of the labels ({np.nanmean(errors):.3f})"
        self.macro_line_ = draw_macro(self.ax_, *self._macro(), text)
        self.ax_.set(xlabel="probability", ylabel="share of positives")
        self.ax_.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        despine(self.ax_)
        legend_beside(self.ax_, "label (expected calibration error)", self.others_)
        return self

    def _curve(self, label: int, min_rows: float) -> tuple[np.ndarray, np.ndarray]:
        """Points of a label; NaN parts those with a bin of too few rows between them."""
        enough = self.mass[label] >= max(min_rows, np.finfo(np.float64).tiny)
        if not enough.any():
            return np.empty(0), np.empty(0)
        confidence, frequency = self.confidence[label], self.frequency[label]
        return np.where(enough, confidence, np.nan), np.where(enough, frequency, np.nan)

    def _macro(self) -> tuple[np.ndarray, np.ndarray]:
        """Bins of all labels, each label of total mass 1."""
        total = self.mass.sum(axis=1, keepdims=True)
        share = np.divide(self.mass, total, out=np.zeros_like(self.mass), where=total > 0)
        filled = share.any(axis=0)
        means = [
            np.nansum(share * values, axis=0)[filled] / share.sum(axis=0)[filled]
            for values in (self.confidence, self.frequency)
        ]
        return means[0], means[1]
