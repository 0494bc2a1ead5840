"""The simplex ETF, the phi identity, NC2 and its floors, and the fixed ETF layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl.collapse import etf_deviation, neural_collapse_metrics, phi_matrix, simplex_etf
from sklearn_mlcl.modules._etf import ETFLinear


@pytest.mark.parametrize("L", [2, 3, 10])
@pytest.mark.parametrize("dim_of", [lambda L: L - 1, lambda L: L, lambda L: 5 * L])
def test_simplex_etf_gram(L, dim_of):
    W = simplex_etf(L, dim_of(L), scale=1.5, random_state=3)
    ideal = 1.5**2 * (L * np.eye(L) - 1) / (L - 1)
    assert W.shape == (L, dim_of(L))
    np.testing.assert_allclose(W @ W.T, ideal, atol=1e-13)


def test_simplex_etf_seed_and_errors():
    np.testing.assert_array_equal(
        simplex_etf(6, 9, random_state=1), simplex_etf(6, 9, random_state=1)
    )
    assert not np.allclose(simplex_etf(6, 9, random_state=1), simplex_etf(6, 9, random_state=2))
    with pytest.raises(ValueError, match="dim=8 is too small"):
        simplex_etf(10, 8)
    with pytest.raises(ValueError, match="n_labels"):
        simplex_etf(1)
    with pytest.raises(ValueError, match="scale"):
        simplex_etf(3, scale=0.0)


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 12), st.integers(0, 10_000))
def test_phi_is_pearson_and_the_cosine_on_a_simplex(L, seed):
    rng = np.random.default_rng(seed)
    Y = rng.integers(0, 2, (12, L))
    Y = Y[(Y.sum(axis=1) > 0) & (Y.sum(axis=1) < L)]
    P = Y @ simplex_etf(L, L + 2, random_state=seed)
    norms = np.linalg.norm(P, axis=1)
    phi = phi_matrix(Y)
    np.testing.assert_allclose(phi, P @ P.T / np.outer(norms, norms), atol=1e-12)
    np.testing.assert_allclose(phi, np.atleast_2d(np.corrcoef(Y)), atol=1e-12)
    m = Y.sum(axis=1)
    np.testing.assert_allclose(norms**2, m * (L - m) / (L - 1), atol=1e-12)


def test_phi_of_trivial_sets_is_nan_and_shapes_are_checked():
    phi = phi_matrix([[0, 0, 0], [1, 1, 1], [1, 0, 0]])
    assert np.isnan(phi[:2]).all() and phi[2, 2] == 1
    with pytest.raises(ValueError, match="2 labels where label_sets has 3"):
        phi_matrix([[1, 0, 0]], [[1, 0]])


@pytest.mark.parametrize(("L", "golden"), [(9, 0.3382), (10, 0.3204), (20, 0.2250), (100, 0.1001)])
def test_uncentred_orthogonal_means_have_a_floor(L, golden):
    assert etf_deviation(np.eye(L), center=False) == pytest.approx(golden, abs=5e-5)
    assert etf_deviation(np.eye(L)) < 1e-12


@pytest.mark.parametrize(("d", "floor"), [(2, 0.765), (3, 0.518), (4, 0.0)])
def test_a_projected_simplex_reaches_the_floor_of_its_rank(d, floor):
    W = simplex_etf(5, 4, random_state=0)[:, :d]
    assert etf_deviation(W) == pytest.approx(floor, abs=5e-4)
    random = np.random.default_rng(0).standard_normal((20, 5, d))
    assert min(etf_deviation(R) for R in random) >= etf_deviation(W) - 1e-12
    Y = np.repeat(np.eye(5), 5, axis=0)
    assert neural_collapse_metrics(Y @ W, Y, W)["nc2_w_excess"] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("learn_scale", [False, True])
def test_etf_layer(learn_scale):
    state = torch.random.get_rng_state()
    layer = ETFLinear(7, 6, scale=2.0, learn_scale=learn_scale, random_state=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    names = {name for name, _ in layer.named_parameters()}
    assert names == ({"bias", "log_scale"} if learn_scale else {"bias"})
    H = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    frame = torch.tensor(simplex_etf(6, 7, scale=2.0, random_state=0), dtype=torch.float32)
    torch.testing.assert_close(layer(H), H @ frame.T)
    layer(H).square().sum().backward()
    assert (layer.log_scale.grad is not None) == learn_scale
    other = ETFLinear(7, 6, learn_scale=learn_scale, random_state=1)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other.weight, layer.weight)


def test_etf_layer_needs_room():
    with pytest.raises(ValueError, match="dim=8 is too small"):
        ETFLinear(8, 10)
    with pytest.raises(ValueError, match="scale"):
        ETFLinear(9, 10, scale=-1.0)
