"""What a threshold does to a score: one for all labels, or the F1 of every label at its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
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
from sklearn_mlcl.metrics._decisions import f1_of_counts, outcomes
from sklearn_mlcl.thresholds import threshold_score
from sklearn_mlcl.utils.parameters import Interval, check_arguments
from sklearn_mlcl.utils.response import final_estimator
from sklearn_mlcl.utils.targets import label_names_in
from sklearn_mlcl.utils.validation import LabelEntries, check_per_label, check_scores

OBJECTIVES = ("f1_micro", "f1_macro", "f1_samples")


@dataclass(eq=False, repr=False)
class ThresholdCurveDisplay(ScoresDisplay):
    r"""Scores against the threshold, with the threshold that a classifier was fitted with.

    Either the scores of all decisions against one threshold for all labels, or the F1 of every
    label against a threshold of its own. A flat top says that the threshold hardly matters. A top
    far from the fitted threshold says that it was tuned for another objective, or on other
    samples. Missing labels are dropped.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    thresholds : ndarray of shape (T,)
        Thresholds, ascending.
    scores : ndarray of shape (n_curves, T)
        Scores at them: a row for every objective, or for every label (NaN for a label without a
        positive).
    names : list of str
        Objectives, or labels.
    fitted : ndarray of shape (n_curves,) or None, default=None
        Fitted threshold of each curve; NaN for an objective where every label has its own.
    fitted_scores : ndarray of shape (n_curves,) or None, default=None
        Scores at the fitted thresholds.
    named : ndarray of int or None, default=None
        Labels with a colour and an entry in the legend; the others are thin and grey. None where
        the curves are those of objectives.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : dict of int to matplotlib Line2D
        Curves of the objectives, or of the named labels, by their numbers.
    others_ : list of matplotlib Line2D
        Curves of the other labels.
    macro_line_ : matplotlib Line2D or None
        The mean F1 of the labels at one threshold.
    marks_ : list of matplotlib artists
        What shows the fitted thresholds: points on the curves, lines across the plot.

    See Also
    --------
    sklearn_mlcl.thresholds.tune_thresholds : The best thresholds for given scores.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.inspection import ThresholdCurveDisplay
    >>> X, Y = make_multilabel_classification(n_classes=3, random_state=0)
    >>> clf = MultiLabelLogisticRegression(threshold=0.4).fit(X, Y)
    >>> display = ThresholdCurveDisplay.from_estimator(
    ...     clf, X, Y, objective="f1_macro"
    ... )
    >>> display.names, display.fitted
    (['f1_macro'], array([0.4]))
    """

    thresholds: np.ndarray
    scores: np.ndarray
    names: Sequence[str]
    fitted: np.ndarray | None = None
    fitted_scores: np.ndarray | None = None
    named: np.ndarray | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, response_method: str = "auto", **options: Any
    ) -> Self:
        """Plot the scores of a fitted classifier, and mark the thresholds by which it decides.

        Parameters
        ----------
        estimator : classifier
            Fitted on a label matrix. Thresholds are read from its ``thresholds_``,
            ``threshold_`` or ``threshold``, also inside a search or a pipeline. A classifier
            without them is shown without a mark.
        X : array-like of shape (n, n_features)
            Samples that it was not fitted on.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Their indicator matrix, NaN for missing labels.
        response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
            Which scores to take. "auto" takes those that the thresholds of a meta-estimator cut,
            else ``predict_proba`` if there is one.
        **options
            Further arguments of :meth:`from_predictions`; names of labels may also come from the
            fit of the classifier.

        Returns
        -------
        display : ThresholdCurveDisplay
            The display, drawn.
        """
        decider = final_estimator(estimator)
        if response_method == "auto" and hasattr(decider, "thresholds_"):
            response_method = decider._method
        options = {"fitted": _fitted_thresholds(decider), **options}
        return super().from_estimator(estimator, X, y, response_method=response_method, **options)

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_score: Any, *, fitted: Any = None, objective: Any = None,
        per_label: bool = False, labels: Sequence[Any] | None = None,
        label_names: Sequence[str] | None = None, sample_weight: Any = None,
        n_thresholds: int = 100, ax: Any = None, line_kwargs: Options = None,
    ) -> Self:  # fmt: skip
        """Plot scores, and mark given thresholds.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN for missing labels.
        y_score : array-like of shape (n, L)
            Probabilities or other scores, finite.
        fitted : float or array-like of shape (L,), default=None
            Thresholds to mark.
        objective : str, callable or sequence of them, default=None
            With ``per_label=False``, one curve for each, as for
            :func:`~sklearn_mlcl.thresholds.tune_thresholds`; None for the micro-, macro- and
            example-based F1.
        per_label : bool, default=False
            Whether to plot the F1 of every label instead.
        labels : sequence of int or str, default=None
            With ``per_label=True``, labels to name, by number or name; None for the six most
            frequent ones.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame y_true, or numbers.
        sample_weight : array-like of shape (n,), default=None
            Weights of the samples.
        n_thresholds : int, default=100
            Thresholds to try: half evenly spaced, half at quantiles of the scores.
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : ThresholdCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If shapes differ, there is no positive, or scores are not finite. For entries other than
            0, 1 and NaN, fewer than two thresholds, or an unknown label or objective. For an
            argument of the other kind of plot.
        """
        check_arguments(
            "ThresholdCurveDisplay",
            n_thresholds=(n_thresholds, Interval(Integral, 2, None, closed="left")),
            per_label=(per_label, "boolean"),
        )
        for name, value, kind in (("objective", objective, False), ("labels", labels, True)):
            if value is not None and per_label is not kind:
                raise ValueError(f"{name} is for per_label={kind} only, got {value!r}.")
        entries = check_scores(y_true, y_score, sample_weight)
        if not entries.positive.any():
            raise ValueError("y_true has no positive: there is no curve.")
        n_labels, named = entries.shape[1], None
        if per_label:
            names = label_names_of(label_names, n_labels, y_true)
            positives = entries.label_sums(entries.positive)
            named = named_labels(labels, names, positives, positives > 0)
        else:
            several = OBJECTIVES if objective is None else objective
            objectives = (several,) if isinstance(several, str) or callable(several) else several
            if not isinstance(objectives, Collection) or not len(objectives):
                raise ValueError(f"objective must name one or several, got {objective!r}.")
            names = [getattr(o, "__name__", str(o)) for o in objectives]

        def scores_at(cut: Any) -> list[float]:
            """Scores of the curves at a common threshold, or at one for each label."""
            if per_label:
                return _f1_by_label(entries, cut)
            score = partial(threshold_score, y_true, y_score, cut, sample_weight=sample_weight)
            return [score(objective=o) for o in objectives]

        grid = _threshold_grid(entries, n_thresholds)
        scores = np.transpose([scores_at(cut) for cut in grid])
        fitted_scores = None
        if fitted is not None:
            fitted = _by_label(fitted, n_labels, label_names_in(y_true))
            fitted_scores = np.array(scores_at(fitted))
            if not per_label:
                common = fitted[0] if (fitted == fitted[0]).all() else np.nan
                fitted = np.full(len(names), common)
        display = cls(grid, scores, names, fitted, fitted_scores, named)
        return display.plot(ax=ax, line_kwargs=line_kwargs)

    def plot(self, ax: Any = None, *, line_kwargs: Options = None) -> Self:
        """Draw the curves and the marks of the fitted thresholds.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : ThresholdCurveDisplay
            The display, drawn.
        """
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(6.8, 4.0))
        of_labels = self.named is not None
        shown = range(len(self.names)) if self.named is None else self.named
        values = self.scores.max(axis=1) if self.fitted_scores is None else self.fitted_scores
        texts = {int(k): f"{shortened(self.names[k])} ({values[k]:.2f})" for k in shown}
        curves = [(self.thresholds, row) for row in self.scores]
        self.lines_, self.others_ = draw_curves(
            self.ax_, curves, texts, **as_options(line_kwargs, "line_kwargs")
        )
        self.macro_line_ = None
        if of_labels:
            mean = np.nanmean(self.scores, axis=0)
            # The value is that at the labels' own thresholds, if there are any.
            value = mean.max() if self.fitted_scores is None else np.nanmean(self.fitted_scores)
            self.macro_line_ = draw_macro(self.ax_, self.thresholds, mean, f"{value:.2f}")
        self.marks_, at = [], "at its highest"
        if self.fitted is not None and self.fitted_scores is not None:
            common = (self.fitted == self.fitted[0]).all()
            at = f"at the fitted threshold{'' if common else 's'}"
            self.marks_ = self._draw_marks(self.fitted, self.fitted_scores)
        self.ax_.set(xlabel="threshold", ylabel="F1" if of_labels else "score")
        self.ax_.set_ylim(bottom=min(0, np.nanmin(self.scores)))
        despine(self.ax_)
        title = f"{'F1 of the label' if of_labels else 'score'} ({at})"
        legend_beside(self.ax_, title, self.others_)
        return self

    def _draw_marks(self, fitted: np.ndarray, reached: np.ndarray) -> list[Any]:
        """A vertical line at a common threshold; else points on the labels' curves, or levels."""
        line = {"color": "black", "linewidth": 1, "linestyle": "--"}
        if (fitted == fitted[0]).all():
            text = f"fitted threshold, {fitted[0]:.3g}"
            return [self.ax_.axvline(fitted[0], zorder=2, label=text, **line)]
        if self.named is None:
            self.ax_.plot([], [], label="fitted, one for each label", **line)
            return [
                self.ax_.axhline(score, **{**line, "color": self.lines_[k].get_color()})
                for k, score in enumerate(reached)
            ]
        self.ax_.scatter([], [], s=30, color="black", label="fitted threshold")
        others = np.setdiff1d(np.flatnonzero(~np.isnan(reached)), self.named)
        points = [self.ax_.scatter(fitted[others], reached[others], s=6, color=QUIET, zorder=2)]
        points += [
            self.ax_.scatter(fitted[k], reached[k], s=30, color=line.get_color(), zorder=5)
            for k, line in self.lines_.items()
        ]
        return points


