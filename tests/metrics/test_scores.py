"""Metrics of scores and probabilities against loops, and against scikit-learn's."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.metrics as skm
from sklearn.calibration import calibration_curve
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_mlcl import metrics

EXACT = {"rtol": 0, "atol": 1e-12}


def random_case(seed, n=20, L=4, missing=True):
    """Targets with empty and unknown rows, tied scores, weights with zeros."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, L)) < 0.4).astype(float)
    Y[:2] = 0
    S = rng.integers(0, 6, (n, L)) / 8
    if missing:
        Y[rng.random((n, L)) < 0.2] = np.nan
        Y[4] = np.nan
    return Y, S, rng.integers(0, 4, n) / 2


def row_orders(y, s):
    """All rankings of the known labels that agree with the scores."""
    known = [j for j in range(len(y)) if not np.isnan(y[j])]
    return [order for order in permutations(known) if all(s[a] >= s[b] for a, b in pairwise(order))]


def row_oracle(name, y, s, k):
    """Mean over the rankings that ties allow; None for a row that does not count."""
    if not np.nansum(y):
        return None
    orders = row_orders(y, s)
    if name == "coverage":
        lowest = min(s[j] for j in range(len(y)) if y[j] == 1)
        return sum(1 for j in orders[0] if s[j] >= lowest)
    if name == "precision_at_k":
        k = min(k, len(orders[0]))
        return np.mean([sum(y[j] for j in order[:k]) / k for order in orders])
    gains = [sum(y[j] / np.log2(r + 2) for r, j in enumerate(o[:k])) for o in orders]
    ideal = sum(1 / np.log2(r + 2) for r in range(min(k, int(np.nansum(y)))))
    return np.mean(gains) / ideal


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", ["precision_at_k", "ndcg_at_k", "coverage"])
@pytest.mark.parametrize("seed", range(3))
def test_ranking_oracle(name, k, seed):
    Y, S, w = random_case(seed)
    keywords = {} if name == "coverage" else {"k": k}
    rows = [(row_oracle(name, y, s, k), v) for y, s, v in zip(Y, S, w, strict=True)]
    rows = [(value, v) for value, v in rows if value is not None]
    expected = sum(value * v for value, v in rows) / sum(v for _, v in rows)
    metric = getattr(metrics, name)
    np.testing.assert_allclose(metric(Y, S, sample_weight=w, **keywords), expected, **EXACT)
    sparse = metric(sp.csr_matrix(Y), S, sample_weight=w, **keywords)
    np.testing.assert_allclose(sparse, expected, **EXACT)


@pytest.mark.parametrize("weighted", [False, True])
def test_rankings_of_scikit_learn(weighted):
    Y, S, w = random_case(5, n=60, L=8, missing=False)
    keywords = {"sample_weight": w if weighted else None}
    expected = skm.coverage_error(Y, S, **keywords)
    np.testing.assert_allclose(
        metrics.coverage(Y, S, empty_rows=0.0, **keywords), expected, **EXACT
    )
    for k in (None, 1, 3):
        expected = skm.ndcg_score(Y, S, k=k, **keywords)
        ours = metrics.ndcg_at_k(Y, S, k=k, empty_rows=0.0, **keywords)
        np.testing.assert_allclose(ours, expected, **EXACT)


def test_propensity_scored_precision_oracle():
    Y, S, w = random_case(1)
    p = metrics.label_propensities(Y)
    k, reached, best = 2, 0.0, 0.0
    for y, s, v in zip(Y, S, w, strict=True):
        if np.isnan(y).all():
            continue
        gains = [sum(y[j] / p[j] for j in order[:k]) for order in row_orders(y, s)]
        reached += v * np.mean(gains)
        best += v * sum(sorted(y[j] / p[j] for j in range(len(y)) if y[j] == 1)[::-1][:k])
    ours = metrics.propensity_scored_precision_at_k(Y, S, propensities=p, k=k, sample_weight=w)
    np.testing.assert_allclose(ours, reached / best, **EXACT)


