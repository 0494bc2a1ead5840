"""scikit-learn's own checks, on every estimator of the package."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_mlcl import MultiLabelLogisticRegression
from tests.small import CLASSIFIERS, every_ensemble, small

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


def short(make: Any, **changes: Any) -> Any:
    """Return an estimator that learns the data of the checks."""
    steps = {} if make is MultiLabelLogisticRegression else {"max_epochs": 5, "learning_rate": 0.03}
    return small(make, **steps | changes)


@parametrize_with_checks(
    [short(make) for make in CLASSIFIERS] + [short(MultiLabelLogisticRegression, label_tree=True)],
    expected_failed_checks=allowed_failures,
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@every_ensemble
def test_weights_equal_repetition_on_average(make: Any, label_data: Any) -> None:
    """Over seeds, weights move the mean prediction towards that of repeated rows.

    Not all the way: in a contrastive loss a weight counts the row as an anchor, while a repeated
    row is also a candidate more for all others.
    """
    X, Y = (a[:80] for a in label_data)
    weights = np.where(Y[:, 0] == 1, 5, 1)
    repeated = np.repeat(np.arange(len(X)), weights)

    def mean_probability(X_fit: Any, Y_fit: Any, sample_weight: Any = None) -> np.ndarray:
        fits = [
            short(make, batch_size=len(X_fit), random_state=seed).fit(X_fit, Y_fit, sample_weight)
            for seed in range(6)
        ]
        return np.mean([fit.predict_proba(X)[:, 0] for fit in fits], axis=0)

    by_repetition = mean_probability(X[repeated], Y[repeated])
    by_weight = mean_probability(X, Y, weights)
    unweighted = mean_probability(X, Y)
    distance = np.abs(by_weight - by_repetition).mean()
    assert distance < 0.7 * np.abs(unweighted - by_repetition).mean()
