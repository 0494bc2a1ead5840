"""The logistic regressions on the features, and their share in the log-odds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.estimators.judge import feature_scaler
from sklearn_mlcl.heads.held_out import Judgement
from sklearn_mlcl.heads.logistic import (
    CS,
    N_FOLDS,
    SPARSE_WEIGHT,
    common_C,
    default_weight,
    has_linear,
    held_out_linear,
)
from sklearn_mlcl.utils.fit_data import FitData
from tests.small import every_ensemble, plain

MLP = plain(MultiLabelMLPClassifier, linear_weight="auto")


def one_vs_rest(X: np.ndarray, Y: np.ndarray, C: float, X_test: np.ndarray) -> np.ndarray:
    """Return log-odds of one logistic regression of scikit-learn a label."""
    fits = [LogisticRegression(C=C, tol=1e-8, max_iter=1000).fit(X, y) for y in Y.T]
    return np.stack([fit.decision_function(X_test) for fit in fits], axis=1)


@pytest.fixture(autouse=True)
def one_C(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let C be chosen from a grid of one value, but where a test has a grid of its own."""
    monkeypatch.setattr("sklearn_mlcl.heads.logistic.CS", (0.05,))


def scaled_by(clf: Any, X: np.ndarray) -> np.ndarray:
    return clf.net_.module_.scaler.double()(torch.from_numpy(X).double()).numpy()