def test_propensities_formula_and_order():
    Y = np.repeat([[1, 0], [1, 1]], [90, 10], axis=0)
    C = (np.log(100) - 1) * 2.5**0.55
    expected = [1 / (1 + C * np.exp(-0.55 * np.log(N + 1.5))) for N in (100, 10)]
    np.testing.assert_allclose(metrics.label_propensities(Y), expected, **EXACT)


def ap_oracle(y, s, w):
    """Sum over distinct scores of the step in recall times the precision."""
    total, recall = 0.0, 0.0
    for cut in sorted(set(s), reverse=True):
        accepted = [(yi, wi) for yi, si, wi in zip(y, s, w, strict=True) if si >= cut]
        hits = sum(wi for yi, wi in accepted if yi == 1)
        step = hits / sum(w[y == 1])
        total += (step - recall) * hits / max(sum(wi for _, wi in accepted), 1e-300)
        recall = step
    return total


def auc_oracle(y, s, w):
    """Share of pairs in the right order, ties by half."""
    pairs = [
        (w[i] * w[j], s[i], s[j]) for i in np.flatnonzero(y == 1) for j in np.flatnonzero(y == 0)
    ]
    right = sum(v * (0.5 if a == b else float(a > b)) for v, a, b in pairs)
    return right / sum(v for v, _, _ in pairs)


@pytest.mark.parametrize(
    ("name", "loop"), [("average_precision", ap_oracle), ("roc_auc", auc_oracle)]
)
def test_curves_oracle_survive_absent_and_full_labels(name, loop):
    Y, S, w = random_case(2, L=5)
    w += 0.5
    Y[:, 1] = np.where(np.isnan(Y[:, 1]), np.nan, 0)
    Y[:, 2] = np.where(np.isnan(Y[:, 2]), np.nan, 1)
    defined = [0, 2, 3, 4] if name == "average_precision" else [0, 3, 4]
    expected = np.full(5, np.nan)
    for j in defined:
        known = ~np.isnan(Y[:, j])
        expected[j] = loop(Y[known, j], S[known, j], w[known])
    metric = getattr(metrics, name)
    np.testing.assert_allclose(metric(Y, S, average=None, sample_weight=w), expected, **EXACT)
    np.testing.assert_allclose(metric(Y, S, sample_weight=w), np.nanmean(expected), **EXACT)
    known = ~np.isnan(Y)
    weights = np.broadcast_to(w[:, None], Y.shape)[known]
    pooled = metric(Y, S, average="micro", sample_weight=w)
    np.testing.assert_allclose(pooled, loop(Y[known], S[known], weights), **EXACT)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["macro", "micro"])
def test_curves_of_scikit_learn(average, weighted):
    Y, S, w = random_case(4, n=60, missing=False)
    keywords = {"average": average, "sample_weight": w if weighted else None}
    np.testing.assert_allclose(
        metrics.average_precision(Y, S, **keywords),
        skm.average_precision_score(Y, S, **keywords),
        **EXACT,
    )
    auc = skm.roc_auc_score(Y, S, **keywords)
    np.testing.assert_allclose(metrics.roc_auc(Y, S, **keywords), auc, **EXACT)


def test_positives_that_weigh_nothing_are_none():
    Y, S, w = [[1, 1], [0, 0]], [[0.9, 0.9], [0.5, 0.5]], [[1, 0], [1, 1]]
    found = metrics.average_precision(Y, S, average=None, sample_weight=w)
    np.testing.assert_array_equal(found, [1, np.nan])


