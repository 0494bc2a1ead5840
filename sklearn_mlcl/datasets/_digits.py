"""Multi-label digits (M-lab digits): handwritten digits composed to a multi-label set.

The 8 x 8 digits of scikit-learn's `load_digits` (handwritten, UCI) on canvases of 16 x 16 pixels:
a sample of multiplicity m shows m different digits in m different corners, and its labels are the
digits shown. The base digits were split into training and test digits before the canvases were
composed, so that no image of a digit occurs in both parts. Pixels are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from numbers import Integral
from typing import Any

import numpy as np
from numpy.random import RandomState
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch, check_random_state

from sklearn_mlcl.datasets._base import make_bunch

N_CLASSES = 10
N_CORNERS = 4
SIDE = 8
#: Share of the base digits that the test samples are composed of.
TEST_SHARE = 0.3


def _check_counts(name: str, counts: Sequence[int]) -> None:
    ok = np.ndim(counts) == 1 and 1 <= len(counts) <= N_CORNERS and np.any(counts)
    if not ok or not all(isinstance(c, Integral) and c >= 0 for c in counts):
        raise ValueError(
            f"{name} must hold 1 to {N_CORNERS} non-negative integers, not all 0: the number of "
            f"samples per label set of 1, 2, ... digits; got {counts!r}."
        )


def _compose(
    counts: Sequence[int],
    left_out: Sequence[tuple[int, ...]],
    pools: Sequence[np.ndarray],
    rng: RandomState,
) -> np.ndarray:
    """Base digits in the four corners of all samples of a part, in random order; -1 for none.

    Each base digit of a pool is used again only after all of them have been.
    """
    blocks = []
    for m, n in enumerate(counts, start=1):
        for label_set in combinations(range(N_CLASSES), m):
            if n == 0 or label_set in left_out:
                continue
            corners = np.full((n, N_CORNERS), -1)
            for place, digit in enumerate(label_set):
                rounds = [rng.permutation(pools[digit]) for _ in range(-(-n // len(pools[digit])))]
                corners[:, place] = np.concatenate(rounds)[:n]
            order = rng.uniform(size=corners.shape).argsort(axis=1)
            blocks.append(np.take_along_axis(corners, order, axis=1))
    return rng.permutation(np.concatenate(blocks))


def _split_base(classes: np.ndarray, rng: RandomState) -> list[list[np.ndarray]]:
    """Training and test base digits of each class."""
    digits = np.arange(len(classes))
    parts = train_test_split(digits, test_size=TEST_SHARE, stratify=classes, random_state=rng)
    return [[part[classes[part] == c] for c in range(N_CLASSES)] for part in parts]


def _draw_canvases(corners: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """(n, 16, 16) pixels in [0, 1] from the base digits in the corners; -1 takes a blank image."""
    images = np.concatenate([digits, np.zeros((1, SIDE, SIDE))]).astype(np.float32) / 16
    quarters = images[corners].reshape(-1, 2, 2, SIDE, SIDE)
    return quarters.transpose(0, 1, 3, 2, 4).reshape(-1, 2 * SIDE, 2 * SIDE)


def make_multilabel_digits(
    n_train_per_set: Sequence[int] = (100, 20, 5),
    n_test_per_set: Sequence[int] = (30, 6, 2),
    *,
    n_unseen_pairs: int = 8,
    subset: str = "all",
    return_X_y: bool = False,
    as_frame: bool = False,
    random_state: int | RandomState | None = 0,
) -> Any:
    """Compose scikit-learn's bundled digits to a multi-label image set.

    A sample with m labels shows m different digits. Each has 8 x 8 pixels in its own corner of a 16
    x 16 canvas, and the labels are the digits. The 1,797 base digits are first split into training
    and test digits, stratified by class. All label sets of m digits get the same number of samples.
    A few pairs occur in test samples only.

    Parameters
    ----------
    n_train_per_set : sequence of int, default=(100, 20, 5)
        Training samples for each label set of 1, 2, ... digits; at most 4 entries.
    n_test_per_set : sequence of int, default=(30, 6, 2)
        The same for the test samples.
    n_unseen_pairs : int, default=8
        Number of the 45 pairs, drawn at random, that no training sample has as its label set
        (larger sets may contain them).
    subset : {"all", "train", "test"}, default="all"
        Which samples to return.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Return data and target as DataFrames.
    random_state : int, RandomState instance or None, default=0
        Fixes the base split, the unseen pairs and the composition. The default gives the same
        set on each call.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        With these attributes.

        data : ndarray of shape (n, 256), float32 in [0, 1]
            Training samples first, then test samples, each part in random order. With the defaults
            2,340 + 810 samples.
        target : ndarray of shape (n, 10), int64
            1 for the digits shown.
        images : ndarray of shape (n, 16, 16)
            The data as images.
        base_idx : ndarray of shape (n, 4), int64
            Number in `load_digits` of the digit in each corner (upper left, upper right, lower
            left, lower right); -1 for an empty one.
        train_idx, test_idx : ndarray of int64
            Sample numbers of the parts; only for ``subset="all"``.
        unseen_pairs : list of tuple of int
            The pairs that no training sample has as its label set.
        feature_names, target_names : list of str
            ``pixel_0_0, pixel_0_1, ...`` and the digits.
        DESCR : str
            How the set was made.
    (data, target) : tuple if `return_X_y`
        These two alone.

    Raises
    ------
    ValueError
        If a count is negative or there are none, if `n_unseen_pairs` is not in 0..45, or
        if `subset` is unknown.

    References
    ----------
    .. [1] Li, Li, Wang and Qu, "Neural collapse in multi-label learning with pick-all-label
       loss", ICML 2024, whose M-lab MNIST composes digits in this manner.

    Examples
    --------
    >>> from sklearn_mlcl.datasets import make_multilabel_digits
    >>> digits = make_multilabel_digits()
    >>> digits.data.shape, digits.target.shape, len(digits.train_idx)
    ((3150, 256), (3150, 10), 2340)
    >>> X, Y = make_multilabel_digits(subset="test", return_X_y=True)
    >>> X.shape
    (810, 256)
    """
    _check_counts("n_train_per_set", n_train_per_set)
    _check_counts("n_test_per_set", n_test_per_set)
    pairs = list(combinations(range(N_CLASSES), 2))
    if not isinstance(n_unseen_pairs, Integral) or not 0 <= n_unseen_pairs <= len(pairs):
        raise ValueError(f"n_unseen_pairs must be an integer in 0..45, got {n_unseen_pairs!r}.")
    rng = check_random_state(random_state)
    base = load_digits()
    train_pools, test_pools = _split_base(base.target, rng)
    unseen = sorted(pairs[i] for i in rng.choice(len(pairs), n_unseen_pairs, replace=False))
    train = _compose(n_train_per_set, unseen, train_pools, rng)
    corners = np.concatenate([train, _compose(n_test_per_set, [], test_pools, rng)])
    images = _draw_canvases(corners, base.images)
    target = np.zeros((len(corners), N_CLASSES + 1), dtype=np.int64)
    np.put_along_axis(target, np.append(base.target, N_CLASSES)[corners], 1, axis=1)
    bunch = Bunch(
        data=images.reshape(len(images), -1),
        target=target[:, :N_CLASSES],
        images=images,
        base_idx=corners,
        train_idx=np.arange(len(train)),
        test_idx=np.arange(len(train), len(corners)),
        unseen_pairs=unseen,
        feature_names=[f"pixel_{i}_{j}" for i in range(2 * SIDE) for j in range(2 * SIDE)],
        target_names=[str(c) for c in range(N_CLASSES)],
        DESCR=__doc__,
    )
    return make_bunch(bunch, subset=subset, return_X_y=return_X_y, as_frame=as_frame)
