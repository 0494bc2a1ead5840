"""The heat map of a search says what its table says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import MultiLabelLogisticRegression
from sklearn_mlcl.inspection import SearchHeatmapDisplay
from sklearn_mlcl.metrics import get_scorer

GRID = {"clf__C": [1.0, 0.01, 0.1], "clf__threshold": [0.5, 0.3], "scale__with_mean": [True, False]}


def search_over(grid: Any, data: Any, **arguments: Any) -> GridSearchCV:
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", MultiLabelLogisticRegression())])
    arguments = {"scoring": get_scorer("f1_macro"), "cv": 2, **arguments}
    return GridSearchCV(pipeline, grid, **arguments).fit(*data)


@pytest.fixture(scope="module")
def search(label_data: Any) -> GridSearchCV:
    return search_over({k: GRID[k] for k in ("clf__C", "clf__threshold")}, label_data)


def test_entries_are_the_mean_scores(search: Any) -> None:
    display = SearchHeatmapDisplay.from_estimator(search)
    assert (display.x_name, display.y_name) == ("C", "threshold")
    assert display.x_values == [0.01, 0.1, 1.0] and display.y_values == [0.3, 0.5]
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        row = display.y_values.index(params["clf__threshold"])
        column = display.x_values.index(params["clf__C"])
        assert display.scores[row, column] == score
        assert display.text_[row, column].get_text() == f"{score:.3f}"
        assert display.text_[row, column].get_position() == (column, row)
    assert_array_equal(display.image_.get_array(), display.scores)
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0.01", "0.1", "1"]


def test_the_best_entry_has_the_frame(search: Any) -> None:
    display = SearchHeatmapDisplay.from_estimator(search)
    x, y = (int(corner + 0.5) for corner in display.best_.get_xy())
    assert display.x_values[x] == search.best_params_["clf__C"]
    assert display.y_values[y] == search.best_params_["clf__threshold"]


def test_axes_are_chosen_by_name_and_the_rest_is_maximised(label_data: Any) -> None:
    search = search_over(GRID, label_data)
    with pytest.raises(ValueError, match=r"by x and y: got x=None, y=None, and \['clf__C', "):
        SearchHeatmapDisplay.from_estimator(search)
    display = SearchHeatmapDisplay.from_estimator(search, x="clf__threshold", y="with_mean")
    assert display.score_name == "mean test score, best over C"
    table = pd.DataFrame(search.cv_results_)
    best = table.groupby(["param_scale__with_mean", "param_clf__threshold"])[
        "mean_test_score"
    ].max()
    for (with_mean, threshold), score in best.items():
        cell = display.y_values.index(with_mean), display.x_values.index(threshold)
        assert display.scores[cell] == score
    with pytest.raises(ValueError, match=r"and .*'clf__C', 'scale__with_mean'.* vary besides"):
        SearchHeatmapDisplay.from_estimator(search, x="threshold")
    frame = SearchHeatmapDisplay.from_cv_results(table, x="threshold", y="with_mean")
    assert_array_equal(frame.scores, display.scores)


def test_temperature_and_clamp_come_first() -> None:
    names = ("lambda_reg", "dropout", "temperature")
    values = np.array(np.meshgrid([0.0, 1.0], [0.1, 0.4], [0.05, 0.1, 0.3])).reshape(3, -1)
    table = {f"param_net__{name}": column for name, column in zip(names, values, strict=True)}
    table["mean_test_score"] = np.arange(12.0)
    display = SearchHeatmapDisplay.from_cv_results(table)
    assert (display.x_name, display.y_name) == ("temperature", "lambda_reg")
    assert display.scores.shape == (2, 3) and display.scores.max() == 11
    other = SearchHeatmapDisplay.from_cv_results(table, x="dropout", y="temperature")
    assert other.x_values == [0.1, 0.4]
    del table["param_net__lambda_reg"]
    assert SearchHeatmapDisplay.from_cv_results(table).x_name == "temperature"


def test_several_metrics(label_data: Any) -> None:
    scoring = {name: get_scorer(f"f1_{name}") for name in ("micro", "macro")}
    grid = {k: GRID[k] for k in ("clf__C", "clf__threshold")}
    search = search_over(grid, label_data, scoring=scoring, refit="macro")
    chosen = SearchHeatmapDisplay.from_estimator(search)
    assert chosen.score_name == "mean test macro"
    assert chosen.scores.max() == search.cv_results_["mean_test_macro"].max()
    micro = SearchHeatmapDisplay.from_estimator(search, metric="micro")
    assert micro.scores.max() == search.cv_results_["mean_test_micro"].max()
    for metric in (None, "recall"):
        with pytest.raises(ValueError, match=r"metric must be one of \['micro', 'macro'\]"):
            SearchHeatmapDisplay.from_cv_results(search.cv_results_, metric=metric)


def test_candidates_without_a_parameter_and_failed_ones_are_left_out(label_data: Any) -> None:
    grids = [
        {"clf__C": [0.1, 1.0], "clf__threshold": [0.3]},
        {"clf__C": [0.1], "clf__threshold": [0.5]},
        {"scale__with_mean": [False]},
    ]
    search = search_over(grids, label_data)
    for table in (search.cv_results_, pd.DataFrame(search.cv_results_)):
        display = SearchHeatmapDisplay.from_cv_results(table, x="C", y="threshold")
        assert_array_equal(np.isnan(display.scores), [[False, False], [False, True]])
        assert display.text_[1, 1] is None
    failed = {"param_a": [1, 1, 2, 2], "param_b": [1, 2, 1, 2], "mean_test_score": [0, np.nan] * 2}
    scores = SearchHeatmapDisplay.from_cv_results(failed, x="a", y="b").scores
    assert_array_equal(scores, [[0, 0], [np.nan, np.nan]])
    failed["mean_test_score"] = [np.nan] * 4
    with pytest.raises(ValueError, match="nothing to show"):
        SearchHeatmapDisplay.from_cv_results(failed)


def test_values_of_any_kind() -> None:
    table = {
        "param_sizes": [(64,), (64,), (256, 256), (256, 256)],
        "param_loss": ["reg", None, "reg", None],
        "mean_test_score": [1.0, 2.0, 3.0, 4.0],
    }
    display = SearchHeatmapDisplay.from_cv_results(table)
    assert display.x_values == [(64,), (256, 256)] and display.y_values == ["reg", None]
    assert_array_equal(display.scores, [[1, 3], [2, 4]])
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["(64,)", "(256, 256)"]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["reg", "None"]


def test_large_grids_have_no_numbers_and_few_ticks() -> None:
    x, y = np.meshgrid(np.geomspace(0.01, 1, 50), np.arange(10))
    table = {"param_a": x.ravel(), "param_b": y.ravel(), "mean_test_score": np.sin(x + y).ravel()}
    display = SearchHeatmapDisplay.from_cv_results(table)
    assert display.text_ is None and display.scores.shape == (10, 50)
    shown = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert shown == [f"{value:.4g}" for value in display.x_values[::3]]


def test_a_random_search_shows_points() -> None:
    rng = np.random.default_rng(0)
    temperature, clamp = 10 ** rng.uniform(-2, 0, 40), rng.uniform(0, 1, 40)
    score = -((np.log10(temperature) + 1) ** 2)
    table = {"param_temperature": temperature, "param_lambda_reg": clamp, "mean_test_score": score}
    display = SearchHeatmapDisplay.from_cv_results(table)
    assert isinstance(display.image_, PathCollection) and display.text_ is None
    places = display.image_.get_offsets()
    order = np.argsort(places[:, 0])
    assert_allclose(places[order, 0], np.sort(temperature))
    assert_allclose(places[order, 1], clamp[np.argsort(temperature)])
    assert_allclose(display.image_.get_array()[order], score[np.argsort(temperature)])
    assert (display.ax_.get_xscale(), display.ax_.get_yscale()) == ("log", "linear")
    best = np.argmax(score)
    assert_allclose(display.best_.get_xydata(), [[temperature[best], clamp[best]]])


def test_arguments_are_checked(search: Any) -> None:
    make = SearchHeatmapDisplay.from_cv_results
    table = {"param_a__C": [1, 2], "param_b__C": [1, 2], "mean_test_score": [0.0, 1.0]}
    with pytest.raises(ValueError, match=r"'C' fits several parameters: name one of \['a__C', 'b"):
        make(table, x="C")
    with pytest.raises(ValueError, match=r"'D' is no parameter of the search: .*'a__C', 'b__C'"):
        make(table, x="D")
    with pytest.raises(ValueError, match="two parameters, got 'a__C' twice"):
        make(table, x="a__C", y="a__C")
    with pytest.raises(NotFittedError, match="GridSearchCV has no cv_results_"):
        SearchHeatmapDisplay.from_estimator(GridSearchCV(search.estimator, {}))
