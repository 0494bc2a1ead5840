"""Missing labels under any code, and weights of entries, in the functions on label matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl import metrics
from sklearn_mlcl.calibration import fit_calibration
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit
from sklearn_mlcl.thresholds import OBJECTIVES, threshold_score, tune_thresholds
from sklearn_mlcl.utils.answers import infer_format

DECISIONS = {
    "f1_samples": metrics.f1_samples,
    "jaccard_samples": metrics.jaccard_samples,
    "subset_accuracy": metrics.subset_accuracy,
    "hamming_accuracy": metrics.hamming_accuracy,
    "f1_micro": metrics.f1_micro,
    "f1_macro": metrics.f1_macro,
}
SCORES = {
    "average_precision": metrics.average_precision,
    "roc_auc": metrics.roc_auc,
    "multilabel_log_loss": metrics.multilabel_log_loss,
    "brier_score": metrics.brier_score,
    "reliability_curve": metrics.reliability_curve,
    "precision_at_k": metrics.precision_at_k,
    "ndcg_at_k": metrics.ndcg_at_k,
    "coverage": metrics.coverage,
    "psp": lambda *a, **k: metrics.propensity_scored_precision_at_k(
        *a, propensities=[0.2, 0.4, 0.6, 0.8], **k
    ),
}
METRICS = DECISIONS | SCORES
# What is a sum over entries, so that a weight of k is k copies of an entry.
BY_ENTRY = ["hamming_accuracy", "f1_micro", "f1_macro", "average_precision", "roc_auc",
           "multilabel_log_loss", "brier_score", "reliability_curve"]  # fmt: skip


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Targets with NaN, and probabilities with some ties."""
    rng = np.random.default_rng(0)
    Y = (rng.random((60, 4)) < 0.4).astype(float)
    scores = np.clip(0.5 * Y + rng.normal(0.25, 0.2, Y.shape), 0.01, 0.99).round(2)
    Y[rng.random(Y.shape) < 0.3] = np.nan
    return Y, scores


def answer(name: str, Y: Any, scores: np.ndarray, **keywords: Any) -> Any:
    given = (scores >= 0.5).astype(int) if name in DECISIONS else scores
    return METRICS[name](Y, given, **keywords)


