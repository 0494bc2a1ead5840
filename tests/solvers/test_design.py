"""The working coordinates: the same logits and penalty, and a Gram matrix near the identity."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sklearn_mlcl.solvers import _design, fit_logistic
from sklearn_mlcl.solvers._design import _row_space_pays, make_design
from sklearn_mlcl.solvers.logistic import prepare

from .oracles import problem

N, D, WIDE = 60, 7, 90
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def features(kind, seed=0):
    """X, and its array: dense, with a diagonal metric, CSR, or with fewer rows than columns."""
    d = WIDE if "wide" in kind else D
    X, _ = problem(N, d, 1, seed, scale=2.0)
    X[:, 2] *= 30.0
    if "csr" in kind:
        X = X * (np.random.default_rng(seed).random(X.shape) < 0.5)
        return sp.csr_array(X), X
    return torch.from_numpy(X), X


@pytest.fixture(params=["dense", "diagonal", "csr", "wide", "wide csr"])
def kind(request, monkeypatch):
    if request.param == "diagonal":
        monkeypatch.setattr("sklearn_mlcl.solvers._design.EIGENBASIS_LIMIT", D - 1)
    return request.param


def matrix(design):
    """The operator as a matrix (n, r)."""
    r = len(design.penalty)
    return design.operator.forward(torch.eye(r, dtype=torch.float64))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_gram_matrix(kind, weighted, fit_intercept):
    """The identity in an eigenbasis; ones on the diagonal without one."""
    X, _ = features(kind)
    weight = torch.rand(N, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    design = make_design(X, weight if weighted else None, fit_intercept)
    A = matrix(design)
    # The row space is that of the unweighted rows, around the weighted mean.
    share = weight if weighted and "wide" not in kind else torch.ones(N, dtype=torch.float64)
    gram = A.T @ ((share / share.sum())[:, None] * A)
    if kind in ("diagonal", "csr"):
        gram = torch.diagonal(gram)
        torch.testing.assert_close(gram, torch.ones_like(gram), **EXACT)
        return
    inner = gram[:-1, :-1] if fit_intercept else gram
    torch.testing.assert_close(inner, torch.eye(len(inner), dtype=gram.dtype), **EXACT)
    assert len(inner) == (N - fit_intercept if "wide" in kind else D)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_coordinates_keep_logits_and_penalty(kind, fit_intercept):
    X, array = features(kind)
    design = make_design(X, None, fit_intercept)
    theta = torch.randn(len(design.penalty), 3, dtype=torch.float64)
    coef, intercept = design.back(theta)
    logits = torch.from_numpy(array) @ coef + intercept
    torch.testing.assert_close(design.operator.forward(theta), logits, **EXACT)
    ridge = (design.penalty[:, None] * theta.square()).sum(0)
    torch.testing.assert_close(ridge, coef.square().sum(0), **EXACT)
    torch.testing.assert_close(design.into(coef, intercept), theta, **EXACT)
    assert bool(intercept.any()) == fit_intercept


def test_operator_is_its_matrix(kind):
    X, _ = features(kind)
    operator = make_design(X, None, True).operator
    A = matrix(make_design(X, None, True))
    residual = torch.randn(N, 4, dtype=torch.float64)
    torch.testing.assert_close(operator.adjoint(residual), A.T @ residual, **EXACT)
    some = torch.tensor([5, 2, 2, 40])
    theta = torch.randn(A.shape[1], 2, dtype=torch.float64)
    torch.testing.assert_close(operator.rows(some).forward(theta), A[some] @ theta, **EXACT)
    single = operator.to(torch.float32)
    assert single.forward(theta.float()).dtype == single.dtype == torch.float32
    torch.testing.assert_close(single.forward(theta.float()), (A @ theta).float())


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_directions_without_variance_are_dropped_or_stay_at_zero(kind, fit_intercept):
    """A copied and an empty column: the same logits as without them."""
    _, X = features(kind)
    wider = np.column_stack([X, X[:, 0], np.zeros(N)])
    Y = problem(N, D, 2)[1]
    form = sp.csr_array if "csr" in kind else np.asarray
    got = fit_logistic(form(wider), Y, fit_intercept=fit_intercept)
    scaled = np.column_stack([np.sqrt(2) * X[:, :1], X[:, 1:]])
    expected = fit_logistic(scaled, Y, fit_intercept=fit_intercept)
    np.testing.assert_allclose(got.coef[:, 1 : X.shape[1]], expected.coef[:, 1:], atol=1e-7)
    np.testing.assert_allclose(got.coef[:, 0], got.coef[:, -2], atol=1e-7)
    np.testing.assert_allclose(got.coef[:, -1], 0.0, atol=1e-12)
    np.testing.assert_allclose(got.objective, expected.objective, rtol=1e-10)


@pytest.mark.parametrize("weighted", ["not", "by sample", "by label"])
@pytest.mark.parametrize("missing", [False, True])
def test_the_shared_gram_matrix_weighs_a_sample_by_the_mean_over_its_labels(weighted, missing):
    """A missing label weighs nothing; without weights and missing labels all samples are alike."""
    X, array = features("dense")
    Y = problem(N, D, 5)[1]
    rng = np.random.default_rng(0)
    if missing:
        Y[rng.random(Y.shape) < 0.5] = np.nan
    weight = {"not": None, "by sample": rng.random(N), "by label": rng.random((N, 5))}[weighted]
    entries = np.ones((N, 1)) if weight is None else weight.reshape(N, -1)
    share = (entries * ~np.isnan(Y)).sum(1)
    design, _ = prepare(X, Y, weight, True)
    A = matrix(design)
    gram = A.T @ (torch.from_numpy(share / share.sum())[:, None] * A)
    torch.testing.assert_close(gram, torch.eye(D + 1, dtype=gram.dtype), **EXACT)
    mean = np.average(array, axis=0, weights=share)
    np.testing.assert_allclose(design.mean.numpy(), mean, rtol=1e-12)


def test_row_space_of_csr_where_its_decomposition_pays():
    """Rows of 90 entries in 30,000 columns; beyond a thousand rows many labels share the cost."""

    def rows(n):
        columns = np.tile(np.arange(90) * 300, n)
        parts = np.ones(90 * n), columns, np.arange(0, 90 * n + 1, 90)
        return sp.csr_array(parts, shape=(n, 30_000))

    assert _row_space_pays(rows(999), 1)
    assert not _row_space_pays(rows(1_000), 10) and _row_space_pays(rows(1_000), 100)
    assert not _row_space_pays(rows(4_000), 10_000)
    assert _row_space_pays(torch.ones(4_000, 5_000), 1)


def test_both_ways_from_csr_have_one_minimum(monkeypatch):
    rng = np.random.default_rng(0)
    X = sp.random_array((60, 150), density=0.1, format="csr", rng=rng)
    Y = rng.random((60, 4)) < 0.3
    found = []
    for pays in (False, True):
        monkeypatch.setattr(_design, "_row_space_pays", lambda X, n, pays=pays: pays)
        found.append(fit_logistic(X, Y, C=10.0))
    np.testing.assert_allclose(found[0].coef, found[1].coef, atol=1e-8)
