"""The k largest entries of each row as a sparse matrix."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike


def check_k(k: Any, n_labels: int) -> int:
    """Return ``k`` if it is a number of labels."""
    is_count = isinstance(k, Integral) and not isinstance(k, bool)
    if not is_count or not 1 <= int(k) <= n_labels:
        raise ValueError(f"k must be an integer from 1 to the {n_labels} labels, got {k!r}.")
    return int(k)


def largest_of_rows(values: np.ndarray, k: int) -> sp.csr_matrix:
    """Return a CSR matrix of the shape of ``values`` with the k largest entries of each row.

    >>> import numpy as np
    >>> largest_of_rows(np.array([[0.1, 0.9, 0.4]]), 2).toarray()
    array([[0. , 0.9, 0.4]])
    """
    n_rows, n_columns = values.shape
    columns = np.argpartition(values, n_columns - k, axis=1)[:, n_columns - k :]
    columns.sort(axis=1)
    kept = np.take_along_axis(values, columns, axis=1)
    starts = np.arange(0, n_rows * k + 1, k)
    return sp.csr_matrix((kept.ravel(), columns.ravel(), starts), shape=values.shape)


def top_values(scores: np.ndarray, m: int) -> np.ndarray:
    """(n, m) largest scores of each row, descending."""
    K = scores.shape[1]
    # A partition first pays only while it leaves most of the row unsorted.
    top = scores if 4 * m > K else np.partition(scores, K - m, axis=1)[:, K - m :]
    return np.sort(top, axis=1)[:, ::-1][:, :m]


def largest_to_csr(scores: np.ndarray, cut: np.ndarray, sizes: np.ndarray) -> sp.csr_array:
    """CSR indicator of the sizes[i] largest scores, `cut` the last of them, small labels first."""
    mask = scores >= cut[:, None]
    tied = mask.sum(axis=1) > sizes
    if tied.any():
        order = np.argsort(-scores[tied], axis=1, kind="stable")
        first = np.empty_like(order)
        np.put_along_axis(first, order, np.arange(scores.shape[1])[None, :], axis=1)
        mask[tied] = first < sizes[tied, None]
    indices = np.nonzero(mask)[1]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    return sp.csr_array((np.ones(len(indices), dtype=np.int8), indices, indptr), scores.shape)


def top_labels(scores: np.ndarray, m: int) -> np.ndarray:
    """(n, m) labels of the m largest scores, descending, the smaller label first on ties."""
    values = top_values(scores, m)
    sets = largest_to_csr(scores, values[:, -1], np.full(len(scores), m))
    members = sets.indices.reshape(len(scores), m)
    within = np.argsort(-np.take_along_axis(scores, members, axis=1), axis=1, kind="stable")
    return np.take_along_axis(members, within, axis=1)


def members_to_csr(members: np.ndarray, sizes: np.ndarray, n_labels: int) -> sp.csr_array:
    """CSR indicator rows from the first sizes[i] entries of members[i]."""
    keep = np.arange(members.shape[1]) < sizes[:, None]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    indices = members[keep]
    data = np.ones(len(indices), dtype=np.int8)
    out = sp.csr_array((data, indices, indptr), shape=(len(members), n_labels))
    out.sort_indices()
    return out


def topk_decision(scores: ArrayLike, k: ArrayLike) -> sp.csr_array:
    """Predict the k labels of largest score, the smaller label first on ties.

    Parameters
    ----------
    scores : ndarray of shape (n, K)
        Probabilities or any scores.
    k : int or array-like of shape (n,)
        Number of labels, one for all rows or one per row, in 0..K.

    Returns
    -------
    csr_array of shape (n, K), int8
        Indicator rows.

    Raises
    ------
    ValueError
        If `k` has another shape or leaves 0..K.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.thresholds import topk_decision
    >>> topk_decision(np.array([[0.1, 0.7, 0.2]]), 2).toarray()
    array([[0, 1, 1]], dtype=int8)
    """
    scores = np.asarray(scores)
    n, K = scores.shape
    k = np.asarray(k, dtype=np.intp)
    if k.shape not in ((), (n,)) or (k < 0).any() or (k > K).any():
        raise ValueError(f"k must be an int in 0..{K} or {n} of them, got {k!r}.")
    sizes = np.broadcast_to(k, (n,))
    top = top_values(scores, max(int(sizes.max(initial=1)), 1))
    cut = np.where(sizes > 0, top[np.arange(n), np.maximum(sizes, 1) - 1], np.inf)
    return largest_to_csr(scores, cut, sizes)
