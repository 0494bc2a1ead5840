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
from sklearn_mlcl.heads.label_prior import RareLabels, either, label_counts

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier, recipes

SMALL: dict[str, Any] = {"n_estimators": 1, "hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}  # fmt: skip
NETS = [ContrastiveMultiLabelClassifier(**SMALL), MultiLabelMLPClassifier(**SMALL)]
every_net = pytest.mark.parametrize("estimator", NETS, ids=lambda e: type(e).__name__)

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


def test_the_shift_by_hand() -> None:
    counts = np.array([[1, 2, 30, 0, 40, 98], [99, 98, 30, 40, 0, 2]])
    rare = RareLabels.of(counts, 2.0, 0.3)
    expected = [
        np.log(3) - np.log(101 / 99),
        np.log(2) - np.log(100 / 98),
        0,
        0,
        0,
        np.log(100 / 98) - np.log(2),
    ]
    assert_allclose(rare.shift, expected, atol=1e-15)
    assert_array_equal(rare.single, [True, False, False, False, False, False])
    for share in (0.0, 1.0):  # with one model there is no other that may be right
        assert not RareLabels.of(counts, 2.0, share).single.any()


@given(c=st.integers(1, 10**6), m=st.integers(1, 10**6), a=st.floats(0, 100), b=st.floats(0, 100))
def test_the_shift_is_odd_and_grows_with_the_prior(c: int, m: int, a: float, b: float) -> None:
    (forth, back) = RareLabels.of(np.array([[c, m], [m, c]]), a, 0.3).shift
    assert_allclose(forth, -back, atol=1e-12)
    low, high = sorted((a, b))
    weak, strong = (
        RareLabels.of(np.array([[c], [m]]), prior, 0.3).shift[0] for prior in (low, high)
    )
    # Towards one half, which a prior of all the rows in the world would give.
    assert abs(weak) <= abs(strong) + 1e-12
    assert abs(strong) <= abs(np.log(m / c)) + 1e-9


def test_a_prior_of_nothing_does_nothing() -> None:
    rare = RareLabels.of(np.array([[1, 2], [9, 8]]), 0.0, 0.3)
    assert_array_equal(rare.shift, 0)
    assert not rare.single.any()


# ---------------------------------------------------------------- counting


def test_rows_are_counted_whatever_they_weigh() -> None:
    Y = np.array([[1, 0], [1, np.nan], [0, 1], [1, 1]])
    assert_array_equal(label_counts(Y, None), [[3, 2], [1, 1]])
    assert_array_equal(label_counts(Y, np.array([7.0, 0.1, 0.0, 2.0])), [[3, 1], [0, 1]])
    cells = np.array([[1, 1], [0, 1], [1, 0], [3, 0.5]])
    assert_array_equal(label_counts(Y, cells), [[2, 1], [1, 1]])
    known = np.nan_to_num(Y).astype(np.uint8)
    assert_array_equal(label_counts(sp.csr_array(known), None), label_counts(known, None))


def test_chunks_add_up_and_a_fit_counts_anew(rare_data: Rows) -> None:
    X, Y = rare_data
    clf = clone(NETS[1])
    for part in (slice(0, 20), slice(20, None)):
        clf.partial_fit(X[part], Y[part])
    assert_array_equal(clf.label_counts_, [Y.sum(0), len(Y) - Y.sum(0)])
    clf.fit(X, Y)
    assert_array_equal(clf.label_counts_, [Y.sum(0), len(Y) - Y.sum(0)])


# ---------------------------------------------------------------- one row


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_either_is_a_probability_that_one_of_two_is_right(first: float, second: float) -> None:
    p, q = expit(first), expit(second)
    got = either(np.array([[first]]), np.array([[second]]))
    assert_allclose(expit(got), p + q - p * q, rtol=1e-9)


def test_either_stays_finite() -> None:
    ends = np.array([[-1e4, 1e4]], dtype=np.float32)
    assert np.isfinite(either(ends, ends)).all()
    assert either(ends, ends).dtype == np.float32


# ---------------------------------------------------------------- the estimators


@every_net
def test_predictions_rise_by_the_shift(estimator: Any, rare_data: Rows) -> None:
    X, Y = rare_data
    clf = clone(estimator).fit(X, Y)
    raised = clf.decision_function(X)
    plain = clf.set_params(net_params__pseudo_count=0).decision_function(X)
    shift = RareLabels.of(clf.label_counts_, 2.0, 0.3).shift
    assert (shift[-3:-1] > 0.6).all() and shift[-1] < -0.6
    assert_allclose(raised, plain + shift, atol=1e-12)
    assert_array_equal(plain, clone(clf).fit(X, Y).decision_function(X))


@every_net
def test_of_one_row_either_model_may_be_right(estimator: Any, rare_data: Rows) -> None:
    X, Y = rare_data
    sparse = sp.csr_matrix(np.where(X > 0.5, X, 0.0))
    clf = clone(estimator).fit(sparse, Y)
    whole = clf.decision_function(sparse)
    shift = RareLabels.of(clf.label_counts_, 2.0, 0.3).shift
    net, linear = (
        clf.set_params(linear_weight=share).decision_function(sparse) - shift for share in (0, 1)
    )
    single = clf.label_counts_[0] == 1
    assert single.sum() == 1
    expected = 0.7 * net + 0.3 * linear
    expected[:, single] = logit(1 - (1 - expit(net)) * (1 - expit(linear)))[:, single]
    assert_allclose(whole, expected + shift, rtol=1e-6, atol=1e-8)


@every_net
def test_the_graph_does_the_same(estimator: Any, rare_data: Rows) -> None:
    X, Y = rare_data
    X = np.where(X > 0.5, X, 0.0).astype(np.float32)
    clf = clone(estimator).fit(sp.csr_matrix(X), Y)
    with torch.no_grad():
        logits = clf._logits_graph().eval()(torch.from_numpy(X)).numpy()
    assert_allclose(logits, clf.decision_function(X), rtol=1e-4, atol=1e-4)


def test_published_recipes_leave_rare_labels_alone() -> None:
    for recipe in (recipes.TWO_STAGE, recipes.MSC_FINETUNED, recipes.PAL_COLLAPSE):
        assert recipe["prior_count"] == 0


@every_net
def test_a_negative_prior_is_refused(estimator: Any, rare_data: Rows) -> None:
    with pytest.raises(ValueError, match="'prior_count' parameter"):
        clone(estimator).set_params(net_params__pseudo_count=-1.0).fit(*rare_data)
