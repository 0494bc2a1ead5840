"""X, targets and weights in every form that they can have; see ``tests.fuzz_inputs``."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from sklearn_mlcl import MultiLabelLogisticRegression, MultiLabelThresholdClassifierCV
from sklearn_mlcl.inspection import label_table
from sklearn_mlcl.metrics import (
    SCORERS,
    average_precision,
    brier_score,
    f1_macro,
    f1_micro,
    get_scorer,
)
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold, MultiLabelVotingClassifierCV
from sklearn_mlcl.utils.targets import check_label_names, label_places
from sklearn_mlcl.utils.validation import check_weights
from tests.fuzz_inputs import CLASSES, MODELS, NUMBERS, PARAMETERS, Case, complaint, run
from tests.small import NAMES, NETS, every_classifier, small

LIKE_MLP = ("contrastive", "C-GMVAE")
ORDERS = r"expected \['beach'.*got \['mountain'"


def test_a_short_run_of_the_fuzzer() -> None:
    assert run(80, seed=0) == []


# The nets read targets in one place: one of them shows all forms.
@pytest.mark.parametrize(
    ("model", "form"),
    [
        *product([model for model in MODELS if model not in LIKE_MLP], CLASSES),
        *product(LIKE_MLP, ("strings", "category")),
    ],
)
def test_classes_that_are_strings(model: str, form: str) -> None:
    assert complaint(Case(model, "array", "strings", form, "none", "none")) is None


@pytest.mark.parametrize("form", NUMBERS)
def test_classes_that_are_numbers(form: str) -> None:
    assert complaint(Case("logistic", "array", "numbers", form, "none", "none")) is None


@pytest.mark.parametrize(
    ("dtype", "expected"), [("Int64", np.int64), ("boolean", bool), ("Float32", np.float32)]
)
def test_nullable_targets_are_predicted_in_their_dtype(
    dtype: str, expected: type, label_data: Any
) -> None:
    X, Y = label_data
    clf = MultiLabelLogisticRegression()
    assert clf.fit(X, pd.DataFrame(Y).astype(dtype)).predict(X).dtype == expected
    assert clf.fit(X, pd.Series(Y[:, 0]).astype(dtype)).predict(X).dtype == expected


@every_classifier
def test_tensors(make: Any, label_data: Any) -> None:
    X, Y = label_data[0].astype(np.float32), label_data[1].astype(np.float32)
    w, clf = np.linspace(0, 2, len(X)), small(make, max_epochs=1) if make in NETS else small(make)
    P = clone(clf).fit(X, Y, sample_weight=w).predict_proba(X)
    leaf = torch.tensor(w).requires_grad_()
    tensors = torch.tensor(X), torch.tensor(Y).to_sparse(), leaf
    for given in (tensors, (tensors[0], tensors[1].bfloat16(), leaf.float())):
        clf.fit(given[0], given[1], sample_weight=given[2])
        answer = clf.predict_proba(given[0])
        assert answer.dtype == np.float32
        assert_allclose(answer, P, atol=1e-5)
    score = clf.score(given[0], given[1].float(), leaf)
    assert score == clf.score(X, Y, w)
    assert brier_score(Y, torch.tensor(P).requires_grad_(), sample_weight=leaf) == brier_score(
        Y, P, sample_weight=w
    )


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_take_classes(name: str, label_data: Any) -> None:
    """Two classes are a label; three are scored as one-hot columns."""
    X, Y = label_data
    words = pd.Series(np.where(Y[:, 0], "yes", "no"), dtype="category")
    score = get_scorer(name)
    k = {"precision_at_3", "precision_at_5"}
    if name not in k:
        expected = score(LogisticRegression().fit(X, Y[:, 0]), X, Y[:, 0])
        assert_allclose(score(LogisticRegression().fit(X, words), X, words), expected)
    three = np.array(["a", "b", "c"])[Y[:, 0] + Y[:, 1]]
    clf = LogisticRegression().fit(X, three)
    with_matrix = three[:, None] == clf.classes_
    if name in ("f1_macro", "subset_accuracy"):
        decided = clf.predict(X)[:, None] == clf.classes_
        assert score(clf, X, three) == SCORERS[name].metric(with_matrix, decided)
    elif name == "average_precision_macro":
        expected = average_precision(with_matrix, clf.decision_function(X))
        assert_allclose(score(clf, X, three), expected)


def test_metrics_take_strings() -> None:
    truth, decided = ["b", "a", "b", "a"], pd.Series(["b", "b", "b", "a"], dtype="string")
    assert f1_micro(truth, decided) == f1_micro([1, 0, 1, 0], [1, 1, 1, 0])
    assert average_precision(pd.Series(truth), [0.9, 0.1, 0.2, 0.8]) == average_precision(
        [1, 0, 1, 0], [0.9, 0.1, 0.2, 0.8]
    )
    with pytest.raises(ValueError, match="may be the positive or the negative"):
        average_precision(["a", "a"], [0.1, 0.2])


def test_splitters_take_every_form_of_classes(label_data: Any) -> None:
    y = np.array(["no", "yes"], dtype=object)[label_data[1][:, 0]]
    (train, _), *_ = MultilabelStratifiedKFold(3).split(y, y)
    for make in CLASSES.values():
        assert_array_equal(next(iter(MultilabelStratifiedKFold(3).split(y, make(y))))[0], train)


# ---------------------------------------------------------------------- names


def frames(Y: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same labels in their order, and from the last to the first."""
    frame = pd.DataFrame(Y, columns=NAMES)
    return frame, frame[NAMES[::-1]]


