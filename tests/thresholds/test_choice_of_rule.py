"""The rules that turn scores into label sets, and the choice between them on held-out rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score

from sklearn_mlcl.thresholds import choose_decision, threshold_decision, topk_decision, tune_topk

SCORINGS = ("f1_micro", "f1_macro", "f1_samples")


def f1(Y, prediction, scoring, weight=None):
    average = scoring.removeprefix("f1_")
    return f1_score(Y, prediction, average=average, sample_weight=weight, zero_division=0)


def held_out(seed, n=20, L=4):
    """Labels, the safe rule's answers, and answers with a few of the mistakes mended."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, L)) < 0.4).astype(int)
    Y[0], Y[1] = 0, 1
    safe = Y ^ (rng.random((n, L)) < 0.3)
    return Y, safe, np.where(rng.random((n, L)) < 0.3, Y, safe)


def influence(Y, prediction, scoring):
    """Of each row on the score: n times its derivative in the weight of the row."""
    n, step = len(Y), 1e-4

    def score(row, change):
        weight = np.ones(n)
        weight[row] += change
        return f1(Y, prediction, scoring, weight)

    return np.array([n * (score(i, step) - score(i, -step)) / (2 * step) for i in range(n)])


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("seed", range(2))
def test_a_rule_is_better_by_more_than_its_standard_error(scoring, seed):
    """The error of the paired difference decides, on both sides of where it is met."""
    Y, safe, other = held_out(seed)
    gain = f1(Y, other, scoring) - f1(Y, safe, scoring)
    spread = np.std(influence(Y, other, scoring) - influence(Y, safe, scoring))
    errors = gain / (spread / np.sqrt(len(Y)))
    assert errors > 0
    for n_se, expected in ((0.99 * errors, "other"), (1.01 * errors, "safe")):
        name, scores = choose_decision(
            {"safe": safe, "other": other}, Y, scoring=scoring, n_se=n_se
        )
        assert name == expected
        assert scores == pytest.approx(
            {"safe": f1(Y, safe, scoring), "other": f1(Y, other, scoring)}, rel=1e-12
        )


@pytest.mark.parametrize("scoring", SCORINGS)
def test_the_best_of_several_rules_and_never_a_worse_one(scoring):
    Y, safe, other = held_out(0)
    rules = {"safe": safe, "other": other, "right": Y, "copy": Y, "none": np.zeros_like(Y)}
    name, scores = choose_decision(rules, Y, scoring=scoring)
    assert name == "right"
    assert scores["none"] == 0 and scores["right"] == pytest.approx(f1(Y, Y, scoring))
    # The other way round the first is best, and none replaces it, not even without a margin.
    assert choose_decision(dict(reversed(rules.items())) | {"none": Y}, Y)[0] == "none"
    worse = {"safe": safe, "same": safe, "none": np.zeros_like(Y)}
    assert choose_decision(worse, Y, scoring=scoring, n_se=0.0)[0] == "safe"


@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_missing_label_counts_for_nothing(scoring):
    Y, safe, other = held_out(1)
    missing = np.random.default_rng(0).random(Y.shape) < 0.2
    hidden = np.where(missing, np.nan, Y)
    _, scores = choose_decision(
        {"safe": safe, "other": sp.csr_matrix(other)}, hidden, scoring=scoring
    )
    for name, prediction in (("safe", safe), ("other", other)):
        expected = f1(np.where(missing, 0, Y), np.where(missing, 0, prediction), scoring)
        assert scores[name] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("seed", range(4))
def test_k_is_the_smallest_of_the_best(scoring, seed):
    Y, _, _ = held_out(seed)
    scores = Y + np.random.default_rng(seed).normal(size=Y.shape)
    ranks = (-scores).argsort(axis=1).argsort(axis=1)
    values = [f1(Y, (ranks < k).astype(int), scoring) for k in (1, 2, 3, 4)]
    assert tune_topk(scores, Y, scoring=scoring) == 1 + int(np.argmax(values))


def test_the_ends_of_k_and_a_draw():
    scores = np.array([[0.9, 0.5, 0.1], [0.8, 0.6, 0.2]])
    assert tune_topk(scores, np.ones((2, 3), dtype=int)) == 3
    assert tune_topk(scores, np.array([[1, 0, 0], [1, 0, 0]])) == 1
    assert tune_topk(scores, np.zeros((2, 3), dtype=int)) == 1  # 0 whatever is answered


def test_a_score_at_its_threshold_is_a_positive():
    scores = np.array([[0.4, 0.6], [0.5, 0.7]])
    assert threshold_decision(scores, 0.5).tolist() == [[False, True], [True, True]]
    assert threshold_decision(scores, [0.4, 0.7]).tolist() == [[True, False], [True, True]]
    for wrong in ([0.5], [0.1, 0.2, 0.3], [[0.5, 0.5]]):
        with pytest.raises(ValueError, match=r"threshold must be a number or have shape \(2,\)"):
            threshold_decision(scores, wrong)


def test_the_k_best_are_positives_and_the_first_of_equals():
    scores = np.array([[0.2, 0.9, 0.9], [0.5, 0.1, 0.4]])
    assert topk_decision(scores, 1).toarray().tolist() == [[0, 1, 0], [1, 0, 0]]
    assert topk_decision(scores, [0, 2]).toarray().tolist() == [[0, 0, 0], [1, 0, 1]]
    with pytest.raises(ValueError, match="k must be"):
        topk_decision(scores, 4)


def test_errors_name_what_is_wrong():
    Y, safe, _ = held_out(0)
    with pytest.raises(ValueError, match="predictions is empty"):
        choose_decision({}, Y)
    with pytest.raises(ValueError, match="scoring must be one of"):
        choose_decision({"safe": safe}, Y, scoring="accuracy")