@every_ensemble
def test_alone_they_are_logistic_regressions_on_scaled_features(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = plain(make, linear_weight=1.0).fit(X, Y)
    scaled = scaled_by(clf, X)
    assert_allclose(clf.decision_function(X), one_vs_rest(scaled, Y, 0.05, scaled), atol=2e-3)


def test_sparse_features_give_what_dense_ones_do(label_data: Any) -> None:
    X, Y = label_data
    X = np.where(X > 0.5, X, 0.0)
    clf = clone(MLP).set_params(linear_weight=1.0).fit(sp.csr_matrix(X), Y)
    scaled = scaled_by(clf, X)
    assert_allclose(clf.decision_function(X), one_vs_rest(scaled, Y, 0.05, scaled), atol=5e-3)
    assert_allclose(clf.decision_function(sp.csr_matrix(X)), clf.decision_function(X), atol=1e-9)


@every_ensemble
def test_their_share_is_that_of_the_log_odds(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = plain(make, linear_weight=0.25).fit(X, Y)
    blend = clf.decision_function(X)
    linear = clf.set_params(linear_weight=1).decision_function(X)
    net = clf.set_params(linear_weight=0).decision_function(X)
    assert_allclose(blend, 0.75 * net + 0.25 * linear, atol=1e-12)
    assert_array_equal(net, clone(clf).fit(X, Y).decision_function(X))


def test_unchosen_they_are_for_sparse_features(
    label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = label_data
    assert clone(MLP).fit(X, Y).predictor_.linear is None
    sparse = sp.csr_matrix(np.where(X > 0.5, X, 0.0))
    clf = clone(MLP).fit(sparse, Y)
    assert clf.linear_weight == "auto" and clf.predictor_.linear is not None
    as_auto = clf.decision_function(sparse)
    clf.set_params(linear_weight=SPARSE_WEIGHT)
    assert_array_equal(as_auto, clf.decision_function(sparse))
    monkeypatch.setattr(
        "sklearn_mlcl.heads.logistic.AUTO_COEFFICIENTS", X.shape[1] * Y.shape[1] - 1
    )
    clf = clone(MLP).fit(sparse, Y)
    assert clf.predictor_.linear is None
    as_auto = clf.decision_function(sparse)
    assert_array_equal(as_auto, clf.set_params(linear_weight=0).decision_function(sparse))


def test_short_work_takes_all_rows(label_data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = label_data
    monkeypatch.setattr("sklearn_mlcl.utils.fit_data.MAX_SAMPLES", 30)
    X = np.where(X > 0.5, X, 0.0)
    sparse = sp.csr_matrix(X)
    clf = clone(MLP).set_params(linear_weight=1.0)

    def logits(rows: Any) -> np.ndarray:
        return clf.fit(rows, Y).decision_function(sparse)

    whole = logits(sparse)
    scaled = scaled_by(clf, X)
    assert_allclose(whole, one_vs_rest(scaled, Y, 0.05, scaled), atol=5e-3)
    monkeypatch.setattr("sklearn_mlcl.heads.logistic.AUTO_WORK", sparse.nnz * Y.shape[1] - 1)
    assert np.abs(logits(sparse) - whole).max() > 0.1


def test_the_work_is_that_of_the_stored_entries() -> None:
    sparse = sp.random_array((1000, 5000), density=0.001, format="csr", random_state=0)
    for X, n_labels, is_short in (
        (sparse, 1000, True), (sparse, 2001, False),
        (sparse.toarray(), 40, True), (sparse.toarray(), 41, False),
    ):  # fmt: skip
        data = FitData(X, np.zeros((1000, n_labels)))
        assert has_linear("auto", data) == is_short
        assert has_linear(0.1, data) and not has_linear(0.0, data)
        assert default_weight(data) == (SPARSE_WEIGHT if X is sparse else 0)


@pytest.mark.parametrize("noise", [0.0, 20.0])
def test_the_common_C_has_the_smallest_held_out_loss(
    noise: float, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle fits scikit-learn's model a fold, a label and a value; noise wants a small C."""
    X, Y = label_data
    X = X + noise * np.random.default_rng(0).normal(size=X.shape)
    losses = []
    for C in CS:
        entries = []
        for train, test in KFold(N_FOLDS, shuffle=True, random_state=0).split(X):
            logits = one_vs_rest(X[train], Y[train], C, X[test])
            entries.append(np.logaddexp(0, logits) - Y[test] * logits)
        losses.append(np.concatenate(entries).mean())
    monkeypatch.setattr("sklearn_mlcl.heads.logistic.CS", CS)
    chosen = common_C(FitData(X, Y))
    assert losses[CS.index(chosen)] <= min(losses) * 1.001
    assert common_C(FitData(sp.csr_array(X), sp.csr_array(Y))) == chosen
    assert common_C(FitData(X[:1], Y[:1])) == CS[0]
    unknown = np.full(Y.shape, np.nan, dtype=np.float32)
    assert common_C(FitData(X, unknown)) == CS[0]
    unknown[:, 0] = Y[:, 0]
    assert common_C(FitData(X, unknown)) == common_C(FitData(X, Y[:, :1]))


@pytest.mark.parametrize("noise", [0.0, 20.0])
def test_out_of_fold_they_have_the_best_common_C(
    noise: float, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fold by scikit-learn's model of the others, on features scaled by the others."""
    X, Y = label_data
    X = X + noise * np.random.default_rng(0).normal(size=X.shape)
    monkeypatch.setattr("sklearn_mlcl.heads.logistic.CS", CS)
    fold = np.arange(len(X)) % 3
    parts = [FitData(X[fold != k], Y[fold != k]) for k in range(3)]
    scalers = [feature_scaler(part, scaled=True) for part in parts]
    judgement = Judgement.of(Y.astype(float), None, np.ones(5, dtype=bool), np.zeros(5))
    found, C = held_out_linear(parts, scalers, X, fold, judgement)
    by_C = {}
    for c in CS:
        by_C[c] = np.empty(Y.shape)
        for k, scaler in enumerate(scalers):
            scaled = scaler.double()(torch.from_numpy(X)).numpy()
            train, test = fold != k, fold == k
            by_C[c][test] = one_vs_rest(scaled[train], Y[train], c, scaled[test])
    assert min(by_C, key=lambda c: judgement.log_loss(by_C[c])) == C
    assert_allclose(found, by_C[C], atol=1e-2)


def test_of_dense_features_they_are_chosen_where_they_gain() -> None:
    """Of a linear truth they get all the weight, of noise none."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 10))
    linear = (2 * X @ rng.normal(size=(10, 3)) > rng.logistic(size=(400, 3))).astype(int)
    clf = clone(MLP).set_params(validation=0.25)
    assert clf.fit(X, linear).blend_["linear"] >= 0.5
    assert clf.fit(X, rng.permutation(linear)).blend_["linear"] == 0
    assert clf.predictor_.linear is None


def test_a_share_that_was_not_fitted_is_refused(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(MLP).set_params(linear_weight=0).fit(X, Y).set_params(linear_weight=0.5)
    with pytest.raises(ValueError, match=r"linear_weight=0\.5 needs the logistic regressions"):
        clf.predict_proba(X)


def test_labels_unknown_or_of_one_value(label_data: Any) -> None:
    X, Y = label_data
    Y = Y.astype(float)
    Y[:, 0] = 1.0
    Y[: len(Y) // 3, 1] = np.nan
    with pytest.warns(UserWarning, match="single value"):
        clf = clone(MLP).set_params(linear_weight=1.0).fit(X, Y)
    logits = clf.decision_function(X)
    assert_allclose(logits[:, 0], np.log((len(Y) + 0.5) / 0.5), rtol=1e-6)
    known = slice(len(Y) // 3, None)
    scaled = scaled_by(clf, X)
    alone = LogisticRegression(C=0.05, tol=1e-8, max_iter=1000).fit(scaled[known], Y[known, 1])
    assert_allclose(logits[:, 1], alone.decision_function(scaled), atol=2e-3)


@every_ensemble
@pytest.mark.parametrize("sparse", [False, True])
def test_a_label_of_one_value_in_a_part_keeps_its_regression(
    make: Any, sparse: bool, label_data: Any
) -> None:
    """Its scaling too, which comes from the first part."""
    X, Y = label_data
    X = sp.csr_array(np.where(X > 0.5, X, 0.0)) if sparse else X
    clf = plain(make, linear_weight=0.5).fit(X, Y)
    before, few = clf.predictor_.linear, np.flatnonzero(Y[:, 0] == 0)[:40]
    part = Y[few].astype(float)
    part[:, 1] = np.nan
    clf.partial_fit(X[few], part)
    rows = torch.from_numpy(X.toarray() if sparse else X).float()
    with torch.inference_mode():
        old, new = before(rows), clf.predictor_.linear(rows)
    assert_array_equal(new[:, :2], old[:, :2])
    assert (new[:, 2:] != old[:, 2:]).any(axis=0).all()
