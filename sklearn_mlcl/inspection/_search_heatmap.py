"""Two parameters of a search against its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from sklearn_mlcl.inspection._drawing import ACCENT, axes_of, shortened

#: What the contrastive losses are tuned by: the first two to show, in this order.
PREFERRED = {"temperature": 0, "lambda_reg": 1}


def short_name(name: str) -> str:
    """Return the name of a parameter without those of the steps that it belongs to."""
    return name.removeprefix("param_").rpartition("__")[2]


def _key(value: Any) -> Any:
    """What tells values apart: numbers and texts themselves, anything else by how it is written."""
    return value if isinstance(value, (Real, str)) and not isinstance(value, bool) else repr(value)


def _is_missing(value: Any) -> bool:
    """Whether a candidate of another grid lacks the parameter: masked, or NaN in a DataFrame."""
    return value is np.ma.masked or (isinstance(value, Real) and bool(np.isnan(float(value))))


def _distinct(column: Any) -> dict[Any, Any]:
    """Values by key: numbers in their order, others in that of their first appearance."""
    values = {_key(value): value for value in column if not _is_missing(value)}
    if all(isinstance(key, Real) for key in values):
        return dict(sorted(values.items()))
    return values


def _parameter(cv_results: Mapping[str, Any], name: str) -> str:
    """Return the column of a parameter given by its full or its short name."""
    columns = [column for column in cv_results if column.startswith("param_")]
    fitting = [c for c in columns if c == f"param_{name}"] or [
        c for c in columns if short_name(c) == name
    ]
    if len(fitting) != 1:
        known = [column.removeprefix("param_") for column in fitting or columns]
        problem = "fits several parameters" if fitting else "is no parameter of the search"
        raise ValueError(f"{name!r} {problem}: name one of {known}.")
    return fitting[0]


def varying_parameters(cv_results: Mapping[str, Any]) -> list[str]:
    """Return the columns of the parameters that have several values."""
    columns = [column for column in cv_results if column.startswith("param_")]
    return [column for column in columns if len(_distinct(cv_results[column])) > 1]


def chosen_parameters(
    cv_results: Mapping[str, Any], x: str | None, y: str | None
) -> tuple[str, str]:
    """Return the columns of the two parameters; the one on the x axis first."""
    given = {
        axis: _parameter(cv_results, name)
        for axis, name in (("x", x), ("y", y))
        if name is not None
    }
    free = [column for column in varying_parameters(cv_results) if column not in given.values()]
    free.sort(key=lambda column: PREFERRED.get(short_name(column), len(PREFERRED)))
    wanted = 2 - len(given)
    usual = not given and {short_name(column) for column in free[:2]} == set(PREFERRED)
    clear = usual or len(free) == wanted
    if not clear and wanted:
        raise ValueError(
            f"Name the parameters to show by x and y: got x={x!r}, y={y!r}, and "
            f"{[column.removeprefix('param_') for column in free]} vary besides."
        )
    chosen = [given.get(axis) or free.pop(0) for axis in ("x", "y")]
    if chosen[0] == chosen[1]:
        raise ValueError(f"x and y must be two parameters, got {x!r} twice.")
    return chosen[0], chosen[1]


def score_grid(x: Any, y: Any, scores: Any) -> tuple[np.ndarray, list[Any], list[Any]]:
    """Best score of every pair of values, shape (n_y, n_x), and the values of both."""
    x_values, y_values = _distinct(x), _distinct(y)
    columns, rows = list(x_values), list(y_values)
    best = np.full((len(rows), len(columns)), np.nan)
    for value_x, value_y, score in zip(x, y, scores, strict=True):
        if not (_is_missing(value_x) or _is_missing(value_y)):
            cell = rows.index(_key(value_y)), columns.index(_key(value_x))
            best[cell] = np.fmax(best[cell], score)
    if np.isnan(best).all():
        raise ValueError("No candidate with both parameters has a score: there is nothing to show.")
    return best, list(x_values.values()), list(y_values.values())


#: Numbers of values up to which all stand at an axis, and of cells up to which scores stand in.
MAX_TICKS, MAX_ANNOTATED = 20, 100
UNTRIED = "#dddddd"
#: Share of the combinations up to which those that were tried are points and no cells.
SPARSE = 0.2


class SearchHeatmapDisplay:
    """Heat map of the mean test score of a search over two of its parameters.

    Where the search varied further parameters, a cell shows the best of its candidates. The best
    cell has a frame. Combinations that were not tried are grey; where that are nearly all, as
    after a random search over two ranges of numbers, the candidates are points instead of cells.

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
        The scores in the cells; None where there are too many to read.
    best_ : matplotlib Rectangle or Line2D
        The frame of the best cell, or the ring around the best point.
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

    def __init__(
        self,
        scores: np.ndarray,
        x_values: Sequence[Any],
        y_values: Sequence[Any],
        x_name: str,
        y_name: str,
        score_name: str = "score",
    ) -> None:
        self.scores = scores
        self.x_values = x_values
        self.y_values = y_values
        self.x_name = x_name
        self.y_name = y_name
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, x: str | None = None, y: str | None = None,
        metric: str | None = None, ax: Any = None, image_kwargs: Mapping[str, Any] | None = None,
    ) -> SearchHeatmapDisplay:  # fmt: skip
        """Plot the scores of a fitted search.

        Parameters
        ----------
        estimator : search
            Fitted, with ``cv_results_``, such as :class:`~sklearn.model_selection.GridSearchCV`.
        x, y : str, default=None
            The two parameters, by their names in the search or the last part of these
            ("temperature" for "contrastivemultilabelclassifier__temperature"). None for the only
            two that vary, or for ``temperature`` and ``lambda_reg`` where these are among more.
        metric : str, default=None
            Name of the metric of a search with several; None for the one that it chose by.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        image_kwargs : dict, default=None
            Further arguments of ``imshow`` (for points, of ``scatter``).

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
        return cls.from_cv_results(
            estimator.cv_results_, x=x, y=y, metric=metric, ax=ax, image_kwargs=image_kwargs
        )

    @classmethod
    def from_cv_results(
        cls, cv_results: Mapping[str, Any], *, x: str | None = None, y: str | None = None,
        metric: str | None = None, ax: Any = None, image_kwargs: Mapping[str, Any] | None = None,
    ) -> SearchHeatmapDisplay:  # fmt: skip
        """Plot the scores of a search from its table.

        Parameters
        ----------
        cv_results : mapping of str to array-like
            ``cv_results_`` of a search, or a DataFrame made of it.
        x, y, metric, ax, image_kwargs
            As in :meth:`from_estimator`; metric None means ``mean_test_score``.

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
            metrics = [
                k.removeprefix("mean_test_") for k in cv_results if k.startswith("mean_test")
            ]
            raise ValueError(f"metric must be one of {metrics}, got {metric!r}.")
        x, y = chosen_parameters(cv_results, x, y)
        scores, x_values, y_values = score_grid(cv_results[x], cv_results[y], cv_results[column])
        others = [short_name(c) for c in varying_parameters(cv_results) if c not in (x, y)]
        of = f"mean test {metric or 'score'}"
        score_name = f"{of}, best over {', '.join(others)}" if others else of
        display = cls(scores, x_values, y_values, short_name(x), short_name(y), score_name)
        return display.plot(ax=ax, image_kwargs=image_kwargs)

    def plot(
        self, ax: Any = None, *, image_kwargs: Mapping[str, Any] | None = None
    ) -> SearchHeatmapDisplay:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        image_kwargs : dict, default=None
            Further arguments of ``imshow`` (for points, of ``scatter``).

        Returns
        -------
        display : SearchHeatmapDisplay
            The display, drawn.
        """
        n_y, n_x = self.scores.shape
        size = (np.clip(2.6 + 0.6 * n_x, 4.2, 9), np.clip(1.6 + 0.5 * n_y, 2.8, 7))
        points = self._are_points()
        self.ax_ = axes_of(ax, figsize=(6.4, 4.6) if points else size)
        self.figure_ = self.ax_.figure
        row, column = np.unravel_index(np.nanargmax(self.scores), self.scores.shape)
        self.text_ = None
        draw = self._draw_points if points else self._draw_cells
        draw(int(row), int(column), image_kwargs or {})
        self.colorbar_ = self.figure_.colorbar(self.image_, ax=self.ax_, label=self.score_name)
        self.ax_.set(xlabel=self.x_name, ylabel=self.y_name)
        return self

    def _are_points(self) -> bool:
        """Whether most combinations of two numbers are empty, as after a random search."""
        numbers = all(_is_number(value) for value in [*self.x_values, *self.y_values])
        return numbers and bool(np.isfinite(self.scores).mean() <= SPARSE)

    def _draw_cells(self, row: int, column: int, wanted: Mapping[str, Any]) -> None:
        from matplotlib.patches import Rectangle

        self.ax_.set_facecolor(UNTRIED)
        style = {"cmap": "viridis", "aspect": "auto", "origin": "lower", **wanted}
        self.image_ = self.ax_.imshow(self.scores, **style)
        _write_ticks(self.ax_.xaxis, self.x_values)
        _write_ticks(self.ax_.yaxis, self.y_values)
        if self.scores.size <= MAX_ANNOTATED:
            self.text_ = self._write_scores()
        corner = (column - 0.5, row - 0.5)
        frame = Rectangle(corner, 1, 1, fill=False, edgecolor=ACCENT, linewidth=2.5)
        self.best_ = self.ax_.add_patch(frame)

    def _draw_points(self, row: int, column: int, wanted: Mapping[str, Any]) -> None:
        rows, columns = np.nonzero(np.isfinite(self.scores))
        x, y = (np.asarray(v, dtype=np.float64) for v in (self.x_values, self.y_values))
        style = {"c": self.scores[rows, columns], "cmap": "viridis", "s": 45, **wanted}
        self.image_ = self.ax_.scatter(x[columns], y[rows], **style)
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgewidth": 2.5}
        (self.best_,) = self.ax_.plot(
            x[column], y[row], "o", markeredgecolor=ACCENT, linestyle="none", **ring
        )
        self.ax_.set_xscale(_scale_of(x))
        self.ax_.set_yscale(_scale_of(y))

    def _write_scores(self) -> np.ndarray:
        texts = np.full(self.scores.shape, None, dtype=object)
        for (row, column), score in np.ndenumerate(self.scores):
            if np.isfinite(score):
                # Rec. 601 luma: dark text on the light end of the colours.
                red, green, blue, _ = self.image_.to_rgba(score)
                light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
                texts[row, column] = self.ax_.text(
                    column, row, f"{score:.3f}", ha="center", va="center", fontsize=8,
                    color="black" if light else "white",
                )  # fmt: skip
        return texts


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _scale_of(values: np.ndarray) -> str:
    """Return the scale on which the middle value lies nearer to the middle of the axis."""
    if values.min() <= 0 or values.min() == values.max():
        return "linear"
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    linear, log = (middle - low) / (high - low), np.log(middle / low) / np.log(high / low)
    return "log" if abs(log - 0.5) < abs(linear - 0.5) else "linear"


def _text(value: Any) -> str:
    return f"{value:.4g}" if _is_number(value) else shortened(value)


def _write_ticks(axis: Any, values: Sequence[Any]) -> None:
    """Write the values at an axis; of many, every k-th one."""
    step = -(-len(values) // MAX_TICKS)
    texts = [_text(value) for value in values]
    axis.set_ticks(range(0, len(values), step), texts[::step])
    axis.set_tick_params(length=0)
    if axis.axis_name == "x" and sum(map(len, texts[::step])) > 60:
        axis.set_tick_params(rotation=90)
