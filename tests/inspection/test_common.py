"""What all displays of labels share: axes, names, chosen labels, forms of scores, readability."""

from __future__ import annotations

import sys
from copy import copy
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import MultiLabelLogisticRegression
from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
from sklearn_mlcl.inspection import (
    CollapseDisplay,
    EmbeddingDisplay,
    LabelCorrelationDisplay,
    LabelEmbeddingDisplay,
    MultiLabelPrecisionRecallDisplay,
    MultiLabelReliabilityDisplay,
    SearchHeatmapDisplay,
    ThresholdCurveDisplay,
)
from tests.inspection.conftest import scored_rows
from tests.small import NAMES

CURVES = [MultiLabelPrecisionRecallDisplay, MultiLabelReliabilityDisplay]
OF_SCORES = [*CURVES, ThresholdCurveDisplay, LabelCorrelationDisplay]
of_scores = pytest.mark.parametrize("display_class", OF_SCORES, ids=lambda cls: cls.__name__)
curves = pytest.mark.parametrize("display_class", CURVES, ids=lambda cls: cls.__name__)


def texts_of(display: Any) -> list[str]:
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@of_scores
def test_axes_are_those_given_and_a_new_figure_else(display_class: Any, scored: Any) -> None:
    axes = plt.figure().subplots(1, 3)
    given = axes if display_class is LabelCorrelationDisplay else axes[1]
    display = display_class.from_predictions(*scored, ax=given)
    assert display.figure_ is axes[0].figure
    assert list(np.ravel(display.ax_)) == list(np.ravel(given))
    FigureCanvasAgg(display.figure_).draw()
    again = display.plot()
    assert again is display and display.figure_ is not axes[0].figure


@of_scores
def test_estimator_and_its_predictions_look_the_same(
    display_class: Any, heads: Any, named_data: Any
) -> None:
    X, Y = named_data
    of_predictions = display_class.from_predictions(Y, heads.predict_proba(X))
    in_frames = copy(heads).set_output(predict="pandas")
    for classifier, y in ((heads, sp.csr_array(Y.to_numpy())), (in_frames, Y)):
        display = display_class.from_estimator(classifier, X, y)
        for name, value in vars(of_predictions).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                np.testing.assert_allclose(getattr(display, name), value, err_msg=name)


@curves
def test_names_are_given_or_of_the_frame_or_of_the_fit(
    display_class: Any, heads: Any, named_data: Any
) -> None:
    X, Y = named_data
    plain, proba = Y.to_numpy(), heads.predict_proba(X)
    assert display_class.from_predictions(Y, proba).label_names == NAMES
    assert display_class.from_predictions(plain, proba).label_names == list("01234")
    assert display_class.from_estimator(heads, X, plain).label_names == NAMES
    pipeline = make_pipeline(StandardScaler(), MultiLabelLogisticRegression())
    search = GridSearchCV(pipeline, {"multilabellogisticregression__C": [1.0]}, cv=2).fit(X, Y)
    assert display_class.from_estimator(search, X, plain).label_names == NAMES
    own = display_class.from_predictions(Y, proba, label_names=list("abcde"))
    assert texts_of(own)[0].split(" (")[0] in "abcde"
    with pytest.raises(ValueError, match="label_names must name 5 labels, got 2 names"):
        display_class.from_predictions(Y, proba, label_names=["a", "b"])


@of_scores
def test_another_number_of_labels_is_one_of_y(
    display_class: Any, heads: Any, named_data: Any
) -> None:
    X, Y = named_data
    with pytest.raises(ValueError, match=r"y must have 5 columns, the labels \['beach'.* got 3"):
        display_class.from_estimator(heads, X, Y.to_numpy()[:, :3], response_method="auto")


@curves
@pytest.mark.parametrize(
    "given",
    [{"label_names": 3}, {"label_names": "abcde"}, {"line_kwargs": 3}, {"line_kwargs": ["a"]}],
)
def test_arguments_of_curves_are_named(display_class: Any, given: Any, named_data: Any) -> None:
    (name,) = given
    with pytest.raises(TypeError, match=f"^{name} must be a "):
        display_class.from_predictions(named_data[1], named_data[1].to_numpy() * 0.5, **given)


