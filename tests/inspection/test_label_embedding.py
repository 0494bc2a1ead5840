"""The display of label embeddings shows what the classifier and the labels hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import CGMVAEClassifier
from sklearn_mlcl.inspection import LabelEmbeddingDisplay
from tests.small import small


def with_embeddings(embeddings: np.ndarray, **attributes: Any) -> Any:
    """What the display asks of an estimator, for embeddings of our own."""
    return SimpleNamespace(label_embeddings_=embeddings, **attributes)


def pairs_of_labels(n: int = 200) -> np.ndarray:
    """Labels 0 and 2 are one, 1 and 3 are nearly one, the pairs are independent."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, n)) < 0.5
    return np.column_stack([a, b, a, b ^ (rng.random(n) < 0.1)]).astype(float)


TWO_GROUPS = np.array([[1.0, 0.1, 0], [0, 1, 0.1], [3, 0, 0], [0, 2, 0]])


def test_of_a_fitted_classifier(label_data: Any) -> None:
    X, Y = label_data
    frame = pd.DataFrame(Y, columns=list("abcde"))
    clf = small(CGMVAEClassifier)
    display = LabelEmbeddingDisplay.from_estimator(
        make_pipeline(StandardScaler(), clf).fit(X, frame), frame
    )
    assert display.label_names == list("abcde")
    assert_allclose(display.similarity, clf.label_similarity(), atol=1e-12)
    assert_allclose(display.correlation, np.corrcoef(Y.T), atol=1e-12)
    assert len(display.ax_) == 2 and all(ax.figure is display.figure_ for ax in display.ax_)
    display.figure_.canvas.draw()


def test_the_matrix_has_cosines_below_and_correlations_above() -> None:
    Y = pairs_of_labels()
    display = LabelEmbeddingDisplay.from_estimator(with_embeddings(TWO_GROUPS), Y, panels="matrix")
    shown = np.asarray(display.image_.get_array())
    order = [int(tick.get_text()) for tick in display.ax_[0].get_yticklabels()]
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}
    phi = np.corrcoef(Y.T)
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            if i != j:
                expected = display.similarity[a, b] if j < i else phi[a, b]
                assert shown[i, j] == pytest.approx(expected)
    assert display.points_ is None and display.agreement() > 0.9


def test_without_labels_the_matrix_is_symmetric() -> None:
    display = LabelEmbeddingDisplay.from_estimator(with_embeddings(TWO_GROUPS))
    shown = np.asarray(display.image_.get_array())
    assert_array_equal(np.nan_to_num(shown), np.nan_to_num(shown.T))
    assert display.correlation is None and not display.ax_[1].lines
    with pytest.raises(ValueError, match="made without y"):
        display.agreement()


def test_the_map_keeps_the_distances_of_unit_embeddings_in_a_plane() -> None:
    angles = np.linspace(0, 2, 5)
    plane = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(5)])
    plane *= np.arange(1, 6)[:, None]
    display = LabelEmbeddingDisplay.from_estimator(with_embeddings(plane), panels="map")
    found = np.linalg.norm(display.positions[:, None] - display.positions, axis=2)
    assert_allclose(found, 2 * np.abs(np.sin((angles[:, None] - angles) / 2)), atol=1e-12)
    assert_allclose(display.points_.get_offsets(), display.positions)
    assert display.image_ is None


def test_lines_join_labels_that_come_together() -> None:
    Y = pairs_of_labels()
    display = LabelEmbeddingDisplay.from_estimator(with_embeddings(TWO_GROUPS), Y, panels=["map"])
    (line,) = display.ax_[0].lines
    assert_allclose(line.get_xydata(), display.positions[[0, 2]])


def test_unknown_and_sparse_labels() -> None:
    Y = pairs_of_labels()
    clf = with_embeddings(TWO_GROUPS)
    dense = LabelEmbeddingDisplay.from_estimator(clf, Y)
    sparse = LabelEmbeddingDisplay.from_estimator(clf, sp.csr_matrix(Y))
    assert_array_equal(dense.correlation, sparse.correlation)
    Y[:50, 1] = np.nan
    masked = LabelEmbeddingDisplay.from_estimator(clf, Y).correlation
    assert_allclose(masked[1, 3], np.corrcoef(Y[50:, 1], Y[50:, 3])[0, 1])
    assert_allclose(masked[0, 2], dense.correlation[0, 2])
    Y[:, 0] = 1
    constant = LabelEmbeddingDisplay.from_estimator(clf, Y)
    assert np.isnan(constant.correlation[0]).all() and np.isfinite(constant.agreement())


@pytest.mark.parametrize("n_labels", [1, 2, 60])
def test_few_and_many_labels(n_labels: int) -> None:
    rng = np.random.default_rng(0)
    clf = with_embeddings(rng.normal(size=(n_labels, 4)))
    Y = (rng.random((50, n_labels)) < 0.5).astype(int)
    display = LabelEmbeddingDisplay.from_estimator(clf, Y)
    display.figure_.canvas.draw()
    assert display.positions.shape == (n_labels, 2)
    assert len(display.ax_[0].get_yticks()) <= 40 and bool(display.ax_[1].texts) == (n_labels < 41)
    assert np.isnan(display.agreement()) == (n_labels < 3)


def test_bad_arguments() -> None:
    clf = with_embeddings(TWO_GROUPS, label_names_=np.array(list("abcd")))
    assert LabelEmbeddingDisplay.from_estimator(clf).label_names == list("abcd")
    with pytest.raises(ValueError, match=r"y must have shape \(n, 4\)"):
        LabelEmbeddingDisplay.from_estimator(clf, np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"\b0,? .*\b1\b.*NaN"):
        LabelEmbeddingDisplay.from_estimator(clf, np.full((3, 4), 2))
    with pytest.raises(ValueError, match="panels must be some of"):
        LabelEmbeddingDisplay.from_estimator(clf, panels=["graph"])
    with pytest.raises(ValueError, match="label_names must name 4 labels"):
        LabelEmbeddingDisplay.from_estimator(clf, label_names=["one"])
    with pytest.raises(ValueError, match="ax must hold 2 axes"):
        LabelEmbeddingDisplay.from_estimator(clf, ax=plt.subplots()[1])
    with pytest.raises(NotFittedError, match="CGMVAEClassifier has no label_embeddings_"):
        LabelEmbeddingDisplay.from_estimator(CGMVAEClassifier())
