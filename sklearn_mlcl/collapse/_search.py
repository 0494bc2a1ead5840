"""One-nearest-neighbour search over label sets: never a list of 2^K prototypes.

Every search here minimises a distance over label sets of the allowed sizes, ties going to the
smaller, then lexicographically first set. Rows come in blocks the caller has bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from sklearn_mlcl.collapse._label_sets import map_blocks

#: Sets as indicator rows, and the distance of each row to its set.
Found = tuple[sp.csr_array, np.ndarray]

N_SPARE = 16  # labels beyond the largest size that single swaps may bring in


def nearest_equinorm(
    scores: np.ndarray, sizes: ArrayLike, slopes: ArrayLike, costs: ArrayLike
) -> Found:
    r"""Exact search when the size of a set alone fixes the norm of its tag sum (an ETF).

    Minimises :math:`D(S) = -2 a_m \sum_{k\in S} s_k + q_m` with m = \|S\|: for each size the
    top-m scores, then the best size; O(K + M log M) a row.

    Parameters
    ----------
    scores : ndarray of shape (n, K)
        Inner products s_k = <t_k, h - g>.
    sizes : array-like of shape (M,), int
        Allowed sizes, ascending, in 1..K.
    slopes, costs : array-like of shape (M,)
        Numbers a_m >= 0 and q_m = a_m^2 ||sum of m tags||^2 (plus the cost of the prior).

    Returns
    -------
    label_sets : csr_array of shape (n, K), int8
        Indicator rows of the nearest sets.
    distances : ndarray of shape (n,)
        D(S), that is ||h - P_S||^2 - ||h - g||^2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import nearest_equinorm
    >>> sets, D = nearest_equinorm(np.array([[2.0, 1.8, -3.0]]), [1, 2], [1.0, 0.8], [1.0, 0.64])
    >>> sets.toarray(), np.round(D, 2)
    (array([[1, 1, 0]], dtype=int8), array([-5.44]))
    """
    sizes = np.asarray(sizes)
    top = top_values(scores, sizes[-1])
    sums = np.cumsum(top, axis=1)[:, sizes - 1]
    distances = np.asarray(costs) - 2 * np.asarray(slopes) * sums
    best, rows = distances.argmin(axis=1), np.arange(len(scores))
    sets = largest_to_csr(scores, top[rows, sizes[best] - 1], sizes[best])
    return sets, distances[rows, best]


def nearest_cosine(scores: np.ndarray, sizes: ArrayLike | None = None) -> Found:
    r"""Set whose simplex-ETF prototype has the largest cosine with the scores: Otsu's split.

    Maximises the Pearson correlation of scores and 0/1 row, that is
    :math:`\sum_{k\in S} (s_k - \bar s) / \sqrt{m(K-m)}`; a prefix of the sorted scores for each
    size, so O(K log K) a row. Needs no training statistics: plain logits will do.

    Parameters
    ----------
    scores : ndarray of shape (n, K)
        Logits or tag scores, K >= 2.
    sizes : array-like of int, default=None
        Allowed sizes, ascending, in 1..K-1; None stands for all of them.

    Returns
    -------
    label_sets : csr_array of shape (n, K), int8
        Indicator rows of the best sets.
    distances : ndarray of shape (n,)
        Minus the correlation; 0 where all scores are equal.

    Raises
    ------
    ValueError
        If there is a single label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import nearest_cosine
    >>> nearest_cosine(np.array([[4.0, 3.5, -1.0, 0.0]]))[0].toarray()
    array([[1, 1, 0, 0]], dtype=int8)
    """
    K = scores.shape[1]
    if K < 2:
        raise ValueError("scores has one label; the cosine rule needs at least 2.")
    sizes = np.arange(1, K) if sizes is None else np.asarray(sizes)
    parts = map_blocks(lambda block: _cosine_block(block, sizes), scores, width=K)
    sets = [part for part, _ in parts] or [sp.csr_array((0, K), dtype=np.int8)]
    distances = [distance for _, distance in parts] or [np.zeros(0)]
    return sp.csr_array(sp.vstack(sets, format="csr")), np.concatenate(distances)


def _cosine_block(scores: np.ndarray, sizes: np.ndarray) -> Found:
    n, K = scores.shape
    top = top_values(scores, sizes[-1])
    sums = np.cumsum(top - scores.mean(axis=1, keepdims=True), axis=1)[:, sizes - 1]
    sums /= np.sqrt(sizes * (K - sizes))
    spread, rows = scores.std(axis=1), np.arange(n)
    flat = spread <= 1e-14 * np.abs(scores).max(axis=1)  # no direction: the first set of all
    best = np.where(flat, 0, sums.argmax(axis=1))
    correlation = np.zeros(n)
    np.divide(sums[rows, best], spread, out=correlation, where=~flat)
    return largest_to_csr(scores, top[rows, sizes[best] - 1], sizes[best]), -correlation


def nearest_tags(
    scores: np.ndarray,
    gram: np.ndarray,
    sizes: ArrayLike,
    scales: ArrayLike,
    costs: ArrayLike,
    *,
    max_candidates: int = 4096,
) -> Found:
    r"""Search for general tags: :math:`D(S) = -2 a_m s(S) + a_m^2 1_S^\top G 1_S + q_m`.

    Exact, by listing the sets, while they are at most `max_candidates`. Beyond that a local
    search: for each size two starts, the top-m scores and the best smaller set plus one label,
    improved by best single swaps among the labels of largest score until none helps.

    Parameters
    ----------
    scores : ndarray of shape (n, K)
        Inner products s_k = <t_k, h - g>.
    gram : ndarray of shape (K, K)
        Inner products of the tags, G = T T'.
    sizes, scales, costs : array-like of shape (M,)
        Allowed sizes, ascending; a_m > 0; cost of the prior.
    max_candidates : int, default=4096
        Largest number of sets to list.

    Returns
    -------
    label_sets : csr_array of shape (n, K), int8
        Indicator rows of the sets that were found.
    distances : ndarray of shape (n,)
        Their D(S).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import nearest_tags
    >>> T = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> h = np.array([[1.0, 1.0]])
    >>> nearest_tags(h @ T.T, T @ T.T, [1, 2], [1.0, 1.0], [0.0, 0.0])[0].toarray()
    array([[1, 0, 1]], dtype=int8)
    """
    sizes, scales, costs = np.asarray(sizes), np.asarray(scales), np.asarray(costs)
    if sum(comb(scores.shape[1], int(m)) for m in sizes) <= max_candidates:
        return _nearest_listed(scores, gram, sizes, scales, costs)
    return _nearest_by_swaps(scores, gram, sizes, scales, costs)


def _nearest_listed(
    scores: np.ndarray, gram: np.ndarray, sizes: np.ndarray, scales: np.ndarray, costs: np.ndarray
) -> Found:
    n, K = scores.shape
    sets = [list(S) for m in sizes for S in combinations(range(K), int(m))]
    lengths = np.array([len(S) for S in sets])
    listed = members_to_csr(_padded(sets, sizes[-1]), lengths, K)
    at = np.searchsorted(sizes, lengths)
    dense = listed.toarray().astype(scores.dtype)
    norms = ((dense @ gram) * dense).sum(axis=1)
    constant = scales[at] ** 2 * norms + costs[at]
    best, value = np.empty(n, dtype=np.intp), np.empty(n)
    step = max(1, 2**20 // len(sets))
    for start in range(0, n, step):
        D = constant - scores[start : start + step] @ (2 * scales[at][:, None] * dense).T
        best[start : start + step] = D.argmin(axis=1)
        value[start : start + step] = D.min(axis=1)
    return listed[best], value


def _padded(sets: Sequence[Sequence[int]], width: int) -> np.ndarray:
    out = np.zeros((len(sets), int(width)), dtype=np.intp)
    for row, S in zip(out, sets, strict=True):
        row[: len(S)] = S
    return out


def _nearest_by_swaps(
    scores: np.ndarray, gram: np.ndarray, sizes: np.ndarray, scales: np.ndarray, costs: np.ndarray
) -> Found:
    n, K = scores.shape
    width = int(min(K, sizes[-1] + N_SPARE))
    short = top_labels(scores, width)
    # Memory bound: single precision for the search, double for the distance of what it finds.
    s = np.take_along_axis(scores, short, axis=1).astype(np.float32)
    G = gram.astype(np.float32)[short[:, :, None], short[:, None, :]]
    scales32 = scales.astype(np.float32)
    best, size = np.full(n, np.inf), np.zeros(n, dtype=np.intp)
    chosen = np.zeros((n, int(sizes[-1])), dtype=np.intp)
    members = np.zeros((n, 0), dtype=np.intp)
    for m, a, cost in zip(sizes.tolist(), scales32, costs, strict=True):
        members, value = _best_of_size(members, m, s, G, a)
        better = value + cost < best
        best[better], size[better] = value[better] + cost, m
        chosen[better, :m] = np.take_along_axis(short[better], members[better], axis=1)
    for m, a, cost in zip(sizes.tolist(), scales, costs, strict=True):
        rows = np.flatnonzero(size == m)
        best[rows] = _distance(chosen[rows, :m], scores[rows], gram, a) + cost
    return members_to_csr(chosen, size, K), best


def _best_of_size(
    smaller: np.ndarray, m: int, s: np.ndarray, G: np.ndarray, a: float
) -> tuple[np.ndarray, np.ndarray]:
    """The better of two local optima: from the smaller set grown greedily, from the top m."""
    grown = smaller
    while grown.shape[1] < m:
        grown = _grow(grown, s, G, a)
    top = np.tile(np.arange(m), (len(s), 1))
    value, other = _swap_until_stable(grown, s, G, a), _swap_until_stable(top, s, G, a)
    lower = other < value
    return np.where(lower[:, None], top, grown), np.minimum(value, other)


def _grow(members: np.ndarray, s: np.ndarray, G: np.ndarray, a: float) -> np.ndarray:
    """Append the label that lowers D the most."""
    rows = np.arange(len(s))[:, None]
    pull = G[rows, members].sum(axis=1)
    change = a * a * (2 * pull + np.diagonal(G, axis1=1, axis2=2)) - 2 * a * s
    change[rows, members] = np.inf
    return np.concatenate([members, change.argmin(axis=1)[:, None]], axis=1)


def _swap_until_stable(members: np.ndarray, s: np.ndarray, G: np.ndarray, a: float) -> np.ndarray:
    """Improve `members` (n, m) in place; return D without the prior's cost."""
    value = np.empty(len(members), dtype=s.dtype)
    active = np.arange(len(members))
    for _ in range(2 * members.shape[1] + 2):
        rows, mine, sa = np.arange(len(active))[:, None], members[active], s[active]
        near = G[active[:, None], mine]  # (rows, m, width): inner products with the members
        pull = near.sum(axis=1)
        linear = a * (2 * a * pull - 2 * sa)
        square = a * a * np.diagonal(G, axis1=1, axis2=2)[active]
        value[active] = -2 * a * sa[rows, mine].sum(axis=1) + a * a * pull[rows, mine].sum(axis=1)
        enter = linear + square
        enter[rows, mine] = np.inf
        leave = (square - linear)[rows, mine]
        change = leave[:, :, None] + enter[:, None, :] - 2 * a * a * near
        flat = change.reshape(len(active), -1)
        pick = flat.argmin(axis=1)
        gain = flat[np.arange(len(active)), pick]
        # Only a gain beyond rounding counts, or two equal sets would swap for ever.
        moved = gain < -1e-6 * (np.abs(value[active]) + square.max(axis=1))
        if not moved.any():
            return value
        width = s.shape[1]
        members[active[moved], pick[moved] // width] = pick[moved] % width
        active = active[moved]
    return value


def _distance(members: np.ndarray, scores: np.ndarray, gram: np.ndarray, a: float) -> np.ndarray:
    inner = gram[members[:, :, None], members[:, None, :]].sum(axis=(1, 2))
    return -2 * a * np.take_along_axis(scores, members, axis=1).sum(axis=1) + a * a * inner


def nearest_prototype(
    features: np.ndarray, prototypes: np.ndarray, costs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest prototype and ||h - P||^2 - ||h||^2 + cost, the first on ties.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Rows h.
    prototypes : ndarray of shape (U, d)
        Prototypes P.
    costs : ndarray of shape (U,)
        What is added to the squared distance of each prototype.

    Returns
    -------
    index : ndarray of shape (n,), int
        Index of the prototype.
    distances : ndarray of shape (n,)
        Its distance, as above.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import nearest_prototype
    >>> nearest_prototype(np.array([[1.0, 0.2]]), np.eye(2), np.zeros(2))
    (array([0]), array([-1.]))
    """
    index = np.empty(len(features), dtype=np.intp)
    value = np.empty(len(features))
    constant = (prototypes**2).sum(axis=1) + costs
    step = max(1, 2**20 // max(len(prototypes), 1))
    for start in range(0, len(features), step):
        D = constant - 2 * features[start : start + step] @ prototypes.T
        index[start : start + step] = D.argmin(axis=1)
        value[start : start + step] = D.min(axis=1)
    return index, value


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
