"""The table of labels has scikit-learn's figures, and names from wherever there are some."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from sklearn_mlcl import MultiLabelLogisticRegression
from sklearn_mlcl.inspection import label_table
from tests.small import NAMES


@pytest.mark.parametrize("weighted", [False, True])
def test_the_figures_are_those_of_scikit_learn(heads: Any, named_data: Any, weighted: bool) -> None:
    X, Y = named_data
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weighted else None
    table = label_table(heads, X, Y, sample_weight=weight)
    truth, decided, scores = Y.to_numpy(), heads.predict(X), heads.decision_function(X)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, decided, sample_weight=weight)
    mean = {"average": None, "sample_weight": weight}
    rows = np.ones(len(X)) if weight is None else weight
    expected = {
        "positives": rows @ truth,
        "predicted": rows @ decided,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "average_precision": average_precision_score(truth, scores, **mean),
        "roc_auc": roc_auc_score(truth, scores, **mean),
    }
    assert list(table.columns) == list(expected)
    for name, values in expected.items():
        assert_allclose(table[name], values, err_msg=name)


def test_names_are_given_or_of_the_frame_or_of_the_fit(heads: Any, named_data: Any) -> None:
    X, Y = named_data
    plain = Y.to_numpy()
    assert list(label_table(heads, X, Y).index) == NAMES
    assert list(label_table(heads, X, sp.csr_array(plain)).index) == NAMES
    nameless = MultiLabelLogisticRegression().fit(X, plain)
    assert list(label_table(nameless, X, plain).index) == list("01234")
    assert list(label_table(heads, X, Y, label_names=list("abcde")).index) == list("abcde")
    with pytest.raises(ValueError, match="label_names must name 5 labels, got 2 names"):
        label_table(heads, X, Y, label_names=["a", "b"])


def test_missing_labels_do_not_count(heads: Any, named_data: Any) -> None:
    X, Y = named_data
    hidden = np.random.default_rng(0).random(Y.shape) < 0.3
    table = label_table(heads, X, Y.astype(float).mask(hidden))
    for place, name in enumerate(NAMES):
        rows = ~hidden[:, place]
        alone = label_table(heads, X[rows], Y[rows]).loc[name]
        assert_allclose(table.loc[name], alone, err_msg=name)


def test_forests_constant_labels_and_no_decisions(label_data: Any) -> None:
    X, Y = label_data
    Y = np.column_stack([Y, np.zeros(len(Y), dtype=int)])
    forest = RandomForestClassifier(5, max_depth=3, random_state=0, n_jobs=1).fit(X, Y)
    last = label_table(forest, X, Y).iloc[-1]
    assert last["positives"] == last["predicted"] == 0
    assert last[["precision", "recall", "average_precision", "roc_auc"]].isna().all()


def test_without_pandas(heads: Any, named_data: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"A table needs pandas"):
        label_table(heads, *named_data)
