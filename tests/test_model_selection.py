"""Iterative stratification against a slow walk of the paper's algorithm, and as a splitter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ShuffleSplit,
    check_cv,
    cross_val_predict,
    cross_val_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier

from sklearn_mlcl.model_selection import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit


def random_labels(n, L, seed, skew=1.5):
    """Labels of very different frequency, some rows without any."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(size=(n, L)) < 0.6 * rng.uniform(size=L) ** skew).astype(np.int64)


def folds_of(splitter, Y):
    fold_of = np.full(Y.shape[0], -1)
    for fold, (train, test) in enumerate(splitter.split(np.zeros((Y.shape[0], 1)), Y)):
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(Y.shape[0]))
        assert (fold_of[test] == -1).all()
        fold_of[test] = fold
    assert (fold_of >= 0).all()
    return fold_of


def spread(folds):
    """The same folds, the i-th of m rows of a fold at (i + 1/2) / m of the way."""
    seats = [((i + 0.5) / folds.count(f), f) for f in set(folds) for i in range(folds.count(f))]
    return [fold for _, fold in sorted(seats)]


def walk(Y, k):
    """Sechidis et al., Algorithm 1, one row at a time, with full folds left out."""
    n, L = Y.shape
    room = [n // k + (fold < n % k) for fold in range(k)]
    need = [[Y[:, label].sum() for _ in range(k)] for label in range(L)]  # times k
    order = sorted(range(n), key=lambda i: Y[i].sum())
    fold_of = {}

    def choose_folds(n_rows, wanted):
        chosen = []
        for _ in range(n_rows):
            fold = max((f for f in range(k) if room[f]), key=lambda f: (wanted[f], room[f], -f))
            chosen.append(fold)
            room[fold] -= 1
            wanted[fold] -= k
        return chosen

    def place(rows, folds):
        for i, fold in zip(rows, spread(folds), strict=True):
            fold_of[i] = fold
            for label in np.flatnonzero(Y[i]):
                need[label][fold] -= k

    while True:
        n_open = [sum(Y[i, label] for i in range(n) if i not in fold_of) for label in range(L)]
        if not any(n_open):
            break
        label = min((count, label) for label, count in enumerate(n_open) if count)[1]
        rows = [i for i in order if i not in fold_of and Y[i, label]]
        place(rows, choose_folds(len(rows), list(need[label])))
    rows = [i for i in order if i not in fold_of]
    place(rows, choose_folds(len(rows), [0] * k))
    return np.array([fold_of[i] for i in range(n)])


@settings(deadline=None, max_examples=60)
@given(st.integers(4, 40), st.integers(2, 7), st.integers(2, 4), st.integers(0, 2**16))
def test_equals_the_row_by_row_walk(n, L, k, seed):
    Y = random_labels(n, L, seed)
    assert_array_equal(folds_of(MultilabelStratifiedKFold(k), Y), walk(Y, k))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(5, 80), st.integers(1, 12), st.integers(2, 5), st.booleans(), st.integers(0, 2**16)
)
def test_folds_partition_the_rows_and_have_the_sizes_of_kfold(n, L, k, shuffle, seed):
    splitter = MultilabelStratifiedKFold(k, shuffle=shuffle, random_state=seed if shuffle else None)
    sizes = np.bincount(folds_of(splitter, random_labels(n, L, seed)), minlength=k)
    assert_array_equal(sizes, [len(test) for _, test in KFold(k).split(np.zeros((n, 1)))])


def mean_deviation(splitter, Y):
    share = Y.sum(axis=0) / len(Y)
    splits = splitter.split(np.zeros((len(Y), 1)), Y)
    return np.mean([np.abs(Y[test].sum(axis=0) - len(test) * share) for _, test in splits])


@pytest.mark.parametrize("seed", range(5))
def test_nearer_to_even_than_kfold(seed):
    Y = random_labels(400, 20, seed)
    ours = MultilabelStratifiedKFold(5, shuffle=True, random_state=seed)
    plain = KFold(5, shuffle=True, random_state=seed)
    assert mean_deviation(ours, Y) < 0.7 * mean_deviation(plain, Y)
    assert mean_deviation(MultilabelStratifiedKFold(5), Y) < 0.7 * mean_deviation(plain, Y)


