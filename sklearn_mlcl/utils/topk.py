"""The k largest scores of each row."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from sklearn_mlcl.utils.validation import check_numbers


def check_k(k: Any, n_labels: int) -> int:
    """Return ``k`` if it is a number of labels."""
    is_count = isinstance(k, Integral) and not isinstance(k, bool)
    if not is_count or not 1 <= int(k) <= n_labels:
        raise ValueError(f"k must be an integer from 1 to the {n_labels} labels, got {k!r}.")
    return int(k)


def top_values(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the k largest scores (n, k) of each row, descending."""
    L = scores.shape[1]
    # A partition first pays only while it leaves most of the row unsorted.
    top = scores if 4 * k > L else np.partition(scores, L - k, axis=1)[:, L - k :]
    return np.sort(top, axis=1)[:, ::-1][:, :k]


def largest_to_csr(scores: np.ndarray, cut: np.ndarray, sizes: np.ndarray) -> sp.csr_array:
    """Return a CSR indicator of the ``sizes[i]`` largest scores of row i.

    ``cut[i]`` is the smallest of them. Of labels with tied scores the smaller ones are taken.
    """
    mask = scores >= cut[:, None]
    tied = mask.sum(axis=1) > sizes
    if tied.any():
        order = np.argsort(-scores[tied], axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(scores.shape[1])[None, :], axis=1)
        mask[tied] = rank < sizes[tied, None]
    return _indicator(np.nonzero(mask)[1], sizes, scores.shape[1])


def _indicator(labels: np.ndarray, sizes: np.ndarray, n_labels: int) -> sp.csr_array:
    """CSR indicator rows from the labels of all rows, ``sizes[i]`` of row i."""
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    data = np.ones(len(labels), dtype=np.int8)
    return sp.csr_array((data, labels, indptr), (len(sizes), n_labels))


def _largest(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, k) of the k largest scores, ascending, and their scores."""
    cut = top_values(scores, k)[:, -1]
    labels = largest_to_csr(scores, cut, np.full(len(scores), k)).indices.reshape(-1, k)
    return labels, np.take_along_axis(scores, labels, axis=1)


def top_labels(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the labels (n, k) of the k largest scores, descending; of ties the smaller first."""
    labels, values = _largest(scores, k)
    return np.take_along_axis(labels, np.argsort(-values, axis=1, kind="stable"), axis=1)


def largest_of_rows(scores: np.ndarray, k: int) -> sp.csr_matrix:
    """Return the k largest scores of each row as CSR of the same shape.

    >>> import numpy as np
    >>> largest_of_rows(np.array([[0.1, 0.9, 0.4]]), 2).toarray()
    array([[0. , 0.9, 0.4]])
    """
    labels, values = _largest(scores, k)
    starts = np.arange(0, labels.size + 1, k)
    return sp.csr_matrix((values.ravel(), labels.ravel(), starts), shape=scores.shape)


def members_to_csr(members: np.ndarray, sizes: np.ndarray, n_labels: int) -> sp.csr_array:
    """Return CSR indicator rows from the first ``sizes[i]`` entries of ``members[i]``."""
    out = _indicator(members[np.arange(members.shape[1]) < sizes[:, None]], sizes, n_labels)
    out.sort_indices()
    return out


def topk_decision(scores: ArrayLike, k: ArrayLike) -> sp.csr_array:
    """Predict the k labels of largest score, the smaller label first on ties.

    Parameters
    ----------
    scores : ndarray of shape (n, L)
        Probabilities or any scores.
    k : int or array-like of shape (n,)
        Number of labels, one for all samples or one per sample, in 0..L.

    Returns
    -------
    csr_array of shape (n, L), int8
        Indicator rows.

    Raises
    ------
    ValueError
        If `k` has another shape or leaves 0..L.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.thresholds import topk_decision
    >>> topk_decision(np.array([[0.1, 0.7, 0.2]]), 2).toarray()
    array([[0, 1, 1]], dtype=int8)
    """
    scores = check_numbers(scores, "scores", ("n_samples", "n_labels"), finite=False)
    n, L = scores.shape
    given = np.asarray(k)
    whole = given.dtype.kind in "iu" and given.shape in ((), (n,))
    if not whole or (given < 0).any() or (given > L).any():
        raise ValueError(f"k must be an int in 0..{L} or {n} of them, got {k!r}.")
    sizes = np.broadcast_to(given.astype(np.intp), (n,))
    top = top_values(scores, max(int(sizes.max(initial=1)), 1))
    cut = np.where(sizes > 0, top[np.arange(n), np.maximum(sizes, 1) - 1], np.inf)
    return largest_to_csr(scores, cut, sizes)
