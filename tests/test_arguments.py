"""Arguments of functions: numbers, folds and matrices that they cannot have are named."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import LabelCalibration, fit_calibration
from sklearn_mlcl.collapse import (
    etf_deviation,
    fit_onn_decoder,
    nearest_cosine,
    nearest_equinorm,
    nearest_prototype,
    nearest_tags,
    neural_collapse_metrics,
    observed_marginals,
    phi_matrix,
    simplex_etf,
    subset_marginals,
    ufm_scaling,
)
from sklearn_mlcl.datasets import fetch_multilabel, load_arff
from sklearn_mlcl.inspection import MultiLabelReliabilityDisplay
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES
from sklearn_mlcl.metrics import (
    brier_score,
    f1_macro,
    f1_samples,
    get_scorer,
    label_propensities,
    reliability_curve,
)
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedShuffleSplit,
    compare,
    cross_val_predict,
)
from sklearn_mlcl.representation import alignment, positive_regularization_ratio, uniformity
from sklearn_mlcl.thresholds import (
    choose_decision,
    threshold_decision,
    threshold_score,
    topk_decision,
    tune_thresholds,
    tune_topk,
)
from tests.small import small

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = (X + RNG.normal(size=X.shape) > 0).astype(int)
P = 1 / (1 + np.exp(-X))
COUNT, NUMBER = [0, -1, 2.5, "x", True, 10**400], [-1, np.nan, np.inf, "x", None, 1j, 10**400]

#: No matrix of numbers.
MATRIX = [None, "x", {}, 2.5, X[0], X[:, :, None], X + 1j, np.where(X > 1, np.nan, X), [["a"]]]
SIZES = [None, "x", 1, [], [2, 1], [0, 1], [1, 4], [1.5, 2.0], [[1, 2]]]
PER_SIZE = [None, "x", {}, 1.0, [1.0], [1.0, np.nan], [[1.0, 2.0]], [1j, 1j]]
FLAG = ["x", 2, None, [True]]

OPTIONS = [{"foo": 1}, {"betas": (2, 0)}, {"betas": 3}, {"eps": "x"}, {"lr": 3.0}, {1: 2}]
#: Sizes of label sets, and two numbers for each.
GIVEN = ([1, 2], [1.0, 1.0], [0.0, 0.0])
CALIBRATION = LabelCalibration(np.ones(3), np.zeros(3))
ARFF = b"@relation r\n@attribute l {0,1}\n@attribute x numeric\n@data\n0,1\n1,2\n"

#: Functions of one argument, by its name, with what it cannot be.
ARGUMENTS: list[tuple[str, Callable[[Any], Any], list[Any]]] = [
    ("n_bins", lambda v: reliability_curve(Y, P, n_bins=v), [*COUNT, 10**9]),
    ("A", lambda v: label_propensities(Y, A=v), NUMBER),
    ("B", lambda v: label_propensities(Y, B=v), NUMBER),
    ("empty_rows", lambda v: f1_samples(Y, Y, empty_rows=v), [np.nan, np.inf, "x", 1j]),
    ("n_se", lambda v: choose_decision({"a": Y, "b": Y}, Y, n_se=v), NUMBER),
    ("shrinkage", lambda v: tune_thresholds(Y, P, shrinkage=v), NUMBER),
    ("grid_size", lambda v: tune_thresholds(Y, P, grid_size=v), COUNT),
    ("thresholds", lambda v: threshold_score(Y, P, v), [np.nan, "x", None, 1j, {}]),
    ("threshold", lambda v: threshold_decision(P, v), [np.nan, "x", None, 1j, {}]),
    ("k", lambda v: topk_decision(P, v), [-1, 4, 2.5, "x", None, True, np.nan, 10**30]),
    ("probabilities", lambda v: threshold_decision(v, 0.5), MATRIX),
    ("scores", lambda v: topk_decision(v, 1), MATRIX),
    ("scores", lambda v: tune_topk(v, Y), [*MATRIX, P[:-1], P[:, :2]]),
    ("Y", lambda v: tune_topk(P, v), [*MATRIX, 2 * Y]),
    ("Y", lambda v: choose_decision({"a": Y}, v), [*MATRIX, 2 * Y]),
    ("predictions", lambda v: choose_decision(v, Y), [None, "x", [Y], {}, {"a": P}]),
    (r"predictions\['b'\]", lambda v: choose_decision({"a": Y, "b": v}, Y), [None, P, Y[:-1]]),
    ("per_label", lambda v: tune_thresholds(Y, P, per_label=v), FLAG),
    ("logits", lambda v: fit_calibration(Y, v), [*MATRIX, X[:-1]]),
    ("logits", lambda v: CALIBRATION.probabilities(v), [*MATRIX, X[:, :1], X[:, :2]]),
    ("A", lambda v: etf_deviation(v), MATRIX),
    ("B", lambda v: etf_deviation(X, v), [*MATRIX[1:], X[:-1]]),
    ("center", lambda v: etf_deviation(X, center=v), FLAG),
    ("label_sets", lambda v: phi_matrix(v), [*MATRIX, 2 * Y]),
    ("other", lambda v: phi_matrix(Y, v), [*MATRIX[1:], 2 * Y, Y[:, :2]]),
    ("scores", lambda v: nearest_cosine(v), MATRIX),
    ("sizes", lambda v: nearest_cosine(P, v), [*SIZES[1:], [1, 2, 3]]),
    ("scores", lambda v: nearest_equinorm(v, *GIVEN), MATRIX),
    ("sizes", lambda v: nearest_equinorm(P, v, *GIVEN[1:]), SIZES),
    ("slopes", lambda v: nearest_equinorm(P, GIVEN[0], v, GIVEN[2]), PER_SIZE),
    ("costs", lambda v: nearest_equinorm(P, *GIVEN[:2], v), PER_SIZE),
    ("scores", lambda v: nearest_tags(v, np.eye(3), *GIVEN), MATRIX),
    ("gram", lambda v: nearest_tags(P, v, *GIVEN), [*MATRIX, np.eye(2)]),
    ("sizes", lambda v: nearest_tags(P, np.eye(3), v, *GIVEN[1:]), SIZES),
    ("scales", lambda v: nearest_tags(P, np.eye(3), GIVEN[0], v, GIVEN[2]), PER_SIZE),
    ("costs", lambda v: nearest_tags(P, np.eye(3), *GIVEN[:2], v), PER_SIZE),
    ("max_candidates", lambda v: nearest_tags(P, np.eye(3), *GIVEN, max_candidates=v), NUMBER),
    ("features", lambda v: nearest_prototype(v, X, X[:, 0]), MATRIX),
    ("prototypes", lambda v: nearest_prototype(X, v, X[:, 0]), [*MATRIX, X[:0], X[:, :2]]),
    ("costs", lambda v: nearest_prototype(X, X[:2], v), PER_SIZE),
    ("scores", lambda v: subset_marginals(v, *GIVEN), MATRIX),
    ("sizes", lambda v: subset_marginals(P, v, *GIVEN[1:]), SIZES),
    ("slopes", lambda v: subset_marginals(P, GIVEN[0], v, GIVEN[2]), PER_SIZE),
    ("offsets", lambda v: subset_marginals(P, *GIVEN[:2], v), PER_SIZE),
    ("log_weights", lambda v: observed_marginals(v, Y[:3]), [*MATRIX, X[:, :2]]),
    ("label_sets", lambda v: observed_marginals(X, v), [*MATRIX, 2 * Y[:3]]),
    ("n_labels", lambda v: ufm_scaling(v, {1: 2}, 1e-3, 1e-3), [1, *COUNT[:-1]]),
    ("counts", lambda v: ufm_scaling(4, v, 1e-3, 1e-3), [None, "x", [1], {}, {5: 1}, {1: -1}]),
    ("lam_w", lambda v: ufm_scaling(4, {1: 2}, v, 1e-3), [0, *NUMBER]),
    ("lam_h", lambda v: ufm_scaling(4, {1: 2}, 1e-3, v), [0, *NUMBER]),
    ("norm", lambda v: ufm_scaling(4, {1: 2}, 1e-3, 1e-3, v), ["max", 2, *NUMBER]),
    ("repulsion", lambda v: repelling(repulsion=v), ["x", [], -np.ones(30), np.ones((2, 2, 2))]),
    ("params", lambda v: cross_val_predict(None, X, Y, params=v), ["x", 3, [1]]),
    ("n_jobs", lambda v: cross_val_predict(None, X, Y, n_jobs=v), ["x", 2.5, {}]),
    ("n_jobs", lambda v: compare(X, Y, n_jobs=v), ["x", 2.5, {}]),
    ("verbose", lambda v: compare(X, Y, verbose=v), ["x", -1, {}]),
    ("scoring", lambda v: compare(X, Y, scoring=v), [None, 3, "f1_macro", ["x"], [], {"a": 1}]),
    ("as_frame", lambda v: load_arff(io.BytesIO(ARFF), labels=["l"], as_frame=v), FLAG),
    ("return_X_y", lambda v: load_arff(io.BytesIO(ARFF), labels=["l"], return_X_y=v), FLAG),
    ("data_home", lambda v: fetch_multilabel("none", data_home=v), [3, {}, b"x"]),
    ("download_if_missing", lambda v: fetch_multilabel("none", download_if_missing=v), FLAG),
    ("n_labels", lambda v: simplex_etf(v), [1, *COUNT]),
    ("scale", lambda v: simplex_etf(3, scale=v), [0, *NUMBER]),
    ("prior", lambda v: fit_onn_decoder(X, Y, prior=v), [2, *NUMBER]),
    ("max_labels", lambda v: fit_onn_decoder(X, Y, max_labels=v), COUNT),
    ("sample_weight", lambda v: fit_onn_decoder(X, Y, sample_weight=v), ["x", -1.0, [1.0], 1j]),
    ("min_count", lambda v: neural_collapse_metrics(X, Y, min_count=v), COUNT),
    ("max_rows", lambda v: neural_collapse_metrics(X, Y, max_rows=v), COUNT),
    ("exponent", lambda v: alignment(X, Y, exponent=v), NUMBER),
    ("t", lambda v: uniformity(X, t=v), NUMBER),
    ("test_size", lambda v: splits(test_size=v), [0, 1.0, 2.5, -1, np.nan, "x", True]),
    ("n_splits", lambda v: splits(n_splits=v), COUNT),
    ("subset", lambda v: fetch_multilabel("none", subset=v), ["dev", 3, None, ["all"]]),
    ("n_labels", lambda v: load_arff(io.BytesIO(ARFF), n_labels=v), ["x", 0, 2.5, 2, True]),
    ("labels", lambda v: load_arff(io.BytesIO(ARFF), labels=v), [3, "l", {"l": 1}]),
    ("drop_attributes", lambda v: load_arff(io.BytesIO(ARFF), drop_attributes=v), [3, "l", None]),
    (
        "estimators",
        lambda v: compare(X, Y, estimators=v),
        [[1], [("a", 3)], ["ab"], {"a": 1}, 3, [("a", MultiLabelLogisticRegression)]],
    ),
    ("class_weight", lambda v: logistic(class_weight=[{1: v}] * 3), NUMBER),
    ("C", lambda v: logistic(C=v), [0, *NUMBER]),
    ("head_C", lambda v: contrastive(head_C=[v, 1.0, 1.0]), [0, *NUMBER]),
    ("optimizer_params", lambda v: contrastive(net_params__optimizer_params=v), OPTIONS),
    ("name", get_scorer, [None, 3, ["f1_macro"], "F1_macro"]),
]


def repelling(**options: Any) -> float:
    return positive_regularization_ratio(X, np.ones((30, 30)), temperature=0.1, **options)


def logistic(**parameters: Any) -> Any:
    return MultiLabelLogisticRegression(**parameters).fit(X, Y)


def contrastive(**parameters: Any) -> Any:
    return small(ContrastiveMultiLabelClassifier, head="logistic", **parameters).fit(X, Y)


def splits(**options: Any) -> list[Any]:
    return list(MultilabelStratifiedShuffleSplit(**options).split(X, Y))


@pytest.mark.parametrize(("name", "call", "values"), ARGUMENTS, ids=[a[0] for a in ARGUMENTS])
def test_an_argument_is_named(name: str, call: Callable[[Any], Any], values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"\b{name}(?!\w)"):
            call(value)


@pytest.mark.parametrize(
    "embeddings",
    [np.where(X > 1, np.nan, X), X + 1j, X.astype(str), np.ma.masked_array(X, X > 1), X[:, 0]],
    ids=["NaN", "complex", "words", "masked", "1-D"],
)
def test_embeddings(embeddings: Any) -> None:
    calls: list[Any] = [lambda: alignment(embeddings, Y), lambda: uniformity(embeddings)]
    calls += [lambda: fit_onn_decoder(embeddings, Y)] if embeddings.dtype.kind != "U" else []
    for call in calls:
        with pytest.raises(ValueError, match=r"embeddings|features"):
            call()


@pytest.mark.parametrize(
    "function",
    [alignment, fit_onn_decoder, neural_collapse_metrics, lambda X, Y: f1_macro(Y, Y)],
    ids=["alignment", "fit_onn_decoder", "neural_collapse_metrics", "f1_macro"],
)
def test_label_sets_and_complex_labels(function: Any) -> None:
    for sets in ([set(np.flatnonzero(y)) for y in Y], [np.flatnonzero(y).tolist() for y in Y]):
        with pytest.raises(ValueError, match="MultiLabelBinarizer"):
            function(X, sets)
    with pytest.raises(ValueError, match="not numbers"):
        function(X, Y + 0j)


@pytest.mark.parametrize("make", [*CONTRASTIVE_LOSSES.values(), *LOGIT_LOSSES.values()])
def test_losses_take_real_tensors(make: Any) -> None:
    with pytest.raises(ValueError, match="labels must be real"):
        make()(torch.tensor(X), torch.tensor(Y) + 0j)
    with pytest.raises(TypeError, match=r"(logits|embeddings) must be a .*tensor, got ndarray"):
        make()(X, torch.tensor(Y))


def test_displays_name_label_sets_and_classes() -> None:
    sets = [set(np.flatnonzero(y)) for y in Y]
    with pytest.raises(ValueError, match="MultiLabelBinarizer"):
        MultiLabelReliabilityDisplay.from_estimator(logistic(), X, sets)
    with pytest.raises(TypeError, match="is a class, expected a fitted instance"):
        MultiLabelReliabilityDisplay.from_estimator(MultiLabelLogisticRegression, X, Y)


def test_labels_of_any_container() -> None:
    assert alignment(X, sp.csr_array(Y)) == alignment(torch.tensor(X), torch.tensor(Y))
    weight = np.arange(30.0)
    expected = brier_score(Y, P, sample_weight=weight)
    assert brier_score(Y, P, sample_weight=torch.tensor(weight)) == expected


def test_folds() -> None:
    def fitted(cv: Any) -> np.ndarray:
        clf = MultiLabelThresholdClassifierCV(MultiLabelLogisticRegression(), cv=cv)
        return clf.fit(X, Y).thresholds_

    first = np.arange(30) < 20
    assert_array_equal(fitted([(first, ~first)]), fitted([(np.arange(20), np.arange(20, 30))]))
    for cv in (np.array(0.5), b"12", [], [(np.arange(9), np.arange(90, 99))], [(X[:, 0], X[:, 1])]):
        with pytest.raises(ValueError, match="cv must be a number of folds"):
            fitted(cv)
    C = MultiLabelLogisticRegression(C="cv", cv=[([], [])])
    with pytest.raises(ValueError, match="cv must be a number of folds"):
        C.fit(X, Y)
    for Cs in ([0.0], ["x"], [None], [1j], [10**400]):
        with pytest.raises(ValueError, match="Cs must"):
            MultiLabelLogisticRegression(C="cv", cv=3, Cs=Cs).fit(X, Y)
    few = MultiLabelLogisticRegression(
        C="cv", cv=np.int8(3), max_iter=np.uint8(50), tol=np.float32(1)
    )
    assert few.fit(X, Y).n_iter_.max() <= 50
