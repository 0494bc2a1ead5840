"""The soft vote: its weights and thresholds, estimators of every form, and what may be changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import ExtraTreesClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RepeatedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from sklearn_mlcl import MultiLabelLogisticRegression, metrics
from sklearn_mlcl.calibration._vote import common_calibration, vote_weights
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedKFold,
    MultiLabelVotingClassifierCV,
    cross_val_predict,
)
from sklearn_mlcl.thresholds import tune_thresholds

TREES = ExtraTreesClassifier(10, random_state=0)
HEADS = MultiLabelLogisticRegression()
PAIR = [("trees", TREES), ("heads", HEADS)]


@pytest.fixture(scope="module")
def data():
    return make_multilabel_classification(150, n_features=8, n_classes=4, random_state=0)


def vote(estimators=PAIR, **params):
    return MultiLabelVotingClassifierCV(estimators, **{"cv": 3, **params})


# ---------------------------------------------------------------------- weights


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([1e-3, 1.0, 30.0]))
def test_weights_solve_the_equations_of_the_optimum(seed, n_models, shrinkage):
    """All derivatives are equal. Missing entries and those of zero weight do not count."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((40, 3)) < 0.3).astype(float)
    Y[rng.random(Y.shape) < 0.1] = np.nan
    v = rng.integers(0, 3, Y.shape).astype(float)
    P = rng.random((n_models, 40, 3)) ** 2
    w = vote_weights(Y, list(P), v, shrinkage)
    assert (w > 0).all() and w.sum() == pytest.approx(1)
    derivative, total = np.full(n_models, shrinkage / n_models) / w, shrinkage
    for i, l in zip(*np.nonzero(~np.isnan(Y) & (v > 0)), strict=True):
        q = P[:, i, l] if Y[i, l] == 1 else 1 - P[:, i, l]
        derivative += v[i, l] * q / (w @ q)
        total += v[i, l]
    np.testing.assert_allclose(derivative, total, rtol=1e-5)


def test_shrinkage_moves_from_the_best_single_weights_to_equal_ones():
    Y = np.tile([[1], [0]], (50, 1))
    right, wrong = np.where(Y == 1, 0.8, 0.2), np.where(Y == 1, 0.3, 0.7)
    first = [vote_weights(Y, [right, wrong], shrinkage=k)[0] for k in (1e-6, 5, 100, 1e9)]
    assert first[0] == pytest.approx(1, abs=1e-6) and first[-1] == pytest.approx(0.5, abs=1e-6)
    assert first == sorted(first, reverse=True)
    twins = vote_weights(Y, [right, right, wrong])
    assert twins[0] == pytest.approx(twins[1])


def test_certain_and_wrong_probabilities_are_no_trouble():
    Y = np.array([[1], [0], [1]])
    certain = np.array([[1.0], [0.0], [0.0]], dtype=np.float32)
    assert vote_weights(Y, [certain, certain]).tolist() == [0.5, 0.5]
    assert vote_weights(Y, [certain, np.full((3, 1), 0.5)])[0] < 0.5


# ---------------------------------------------------------------------- the estimator


