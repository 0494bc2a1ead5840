"""The estimators that the accuracy benchmark compares: ours by their defaults, peers not weakened.

Every builder takes whether X is sparse and a seed. Peers that depend on the scale of the features
get it from a scaler fitted on the rows they are fitted on; what a peer chooses, it chooses by
cross-validation inside those rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from benchmarks import _accuracy_peers
from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    recipes,
)
from sklearn_mlcl.metrics import get_scorer
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.utils.response import label_scores

Builder = Callable[[bool, int], BaseEstimator]

CS = tuple(10.0**power for power in range(-3, 3))
NEIGHBORS = (3, 5, 10, 20, 40)
N_TREES = 300
INNER_FOLDS = 3


class LogisticOrConstant(LogisticRegression):
    """Logistic regression that learns a constant from a label with a single value.

    The chain of scikit-learn stops at such a label, and folds of rare labels have them.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit, or keep the smoothed log odds of the single value as the intercept."""
        values = np.unique(y)
        if len(values) > 1:
            return super().fit(X, y, sample_weight)
        log_odds = np.log(2 * len(y) + 1)
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = X.shape[1]
        self.coef_ = np.zeros((1, X.shape[1]))
        self.intercept_ = np.array([log_odds if values[0] else -log_odds])
        return self


class MeanOfTwo(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Soft vote of two classifiers of label matrices with equal weights."""

    def __init__(self, first: BaseEstimator, second: BaseEstimator) -> None:
        self.first = first
        self.second = second

    def fit(self, X: Any, Y: np.ndarray) -> Self:
        """Fit both."""
        self.classes_ = np.arange(Y.shape[1])
        self.n_features_in_ = X.shape[1]
        self.estimators_ = [clone(member).fit(X, Y) for member in (self.first, self.second)]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean, shape (n, L)."""
        first, second = (
            label_scores(fitted, X, len(self.classes_), "predict_proba")
            for fitted in self.estimators_
        )
        return (first + second) / 2


def _scaled(estimator: BaseEstimator, sparse: bool) -> Pipeline:
    """Put a scaler before the estimator, one that keeps sparse features sparse."""
    return make_pipeline(MaxAbsScaler() if sparse else StandardScaler(), estimator)


def _searched(estimator: BaseEstimator, grid: dict[str, Any], scorer: Any, seed: int) -> Any:
    folds = MultilabelStratifiedKFold(INNER_FOLDS, shuffle=True, random_state=seed)
    return GridSearchCV(estimator, grid, scoring=scorer, cv=folds, error_score="raise")


def _one_vs_rest(sparse: bool, seed: int) -> BaseEstimator:
    model = _scaled(OneVsRestClassifier(LogisticOrConstant(max_iter=1000)), sparse)
    return _searched(
        model, {"onevsrestclassifier__estimator__C": CS}, get_scorer("neg_log_loss"), seed
    )


def _chain(sparse: bool, seed: int) -> BaseEstimator:
    chain = ClassifierChain(LogisticOrConstant(max_iter=1000), order="random", random_state=seed)
    grid = {"classifierchain__estimator__C": CS}
    return _searched(_scaled(chain, sparse), grid, get_scorer("neg_log_loss"), seed)


def _neighbors(sparse: bool, seed: int) -> BaseEstimator:
    grid = {
        "kneighborsclassifier__n_neighbors": NEIGHBORS,
        "kneighborsclassifier__metric": ("euclidean", "cosine"),
    }
    model = _scaled(KNeighborsClassifier(weights="distance"), sparse)
    return _searched(model, grid, get_scorer("average_precision_macro"), seed)


def _mlp(sparse: bool, seed: int) -> BaseEstimator:
    return _scaled(MLPClassifier(max_iter=200, early_stopping=False, random_state=seed), sparse)


#: Scaled as the logistic peers are: the nets scale by themselves, the heads do not.
def _our_logistic(sparse: bool, seed: int) -> BaseEstimator:
    return _scaled(MultiLabelLogisticRegression(C="cv"), sparse)


def _extra_trees(sparse: bool, seed: int) -> BaseEstimator:
    return ExtraTreesClassifier(N_TREES, random_state=seed)


def _with_extra_trees(sparse: bool, seed: int) -> BaseEstimator:
    ours = ContrastiveMultiLabelClassifier(random_state=seed)
    return MeanOfTwo(_extra_trees(sparse, seed), ours)


#: The eleven; the last five are in packages of their own.
PEERS: dict[str, Builder] = {
    "one-vs-rest logistic": _one_vs_rest,
    "classifier chain": _chain,
    "random forest": lambda sparse, seed: RandomForestClassifier(N_TREES, random_state=seed),
    "extra trees": _extra_trees,
    "MLPClassifier": _mlp,
    "k nearest neighbours": _neighbors,
    "BOOMER": _accuracy_peers.boomer,
    "CatBoost": _accuracy_peers.catboost,
    "XGBoost": _accuracy_peers.xgboost,
    "LightGBM": _accuracy_peers.lightgbm,
    "TabM": _accuracy_peers.tabm,
}
OURS: dict[str, Builder] = {
    "contrastive": lambda sparse, seed: ContrastiveMultiLabelClassifier(random_state=seed),
    "contrastive, lambda_joint=0": lambda sparse, seed: ContrastiveMultiLabelClassifier(
        lambda_joint=0.0, random_state=seed
    ),
    "MLP": lambda sparse, seed: MultiLabelMLPClassifier(random_state=seed),
    "MLP, asl": lambda sparse, seed: MultiLabelMLPClassifier(loss="asl", random_state=seed),
    "logistic, C by label": _our_logistic,
    "extra trees + ours": _with_extra_trees,
}
MODELS = {**PEERS, **OURS}


def _variant(base: type[BaseEstimator], **settings: Any) -> Builder:
    return lambda sparse, seed: base(**settings, random_state=seed)


#: The default with one ingredient off or changed, not in the tables unless asked for.
VARIANTS: dict[str, Builder] = {
    "one member": _variant(ContrastiveMultiLabelClassifier, n_estimators=1),
    "eight members": _variant(ContrastiveMultiLabelClassifier, n_estimators=8),
    "no mixup": _variant(ContrastiveMultiLabelClassifier, net_params={"mixup": 0.0}),
    "no bins": _variant(ContrastiveMultiLabelClassifier, net_params={"n_bins": 0}),
    "no feature noise": _variant(ContrastiveMultiLabelClassifier, feature_noise=0.0),
    "no dropout": _variant(ContrastiveMultiLabelClassifier, dropout=0.0),
    "no neighbours": _variant(ContrastiveMultiLabelClassifier, neighbor_weight=0.0),
    "neighbours alone": _variant(ContrastiveMultiLabelClassifier, neighbor_weight=1.0),
    "no regressions on features": _variant(ContrastiveMultiLabelClassifier, linear_weight=0.0),
    "regressions on dense features": _variant(ContrastiveMultiLabelClassifier, linear_weight=0.3),
    "no pseudo-count": _variant(ContrastiveMultiLabelClassifier, net_params={"pseudo_count": 0.0}),
    "logistic heads": _variant(ContrastiveMultiLabelClassifier, head="logistic"),
    "two stages": _variant(ContrastiveMultiLabelClassifier, **recipes.TWO_STAGE),
    "FAST": _variant(ContrastiveMultiLabelClassifier, **recipes.FAST),
}
