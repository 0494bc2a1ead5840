"""The leaderboard: honest folds, failures, forms of data."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier

from sklearn_mlcl import MultiLabelLogisticRegression, metrics
from sklearn_mlcl.estimators import compare as compare_module
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedKFold,
    MultiLabelVotingClassifierCV,
    compare,
)
from tests.small import small

TREES = ExtraTreesClassifier(10, random_state=0)
PAIR = [("trees", TREES), ("heads", MultiLabelLogisticRegression())]
COLUMNS = [
    "mean_rank", "f1_samples", "f1_samples_std", "f1_micro", "f1_micro_std", "f1_macro",
    "f1_macro_std", "average_precision_macro", "average_precision_macro_std", "neg_log_loss",
    "neg_log_loss_std", "fit_seconds", "predict_seconds",
]  # fmt: skip


def test_rows_are_those_of_estimators_tuned_inside_each_training_part(label_data: Any) -> None:
    X, Y = label_data
    table = compare(X, Y, PAIR, cv=3, random_state=0)
    assert list(table.columns) == COLUMNS and table.index.name == "model"
    alone = {name: [(name, each)] for name, each in PAIR}
    folds = MultilabelStratifiedKFold(3, shuffle=True, random_state=0)
    for name, estimators in (alone | {"vote": PAIR}).items():
        scores = []
        for train, test in folds.split(X, Y):
            options: dict[str, Any] = {"calibrate": name == "vote", "cv": 3, "random_state": 0}
            model = MultiLabelVotingClassifierCV(estimators, **options)
            model.fit(X[train], Y[train])
            asked = [metrics.get_scorer(score) for score in COLUMNS[1:-2:2]]
            scores.append([scorer(model, X[test], Y[test]) for scorer in asked])
        means, spreads = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1)
        row = table.loc[name]
        assert_allclose(row[COLUMNS[1:-2:2]].to_numpy(float), means, rtol=1e-10)
        assert_allclose(row[COLUMNS[2:-2:2]].to_numpy(float), spreads, rtol=1e-8)
    ranks = table[COLUMNS[1:-2:2]].rank(ascending=False).mean(axis=1)
    assert_allclose(table["mean_rank"], ranks)
    assert table["mean_rank"].is_monotonic_increasing
    parts = table.drop(index="vote")
    assert table.loc["vote", "fit_seconds"] > parts["fit_seconds"].sum() > 0


def test_a_model_that_fails_is_named_and_the_others_go_on(label_data: Any) -> None:
    X, Y = label_data
    broken = OneVsRestClassifier(LogisticRegression(C=-1))
    with pytest.warns(
        UserWarning, match="'broken' failed in fold 1, so its scores are NaN"
    ) as caught:
        table = compare(X, Y, [*PAIR, ("broken", broken)], cv=2)
    assert len(caught) == 1
    assert list(table.index)[-1] == "broken" and table.loc["broken"].isna().all()
    expected = compare(X, Y, PAIR, cv=2).drop(columns=["fit_seconds", "predict_seconds"])
    pd.testing.assert_frame_equal(table.loc[expected.index, expected.columns], expected)
    with pytest.warns(UserWarning, match="'broken' failed"):
        alone = compare(X, Y, [("trees", TREES), ("broken", broken)], cv=2)
    assert list(alone.index) == ["trees", "broken"]


class FailsLater(DummyClassifier):
    """Fits the first fold, and no other."""

    seen: int = 0

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        FailsLater.seen += 1
        if FailsLater.seen > 4:
            raise RuntimeError("enough")
        return super().fit(X, y, sample_weight)


def test_a_model_that_fails_in_a_later_fold_has_no_scores(label_data: Any) -> None:
    X, Y = label_data
    with pytest.warns(UserWarning, match="'later' failed in fold 2.*enough"):
        table = compare(X, Y, [*PAIR, ("later", FailsLater(strategy="prior"))], cv=2)
    assert table.loc["later"].isna().all() and table.drop(index="later").notna().all(axis=None)


@pytest.mark.parametrize("form", [sp.csr_matrix, pd.DataFrame, lambda Y: Y.astype(np.uint8)])
def test_forms_of_labels(form: Any, label_data: Any) -> None:
    X, Y = label_data
    columns = COLUMNS[:-2]
    expected = compare(X, Y, PAIR, cv=2)[columns]
    pd.testing.assert_frame_equal(compare(X, form(Y), PAIR, cv=2)[columns], expected)


def test_missing_labels_under_a_code(label_data: Any) -> None:
    X, Y = label_data
    hidden = np.random.default_rng(0).random(Y.shape) < 0.2
    by_nan = compare(X, np.where(hidden, np.nan, Y), PAIR[1:], cv=2)
    by_code = compare(X, np.where(hidden, -1, Y), PAIR[1:], cv=2, missing_label=-1)
    pd.testing.assert_frame_equal(by_nan[COLUMNS[:-2]], by_code[COLUMNS[:-2]])
    with pytest.warns(UserWarning, match="'trees' failed in fold 1"):
        compare(X, np.where(hidden, np.nan, Y), PAIR, cv=2)


def test_groups_stay_on_one_side(label_data: Any) -> None:
    """With every sample twice, the nearest neighbour knows the answer unless groups are told."""
    X, Y = (np.repeat(part[:100], 2, axis=0) for part in label_data)
    Y = np.random.default_rng(0).permutation(Y[::2]).repeat(2, axis=0)
    groups = np.arange(200) // 2
    nearest = [("nearest", KNeighborsClassifier(1))]
    options: dict[str, Any] = {"scoring": ["roc_auc_macro"], "random_state": 0}
    for cv in (4, 0.25):
        told = compare(X, Y, nearest, cv=cv, groups=groups, **options)
        assert told.loc["nearest", "roc_auc_macro"] < 0.65
    assert compare(X, Y, nearest, cv=4, **options).loc["nearest", "roc_auc_macro"] > 0.8


def test_scores_and_thresholds_that_are_asked_for(label_data: Any) -> None:
    X, Y = label_data
    scorer = make_scorer(metrics.hamming_accuracy)
    table = compare(X, Y, PAIR[:1], cv=0.3, random_state=0, threshold=0.5, scoring={"own": scorer})
    assert list(table.columns) == ["mean_rank", "own", "own_std", "fit_seconds", "predict_seconds"]
    names = compare(
        X, Y, PAIR[:1], cv=0.3, random_state=0, threshold=0.5, scoring=["hamming_accuracy"]
    )
    assert table.loc["trees", "own"] == names.loc["trees", "hamming_accuracy"]
    with pytest.raises(ValueError, match="scoring must be a list of some of"):
        compare(X, Y, PAIR, scoring=["f2"])
    with pytest.raises(ValueError, match="different names"):
        compare(X, Y, [PAIR[0], PAIR[0]])
    with pytest.raises(ValueError, match="none of them 'vote'"):
        compare(X, Y, [("vote", TREES)])
    with pytest.raises(ValueError, match="label matrix, got binary classes"):
        compare(X, Y[:, 0], PAIR)
    # Before anything is fitted.
    wrong = {"cv": 1, "inner_cv": 1.5, "threshold": "f2"}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"The '{name}' parameter of compare must be"):
            compare(X, Y, PAIR, **{name: value})


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_the_default_models_on_constant_and_rare_labels(
    container: Any, label_data: Any, monkeypatch: Any
) -> None:
    X, Y = container(label_data[0]), label_data[1].copy()
    Y[:, 0], Y[:, 1], Y[:, 2] = 0, 1, 0
    Y[[3, 7], 2] = 1
    monkeypatch.setattr(compare_module, "N_TREES", 5)
    for name in ("MultiLabelMLPClassifier", "ContrastiveMultiLabelClassifier"):
        net = small(getattr(compare_module, name))
        monkeypatch.setattr(compare_module, name, partial(type(net), **net.get_params(deep=False)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = compare(X, Y, cv=0.3, inner_cv=2)
    names = "logistic, random forest, extra trees, boosting, MLP, contrastive, vote"
    assert set(table.index) == set(names.split(", "))
    assert table[COLUMNS[1:-2:2]].notna().all(axis=None)


def test_progress_goes_to_the_error_stream(label_data: Any, capsys: Any) -> None:
    X, Y = label_data
    compare(X, Y, PAIR, cv=2, verbose=1)
    shown = capsys.readouterr()
    assert not shown.out and shown.err.count("\r") == 5 and shown.err.endswith("\n")
    assert "2/4 fold 2 of 2, trees" in shown.err
    compare(X, Y, PAIR, cv=2)
    assert not capsys.readouterr().err
