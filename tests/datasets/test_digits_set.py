"""make_multilabel_digits: what is on the canvas, what the labels say, and what stays apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits

from sklearn_mlcl.datasets import make_multilabel_digits


@pytest.fixture(scope="module")
def digits():
    return make_multilabel_digits()


def label_sets(Y):
    return [tuple(np.flatnonzero(row)) for row in Y]


def test_shapes_and_types(digits):
    assert digits.data.shape == (3150, 256)
    assert digits.data.dtype == np.float32
    assert digits.data.min() == 0 and digits.data.max() == 1
    assert digits.target.shape == (3150, 10)
    assert digits.target.dtype == np.int64
    assert_array_equal(digits.images.reshape(3150, 256), digits.data)
    assert_array_equal(digits.train_idx, np.arange(2340))
    assert_array_equal(digits.test_idx, np.arange(2340, 3150))
    assert len(digits.feature_names) == 256
    assert digits.target_names == list("0123456789")


def test_canvas_shows_the_base_digits_and_labels_name_them(digits):
    base = load_digits()
    for row in range(0, 3150, 7):
        canvas = np.zeros((16, 16))
        classes = set()
        for corner, index in enumerate(digits.base_idx[row]):
            if index >= 0:
                top, left = 8 * (corner // 2), 8 * (corner % 2)
                canvas[top : top + 8, left : left + 8] = base.images[index] / 16
                classes.add(int(base.target[index]))
        assert_array_equal(digits.images[row], canvas)
        assert set(np.flatnonzero(digits.target[row])) == classes
        assert len(classes) == (digits.base_idx[row] >= 0).sum()


def test_no_base_digit_in_both_parts(digits):
    train = set(digits.base_idx[digits.train_idx].ravel()) - {-1}
    test = set(digits.base_idx[digits.test_idx].ravel()) - {-1}
    assert not train & test
    assert len(train | test) > 1700


def test_rows_per_label_set(digits):
    train = label_sets(digits.target[digits.train_idx])
    test = label_sets(digits.target[digits.test_idx])
    assert len(set(digits.unseen_pairs)) == 8
    for m, n_train, n_test in [(1, 100, 30), (2, 20, 6), (3, 5, 2)]:
        for label_set in combinations(range(10), m):
            unseen = label_set in digits.unseen_pairs
            assert train.count(label_set) == (0 if unseen else n_train)
            assert test.count(label_set) == n_test


def test_every_corner_is_used_alike(digits):
    share = (digits.base_idx >= 0).mean(axis=0)
    assert np.ptp(share) < 0.05


def test_deterministic_and_global_generator_untouched(digits):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    again = make_multilabel_digits()
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert_array_equal(again.data, digits.data)
    assert again.unseen_pairs == digits.unseen_pairs
    other = make_multilabel_digits(random_state=1)
    assert (other.data != digits.data).any()


@pytest.mark.parametrize("subset", ["train", "test"])
def test_subsets_are_rows_of_the_whole(digits, subset):
    part = make_multilabel_digits(subset=subset)
    rows = digits[f"{subset}_idx"]
    for key in ("data", "target", "images", "base_idx"):
        assert_array_equal(part[key], digits[key][rows])
    assert "train_idx" not in part and "test_idx" not in part
    X, Y = make_multilabel_digits(subset=subset, return_X_y=True)
    assert_array_equal(X, part.data)
    assert_array_equal(Y, part.target)


def test_other_recipe_with_four_digits():
    digits = make_multilabel_digits((0, 1, 0, 2), [1], n_unseen_pairs=45, random_state=3)
    sizes = digits.target.sum(axis=1)
    assert_array_equal(np.bincount(sizes[digits.train_idx]), [0, 0, 0, 0, 420])
    assert_array_equal(sizes[digits.test_idx], 1)
    assert len(digits.test_idx) == 10


def test_more_rows_than_base_digits_reuses_all_before_any_twice():
    digits = make_multilabel_digits((400,), (1,), random_state=0)
    zeros = digits.base_idx[digits.train_idx][digits.target[digits.train_idx, 0] == 1]
    used = np.bincount(zeros[zeros >= 0])
    assert np.ptp(used[used > 0]) == 1


def test_as_frame():
    digits = make_multilabel_digits((1,), (1,), subset="test", as_frame=True)
    assert list(digits.target.columns) == list("0123456789")
    assert digits.data.shape == (10, 256)
    assert list(digits.data.index) == list(range(10, 20))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train_per_set": ()}, "n_train_per_set must hold 1 to 4"),
        ({"n_train_per_set": (0, 0)}, "n_train_per_set must hold 1 to 4"),
        ({"n_test_per_set": (1, -1)}, "n_test_per_set must hold 1 to 4"),
        ({"n_test_per_set": 5}, "n_test_per_set must hold 1 to 4"),
        ({"n_test_per_set": (1.5,)}, "n_test_per_set must hold 1 to 4"),
        ({"n_unseen_pairs": 46}, r"n_unseen_pairs must be an integer in 0\.\.45"),
        ({"subset": "validation"}, "has no 'validation' samples"),
        ({"subset": "half"}, "subset must be 'all' or one of"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_multilabel_digits(**arguments)
