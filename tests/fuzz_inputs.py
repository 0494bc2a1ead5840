"""Every kind of X, of targets, of weights and of parameters with one another, in every classifier.

``python -m tests.fuzz_inputs`` goes on for ``FUZZ_S`` seconds (60), or ``FUZZ_N`` cases, from the
seed ``FUZZ_SEED``, and prints what went wrong. The tests do a short run. A case is right if the
answers are those of the same data as plain arrays, or if the error is one of ours or of
scikit-learn's that names an argument.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp
import torch
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.metrics import f1_micro, get_scorer
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV
from tests.small import plain

N, D, L = 24, 3, 3
NAMES = ["sea", "sun", "sand"]
Make = Callable[[np.ndarray], Any]

# ---------------------------------------------------------------------- forms


def doubled(A: np.ndarray) -> sp.csr_matrix:
    """CSR whose entries are sums of two halves, not in order."""
    rows, columns = np.nonzero(A)
    at = (np.r_[rows, rows][::-1], np.r_[columns, columns][::-1])
    coo = sp.coo_array((np.tile(A[rows, columns] / 2, 2)[::-1], at), A.shape)
    order = np.argsort(coo.row, kind="stable")
    indptr = np.r_[0, np.cumsum(np.bincount(coo.row, minlength=len(A)))]
    return sp.csr_matrix((coo.data[order], coo.col[order], indptr), A.shape)


def mapped(A: np.ndarray) -> np.ndarray:
    """A read-only memory map."""
    path = Path(_folder().name) / f"{A.dtype}.npy"  # X and targets have others
    np.save(path, A)
    return np.load(path, mmap_mode="r")


def unordered(A: np.ndarray) -> sp.csr_matrix:
    """CSR with indices of 64 bits, from right to left, and zeros that are stored."""
    rows, columns = A.shape
    indices = np.tile(np.arange(columns, dtype=np.int64)[::-1], rows)
    indptr = np.arange(rows + 1, dtype=np.int64) * columns
    M = sp.csr_matrix(A.shape, dtype=A.dtype)
    M.data, M.indices, M.indptr = np.ascontiguousarray(A[:, ::-1]).ravel(), indices, indptr
    return M


def strided(A: np.ndarray) -> np.ndarray:
    """Every second row and column of an array: nothing is contiguous."""
    return (
        np.repeat(np.repeat(A, 2, axis=0), 2, axis=-1)[::2, ::2]
        if A.ndim == 2
        else np.repeat(A, 2)[::2]
    )


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def frozen(A: np.ndarray) -> np.ndarray:
    """A read-only array."""
    A = A.copy()
    A.flags.writeable = False
    return A


def spoiled(value: Any, dtype: Any = np.float64) -> Make:
    """Put one value into an array."""

    def make(A: np.ndarray) -> np.ndarray:
        A = A.astype(dtype)
        A.flat[1] = value
        return A

    return make


DENSE: dict[str, Make] = {
    "array": lambda A: A,
    "list": lambda A: A.tolist(),
    "Fortran": np.asfortranarray,
    "negative strides": lambda A: A[::-1].copy()[::-1],
    "read-only": frozen,
    "memory map": mapped,
    "object": lambda A: A.astype(object),
    "strided": strided,
    "big-endian": lambda A: A.astype(A.dtype.newbyteorder(">")),
    "longdouble": lambda A: A.astype(np.longdouble),
    "tensor": lambda A: torch.tensor(A),
    "CSC": sp.csc_matrix,
    "DIA": sp.dia_array,
    "BSR": sp.bsr_matrix,
    "LIL": sp.lil_matrix,
    "DOK": sp.dok_array,
    "CSR of 64 bits, unordered": unordered,
}
X_GOOD: dict[str, Make] = DENSE | {
    "float32": lambda A: A.astype(np.float32),
    "float16": lambda A: A.astype(np.float16),
    "int": lambda A: A.astype(np.int16),
    "CSR": sp.csr_matrix,
    "CSR of ints": lambda A: sp.csr_matrix(A.astype(np.int8)),
    "CSR array": sp.csr_array,
    "CSR of sums": doubled,
    "COO": sp.coo_array,
    "frame": lambda A: pd.DataFrame(A, columns=list("abc")),
    "frame of numbers": lambda A: pd.DataFrame(A, columns=[2, 0, 1]),
    "frame of categories": lambda A: pd.DataFrame(A, columns=list("abc")).astype("category"),
    "sparse frame": lambda A: pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(A)),
    "mixed frame": lambda A: pd.DataFrame(A, columns=list("abc")).astype({"a": np.int8}),
    "nullable frame": lambda A: pd.DataFrame(A).astype("Float64"),
    "polars": lambda A: pl.DataFrame(A, schema=list("abc")),
}
X_BAD: dict[str, Make] = {
    "NaN": spoiled(np.nan),
    "infinity": spoiled(np.inf),
    "strings": spoiled("red", object),
    "complex": lambda A: A + 1j,
    "1-D": lambda A: A[:, 0],
    "3-D": lambda A: A[:, :, None],
    "no sample": lambda A: A[:0],
    "no feature": lambda A: A[:, :0],
    "NaN in CSR": lambda A: sp.csr_matrix(spoiled(np.nan)(A)),
    "infinity in CSC": lambda A: sp.csc_matrix(spoiled(np.inf)(A)),
    "complex CSR": lambda A: sp.csr_matrix(A + 1j),
    "None": spoiled(None, object),
    "mask": lambda A: np.ma.masked_array(A, A == 2),
    "pd.NA": lambda A: pd.DataFrame(A).astype("Float64").mask(A == 2),
    "null": lambda A: pl.DataFrame(spoiled(np.nan)(A), schema=list("abc")).fill_nan(None),
    "dates": lambda A: pd.DataFrame({"a": pd.date_range("2020", periods=len(A))}),
    "words": lambda A: np.where(A > 0, "yes", "no"),
    "dict": lambda A: dict(enumerate(A)),
    "a number": lambda A: 1.0,
    "iterator": lambda A: iter(A),
}
Y_GOOD: dict[str, Make] = DENSE | {
    "bool": lambda Y: Y == 1,
    "uint8": lambda Y: Y.astype(np.uint8),
    "float32": lambda Y: Y.astype(np.float32),
    "CSR": sp.csr_matrix,
    "CSR of sums": lambda Y: doubled(Y.astype(float)),
    "COO": sp.coo_array,
    "mask of none": lambda Y: np.ma.masked_array(Y),
    "float16": lambda Y: Y.astype(np.float16),
    "frame": lambda Y: pd.DataFrame(Y, columns=NAMES),
    "frame of tuples": lambda Y: pd.DataFrame(
        Y, columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)])
    ),
    "frame of numbers": lambda Y: pd.DataFrame(Y, columns=[2, 0, 1]),
    "frame of doubles": lambda Y: pd.DataFrame(Y, columns=["a", "a", "b"]),
    "nullable frame": lambda Y: pd.DataFrame(Y, columns=NAMES).astype("Int64"),
    "boolean frame": lambda Y: pd.DataFrame(Y == 1, columns=NAMES).astype("boolean"),
    "frame of categories": lambda Y: pd.DataFrame(Y, columns=NAMES).astype("category"),
    "sparse frame": lambda Y: pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(Y)),
    "mixed frame": lambda Y: pd.DataFrame(Y, columns=NAMES).astype({"sea": bool}),
    "polars": lambda Y: pl.DataFrame(Y, schema=NAMES),
}
Y_HOLED: dict[str, Make] = {
    "NaN": lambda Y: Y,
    "NaN in CSR": sp.csr_matrix,
    "pd.NA": lambda Y: pd.DataFrame(Y, columns=NAMES).astype("Float64"),
    "None": lambda Y: np.where(np.isnan(Y), None, Y),
    "mask": np.ma.masked_invalid,
    "null": lambda Y: pl.DataFrame(Y, schema=NAMES).fill_nan(None),
}
CLASSES: dict[str, Make] = {
    "strings": lambda y: y.astype(str),
    "list": lambda y: y.tolist(),
    "objects": lambda y: y,
    "StringDType": lambda y: y.astype(np.dtypes.StringDType()),
    "Series": pd.Series,
    "category": lambda y: pd.Series(y, dtype="category"),
    "string": lambda y: pd.Series(y, dtype="string"),
    "Categorical": pd.Categorical,
    "Index": pd.Index,
    "polars": lambda y: pl.Series(y.tolist()),
    "polars category": lambda y: pl.Series(y.tolist(), dtype=pl.Categorical),
}
NUMBERS: dict[str, Make] = {
    "int": lambda y: y,
    "float": lambda y: y.astype(float),
    "bool": lambda y: y == y.max(),
    "uint8": lambda y: y.astype(np.uint8),
    "negative strides": lambda y: y[::-1].copy()[::-1],
    "Series": pd.Series,
    "Int64": lambda y: pd.Series(y, dtype="Int64"),
    "category": lambda y: pd.Series(y, dtype="category"),
    "polars": pl.Series,
    "mask of none": np.ma.masked_array,
}
Y_BAD: dict[str, Make] = {
    "0 and 2": lambda Y: 2 * Y,
    "-1 and 1": lambda Y: 2 * Y - 1,
    "all missing": lambda Y: np.full(Y.shape, np.nan),
    "infinity": spoiled(np.inf),
    "label sets": lambda Y: [set(np.flatnonzero(row)) for row in Y],
    "Series of sets": lambda Y: pd.Series([set(np.flatnonzero(row)) for row in Y]),
    "lists of arrays": lambda Y: [np.flatnonzero(row) for row in Y],
    "words": lambda Y: np.where(Y, "yes", "no"),
    "a sample less": lambda Y: Y[1:],
    "no sample": lambda Y: Y[:0],
    "no label": lambda Y: Y[:, :0],
    "3-D": lambda Y: Y[:, :, None],
    "None": lambda Y: None,
    "a number": lambda Y: 1,
    "string with None": lambda Y: pd.Series([None, *["a", "b"] * 12][: len(Y)]),
    "object with None": lambda Y: np.array([None, *["a", "b"] * 12][: len(Y)], dtype=object),
    "pd.NA": lambda Y: pd.Series([pd.NA, *[0, 1] * 12][: len(Y)], dtype="Int64"),
    "words and numbers": lambda Y: np.array(["a", 1] * (len(Y) // 2), dtype=object),
    "real numbers": lambda Y: np.linspace(0, 1, len(Y)),
    "one class": lambda Y: ["a"] * len(Y),
    "dates": lambda Y: pd.Series(pd.date_range("2020", periods=len(Y))),
    "bytes": lambda Y: np.where(Y[:, 0], b"a", b"b"),
    "complex": lambda Y: Y + 0j,
    "complex CSR": lambda Y: sp.csr_matrix(Y + 0j),
    "iterator": lambda Y: iter(Y),
    "dict": lambda Y: dict(enumerate(Y)),
    "a frame of words": lambda Y: pd.DataFrame(np.where(Y, "yes", "no"), columns=NAMES),
    "frame of dates": lambda Y: pd.DataFrame({"a": pd.date_range("2020", periods=len(Y))}),
    "series of lists": lambda Y: pd.Series([np.flatnonzero(row).tolist() for row in Y]),
    "counts": lambda Y: Y * 3,
    "halves": lambda Y: Y / 2,
    "CSR of halves": lambda Y: sp.csr_matrix(Y / 2),
}
W_GOOD: dict[str, Make] = {
    "array": lambda w: w,
    "list": lambda w: w.tolist(),
    "float32": lambda w: w.astype(np.float32),
    "int": lambda w: w.astype(int),
    "negative strides": lambda w: w[::-1].copy()[::-1],
    "read-only": frozen,
    "Series": pd.Series,
    "nullable": lambda w: pd.Series(w, dtype="Float64"),
    "polars": pl.Series,
    "tensor": torch.tensor,
    "longdouble": lambda w: w.astype(np.longdouble),
    "big-endian": lambda w: w.astype(">f4"),
    "object": lambda w: w.astype(object),
    "entries": lambda w: np.tile(w[:, None], (1, L)),
    "entries as CSR": lambda w: sp.csr_matrix(np.tile(w[:, None], (1, L))),
    "entries as frame": lambda w: pd.DataFrame(np.tile(w[:, None], (1, L))),
}
W_BAD: dict[str, Make] = {
    "negative": lambda w: -w,
    "NaN": spoiled(np.nan),
    "infinity": spoiled(np.inf),
    "zero": lambda w: 0 * w,
    "a sample less": lambda w: w[1:],
    "words": lambda w: w.astype(str),
    "None": spoiled(None, object),
    "mask": lambda w: np.ma.masked_array(w, w == 2),
    "complex": lambda w: w + 1j,
    "dict": lambda w: dict(enumerate(w)),
    "word": lambda w: "balanced",
    "column": lambda w: w[:, None],
    "frame": lambda w: pd.DataFrame({"weight": w}),
    "3-D": lambda w: np.ones((N, L, 1)),
    "iterator": lambda w: iter(w),
    "too many": lambda w: np.full(N, 1e308),
    "dates": lambda w: pd.Series(pd.date_range("2020", periods=len(w))),
}
MATRICES = ["matrix", "holed", "coded"]
TARGETS: dict[str, dict[str, Make]] = {
    "matrix": Y_GOOD,
    "holed": Y_HOLED,
    # -1 where missing, which these forms do not hold.
    "coded": {n: f for n, f in Y_GOOD.items() if not re.search("bool|uint8|mixed", n)},
    "strings": CLASSES,
    "three strings": CLASSES,
    "numbers": NUMBERS,
    "three numbers": {n: f for n, f in NUMBERS.items() if n != "bool"},
}
#: Parameters with what they are for; those that a classifier does not have are left out.
PARAMETERS: dict[str, dict[str, Any]] = {
    "none": {},
    "threshold": {"threshold": 0.3},
    "thresholds": {"threshold": [0.2, 0.5, 0.7]},
    "named thresholds": {"threshold": pd.Series([0.2, 0.5, 0.7], index=NAMES)},
    "other thresholds": {"threshold": pd.Series([0.2, 0.5, 0.7], index=NAMES[::-1])},
    "thresholds by name": {"threshold": dict.fromkeys(NAMES, 0.5)},
    "threshold of NaN": {"threshold": [0.2, np.nan, 0.7]},
    "balanced": {"class_weight": "balanced"},
    "weight of a name": {"class_weight": {"sun": {1: 3.0}}},
    "weight of a number": {"class_weight": {1: {1: 3.0}}},
    "weights of classes": {"class_weight": {"no": 1.0, "yes": 2.0}},
    "C by label": {"C": [0.1, 1.0, 2.0]},
    "named C": {"C": pd.Series([0.1, 1.0, 2.0], index=NAMES)},
    "words for C": {"C": ["a", "b", "c"]},
    "C by cross-validation": {"C": "cv", "cv": 2},
    "code of infinity": {"missing_label": np.inf},
    "code of a word": {"missing_label": "?"},
    "short threshold": {"threshold": [0.2, 0.4]},
    "voting by name": {"weights": pd.Series([1.0, 2.0], index=["a", "b"])},
    "voting in another order": {"weights": pd.Series([1.0, 2.0], index=["b", "a"])},
}
HEADS = MultiLabelLogisticRegression(C=0.1)
MODELS: dict[str, Any] = {
    "logistic": MultiLabelLogisticRegression(),
    "nearest": NearestLabelSetClassifier(),
    "threshold": MultiLabelThresholdClassifierCV(HEADS, cv=2),
    "calibrated": MultiLabelCalibratedClassifierCV(HEADS, cv=2),
    "foreign": MultiLabelThresholdClassifierCV(OneVsRestClassifier(LogisticRegression()), cv=2),
    "vote": MultiLabelVotingClassifierCV([("a", HEADS), ("b", clone(HEADS))], cv=2),
    "mlp": plain(MultiLabelMLPClassifier, max_epochs=1, hidden_layer_sizes=(4,)),
    "contrastive": plain(ContrastiveMultiLabelClassifier, max_epochs=1, hidden_layer_sizes=(4,)),
    "C-GMVAE": plain(CGMVAEClassifier, max_epochs=1, hidden_layer_sizes=(4,)),
}

# ---------------------------------------------------------------------- cases


@dataclass(frozen=True)
class Case:
    """Names of the forms of X, targets and weights, of parameters and of a classifier."""

    model: str
    X: str
    target: str
    y: str
    weight: str
    parameters: str


def _cases(target: str) -> st.SearchStrategy[Case]:
    forms = Y_BAD if target == "bad" else TARGETS[target]
    return st.builds(
        Case,
        model=st.sampled_from(list(MODELS)),
        X=st.one_of(st.just("array"), st.sampled_from([*X_GOOD, *X_BAD])),
        target=st.just(target),
        y=st.sampled_from(list(forms)),
        weight=st.one_of(st.just("none"), st.sampled_from(["number", *W_GOOD, *W_BAD])),
        parameters=st.one_of(st.just("none"), st.sampled_from(list(PARAMETERS))),
    )


CASES = st.sampled_from([*TARGETS, *MATRICES, "bad"]).flatmap(_cases)


def _data(target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X of whole numbers, which every dtype holds; targets as a plain array; weights."""
    rng = np.random.default_rng(0)
    X = rng.integers(-2, 3, (N, D)).astype(np.float64)
    noisy = X + rng.normal(size=(N, D))
    w = rng.integers(0, 3, N).astype(np.float64)
    Y = (noisy > 0).astype(np.int64)
    if target in ("holed", "coded"):
        Y = np.where(rng.random(Y.shape) < 0.2, np.nan if target == "holed" else -1, Y)
    elif target == "strings":
        Y = np.array(["no", "yes"], dtype=object)[Y[:, 0]]
    elif target == "three strings":
        Y = np.array(["a", "b", "c"], dtype=object)[Y[:, 0] + Y[:, 1]]
    elif target == "numbers":
        Y = Y[:, 0] + 1
    elif target == "three numbers":
        Y = Y[:, 0] + Y[:, 1]
    return X, Y, w


