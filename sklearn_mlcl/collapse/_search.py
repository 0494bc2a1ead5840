"""One-nearest-neighbour search over label sets: never a list of 2^L prototypes.

Every search here minimises a distance over label sets of the allowed sizes, ties going to the
smaller, then lexicographically first set. The caller bounds the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.special import softmax

from sklearn_mlcl.collapse._label_sets import as_rows, block_slices, complete_labels, row_blocks
from sklearn_mlcl.utils.parameters import AT_LEAST_0, check_arguments
from sklearn_mlcl.utils.topk import largest_to_csr, members_to_csr, top_labels, top_values
from sklearn_mlcl.utils.validation import check_numbers

#: Sets as indicator rows, and the distance of each sample to its set.
Found = tuple[sp.csr_array, np.ndarray]

N_SPARE = 16  # labels beyond the largest size that single swaps may bring in


def nearest_equinorm(
    scores: np.ndarray, sizes: ArrayLike, slopes: ArrayLike, costs: ArrayLike
) -> Found:
    r"""Exact search when the size of a set alone fixes the norm of its tag sum (an ETF).

    Minimises :math:`D(S) = -2 a_m \sum_{k\in S} s_k + q_m` with m = \|S\|: for each size the
    top-m scores, then the best size; O(L + M log M) a sample.

    Parameters
    ----------
    scores : ndarray of shape (n, L)
        Inner products s_k = <t_k, h - g>.
    sizes : array-like of shape (M,), int
        Allowed sizes, ascending, in 1..L.
    slopes, costs : array-like of shape (M,)
        Numbers a_m >= 0 and q_m = a_m^2 ||sum of m tags||^2 (plus the cost of the prior).

    Returns
    -------
    label_sets : csr_array of shape (n, L), int8
        Indicator rows of the nearest sets.
    distances : ndarray of shape (n,)
        D(S), that is ||h - P_S||^2 - ||h - g||^2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import nearest_equinorm
    >>> sets, D = nearest_equinorm(
    ...     np.array([[2.0, 1.8, -3.0]]), [1, 2], [1.0, 0.8], [1.0, 0.64]
    ... )
    >>> sets.toarray(), np.round(D, 2)
    (array([[1, 1, 0]], dtype=int8), array([-5.44]))
    """
    s = check_numbers(scores, "scores", ("n_samples", "n_labels"))
    m = _check_sizes(sizes, s.shape[1])
    a, q = _of_sizes(slopes, "slopes", m), _of_sizes(costs, "costs", m, finite=False)
    return _best_prefix(s, m, lambda sums: q - 2 * a * sums)


def _check_sizes(sizes: Any, largest: int) -> np.ndarray:
    """Return sizes of label sets, ascending."""
    given = np.asarray(sizes)
    if given.ndim != 1 or given.dtype.kind not in "iu" or not len(given):
        raise ValueError(f"sizes must hold integers, one at least, got {sizes!r}.")
    if given[0] < 1 or given[-1] > largest or (np.diff(given) <= 0).any():
        raise ValueError(f"sizes must ascend in 1..{largest}, got {sizes!r}.")
    return given


def _of_sizes(values: Any, name: str, sizes: np.ndarray, finite: bool = True) -> np.ndarray:
    """Return numbers, one for each size."""
    return check_numbers(values, name, (len(sizes),), finite=finite)


def _best_prefix(
    scores: np.ndarray, sizes: np.ndarray, distance: Callable[[np.ndarray], np.ndarray]
) -> Found:
    """Largest scores of the best size; `distance` maps their sums (n, M) to distances (n, M)."""
    top = top_values(scores, sizes[-1])
    distances = distance(np.cumsum(top, axis=1)[:, sizes - 1])
    best, rows = distances.argmin(axis=1), np.arange(len(scores))
    sets = largest_to_csr(scores, top[rows, sizes[best] - 1], sizes[best])
    return sets, distances[rows, best]


def nearest_cosine(scores: np.ndarray, sizes: ArrayLike | None = None) -> Found:
    r"""Set whose simplex-ETF prototype has the largest cosine with the scores: Otsu's split.

    Maximises the Pearson correlation of scores and 0/1 row, :math:`\sum_{k\in S} (s_k - \bar s) /
    \sqrt{m(L-m)}`. The best set of each size is a prefix of the sorted scores, so the search takes
    O(L log L) per sample. It needs no training statistics, and takes plain logits.

    Parameters
    ----------
    scores : ndarray of shape (n, L)
        Logits or tag scores, L >= 2.
    sizes : array-like of int, default=None
        Allowed sizes, ascending, in 1..L-1; None stands for all of them.

    Returns
    -------
    label_sets : csr_array of shape (n, L), int8
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
    scores = as_rows(scores, "scores")
    L = scores.shape[1]
    if L < 2:
        raise ValueError("scores has one label; the cosine rule needs at least 2.")
    m = np.arange(1, L) if sizes is None else _check_sizes(sizes, L - 1)
    found = [_cosine_block(block, m) for _, block in row_blocks(scores, name="scores")]
    sets, distances = zip(*found, strict=True)
    return sp.csr_array(sp.vstack(sets, format="csr")), np.concatenate(distances)


