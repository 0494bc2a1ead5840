"""The first layer: robust scales of dense features, sizes of sparse ones, noise."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import gmean

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.model_selection._splitters import Folds
from sklearn_mlcl.modules import FeatureNoise, InputScaler, ScaledEncoder, _scaling
from sklearn_mlcl.modules._scaling import LIMIT, NORMAL_QUARTILES, SPARSE_SIZE, input_scaler
from tests.small import small


def scaled(X: Any, by: np.ndarray | None = None, weights: np.ndarray | None = None):
    """Rows as the layer fitted on ``by`` (or on themselves) scales them, in float64."""
    scaler = input_scaler(X if by is None else by, weights).double()
    return scaler(torch.from_numpy(X.toarray() if sp.issparse(X) else X)).numpy()


def quantile(values, weights, share):
    """The smallest value at or below which ``share`` of the weight lies."""
    total, below = sum(weights), 0.0
    for value, weight in sorted(zip(values, weights, strict=True)):
        below += weight
        if weight > 0 and below >= share * total - 1e-12 * total:
            return value
    raise AssertionError("shares lie below one")


# ---------------------------------------------------------------------- dense features


@pytest.mark.parametrize("weighted", [False, True])
def test_dense_features_by_the_loop(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(41, 3)) * [1.0, 30.0, 0.01] + [0.0, -500.0, 2.0]
    weights = rng.integers(0, 5, size=41).astype(float) if weighted else np.ones(41)
    found = scaled(X, weights=weights if weighted else None)
    for j in range(3):
        low, median, high = (quantile(X[:, j], weights, q) for q in (0.25, 0.5, 0.75))
        for i in range(41):
            u = (X[i, j] - median) / ((high - low) / NORMAL_QUARTILES)
            assert found[i, j] == pytest.approx(u / sqrt(1 + (u / LIMIT) ** 2), abs=1e-4)


def test_normal_features_come_out_standard() -> None:
    X = np.random.default_rng(0).normal(size=(20_000, 2)) * [7.0, 0.1] + [50.0, -3.0]
    scaler = input_scaler(X, None)
    assert_allclose(scaler.shift, [50, -3], atol=0.2)
    assert_allclose(1 / scaler.factor.numpy(), [7, 0.1], rtol=0.03)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 30),
    ties=st.booleans(),
    factor=st.sampled_from([1, 3]),
)
def test_a_weight_counts_repetitions(seed: int, n: int, ties: bool, factor: int) -> None:
    """Whole numbers as weights are copies of the rows, a row of weight zero is not there."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    X = X.round() if ties else X
    copies = rng.integers(0, 4, size=n)
    copies[0] = max(copies[0], 1)
    by_weight = input_scaler(X, factor * copies.astype(float))
    by_rows = input_scaler(np.repeat(X, copies, axis=0), None)
    assert_allclose(by_weight.shift, by_rows.shift, rtol=1e-6, atol=1e-7)
    assert_allclose(by_weight.factor, by_rows.factor, rtol=1e-5)


def test_outliers_are_brought_in_and_move_no_one_else() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 1))
    spoiled = X.copy()
    spoiled[3], spoiled[7] = 1e9, -1e25
    found = scaled(spoiled)
    assert found[3] == pytest.approx(LIMIT) and found[7] == pytest.approx(-LIMIT)
    kept = np.delete(np.arange(200), [3, 7])
    assert_allclose(found[kept], scaled(X)[kept], atol=0.1)


def test_the_limit() -> None:
    layer = InputScaler(torch.zeros(1), torch.ones(1), 4.0)
    X = torch.cat([torch.linspace(-50, 50, 2001), torch.tensor([1e18, 1e20, 1e38, -1e38])])[:, None]
    found = layer(X)
    assert (found.abs() <= 4).all()
    assert (found[:2001].diff(dim=0) > 0).all(), "the order stays"
    assert_allclose(found[-4:, 0], [4, 4, 4, -4], rtol=1e-6)
    near = torch.linspace(-0.1, 0.1, 11)[:, None]
    assert_allclose(layer(near), near, rtol=1e-3)
    unbounded = InputScaler(torch.zeros(1), torch.ones(1))
    assert torch.equal(unbounded(X), X.clamp(-1e18, 1e18))