def test_everything_comes_from_held_out_probabilities(data):
    X, Y = data
    fitted = vote(calibrate=False).fit(X, Y)
    held_out = [cross_val_predict(each, X, Y, cv=3) for _, each in PAIR]
    weights = vote_weights(Y, held_out)
    mean = weights[0] * held_out[0] + weights[1] * held_out[1]
    np.testing.assert_allclose(fitted.weights_, weights, rtol=1e-10)
    np.testing.assert_allclose(fitted.oof_proba_, mean, rtol=1e-10)
    own = tune_thresholds(Y, mean, objective="f1_macro")
    common = tune_thresholds(Y, mean, objective="f1_micro", per_label=False)
    n = Y.sum(axis=0)
    expected = (n * own + 200 * common) / (n + 200)
    np.testing.assert_allclose(fitted.threshold_, expected, rtol=1e-10)
    decided = (mean >= expected).astype(int)
    scores = fitted.validation_scores_
    assert list(scores) == ["trees", "heads", "vote"]
    assert scores["vote"]["f1_macro"] == metrics.f1_macro(Y, decided)
    assert scores["heads"]["log_loss"] == metrics.multilabel_log_loss(Y, held_out[1])
    assert scores["vote"]["log_loss"] < min(scores[name]["log_loss"] for name in ("trees", "heads"))
    trees = np.column_stack([p[:, 1] for p in clone(TREES).fit(X, Y).predict_proba(X)])
    proba = weights[0] * trees + weights[1] * clone(HEADS).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(fitted.predict_proba(X), proba, rtol=1e-10)
    np.testing.assert_array_equal(fitted.predict(X), proba >= expected)
    np.testing.assert_allclose(fitted.decision_function(X), np.log(proba / (1 - proba)), rtol=1e-8)
    assert fitted.named_estimators_.heads is fitted.estimators_[1]
    assert fitted.calibration_ == {}


# ---------------------------------------------------------------------- calibration


def test_calibration_solves_the_equations_of_platt(data):
    """One line for all labels; entries that are missing or without weight do not count."""
    X, Y = data
    rng = np.random.default_rng(0)
    hidden = np.where(rng.random(Y.shape) < 0.1, np.nan, Y)
    v = rng.integers(0, 3, Y.shape).astype(float)
    p = cross_val_predict(TREES, X, Y, cv=3)
    line = common_calibration(hidden, p, v)
    known = ~np.isnan(hidden) & (v > 0)
    y, v, p = Y[known], v[known], p[known]
    inside = p[(p > 0) & (p < 1)]
    assert line.floor == np.minimum(inside, 1 - inside).min() / 2 == pytest.approx(0.05)
    positives, negatives = v @ y, v @ (1 - y)
    targets = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    clipped = np.clip(p, line.floor, 1 - line.floor)
    z = np.log(clipped / (1 - clipped))
    calibrated = 1 / (1 + np.exp(-line.slope * z - line.offset))
    np.testing.assert_allclose(line.probabilities(p), calibrated, rtol=1e-12)
    for direction in (np.ones_like(z), z):
        assert (v * (calibrated - targets)) @ direction == pytest.approx(0, abs=1e-5)


def test_an_estimator_is_calibrated_where_it_gains(data):
    X, Y = data
    unsure = MultiLabelLogisticRegression(C=1e-4)
    fitted = vote([("unsure", unsure), ("heads", HEADS)]).fit(X, Y)
    assert list(fitted.calibration_) == ["unsure"]
    plain = vote([("unsure", unsure), ("heads", HEADS)], calibrate=False).fit(X, Y)
    held_out = [cross_val_predict(each, X, Y, cv=3) for each in (unsure, HEADS)]
    held_out[0] = common_calibration(Y, held_out[0]).probabilities(held_out[0])
    np.testing.assert_allclose(fitted.weights_, vote_weights(Y, held_out), rtol=1e-6)
    assert fitted.validation_scores_["unsure"] == plain.validation_scores_["unsure"]
    line, (first, second) = fitted.calibration_["unsure"], fitted.estimators_
    steeper = 1 / (1 + np.exp(-line["slope"] * first.decision_function(X) - line["offset"]))
    expected = fitted.weights_[0] * steeper + fitted.weights_[1] * second.predict_proba(X)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "inner",
    [
        KNeighborsClassifier(),
        OneVsRestClassifier(LogisticRegression()),
        MultiOutputClassifier(GaussianNB()),
        ClassifierChain(LogisticRegression()),
        make_pipeline(StandardScaler(), HEADS),
        GridSearchCV(HEADS, {"C": [0.1, 1.0]}, cv=2),
        vote([("a", TREES)], cv=2),
    ],
    ids=lambda e: type(e).__name__,
)
def test_every_form_of_answer(inner, data):
    X, Y = data
    fitted = vote([("trees", TREES), ("inner", inner)]).fit(X, Y[:, :2])
    alone = vote([("inner", inner)], calibrate=False).fit(X, Y[:, :2])
    assert fitted.predict(X).shape == (150, 2) and alone.weights_.tolist() == [1]
    direct = clone(inner).fit(X, Y[:, :2]).predict_proba(X)
    if isinstance(direct, list):
        direct = np.column_stack([p[:, 1] for p in direct])
    np.testing.assert_allclose(alone.predict_proba(X), direct, atol=1e-15)


