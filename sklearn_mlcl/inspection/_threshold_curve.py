"""What a threshold does to a score: one for all labels, or the F1 of every label at its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    decider_of,
    label_names_of,
    n_labels_of,
    named_labels,
    scores_of,
)
from sklearn_mlcl.metrics._decisions import f1_of_counts
from sklearn_mlcl.thresholds import threshold_score
from sklearn_mlcl.thresholds._curves import weight_from
from sklearn_mlcl.utils.response import METHODS
from sklearn_mlcl.utils.validation import LabelEntries, check_scores

OBJECTIVES = ("f1_micro", "f1_macro", "f1_samples")


@dataclass(frozen=True)
class ThresholdCurves:
    """What :class:`ThresholdCurveDisplay` shows; its parameters say what each entry is."""

    thresholds: np.ndarray
    scores: np.ndarray
    names: list[str]
    fitted: np.ndarray | None = None
    fitted_scores: np.ndarray | None = None
    named: np.ndarray | None = None


@dataclass(frozen=True)
class ScoredRows:
    """Targets, scores and weights as given, checked together, and a grid of thresholds."""

    y_true: Any
    y_score: Any
    sample_weight: Any
    n_thresholds: int

    def cells(self) -> LabelEntries:
        """Return the checked cells; there must be a positive among them."""
        cells = check_scores(self.y_true, self.y_score, self.sample_weight)
        if not cells.positive.any():
            raise ValueError("y_true has no known positive: there is no curve.")
        return cells

    def score(self, thresholds: Any, objective: Any) -> float:
        """Return an objective at one threshold, or at one for each label."""
        return threshold_score(
            self.y_true,
            self.y_score,
            thresholds,
            objective=objective,
            sample_weight=self.sample_weight,
        )


def objective_curves(rows: ScoredRows, objective: Any, fitted: Any) -> ThresholdCurves:
    """Return one curve for each objective: all labels share the threshold."""
    objectives = OBJECTIVES if objective is None else objective
    if isinstance(objectives, str) or callable(objectives):
        objectives = (objectives,)
    names = [o if isinstance(o, str) else getattr(o, "__name__", str(o)) for o in objectives]
    cells = rows.cells()
    grid = threshold_grid(cells, rows.n_thresholds)
    scores = np.array([[rows.score(t, objective) for t in grid] for objective in objectives])
    if fitted is None:
        return ThresholdCurves(grid, scores, names)
    cuts = _by_label(fitted, cells.shape[1])
    reached = np.array([rows.score(cuts, objective) for objective in objectives])
    common = cuts[0] if (cuts == cuts[0]).all() else np.nan
    return ThresholdCurves(grid, scores, names, np.full(len(names), common), reached)


def label_curves(
    rows: ScoredRows, labels: Sequence[Any] | None, names: Sequence[str] | None, fitted: Any
) -> ThresholdCurves:
    """Return the F1 of every label against a threshold of its own."""
    cells = rows.cells()
    names = label_names_of(names, rows.y_true, cells.shape[1])
    positives = cells.label_sums(cells.positive)
    named = named_labels(labels, names, positives, positives > 0)
    grid = threshold_grid(cells, rows.n_thresholds)
    scores = _f1_by_label(cells, np.broadcast_to(grid, (len(names), len(grid))))
    if fitted is None:
        return ThresholdCurves(grid, scores, names, named=named)
    cuts = _by_label(fitted, len(names))
    reached = _f1_by_label(cells, cuts[:, None])[:, 0]
    return ThresholdCurves(grid, scores, names, cuts, reached, named)


def threshold_grid(cells: LabelEntries, n_thresholds: int) -> np.ndarray:
    """Return thresholds between the extreme scores: half evenly spaced, half quantiles.

    The scores of rare labels crowd at the lower end, where even spacing would see no curve.
    """
    scores = cells.values[cells.known_mask()].astype(np.float64)
    even = np.linspace(scores.min(), scores.max(), (n_thresholds + 1) // 2)
    quantiles = np.quantile(scores, np.linspace(0, 1, n_thresholds // 2 + 2)[1:-1])
    return np.unique(np.concatenate([even, quantiles]))


def _by_label(thresholds: Any, n_labels: int) -> np.ndarray:
    cuts = np.asarray(thresholds, dtype=np.float64)
    if cuts.shape not in ((), (n_labels,)) or np.isnan(cuts).any():
        raise ValueError(
            f"fitted must be a number or hold {n_labels} of them, one a label; got {thresholds!r}."
        )
    return np.broadcast_to(cuts, n_labels)


def _f1_by_label(cells: LabelEntries, cuts: np.ndarray) -> np.ndarray:
    """F1 of every label at its row of cuts (L, T); NaN without a known positive."""
    scores = np.full(cuts.shape, np.nan)
    for label, (positive, values, weight) in enumerate(cells.columns()):
        if not positive.any():
            continue
        worth = np.ones(len(positive)) if weight is None else weight
        accepted, _, _ = weight_from(values, worth, cuts[label])
        hits, _, _ = weight_from(values[positive], worth[positive], cuts[label])
        scores[label] = f1_of_counts(hits, accepted, worth[positive].sum())
    return scores


def fitted_thresholds(decider: Any) -> np.ndarray | None:
    """Return the threshold, or one per label, by which a classifier decides; None if by none."""
    decision = getattr(decider, "decision_", None)
    if decision is not None and decision.rule != "threshold":
        return None
    for attribute in ("thresholds_", "threshold_", "threshold"):
        value = getattr(decider, attribute, None)
        if value is not None and not isinstance(value, str):
            return np.asarray(value, dtype=np.float64)
    return None


def methods_cut_by(decider: Any) -> tuple[str, ...]:
    """Methods whose scores the thresholds of a classifier cut, the preferred one first."""
    return (decider._method,) if hasattr(decider, "thresholds_") else METHODS


TITLES = {
    "f1_micro": "micro-F1",
    "f1_macro": "macro-F1",
    "f1_samples": "F1 of the rows",
    "jaccard": "Jaccard index",
    "accuracy": "Hamming accuracy",
    "subset_accuracy": "subset accuracy",
}


class ThresholdCurveDisplay:
    r"""Scores against the threshold, with the threshold that a classifier was fitted with.

    Either the scores of all decisions against one threshold for all labels, or the F1 of every
    label against a threshold of its own. A flat top says that the threshold hardly matters; a top
    far from the fitted threshold that it was tuned for something else, or on other rows. Entries
    whose target is missing are left out.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    thresholds : ndarray of shape (T,)
        Thresholds, ascending.
    scores : ndarray of shape (n_curves, T)
        Scores at them: a row for every objective, or for every label (NaN for one without a known
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
    >>> display = ThresholdCurveDisplay.from_estimator(clf, X, Y, objective="f1_macro")
    >>> display.names, display.fitted
    (['f1_macro'], array([0.4]))
    """

    def __init__(
        self,
        thresholds: np.ndarray,
        scores: np.ndarray,
        names: Sequence[str],
        *,
        fitted: np.ndarray | None = None,
        fitted_scores: np.ndarray | None = None,
        named: np.ndarray | None = None,
    ) -> None:
        self.thresholds = thresholds
        self.scores = scores
        self.names = names
        self.fitted = fitted
        self.fitted_scores = fitted_scores
        self.named = named

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, objective: Any = None, per_label: bool = False,
        labels: Sequence[Any] | None = None, label_names: Sequence[str] | None = None,
        sample_weight: Any = None, n_thresholds: int = 100, ax: Any = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> ThresholdCurveDisplay:  # fmt: skip
        """Plot the scores of a fitted classifier, and mark the thresholds by which it decides.

        Parameters
        ----------
        estimator : classifier
            Fitted on a label matrix. Thresholds are read from its ``thresholds_``,
            ``threshold_`` or ``threshold``, also inside a search or a pipeline; a classifier
            without them is shown without a mark.
        X : array-like of shape (n, n_features)
            Rows that it was not fitted on.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Their indicator matrix, NaN where unknown.
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
            Names of all labels; None for the columns of a DataFrame, those that the classifier
            was fitted with, or numbers.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.
        n_thresholds : int, default=100
            Thresholds to try: half evenly spaced, half at quantiles of the scores.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : ThresholdCurveDisplay
            The display, drawn.
        """
        decider = decider_of(estimator)
        return cls.from_predictions(
            y,
            scores_of(estimator, X, y, methods=methods_cut_by(decider)),
            fitted=fitted_thresholds(decider),
            objective=objective,
            per_label=per_label,
            labels=labels,
            label_names=label_names_of(label_names, y, n_labels_of(y), estimator),
            sample_weight=sample_weight,
            n_thresholds=n_thresholds,
            ax=ax,
            line_kwargs=line_kwargs,
        )

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_score: Any, *, fitted: Any = None, objective: Any = None,
        per_label: bool = False, labels: Sequence[Any] | None = None,
        label_names: Sequence[str] | None = None, sample_weight: Any = None,
        n_thresholds: int = 100, ax: Any = None, line_kwargs: Mapping[str, Any] | None = None,
    ) -> ThresholdCurveDisplay:  # fmt: skip
        """Plot scores, and mark given thresholds.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN where unknown.
        y_score : array-like of shape (n, L)
            Probabilities or other scores, finite.
        fitted : float or array-like of shape (L,), default=None
            Thresholds to mark.
        objective, per_label, labels, label_names, sample_weight, n_thresholds, ax, line_kwargs
            As in :meth:`from_estimator`.

        Returns
        -------
        display : ThresholdCurveDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For shapes that differ, entries other than 0, 1 and NaN, no known positive, scores
            that are not finite, labels that are not there, fewer than two thresholds, an unknown
            objective, or an argument that belongs to the other kind of plot.
        """
        if n_thresholds < 2:
            raise ValueError(f"n_thresholds must be at least 2, got {n_thresholds!r}.")
        for name, value, kind in (("objective", objective, False), ("labels", labels, True)):
            if value is not None and per_label is not kind:
                raise ValueError(f"{name} is for per_label={kind} only, got {value!r}.")
        rows = ScoredRows(y_true, y_score, sample_weight, n_thresholds)
        if per_label:
            curves = label_curves(rows, labels, label_names, fitted)
        else:
            curves = objective_curves(rows, objective, fitted)
        return cls(**vars(curves)).plot(ax=ax, line_kwargs=line_kwargs)

    def plot(
        self, ax: Any = None, *, line_kwargs: Mapping[str, Any] | None = None
    ) -> ThresholdCurveDisplay:
        """Draw the curves and the marks of the fitted thresholds.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curves.

        Returns
        -------
        display : ThresholdCurveDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(6.8, 4.0))
        self.figure_ = self.ax_.figure
        of_labels = self.named is not None
        shown = range(len(self.names)) if self.named is None else self.named
        curves = [
            (self.thresholds if known else self.thresholds[:0], row if known else row[:0])
            for row, known in zip(self.scores, ~np.isnan(self.scores).all(axis=1), strict=True)
        ]
        self.lines_, self.others_ = draw_curves(
            self.ax_, curves, {int(k): self._text(k) for k in shown}, **(line_kwargs or {})
        )
        self.macro_line_ = self._draw_macro() if of_labels else None
        self.marks_ = []
        if self.fitted is not None and self.fitted_scores is not None:
            self.marks_ = self._draw_marks(self.fitted, self.fitted_scores)
        self.ax_.set(xlabel="threshold", ylabel="F1" if of_labels else "score")
        self.ax_.set_ylim(bottom=min(0, np.nanmin(self.scores)))
        despine(self.ax_)
        legend_beside(self.ax_, self._legend_title(), self.others_)
        return self

    def _legend_title(self) -> str:
        at = "at the fitted threshold"
        if self.fitted is None:
            at = "at its highest"
        elif not (self.fitted == self.fitted[0]).all():
            at = "at the fitted thresholds"
        return f"{'score' if self.named is None else 'F1 of the label'} ({at})"

    def _text(self, k: int) -> str:
        value = np.max(self.scores[k]) if self.fitted_scores is None else self.fitted_scores[k]
        name = TITLES.get(self.names[k], self.names[k]) if self.named is None else self.names[k]
        return f"{shortened(name)} ({value:.2f})"

    def _draw_macro(self) -> Any:
        """The mean of the labels at one threshold for all; its value at their own in the legend."""
        mean = np.nanmean(self.scores, axis=0)
        value = mean.max() if self.fitted_scores is None else np.nanmean(self.fitted_scores)
        return draw_macro(self.ax_, self.thresholds, mean, f"mean of the labels ({value:.2f})")

    def _draw_marks(self, fitted: np.ndarray, reached: np.ndarray) -> list[Any]:
        """A line down at a common threshold; else points on the labels' curves, or levels."""
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
