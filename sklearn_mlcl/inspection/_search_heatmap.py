"""Two parameters of a search against its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.exceptions import NotFittedError

from sklearn_mlcl.inspection._drawing import (
    ACCENT,
    UNDEFINED,
    figure_and_axes,
    shortened,
    write_values,
)

#: Parameters of the contrastive losses: the first two to show, in this order.
PREFERRED = ("temperature", "lambda_reg")
#: Values up to which all are written at an axis, and combinations up to which scores are.
MAX_TICKS, MAX_ANNOTATED = 20, 100
#: Share of combinations up to which the candidates are drawn as points.
SPARSE = 0.2


@dataclass(eq=False, repr=False)
class SearchHeatmapDisplay:
    """Heat map of the mean test score of a search over two of its parameters.

    If the search varied further parameters, a combination shows the best of its candidates. The
    best combination has a frame. Combinations that were not tried are grey. If nearly all are, as
    after a random search over two ranges of numbers, the candidates are drawn as points.

    Make one by :meth:`from_estimator` or :meth:`from_cv_results`.

    Parameters
    ----------
    scores : ndarray of shape (n_y, n_x)
        Best score of every combination, NaN where none was tried.
    x_values, y_values : list
        Values of the two parameters, in order.
    x_name, y_name : str
        Names of the parameters, without those of the pipeline's steps.
    score_name : str, default="score"
        What the colours mean.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    image_ : matplotlib AxesImage or PathCollection
        The heat map, or the points.
    text_ : ndarray of matplotlib Text, of shape (n_y, n_x), or None
        The scores; None where there are too many to read.
    best_ : matplotlib Rectangle or Line2D
        The frame of the best combination, or the ring around the best point.
    colorbar_ : matplotlib Colorbar
        The scale.

    Examples
    --------
    >>> from sklearn_mlcl.inspection import SearchHeatmapDisplay
    >>> cv_results = {
    ...     "param_temperature": [0.1, 0.1, 0.3, 0.3],
    ...     "param_lambda_reg": [0.0, 1.0, 0.0, 1.0],
    ...     "mean_test_score": [0.60, 0.62, 0.65, 0.61],
    ... }
    >>> display = SearchHeatmapDisplay.from_cv_results(cv_results)
    >>> display.y_name, display.scores
    ('lambda_reg', array([[0.6 , 0.65],
           [0.62, 0.61]]))
    """

    scores: np.ndarray
    x_values: Sequence[Any]
    y_values: Sequence[Any]
    x_name: str
    y_name: str
    score_name: str = "score"

    @classmethod
    def from_estimator(cls, estimator: Any, *, metric: str | None = None, **options: Any) -> Self:
        """Plot the scores of a fitted search.

        Parameters
        ----------
        estimator : search
            Fitted, with ``cv_results_``, such as :class:`~sklearn.model_selection.GridSearchCV`.
        metric : str, default=None
            Name of the metric of a search with several; None for the one that chose the best
            candidate.
        **options
            Further arguments of :meth:`from_cv_results`.

        Returns
        -------
        display : SearchHeatmapDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the search has no ``cv_results_``.
        """
        if not hasattr(estimator, "cv_results_"):
            raise NotFittedError(
                f"{type(estimator).__name__} has no cv_results_: give a fitted search."
            )
        refit = getattr(estimator, "refit", None)
        if metric is None and getattr(estimator, "multimetric_", False) and isinstance(refit, str):
            metric = refit
        return cls.from_cv_results(estimator.cv_results_, metric=metric, **options)

    @classmethod
    def from_cv_results(
        cls, cv_results: Mapping[str, Any], *, x: str | None = None, y: str | None = None,
        metric: str | None = None, ax: Any = None,
    ) -> Self:  # fmt: skip
        """Plot the scores of a search from its table.

        Parameters
        ----------
        cv_results : mapping of str to array-like
            ``cv_results_`` of a search, or a DataFrame made of it.
        x, y : str, default=None
            The two parameters, by their names in the search or the last part of these
            ("temperature" for "contrastivemultilabelclassifier__temperature"). None for the only
            two that vary, or for ``temperature`` and ``lambda_reg`` if these are among more.
        metric : str, default=None
            Name of the metric of a search with several; None for ``mean_test_score``.
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.

        Returns
        -------
        display : SearchHeatmapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the table lacks the metric or a parameter, a short name fits several parameters, or
            the two parameters to show are not clear.
        """
        column = f"mean_test_{metric or 'score'}"
        if column not in cv_results:
            known = [k.removeprefix("mean_test_") for k in cv_results if k.startswith("mean_test")]
            raise ValueError(f"metric must be one of {known}, got {metric!r}.")
        x, y, others = _chosen_parameters(cv_results, x, y)
        grid = _score_grid(cv_results[x], cv_results[y], cv_results[column])
        score_name = f"mean test {metric or 'score'}"
        if others:
            score_name += f", best over {', '.join(map(_short_name, others))}"
        display = cls(*grid, _short_name(x), _short_name(y), score_name)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.

        Returns
        -------
        display : SearchHeatmapDisplay
            The display, drawn.
        """
        # Most combinations of two ranges of numbers are empty after a random search.
        numbers = all(_is_number(value) for value in [*self.x_values, *self.y_values])
        sparse = numbers and np.isfinite(self.scores).mean() <= SPARSE
        row, column = np.unravel_index(np.nanargmax(self.scores), self.scores.shape)
        self.text_ = None
        draw = self._draw_points if sparse else self._draw_image
        draw(ax, int(row), int(column))
        self.colorbar_ = self.figure_.colorbar(self.image_, ax=self.ax_, label=self.score_name)
        self.ax_.set(xlabel=shortened(self.x_name), ylabel=shortened(self.y_name))
        return self

    def _draw_image(self, ax: Any, row: int, column: int) -> None:
        from matplotlib.patches import Rectangle

        width = np.clip(0.6 * len(self.x_values), 2.6, 6.4)
        height = np.clip(0.5 * len(self.y_values), 1.2, 5.4)
        (x_places, x_texts), (y_places, y_texts) = _ticks(self.x_values), _ticks(self.y_values)
        x_room, y_room = (0.085 * max(map(len, texts)) for texts in (x_texts, y_texts))
        upright = x_room > width / len(x_texts)
        size = (width + y_room + 2.1, height + x_room * upright + 1.6)
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=size)
        self.ax_.set_facecolor(UNDEFINED)
        self.image_ = self.ax_.imshow(self.scores, cmap="viridis", aspect="auto", origin="lower")
        self.ax_.set_xticks(x_places, x_texts, rotation=90 * upright)
        self.ax_.set_yticks(y_places, y_texts)
        self.ax_.tick_params(length=0)
        if self.scores.size <= MAX_ANNOTATED:
            self.text_ = write_values(self.ax_, self.image_, digits=3, fontsize=8)
        corner = (column - 0.5, row - 0.5)
        frame = Rectangle(corner, 1, 1, fill=False, edgecolor=ACCENT, linewidth=2.5)
        self.best_ = self.ax_.add_patch(frame)

    def _draw_points(self, ax: Any, row: int, column: int) -> None:
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(6.4, 4.6))
        rows, columns = np.nonzero(np.isfinite(self.scores))
        x, y = (np.asarray(v, dtype=np.float64) for v in (self.x_values, self.y_values))
        style = {"c": self.scores[rows, columns], "cmap": "viridis", "s": 45}
        self.image_ = self.ax_.scatter(x[columns], y[rows], **style)
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgewidth": 2.5}
        (self.best_,) = self.ax_.plot(x[column], y[row], "o", markeredgecolor=ACCENT, **ring)
        self.ax_.set(xscale=_scale_of(x), yscale=_scale_of(y))