def test_names_are_parameters_and_drop_leaves_out(data):
    X, Y = data
    model = vote([*PAIR, ("knn", KNeighborsClassifier())])
    assert model.get_params()["trees__n_estimators"] == 10
    model.set_params(trees__n_estimators=3, knn="drop", heads=OneVsRestClassifier(GaussianNB()))
    assert TREES.n_estimators == 3
    TREES.set_params(n_estimators=10)
    fitted = model.fit(X, Y)
    assert len(fitted.estimators_) == len(fitted.weights_) == 2
    assert list(fitted.named_estimators_) == ["trees", "heads"]
    search = GridSearchCV(
        model, {"trees__max_depth": [1, None], "knn": ["drop", HEADS]}, cv=KFold(2)
    )
    search.set_params(scoring=metrics.get_scorer("f1_macro")).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_weights_and_thresholds_that_are_given(data):
    X, Y = data
    equal, third = vote(weights=None).fit(X, Y), vote(weights=[2, 1], threshold=0.3).fit(X, Y)
    assert equal.weights_.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(third.weights_, [2 / 3, 1 / 3])
    assert third.threshold_ == 0.3
    dropped = vote([*PAIR, ("none", "drop")], weights=[1, 3, 9], threshold=[0.1, 0.2, 0.3, 0.4])
    assert dropped.fit(X, Y).weights_.tolist() == [0.25, 0.75]
    assert dropped.threshold_.tolist() == [0.1, 0.2, 0.3, 0.4]
    common = vote(threshold="f1_samples").fit(X, Y)
    expected = tune_thresholds(Y, common.oof_proba_, objective="f1_samples", per_label=False)
    assert common.threshold_ == expected[0]


def test_a_threshold_set_after_fit_takes_effect_at_once(data):
    X, Y = data
    fitted = vote().fit(X, Y)
    proba = fitted.predict_proba(X)
    np.testing.assert_array_equal(fitted.set_params(threshold=0.7).predict(X), proba >= 0.7)
    for choice in ("f1_macro", "auto"):
        fresh = vote(threshold=choice).fit(X, Y)
        np.testing.assert_array_equal(
            fitted.set_params(threshold=choice).threshold_, fresh.threshold_
        )
    with pytest.raises(ValueError, match=r"shape \(4,\), one for each label; got shape \(2,\)"):
        fitted.set_params(threshold=[0.1, 0.2]).predict(X)
    with pytest.raises(ValueError, match="must lie in"):
        fitted.set_params(threshold=1.5).predict(X)
    forgetful = vote(store_oof_proba=False).fit(X, Y)
    assert not hasattr(forgetful, "oof_proba_")
    assert forgetful.threshold_.shape == (4,)
    assert forgetful.set_params(threshold=0.2).threshold_ == 0.2
    with pytest.raises(ValueError, match="fit again, or fit with store_oof_proba=True"):
        forgetful.set_params(threshold="f1_micro").predict(X)
    again = fitted.set_params(threshold="auto", store_oof_proba=False).fit(X, Y)
    assert not hasattr(again, "oof_proba_")