# ---------------------------------------------------------------------- features without a spread


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e6, 3e-9])
def test_constant_features_become_zero(value: float) -> None:
    X = np.full((30, 1), value)
    assert_allclose(scaled(X), 0, atol=abs(value) * 1e-7)
    assert_allclose(input_scaler(X, None).factor, 1)


def test_coinciding_quartiles_go_by_mean_and_deviation() -> None:
    """A rare flag, next to a feature with quartiles, which is scaled by those."""
    rng = np.random.default_rng(0)
    flag = (np.arange(100) % 10 == 0).astype(float)
    X = np.column_stack([flag, rng.normal(size=100)])
    for weights in (None, rng.integers(1, 4, size=100).astype(float)):
        scaler = input_scaler(X, weights)
        mean = np.average(flag, weights=weights)
        assert scaler.shift[0].item() == pytest.approx(mean)
        assert scaler.factor[0].item() == pytest.approx(1 / sqrt(mean * (1 - mean)))
        other = input_scaler(X[:, 1:], weights)
        assert scaler.factor[1] == other.factor[0] and scaler.shift[1] == other.shift[0]


@pytest.mark.parametrize("value", [1.0, 0.1, 1e6])
def test_rounding_is_no_spread(value: float) -> None:
    """Rows that sum to one do so up to the last bit: nothing to blow up."""
    X = value * (1 + np.random.default_rng(0).integers(-2, 3, size=(50, 1)) * 2.0**-52)
    assert np.ptp(np.quantile(X, (0.25, 0.75))) > 0
    assert np.abs(scaled(X)).max() <= value * 1e-7


def test_quartiles_of_many_rows_are_those_of_evenly_spaced_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(95, 2)), rng.integers(1, 5, size=95).astype(float)
    monkeypatch.setattr(_scaling, "QUARTILE_ROWS", 30)
    for w in (None, weights):
        some = input_scaler(X, w)
        monkeypatch.setattr(_scaling, "QUARTILE_ROWS", 1000)
        expected = input_scaler(X[::4], None if w is None else w[::4])
        assert torch.equal(some.shift, expected.shift) and torch.equal(some.factor, expected.factor)
        monkeypatch.setattr(_scaling, "QUARTILE_ROWS", 30)


# ---------------------------------------------------------------------- sparse features