# ---------------------------------------------------------------------- the table of a search


def _short_name(column: str) -> str:
    """Name of a parameter without those of the steps that it belongs to."""
    return column.removeprefix("param_").rpartition("__")[2]


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _key(value: Any) -> Any:
    """What tells values apart: numbers and texts themselves, other values by their repr.

    None stands for no value: NaN in a DataFrame, or masked for a candidate of another grid.
    """
    if value is np.ma.masked or (isinstance(value, Real) and np.isnan(float(value))):
        return None
    return value if _is_number(value) or isinstance(value, str) else repr(value)


def _distinct(column: Any) -> dict[Any, Any]:
    """Values by key: numbers in their order, others in that of their first appearance."""
    values = {key: value for value in column if (key := _key(value)) is not None}
    ordered = all(isinstance(key, Real) for key in values)
    return dict(sorted(values.items())) if ordered else values


def _parameter(columns: Sequence[str], name: str) -> str:
    """Column of a parameter given by its full or its short name."""
    fitting = [c for c in columns if c == f"param_{name}"]
    fitting = fitting or [c for c in columns if _short_name(c) == name]
    if len(fitting) != 1:
        known = [column.removeprefix("param_") for column in fitting or columns]
        problem = "fits several parameters" if fitting else "is no parameter of the search"
        raise ValueError(f"{name!r} {problem}: name one of {known}.")
    return fitting[0]


