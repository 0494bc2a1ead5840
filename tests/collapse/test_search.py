"""Searches and marginals against lists of all label sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl.collapse import (
    nearest_cosine,
    nearest_equinorm,
    nearest_prototype,
    nearest_tags,
    observed_marginals,
    simplex_etf,
    subset_marginals,
)

from .oracles import all_sets, listed_marginals, nearest_listed

L = 8
SIZES = np.arange(1, L)
SCALES = SIZES**-0.3
SETS = all_sets(L, SIZES)


def vectors(T, seed=0, n=500):
    rng = np.random.default_rng(seed)
    P = (SETS @ T) * SCALES[SETS.sum(axis=1).astype(int) - 1][:, None]
    H = P[rng.integers(0, len(P), n)]
    return H + 0.5 * rng.standard_normal(H.shape) * np.sqrt((T**2).mean()), P


def uneven_tags(d, seed):
    T = np.random.default_rng(seed).standard_normal((L, d))
    return T - T.mean(axis=0)


def test_etf_search_is_exact():
    T = simplex_etf(L, 11, random_state=0)
    H, P = vectors(T)
    costs = SCALES**2 * SIZES * (L - SIZES) / (L - 1)
    sets, distances = nearest_equinorm(H @ T.T, SIZES, SCALES, costs)
    best = nearest_listed(H, P)
    np.testing.assert_array_equal(sets.toarray(), SETS[best])
    expected = ((H - P[best]) ** 2).sum(axis=1) - (H**2).sum(axis=1)
    np.testing.assert_allclose(distances, expected, atol=1e-12)


def test_cosine_search_is_exact_and_is_otsu():
    T = simplex_etf(L, L - 1)
    Z, _ = vectors(T)
    Z = Z @ T.T + 3.0
    sets, distances = nearest_cosine(Z)
    centered = [A - A.mean(axis=1, keepdims=True) for A in (Z, SETS)]
    z, y = (A / np.linalg.norm(A, axis=1, keepdims=True) for A in centered)
    cosines = z @ y.T
    np.testing.assert_array_equal(sets.toarray(), SETS[cosines.argmax(axis=1)])
    np.testing.assert_allclose(-distances, cosines.max(axis=1), atol=1e-12)
    for z, y in zip(Z[:50], sets.toarray()[:50], strict=True):  # least within-class variance
        within = [
            sum(part.var() * len(part) for part in np.split(np.sort(z), [cut]))
            for cut in range(1, L)
        ]
        assert y.sum() == L - 1 - int(np.argmin(within))


@pytest.mark.parametrize("d", [4, 8, 16])
def test_general_tags_are_exact_while_listed_and_close_beyond(d):
    T = uneven_tags(d, seed=d)
    H, P = vectors(T)
    best = nearest_listed(H, P)
    value = ((H - P[best]) ** 2).sum(axis=1) - (H**2).sum(axis=1)
    arguments = (H @ T.T, T @ T.T, SIZES, SCALES, np.zeros(len(SIZES)))
    sets, distances = nearest_tags(*arguments)
    np.testing.assert_array_equal(sets.toarray(), SETS[best])
    np.testing.assert_allclose(distances, value, atol=1e-10)
    swapped, reached = nearest_tags(*arguments, max_candidates=0)
    same = (swapped.toarray() == SETS[best]).all(axis=1).mean()
    assert same >= {4: 0.9, 8: 0.97, 16: 0.99}[d]
    # What it reports is the distance of the set it returns, never below the optimum.
    Y = swapped.toarray()
    P_swapped = (Y @ T) * SCALES[Y.sum(axis=1) - 1][:, None]
    actual = ((H - P_swapped) ** 2).sum(axis=1) - (H**2).sum(axis=1)
    np.testing.assert_allclose(reached, actual, atol=1e-10)
    assert (reached >= value - 1e-10).all()


def test_swaps_are_exact_on_a_simplex():
    T = simplex_etf(L)
    H, P = vectors(T)
    zero = np.zeros(len(SIZES))
    sets, _ = nearest_tags(H @ T.T, T @ T.T, SIZES, SCALES, zero, max_candidates=0)
    np.testing.assert_array_equal(sets.toarray(), SETS[nearest_listed(H, P)])


def test_observed_search_is_exact_whatever_the_block():
    H, P = vectors(uneven_tags(5, 1))
    seen = P[::3]
    index, _ = nearest_prototype(H, seen, np.zeros(len(seen)))
    np.testing.assert_array_equal(index, nearest_listed(H, seen))
    one = np.concatenate([nearest_prototype(h[None], seen, np.zeros(len(seen)))[0] for h in H])
    np.testing.assert_array_equal(index, one)


def test_ties_go_to_the_smaller_then_the_first_set():
    flat = np.zeros((1, 6))
    assert nearest_cosine(flat)[0].indices.tolist() == [0]
    assert nearest_equinorm(flat, [1, 2], [1, 1], [0, 0])[0].indices.tolist() == [0]
    assert nearest_equinorm(flat, [2], [1], [0])[0].indices.tolist() == [0, 1]
    tags = nearest_tags(flat, np.zeros((6, 6)), [2, 3], [1, 1], [0, 0])
    assert tags[0].indices.tolist() == [0, 1]
    scores = np.array([[1.0, 2.0, 1.0, 1.0, 0.0, 0, 0, 0, 0, 0, 0, 0]])
    assert nearest_equinorm(scores, [2], [1], [0])[0].indices.tolist() == [0, 1]
    with pytest.raises(ValueError, match="at least 2"):
        nearest_cosine(np.zeros((1, 1)))


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 8), st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 300.0]))
def test_exact_marginals(n_labels, seed, spread):
    rng = np.random.default_rng(seed)
    scores = spread * rng.standard_normal((3, n_labels))
    sizes = np.sort(rng.choice(np.arange(1, n_labels + 1), min(3, n_labels), replace=False))
    slopes, offsets = rng.random(len(sizes)) + 0.2, rng.standard_normal(len(sizes))
    marginals, log_mass = subset_marginals(scores, sizes, slopes, offsets)
    expected, expected_mass = listed_marginals(scores, sizes, slopes, offsets)
    np.testing.assert_allclose(marginals, expected, atol=1e-10)
    np.testing.assert_allclose(log_mass, expected_mass, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(marginals.sum(axis=2), np.tile(sizes, (3, 1)), atol=1e-10)


def test_observed_marginals_are_a_softmax_over_sets():
    rng = np.random.default_rng(0)
    logw, sets = 50 * rng.standard_normal((4, 6)), rng.integers(0, 2, (6, 3))
    for row, p in zip(logw, observed_marginals(logw, sets), strict=True):
        w = np.exp(row - row.max())
        np.testing.assert_allclose(p, w @ sets / w.sum(), atol=1e-14)
