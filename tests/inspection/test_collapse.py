"""The displays of collapse show what the metrics hold."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.callbacks import NeuralCollapseMonitor
from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf, ufm_scaling
from sklearn_mlcl.inspection import (
    CollapseHistoryDisplay,
    MultiplicityScaleDisplay,
    PhiAlignmentDisplay,
    TagGramDisplay,
    TagPlaneDisplay,
)

OF_ROWS = [MultiplicityScaleDisplay, PhiAlignmentDisplay, TagGramDisplay, TagPlaneDisplay]
of_rows = pytest.mark.parametrize("display_class", OF_ROWS, ids=lambda cls: cls.__name__)


@pytest.fixture(scope="module")
def fitted(label_data: Any) -> MultiLabelMLPClassifier:
    return MultiLabelMLPClassifier(
        hidden_layer_sizes=(16,),
        max_epochs=5,
        callbacks=[NeuralCollapseMonitor(every=2)],
        random_state=0,
    ).fit(*label_data)


@pytest.fixture(scope="module")
def collapsed() -> tuple[np.ndarray, np.ndarray]:
    """Exactly collapsed features of four labels with the scale 0.8 of pairs, and the labels."""
    Y = np.repeat(np.vstack([np.eye(4, dtype=int), [[1, 1, 0, 0], [0, 1, 1, 0]]]), 3, axis=0)
    scale = np.where(Y.sum(axis=1) == 2, 0.8, 1.0)
    return 7.0 + scale[:, None] * (Y @ simplex_etf(4, 6, random_state=0)), Y


@of_rows
def test_displays_of_an_encoder(display_class: Any, fitted: Any, label_data: Any) -> None:
    X, Y = label_data
    axis = plt.figure().subplots()
    display = display_class.from_estimator(fitted, X, sp.csr_array(Y), ax=axis)
    assert display.ax_ is axis and display.figure_ is axis.figure
    FigureCanvasAgg(display.figure_).draw()
    again = display.plot()
    assert again is display and display.ax_ is not axis


@of_rows
def test_displays_of_a_report_wait_to_be_plotted(display_class: Any, collapsed: Any) -> None:
    display = display_class.from_report(neural_collapse_metrics(*collapsed))
    assert not plt.get_fignums()
    FigureCanvasAgg(display.plot().figure_).draw()
    assert plt.get_fignums() == [display.figure_.number]


def test_history_shows_the_measured_epochs(fitted: Any) -> None:
    display = CollapseHistoryDisplay.from_estimator(fitted, line_kwargs={"linewidth": 3})
    assert_array_equal(display.epochs, [1, 3, 5])
    assert {"tag_r2", "phi_rmse", "nc2_h", "nc2_w", "nc3"} < set(display.lines_)
    assert "alpha_m2" not in display.lines_ and "nc1_trace_m2" in display.lines_
    expected = 1 - fitted.history_["tag_r2"][[0, 2, 4]]
    assert_allclose(display.lines_["tag_r2"].get_ydata(), expected)
    assert all(line.get_linewidth() == 3 for line in display.lines_.values())
    FigureCanvasAgg(display.figure_).draw()


def test_history_without_records_is_refused(label_data: Any) -> None:
    clf = MultiLabelMLPClassifier(max_epochs=1, hidden_layer_sizes=(4,)).fit(*label_data)
    with pytest.raises(ValueError, match=r"callbacks=\[NeuralCollapseMonitor\(\)\]"):
        CollapseHistoryDisplay.from_estimator(clf)


def test_gram_of_a_simplex_has_no_deviation(collapsed: Any) -> None:
    H, Y = collapsed
    report = neural_collapse_metrics(H, Y)
    display = TagGramDisplay.from_report(report, label_names=["north", "east", "south", "west"])
    assert_allclose(display.deviation, 0, atol=1e-9)
    display.plot(image_kwargs={"cmap": "viridis"})
    assert next(iter(display.ax_.get_xticklabels())).get_text() == "north"
    assert display.image_.get_cmap().name == "viridis"
    with pytest.raises(ValueError, match="label_names must name 4 labels, got 2 names"):
        TagGramDisplay.from_report(report, label_names=["a", "b"])


def test_gram_tells_close_labels() -> None:
    tags = simplex_etf(4)
    tags[1] = tags[0] + 0.1 * tags[1]
    Y = np.repeat(np.eye(4, dtype=int), 3, axis=0)
    deviation = TagGramDisplay.from_report(neural_collapse_metrics(Y @ tags, Y)).deviation
    off = np.where(np.eye(4, dtype=bool), -np.inf, deviation)
    assert set(np.unravel_index(off.argmax(), off.shape)) == {0, 1} and off.max() > 0.5


def test_phi_alignment_lies_on_the_diagonal_at_collapse(collapsed: Any) -> None:
    H, Y = collapsed
    display = PhiAlignmentDisplay.from_report(neural_collapse_metrics(H, Y)).plot()
    assert set(display.scatters_) == {(1, 1), (1, 2), (2, 2)}
    points = np.vstack([scatter.get_offsets() for scatter in display.scatters_.values()])
    assert len(points) == len(display.phi)
    assert_allclose(points[:, 0], points[:, 1], atol=1e-9)


def test_scales_beside_those_of_the_optimum(collapsed: Any) -> None:
    H, Y = collapsed
    optimum = ufm_scaling(4, {1: 12, 2: 6}, lam_w=5e-3, lam_h=5e-3 / 18)
    report = neural_collapse_metrics(H, Y)
    display = MultiplicityScaleDisplay.from_report(report, expected=optimum).plot()
    assert_allclose(display.line_.get_xydata(), [[1, 1], [2, 0.8]], atol=1e-9)
    assert_allclose(display.expected_line_.get_ydata(), list(optimum.relative.values()))
    alone = MultiplicityScaleDisplay.from_report(report).plot()
    assert alone.expected_line_ is None


def test_plane_of_three_labels(collapsed: Any) -> None:
    """Of a simplex any three tags form a regular triangle; pairs lie on the rays of their sums."""
    H, Y = collapsed

    class Identity:
        def transform(self, X: Any) -> Any:
            return X

    display = TagPlaneDisplay.from_estimator(Identity(), H, Y, labels=[2, 0, 1])
    sides = np.linalg.norm(display.tags - np.roll(display.tags, 1, axis=0), axis=1)
    assert_allclose(sides, np.sqrt(8 / 3), rtol=1e-9)
    assert display.sets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]]
    for mean, ray in zip(display.set_means, display.rays_, strict=True):
        assert_allclose(ray.get_xydata()[1], mean, atol=1e-9)
    assert len(display.rows) == 15 and display.scatter_ is not None
    assert_allclose(np.unique(display.rows.round(9), axis=0).shape, (5, 2))


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1], [0, 1, 9], [[0, 1, 2]]])
def test_plane_needs_three_labels(labels: list, collapsed: Any) -> None:
    with pytest.raises(ValueError, match="at least three of the 4 labels by number"):
        TagPlaneDisplay.from_report(neural_collapse_metrics(*collapsed), labels=labels)


def test_plane_refuses_labels_without_a_tag(collapsed: Any) -> None:
    H, Y = collapsed
    wide = np.hstack([Y, np.zeros((len(Y), 1), dtype=int)])
    with pytest.raises(ValueError, match=r"labels \[4\] have no tag"):
        TagPlaneDisplay.from_report(neural_collapse_metrics(H, wide), labels=[0, 1, 4])


@pytest.mark.parametrize("display_class", [TagGramDisplay, TagPlaneDisplay])
def test_names_are_given_or_of_the_frame_or_of_the_fit(
    display_class: Any, fitted: Any, label_data: Any
) -> None:
    X, Y = label_data
    named = pd.DataFrame(Y, columns=["beach", "sunset", "foliage", "field", "mountain"])
    n_shown = 3 if display_class is TagPlaneDisplay else 5
    assert display_class.from_estimator(fitted, X, Y).label_names == list("01234")[:n_shown]
    of_frame = display_class.from_estimator(fitted, X, named)
    assert of_frame.label_names == list(named.columns)[:n_shown]
    clf = MultiLabelMLPClassifier(hidden_layer_sizes=(8,), max_epochs=1).fit(X, named)
    assert display_class.from_estimator(clf, X, Y).label_names == list(named.columns)[:n_shown]
    own = display_class.from_estimator(clf, X, named, label_names=list("abcde"))
    assert own.label_names == list("abcde")[:n_shown]


@of_rows
def test_embeddings_in_frames_are_displayed_alike(
    display_class: Any, fitted: Any, label_data: Any
) -> None:
    X, Y = label_data
    of_array = display_class.from_estimator(fitted, X, Y)
    with config_context(transform_output="pandas"):
        of_frame = display_class.from_estimator(fitted, X, Y)
    arrays = {name: v for name, v in vars(of_array).items() if isinstance(v, np.ndarray)}
    assert arrays
    for name, value in arrays.items():
        assert_allclose(getattr(of_frame, name), value, err_msg=name)
