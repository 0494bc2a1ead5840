"""The embedding map: coordinates, colours, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA, KernelPCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_mlcl import ContrastiveMultiLabelClassifier
from sklearn_mlcl.inspection import EmbeddingDisplay
from tests.small import NAMES, small


@pytest.fixture(scope="module")
def encoder(named_data: Any) -> Any:
    """A net in a pipeline, which answers with a DataFrame."""
    net = small(ContrastiveMultiLabelClassifier)
    pipeline = make_pipeline(StandardScaler(), net).set_output(transform="pandas")
    return pipeline.fit(*named_data)


def test_points_are_the_principal_components(encoder: Any, named_data: Any) -> None:
    X, Y = named_data
    display = EmbeddingDisplay.from_estimator(encoder, X, Y)
    pca = PCA(2).fit(encoder.transform(X).to_numpy())
    expected = pca.transform(encoder.transform(X).to_numpy())
    assert_allclose(display.points, expected, rtol=1e-4, atol=1e-4)
    share = pca.explained_variance_ratio_
    assert display.ax_.get_xlabel() == f"PCA 1 ({share[0]:.0%} of variance)"
    assert display.ax_.get_ylabel() == f"PCA 2 ({share[1]:.0%})"


def test_number_of_labels_is_the_colour(encoder: Any, named_data: Any) -> None:
    X, Y = named_data
    display = EmbeddingDisplay.from_estimator(encoder, X, sp.csr_array(Y.to_numpy()))
    counts = Y.to_numpy().sum(axis=1)
    assert_array_equal(display.values, counts)
    points = display.scatters_["samples"]
    assert_array_equal(points.get_array(), counts)
    colours = {tuple(colour) for colour in points.cmap(points.norm(np.unique(counts)))}
    assert len(colours) == len(np.unique(counts))
    assert display.colorbar_.mappable is points
    assert display.colorbar_.ax.get_ylabel() == "number of labels"


def test_a_label_is_the_colour(encoder: Any, named_data: Any) -> None:
    X, Y = named_data
    by_name = EmbeddingDisplay.from_estimator(encoder, X, Y.to_numpy(), label="foliage")
    by_number = EmbeddingDisplay.from_estimator(encoder, X, Y, label=2)
    for display in (by_name, by_number):
        assert display.label == "foliage" and display.colorbar_ is None
        assert list(display.scatters_) == ["without", "with"]
        carries = Y["foliage"] == 1
        assert_array_equal(display.scatters_["with"].get_offsets(), display.points[carries])
        assert_array_equal(display.scatters_["without"].get_offsets(), display.points[~carries])
        texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert texts == [f"without ({(~carries).sum()})", f"with ({carries.sum()})"]
    assert by_name.scatters_["with"].zorder >= by_name.scatters_["without"].zorder


def test_missing_labels_are_no_labels() -> None:
    points = np.arange(12.0).reshape(6, 2)
    Y = np.array([[1, 1], [1, np.nan], [0, 1], [np.nan, np.nan], [0, 0], [1, 1]])
    counts = EmbeddingDisplay.from_embedding(points, Y)
    assert_array_equal(counts.values, [2, 1, 1, 0, 0, 2])
    display = EmbeddingDisplay.from_embedding(points, Y, label=0).plot()
    assert {name: len(s.get_offsets()) for name, s in display.scatters_.items()} == {
        "without": 2,
        "missing": 1,
        "with": 3,
    }
    assert_array_equal(display.scatters_["missing"].get_offsets(), points[[3]])
    assert display.scatters_["missing"].get_facecolor().size == 0


def test_two_columns_are_shown_as_they_are() -> None:
    points = np.random.default_rng(0).random((20, 2))
    Y = (points > 0.5).astype(int)
    for vectors in (points, points.tolist(), sp.csr_array(points)):
        assert_array_equal(EmbeddingDisplay.from_embedding(vectors, Y).points, points)
    turned = EmbeddingDisplay.from_embedding(points, Y, reducer=MinMaxScaler())
    assert_allclose(turned.points.min(axis=0), 0) and turned.axis_names[0] == "MinMaxScaler 1"


def test_any_reducer_is_cloned(encoder: Any, named_data: Any) -> None:
    X, Y = named_data
    reducer = KernelPCA(2, kernel="cosine")
    display = EmbeddingDisplay.from_estimator(encoder, X, Y, reducer=reducer)
    assert not hasattr(reducer, "eigenvalues_")
    assert_allclose(display.points, reducer.fit_transform(encoder.transform(X).to_numpy()))
    assert display.ax_.get_xlabel() == "KernelPCA 1"


def test_many_labels_a_row_shade_gently() -> None:
    rng = np.random.default_rng(0)
    Y = (rng.random((300, 200)) < rng.random((300, 1)) / 4).astype(int)
    display = EmbeddingDisplay.from_embedding(rng.random((300, 2)), Y).plot()
    low, high = display.scatters_["samples"].get_clim()
    assert (low, high) == (Y.sum(axis=1).min() - 0.5, Y.sum(axis=1).max() + 0.5)
    ticks = display.colorbar_.get_ticks()
    assert len(ticks) < 15 and (ticks == ticks.round()).all()


def test_scatter_arguments_win() -> None:
    points = np.random.default_rng(0).random((20, 2))
    style = {"s": 99, "alpha": 0.2}
    for label in (None, 0):
        display = EmbeddingDisplay.from_embedding(points, (points > 0.5).astype(int), label=label)
        display.plot(scatter_kwargs=style)
        for scatter in display.scatters_.values():
            assert scatter.get_sizes() == [99] and scatter.get_alpha() == 0.2
    display.plot(scatter_kwargs={"color": "green"})
    assert tuple(display.scatters_["with"].get_facecolor()[0, :3]) == to_rgba("green")[:3]


def test_arguments_are_checked(encoder: Any, named_data: Any) -> None:
    X, Y = named_data
    make = EmbeddingDisplay.from_embedding
    vectors = np.random.default_rng(0).random((len(X), 4))
    with pytest.raises(
        ValueError, match=rf"no label 'desert'; .* names \[{', '.join(map(repr, NAMES))}\]"
    ):
        EmbeddingDisplay.from_estimator(encoder, X, Y, label="desert")
    with pytest.raises(ValueError, match=r"embedding must have shape \(n, d\) with d >= 2"):
        make(vectors[:, :1], Y)
    with pytest.raises(ValueError, match=r"reducer must give two columns, but PCA gave .*\(200, 3"):
        make(vectors, Y, reducer=PCA(3))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make(vectors[:-1], Y)
    with pytest.raises(ValueError, match=r"\b0,? .*\b1\b.*NaN"):
        make(vectors, np.where(Y == 1, 3.0, 0.0))