def test_losses_oracle():
    Y, P, w = random_case(6)
    losses = {"multilabel_log_loss": [], "brier_score": []}
    mass = []
    eps = np.finfo(float).eps
    for i in range(len(Y)):
        for j in range(Y.shape[1]):
            if np.isnan(Y[i, j]):
                continue
            p = min(max(P[i, j], eps), 1 - eps)
            chance = p if Y[i, j] == 1 else 1 - p
            losses["multilabel_log_loss"].append(-w[i] * np.log(chance))
            losses["brier_score"].append(w[i] * (P[i, j] - Y[i, j]) ** 2)
            mass.append(w[i])
    for name, terms in losses.items():
        ours = getattr(metrics, name)(Y, P, sample_weight=w)
        np.testing.assert_allclose(ours, sum(terms) / sum(mass), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_scikit_learn_by_label(weighted):
    Y, P, w = random_case(8, n=40, missing=False)
    Y = Y.astype(int)
    keywords = {"sample_weight": w if weighted else None}
    pairs = [
        (metrics.multilabel_log_loss, skm.log_loss),
        (metrics.brier_score, skm.brier_score_loss),
    ]
    for ours, theirs in pairs:
        expected = [theirs(y, p, **keywords) for y, p in zip(Y.T, P.T, strict=True)]
        np.testing.assert_allclose(ours(Y, P, average=None, **keywords), expected, **EXACT)
        np.testing.assert_allclose(ours(Y, P, **keywords), np.mean(expected), **EXACT)


def test_log_loss_does_not_reward_predicting_every_label():
    Y = (np.random.default_rng(0).random((200, 10)) < 0.2).astype(int)
    right, all_ones = np.full(Y.shape, 0.2), np.full(Y.shape, 1.0)
    assert metrics.multilabel_log_loss(Y, right) < 0.6 < metrics.multilabel_log_loss(Y, all_ones)


def test_reliability_curve_of_scikit_learn_by_label():
    Y, P, _ = random_case(9, n=80, missing=False)
    confidence, frequency, mass = metrics.reliability_curve(Y, P, n_bins=5)
    for j in range(Y.shape[1]):
        share, mean = calibration_curve(Y[:, j].astype(int), P[:, j], n_bins=5)
        filled = mass[j] > 0
        np.testing.assert_allclose(confidence[j, filled], mean, **EXACT)
        np.testing.assert_allclose(frequency[j, filled], share, **EXACT)
    assert mass.sum() == Y.size


def test_reliability_counts_known_entries_by_weight():
    Y, P, w = random_case(9)
    _, _, mass = metrics.reliability_curve(Y, P, sample_weight=w)
    np.testing.assert_allclose(mass.sum(axis=1), w @ ~np.isnan(Y), **EXACT)


@pytest.mark.parametrize(
    "metric", [metrics.multilabel_log_loss, metrics.brier_score, metrics.reliability_curve]
)
def test_probabilities_are_named(metric):
    for given, message in (
        ([[0.1], [0.2]], r"y_true and y_proba must have one shape .* \(2, 2\) and \(2, 1\)"),
        ([["a", "b"], ["c", "d"]], "y_proba must hold real numbers"),
        ([[0.1, np.nan], [0.2, 0.3]], "y_proba holds NaN or inf"),
        ([[0.1, 1.5], [0.2, 0.3]], r"y_proba must lie in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            metric([[1, 0], [0, 1]], given)


def test_undefined_and_bad_input():
    with pytest.warns(UndefinedMetricWarning, match="roc_auc is undefined"):
        assert np.isnan(metrics.roc_auc(np.zeros((3, 2)), np.zeros((3, 2))))
    with pytest.raises(ValueError, match="k must be an integer from 1 to the 2 labels"):
        metrics.precision_at_k([[0, 1]], [[0.1, 0.2]], k=3)
    with pytest.raises(ValueError, match="NaN or inf"):
        metrics.coverage([[0, 1]], [[0.1, np.inf]])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        metrics.brier_score([[0, 1]], [[0.1, 1.5]])
    with pytest.raises(ValueError, match="average"):
        metrics.average_precision([[0, 1]], [[0.1, 0.5]], average="samples")
    with pytest.raises(ValueError, match=r"y_true must have one sample or more, .* \(0, 2\)"):
        metrics.coverage(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"propensities .* got \[0, 1\]"):
        metrics.propensity_scored_precision_at_k([[0, 1]], [[0.1, 0.5]], propensities=[0, 1])
    with pytest.raises(ValueError, match="3 known entries"):
        metrics.label_propensities([[1, 0], [0, 1]])