def test_binary_targets(data):
    X, Y = data
    y = np.where(Y[:, 0] == 1, "yes", "no")
    members = [("logistic", LogisticRegression()), ("trees", TREES)]
    fitted = vote(members, calibrate=False).fit(X, y)
    assert fitted.threshold_ == 0.5 and set(fitted.predict(X)) == {"yes", "no"}
    soft = VotingClassifier(members, voting="soft", weights=fitted.weights_).fit(X, y)
    np.testing.assert_allclose(fitted.predict_proba(X), soft.predict_proba(X), atol=1e-12)
    np.testing.assert_array_equal(fitted.predict(X), soft.predict(X))
    tuned = vote(members, threshold="f1_micro", calibrate=False).fit(X, y)
    assert tuned.threshold_ == fitted.set_params(threshold="f1_micro").threshold_ != 0.5
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        fitted.fit(X, np.arange(150) % 3)


def test_forms_of_y_and_missing_labels(data):
    X, Y = data
    rest = OneVsRestClassifier(LogisticRegression())
    sparse = vote([("rest", rest), ("heads", HEADS)]).fit(sp.csr_array(X), sp.csr_array(Y))
    dense = vote([("rest", rest), ("heads", HEADS)]).fit(X, Y)
    assert sp.issparse(sparse.predict(sp.csr_array(X)))
    np.testing.assert_allclose(sparse.threshold_, dense.threshold_, atol=1e-6)
    hidden = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
    strong, weak = HEADS, MultiLabelLogisticRegression(C=0.001)
    fitted = vote([("strong", strong), ("weak", weak)], calibrate=False).fit(X, hidden)
    held_out = [cross_val_predict(each, X, hidden, cv=3) for each in (strong, weak)]
    np.testing.assert_allclose(fitted.weights_, vote_weights(hidden, held_out), rtol=1e-8)
    assert fitted.predict(X).dtype == np.int64
    names = list("abcd")
    frame = vote().fit(pd.DataFrame(X, columns=list("stuvwxyz")), pd.DataFrame(Y, columns=names))
    assert frame.label_names_.tolist() == names and frame.n_features_in_ == 8


def test_constant_and_rare_labels(data):
    X, Y = data
    Y = Y.copy()
    Y[:, 0], Y[:, 1], Y[:, 2] = 0, 1, 0
    Y[5, 2] = 1
    fitted = vote([("trees", TREES), ("knn", KNeighborsClassifier())]).fit(X, Y)
    predicted = fitted.predict(X)
    assert not predicted[:, 0].any() and predicted[:, 1].all()
    assert np.isfinite(fitted.threshold_).all()


def test_sample_weight_equals_repetition(data):
    X, Y = data
    w = np.random.default_rng(0).integers(0, 3, len(X))
    splits = list(MultilabelStratifiedKFold(3).split(X, Y))
    pair = [("strong", HEADS), ("weak", MultiLabelLogisticRegression(C=0.001))]
    weighted = vote(pair, cv=splits).fit(X, Y, sample_weight=w)
    rows = np.repeat(np.arange(len(X)), w)
    in_test = [np.isin(rows, test) for _, test in splits]
    copies = [(np.flatnonzero(~each), np.flatnonzero(each)) for each in in_test]
    repeated = vote(pair, cv=copies).fit(X[rows], Y[rows])
    np.testing.assert_allclose(weighted.weights_, repeated.weights_, rtol=1e-5)
    np.testing.assert_allclose(weighted.threshold_, repeated.threshold_, atol=1e-5)
    with pytest.warns(UserWarning, match="KNeighborsClassifier.fit takes no sample_weight"):
        vote([("knn", KNeighborsClassifier()), *pair]).fit(X, Y, sample_weight=w)