def _model(case: Case) -> Any:
    model = clone(MODELS[case.model])
    known = model.get_params()
    wanted = PARAMETERS[case.parameters]
    if case.target == "coded":
        wanted = {"missing_label": -1} | wanted
        for name in known:
            if name.endswith("__missing_label"):
                wanted = {name: -1} | wanted
    return model.set_params(**{k: v for k, v in wanted.items() if k in known})


def _weights(case: Case, w: np.ndarray, form: str) -> Any:
    if form == "none":
        return None
    return 2.0 if form == "number" else ({**W_GOOD, **W_BAD})[form](w)


def _answers(model: Any, X: Any, y: Any, w: Any, names: list[str]) -> dict[str, Any]:
    """Fit, and ask all that can be asked."""
    model.fit(X, y, sample_weight=w)
    labels = model.predict(X)
    found = {"labels": labels, "score": model.score(X, y, w)}
    if hasattr(model, "predict_proba"):
        found["probabilities"] = model.predict_proba(X)
        assert np.isfinite(found["probabilities"]).all(), "silent NaN"
        weights = {} if w is None else {"sample_weight": w}
        code = getattr(model, "missing_label", np.nan)
        for name in names:
            found[name] = get_scorer(name, missing_label=code)(model, X, y, **weights)
    if np.ndim(labels) == 2 or np.asarray(labels).dtype.kind in "OU":
        found["f1_micro"] = f1_micro(
            y, labels, missing_label=getattr(model, "missing_label", np.nan)
        )
    if hasattr(model, "partial_fit"):
        more = {} if np.ndim(labels) == 2 else {"classes": model.classes_}
        model.partial_fit(X, y, sample_weight=w, **more)
        assert np.isfinite(model.predict_proba(X)).all(), "silent NaN after partial_fit"
    return found