def _cosine_block(scores: np.ndarray, sizes: np.ndarray) -> Found:
    L = scores.shape[1]
    spread = scores.std(axis=1, keepdims=True)
    # Equal scores have no direction: every set is as far, and the first one is taken.
    spread[spread <= 1e-14 * np.abs(scores).max(axis=1, keepdims=True)] = np.inf
    norms = np.sqrt(sizes * (L - sizes)) * spread
    return _best_prefix(scores - scores.mean(axis=1, keepdims=True), sizes, lambda s: -s / norms)


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

    With at most `max_candidates` sets, the search lists them and is exact. With more it is a local
    search with two starts for each size: the top-m scores, and the best smaller set plus one label.
    The best single swap among the labels of largest score is repeated until none helps.

    Parameters
    ----------
    scores : ndarray of shape (n, L)
        Inner products s_k = <t_k, h - g>.
    gram : ndarray of shape (L, L)
        Inner products of the tags, G = T T'.
    sizes, scales, costs : array-like of shape (M,)
        Allowed sizes, ascending; a_m > 0; cost of the prior.
    max_candidates : int, default=4096
        Largest number of sets to list.

    Returns
    -------
    label_sets : csr_array of shape (n, L), int8
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
    check_arguments("nearest_tags", max_candidates=(max_candidates, AT_LEAST_0))
    s = check_numbers(scores, "scores", ("n_samples", "n_labels"))
    L = s.shape[1]
    G, sizes = check_numbers(gram, "gram", (L, L)), _check_sizes(sizes, L)
    scales, costs = _of_sizes(scales, "scales", sizes), _of_sizes(costs, "costs", sizes, False)
    if sum(comb(L, int(m)) for m in sizes) <= max_candidates:
        return _nearest_listed(s, G, sizes, scales, costs)
    return _nearest_by_swaps(s, G, sizes, scales, costs)


def _nearest_listed(
    scores: np.ndarray, gram: np.ndarray, sizes: np.ndarray, scales: np.ndarray, costs: np.ndarray
) -> Found:
    listed = every_set(scores.shape[1], sizes.tolist())
    at = np.searchsorted(sizes, np.diff(listed.indptr))
    constants = scales[at] ** 2 * _squared_norms(listed, gram) + costs[at]
    index, distances = _nearest(scores, scales[at][:, None] * listed.toarray(), constants)
    return listed[index], distances


def _squared_norms(sets: sp.csr_array, gram: np.ndarray) -> np.ndarray:
    """Squared norm of the sum of tags of each set, 1_S' G 1_S."""
    return np.asarray(sets.multiply(sets @ gram).sum(axis=1))


def every_set(n_labels: int, sizes: Iterable[int]) -> sp.csr_array:
    """Every label set of the sizes as an indicator row, in order of size, then lexicographic."""
    sets = [S for m in sizes for S in combinations(range(n_labels), m)]
    indices = np.fromiter(chain.from_iterable(sets), dtype=np.intp)
    indptr = np.cumsum([0, *map(len, sets)])
    data = np.ones(len(indices), dtype=np.int8)
    return sp.csr_array((data, indices, indptr), shape=(len(sets), n_labels))