@curves
def test_few_labels_all_have_a_name(display_class: Any, named_data: Any, heads: Any) -> None:
    X, Y = named_data
    display = display_class.from_estimator(heads, X, Y)
    assert sorted(display.lines_) == [0, 1, 2, 3, 4] and not display.others_
    shown = texts_of(display)
    assert len(shown) == 6 and shown[-1].startswith("mean of the labels")
    colours = {(line.get_color(), line.get_linestyle()) for line in display.lines_.values()}
    assert len(colours) == 5


@curves
def test_of_many_labels_the_most_frequent_have_a_name(display_class: Any, many: Any) -> None:
    Y, proba = many
    display = display_class.from_predictions(Y, proba)
    assert len(display.lines_) == 6
    counts = Y.sum(axis=0)
    assert counts[list(display.lines_)].min() >= np.delete(counts, list(display.lines_)).max()
    assert texts_of(display)[-1] == f"{len(display.others_)} other labels"
    assert len({line.get_color() for line in display.others_}) == 1
    assert display.others_[0].get_linewidth() < display.lines_[display.named[0]].get_linewidth()


@curves
def test_labels_are_chosen_by_name_and_number(
    display_class: Any, heads: Any, named_data: Any
) -> None:
    X, Y = named_data
    display = display_class.from_estimator(heads, X, Y, labels=["field", 0, np.int64(0)])
    assert list(display.lines_) == [3, 0] and len(display.others_) == 3
    for wrong, message in (
        (
            ["desert"],
            r"no label 'desert'; expected a number from 0 to 4 or one of the names \['beach'",
        ),
        ([7], "no label 7"),
        ([-1], "no label -1"),
        ("beach", "labels must be a sequence of names or numbers, got 'beach'"),
    ):
        with pytest.raises(ValueError, match=message):
            display_class.from_estimator(heads, X, Y, labels=wrong)


def test_labels_without_a_curve_are_left_out_or_refused() -> None:
    Y, proba = scored_rows(60, 4)
    Y[:, 1], Y[:, 2] = 0, np.nan
    precision_recall = MultiLabelPrecisionRecallDisplay.from_predictions(Y, proba)
    assert set(precision_recall.lines_) == {0, 3} and not precision_recall.others_
    reliability = MultiLabelReliabilityDisplay.from_predictions(Y, proba, min_samples=1)
    assert set(reliability.lines_) == {0, 1, 3}
    for label in (1, 2):
        with pytest.raises(ValueError, match=f"Label '{label}' has no curve"):
            MultiLabelPrecisionRecallDisplay.from_predictions(Y, proba, labels=[label])
    nothing = np.full_like(Y, np.nan)
    for display_class in (*CURVES, ThresholdCurveDisplay):
        with pytest.raises(ValueError, match=r"positive|missing"):
            display_class.from_predictions(nothing, proba)


@of_scores
def test_scores_of_a_forest_with_a_constant_label(display_class: Any, label_data: Any) -> None:
    """Forests answer label by label, with a single column for a label of one class."""
    X, Y = label_data
    Y = np.column_stack([Y, np.zeros(len(Y), dtype=int)])
    forest = RandomForestClassifier(5, max_depth=3, random_state=0, n_jobs=1).fit(X, Y)
    display = display_class.from_estimator(forest, X, Y)
    FigureCanvasAgg(display.figure_).draw()


def test_response_method_is_checked(heads: Any, named_data: Any) -> None:
    display_class = MultiLabelPrecisionRecallDisplay
    display = display_class.from_estimator(heads, *named_data, response_method="decision_function")
    by_proba = display_class.from_estimator(heads, *named_data)
    np.testing.assert_allclose(display.average_precision, by_proba.average_precision)
    for wrong, refused in (
        ("predict", display_class),
        ("decision_function", MultiLabelReliabilityDisplay),
        ("decision_function", LabelCorrelationDisplay),
    ):
        with pytest.raises(ValueError, match="response_method must be 'auto' or one of"):
            refused.from_estimator(heads, *named_data, response_method=wrong)


def test_matplotlib_is_asked_for_by_name(monkeypatch: Any, scored: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"matplotlib.*pip install 'sklearn-mlcl\[plot\]'"):
        MultiLabelPrecisionRecallDisplay.from_predictions(*scored)


# ---------------------------------------------------------------- readability


def overlapping(texts: list[Any]) -> list[tuple[str, str]]:
    """Pairs of visible texts that run into each other, by more than half a pixel."""
    shown = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return [
        (a, b)
        for (a, first), (b, second) in combinations(shown, 2)
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 0.5
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 0.5
    ]


