"""Reading the table of a search: its parameters, their values, scores over two of them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

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
