"""The peers of the accuracy benchmark that come in packages of their own: the extra ``bench``.

Settings are fixed for all sets. What differs from the default of a package was compared by
out-of-fold scores of training rows, never by test rows.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.feature_selection import VarianceThreshold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, QuantileTransformer

from benchmarks._tabm import TabMClassifier
from sklearn_mlcl.utils.response import label_scores

#: The module that a peer needs.
MODULES = {
    "BOOMER": "mlrl.boosting",
    "CatBoost": "catboost",
    "XGBoost": "xgboost",
    "LightGBM": "lightgbm",
    "TabM": "tabm",
}


def missing_module(peer: str) -> str | None:
    """Return the module that a peer lacks here, None if it has what it needs."""
    module = MODULES.get(peer)
    return module if module and find_spec(module.partition(".")[0]) is None else None


class WithoutConstantLabels(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Fits a classifier on the labels that show both values, and predicts the others' constant.

    Parameters
    ----------
    estimator : classifier
        Of label matrices with two columns or more, with ``predict_proba``.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator = estimator

    def fit(self, X: Any, Y: np.ndarray) -> Self:
        """Fit on the labels that vary; one that is alone is given twice."""
        n_positives = Y.sum(axis=0)
        self.classes_ = np.arange(Y.shape[1])
        self.n_features_in_ = X.shape[1]
        # A positive or negative more, half each: never 0 or 1, which cost an endless log loss.
        self.frequencies_ = (n_positives + 0.5) / (len(Y) + 1)
        self.varying_ = np.flatnonzero((n_positives > 0) & (n_positives < len(Y)))
        if len(self.varying_):
            columns = np.resize(self.varying_, max(2, len(self.varying_)))
            self.estimator_ = clone(self.estimator).fit(X, Y[:, columns])
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of all labels, shape (n, L)."""
        P = np.tile(self.frequencies_, (X.shape[0], 1))
        if len(self.varying_):
            fitted = label_scores(self.estimator_, X, max(2, len(self.varying_)), "predict_proba")
            P[:, self.varying_] = fitted[:, : len(self.varying_)]
        return P


def boomer(sparse: bool, seed: int) -> BaseEstimator:
    """BOOMER: 1,000 rules of one label each, by the label-wise logistic loss.

    A feature with one value ends its search after the first rule, as a constant label does.
    """
    from mlrl.boosting import BoomerClassifier

    rules = BoomerClassifier(
        random_state=seed + 1,  # at least 1
        max_rules=1000,
        loss="logistic-decomposable",
        head_type="single",
        parallel_rule_refinement="false",
        parallel_statistic_update="false",
        parallel_prediction="false",
    )
    return WithoutConstantLabels(make_pipeline(VarianceThreshold(), rules))


def catboost(sparse: bool, seed: int) -> BaseEstimator:
    """CatBoost: symmetric trees of all labels at once."""
    from catboost import CatBoostClassifier

    trees = CatBoostClassifier(
        loss_function="MultiLogloss",
        border_count=254,
        random_seed=seed,
        thread_count=1,
        verbose=False,
        allow_writing_files=False,
    )
    return WithoutConstantLabels(trees)


def xgboost(sparse: bool, seed: int) -> BaseEstimator:
    """XGBoost: trees of one label each, which is one-vs-rest on bins that are made once.

    The default weight of a leaf leaves rare labels without a split.
    """
    from xgboost import XGBClassifier

    trees = XGBClassifier(
        n_estimators=200,
        learning_rate=0.05,
        min_child_weight=0.1,
        subsample=0.8,
        colsample_bytree=0.5,
        multi_strategy="one_output_per_tree",
        random_state=seed,
        n_jobs=1,
    )
    return WithoutConstantLabels(trees)


def lightgbm(sparse: bool, seed: int) -> BaseEstimator:
    """LightGBM: one-vs-rest, with leaves as small as rare labels need."""
    from lightgbm import LGBMClassifier

    trees = LGBMClassifier(
        n_estimators=200,
        learning_rate=0.05,
        min_child_samples=2,
        reg_lambda=1.0,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.5,
        random_state=seed,
        n_jobs=1,
        verbosity=-1,
    )
    return WithoutConstantLabels(OneVsRestClassifier(trees))


def tabm(sparse: bool, seed: int) -> BaseEstimator:
    """TabM: k = 32, joint cross-entropy, early stopping; dense features by their quantiles."""
    net = TabMClassifier(d_block=256, batch_size=64, random_state=seed)
    dense = QuantileTransformer(n_quantiles=100, output_distribution="normal")
    return WithoutConstantLabels(make_pipeline(MaxAbsScaler() if sparse else dense, net))