def test_metadata_is_routed_to_each_estimator_and_to_the_splitter(data):
    X, Y = data
    groups, w = np.arange(len(X)) % 7, np.arange(len(X)) % 2 + 1.0
    weak = MultiLabelLogisticRegression(C=0.01)
    with config_context(enable_metadata_routing=True):
        asks = clone(HEADS).set_fit_request(sample_weight=True)
        ignores = weak.set_fit_request(sample_weight=False)
        pair = [("asks", asks), ("ignores", ignores)]
        model = vote(pair, cv=GroupKFold(3), calibrate=False)
        model.fit(X, Y, sample_weight=w, groups=groups)
    splits = list(GroupKFold(3).split(X, Y, groups))
    held_out = [
        cross_val_predict(asks, X, Y, cv=splits, params={"sample_weight": w}),
        cross_val_predict(weak, X, Y, cv=splits),
    ]
    np.testing.assert_allclose(model.weights_, vote_weights(Y, held_out, w), rtol=1e-6)
    np.testing.assert_allclose(
        model.estimators_[0].coef_, clone(asks).fit(X, Y, sample_weight=w).coef_
    )
    np.testing.assert_allclose(model.estimators_[1].coef_, clone(weak).fit(X, Y).coef_)


def test_prefit_single_splits_repeated_folds_and_threads(data):
    X, Y = data
    fitted = [(name, clone(each).fit(X[:90], Y[:90])) for name, each in PAIR]
    prefit = vote(fitted, cv="prefit").fit(X[90:], Y[90:])
    assert prefit.estimators_ == [each for _, each in fitted] and len(prefit.oof_proba_) == 60
    split = vote(cv=[(np.arange(90), np.arange(90, 150))], refit=False).fit(X, Y)
    np.testing.assert_array_equal(split.oof_proba_, prefit.oof_proba_)
    np.testing.assert_array_equal(split.predict_proba(X), prefit.predict_proba(X))
    with pytest.raises(ValueError, match="refit=False needs a single split"):
        vote(refit=False).fit(X, Y)
    with pytest.raises(NotFittedError):
        vote(cv="prefit").fit(X, Y)
    repeated = vote(cv=RepeatedKFold(n_splits=2, n_repeats=2, random_state=0)).fit(X, Y)
    assert repeated.oof_proba_.shape == (300, 4)
    with parallel_config(backend="threading"):
        side_by_side = vote(n_jobs=2, random_state=1).fit(X, Y)
    one_by_one = vote(random_state=1).fit(X, Y)
    np.testing.assert_array_equal(side_by_side.oof_proba_, one_by_one.oof_proba_)


@pytest.mark.parametrize(
    ("estimators", "message"),
    [
        ([], "list of at least one"),
        ([TREES], "list of at least one \\(name, estimator\\)"),
        ([("a", "drop")], "All estimators are dropped"),
        ([("a", TREES), ("a", HEADS)], "not unique"),
        ([("a__b", TREES)], "must not contain __"),
        ([("cv", TREES)], "conflict with constructor arguments"),
        ([("a", ExtraTreesClassifier)], "The estimator 'a' must be a classifier or 'drop'"),
        ([("a", None)], "The estimator 'a' must be a classifier or 'drop', got None"),
        ([("vote", TREES)], "estimators must not have the name 'vote'"),
    ],
)
def test_lists_that_are_none(estimators, message, data):
    with pytest.raises(ValueError, match=message):
        vote(estimators).fit(*data)


@pytest.mark.parametrize("weights", [[1], [-1, 1], [0, 0], [np.nan, 1]])
def test_weights_that_are_none(weights, data):
    with pytest.raises(ValueError, match="weights must"):
        vote(weights=weights).fit(*data)


def test_an_estimator_without_probabilities_is_named(data):
    with pytest.raises(AttributeError, match="RidgeClassifier has none of these methods"):
        vote([("ridge", RidgeClassifier())]).fit(*data)


def test_tags_are_what_all_estimators_can():
    tags = get_tags(vote([*PAIR, ("none", "drop")]))
    assert tags.input_tags.sparse and tags.classifier_tags.multi_label
    assert not get_tags(vote([*PAIR, ("bayes", GaussianNB())])).input_tags.sparse
    assert not get_tags(vote([("one", LogisticRegression())])).classifier_tags.multi_label