@pytest.mark.parametrize("shuffle", [False, True])
def test_labels_with_enough_positives_are_in_every_train_and_test_part(shuffle):
    Y = random_labels(600, 60, seed=1, skew=4)
    counts = Y.sum(axis=0)
    assert ((counts >= 5) & (counts < 15)).sum() > 5
    splitter = MultilabelStratifiedKFold(5, shuffle=shuffle, random_state=0 if shuffle else None)
    for train, test in splitter.split(Y, Y):
        assert (Y[train].sum(axis=0)[counts >= 2] > 0).all()
        assert (Y[test].sum(axis=0)[counts >= 5] > 0).all()


def test_rows_without_labels_are_spread_too():
    Y = np.zeros((30, 3), dtype=int)
    Y[:10, 0] = 1
    fold_of = folds_of(MultilabelStratifiedKFold(5, shuffle=True, random_state=0), Y)
    assert_array_equal(np.bincount(fold_of[:10]), [2] * 5)
    assert_array_equal(np.bincount(fold_of[10:]), [4] * 5)
    assert_array_equal(np.bincount(folds_of(MultilabelStratifiedKFold(3), Y[10:])), [7, 7, 6])


@pytest.mark.parametrize("hold", [pd.DataFrame, sp.csr_matrix, np.ma.masked_invalid])
def test_missing_entries_count_for_nothing(hold):
    Y = random_labels(60, 5, seed=3).astype(float)
    missing = np.random.default_rng(0).uniform(size=Y.shape) < 0.3
    holed = hold(np.where(missing, np.nan, Y))
    for splitter in (
        MultilabelStratifiedKFold(4),
        MultilabelStratifiedShuffleSplit(2, test_size=0.3, random_state=0),
    ):
        X, negative = np.zeros((60, 1)), np.where(missing, 0, Y)
        for ours, theirs in zip(splitter.split(X, holed), splitter.split(X, negative), strict=True):
            assert_array_equal(ours[0], theirs[0])
            assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize(
    "y",
    [
        np.repeat([0, 1], [60, 15]),
        np.repeat([3, 5, 9], [20, 50, 5]),
        np.repeat(["a", "b", "c"], [20, 50, 5]),
        pd.Series(np.repeat(["a", "b"], [25, 50]), dtype="category"),
        np.repeat([[True], [False]], [15, 60], axis=0),
        np.repeat([0.0, 1.0, np.nan], [30, 30, 15]),
    ],
    ids=["binary", "integers", "strings", "categories", "column", "with NaN"],
)
def test_one_dimensional_y_is_stratified_by_class(y):
    splits = list(MultilabelStratifiedKFold(5).split(np.zeros((75, 1)), y))
    codes = np.unique(np.asarray(y).ravel(), return_inverse=True)[1]
    for _, test in splits:
        assert_array_equal(np.bincount(codes[test]), np.bincount(codes) / 5)


@settings(deadline=None, max_examples=40)
@given(st.integers(10, 100), st.floats(0.1, 0.5), st.floats(0.2, 0.5), st.integers(0, 2**16))
def test_shuffle_split_sizes_are_scikit_learns(n, test_size, train_size, seed):
    Y, X = random_labels(n, 5, seed), np.zeros((n, 1))
    sizes = {"test_size": test_size, "train_size": train_size, "random_state": seed}
    ours = MultilabelStratifiedShuffleSplit(3, **sizes).split(X, Y)
    plain = ShuffleSplit(3, **sizes).split(X)
    for (train, test), (plain_train, plain_test) in zip(ours, plain, strict=True):
        assert (len(train), len(test)) == (len(plain_train), len(plain_test))
        assert not set(train) & set(test)
        assert_array_equal(train, np.unique(train))


@pytest.mark.parametrize("test_size", [0.1, 0.25, 40])
def test_shuffle_split_keeps_the_shares(test_size):
    Y = random_labels(400, 20, seed=4)
    splitter = MultilabelStratifiedShuffleSplit(5, test_size=test_size, random_state=0)
    plain = ShuffleSplit(5, test_size=test_size, random_state=0)
    assert mean_deviation(splitter, Y) < 0.7 * mean_deviation(plain, Y)
    for train, _ in splitter.split(Y, Y):
        assert (Y[train].sum(axis=0)[Y.sum(axis=0) > 0] > 0).all()


