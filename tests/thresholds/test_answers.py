"""What the threshold meta-estimator answers: containers, bounds, log odds, and its defaults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from sklearn_mlcl import MultiLabelThresholdClassifierCV
from sklearn_mlcl.thresholds import tune_thresholds

FOREST = RandomForestClassifier(5, random_state=0)
ANSWERS = ("predict", "predict_proba", "decision_function")


@pytest.fixture(scope="module")
def frames():
    X, Y = make_multilabel_classification(60, n_features=5, n_classes=3, random_state=0)
    index = pd.Index([f"sample {i}" for i in range(60)])
    return pd.DataFrame(X, index=index, columns=list("vwxyz")), pd.DataFrame(Y, columns=list("abc"))


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_are_frames_where_asked_for(frames, answer):
    X, Y = frames
    tuned = MultiLabelThresholdClassifierCV(FOREST, cv=2).fit(X, Y)
    array = getattr(tuned, answer)(X)
    assert isinstance(array, np.ndarray)
    frame = getattr(tuned.set_output(predict="pandas"), answer)(X)
    assert frame.columns.tolist() == ["a", "b", "c"]
    assert frame.index.equals(X.index)
    np.testing.assert_array_equal(frame.to_numpy(), array)


def test_log_odds_of_probabilities_strictly_inside_their_bounds(frames):
    X, Y = (part.to_numpy() for part in frames)
    tuned = MultiLabelThresholdClassifierCV(FOREST, cv="prefit")
    tuned = tuned.set_params(estimator=clone(FOREST).fit(X, Y)).fit(X, Y)
    raw = np.column_stack([p[:, 1] for p in tuned.estimator_.predict_proba(X)])
    assert raw.min() == 0 and raw.max() == 1
    proba = tuned.predict_proba(X)
    assert ((proba > 0) & (proba < 1)).all()
    np.testing.assert_allclose(proba, raw, rtol=0, atol=1e-15)
    eps = np.finfo(np.float64).eps
    expected = np.clip(raw, eps, 1 - eps)
    np.testing.assert_allclose(tuned.decision_function(X), np.log(expected / (1 - expected)))


def test_decisions_are_those_of_the_estimator_where_it_has_them(frames):
    X, Y = (part.to_numpy() for part in frames)
    rest = OneVsRestClassifier(LogisticRegression())
    tuned = MultiLabelThresholdClassifierCV(rest, cv=2).fit(X, Y)
    logits = rest.fit(X, Y).decision_function(X)
    np.testing.assert_allclose(tuned.decision_function(X), logits, rtol=1e-10)
    np.testing.assert_allclose(tuned.predict_proba(X), expit(logits), rtol=1e-10)


def test_by_default_each_label_has_its_own_threshold_of_micro_f1(frames):
    X, Y = (part.to_numpy() for part in frames)
    fitted = clone(FOREST).fit(X[:30], Y[:30])
    scores = np.column_stack([p[:, 1] for p in fitted.predict_proba(X[30:])])
    tuned = MultiLabelThresholdClassifierCV(fitted, cv="prefit")
    for keywords in ({}, {"per_label": False}, {"shrinkage": 3.0}, {"objective": "jaccard"}):
        got = clone(tuned).set_params(estimator=fitted, **keywords).fit(X[30:], Y[30:])
        expected = tune_thresholds(Y[30:], scores, **keywords)
        np.testing.assert_array_equal(got.thresholds_, expected)
    for wrong in ({"shrinkage": -0.1}, {"per_label": "no"}, {"objective": "f2"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            clone(tuned).set_params(estimator=fitted, **wrong).fit(X, Y)


@pytest.mark.parametrize("answer", ANSWERS)
def test_nothing_is_answered_before_fit(frames, answer):
    with pytest.raises(NotFittedError):
        getattr(MultiLabelThresholdClassifierCV(FOREST), answer)(frames[0])
