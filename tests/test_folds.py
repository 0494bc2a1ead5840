"""What members hold out: groups and equal samples together, and no label without samples."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl.model_selection._splitters import (
    Folds,
    common_share,
    joined_groups,
    member_folds,
    no_folds,
    unit_labels,
)
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.samples import MemmapView

N, N_FOLDS = 60, 5


def few_values(seed: int, n: int = N) -> np.ndarray:
    """Samples of which some are equal."""
    return np.random.default_rng(seed).integers(0, 3, (n, 3)).astype(np.float64)


def labels(seed: int, share: float = 0.3, n: int = N) -> np.ndarray:
    """Labels of which some are rare and some frequent."""
    rng = np.random.default_rng(seed)
    return (rng.random((n, 6)) < [0.02, 0.05, share, 0.5, 0.95, 0.98]).astype(np.float64)


def linked(X: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Slow: give two samples that hang together the smaller of their numbers until none changes."""
    number = np.arange(len(X))
    while True:
        before = number.copy()
        for i, j in combinations(range(len(X)), 2):
            if groups[i] == groups[j] or (X[i] == X[j]).all():
                number[i] = number[j] = min(number[i], number[j])
        if (number == before).all():
            return number


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


@pytest.mark.parametrize("seed", range(3))
def test_groups_and_equal_samples_hang_together(seed: int) -> None:
    X = few_values(seed, 30)
    groups = np.random.default_rng(seed).integers(0, 25, 30)
    found = joined_groups(X, groups)
    assert same_partition(found, linked(X, groups))
    assert set(found) == set(range(found.max() + 1))
    # Numbers may have gaps, where samples of zero weight were dropped.
    assert same_partition(joined_groups(X, 1000 * groups + 7), found)


def test_samples_are_equal_in_every_form() -> None:
    X = few_values(0)
    expected = joined_groups(X, None)
    assert same_partition(expected, np.unique(X, axis=0, return_inverse=True)[1])
    assert list(dict.fromkeys(expected)) == list(range(expected.max() + 1))
    negative_zeros = np.where(X == 0, -0.0, X)
    negative_zeros[::2] = X[::2]
    stored = sp.csr_matrix(X)
    # A zero that is stored, an entry in two parts, and columns in another order.
    untidy = sp.csr_matrix(
        (
            np.r_[0.0, X[0][::-1] / 2, X[0] / 2, stored.data[stored.indptr[1] :]],
            np.r_[1, [2, 1, 0], [0, 1, 2], stored.indices[stored.indptr[1] :]],
            np.r_[0, stored.indptr[1:] - stored.indptr[1] + 7],
        ),
        shape=X.shape,
    )
    forms: list[Any] = [negative_zeros, X.astype(np.float32), np.asfortranarray(X)]
    for form in [*forms, X[:, ::-1], stored, untidy, MemmapView(X)]:
        assert (joined_groups(form, None) == expected).all()


def test_labels_of_a_group_are_those_of_its_samples() -> None:
    Y = labels(0)
    Y[np.random.default_rng(1).random(Y.shape) < 0.2] = np.nan
    group = np.random.default_rng(2).integers(0, 12, N)
    expected = [(Y[group == g] == 1).any(axis=0) for g in range(12)]
    assert (unit_labels(Y, group).toarray() == np.stack(expected)).all()


def lost_labels(folds: Folds, Y: np.ndarray) -> int:
    """Count members and labels without a positive, or a negative, though there is one."""
    lost = 0
    for k in range(max(folds.n_folds, 1)):
        for value in (0, 1):
            there = [(part == value).any(axis=0) for part in (Y, Y[folds.learnt(k)])]
            lost += int((there[0] & ~there[1]).sum())
    return lost


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans(), st.booleans())
def test_folds_keep_groups_whole_and_labels_alive(
    seed: int, missing: bool, sparse: bool, shared: bool
) -> None:
    rng = np.random.default_rng(seed)
    X, Y = few_values(seed), labels(seed)
    if missing and not sparse:
        Y[rng.random(Y.shape) < 0.8] = np.nan
    groups = rng.integers(0, 40, N)
    data = FitData(X, sp.csr_array(Y) if sparse else Y, None, groups)
    folds = common_share(data, 0.3, seed) if shared else member_folds(data, N_FOLDS, seed)
    group = joined_groups(X, groups)
    for g in np.unique(group):
        assert len(np.unique(folds.of_sample[group == g])) == 1
    assert lost_labels(folds, Y) == 0
    assert folds.n_folds in (0, 1 if shared else N_FOLDS)
    assert set(folds.of_sample) - {-1} == set(range(folds.n_folds))


def test_only_samples_that_a_label_needs_join_no_fold() -> None:
    X = np.arange(N, dtype=np.float64)[:, None]
    Y = np.zeros((N, 3))
    Y[7, 0] = 1  # a single positive
    Y[:, 1] = 1
    Y[11, 1] = 0  # a single negative
    Y[::2, 2] = 1
    for data in (FitData(X, Y), FitData(X, sp.csr_array(Y))):
        folds = member_folds(data, N_FOLDS, seed=0)
        assert np.flatnonzero(folds.of_sample == -1).tolist() == [7, 11]
        assert (np.bincount(folds.of_sample[folds.judged]) >= N // N_FOLDS - 2).all()
    # A missing label is no negative: the two that are known are both needed.
    Y[:, 2] = np.nan
    Y[[3, 4], 2] = 0, 1
    of_sample = member_folds(FitData(X, Y), N_FOLDS, seed=0).of_sample
    assert np.flatnonzero(of_sample == -1).tolist() == [3, 4, 7, 11]


def test_folds_partition_the_samples_and_follow_the_seed() -> None:
    data = FitData(np.arange(N, dtype=np.float64)[:, None], np.zeros((N, 2)))
    folds = member_folds(data, N_FOLDS, seed=0)
    assert np.bincount(folds.of_sample).tolist() == [N // N_FOLDS] * N_FOLDS
    assert folds.by_member
    for k in range(N_FOLDS):
        both = np.r_[folds.learnt(k), folds.held_out(k)]
        assert sorted(both) == list(range(N))
    assert (member_folds(data, N_FOLDS, seed=0).of_sample == folds.of_sample).all()
    assert (member_folds(data, N_FOLDS, seed=1).of_sample != folds.of_sample).any()


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_common_share_has_its_size(share: float) -> None:
    data = FitData(np.arange(N, dtype=np.float64)[:, None], labels(0)[:, 2:4])
    folds = common_share(data, share, seed=0)
    assert not folds.by_member
    assert len(folds.held_out(0)) == len(folds.judged) == share * N


@pytest.mark.parametrize("n", [1, 2, N_FOLDS - 1])
def test_fewer_groups_than_folds_hold_nothing_out(n: int) -> None:
    X, Y = np.arange(N)[:, None] % n + 0.0, labels(0)
    folds = member_folds(FitData(X, Y), N_FOLDS, seed=0)
    assert folds.n_folds == 0
    assert len(folds.judged) == 0
    assert (folds.learnt(0) == np.arange(N)).all()
    assert (no_folds(N).of_sample == folds.of_sample).all()
    if n == 1:
        assert common_share(FitData(X, Y), 0.5, seed=0).n_folds == 0