def test_default_sizes_and_numbers_of_splits():
    Y = random_labels(50, 3, seed=0)
    splits = list(MultilabelStratifiedShuffleSplit().split(Y, Y))
    assert [(len(train), len(test)) for train, test in splits] == [(45, 5)] * 10
    assert len(list(MultilabelStratifiedKFold().split(Y, Y))) == 5
    assert MultilabelStratifiedShuffleSplit(3).get_n_splits() == 3
    assert MultilabelStratifiedKFold(4).get_n_splits(Y, Y) == 4


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: MultilabelStratifiedKFold(3, shuffle=True, random_state=seed),
        lambda seed: MultilabelStratifiedShuffleSplit(3, test_size=0.3, random_state=seed),
    ],
    ids=["KFold", "ShuffleSplit"],
)
def test_random_state(make):
    Y = random_labels(80, 6, seed=5)
    tests = [test for _, test in make(0).split(Y, Y)]
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    again = [test for _, test in make(0).split(Y, Y)]
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    other = [test for _, test in make(1).split(Y, Y)]
    assert all(np.array_equal(a, b) for a, b in zip(tests, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(tests, other, strict=True))
    assert len({tuple(test) for test in tests}) == 3


@pytest.mark.parametrize("sparse", [False, True])
def test_in_scikit_learns_tools(sparse):
    X, Y = make_multilabel_classification(90, 8, n_classes=4, random_state=0)
    cv = MultilabelStratifiedKFold(3)
    target = sp.csr_matrix(Y) if sparse else Y
    one_vs_rest = OneVsRestClassifier(LogisticRegression())
    search = GridSearchCV(one_vs_rest, {"estimator__C": [0.1, 1]}, cv=cv).fit(X, target)
    assert search.n_splits_ == 3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert check_cv(cv) is cv
    model = MultiOutputClassifier(LogisticRegression())
    assert cross_val_predict(model, X, Y, cv=cv).shape == Y.shape
    shuffle_split = MultilabelStratifiedShuffleSplit(2, test_size=0.2, random_state=0)
    assert cross_val_score(model, X, Y, cv=shuffle_split).shape == (2,)


def test_repr_names_the_parameters():
    text = repr(MultilabelStratifiedKFold(3, shuffle=True, random_state=1))
    assert text.startswith("MultilabelStratifiedKFold(missing_label=nan, n_splits=3, random_state")
    assert "test_size=0.2" in repr(MultilabelStratifiedShuffleSplit(test_size=0.2))


def test_large_csr_is_never_made_dense():
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(np.arange(20_000), 3), rng.integers(0, 300_000, 60_000) // 100
    Y = sp.csr_matrix((np.ones(60_000), (rows, columns)), shape=(20_000, 200_000))
    Y.sum_duplicates()
    Y.data[:] = 1
    sizes = [len(test) for _, test in MultilabelStratifiedKFold(5).split(Y, Y)]
    assert sizes == [4000] * 5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MultilabelStratifiedKFold(1), ValueError, "n_splits=2 or more"),
        (lambda: MultilabelStratifiedKFold(2.0), ValueError, "must be of Integral type"),
        (lambda: MultilabelStratifiedKFold(shuffle=1), TypeError, "shuffle must be True or False"),
        (
            lambda: MultilabelStratifiedKFold(random_state=0),
            ValueError,
            "random_state has no effect",
        ),
    ],
)
def test_bad_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "needs y"),
        (np.array([[0, -1], [1, 0], [0, 0]]), r"got also \[-1.0\]"),
        ([("a",), ("b", "c"), ()], "MultiLabelBinarizer"),
        (np.array([0.1, 0.7, 0.3]), "must hold classes"),
        (np.zeros((4, 2)), r"inconsistent numbers of samples: \[3, 4\]"),
    ],
)
def test_bad_y(y, message):
    with pytest.raises(ValueError, match=message):
        list(MultilabelStratifiedKFold(2).split(np.zeros((3, 1)), y))


def test_more_folds_than_rows_and_impossible_sizes():
    Y = np.eye(3, dtype=int)
    with pytest.raises(
        ValueError, match="n_splits=4 greater than the number of samples: n_samples=3"
    ):
        list(MultilabelStratifiedKFold(4).split(Y, Y))
    with pytest.raises(ValueError, match="test_size=5"):
        list(MultilabelStratifiedShuffleSplit(test_size=5).split(Y, Y))


def test_groups_are_ignored_with_a_warning():
    Y = np.eye(4, dtype=int)
    with pytest.warns(UserWarning, match="groups is ignored by MultilabelStratifiedKFold"):
        list(MultilabelStratifiedKFold(2).split(Y, Y, groups=[0, 0, 1, 1]))
