"""Quantile bins of few dense features, as the encoder sees them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import sklearn_mlcl.estimators.task
from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.model_selection._splitters import Folds
from sklearn_mlcl.modules import InputScaler, PiecewiseLinearEncoding
from sklearn_mlcl.modules._scaling import SMALLEST_BIN, input_scaler, quantile_bins
from tests.small import every_ensemble, small
from tests.test_input_scaling import quantile


def encoded(X: np.ndarray, n_bins: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return scaled features and their places among the bins, in float64."""
    scaler = input_scaler(X, weights).double()
    bins = quantile_bins(X, weights, scaler, n_bins).double()
    return bins(scaler(torch.from_numpy(X))).numpy()


def bins_in(clf: Any) -> PiecewiseLinearEncoding | None:
    parts = clf.net_.module_.modules()
    return next((part for part in parts if isinstance(part, PiecewiseLinearEncoding)), None)


@pytest.mark.parametrize("weighted", [False, True])
def test_places_by_the_loop(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(40, 3)) * [1.0, 30.0, 0.01] + [0.0, -500.0, 2.0]
    weights = rng.integers(0, 5, size=40).astype(float) if weighted else np.ones(40)
    scaler = input_scaler(X, weights if weighted else None).double()
    found = encoded(X, 4, weights if weighted else None)
    assert_allclose(found[:, :3], scaler(torch.from_numpy(X)).numpy())
    for j in range(3):
        edges = [quantile(X[:, j], weights, share) for share in (1e-9, 0.25, 0.5, 0.75, 1.0)]
        edges = scaler(torch.tensor(edges)[:, None].double().expand(-1, 3)).numpy()[:, j]
        for b, (low, high) in enumerate(pairwise(edges)):
            for i, x in enumerate(found[:, j]):
                place = -1 if x < low else 1 if x > high else 2 * (x - low) / (high - low) - 1
                assert found[i, 3 + 4 * j + b] == pytest.approx(place, abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), n_bins=st.integers(1, 6))
def test_a_weight_counts_repetitions(seed: int, n: int, n_bins: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)).round(1)
    copies = rng.integers(0, 4, size=n)
    copies[0] = max(copies[0], 1)
    scaler = InputScaler(torch.zeros(2), torch.ones(2))
    # Samples of zero weight are dropped before.
    there = copies > 0
    by_weight = quantile_bins(X[there], copies[there].astype(float), scaler, n_bins)
    by_rows = quantile_bins(np.repeat(X, copies, axis=0), None, scaler, n_bins)
    assert torch.equal(by_weight.center, by_rows.center)
    assert torch.equal(by_weight.factor, by_rows.factor)


def test_a_linear_layer_of_them_bends_at_the_edges() -> None:
    """Any function that is linear between the edges is one of them, as the encoding promises."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 1))
    edges = np.quantile(X, np.linspace(0, 1, 6), method="inverted_cdf")
    scaler = InputScaler(torch.zeros(1), torch.ones(1))
    bins = quantile_bins(X, None, scaler, 5)
    places = bins(torch.from_numpy(X)).numpy()[:, 1:]
    heights = np.interp(X[:, 0], edges, rng.normal(size=6))
    design = np.column_stack([np.ones(500), places])
    assert_allclose(design @ np.linalg.lstsq(design, heights)[0], heights, atol=1e-5)


def test_bins_without_values_say_nothing() -> None:
    """Of a constant, of a flag with its one bin, of values that rounding alone tells apart."""
    rng = np.random.default_rng(0)
    X = np.column_stack([np.full(60, 7.0), np.arange(60) % 2, 0.1 + rng.normal(size=60) * 1e-17])
    found = encoded(X, 4).reshape(60, -1)[:, 3:].reshape(60, 3, 4)
    assert_array_equal(found[:, [0, 2]], 0)
    assert (found[:, 1] != 0).any(axis=0).sum() == 1
    assert_allclose(np.unique(found[:, 1].round(6)), [-1, 0, 1])
    narrow = np.linspace(0, SMALLEST_BIN, 9)[:, None]
    scaler = InputScaler(torch.zeros(1), torch.ones(1))
    assert_array_equal(quantile_bins(narrow, None, scaler, 2).factor, 0)


@every_ensemble
@pytest.mark.parametrize(
    ("n_features", "options", "n_bins"),
    [
        (16, {}, 16),
        (33, {}, 7),
        (85, {}, 3),
        (86, {}, 0),
        (86, {"net_params__n_bins": 3}, 3),
        (32, {"net_params__n_bins": 0}, 0),
        (5, {"scale_input": False, "net_params__n_bins": 3}, 0),
        (5, {"module": lambda n_features: torch.nn.Linear(n_features, 4)}, 0),
    ],
)
def test_who_gets_them(make: Any, n_features: int, options: Any, n_bins: int) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, n_features)), rng.integers(0, 2, (60, 3))
    clf = small(make, max_epochs=1, **options).fit(X, Y)
    bins = bins_in(clf)
    assert (0 if bins is None else bins.center.shape[-1]) == n_bins
    assert bins_in(clf.fit(sp.csr_array(X), Y)) is None


def test_the_bins_of_a_member_are_those_of_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(64, 5)), rng.integers(0, 2, (64, 3))
    weight = rng.uniform(0.5, 2, 64)
    folds = Folds(np.arange(64) % 4, 4)
    monkeypatch.setattr(sklearn_mlcl.estimators.task, "member_folds", lambda *args: folds)
    bins = bins_in(small(MultiLabelMLPClassifier, n_estimators=4).fit(X, Y, weight))
    assert bins is not None
    for k in range(4):
        own = folds.learnt(k)
        scaler = input_scaler(X[own], weight[own])
        expected = quantile_bins(X[own], weight[own], scaler, 16)
        assert torch.equal(bins.center[k, 0], expected.center)
        assert torch.equal(bins.factor[k, 0], expected.factor)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 3), (4, 2, 2, 3)])
def test_tensors_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="center has the shape"):
        PiecewiseLinearEncoding(torch.zeros(shape), torch.zeros(shape)).check_state()
    with pytest.raises(ValueError, match="factor is"):
        PiecewiseLinearEncoding(torch.zeros(2, 3), torch.zeros(2, 4)).check_state()