def as_copies(
    Y: np.ndarray, scores: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As many copies of each row as its largest weight, its entries known in ``weight`` of them."""
    copies = [np.where(weight > c, Y, np.nan) for c in range(weight.max())]
    return np.vstack(copies), np.tile(scores, (len(copies), 1))


# ---------------------------------------------------------------------- codes


def codes_of(Y: np.ndarray) -> dict[str, Any]:
    coded = np.where(np.isnan(Y), -1, Y).astype(int)
    return {
        "array": coded,
        "int8": coded.astype(np.int8),
        "float": coded.astype(float),
        "list": coded.tolist(),
        "frame": pd.DataFrame(coded, columns=list("abcd")),
        "csr": sp.csr_matrix(coded),
    }


@pytest.mark.parametrize("form", ["array", "int8", "float", "list", "frame", "csr"])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_take_a_code(name: str, form: str, rows: Any) -> None:
    Y, scores = rows
    coded = answer(name, codes_of(Y)[form], scores, missing_label=-1)
    assert_array_equal(coded, answer(name, Y, scores))


@pytest.mark.parametrize("name", METRICS)
def test_an_unannounced_code_is_an_error_that_names_the_remedy(name: str, rows: Any) -> None:
    Y, scores = rows
    for form in ("array", "float", "frame", "csr"):
        with pytest.raises(ValueError, match="pass missing_label=-1"):
            answer(name, codes_of(Y)[form], scores)


def test_other_functions_take_a_code(rows: Any) -> None:
    Y, scores = rows
    coded = codes_of(Y)["array"]
    for objective in OBJECTIVES:
        cuts = tune_thresholds(coded, scores, objective=objective, missing_label=-1)
        assert_array_equal(cuts, tune_thresholds(Y, scores, objective=objective))
        value = threshold_score(coded, scores, cuts, objective=objective, missing_label=-1)
        assert value == threshold_score(Y, scores, cuts, objective=objective)
    by_code = fit_calibration(coded, scores, missing_label=-1)
    assert_array_equal(by_code.slope, fit_calibration(Y, scores).slope)
    assert_array_equal(
        metrics.label_propensities(coded, missing_label=-1), metrics.label_propensities(Y)
    )


@pytest.mark.parametrize("form", ["array", "float", "list", "frame", "csr"])
def test_splitters_take_a_code(form: str, rows: Any) -> None:
    Y, _ = rows
    coded = codes_of(Y)[form]
    for splitter, parameters in [
        (MultilabelStratifiedKFold, {"n_splits": 3}),
        (MultilabelStratifiedShuffleSplit, {"n_splits": 2, "test_size": 0.3, "random_state": 0}),
    ]:
        by_code = splitter(**parameters, missing_label=-1).split(Y, coded)
        for one, other in zip(by_code, splitter(**parameters).split(Y, Y), strict=True):
            assert_array_equal(one[1], other[1])
        with pytest.raises(ValueError, match="missing_label"):
            splitter(**parameters).split(Y, coded)


def test_format_of_coded_targets() -> None:
    Y = np.array([[1, -1], [0, 1]], dtype=np.int8)
    target_format = infer_format(Y, missing_label=-1)
    assert target_format.dtype == np.int8
    assert_array_equal(target_format.indicator(Y), [[1, np.nan], [0, 1]])
    one_label = np.array([[1], [-1], [0]])
    assert infer_format(one_label, missing_label=-1).kind == "multilabel"


# ---------------------------------------------------------------------- weights of entries


@pytest.mark.parametrize("name", METRICS)
def test_an_entry_of_weight_zero_is_missing(name: str, rows: Any) -> None:
    Y, scores = rows
    weight = (np.random.default_rng(1).random(Y.shape) < 0.7).astype(float)
    weight[:3] = 0
    hidden = np.where(weight > 0, Y, np.nan)
    assert_allclose(
        answer(name, Y, scores, sample_weight=weight), answer(name, hidden, scores), rtol=1e-12
    )


@pytest.mark.parametrize("name", METRICS)
def test_alike_weights_in_a_row_are_a_weight_of_the_row(name: str, rows: Any) -> None:
    Y, scores = rows
    weight = np.random.default_rng(1).integers(0, 4, len(Y))
    by_entry = np.repeat(weight[:, None], Y.shape[1], axis=1)
    assert_allclose(
        answer(name, Y, scores, sample_weight=by_entry),
        answer(name, Y, scores, sample_weight=weight),
        rtol=1e-12,
    )


@pytest.mark.parametrize("name", BY_ENTRY)
def test_a_weight_of_k_is_k_copies_of_the_entry(name: str, rows: Any) -> None:
    Y, scores = rows
    weight = np.random.default_rng(1).integers(0, 4, Y.shape)
    repeated = answer(name, *as_copies(Y, scores, weight))
    assert_allclose(answer(name, Y, scores, sample_weight=weight), repeated, rtol=1e-12)


def test_row_scores_weigh_a_row_by_the_mean_over_its_known_entries(rows: Any) -> None:
    Y, scores = rows
    weight = 0.5 + np.random.default_rng(1).random(Y.shape)
    of_row = np.nanmean(np.where(np.isnan(Y), np.nan, weight)[~np.isnan(Y).all(1)], axis=1)
    kept = ~np.isnan(Y).all(1)
    for name in ("f1_samples", "jaccard_samples", "subset_accuracy", "ndcg_at_k", "coverage"):
        assert_allclose(
            answer(name, Y, scores, sample_weight=weight),
            answer(name, Y[kept], scores[kept], sample_weight=of_row),
            rtol=1e-12,
        )


@pytest.mark.parametrize("per_label", [True, False])
@pytest.mark.parametrize("objective", ["f1_macro", "f1_micro", "accuracy", "cardinality"])
def test_thresholds_of_weighted_entries(objective: str, per_label: bool, rows: Any) -> None:
    Y, scores = rows
    weight = np.random.default_rng(2).integers(0, 3, Y.shape)
    options = {"objective": objective, "per_label": per_label}
    cuts = tune_thresholds(Y, scores, sample_weight=weight, **options)
    assert_allclose(cuts, tune_thresholds(*as_copies(Y, scores, weight), **options))
    if objective != "cardinality":  # its unit is a row, of which copies are more
        value = threshold_score(Y, scores, cuts, objective=objective, sample_weight=weight)
        copies = as_copies(Y, scores, weight)
        assert_allclose(value, threshold_score(*copies, cuts, objective=objective))


@pytest.mark.parametrize("objective", ["f1_samples", "jaccard", "subset_accuracy"])
def test_thresholds_of_row_objectives_under_weighted_entries(objective: str, rows: Any) -> None:
    """Alike weights in a row are the row's; and no other common threshold is better."""
    Y, scores = rows
    weight = np.random.default_rng(2).integers(0, 3, Y.shape)
    cuts = tune_thresholds(Y, scores, sample_weight=weight, objective=objective, per_label=False)
    values = [
        threshold_score(Y, scores, cut, objective=objective, sample_weight=weight)
        for cut in np.unique(scores)
    ]
    best = threshold_score(Y, scores, cuts, objective=objective, sample_weight=weight)
    assert best >= max(values) - 1e-12


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_calibration_of_weighted_entries(method: str, rows: Any) -> None:
    Y, scores = rows
    weight = np.random.default_rng(2).integers(0, 3, Y.shape)
    by_weight = fit_calibration(Y, scores, method=method, sample_weight=weight)
    by_copies = fit_calibration(*as_copies(Y, scores, weight), method=method)
    assert_allclose(by_weight.slope, by_copies.slope, rtol=1e-5)
    assert_allclose(by_weight.offset, by_copies.offset, rtol=1e-5, atol=1e-8)
