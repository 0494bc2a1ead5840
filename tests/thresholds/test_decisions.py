"""The decision rules: a threshold, the k best, and the choice between rules."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sklearn_mlcl.thresholds import choose_decision, threshold_decision, topk_decision, tune_topk


def test_decision_rules():
    P = np.array([[0.2, 0.9, 0.9], [0.5, 0.1, 0.4]])
    assert threshold_decision(P, 0.5).tolist() == [[False, True, True], [True, False, False]]
    assert topk_decision(P, 1).toarray().tolist() == [[0, 1, 0], [1, 0, 0]]
    assert topk_decision(P, [0, 2]).toarray().tolist() == [[0, 0, 0], [1, 0, 1]]
    assert tune_topk(P, np.array([[0, 1, 1], [1, 0, 1]])) == 2
    with pytest.raises(ValueError, match="k must be"):
        topk_decision(P, 4)
    with pytest.raises(ValueError, match="threshold"):
        threshold_decision(P, [0.1, 0.2])


@pytest.mark.parametrize("scoring", ["f1_micro", "f1_macro", "f1_samples"])
def test_choose_decision_scores_and_caution(scoring):
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, (300, 4))
    flip = rng.random(Y.shape)
    rules = {"threshold": np.where(flip < 0.2, 1 - Y, Y), "onn": np.where(flip < 0.1, 1 - Y, Y)}
    name, scores = choose_decision(rules, Y, scoring=scoring)
    assert name == "onn"
    average = scoring.split("_")[1]
    for rule, P in rules.items():
        expected = f1_score(Y, P, average=average, zero_division=0)
        assert scores[rule] == pytest.approx(expected, abs=1e-12)
    nearly = Y.copy()
    nearly[0, 0] = 1 - nearly[0, 0]  # one entry better is no evidence
    base = nearly.copy()
    base[1, 0] = 1 - base[1, 0]
    assert choose_decision({"a": base, "b": nearly}, Y, scoring=scoring, n_se=2)[0] == "a"
    missing = np.where(rng.random(Y.shape) < 0.3, np.nan, Y)
    assert choose_decision(rules, missing, scoring=scoring)[0] == "onn"