def _nearest(
    points: np.ndarray, directions: np.ndarray, constants: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Index (n,) and value (n,) of the least constant - 2 <point, direction>, the first on ties."""
    index, value = np.empty(len(points), dtype=np.intp), np.empty(len(points))
    for part in block_slices(len(points), len(directions)):
        D = constants - 2 * points[part] @ directions.T
        index[part], value[part] = D.argmin(axis=1), D.min(axis=1)
    return index, value


def _nearest_by_swaps(
    scores: np.ndarray, gram: np.ndarray, sizes: np.ndarray, scales: np.ndarray, costs: np.ndarray
) -> Found:
    n, L = scores.shape
    width = int(min(L, sizes[-1] + N_SPARE))
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
    sets, at = members_to_csr(chosen, size, L), np.searchsorted(sizes, size)
    inner = np.asarray(sets.multiply(scores).sum(axis=1))
    distances = scales[at] ** 2 * _squared_norms(sets, gram) - 2 * scales[at] * inner + costs[at]
    return sets, distances


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


def nearest_prototype(
    features: np.ndarray, prototypes: np.ndarray, costs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest prototype and ||h - P||^2 - ||h||^2 + cost, the first on ties.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Features h.
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
    h = check_numbers(features, "features", ("n_samples", "n_features"))
    P = check_numbers(prototypes, "prototypes", ("n_prototypes", h.shape[1]))
    if not len(P):
        raise ValueError("prototypes must have one row at least, got none.")
    return _nearest(
        h, P, (P**2).sum(axis=1) + check_numbers(costs, "costs", (len(P),), finite=False)
    )


def subset_marginals(
    scores: ArrayLike, sizes: ArrayLike, slopes: ArrayLike, offsets: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    r"""Compute the marginals of :math:`P(S) \propto \exp(b_m \sum_{k\in S} s_k + o_m)`, m = \|S\|.

    The sum over the sets of one size is an elementary symmetric polynomial in
    :math:`e^{b_m s_k}`. A forward pass builds it label by label in the log domain; a backward
    pass carries probabilities only. O(L M) a sample and size, no cancellation.

    Parameters
    ----------
    scores : ndarray of shape (n, L)
        The scores s_k of the labels.
    sizes : array-like of shape (M,), int
        Sizes with mass, in 1..L.
    slopes, offsets : array-like of shape (M,)
        The numbers b_m and o_m of each size.

    Returns
    -------
    marginals : ndarray of shape (n, M, L)
        Per size m: probability that label k belongs to the set, given its size.
    log_mass : ndarray of shape (n, M)
        Log of the unnormalised mass of each size.

    References
    ----------
    .. [1] Chen, Dempster, Liu, "Weighted finite population sampling to maximize entropy",
       Biometrika 81(3), 1994 (the recursion for the polynomials).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import subset_marginals
    >>> p, log_mass = subset_marginals(
    ...     np.array([[0.0, 0.0, 0.0]]), [2], [1.0], [0.0]
    ... )
    >>> np.round(p, 6), np.round(np.exp(log_mass), 6)
    (array([[[0.666667, 0.666667, 0.666667]]]), array([[3.]]))
    """
    s = check_numbers(scores, "scores", ("n_samples", "n_labels")).astype(np.float64)
    m = _check_sizes(sizes, s.shape[1])
    b, o = _of_sizes(slopes, "slopes", m), _of_sizes(offsets, "offsets", m, finite=False)
    parts = [_one_size(slope * s, size) for size, slope in zip(m.tolist(), b.tolist(), strict=True)]
    marginals = np.stack([p for p, _ in parts], axis=1)
    return marginals, np.stack([e for _, e in parts], axis=1) + o


def _one_size(log_x: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Marginals (n, L) and log e_m (n,) for the m-sets with weights exp(log_x)."""
    n, L = log_x.shape
    log_e = np.full((n, m + 1), -np.inf)  # log e_r of the labels seen so far
    log_e[:, 0] = 0.0
    taken = np.zeros((L, n, m + 1))  # P(label j in S | r of the first j + 1 labels in S)
    for j in range(L):
        with_j = log_x[:, j, None] + log_e[:, :-1]
        total = np.logaddexp(log_e[:, 1:], with_j)
        # Before j labels are seen e_r is 0 for r > j; such states are never reached.
        reached = slice(0, min(m, j + 1))
        taken[j, :, 1:][:, reached] = np.exp(with_j[:, reached] - total[:, reached])
        log_e[:, 1:] = total
    state = np.zeros((n, m + 1))
    state[:, m] = 1.0
    marginals = np.empty((n, L))
    for j in range(L - 1, -1, -1):
        leaving = state * taken[j]
        marginals[:, j] = leaving.sum(axis=1)
        state -= leaving
        state[:, :-1] += leaving[:, 1:]
    return marginals, log_e[:, m]


def observed_marginals(log_weights: np.ndarray, label_sets: Any) -> np.ndarray:
    """Compute the marginals of a distribution over listed label sets.

    Parameters
    ----------
    log_weights : ndarray of shape (n, U)
        Unnormalised log probability of each set.
    label_sets : {csr_array, ndarray} of shape (U, L)
        Indicator rows of the sets.

    Returns
    -------
    ndarray of shape (n, L)
        Probability of each label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import observed_marginals
    >>> observed_marginals(np.log([[0.25, 0.75]]), np.array([[1, 0], [1, 1]]))
    array([[1.  , 0.75]])
    """
    sets = complete_labels(label_sets, "label_sets")
    shape = ("n_samples", sets.shape[0])
    log_weights = check_numbers(log_weights, "log_weights", shape, finite=False)
    return (sets.T @ softmax(log_weights, axis=1).T).T
