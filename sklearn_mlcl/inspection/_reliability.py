"""How far probabilities can be believed, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sklearn_mlcl.inspection._drawing import (
    QUIET,
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
from sklearn_mlcl.metrics import reliability_curve
from sklearn_mlcl.utils.parameters import AT_LEAST_0, check_arguments


@dataclass(eq=False, repr=False)
class MultiLabelReliabilityDisplay(ScoresDisplay):
    r"""Share of positives against the probability given, of all labels and of their mean.

    A label with right probabilities lies on the diagonal. Below it probabilities are too high,
    above it too low. Each point is a bin of probabilities. The *expected calibration error* of a
    label is the mean distance of the bins from the diagonal over its samples. In the macro curve
    every label has the same weight; without missing labels it is the curve of all entries
    together.

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
        Where right probabilities are.

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : The same for one label.
    sklearn_mlcl.calibration.MultiLabelCalibratedClassifierCV : Corrected probabilities.

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

    confidence: np.ndarray
    frequency: np.ndarray
    mass: np.ndarray
    label_names: Sequence[str]
    named: np.ndarray

    _methods = ("predict_proba",)

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_proba: Any, *, sample_weight: Any = None, n_bins: int = 10,
        labels: Sequence[Any] | None = None, label_names: Sequence[str] | None = None,
        min_samples: float = 10, ax: Any = None, line_kwargs: Options = None,
    ) -> Self:  # fmt: skip
        """Plot probabilities.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN for missing labels.
        y_proba : array-like of shape (n, L)
            Probabilities in [0, 1].
        sample_weight : array-like of shape (n,), default=None
            Weights of the samples.
        n_bins : int, default=10
            Bins of equal width.
        labels : sequence of int or str, default=None
            Labels to name, by number or name; None for the six most frequent ones.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame y_true, or numbers.
        min_samples : float, default=10
            Samples, or weight, that a bin of a label must hold to be drawn: with fewer it is off
            the diagonal by chance. All bins count in the errors and in the mean of the labels.
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For shapes that differ, entries other than 0, 1 and NaN, probabilities outside [0, 1],
            only missing labels, or unknown labels.
        """
        confidence, frequency, mass = reliability_curve(
            y_true, y_proba, n_bins=n_bins, sample_weight=sample_weight
        )
        if not mass.any():
            raise ValueError("y_true holds missing labels only (all NaN); expected some 0 or 1.")
        names = label_names_of(label_names, len(mass), y_true)
        positives = np.nansum(mass * frequency, axis=1)
        named = named_labels(labels, names, positives, mass.sum(axis=1) > 0)
        display = cls(confidence, frequency, mass, names, named)
        return display.plot(ax=ax, min_samples=min_samples, line_kwargs=line_kwargs)

    @property
    def calibration_error(self) -> np.ndarray:
        """Expected calibration error of every label, shape (L,); NaN if all are missing."""
        total = self.mass.sum(axis=1)
        distance = np.nansum(self.mass * np.abs(self.frequency - self.confidence), axis=1)
        return np.divide(distance, total, out=np.full(len(total), np.nan), where=total > 0)

    def plot(self, ax: Any = None, *, min_samples: float = 10, line_kwargs: Options = None) -> Self:
        """Draw the curves over the diagonal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        min_samples : float, default=10
            Samples, or weight, that a bin of a label must hold to be drawn.
        line_kwargs : dict, default=None
            Further arguments of the labels' curves.

        Returns
        -------
        display : MultiLabelReliabilityDisplay
            The display, drawn.
        """
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(6.8, 4.4))
        (self.diagonal_,) = self.ax_.plot([0, 1], [0, 1], color=QUIET, linestyle=":", zorder=2)
        errors = self.calibration_error
        names = self.label_names
        texts = {int(k): f"{shortened(names[k])} ({errors[k]:.3f})" for k in self.named}
        check_arguments("plot", min_samples=(min_samples, AT_LEAST_0))
        enough = self.mass >= max(min_samples, np.finfo(np.float64).tiny)
        # NaN parts the points with a bin of too few samples between them.
        x, y = (np.where(enough, v, np.nan) for v in (self.confidence, self.frequency))
        style = {"marker": "o", "markersize": 3, **as_options(line_kwargs, "line_kwargs")}
        self.lines_, self.others_ = draw_curves(
            self.ax_, list(zip(x, y, strict=True)), texts, **style
        )
        self.macro_line_ = draw_macro(self.ax_, *self._macro(), f"{np.nanmean(errors):.3f}")
        self.ax_.set(xlabel="probability", ylabel="share of positives")
        self.ax_.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        despine(self.ax_)
        legend_beside(self.ax_, "label (expected calibration error)", self.others_)
        return self

    def _macro(self) -> tuple[np.ndarray, np.ndarray]:
        """Bins of all labels, each label of total mass 1."""
        total = self.mass.sum(axis=1, keepdims=True)
        share = self.mass / np.where(total > 0, total, 1)
        filled = share.any(axis=0)
        x, y = (
            np.nansum(share * values, axis=0)[filled] / share.sum(axis=0)[filled]
            for values in (self.confidence, self.frequency)
        )
        return x, y
