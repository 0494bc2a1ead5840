"""The batched solve against scikit-learn, label by label, and against its own definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl.solvers import fit_logistic, fit_logistic_path

from .oracles import gradient, objective, problem, reference

SHAPES = [(60, 1, 1), (200, 8, 5), (40, 90, 3), (300, 30, 2)]


@pytest.mark.parametrize(("n", "d", "L"), SHAPES)
@pytest.mark.parametrize("C", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_equals_scikit_learn(n, d, L, C, fit_intercept):
    X, Y = problem(n, d, L)
    solution = fit_logistic(X, Y, C=C, fit_intercept=fit_intercept)
    assert solution.converged.all()
    for label in range(L):
        w, b = reference(X, Y[:, label], C, fit_intercept=fit_intercept)
        assert_allclose(solution.coef[label], w, rtol=1e-6, atol=1e-7 * np.abs(w).max())
        assert_allclose(solution.intercept[label], b, rtol=1e-6, atol=1e-8)
        value = objective(X, Y[:, label], w, b, C, np.ones(n))
        assert solution.objective[label] <= value * (1 + 1e-12)


def test_objective_is_that_of_the_definition():
    X, Y = problem(50, 4, 3)
    s = np.random.default_rng(1).random((50, 3))
    C = np.array([0.1, 1.0, 10.0])
    got = fit_logistic(X, Y, C=C, sample_weight=s)
    expected = [
        objective(X, Y[:, k], got.coef[k], got.intercept[k], C[k], s[:, k]) for k in range(3)
    ]
    assert_allclose(got.objective, expected, rtol=1e-13)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 30),
    d=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    log_C=st.floats(-4, 4),
    sparse=st.booleans(),
    fit_intercept=st.booleans(),
)
def test_gradient_vanishes_on_random_problems(n, d, seed, log_C, sparse, fit_intercept):
    rng = np.random.default_rng(seed)
    X, Y = problem(n, d, 3, seed)
    X *= rng.random((n, d)) < 0.5 if sparse else 1.0
    s, C = rng.integers(0, 3, (n, 3)).astype(float) + 0.25, 10.0**log_C
    got = fit_logistic(
        sp.csr_array(X) if sparse else X, Y, C=C, sample_weight=s, fit_intercept=fit_intercept
    )
    assert got.converged.all()
    for k in range(3):
        args = X, Y[:, k], got.coef[k], got.intercept[k], C, s[:, k], fit_intercept
        # the terms of the gradient that cancel are C times the weighted rows
        scale = 1 + C * s[:, k].sum() * np.abs(X).max()
        assert np.abs(gradient(*args)).max() <= 1e-8 * scale


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_are_repetitions(sparse):
    X, Y = problem(80, 12, 4)
    counts = np.random.default_rng(0).integers(0, 4, 80)
    X = sp.csr_array(X) if sparse else X
    weighted = fit_logistic(X, Y, sample_weight=counts.astype(float))
    rows = np.repeat(np.arange(80), counts)
    repeated = fit_logistic(X[rows], Y[rows])
    A = X.toarray() if sparse else X
    assert_allclose(
        A @ weighted.coef.T + weighted.intercept,
        A @ repeated.coef.T + repeated.intercept,
        atol=1e-8,
    )


def test_missing_labels_are_left_out_per_label():
    X, Y = problem(90, 6, 3)
    Y[np.random.default_rng(2).random(Y.shape) < 0.3] = np.nan
    weight = np.random.default_rng(3).random(90)
    got = fit_logistic(X, Y, sample_weight=weight)
    for k in range(3):
        seen = ~np.isnan(Y[:, k])
        alone = fit_logistic(X[seen], Y[seen, k : k + 1], sample_weight=weight[seen])
        assert_allclose(got.coef[k], alone.coef[0], atol=1e-8)
        assert_allclose(got.intercept[k], alone.intercept[0], atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(120, 15), (25, 70)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_csr_equals_dense(n, d, fit_intercept):
    X, Y = problem(n, d, 3)
    X *= np.random.default_rng(0).random(X.shape) < 0.3
    dense = fit_logistic(X, Y, C=5.0, fit_intercept=fit_intercept)
    sparse = fit_logistic(sp.csr_matrix(X), Y, C=5.0, fit_intercept=fit_intercept)
    assert_allclose(sparse.coef, dense.coef, atol=1e-8)
    assert_allclose(sparse.intercept, dense.intercept, atol=1e-8)


def test_a_diagonal_metric_and_wide_rows_give_the_same_answer():
    expected = [
        (problem(n, d, 3), fit_logistic(*problem(n, d, 3))) for n, d in [(90, 12), (12, 40)]
    ]
    for (X, Y), eigen in expected:
        for features in (X, sp.csr_array(X)):
            diagonal = fit_logistic(features, Y, largest_gram=1)
            assert_allclose(diagonal.coef, eigen.coef, atol=1e-8)
            assert_allclose(diagonal.intercept, eigen.intercept, atol=1e-8)


def test_C_per_label():
    X, Y = problem(100, 5, 3)
    C = np.array([0.01, 1.0, 100.0])
    together = fit_logistic(X, Y, C=C)
    for k in range(3):
        assert_allclose(together.coef[k], fit_logistic(X, Y, C=C[k]).coef[k], atol=1e-8)


def test_constant_and_unobserved_labels():
    X, Y = problem(40, 3, 5)
    weight = np.ones((40, 5))
    Y[:, 0], Y[:, 1], Y[:, 2] = 1.0, 0.0, np.nan
    weight[Y[:, 3] == 0, 3] = 0.0
    got = fit_logistic(X, Y, sample_weight=weight)
    assert_array_equal(got.constant, [True, True, True, True, False])
    assert_array_equal(got.coef[:4], 0.0)
    positive = Y[:, 3].sum()
    expected = [np.log(40.5 / 0.5), np.log(0.5 / 40.5), 0.0, np.log((positive + 0.5) / 0.5)]
    assert_allclose(got.intercept[:4], expected, rtol=1e-14)
    values = [objective(X, Y[:, k], np.zeros(3), expected[k], 1.0, weight[:, k]) for k in (0, 1, 3)]
    assert_allclose(got.objective[[0, 1, 3]], values, rtol=1e-12)


def test_constant_label_without_intercept_is_a_regular_problem():
    X, Y = problem(40, 3, 1)
    Y[:] = 1.0
    got = fit_logistic(X, Y, fit_intercept=False)
    assert got.constant.all() and got.converged.all() and got.intercept[0] == 0.0
    at = gradient(X, Y[:, 0], got.coef[0], 0.0, 1.0, np.ones(40), fit_intercept=False)
    assert_allclose(at, 0.0, atol=1e-8)


@pytest.mark.parametrize("C", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_separable_data_stay_finite(C, scale):
    X = scale * np.linspace(-1, 1, 20)[:, None] * np.array([[1.0, 1.0, 0.0]])  # duplicate, null
    Y = (X[:, :1] > 0).astype(float)
    got = fit_logistic(X, Y, C=C)
    assert got.converged.all()
    assert np.isfinite(got.coef).all() and np.isfinite(got.intercept).all()
    assert_allclose(got.coef[0, 0], got.coef[0, 1], rtol=1e-6)
    assert abs(got.coef[0, 2]) <= 1e-9 * abs(got.coef[0, 0])
    assert ((X @ got.coef[0] + got.intercept[0] > 0) == Y[:, 0]).all()


@pytest.mark.parametrize("X", [np.zeros((6, 2)), np.ones((1, 1)), np.full((6, 3), 7.0)])
def test_features_without_variance(X):
    Y = np.zeros((len(X), 2))
    Y[: len(X) // 2] = 1.0
    got = fit_logistic(X, Y)
    assert_allclose(got.coef, 0.0, atol=1e-12)
    assert_allclose(got.intercept, 0.0 if len(X) > 1 else np.log(0.5 / 1.5), atol=1e-12)


def test_a_poor_start_reaches_the_same_minimum():
    X, Y = problem(150, 6, 2)
    best = fit_logistic(X, Y, C=10.0)
    far = fit_logistic(X, Y, C=10.0, init=(np.full((2, 6), 30.0), np.array([-500.0, 500.0])))
    assert far.converged.all()
    assert_allclose(far.coef, best.coef, atol=1e-8)
    warm = fit_logistic(X, Y, C=10.0, init=(best.coef, best.intercept))
    assert_array_equal(warm.n_iter, 0)
    assert_allclose(warm.coef, best.coef, atol=1e-12)


PATHS = [[1e-4, 1e-2, 1.0, 1e2], [10.0, 0.1, 0.1, 1000.0, 1.0], [1.0, 1.0], [3.0]]


@pytest.mark.parametrize("Cs", PATHS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(150, 10), (30, 60)])
def test_path_equals_independent_fits(Cs, fit_intercept, shape):
    X, Y = problem(*shape, 3)
    path = fit_logistic_path(X, Y, Cs, fit_intercept=fit_intercept)
    for C, step in zip(Cs, path, strict=True):
        alone = fit_logistic(X, Y, C=C, fit_intercept=fit_intercept)
        assert step.converged.all()
        assert_allclose(step.coef, alone.coef, atol=1e-8)
        assert_allclose(step.intercept, alone.intercept, atol=1e-8)
        assert_allclose(step.objective, alone.objective, rtol=1e-12)


def test_path_of_values_per_label():
    X, Y = problem(150, 10, 3)
    Cs = [np.array([0.1, 10.0, 1.0]), np.array([1.0, 1.0, 1.0]), np.array([10.0, 0.1, 100.0])]
    for C, step in zip(Cs, fit_logistic_path(X, Y, Cs), strict=True):
        assert_allclose(step.coef, fit_logistic(X, Y, C=C).coef, atol=1e-8)


def test_starts_on_a_path_save_steps():
    X, Y = problem(2000, 10, 4)
    Cs = 10.0 ** np.arange(-3, 4)
    path = [step.n_iter.sum() for step in fit_logistic_path(X, Y, Cs, tol=1e-6)]
    alone = [fit_logistic(X, Y, C=C, tol=1e-6).n_iter.sum() for C in Cs]
    assert sum(path) < 0.5 * sum(alone)
    assert path[-1] == 0  # the curve has run flat there, and the secant with it


@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-8, 1e-10])
def test_tolerance_bounds_the_error_of_the_objective(tol):
    X, Y = problem(200, 20, 4)
    best = fit_logistic(X, Y, C=3.0, tol=1e-12).objective
    gap = fit_logistic(X, Y, C=3.0, tol=tol).objective / best - 1
    assert (gap >= -1e-14).all() and (gap <= max(10 * tol**2, 1e-14)).all()


def test_sparse_labels_equal_dense_ones():
    X, Y = problem(90, 6, 4)
    Y[:, 2] = 0.0
    dense = fit_logistic(X, Y)
    for sparse in (sp.csr_array(Y), sp.coo_matrix(Y.astype(bool)), sp.csc_array(Y)):
        got = fit_logistic(X, sparse)
        assert_array_equal(got.coef, dense.coef)
        assert_array_equal(got.constant, dense.constant)


def test_blocks_of_labels_change_nothing():
    X, Y = problem(100, 10, 7)
    Y[:, 3] = 0.0
    Y[::7, :3] = np.nan
    whole = fit_logistic(X, Y)
    for part in (fit_logistic(X, Y, memory_budget=1), fit_logistic(X, Y, memory_budget=20_000)):
        assert_allclose(part.coef, whole.coef, atol=1e-9)
        assert_allclose(part.objective, whole.objective, rtol=1e-12)
        assert_array_equal(part.constant, whole.constant)


def test_deterministic_and_inputs_untouched():
    X, Y = problem(100, 10, 3)
    before = X.copy(), Y.copy()
    first, second = fit_logistic(X, Y), fit_logistic(X, Y)
    assert_array_equal(first.coef, second.coef)
    assert_array_equal(X, before[0])
    assert_array_equal(Y, before[1])


def test_tensors_come_back_as_tensors():
    X, Y = problem(60, 5, 2)
    expected = fit_logistic(X, Y)
    got = fit_logistic(torch.from_numpy(X), torch.from_numpy(Y))
    assert isinstance(got.coef, torch.Tensor)
    assert_allclose(got.coef.numpy(), expected.coef, atol=1e-12)


def test_single_precision_and_integer_input():
    X, Y = problem(60, 5, 2)
    X = X.astype(np.float32)
    expected = fit_logistic(X.astype(np.float64), Y)
    got = fit_logistic(X, Y.astype(np.uint8))
    assert got.coef.dtype == np.float64
    assert_array_equal(got.coef, expected.coef)


def test_iteration_limit_is_reported():
    X, Y = problem(100, 5, 2)
    got = fit_logistic(X, Y, max_iter=1)
    assert not got.converged.any()
    assert_array_equal(got.n_iter, 1)


BAD = [
    ({"X": np.zeros(3)}, "X must be a matrix"),
    ({"X": np.full((4, 2), np.nan)}, "X must be finite"),
    ({"Y": np.zeros(4)}, "Y must have shape"),
    ({"Y": np.full((4, 1), 2.0)}, "Y must hold 0, 1"),
    ({"Y": sp.csr_array(np.full((4, 1), 2.0))}, "Y must hold 0, 1"),
    ({"C": 0.0}, "C must be positive"),
    ({"C": [1.0, 1.0]}, "C must be a number or have shape"),
    ({"sample_weight": np.ones(3)}, "sample_weight must have shape"),
    ({"sample_weight": -np.ones(4)}, "sample_weight must be finite and not negative"),
    ({"init": (np.zeros((1, 3)), np.zeros(1))}, "init must hold"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_input_is_named(bad, message):
    arguments = {"X": np.eye(4)[:, :2], "Y": np.array([[0.0], [1.0], [0.0], [1.0]])} | bad
    with pytest.raises(ValueError, match=message):
        fit_logistic(**arguments)


def test_path_to_hardly_penalised_words_converges(enron):
    """Single precision cannot tell a label of enron's from its minimum there: it stood still."""
    X, Y = enron
    hard = sp.csr_matrix(Y)[:, [6]].toarray()
    path = fit_logistic_path(sp.csr_matrix(X), hard, [10.0, 100.0, 1000.0], tol=1e-6)
    assert [bool(step.converged.all()) for step in path] == [True] * 3
    alone = fit_logistic(sp.csr_matrix(X), hard, C=1000.0)
    assert_allclose(path[-1].objective, alone.objective, rtol=1e-8)
