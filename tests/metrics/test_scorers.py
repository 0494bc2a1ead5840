"""Scorers with every form of classifier, missing labels, and in a grid search."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier

from sklearn_mlcl import metrics
from sklearn_mlcl.metrics import (
    SCORERS,
    MultiLabelScorer,
    average_precision,
    get_scorer,
    get_scorer_names,
    precision_at_k,
)

CLASSIFIERS = {
    "one-vs-rest": OneVsRestClassifier(LogisticRegression()),
    "forest": RandomForestClassifier(5, random_state=0),
    "chain": ClassifierChain(LogisticRegression()),
    "multi-output": MultiOutputClassifier(LogisticRegression()),
}
LABELLED = pytest.mark.parametrize("n_labels", [2, 5])


class Missing(ClassifierMixin, BaseEstimator):
    """Classifier that reads unknown labels as negatives, to carry NaN through a search."""

    def __init__(self, C=1.0):
        self.C = C

    def fit(self, X, y):
        self.inner_ = OneVsRestClassifier(LogisticRegression(C=self.C)).fit(X, np.nan_to_num(y))
        self.classes_ = self.inner_.classes_
        return self

    def predict(self, X):
        return self.inner_.predict(X)

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


def data(n_labels, n=120):
    return make_multilabel_classification(
        n, n_features=8, n_classes=n_labels, n_labels=2, random_state=0
    )


def matrix_of(classifier, X):
    proba = classifier.predict_proba(X)
    return np.column_stack([p[:, 1] for p in proba]) if isinstance(proba, list) else proba


@LABELLED
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_every_scorer_with_every_form(kind, n_labels):
    X, Y = data(n_labels)
    classifier = clone(CLASSIFIERS[kind]).fit(X, Y)
    names = [n for n in get_scorer_names() if not (n[-1] in "35" and n_labels < int(n[-1]))]
    scores = {name: get_scorer(name)(classifier, X, Y) for name in names}
    assert np.isfinite(list(scores.values())).all()
    expected = average_precision(Y, matrix_of(classifier, X))
    assert scores["average_precision_macro"] == pytest.approx(expected, abs=1e-12)
    assert all(scores[name] <= 0 for name in names if name.startswith("neg_"))


def test_decision_function_and_proba_only_classifiers():
    X, Y = data(5)
    assert get_scorer("roc_auc_macro")(RidgeClassifier().fit(X, Y), X, Y) > 0.5
    net = MLPClassifier((4,), solver="lbfgs", max_iter=5000, random_state=0).fit(X, Y)
    assert get_scorer("neg_log_loss")(net, X, Y) < 0
    with pytest.raises(AttributeError, match="predict_proba"):
        get_scorer("neg_log_loss")(RidgeClassifier().fit(X, Y), X, Y)


def test_label_without_positives_in_training_scores_zero():
    X, Y = data(3)
    hidden = Y.copy()
    hidden[:, 1] = 0
    forest = RandomForestClassifier(5, random_state=0).fit(X, hidden)
    assert forest.predict_proba(X)[1].shape[1] == 1
    assert get_scorer("neg_brier_score")(forest, X, hidden) > -0.1


@pytest.mark.parametrize("name", ["f1_macro", "roc_auc_macro", "neg_log_loss", "precision_at_1"])
def test_missing_labels_in_cross_validation(name):
    X, Y = data(4)
    Y = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
    scores = cross_val_score(Missing(), X, Y, scoring=get_scorer(name), cv=KFold(3))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", ["average_precision_macro", "roc_auc_macro", "neg_log_loss"])
def test_grid_search_with_a_label_of_three_positives(name):
    """Two of five test folds lack the rare label; scikit-learn's roc_auc is NaN there."""
    X, Y = data(4, n=200)
    Y[:, 0] = 0
    Y[[3, 50, 90], 0] = 1
    search = GridSearchCV(Missing(), {"C": [1e-6, 1.0]}, scoring=get_scorer(name), cv=KFold(5))
    search.fit(X, Y)
    means = search.cv_results_["mean_test_score"]
    assert np.isfinite(means).all()
    assert search.best_params_ == {"C": 1.0}
    assert means[1] > means[0] + 1e-3


def test_several_scorers_at_once_and_sample_weight_routing():
    X, Y = data(4)
    w = np.random.default_rng(0).random(len(X))
    chosen = {name: get_scorer(name) for name in ("f1_macro", "neg_brier_score")}
    plain = cross_validate(CLASSIFIERS["forest"], X, Y, scoring=chosen, cv=KFold(3))
    with config_context(enable_metadata_routing=True):
        for scorer in chosen.values():
            scorer.set_score_request(sample_weight=True)
        forest = clone(CLASSIFIERS["forest"]).set_fit_request(sample_weight=False)
        routed = cross_validate(
            forest, X, Y, scoring=chosen, cv=KFold(3), params={"sample_weight": w}
        )
    train, test = next(KFold(3).split(X))
    fold = clone(CLASSIFIERS["forest"]).fit(X[train], Y[train])
    expected = SCORERS["neg_brier_score"](fold, X[test], Y[test], sample_weight=w[test])
    assert routed["test_neg_brier_score"][0] == pytest.approx(expected)
    assert routed["test_neg_brier_score"][0] != plain["test_neg_brier_score"][0]


def test_every_metric_of_one_number_has_a_scorer():
    others = {"label_propensities", "reliability_curve", "propensity_scored_precision_at_k"}
    functions = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    scored = {scorer.metric.__name__ for scorer in SCORERS.values()}
    assert scored == functions - others - {"get_scorer", "get_scorer_names"}


def test_named_objects_options_and_errors():
    X, Y = data(5)
    classifier = clone(CLASSIFIERS["one-vs-rest"]).fit(X, Y)
    two = MultiLabelScorer(precision_at_k, response="proba", options={"k": 2})
    assert two(classifier, X, Y) == precision_at_k(Y, classifier.predict_proba(X), k=2)
    assert get_scorer("f1_macro") is not SCORERS["f1_macro"]
    with pytest.raises(ValueError, match="name must be one of"):
        get_scorer("f2")
    with pytest.raises(ValueError, match="The 'response' parameter of MultiLabelScorer"):
        MultiLabelScorer(precision_at_k, response="logits")(classifier, X, Y)
    with pytest.raises(ValueError, match="gave 5 columns"):
        get_scorer("roc_auc_macro")(classifier, X, Y[:, :3])
