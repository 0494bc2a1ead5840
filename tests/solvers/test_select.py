"""The choice of C against a loop over folds, labels and values of C."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import KFold

from sklearn_mlcl.solvers import select_C

from .oracles import problem, reference

CS = [1e-3, 1e-2, 1e-1, 1.0, 10.0]


def held_out_losses(X, Y, Cs, splits, s):
    """Weighted mean held-out log loss (n_C, L), one scikit-learn fit at a time."""
    out = np.zeros((len(Cs), Y.shape[1]))
    for c, C in enumerate(Cs):
        for k in range(Y.shape[1]):
            loss = weight = 0.0
            for train, test in splits:
                train, test = (part[~np.isnan(Y[part, k])] for part in (train, test))
                w, b = reference(X[train], Y[train, k], C, s[train])
                cells = np.logaddexp(0, (1 - 2 * Y[test, k]) * (X[test] @ w + b))
                loss, weight = loss + s[test] @ cells, weight + s[test].sum()
            out[c, k] = loss / weight
    return out


@pytest.mark.parametrize(("n", "d"), [(120, 10), (40, 60)])
@pytest.mark.parametrize("sparse", [False, True])
def test_picks_what_the_loop_picks(n, d, sparse):
    X, Y = problem(n, d, 4)
    rng = np.random.default_rng(0)
    Y[rng.random(Y.shape) < 0.1] = np.nan
    s = rng.random(n) + 0.1
    splits = list(KFold(3, shuffle=True, random_state=1).split(X))
    got = select_C(sp.csr_array(X) if sparse else X, Y, CS, cv=splits, sample_weight=s)
    expected = held_out_losses(X, Y, CS, splits, s)
    assert_allclose(got.log_loss, expected, rtol=1e-7)
    assert_array_equal(got.C, np.array(CS)[expected.argmin(0)])
    assert not got.pooled.any()


def test_grid_is_sorted_and_ties_go_to_the_smaller_C():
    X, Y = problem(60, 3, 2)
    X[:] = 0.0
    got = select_C(X, Y, [1.0, 0.1, 10.0])
    assert_array_equal(got.Cs, [0.1, 1.0, 10.0])
    assert_array_equal(got.C, 0.1)


def test_labels_with_too_few_of_a_class_share_the_pooled_choice():
    X, Y = problem(100, 5, 5)
    Y[:, 1], Y[:, 2], Y[:, 3] = 0.0, 1.0, np.nan
    Y[7, 1] = 1.0
    got = select_C(X, Y, CS)
    assert_array_equal(got.pooled, [False, True, True, True, False])
    seen = np.where(np.isnan(Y), 0, 1).sum(0)
    total = np.nansum(got.log_loss * seen, 1)
    assert_array_equal(got.C[1:4], CS[total.argmin()])
    assert np.isnan(got.log_loss[:, 3]).all()


def test_sparse_labels_equal_dense_ones():
    X, Y = problem(80, 5, 3)
    dense, sparse = select_C(X, Y, CS), select_C(X, sp.csr_array(Y), CS)
    assert_array_equal(sparse.log_loss, dense.log_loss)


def test_default_grid():
    X, Y = problem(60, 3, 2)
    got = select_C(X, Y)
    assert_allclose(got.Cs, np.logspace(-5, 3, 9))
    assert got.log_loss.shape == (9, 2)


def test_blocks_of_labels_change_nothing():
    X, Y = problem(60, 4, 5)
    whole, parts = select_C(X, Y, CS), select_C(X, Y, CS, memory_budget=1)
    assert_allclose(parts.log_loss, whole.log_loss, rtol=1e-8)
    assert_array_equal(parts.C, whole.C)


def test_an_empty_grid_is_an_error():
    with pytest.raises(ValueError, match="Cs must hold"):
        select_C(*problem(20, 2, 1), [])