@every_classifier
def test_labels_in_another_order_are_refused(make: Any, label_data: Any) -> None:
    X, (Y, other) = label_data[0], frames(label_data[1])
    clf = small(make, max_epochs=1) if make in NETS else small(make)
    clf.fit(X, Y)
    calls: list[Any] = [
        lambda: clf.score(X, other),
        lambda: get_scorer("f1_macro")(clf, X, other),
        lambda: get_scorer("neg_log_loss")(clf, X, pl.DataFrame(other)),
        lambda: label_table(clf, X, other),
        lambda: clf.fit(X, Y, sample_weight=1.0 + other),
    ]
    if make in NETS:
        calls += [
            lambda: clf.partial_fit(X, other),
            lambda: clone(clf).fit(X, Y, X_val=X, y_val=other),
            lambda: clone(clf).set_params(warm_start=True).fit(X, Y).fit(X, other),
        ]
    C = next((name for name in ("head_C", "C") if name in clf.get_params()), None)
    if C is not None:
        head = {"head": "logistic"} if make in NETS else {}
        by_label = clone(clf).set_params(**{C: pd.Series(1.0, NAMES[::-1])}, **head)
        calls.append(lambda: by_label.fit(X, Y))
    for call in calls:
        with pytest.raises(ValueError, match=ORDERS):
            call()
    assert clf.score(X, Y) == clf.score(X, Y.to_numpy()) == clf.score(X, pd.DataFrame(Y.to_numpy()))


def test_frames_beside_one_another(label_data: Any) -> None:
    X, (Y, other) = label_data[0], frames(label_data[1])
    clf = MultiLabelLogisticRegression().fit(X, Y).set_output(predict="pandas")
    assert f1_macro(Y, clf.predict(X)) == f1_macro(Y, clf.predict(X).to_numpy())
    with pytest.raises(ValueError, match=r"'mountain'.*'beach'"):
        f1_macro(other, clf.predict(X))
    with pytest.raises(ValueError, match=ORDERS):
        average_precision(Y, clf.predict_proba(X)[NAMES[::-1]])
    with pytest.raises(ValueError, match=ORDERS):
        MultiLabelThresholdClassifierCV(clf, cv="prefit").fit(X, other)


@pytest.mark.parametrize("name", ["other thresholds", "thresholds by name", "short threshold"])
def test_thresholds_by_label(name: str, label_data: Any) -> None:
    X, Y = label_data[0], pd.DataFrame(label_data[1][:, :3], columns=["sea", "sun", "sand"])
    inner = [("a", MultiLabelLogisticRegression())]
    models = [MultiLabelLogisticRegression(), MultiLabelVotingClassifierCV(inner, cv=2)]
    for model in [*models, *(small(make, max_epochs=1) for make in NETS)]:
        with pytest.raises(ValueError, match="threshold"):
            model.set_params(**PARAMETERS[name]).fit(X, Y)
        model.set_params(**PARAMETERS["named thresholds"]).fit(X, Y)


@pytest.mark.parametrize(
    ("known", "given", "refused"),
    [
        (None, [1, 0], False),
        ([0, 1], ["a", "b"], False),
        ([0, 1], [1, 0], True),
        (["a", "b"], ["b", "a"], True),
        (["a", "b"], ["a", "c"], True),
        ([("a", 1), ("a", 2)], [("a", 2), ("a", 1)], True),
        ([3, 4], ["3", "4"], False),  # polars has texts only
        (["a", "a"], ["a", "a"], False),
        ([1, "1"], ["1", 1], True),
    ],
)
def test_rule_of_names(known: Any, given: Any, refused: bool) -> None:
    if not refused:
        check_label_names(known, given)
        return
    with pytest.raises(ValueError, match="same names in the same order"):
        check_label_names(known, given)


def test_a_label_is_called_by_name_then_by_number() -> None:
    assert label_places(["b", 0, ("t", 1)], ["a", "b", ("t", 1)], 3) == [1, 0, 2]
    assert label_places([0, "1"], [1, 0], 2) == [1, 0]
    with pytest.raises(ValueError, match=r"name of the labels \[0, 1\]"):
        label_places(["a"], ["a", "a"], 2)
    with pytest.raises(ValueError, match="no label 2"):
        label_places([2], None, 2)


def test_columns_of_levels_come_back(label_data: Any) -> None:
    X, Y = label_data
    columns = pd.MultiIndex.from_product([["a"], range(5)])
    clf = MultiLabelLogisticRegression().set_output(predict="pandas")
    assert clf.fit(X, pd.DataFrame(Y, columns=columns)).predict(X).columns.equals(columns)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ma.masked_array([1.0, 2.0], [False, True]), "masked"),
        (["a", "b"], "real numbers"),
        ([None, {}], "real numbers"),
        ([1j, 1j], "real numbers"),
        ([[1.0, 1.0]], r"shape \(2,\) or \(2, 3\)"),
        (-1, "not negative"),
    ],
)
def test_weights_that_are_none(weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"sample_weight .*{message}"):
        check_weights(weight, 2, 3)
