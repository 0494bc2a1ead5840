"""The threshold meta-estimator around classifiers of every form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import MultiLabelThresholdClassifierCV, metrics
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.thresholds import tune_thresholds

FOREST = RandomForestClassifier(10, random_state=0)


@pytest.fixture(scope="module")
def data():
    return make_multilabel_classification(150, n_features=8, n_classes=4, random_state=0)


class Nan(ClassifierMixin, BaseEstimator):
    """Reads unknown labels as negatives and gives decisions only."""

    def fit(self, X, y):
        self.inner_ = RidgeClassifier().fit(X, np.nan_to_num(y))
        self.classes_ = self.inner_.classes_
        return self

    def decision_function(self, X):
        return self.inner_.decision_function(X)


def test_thresholds_are_those_of_the_held_out_scores(data):
    X, Y = data
    tuned = MultiLabelThresholdClassifierCV(FOREST, objective="f1_macro", cv=3).fit(X, Y)
    scores = np.empty(Y.shape)
    for train, test in MultilabelStratifiedKFold(3).split(X, Y):
        proba = clone(FOREST).fit(X[train], Y[train]).predict_proba(X[test])
        scores[test] = np.column_stack([p[:, 1] for p in proba])
    expected = tune_thresholds(Y, scores, objective="f1_macro")
    np.testing.assert_array_equal(tuned.thresholds_, expected)
    assert tuned.best_score_ == metrics.f1_macro(Y, (scores >= expected).astype(int))
    full = np.column_stack([p[:, 1] for p in clone(FOREST).fit(X, Y).predict_proba(X)])
    np.testing.assert_array_equal(tuned.predict(X), full >= expected)
    np.testing.assert_allclose(tuned.predict_proba(X), full, atol=1e-15)


@pytest.mark.parametrize(
    "inner",
    [
        FOREST,
        KNeighborsClassifier(),
        OneVsRestClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression()),
        RidgeClassifier(),
        make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())),
    ],
    ids=lambda e: type(e).__name__,
)
def test_every_form_of_answer(inner, data):
    X, Y = data
    tuned = MultiLabelThresholdClassifierCV(inner, cv=3).fit(X, Y)
    assert tuned.thresholds_.shape == (4,)
    assert tuned.decision_function(X).shape == tuned.predict(X).shape == Y.shape
    assert hasattr(tuned, "predict_proba") == hasattr(inner, "predict_proba")
    assert tuned.classes_.tolist() == [0, 1, 2, 3]
    assert tuned.score(X, Y) == metrics.subset_accuracy(Y, tuned.predict(X))
    two = MultiLabelThresholdClassifierCV(inner, cv=3).fit(X, Y[:, :2])
    assert two.predict(X).shape == (150, 2)


def test_constant_and_rare_labels(data):
    X, Y = data
    Y = Y.copy()
    Y[:, 0], Y[:, 1] = 0, 1
    Y[:, 2] = 0
    Y[[5, 9], 2] = 1
    tuned = MultiLabelThresholdClassifierCV(FOREST, objective="f1_macro", cv=3).fit(X, Y)
    predicted = tuned.predict(X)
    assert not predicted[:, 0].any()
    assert predicted[:, 1].all()
    assert np.isfinite(tuned.thresholds_).all()


def test_missing_labels_decisions_and_forms_of_y(data):
    X, Y = data
    unknown = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
    tuned = MultiLabelThresholdClassifierCV(Nan(), objective="accuracy").fit(X, unknown)
    assert tuned.predict(X).dtype == np.int64
    assert 0 < tuned.score(X, unknown) < 1
    names = list("abcd")
    frame = MultiLabelThresholdClassifierCV(FOREST, cv=2).fit(X, pd.DataFrame(Y, columns=names))
    assert frame.label_names_.tolist() == names
    rest = OneVsRestClassifier(LogisticRegression())
    sparse = MultiLabelThresholdClassifierCV(rest, cv=2).fit(sp.csr_matrix(X), sp.csr_matrix(Y))
    assert sp.issparse(sparse.predict(sp.csr_matrix(X)))


def test_prefit_frozen_and_single_split(data):
    X, Y = data
    fitted = clone(FOREST).fit(X[:90], Y[:90])
    prefit = MultiLabelThresholdClassifierCV(fitted, cv="prefit").fit(X[90:], Y[90:])
    frozen = MultiLabelThresholdClassifierCV(FrozenEstimator(fitted), cv=4).fit(X[90:], Y[90:])
    assert prefit.estimator_ is fitted
    np.testing.assert_array_equal(prefit.thresholds_, frozen.thresholds_)
    split = MultiLabelThresholdClassifierCV(FOREST, cv=0.3, refit=False, random_state=0)
    assert split.fit(X, Y).estimator_.n_features_in_ == 8
    with pytest.raises(ValueError, match="refit=False needs a single split"):
        MultiLabelThresholdClassifierCV(FOREST, cv=3, refit=False).fit(X, Y)
    with pytest.raises(NotFittedError):
        MultiLabelThresholdClassifierCV(FOREST, cv="prefit").fit(X, Y)


def test_binary_target_with_strings():
    X, Y = make_multilabel_classification(120, n_features=8, n_classes=2, random_state=1)
    y = np.where(Y[:, 0] == 1, "yes", "no")
    tuned = MultiLabelThresholdClassifierCV(LogisticRegression()).fit(X, y)
    assert set(tuned.predict(X)) <= {"yes", "no"}
    assert tuned.predict_proba(X).shape == (120, 2)
    np.testing.assert_array_equal(
        tuned.predict(X) == "yes", tuned.predict_proba(X)[:, 1] >= tuned.thresholds_[0]
    )
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        tuned.fit(X, np.arange(120) % 3)


def test_in_a_grid_search_and_cross_val_predict(data):
    X, Y = data
    tuned = MultiLabelThresholdClassifierCV(FOREST, cv=2)
    grid = {"objective": ["f1_macro", "f1_micro"], "estimator__max_depth": [2, None]}
    search = GridSearchCV(tuned, grid, scoring=metrics.get_scorer("f1_macro"), cv=KFold(2))
    assert np.isfinite(search.fit(X, Y).cv_results_["mean_test_score"]).all()
    proba = cross_val_predict(tuned, X, Y, cv=KFold(2), method="predict_proba")
    assert proba.shape == Y.shape


def test_sample_weight_reaches_the_search_and_the_estimator(data):
    X, Y = data
    rng = np.random.default_rng(0)
    w = rng.integers(0, 3, len(X))
    ridge = MultiLabelThresholdClassifierCV(RidgeClassifier(), objective="f1_macro")
    splits = list(MultilabelStratifiedKFold(3).split(X, Y))
    weighted = clone(ridge).set_params(cv=splits).fit(X, Y, sample_weight=w)
    rows = np.repeat(np.arange(len(X)), w)
    fold = np.concatenate([np.full(len(test), f) for f, (_, test) in enumerate(splits)])
    fold = fold[np.argsort(np.concatenate([test for _, test in splits]))][rows]
    repeated_splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(3)]
    repeated = clone(ridge).set_params(cv=repeated_splits).fit(X[rows], Y[rows])
    np.testing.assert_allclose(weighted.thresholds_, repeated.thresholds_, atol=1e-8)
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))
    knn = MultiLabelThresholdClassifierCV(KNeighborsClassifier(), cv=2)
    with pytest.warns(UserWarning, match="takes no sample_weight"):
        knn.fit(X, Y, sample_weight=w + 1)


def test_metadata_routing_to_estimator_and_splitter(data):
    X, Y = data
    groups, w = np.arange(len(X)) % 5, np.arange(len(X)) % 2 + 1.0
    with config_context(enable_metadata_routing=True):
        forest = clone(FOREST).set_fit_request(sample_weight=True)
        tuned = MultiLabelThresholdClassifierCV(forest, cv=GroupKFold(3))
        tuned.fit(X, Y, sample_weight=w, groups=groups)
        splits = list(GroupKFold(3).split(X, Y, groups))
        plain = MultiLabelThresholdClassifierCV(forest, cv=splits)
        plain.fit(X, Y, sample_weight=w)
    np.testing.assert_array_equal(tuned.thresholds_, plain.thresholds_)


def test_common_threshold_shrinkage_and_parallel_folds(data):
    X, Y = data
    common = MultiLabelThresholdClassifierCV(FOREST, per_label=False, cv=3).fit(X, Y)
    assert len(set(common.thresholds_)) == 1
    pulled = MultiLabelThresholdClassifierCV(FOREST, shrinkage=1e9, cv=3).fit(X, Y)
    np.testing.assert_allclose(pulled.thresholds_, common.thresholds_, rtol=1e-6)
    seeded = MultiLabelThresholdClassifierCV(FOREST, cv=3, n_jobs=2, random_state=1)
    with parallel_config(backend="threading"):
        side_by_side = seeded.fit(X, Y).thresholds_
    one_by_one = clone(seeded).set_params(n_jobs=1).fit(X, Y).thresholds_
    np.testing.assert_array_equal(side_by_side, one_by_one)
