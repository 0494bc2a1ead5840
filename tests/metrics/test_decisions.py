"""Decision metrics against loops over entries, and against scikit-learn where it has the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn.metrics as skm
from sklearn.exceptions import UndefinedMetricWarning

from sklearn_mlcl import metrics

NAMES = (
    "f1_samples",
    "jaccard_samples",
    "subset_accuracy",
    "hamming_accuracy",
    "f1_micro",
    "f1_macro",
)
EXACT = {"rtol": 0, "atol": 1e-12}


def random_case(seed, n=25, L=6, missing=True):
    """Indicator matrix (NaN where unknown), decisions, weights; empty rows, an absent label."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, L)) < 0.35).astype(float)
    Z = (rng.random((n, L)) < 0.35).astype(int)
    Y[:3], Z[:2] = 0, 0
    Y[:, -1] = 0
    if missing:
        Y[rng.random((n, L)) < 0.2] = np.nan
        Y[5] = np.nan
    return Y, Z, rng.integers(0, 4, n) / 2


def _f1(tp, pred, pos):
    return 1.0 if pred + pos == 0 else 2 * tp / (pred + pos)


def _jaccard(tp, pred, pos):
    return 1.0 if pred + pos == 0 else tp / (pred + pos - tp)


def _exact(tp, pred, pos):
    return float(tp == pred == pos)


def _counts(pairs):
    tp = sum(w for y, z, w in pairs if y == 1 and z == 1)
    pred = sum(w for _, z, w in pairs if z == 1)
    pos = sum(w for y, _, w in pairs if y == 1)
    return tp, pred, pos


def oracle(name, Y, Z, w):
    """Every metric by loops over known entries."""
    n, L = Y.shape
    rows = [[(Y[i, j], Z[i, j], 1) for j in range(L) if not np.isnan(Y[i, j])] for i in range(n)]
    columns = [
        [(Y[i, j], Z[i, j], w[i]) for i in range(n) if not np.isnan(Y[i, j])] for j in range(L)
    ]
    entries = [entry for column in columns for entry in column]
    by_row = {"f1_samples": _f1, "jaccard_samples": _jaccard, "subset_accuracy": _exact}
    if name in by_row:
        used = [i for i in range(n) if rows[i]]
        total = sum(w[i] * by_row[name](*_counts(rows[i])) for i in used)
        return total / sum(w[i] for i in used)
    if name == "hamming_accuracy":
        return sum(v for y, z, v in entries if y == z) / sum(v for _, _, v in entries)
    if name == "f1_micro":
        return _f1(*_counts(entries))
    scores = [_f1(*_counts(c)) for c in columns if _counts(c)[2] > 0]
    return sum(scores) / len(scores)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_oracle(name, seed):
    Y, Z, w = random_case(seed)
    metric = getattr(metrics, name)
    np.testing.assert_allclose(metric(Y, Z, sample_weight=w), oracle(name, Y, Z, w), **EXACT)
    np.testing.assert_allclose(metric(Y, Z), oracle(name, Y, Z, np.ones(len(Y))), **EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_input_forms_agree(name):
    Y, Z, w = random_case(7)
    metric = getattr(metrics, name)
    value = metric(Y, Z, sample_weight=w)
    assert metric(sp.csr_array(Y), pd.DataFrame(Z), sample_weight=list(w)) == value


@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learn_on_complete_input(weighted):
    Y, Z, w = random_case(3, missing=False)
    Y = Y.astype(int)
    keywords = {"sample_weight": w if weighted else None}
    for empty in (0.0, 1.0):
        f1 = skm.f1_score(Y, Z, average="samples", zero_division=empty, **keywords)
        ours = metrics.f1_samples(Y, Z, empty_rows=empty, **keywords)
        np.testing.assert_allclose(ours, f1, **EXACT)
        jaccard = skm.jaccard_score(Y, Z, average="samples", zero_division=empty, **keywords)
        ours = metrics.jaccard_samples(Y, Z, empty_rows=empty, **keywords)
        np.testing.assert_allclose(ours, jaccard, **EXACT)
    expected = {
        "f1_micro": skm.f1_score(Y, Z, average="micro", **keywords),
        "f1_macro": skm.f1_score(Y[:, :-1], Z[:, :-1], average="macro", **keywords),
        "hamming_accuracy": 1 - skm.hamming_loss(Y, Z, **keywords),
        "subset_accuracy": skm.accuracy_score(Y, Z, **keywords),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(metrics, name)(Y, Z, **keywords), value, **EXACT)


def test_empty_rows_can_be_left_out():
    Y, Z = [[0, 0], [1, 0]], [[0, 0], [1, 1]]
    assert metrics.f1_samples(Y, Z, empty_rows=None) == pytest.approx(2 / 3)
    assert metrics.f1_samples(Y, Z) == pytest.approx(5 / 6)


@pytest.mark.parametrize("name", ["f1_micro", "f1_macro"])
def test_undefined_is_nan_with_a_warning(name):
    with pytest.warns(UndefinedMetricWarning, match=f"{name} is undefined"):
        assert np.isnan(getattr(metrics, name)(np.zeros((3, 2)), np.zeros((3, 2), int)))


@pytest.mark.parametrize(
    ("y_true", "y_pred", "weight", "message"),
    [
        ([[0, 2]], [[0, 1]], None, "y_true must hold 0, 1"),
        ([[0, 1]], [[0, 2]], None, "y_pred must hold 0, 1"),
        ([[0, 1]], [[0, np.nan]], None, "y_pred holds NaN"),
        ([[0, 1]], [[0, 1, 0]], None, "one shape"),
        ([[0, 1]], [[0, 1]], [0.0], "zero everywhere"),
    ],
)
def test_bad_input(y_true, y_pred, weight, message):
    with pytest.raises(ValueError, match=message):
        metrics.f1_samples(y_true, y_pred, sample_weight=weight)
