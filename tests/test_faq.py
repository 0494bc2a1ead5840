"""Rows of the FAQ: tools of scikit-learn that refuse a label matrix, and what to use instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.semi_supervised import SelfTrainingClassifier

from sklearn_mlcl import (
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV
from tests.small import small

OURS = MultiLabelLogisticRegression()
NAMED = [("one", OURS), ("two", MultiLabelLogisticRegression(C=0.1))]
STACK = StackingClassifier(NAMED, final_estimator=OURS, cv=2)
REFUSING = [
    VotingClassifier(NAMED, voting="soft"),
    BaggingClassifier(OURS, 2),
    AdaBoostClassifier(OURS),
    CalibratedClassifierCV(OURS),
    TunedThresholdClassifierCV(OURS),
    FixedThresholdClassifier(OURS),
    SelfTrainingClassifier(OURS),
]
INSTEAD = [
    MultiLabelVotingClassifierCV(NAMED, cv=2),
    small(MultiLabelMLPClassifier, threshold="f1_macro"),
    small(MultiLabelMLPClassifier, threshold=[0.3, 0.4, 0.5, 0.6, 0.7]),
    MultiOutputClassifier(BaggingClassifier(LogisticRegression(), 2)),
    MultiOutputClassifier(AdaBoostClassifier(n_estimators=2)),
    MultiLabelCalibratedClassifierCV(OURS, cv=2),
    MultiLabelThresholdClassifierCV(OURS, cv=2),
    OneVsRestClassifier(OURS),
    MultiOutputClassifier(OURS),
    ClassifierChain(OURS),
    RFECV(OURS, cv=2, step=10),
]


@pytest.mark.parametrize("tool", REFUSING, ids=lambda tool: type(tool).__name__)
def test_tools_that_refuse_label_matrices(tool: Any, label_data: Any) -> None:
    X, Y = label_data
    with pytest.raises((ValueError, NotImplementedError), match=r"1d array|[Mm]ultilabel"):
        tool.fit(X, Y)


@pytest.mark.parametrize("tool", INSTEAD, ids=lambda tool: type(tool).__name__)
def test_tools_that_take_label_matrices(tool: Any, label_data: Any) -> None:
    X, Y = label_data
    assert tool.fit(X, Y).predict(X).shape == Y.shape


def test_selectors_take_label_matrices(label_data: Any) -> None:
    X, Y = label_data[0][:, :4], label_data[1]
    for selector in (
        SelectFromModel(OURS, threshold="median"),
        SequentialFeatureSelector(OURS, n_features_to_select=2, cv=2),
    ):
        assert selector.fit(X, Y).transform(X).shape[1] == 2


def test_stacking_takes_arrays_and_no_frames_of_labels(label_data: Any) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match="1d array"):
        STACK.fit(X, pd.DataFrame(Y))
    STACK.fit(X, Y)
    np.testing.assert_array_equal(STACK.predict(X), STACK.decision_function(X) >= 0)
    with pytest.raises(IndexError):
        STACK.predict_proba(X)
