"""Labels of few rows: the shift of their log-odds, and the one row that two models have seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.base import clone

from sklearn_mlcl import MultiLabelMLPClassifier, recipes
from sklearn_mlcl.heads.held_out import Blend
from sklearn_mlcl.heads.predictor import AffineHead, Predictor
from sklearn_mlcl.utils.fit_data import FitData, LabelStats
from tests.small import every_ensemble, small

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def rare_data(label_data: Rows) -> Rows:
    """Rows with one label that two of them show, one that a single row shows, and one that none
    but two lack."""
    X, Y = label_data
    few, single, many = np.zeros((3, len(Y), 1), dtype=Y.dtype)
    few[:2], single[5], many[2:] = 1, 1, 1
    return X, np.hstack([Y, few, single, many])


# ---------------------------------------------------------------- the shift


def predictor(
    counts: np.ndarray, pseudo_count: float, net: Any = None, linear: Any = None, share: float = 0.3
) -> Predictor:
    """A predictor whose net and regressions say the same of every sample."""

    def constant(log_odds: Any) -> AffineHead:
        log_odds = np.zeros(counts.shape[1]) if log_odds is None else np.asarray(log_odds)
        return AffineHead(np.zeros((len(log_odds), 1)), log_odds)

    return Predictor(
        torch.nn.Identity(), constant(net), counts, pseudo_count, counts,
        linear=constant(linear), blend=Blend(0.0, share),
    )  # fmt: skip


def shift_of(counts: np.ndarray, pseudo_count: float) -> np.ndarray:
    return predictor(counts, pseudo_count, share=0.0)(torch.zeros(1, 1).double()).numpy()[0]


def test_the_shift_by_hand() -> None:
    counts = np.array([[1, 2, 30, 0, 40, 98], [99, 98, 30, 40, 0, 2]])
    expected = [
        np.log(3) - np.log(101 / 99),
        np.log(2) - np.log(100 / 98),
        0,
        0,
        0,
        np.log(100 / 98) - np.log(2),
    ]
    assert_allclose(shift_of(counts, 2.0), expected, atol=1e-15)
    assert_array_equal(shift_of(counts, 0.0), 0)


@given(c=st.integers(1, 10**6), m=st.integers(1, 10**6), a=st.floats(0, 100), b=st.floats(0, 100))
def test_the_shift_is_odd_and_grows_with_the_count(c: int, m: int, a: float, b: float) -> None:
    forth, back = shift_of(np.array([[c, m], [m, c]]), a)
    assert_allclose(forth, -back, atol=1e-12)
    weak, strong = (shift_of(np.array([[c], [m]]), p)[0] for p in sorted((a, b)))
    # Towards one half, which an infinite pseudo-count would give.
    assert abs(weak) <= abs(strong) + 1e-12
    assert abs(strong) <= abs(np.log(m / c)) + 1e-9


# ---------------------------------------------------------------- counting


def test_samples_are_counted_whatever_they_weigh() -> None:
    def counts(Y: Any, weight: Any) -> np.ndarray:
        return LabelStats.of(FitData(np.zeros((4, 1)), Y, weight)).counts

    Y = np.array([[1, 0], [1, np.nan], [0, 1], [1, 1]])
    assert_array_equal(counts(Y, None), [[3, 2], [1, 1]])
    assert_array_equal(counts(Y, np.array([7.0, 0.1, 0.0, 2.0])), [[3, 1], [0, 1]])
    entries = np.array([[1, 1], [0, 1], [1, 0], [3, 0.5]])
    assert_array_equal(counts(Y, entries), [[2, 1], [1, 1]])
    known = np.nan_to_num(Y).astype(np.uint8)
    assert_array_equal(counts(sp.csr_array(known), None), counts(known, None))


def test_chunks_add_up_and_a_fit_counts_anew(rare_data: Rows) -> None:
    X, Y = rare_data
    clf = small(MultiLabelMLPClassifier)
    for part in (slice(0, 20), slice(20, None)):
        clf.partial_fit(X[part], Y[part])
    assert_array_equal(clf.label_counts_, [Y.sum(0), len(Y) - Y.sum(0)])
    clf.set_params(validation=None).fit(X, Y)
    assert_array_equal(clf.label_counts_, [Y.sum(0), len(Y) - Y.sum(0)])


# ---------------------------------------------------------------- one row


ONE = np.array([[1], [9]])


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(0.01, 0.99))
def test_of_one_sample_either_model_may_be_right(net: float, linear: float, share: float) -> None:
    got = predictor(ONE, 2.0, [net], [linear], share)(torch.zeros(1, 1).double()).numpy()
    p, q = expit(net), expit(linear)
    assert_allclose(expit(got - shift_of(ONE, 2.0)), [[p + q - p * q]], rtol=1e-9)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_with_one_model_there_is_no_other_that_may_be_right(share: float) -> None:
    got = predictor(ONE, 2.0, [-1.0], [2.0], share)(torch.zeros(1, 1).double()).numpy()
    assert_allclose(got - shift_of(ONE, 2.0), [[2.0 if share else -1.0]], atol=1e-12)


def test_either_stays_finite() -> None:
    part = predictor(np.array([[1, 1], [9, 9]]), 2.0, [-1e4, 1e4], [-1e4, 1e4]).float()
    answer = part(torch.zeros(1, 1))
    assert answer.isfinite().all() and answer.dtype == torch.float32


# ---------------------------------------------------------------- the estimators


@every_ensemble
def test_predictions_rise_by_the_shift(make: Any, rare_data: Rows) -> None:
    X, Y = rare_data
    clf = small(make, linear_weight=0.0).fit(X, Y)
    raised = clf.decision_function(X)
    plain = clf.set_params(net_params__pseudo_count=0).decision_function(X)
    shift = shift_of(clf.label_counts_, 2.0)
    assert (shift[-3:-1] > 0.6).all() and shift[-1] < -0.6
    assert_allclose(raised, plain + shift, atol=1e-12)
    assert_array_equal(plain, clone(clf).fit(X, Y).decision_function(X))


@every_ensemble
def test_of_one_row_either_model_may_be_right(make: Any, rare_data: Rows) -> None:
    X, Y = rare_data
    sparse = sp.csr_matrix(np.where(X > 0.5, X, 0.0))
    clf = small(make, validation=None).fit(sparse, Y)
    whole = clf.decision_function(sparse)
    shift = shift_of(clf.label_counts_, 2.0)
    net, linear = (
        clf.set_params(linear_weight=share).decision_function(sparse) - shift for share in (0, 1)
    )
    single = clf.label_counts_[0] == 1
    assert single.sum() == 1
    expected = 0.7 * net + 0.3 * linear
    expected[:, single] = logit(1 - (1 - expit(net)) * (1 - expit(linear)))[:, single]
    assert_allclose(whole, expected + shift, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["TWO_STAGE", "MSC", "PAL_COLLAPSE"])
def test_published_recipes_leave_rare_labels_alone(name: str) -> None:
    assert getattr(recipes, name)["net_params"]["pseudo_count"] == 0
