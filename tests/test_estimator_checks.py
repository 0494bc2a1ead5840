"""scikit-learn's own checks, on every estimator of the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)

SMALL: dict[str, Any] = {"n_estimators": 2, "hidden_layer_sizes": (32,), "max_epochs": 20}
SMALL_GMVAE: dict[str, Any] = {
    "hidden_layer_sizes": (32,),
    "max_epochs": 20,
    "net_params": {
        "label_hidden_layer_sizes": (32,),
        "decoder_hidden": 32,
        "embedding_dim": 64,
        "latent_dim": 16,
    },
}
STOCHASTIC = (
    "batches, dropout and initial weights are drawn for other rows: a weight of two equals a "
    "repeated row in distribution only (see test_weights_equal_repetition_on_average)"
)


def allowed_failures(estimator: Any) -> dict[str, str]:
    """The two checks that scikit-learn's own SGD classifiers and forests fail too."""
    if isinstance(estimator, MultiLabelLogisticRegression):
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": STOCHASTIC,
        "check_sample_weight_equivalence_on_sparse_data": STOCHASTIC,
    }


@parametrize_with_checks(
    [
        CGMVAEClassifier(**SMALL_GMVAE),
        ContrastiveMultiLabelClassifier(**SMALL),
        MultiLabelMLPClassifier(**SMALL),
        MultiLabelLogisticRegression(),
    ],
    expected_failed_checks=allowed_failures,
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("Estimator", [ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier])
def test_weights_equal_repetition_on_average(Estimator: Any, label_data: Any) -> None:
    """Over seeds, weights move the mean prediction towards that of repeated rows.

    Not all the way: in a contrastive loss a weight counts the row as an anchor, while a repeated
    row is also a candidate more for all others.
    """
    X, Y = (a[:80] for a in label_data)
    weights = np.where(Y[:, 0] == 1, 5, 1)
    repeated = np.repeat(np.arange(len(X)), weights)

    def mean_probability(X_fit: Any, Y_fit: Any, sample_weight: Any = None) -> np.ndarray:
        fits = [
            Estimator(**SMALL, batch_size=len(X_fit), random_state=seed).fit(
                X_fit, Y_fit, sample_weight
            )
            for seed in range(6)
        ]
        return np.mean([fit.predict_proba(X)[:, 0] for fit in fits], axis=0)

    by_repetition = mean_probability(X[repeated], Y[repeated])
    by_weight = mean_probability(X, Y, weights)
    unweighted = mean_probability(X, Y)
    distance = np.abs(by_weight - by_repetition).mean()
    assert distance < 0.7 * np.abs(unweighted - by_repetition).mean()