SCORES = ["f1_macro", "neg_log_loss", "average_precision_macro", "precision_at_1"]
#: A word of an error that says what was wrong with which argument.
CLEAR = re.compile(
    r"\b(X|y|Y|y_true|y_pred|sample_weight|class_weight|threshold|missing_label|C|weights|classes|"
    r"labels?|samples?|targets?|features?|arrays?|DataFrame|data|cv|n_splits|NaN)\b", re.IGNORECASE
)  # fmt: skip
OURS = re.compile(r"/(sklearn|sklearn_mlcl)/")


def _is_clear(error: Exception) -> bool:
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    known = isinstance(error, ValueError | TypeError)
    return known and bool(OURS.search(last)) and bool(CLEAR.search(str(error)))


def complaint(case: Case) -> str | None:
    """Try a case; say what is wrong with the answers or the error."""
    X, Y, w = _data(case.target)
    forms = Y_BAD if case.target == "bad" else TARGETS[case.target]
    model = _model(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            given_X = (X_GOOD | X_BAD)[case.X](X)
            given = given_X, forms[case.y](Y), _weights(case, w, case.weight)
        except Exception as error:
            raise AssertionError(f"{case} cannot be made: {error}") from error
        try:
            found = _answers(model, *given, SCORES)
        except AssertionError as error:
            return f"{case}: {error}"
        except Exception as error:
            if not _is_clear(error) and case.model != "foreign":
                text = "".join(traceback.format_exception(error)[-3:])
                return f"{case}: {type(error).__name__} {error}\n{text}"
            return _refused_wrongly(case, error)
        if case.X in X_BAD or case.weight in W_BAD:
            return f"{case}: taken without a word"
        # Plain arrays have no names; and a number that is the name of a label is that label.
        by_name = case.parameters.startswith("weight of a")
        if case.target == "bad" or (by_name and case.target in MATRICES):
            return None
        plain_weight = (
            "none" if case.weight == "none" else "number" if case.weight == "number" else "array"
        )
        y = np.array(Y.tolist()) if Y.dtype == object else Y
        if sp.issparse(given_X) or case.X == "sparse frame":  # the linear part weighs more
            X = sp.csr_matrix(X)
        try:
            expected = _answers(_model(case), X, y, _weights(case, w, plain_weight), SCORES)
        except Exception as error:
            return f"{case}: taken, but plain arrays are refused: {error}"
    return _differing(case, found, expected)


def _refused_wrongly(case: Case, error: Exception) -> str | None:
    """Say so if nothing about the case is wrong."""
    bad = (
        case.X in X_BAD
        or case.weight in W_BAD
        or case.target == "bad"
        or case.parameters not in ("none", "threshold", "balanced")
        # Weights of entries are for label matrices, and for estimators that know them.
        or ("entries" in case.weight and (case.target not in MATRICES or case.model == "foreign"))
        # What it takes is for scikit-learn to say, and labels are never missing.
        or case.model == "foreign"
        or (case.model in META and "three" in case.target)
        or (case.parameters == "balanced" and case.model not in ("logistic",))
        # Columns 0, 1, 2 of the weights are those of labels 2, 0, 1 in another order.
        or (case.y == "frame of numbers" and case.weight == "entries as frame")
    )
    return None if bad else f"{case}: refused, {type(error).__name__} {error}"


META = ("threshold", "calibrated", "foreign", "vote")


def _dense(values: Any) -> np.ndarray:
    return values.toarray() if sp.issparse(values) else np.asarray(values)


def _differing(case: Case, found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    tolerance = 1e-2 if case.X == "float32" else 1e-4
    if case.X == "float32":  # ties, and where probabilities end, are those of the dtype
        expected = {name: expected[name] for name in expected if name in ("probabilities", "score")}
    for name, value in expected.items():
        got, value = _dense(found[name]), _dense(value)
        if got.shape != value.shape:
            return f"{case}: {name} has shape {got.shape}, expected {value.shape}"
        if name == "labels" and value.ndim == 1:  # True and False stand for other numbers
            got, value = (np.unique(a.astype(str), return_inverse=True)[1] for a in (got, value))
            equal = bool((got == value).all())
        else:
            near = np.isclose(
                got.astype(float), value.astype(float), atol=tolerance, equal_nan=True
            )
            equal = bool(near.all())
        if not equal:
            return f"{case}: {name} differs from that of plain arrays"
    return None


def run(n_cases: int, seed: int) -> list[str]:
    """Return what is wrong with so many cases."""
    found: list[str] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=n_cases,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(CASES)
    def one(case: Case) -> None:
        wrong = complaint(case)
        if wrong is not None:
            found.append(wrong)

    one()
    return found


def main() -> int:
    """Go on until the time or the number of cases is over; return how many were wrong."""
    seconds, n_most, seed = (
        int(os.environ.get(name, default))
        for name, default in (("FUZZ_S", 60), ("FUZZ_N", 10**7), ("FUZZ_SEED", 0))
    )
    end, n_cases, n_wrong = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end and n_cases < n_most:
        seed += 1
        for wrong in run(100, seed):
            n_wrong += 1
            print(wrong, flush=True)
        n_cases += 100
    print(f"{n_cases} cases, {n_wrong} wrong")
    return n_wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))
