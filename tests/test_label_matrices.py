"""The one reader of label matrices, the one check of weights, and the shared descriptions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl.utils.answers import infer_format
from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.fit_data import row_weights
from sklearn_mlcl.utils.targets import as_label_matrix, check_indicator_values, missing_as_nan
from sklearn_mlcl.utils.topk import largest_of_rows, top_labels, top_values
from sklearn_mlcl.utils.validation import check_scores, check_weights, positives_and_known

Y = (np.random.default_rng(0).random((40, 5)) < 0.3).astype(np.int64)
MISSING = np.random.default_rng(1).random(Y.shape) < 0.2
WITH_NAN = np.where(MISSING, np.nan, Y)


def explicit_zeros(Y: np.ndarray) -> sp.csr_matrix:
    n, L = Y.shape
    return sp.csr_matrix((Y.ravel(), np.tile(np.arange(L), n), np.arange(0, n * L + 1, L)), Y.shape)


COMPLETE = {
    "bool": lambda Y: Y == 1,
    "float32": lambda Y: Y.astype(np.float32),
    "uint8": lambda Y: Y.astype(np.uint8),
    "object": lambda Y: Y.astype(object),
    "list": lambda Y: Y.tolist(),
    "frame": pd.DataFrame,
    "nullable frame": lambda Y: pd.DataFrame(Y).astype("Int64"),
    "sparse frame": lambda Y: pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(Y)),
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc_matrix": sp.csc_matrix,
    "coo_array": sp.coo_array,
    "explicit zeros": explicit_zeros,
}
HOLED = {
    "NaN": lambda Y: Y,
    "pd.NA": lambda Y: pd.DataFrame(Y).astype("Float64"),
    "None": lambda Y: np.where(np.isnan(Y), None, Y),
    "mask": np.ma.masked_invalid,
    "CSR": sp.csr_matrix,
}


def test_a_code_is_that_of_summed_duplicates() -> None:
    halves = sp.csr_matrix((np.full(4, -0.5), [0, 0, 1, 1], [0, 2, 4]), (2, 2))
    assert_array_equal(dense(as_label_matrix(halves, -1)), [[np.nan, 0], [0, np.nan]])


def dense(Y: Any) -> np.ndarray:
    return Y.toarray() if sp.issparse(Y) else Y


@pytest.mark.parametrize("form", COMPLETE)
def test_every_form_is_read_alike_and_left_alone(form: str) -> None:
    given = COMPLETE[form](Y)
    before = given.copy()
    read = as_label_matrix(given)
    assert_array_equal(dense(read), Y)
    assert sp.issparse(read) == sp.issparse(given) and read.dtype.kind in "buif"
    assert not sp.issparse(read) or read.data.all()
    kept = infer_format(given).indicator(given)
    assert_array_equal(dense(kept), Y == 1)
    assert sp.issparse(kept) == sp.issparse(given) and kept.dtype == bool
    if sp.issparse(given):
        assert_array_equal(given.toarray(), before.toarray())
        assert given.nnz == before.nnz


@pytest.mark.parametrize("form", HOLED)
def test_every_mark_of_a_missing_label_is_nan(form: str) -> None:
    given = HOLED[form](WITH_NAN)
    assert_array_equal(dense(as_label_matrix(given)), WITH_NAN)
    kept = infer_format(given).indicator(given)
    assert_array_equal(kept, WITH_NAN.astype(np.float32), strict=True)
    coded = np.where(MISSING, -1, Y)
    assert_array_equal(as_label_matrix(coded, -1), WITH_NAN)
    positive, known = positives_and_known(HOLED[form](WITH_NAN))
    assert_array_equal(positive, WITH_NAN == 1)
    assert_array_equal(known, ~MISSING)


def test_classes_are_kept_as_booleans() -> None:
    two, three = np.array([3, 5, 3]), np.array(["a", "c", "b"])
    assert_array_equal(infer_format(two).indicator(two), two[:, None] == 5, strict=True)
    expected = three[:, None] == np.array(["a", "b", "c"])
    assert_array_equal(infer_format(three).indicator(three), expected, strict=True)


def test_nan_is_missing_beside_a_code() -> None:
    Y = np.array([[1.0, np.nan], [-1.0, 0.0]])
    assert_array_equal(np.isnan(missing_as_nan(Y, -1)), [[False, True], [True, False]])
    assert missing_as_nan(Y) is Y
    assert np.isnan(missing_as_nan(sp.csr_matrix(Y), -1).toarray()).sum() == 2


@pytest.mark.parametrize("code", [0, 1, True, np.inf, "-1", None])
def test_a_code_is_no_label(code: Any) -> None:
    with pytest.raises(ValueError, match="missing_label must be NaN or a finite number other"):
        missing_as_nan(Y, code)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (2 * Y, r"y must hold 0, 1 .* got also \[2.0\]. If 2 marks missing labels, pass missing"),
        (sp.csr_matrix(3 * Y), r"got also \[3.0\]"),
        (Y + 0.5 * (np.arange(5) > 2), r"got also \[0.5, 1.5\]\.$"),
        ([["a", "b"], ["c", "d"]], "MultiLabelBinarizer"),
        ([("a",), ("b", "c"), ()], "MultiLabelBinarizer"),
        ([{1}, {2}], "MultiLabelBinarizer"),
        (np.zeros((3, 2, 2)), r"must have shape .* got \(3, 2, 2\)"),
        (np.zeros(3), r"must have shape .* got \(3,\)"),
        (np.zeros((3, 0)), r"must have shape .* got \(3, 0\)"),
    ],
)
def test_what_is_no_label_matrix_is_named(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_label_matrix(y)


def test_tensors_are_checked_where_they_are() -> None:
    check_indicator_values(torch.from_numpy(WITH_NAN))
    with pytest.raises(ValueError, match=r"Y must hold 0, 1 .* got also \[7.0\]"):
        check_indicator_values(torch.full((3, 2), 7), "Y")
    weight = torch.rand(40, 5, dtype=torch.float32)
    assert torch.equal(check_weights(weight, 40, 5, tensors=True), weight.double())
    assert_array_equal(check_weights(weight, 40, 5), weight.double().numpy())


def test_weights_of_one_label_are_weights_of_samples() -> None:
    assert check_weights(None, 3, 1) is None
    assert check_weights([[1], [0], [2]], 3, 1).shape == (3,)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), r"shape \(40,\) or \(40, 5\), got \(3,\)"),
        (np.ones((40, 1)), r"got \(40, 1\)"),
        (-np.ones(40), "finite and not negative"),
        (np.full((40, 5), np.nan), "finite and not negative"),
        (torch.full((40,), torch.inf), "finite and not negative"),
        (np.zeros((40, 5)), "zero everywhere"),
    ],
)
def test_bad_weights_are_named(weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"sample_weight .*{message}"):
        check_weights(weight, 40, 5)


def test_entries_of_zero_weight_are_missing_and_samples_of_zero_weight_are_gone() -> None:
    weight = np.random.default_rng(2).integers(0, 3, Y.shape).astype(float)
    weight[3] = 0
    scores = np.random.default_rng(3).random(Y.shape)
    entries = check_scores(WITH_NAN, scores, weight)
    kept, known = weight.any(axis=1), ~MISSING & (weight > 0)
    assert_array_equal(entries.known_mask(), known[kept])
    assert_array_equal(entries.entry_weight(), (weight * known)[kept])
    by_row = row_weights(np.where(weight > 0, WITH_NAN, np.nan), weight)
    assert by_row is not None
    assert_allclose(entries.row_weight(), by_row[kept])
    some = entries.take(slice(5, 20), slice(1, 4))
    for label, (y, s, w) in enumerate(some.columns()):
        rows = some.known_mask()[:, label]
        assert_array_equal(y, some.positive[rows, label])
        assert_array_equal(s, some.values[rows, label])
        assert_array_equal(w, some.entry_weight()[rows, label])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_k_largest_with_ties_to_the_smaller_label(k: int) -> None:
    scores = np.random.default_rng(4).integers(0, 4, (50, 5)).astype(float)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert_array_equal(top_labels(scores, k), order)
    assert_array_equal(top_values(scores, k), np.take_along_axis(scores, order, axis=1))
    found = largest_of_rows(scores, k)
    assert_array_equal(found.indices.reshape(-1, k), np.sort(order, axis=1))
    assert_array_equal(found.toarray()[found.toarray() > 0], scores[found.toarray() > 0])


def test_a_mark_without_a_source_stays() -> None:
    def source(x: Any) -> None:
        """Take x.

        Parameters
        ----------
        x : int
            A number.
        """

    @document(source)
    def marked(x: Any, y: Any) -> None:
        """Take x and y.

        <x>
        <y>
        """

    assert marked.__doc__ == "Take x and y.\n\nx : int\n    A number.\n<y>"
