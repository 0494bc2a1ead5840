"""What the solvers take and refuse, at the bounds; read-only and large inputs."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_mlcl.solvers import _design, fit_logistic, fit_logistic_path, select_C

from .oracles import problem

X, Y = problem(12, 2, 2)
INFINITE = np.where(np.arange(24).reshape(12, 2) == 5, np.inf, X)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"X": INFINITE}, "X"),
        ({"X": sp.csr_array(INFINITE)}, "X"),
        ({"X": X[:, :0]}, "X"),
        ({"X": X[None]}, "X"),
        ({"Y": Y - 1}, "Y"),
        ({"Y": Y / 2}, "Y"),
        ({"Y": np.where(Y == 1, np.inf, Y)}, "Y"),
        ({"Y": sp.csr_array(-Y)}, "Y"),
        ({"Y": Y[:, :, None]}, "Y"),
        ({"Y": Y[:11]}, "Y"),
        ({"C": -1.0}, "C"),
        ({"C": np.inf}, "C"),
        ({"C": np.nan}, "C"),
        ({"C": [1.0, 0.0]}, "C"),
        ({"C": [1.0, 1.0, 1.0]}, "C"),
        ({"C": [[1.0, 1.0]]}, "C"),
        ({"sample_weight": np.full(12, np.nan)}, "sample_weight"),
        ({"sample_weight": np.full(12, np.inf)}, "sample_weight"),
        ({"sample_weight": np.linspace(-1e-9, 1, 12)}, "sample_weight"),
        ({"sample_weight": np.ones((12, 3))}, "sample_weight"),
        ({"init": (np.zeros((2, 3)), np.zeros(2))}, "init"),
        ({"init": (np.zeros((2, 2)), np.zeros(1))}, "init"),
        ({"init": (np.zeros((2, 2)), np.zeros((2, 1)))}, "init"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_its_name(changed, named):
    with pytest.raises(ValueError, match=named):
        fit_logistic(**({"X": X, "Y": Y} | changed))


def test_what_is_just_within_bounds_is_taken():
    expected = fit_logistic(X, Y)
    for changed in (
        {"C": [1.0, 1.0]},
        {"C": np.float32(1)},
        {"sample_weight": np.ones(12)},
        {"sample_weight": np.ones((12, 2))},
        {"init": (np.zeros((2, 2)), np.zeros(2))},
        {"Y": Y.astype(bool)},
    ):
        got = fit_logistic(**({"X": X, "Y": Y} | changed))
        np.testing.assert_allclose(got.coef, expected.coef, atol=1e-8)
    one = fit_logistic(X[:1], Y[:1, :1])
    np.testing.assert_allclose(one.intercept, np.log(1.5 / 0.5))


def test_read_only_memory_is_left_alone():
    frozen = X.copy(), Y.copy()
    for part in frozen:
        part.flags.writeable = False
    np.testing.assert_array_equal(fit_logistic(*frozen).coef, fit_logistic(X, Y).coef)


@pytest.mark.parametrize("entries", [1, 12, 30, 2**20])
def test_blocks_of_the_reader_change_nothing(monkeypatch, entries):
    missing = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
    wide, weight = np.tile(missing, 3), np.random.default_rng(1).random((12, 6))
    expected = fit_logistic(X, wide, sample_weight=weight)
    monkeypatch.setattr(_design, "BLOCK_ENTRIES", entries)
    got = fit_logistic(X, wide, sample_weight=weight)
    np.testing.assert_allclose(got.coef, expected.coef, atol=1e-10)
    with pytest.raises(ValueError, match="Y"):
        fit_logistic(X, np.column_stack([wide, np.full(12, 2.0)]))


def test_a_path_and_a_grid_refuse_what_one_fit_refuses():
    for bad in ([], [1.0, -1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="C"):
            fit_logistic_path(X, Y, bad)
        with pytest.raises(ValueError, match="C"):
            select_C(X, Y, bad)