def tick_texts(axis: Any) -> list[Any]:
    """Names and numbers along both sides; matplotlib keeps some beyond the limits, undrawn."""
    texts = []
    for side, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        low, high = sorted((low, high))
        places = zip(side.get_ticklocs(), side.get_ticklabels(), strict=True)
        texts += [text for place, text in places if low <= place <= high]
    return texts


def check_readable(display: Any) -> None:
    """No two texts of an axis overlap, none leaves the figure, the legend is beside the plot."""
    canvas = FigureCanvasAgg(display.figure_)
    canvas.draw()
    page = display.figure_.bbox.padded(1)
    for axis in np.ravel(display.ax_):
        legend = axis.get_legend()
        texts = [*tick_texts(axis), *axis.texts]
        assert not overlapping(texts)
        if legend is not None:
            assert not overlapping(legend.get_texts())
            assert legend.get_window_extent().x0 >= axis.get_window_extent().x1 - 1
            assert max(len(text.get_text()) for text in legend.get_texts()) < 45
            texts += legend.get_texts()
        for text in texts:
            box = text.get_window_extent()
            inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0
            assert inside and box.y1 <= page.y1, text.get_text()


def long_names(n: int) -> list[str]:
    """Names of 80 letters."""
    return [
        f"{k}: a name that is longer than any plot has room for".ljust(80, ".") for k in range(n)
    ]


def with_long_names(n_labels: int) -> dict[str, Any]:
    Y, proba = scored_rows(100, n_labels)
    return {"y_true": Y, "y_proba": proba, "label_names": long_names(n_labels)}


@pytest.mark.parametrize("n_labels", [2, 6, 40, 200])
def test_correlations_are_readable(n_labels: int) -> None:
    check_readable(LabelCorrelationDisplay.from_predictions(**with_long_names(n_labels)))


@pytest.mark.parametrize("n_labels", [6, 200])
def test_curves_and_maps_are_readable(n_labels: int) -> None:
    Y, proba, names = with_long_names(n_labels).values()
    for display_class in CURVES:
        check_readable(display_class.from_predictions(Y, proba, label_names=names))
    by_label = ThresholdCurveDisplay.from_predictions(
        Y, proba, per_label=True, label_names=names, fitted=np.linspace(0.1, 0.3, n_labels)
    )
    check_readable(by_label)
    last = n_labels - 1
    for label in (None, last):
        display = EmbeddingDisplay.from_embedding(proba[:, :4], Y, label=label, label_names=names)
        check_readable(display.plot())


@pytest.mark.parametrize("n_labels", [5, 10])
def test_matrices_and_maps_of_labels_are_readable(n_labels: int) -> None:
    names, Y = long_names(n_labels), np.repeat(np.eye(n_labels, dtype=int), 3, axis=0)
    report = neural_collapse_metrics(Y @ simplex_etf(n_labels), Y)
    for kind in ("tags", "gram"):
        display = CollapseDisplay.from_report(report, kind=kind, label_names=names)
        check_readable(display.plot())
    angles = 2 * np.pi * np.arange(n_labels) / n_labels
    encoder = SimpleNamespace(label_embeddings_=np.column_stack([np.cos(angles), np.sin(angles)]))
    panels = ["matrix", "map"] if n_labels == 5 else "matrix"
    check_readable(LabelEmbeddingDisplay.from_estimator(encoder, label_names=names, panels=panels))


def test_a_heat_map_of_long_values_is_readable() -> None:
    table = {
        "param_loss": long_names(3) * 2,
        "param_sizes": [(64,)] * 3 + [(256, 256, 256, 256)] * 3,
        "mean_test_score": range(6),
    }
    check_readable(SearchHeatmapDisplay.from_cv_results(table))


@pytest.mark.parametrize("n_x, n_y", [(3, 2), (10, 10), (20, 10), (45, 30)])
def test_heat_maps_are_readable(n_x: int, n_y: int) -> None:
    x, y = np.meshgrid(np.geomspace(0.01, 1, n_x), np.linspace(0, 1, n_y))
    table = {
        "param_clf__temperature": x.ravel(),
        "param_clf__lambda_reg": y.ravel(),
        "mean_test_score": np.cos(x + y).ravel(),
    }
    check_readable(SearchHeatmapDisplay.from_cv_results(table))
