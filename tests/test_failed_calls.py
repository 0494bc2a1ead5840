"""A call that fails leaves an estimator as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_mlcl import (
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV
from tests.small import every_net, small

META = [
    MultiLabelThresholdClassifierCV(MultiLabelLogisticRegression(), cv=2),
    MultiLabelCalibratedClassifierCV(MultiLabelLogisticRegression(), cv=2),
    MultiLabelVotingClassifierCV([("a", MultiLabelLogisticRegression())], cv=2),
]
every_meta = pytest.mark.parametrize("estimator", META, ids=lambda e: type(e).__name__)


@every_meta
def test_a_failed_fit_of_a_meta_estimator(estimator: Any, label_data: Any) -> None:
    X, Y = label_data[0], pd.DataFrame(label_data[1], columns=list("abcde"))
    clf = clone(estimator).fit(X, Y)
    before, P = set(vars(clf)), clf.predict_proba(X)
    bad = [(X, 2 * Y.to_numpy()), (X[:1], Y[:1]), (np.where(X > 2, np.nan, X), Y)]
    for given in bad:
        with pytest.raises(ValueError):
            clf.fit(*given)
    assert set(vars(clf)) == before
    assert_array_equal(clf.predict_proba(X), P)


def test_a_fit_that_fails_at_its_end(label_data: Any) -> None:
    X, Y = label_data
    clf = MultiLabelThresholdClassifierCV(MultiLabelLogisticRegression(), cv=2).fit(X, Y)
    P = clf.predict_proba(X)
    clf.set_params(objective=lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        clf.fit(X[:, :3], Y[:, :2])
    assert_array_equal(clf.predict_proba(X), P)


@every_meta
def test_names_of_features_of_an_earlier_fit_go(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).fit(pd.DataFrame(X).add_prefix("x"), Y)
    assert len(clf.feature_names_in_) == X.shape[1]
    assert not hasattr(clf.fit(X, Y), "feature_names_in_")


@pytest.mark.parametrize(
    "changes",
    [
        {"max_epochs": 7, "nonsense": 1},
        {"max_epochs": 7, "net_params__nonsense": 1},
        {"net_params__mixup": 0.5, "net_params__nonsense": 1},
    ],
)
def test_parameters_are_set_together_or_not_at_all(changes: Any) -> None:
    clf = small(MultiLabelMLPClassifier)
    before = clf.get_params()
    with pytest.raises(ValueError, match="nonsense"):
        clf.set_params(**changes)
    assert clf.get_params() == before


def test_parameters_of_a_vote_are_set_together() -> None:
    vote = MultiLabelVotingClassifierCV([("a", MultiLabelLogisticRegression())])
    with pytest.raises(ValueError, match="nonsense"):
        vote.set_params(a="drop", threshold=0.3, nonsense=1)
    assert vote.threshold == "auto"
    assert isinstance(vote.estimators[0][1], MultiLabelLogisticRegression)


@every_net
@pytest.mark.parametrize("classes", [[0, 1, 2], list("abcdf"), [4, 3, 2, 1, 0]])
def test_classes_other_than_the_labels(make: Any, classes: Any, label_data: Any) -> None:
    X, Y = label_data[0], pd.DataFrame(label_data[1], columns=list("abcde"))
    clf = small(make)
    for allowed in (range(5), list("abcde"), [[0, 1]] * 5):
        clf.partial_fit(X, Y, classes=allowed)
    P = clf.predict_proba(X)
    with pytest.raises(ValueError, match="classes must be the numbers of the 5 labels"):
        clf.partial_fit(X, Y, classes=classes)
    assert_array_equal(clf.predict_proba(X), P)


def test_classes_other_than_those_of_the_first_call(label_data: Any) -> None:
    X, y = label_data[0], np.array(["no", "yes"])[label_data[1][:, 0]]
    clf = small(MultiLabelMLPClassifier).partial_fit(X, y, classes=["yes", "maybe", "no"])
    clf.partial_fit(X, y, classes=["maybe", "no", "yes"])
    with pytest.raises(ValueError, match=r"first call, \['maybe', 'no', 'yes'\], got \['no'"):
        clf.partial_fit(X, y, classes=["no", "yes"])


@every_net
def test_a_net_is_not_trained_on_with_other_parameters_than_it_was_built_with(
    make: Any, label_data: Any
) -> None:
    X, Y = label_data
    clf = small(make, warm_start=True, hidden_layer_sizes=(8,)).fit(X, Y)
    before = clf.predict_proba(X)
    is_mlp = make is MultiLabelMLPClassifier
    key, share = (
        ("loss_params__label_smoothing", 0.1) if is_mlp else ("loss_params__n_negatives", 3)
    )
    others = {
        "hidden_layer_sizes": (9,), "activation": "tanh", "dropout": 0.123, "weight_decay": 0.7,
        "net_params__optimizer": "sgd", key: share,
    }  # fmt: skip
    for name, value in others.items():
        other = clone(clf).fit(X, Y).set_params(**{name: value})
        for train in (other.fit, other.partial_fit):
            with pytest.raises(ValueError, match=f"^{name}=.* is not what the net was built with"):
                train(X, Y)
    assert_array_equal(clf.predict_proba(X), before)
    other.set_params(warm_start=False).fit(X, Y)
    with pytest.raises(ValueError, match=f"^{key}=.* is not what the net was built with"):
        other.set_params(warm_start=True, loss_params=None).fit(X, Y)


@every_net
def test_the_same_parameters_in_other_words_train_on(make: Any, label_data: Any) -> None:
    class Narrow(make):
        """A subclass whose constructor has parameters of its own."""

        def __init__(self, width: int = 8, warm_start: bool = True) -> None:
            self.width = width
            super().__init__(
                hidden_layer_sizes=(width,), max_epochs=1, warm_start=warm_start, random_state=0
            )

    X, Y = label_data
    other_words = {
        "hidden_layer_sizes": [np.int64(8)], "feature_noise": 0, "loss_params": {},
        "net_params__optimizer_params": {},
    }  # fmt: skip
    clf = small(make, warm_start=True, hidden_layer_sizes=(8,), feature_noise=0.0).fit(X, Y)
    clf.set_params(**other_words, learning_rate=1e-4, batch_size=50).fit(X, Y)
    clf.set_params(**clf.get_params()).fit(X, Y)
    clf.set_params(loss_params=None).partial_fit(X, Y)
    Narrow().fit(X, Y).fit(X, Y).partial_fit(X, Y)
