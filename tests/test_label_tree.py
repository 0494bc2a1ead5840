"""Trees of labels: what they predict, what a search finds, and when there is one."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given as given_
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import clone

from sklearn_mlcl import MultiLabelLogisticRegression, load
from sklearn_mlcl.heads.predictor import AffineHead
from sklearn_mlcl.heads.tree_fit import MOST_CHILDREN, cluster_labels, tree_shape
from sklearn_mlcl.solvers import fit_logistic

N_LABELS = 30
FORMS = {
    "dense": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "csr": sp.csr_matrix,
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
pytestmark = pytest.mark.filterwarnings("ignore:.*single value in the training samples")


def rows(n_labels: int = N_LABELS, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Sparse features, and labels of uneven frequency that depend on them; the last is absent."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 12)) * (rng.random((n, 12)) < 0.6)
    Y = X @ rng.standard_normal((12, n_labels)) > rng.uniform(0.5, 4, n_labels)
    Y[:, -1] = False
    return X, Y.astype(int)


def tree(**changes: Any) -> MultiLabelLogisticRegression:
    return MultiLabelLogisticRegression(label_tree=True, **changes)


def by_loops(X: np.ndarray, Y: np.ndarray, S: np.ndarray) -> np.ndarray:
    """Probabilities by the definition, one regression after the other; entries have weights S."""

    def probability(reach: np.ndarray, labels: np.ndarray) -> np.ndarray:
        known = Y[:, labels]
        y = np.where((known == 1).any(1), 1.0, np.where(np.isnan(known).any(1), np.nan, 0.0))
        weight = S[:, labels].mean(axis=1, keepdims=True)
        fit = fit_logistic(X[reach], y[reach, None], sample_weight=weight[reach])
        return expit(X @ fit.coef.T + fit.intercept)

    clusters = cluster_labels(X, sp.csr_array(np.where(Y == 1, S, 0.0)))
    assert len(clusters.first) == 2
    p = np.empty(Y.shape)
    for start, stop in pairwise(clusters.first[1]):
        group = clusters.labels[start:stop]
        p[:, group] = probability(np.ones(len(X), dtype=bool), group)
        for label in group:
            p[:, [label]] *= probability((Y[:, group] == 1).any(axis=1), np.array([label]))
    return p


@pytest.mark.parametrize("weights", ["none", "rows", "entries"])
@pytest.mark.parametrize("missing", [False, True])
def test_probabilities_are_products_along_the_path(weights: str, missing: bool) -> None:
    X, Y = rows()
    rng = np.random.default_rng(1)
    Y = np.where(rng.random(Y.shape) < 0.1, np.nan, Y) if missing else Y.astype(float)
    S = rng.uniform(0.5, 2, {"none": (), "rows": (len(X), 1), "entries": Y.shape}[weights])
    given = {"none": None, "rows": np.ravel(S), "entries": S}[weights]
    S = np.ones_like(Y) if given is None else np.broadcast_to(S, Y.shape)
    fitted = tree(tol=1e-10).fit(X, Y, given)
    assert_allclose(fitted.predict_proba(X), by_loops(X, Y, S), rtol=1e-6)
    in_csr = tree(tol=1e-10).fit(sp.csr_matrix(X), Y, given)
    assert_allclose(in_csr.predict_proba(X), fitted.predict_proba(X), rtol=1e-6)


@every_form
def test_answers_have_the_form_of_the_data_and_agree(form: Any, tmp_path: Any) -> None:
    X, Y = rows()
    X = form(X)
    fitted = tree().fit(X, sp.csr_matrix(Y))
    p = fitted.predict_proba(X)
    assert p.dtype == X.dtype and p.shape == Y.shape and (p > 0).all() and (p < 1).all()
    assert_allclose(fitted.predict_proba(X[7:8]), p[7:8], rtol=1e-5 if p.dtype == "f4" else 1e-9)
    other = X.toarray() if sp.issparse(X) else sp.csr_matrix(X)
    assert_allclose(fitted.predict_proba(other), p, rtol=1e-5)
    for threshold in (0.5, np.linspace(0.1, 0.9, N_LABELS), 0.0):
        labels = fitted.set_params(threshold=threshold).predict(X)
        assert isinstance(labels, sp.csr_matrix) and labels.dtype == Y.dtype
        assert_array_equal(labels.toarray(), p >= threshold)
    fitted.save(tmp_path / "tree.mlcl")
    assert_array_equal(load(tmp_path / "tree.mlcl").predict_proba(X), p)
    rows_ = torch.from_numpy((X.toarray() if sp.issparse(X) else X).astype(np.float32))
    rows_.requires_grad_()
    served = fitted.to_module()(rows_)
    assert_allclose(served.detach().numpy(), p, atol=1e-5)
    assert torch.autograd.grad(served.sum(), rows_)[0].abs().sum() > 0


@every_form
@pytest.mark.parametrize("k", [1, 3, N_LABELS])
def test_a_search_that_sees_all_clusters_finds_the_best(form: Any, k: int) -> None:
    X, Y = rows()
    fitted = tree().fit(form(X), Y)
    assert len(fitted.label_tree_.levels[0].bias[0]) < 10  # the beam
    p, best = fitted.predict_proba(form(X)), fitted.predict_topk(form(X), k)
    assert_array_equal(best.indptr, np.arange(0, len(X) * k + 1, k))
    expected = np.sort(np.argsort(-p, axis=1, kind="stable")[:, :k], axis=1)
    assert_array_equal(best.indices.reshape(-1, k), expected)
    assert_allclose(best.data.reshape(-1, k), np.take_along_axis(p, expected, 1), rtol=1e-5)


def test_a_narrow_beam_returns_probabilities_of_its_labels(monkeypatch: Any) -> None:
    monkeypatch.setattr("sklearn_mlcl.heads.label_tree.BEAM", 1)
    X, Y = rows(200)
    fitted = tree().fit(X, Y)
    first = fitted.label_tree_.levels[0]
    best_node = first.all_scores(torch.from_numpy(X))[0].argmax(dim=1)
    best = fitted.predict_topk(X, 1)
    place = fitted.label_tree_.labels.argsort()[torch.from_numpy(best.indices).long()]
    starts = fitted.label_tree_.levels[1].first
    assert_array_equal(torch.searchsorted(starts, place, right=True) - 1, best_node)
    p = fitted.predict_proba(X)
    assert_allclose(best.data, p[np.arange(len(X)), best.indices], rtol=1e-9)
    # A beam of one cluster has too few labels for that many.
    assert fitted.predict_topk(X, 60).shape == Y.shape


def test_a_weight_of_two_equals_a_repeated_sample() -> None:
    X, Y = rows()
    w = np.random.default_rng(0).integers(0, 3, len(X))
    again = np.repeat(np.arange(len(X)), w)
    weighted, repeated = tree().fit(X, Y, w), tree().fit(X[again], Y[again])
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-5)


def test_C_per_label_and_by_cross_validation() -> None:
    X, Y = rows()
    same = tree(C=np.full(N_LABELS, 0.3)).fit(X, Y)
    assert_allclose(same.predict_proba(X), tree(C=0.3).fit(X, Y).predict_proba(X), rtol=1e-9)
    own = tree(C=np.linspace(0.1, 1, N_LABELS)).fit(X, Y)
    assert_allclose(own.C_, np.linspace(0.1, 1, N_LABELS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clusters may be constant in a fold
        chosen = tree(C="cv", Cs=[0.1, 1.0], cv=2).fit(X, Y)
    assert set(chosen.C_) <= {0.1, 1.0} and chosen.n_iter_.shape == (N_LABELS,)


@pytest.mark.parametrize("n_labels", [1, 2, 3, 10])
def test_few_labels(n_labels: int) -> None:
    X, Y = rows(n_labels + 1)
    fitted = tree(tol=1e-10).fit(X, sp.csr_matrix(Y[:, :n_labels]))
    p = fitted.predict_proba(X)
    assert p.shape == (len(X), n_labels) and np.isfinite(fitted.decision_function(X)).all()
    # Over the samples of the fit, the product keeps the mean of labels that are not separable.
    assert_allclose(p.mean(axis=0), Y[:, :n_labels].mean(axis=0), atol=0.05)


def test_a_row_without_entries_and_labels_that_nobody_has() -> None:
    X, Y = rows()
    X[:3], Y[:, ::2] = 0, 0
    p = tree().fit(sp.csr_matrix(X), Y).predict_proba(sp.csr_matrix(X))
    assert (p[:, ::2] < 0.05).all() and np.isfinite(p).all()
    none = np.zeros_like(Y)
    assert (tree().fit(sp.csr_matrix(X), none).predict_proba(sp.csr_matrix(X)) < 0.01).all()


# ---------------------------------------------------------------------- clusters


@given_(st.integers(1, 3_000_000))
def test_shape_of_a_tree(n_labels: int) -> None:
    depth, width = tree_shape(n_labels)
    assert width**depth >= n_labels and 1 <= width <= MOST_CHILDREN
    assert depth == 2 or MOST_CHILDREN ** (depth - 1) < n_labels


@every_form
def test_clusters_are_balanced_and_hold_what_belongs_together(form: Any) -> None:
    """Five groups of five labels, each with features of its own."""
    X = np.eye(5)[np.arange(100) % 5] + 0.01 * np.random.default_rng(0).random((100, 5))
    group = np.random.default_rng(1).permutation(np.repeat(np.arange(5), 5))
    Y = (np.arange(100)[:, None] % 5 == group).astype(float)
    found = cluster_labels(form(X), sp.csr_array(Y))
    assert_array_equal(np.sort(found.labels), np.arange(25))
    assert_array_equal(np.diff(found.first[1]), np.full(5, 5))
    assert (np.diff(group[found.labels].reshape(5, 5)) == 0).all()
    backwards = cluster_labels(form(X)[::-1], sp.csr_array(Y[::-1]))
    sets = [
        {frozenset(part) for part in c.labels.reshape(5, 5).tolist()} for c in (found, backwards)
    ]
    assert sets[0] == sets[1]


def test_sizes_of_clusters_differ_by_one() -> None:
    X, Y = rows(47)
    found = cluster_labels(X, sp.csr_array(Y.astype(float)))
    sizes = np.diff(found.first[1])
    assert sizes.max() - sizes.min() <= 1 and sizes.sum() == 47 and len(sizes) == 7


# ---------------------------------------------------------------------- when, and how exactly


def test_auto_is_a_tree_of_very_many_labels_alone(monkeypatch: Any) -> None:
    X, Y = rows()
    flat = MultiLabelLogisticRegression().fit(X, Y)
    assert flat.coef_.shape == (N_LABELS, 12) and not hasattr(flat, "label_tree_")
    monkeypatch.setattr("sklearn_mlcl.heads.logistic.TREE_LABELS", N_LABELS - 1)
    auto = MultiLabelLogisticRegression().fit(X, Y)
    assert not hasattr(auto, "coef_") and auto.tol_ == 1e-10
    assert_array_equal(auto.predict_proba(X), tree().fit(X, Y).predict_proba(X))
    again = clone(auto).set_params(label_tree=False).fit(X, Y)
    assert_array_equal(again.coef_, flat.coef_)
    auto.set_params(label_tree=False).fit(X, Y)
    assert not hasattr(auto, "label_tree_") and auto.tol_ == 1e-10


def test_tolerance_by_the_size_of_the_problem() -> None:
    X = sp.random(1000, 1000, density=0.1, format="csr", random_state=0)
    flat, in_tree = (MultiLabelLogisticRegression(label_tree=tree) for tree in (False, True))
    assert flat._tolerance(X, 1000) == 1e-10 and flat._tolerance(X, 1001) == 1e-3
    assert in_tree._tolerance(X, 1000) == 1e-10 and in_tree._tolerance(X, 1001) == 0.05
    assert flat._tolerance(np.zeros((1000, 100)), 1001) == 1e-3
    assert flat.set_params(tol=1e-5)._tolerance(X, 1001) == 1e-5


def test_coefficients_have_the_dtype_of_X_and_one_copy() -> None:
    X, Y = rows()
    for dtype in (np.float32, np.float64):
        fitted = MultiLabelLogisticRegression().fit(X.astype(dtype), Y)
        assert fitted.coef_.dtype == fitted.intercept_.dtype == dtype
        head = AffineHead(fitted.coef_, fitted.intercept_)
        assert np.shares_memory(head.weight.numpy(), fitted.coef_)
    rough = fit_logistic(X, Y, dtype=torch.float32)
    assert_array_equal(rough.coef, fit_logistic(X, Y).coef.astype(np.float32))


def test_a_forged_tree_is_refused() -> None:
    X, Y = rows()
    fitted = tree().fit(X, Y)
    for name in ("key", "first"):
        level = getattr(fitted.label_tree_.levels[1], name)
        level += 1
        with pytest.raises(ValueError, match="tree"):
            [part.check_state() for part in (*fitted.label_tree_.levels, fitted.label_tree_)]
        level -= 1
    fitted.label_tree_.labels[0] = fitted.label_tree_.labels[1]
    with pytest.raises(ValueError, match="permutation"):
        fitted.label_tree_.check_state()


def test_shards_of_labels_have_no_trees() -> None:
    fit_label_shards = pytest.importorskip("sklearn_mlcl.distributed").fit_label_shards
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match="a regression for each label, got label_tree=True"):
        fit_label_shards(tree(), *rows(), client=None)