def _threshold_grid(entries: LabelEntries, n_thresholds: int) -> np.ndarray:
    """Thresholds between the extreme scores: half evenly spaced, half quantiles.

    The scores of rare labels crowd at the lower end, where even spacing would miss the curve.
    """
    scores = entries.values[entries.known_mask()].astype(np.float64)
    even = np.linspace(scores.min(), scores.max(), (n_thresholds + 1) // 2)
    quantiles = np.quantile(scores, np.linspace(0, 1, n_thresholds // 2 + 2)[1:-1])
    return np.unique(np.concatenate([even, quantiles]))


def _by_label(thresholds: Any, n_labels: int, label_names: Any) -> np.ndarray:
    cuts = check_per_label(thresholds, n_labels, label_names, "fitted")
    if np.isnan(cuts).any():
        raise ValueError(f"fitted holds NaN: got {thresholds!r}.")
    return np.broadcast_to(cuts, n_labels)


def _f1_by_label(entries: LabelEntries, cut: Any) -> list[float]:
    """F1 of every label at a common threshold, or at one for each; NaN without a positive."""
    decided = replace(entries, values=entries.values >= cut)
    hits, predicted, positives = map(entries.label_sums, outcomes(decided))
    return list(np.where(positives > 0, f1_of_counts(hits, predicted, positives), np.nan))


def _fitted_thresholds(decider: Any) -> np.ndarray | None:
    """The threshold, or one per label, by which a classifier decides; None if by none."""
    decision = getattr(decider, "decision_", None)
    if decision is not None and decision.rule != "threshold":
        return None
    for attribute in ("thresholds_", "threshold_", "threshold"):
        value = getattr(decider, attribute, None)
        if value is not None and not isinstance(value, str):
            return np.asarray(value, dtype=np.float64)
    return None
