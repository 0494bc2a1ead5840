"""The displays of collapse show what the metrics hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.callbacks import NeuralCollapseMonitor
from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
from sklearn_mlcl.inspection import CollapseDisplay, CollapseHistoryDisplay
from tests.small import NAMES, small

each_kind = pytest.mark.parametrize("kind", ["tags", "gram", "phi", "scale"])


@pytest.fixture(scope="module")
def fitted(label_data: Any) -> MultiLabelMLPClassifier:
    monitor = NeuralCollapseMonitor(every=2)
    return small(MultiLabelMLPClassifier, max_epochs=5, callbacks=[monitor]).fit(*label_data)


@pytest.fixture(scope="module")
def collapsed() -> tuple[np.ndarray, np.ndarray]:
    """Exactly collapsed features of four labels with the scale 0.8 of pairs, and the labels."""
    Y = np.repeat(np.vstack([np.eye(4, dtype=int), [[1, 1, 0, 0], [0, 1, 1, 0]]]), 3, axis=0)
    scale = np.where(Y.sum(axis=1) == 2, 0.8, 1.0)
    return 7.0 + scale[:, None] * (Y @ simplex_etf(4, 6, random_state=0)), Y


@pytest.fixture(scope="module")
def report(collapsed: Any) -> Any:
    return neural_collapse_metrics(*collapsed)


@each_kind
def test_displays_of_an_encoder(kind: str, fitted: Any, label_data: Any) -> None:
    X, Y = label_data
    axis = plt.figure().subplots()
    display = CollapseDisplay.from_estimator(fitted, X, sp.csr_array(Y), kind=kind, ax=axis)
    assert display.ax_ is axis and display.figure_ is axis.figure
    FigureCanvasAgg(display.figure_).draw()
    again = display.plot()
    assert again is display and display.ax_ is not axis
    with config_context(transform_output="pandas"):
        of_frame = CollapseDisplay.from_estimator(fitted, X, Y, kind=kind)
    for name, value in display.values.items():
        assert_allclose(of_frame.values[name], value, err_msg=name)


@each_kind
def test_displays_of_a_report_wait_to_be_plotted(kind: str, report: Any) -> None:
    display = CollapseDisplay.from_report(report, kind=kind)
    assert not plt.get_fignums()
    FigureCanvasAgg(display.plot().figure_).draw()
    assert plt.get_fignums() == [display.figure_.number]


def test_names_are_given_or_of_the_frame_or_of_the_fit(fitted: Any, named_data: Any) -> None:
    X, Y = named_data
    make, plain = CollapseDisplay.from_estimator, Y.to_numpy()
    assert make(fitted, X, plain).label_names == list("01234")
    assert make(fitted, X, Y).label_names == NAMES
    clf = small(MultiLabelMLPClassifier).fit(X, Y)
    assert make(clf, X, plain).label_names == NAMES
    assert make(clf, X, Y, label_names=list("abcde")).label_names == list("abcde")


def test_arguments_are_checked(collapsed: Any, report: Any) -> None:
    H, Y = collapsed
    wide = neural_collapse_metrics(H, np.hstack([Y, np.zeros((len(Y), 1), dtype=int)]))
    for message, given, arguments in (
        (r"kind must be one of \('tags', .*, got 'plane'", report, {"kind": "plane"}),
        ("label_names must name 4 labels, got 2 names", report, {"label_names": ["a", "b"]}),
        ("at least three of the 4 labels, got .0, 1.", report, {"labels": [0, 1]}),
        ("at least three of the 4 labels, got .0, 1.", report, {"labels": [0, 1, 1]}),
        ("no label 9", report, {"labels": [0, 1, 9]}),
        ("labels must be a sequence", report, {"labels": [[0, 1, 2]]}),
        (r"labels \[4\] have no tag", wide, {"labels": [0, 1, 4]}),
    ):
        with pytest.raises(ValueError, match=message):
            CollapseDisplay.from_report(given, **arguments)


# ---------------------------------------------------------------------- the four kinds


def test_plane_of_three_labels(collapsed: Any) -> None:
    """Of a simplex any three tags form a regular triangle; pairs lie on the rays of their sums."""
    H, Y = collapsed
    identity = SimpleNamespace(transform=lambda X: X)
    display = CollapseDisplay.from_estimator(identity, H, Y, labels=[2, 0, "1"])
    tags, means, sets = (display.values[name] for name in ("tags", "set_means", "sets"))
    sides = np.linalg.norm(tags - np.roll(tags, 1, axis=0), axis=1)
    assert_allclose(sides, np.sqrt(8 / 3), rtol=1e-9)
    assert sets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]]
    for mean, ray in zip(means, display.artists_["rays"], strict=True):
        assert_allclose(ray.get_xydata()[1], mean, atol=1e-9)
    samples = display.artists_["samples"].get_offsets()
    assert len(samples) == 15
    assert_allclose(np.unique(samples.round(9), axis=0), np.unique(means.round(9), axis=0))
    assert [text.get_text() for text in display.ax_.texts] == ["0", "1", "2", "{0, 1}", "{1, 2}"]


def test_gram_of_a_simplex_has_no_deviation(report: Any) -> None:
    names = ["north", "east", "south", "west"]
    display = CollapseDisplay.from_report(report, kind="gram", label_names=names)
    assert_allclose(display.values["deviation"], 0, atol=1e-9)
    display.plot(plot_kwargs={"cmap": "viridis"})
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == names
    assert display.artists_["image"].get_cmap().name == "viridis"


def test_gram_tells_close_labels() -> None:
    tags = simplex_etf(4)
    tags[1] = tags[0] + 0.1 * tags[1]
    Y = np.repeat(np.eye(4, dtype=int), 3, axis=0)
    display = CollapseDisplay.from_report(neural_collapse_metrics(Y @ tags, Y), kind="gram")
    centred = tags - tags.mean(axis=0)
    cosines = centred @ centred.T / np.outer(*[np.linalg.norm(centred, axis=1)] * 2)
    expected = cosines - np.where(np.eye(4), 1, -1 / 3)
    assert_allclose(display.values["deviation"], expected, atol=1e-9)


def test_phi_alignment_lies_on_the_diagonal_at_collapse(report: Any) -> None:
    display = CollapseDisplay.from_report(report, kind="phi").plot()
    assert set(display.artists_) == {"diagonal", "1 and 1", "1 and 2", "2 and 2"}
    pairs = [v for name, v in display.artists_.items() if name != "diagonal"]
    points = np.vstack([scatter.get_offsets() for scatter in pairs])
    assert len(points) == len(display.values["phi"])
    assert_allclose(points[:, 0], points[:, 1], atol=1e-9)


def test_scales_are_those_of_the_report(report: Any) -> None:
    display = CollapseDisplay.from_report(report, kind="scale").plot()
    assert_allclose(display.artists_["fitted"].get_xydata(), [[1, 1], [2, 0.8]], atol=1e-9)


# ---------------------------------------------------------------------- over the epochs


def test_history_shows_the_measured_epochs(fitted: Any) -> None:
    display = CollapseHistoryDisplay.from_estimator(fitted, line_kwargs={"linewidth": 3})
    assert_array_equal(display.epochs, [1, 3, 5])
    assert {"tag_r2", "phi_rmse", "nc2_h", "nc2_w", "nc3"} < set(display.lines_)
    assert "alpha_m2" not in display.lines_ and "nc1_trace_m2" in display.lines_
    expected = 1 - fitted.history_["tag_r2"][[0, 2, 4]]
    assert_allclose(display.lines_["tag_r2"].get_ydata(), expected)
    assert all(line.get_linewidth() == 3 for line in display.lines_.values())
    wrapped = CollapseHistoryDisplay.from_estimator(make_pipeline(StandardScaler(), fitted))
    assert list(wrapped.lines_) == list(display.lines_)


def test_history_without_records_is_refused(label_data: Any) -> None:
    clf = small(MultiLabelMLPClassifier).fit(*label_data)
    with pytest.raises(ValueError, match=r"callbacks=\[NeuralCollapseMonitor\(\)\]"):
        CollapseHistoryDisplay.from_estimator(clf)