def _chosen_parameters(
    cv_results: Mapping[str, Any], x: str | None, y: str | None
) -> tuple[str, str, list[str]]:
    """Columns of the parameters on the two axes, and of the others that vary."""
    columns = [column for column in cv_results if column.startswith("param_")]
    given = [None if name is None else _parameter(columns, name) for name in (x, y)]
    free = [c for c in columns if c not in given and len(_distinct(cv_results[c])) > 1]
    free.sort(key=lambda column: (*PREFERRED, _short_name(column)).index(_short_name(column)))
    wanted = given.count(None)
    usual = wanted == 2 and tuple(map(_short_name, free[:2])) == PREFERRED
    if wanted and len(free) != wanted and not usual:
        raise ValueError(
            f"Name the parameters to show by x and y: got x={x!r}, y={y!r}, and "
            f"{[column.removeprefix('param_') for column in free]} vary besides."
        )
    first, second = (column or free.pop(0) for column in given)
    if first == second:
        raise ValueError(f"x and y must be two parameters, got {x!r} twice.")
    return first, second, free


def _score_grid(x: Any, y: Any, scores: Any) -> tuple[np.ndarray, list[Any], list[Any]]:
    """Best score of every pair of values, shape (n_y, n_x), and the values of both."""
    x_values, y_values = _distinct(x), _distinct(y)
    places = [{key: place for place, key in enumerate(v)} for v in (y_values, x_values)]
    best = np.full((len(y_values), len(x_values)), np.nan)
    for value_x, value_y, score in zip(x, y, scores, strict=True):
        at = places[0].get(_key(value_y)), places[1].get(_key(value_x))
        if None not in at:
            best[at] = np.fmax(best[at], score)
    if np.isnan(best).all():
        raise ValueError("No candidate with both parameters has a score: there is nothing to show.")
    return best, list(x_values.values()), list(y_values.values())


# ---------------------------------------------------------------------- the axes


def _scale_of(values: np.ndarray) -> str:
    """The scale on which the middle value lies nearer to the middle of the axis."""
    if values.min() <= 0 or values.min() == values.max():
        return "linear"
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    linear, log = (middle - low) / (high - low), np.log(middle / low) / np.log(high / low)
    return "log" if abs(log - 0.5) < abs(linear - 0.5) else "linear"


def _ticks(values: Sequence[Any]) -> tuple[range, list[str]]:
    """Places and texts of the values at an axis; of many, of every k-th one."""
    step = -(-len(values) // MAX_TICKS)
    texts = [f"{v:.4g}" if _is_number(v) else shortened(v) for v in values[::step]]
    return range(0, len(values), step), texts
