"""CSR scores and decisions: the numbers of dense ones, and never dense as a whole."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_mlcl import metrics
from sklearn_mlcl.utils import validation

OF_SCORES = {
    "precision_at_k": partial(metrics.precision_at_k, k=3),
    "ndcg_at_k": metrics.ndcg_at_k,
    "coverage": metrics.coverage,
    "propensity": partial(
        metrics.propensity_scored_precision_at_k, propensities=np.linspace(0.1, 1, 30), k=3
    ),
    "average_precision": metrics.average_precision,
    "average_precision_micro": partial(metrics.average_precision, average="micro"),
    "roc_auc_by_label": partial(metrics.roc_auc, average=None),
    "roc_auc_micro": partial(metrics.roc_auc, average="micro"),
}
OF_PROBABILITIES = {
    "log_loss": metrics.multilabel_log_loss,
    "brier_score_by_label": partial(metrics.brier_score, average=None),
    "reliability_curve": metrics.reliability_curve,
}
OF_DECISIONS = {
    metric.__name__: metric
    for metric in (
        metrics.f1_samples,
        metrics.f1_micro,
        metrics.f1_macro,
        metrics.jaccard_samples,
        metrics.hamming_accuracy,
        metrics.subset_accuracy,
    )
}
EVERY = OF_SCORES | OF_PROBABILITIES | OF_DECISIONS


def sparse_case(name, seed=0, n=40, L=30):
    """Scores in CSR with ties, duplicates and stored zeros, below and above the unstored 0."""
    rng = np.random.default_rng(seed)
    S = (rng.random((n, L)) < 0.3) * rng.integers(-4, 5, (n, L)) / 4
    if name in OF_DECISIONS:
        S = (S > 0).astype(int)
    elif name in OF_PROBABILITIES:
        S = np.abs(S)
    row, column = np.nonzero((S != 0) | (rng.random((n, L)) < 0.1))
    stored = np.tile(S[row, column] / 2 if S.dtype.kind == "f" else S[row, column], 2)
    twice = S.dtype.kind == "f"
    parts = (row, column, stored[: len(row)])
    if twice:
        parts = (np.tile(row, 2), np.tile(column, 2), stored)
    indptr = np.searchsorted(np.sort(parts[0]), np.arange(n + 1))
    order = np.argsort(parts[0], kind="stable")
    sparse = sp.csr_array((parts[2][order], parts[1][order], indptr), shape=(n, L))
    Y = (rng.random((n, L)) < 0.2).astype(float)
    Y[:2] = 0
    return Y, S, sparse


@pytest.mark.parametrize("weights", ["none", "sample", "entry"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_sparse_equals_dense(name, missing, weights, monkeypatch):
    Y, S, sparse = sparse_case(name)
    monkeypatch.setattr(validation, "ENTRIES_PER_BLOCK", 100)
    rng = np.random.default_rng(1)
    if missing:
        Y[rng.random(Y.shape) < 0.1] = np.nan
    shape = {"none": None, "sample": (len(Y),), "entry": Y.shape}[weights]
    w = None if shape is None else rng.integers(0, 3, shape)
    expected = EVERY[name](Y, S, sample_weight=w)
    for labels in (Y, sp.csr_array(Y)):
        found = EVERY[name](labels, sparse, sample_weight=w)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_ranking_with_every_order_of_the_unstored():
    """A stored negative score stands behind all unstored labels, a positive one before them."""
    scores = sp.csr_array(np.array([[-1.0, 0.0, 0.0, 2.0]]))
    for label, places in enumerate([{4}, {2, 3}, {2, 3}, {1}]):
        truth = sp.csr_array(np.eye(4)[[label]])
        assert metrics.coverage(truth, scores) == max(places)
        for k in range(1, 5):
            share = sum(place <= k for place in places) / len(places)
            assert metrics.precision_at_k(truth, scores, k=k) == pytest.approx(share / k)


def test_propensities_of_csr():
    Y = (np.random.default_rng(0).random((50, 6)) < 0.3).astype(float)
    Y[3, 2] = np.nan
    expected = metrics.label_propensities(Y)
    np.testing.assert_array_equal(metrics.label_propensities(sp.csr_array(Y)), expected)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"propensity", "reliability_curve"}))
def test_memory_follows_what_is_stored(name):
    """A dense matrix would take 64 MB; a block takes some megabytes, whatever their number."""
    n, L = 100, 80_000
    label = np.random.default_rng(0).integers(0, 10, (2, n)) * 7_000
    Y, scores = (sp.csr_array((np.ones(n), own, np.arange(n + 1)), shape=(n, L)) for own in label)
    tracemalloc.start()
    EVERY[name](Y, scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6


def test_scorer_leaves_sparse_answers_sparse():
    class Given:
        classes_ = np.arange(30)

        def predict_proba(self, X):
            return X

    Y, S, sparse = sparse_case("log_loss")
    for name in ("precision_at_3", "neg_log_loss"):
        scorer = metrics.get_scorer(name)
        assert scorer(Given(), sparse, Y) == pytest.approx(scorer(Given(), S, Y), abs=1e-12)