@pytest.mark.parametrize("largest", [2.0, 50.0])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_sparse_features_by_the_loop(
    unit: float, largest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros stay zeros, and the unit of X changes nothing. Without outliers there is no limit."""
    monkeypatch.setattr(_scaling, "RARE", 7)
    X = sp.random(60, 9, density=0.2, random_state=0, format="csr")
    X.data = 1 + (largest - 1) * X.data**4
    X = (X @ sp.diags(np.arange(1.0, 10.0)) * unit).tocsr()
    scaler = input_scaler(X, None)
    found = scaler.double()(torch.from_numpy(X.toarray())).numpy()
    bounded = X.toarray()
    for j in range(9):
        limit = LIMIT * gmean(X[:, [j]].data)
        for i in range(60 if largest > LIMIT else 0):
            bounded[i, j] /= sqrt(1 + (bounded[i, j] / limit) ** 2)
    stored = np.square(bounded).sum() / X.nnz
    sizes = [np.square(bounded[:, j]).mean() + 7 / 60 * stored for j in range(9)]
    expected = bounded / np.sqrt(sizes)
    expected *= SPARSE_SIZE / np.sqrt(np.square(expected).mean())
    assert_allclose(found, expected, rtol=1e-6)
    assert_allclose(scaler.of_csr(X).toarray(), found, rtol=1e-6)
    assert (scaler.limit is None) == (largest < LIMIT)


def test_members_with_and_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = Folds(np.arange(40) % 4, 4)
    monkeypatch.setattr("sklearn_mlcl.estimators.task.member_folds", lambda *args: folds)
    counts = np.random.RandomState(0).poisson(1.0, (40, 6)).clip(0, 1).astype(np.float64)
    counts[3, 1] = 90
    Y = (counts[:, :2] > 0).astype(int)
    clf = small(MultiLabelMLPClassifier, n_estimators=4).fit(sp.csr_matrix(counts), Y)
    scaler = clf.net_.module_.scaler
    rows = torch.from_numpy(counts).float()
    own = [input_scaler(sp.csr_matrix(counts[folds.learnt(k)]), None) for k in range(4)]
    assert [of_member.limit is None for of_member in own] == [False, False, False, True]
    for k, of_member in enumerate(own):
        assert_allclose(scaler(rows)[k], of_member(rows), rtol=1e-6)


def test_a_word_said_a_thousand_times_is_brought_in_and_moves_no_other() -> None:
    counts = np.ones((200, 3))
    spoiled = counts.copy()
    spoiled[5, 1] = 1000
    found, plain = (scaled(sp.csr_matrix(X)) for X in (spoiled, counts))
    assert_allclose(found[5, 1] / found[4, 1], LIMIT * 1000**0.005, rtol=0.05)
    assert_allclose(np.delete(found, 5, 0), np.delete(plain, 5, 0), rtol=0.1)


def test_features_of_sizes_far_apart_and_outliers_beyond_all_floats_stay_numbers() -> None:
    """Their products with the factors and with the limits are beyond float32."""
    counts = np.random.RandomState(0).poisson(1.0, (60, 3)).astype(np.float32)
    counts[5] = 20
    X = counts * np.float32([1e-36, 0.01, 1e12])
    samples = X[:2].copy()
    samples[0, 1] = 3e38
    words = input_scaler(sp.csr_matrix(X > 0, dtype=np.float32), None)
    assert words.limit is None and words(torch.from_numpy(samples)).isfinite().all()
    for fitted, limit in [
        (input_scaler(X, None), LIMIT),
        (input_scaler(sp.csr_matrix(X), None), None),
    ]:
        limit = fitted.limit[1] if limit is None else limit
        found = fitted(torch.from_numpy(samples)).numpy()
        assert np.isfinite(found).all()
        assert_allclose(found[0, 1], limit, rtol=1e-6)
        if fitted.keeps_zeros:
            assert_array_equal(fitted.of_csr(sp.csr_matrix(samples)).toarray(), found)


def test_words_of_few_samples_share_a_factor_and_those_of_many_a_size() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([1e-4, 2e-4, 0.2, 0.4, 0.4])
    X = sp.csr_matrix((rng.random((100_000, 5)) < shares) * [1.0, 1.0, 1.0, 1.0, 2.0])
    factor = input_scaler(X, None).factor.numpy()
    assert factor[0] == pytest.approx(factor[1], rel=0.03)
    sizes = factor * np.sqrt(np.square(X.toarray()).mean(0))
    assert_allclose(sizes[2:] / sizes[4], 1, rtol=0.02)


def test_sparse_features_without_an_entry() -> None:
    scaler = input_scaler(sp.csr_matrix((4, 3)), None)
    assert_array_equal(scaler.factor, np.ones(3))
    assert_array_equal(scaler.shift, np.zeros(3))


# ---------------------------------------------------------------------- noise


def test_noise_while_training_only() -> None:
    torch.manual_seed(0)
    X = torch.randn(500, 20)
    noise = FeatureNoise(0.5)
    added = noise(X) - X
    assert added.std().item() == pytest.approx(0.5, rel=0.05)
    assert abs(added.mean().item()) < 0.02
    assert torch.equal(noise.eval()(X), X)
    assert torch.equal(FeatureNoise(0.0)(X), X)


def test_noise_stands_between_scaling_and_encoder() -> None:
    """Its size is that of scaled features, whatever unit the features come in."""
    torch.manual_seed(0)
    X = 1000 * torch.randn(2000, 4)
    scaler = InputScaler(torch.zeros(4), torch.full((4,), 1e-3))
    encoder = ScaledEncoder(scaler, torch.nn.Identity(), FeatureNoise(0.2))
    assert (encoder(X) - scaler(X)).std().item() == pytest.approx(0.2, rel=0.05)
    assert torch.equal(encoder.eval()(X), scaler(X))


def test_the_unit_of_a_feature_does_not_matter(label_data: tuple[np.ndarray, np.ndarray]) -> None:
    X, Y = label_data
    offset = np.linspace(-5, 5, X.shape[1])
    other = (X + offset) * 10.0 ** np.linspace(-4, 4, X.shape[1])
    found, expected = (
        small(MultiLabelMLPClassifier).fit(x, Y).predict_proba(x) for x in (other, X)
    )
    assert_allclose(found, expected, atol=1e-4)
