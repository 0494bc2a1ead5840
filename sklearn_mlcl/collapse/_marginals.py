"""Exact label marginals of a distribution over label sets, without listing the sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.special import softmax


def subset_marginals(
    scores: ArrayLike, sizes: ArrayLike, slopes: ArrayLike, offsets: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    r"""Compute the marginals of :math:`P(S) \propto \exp(b_m \sum_{k\in S} s_k + o_m)`, m = \|S\|.

    The sum over the sets of one size is an elementary symmetric polynomial in
    :math:`e^{b_m s_k}`. A forward pass builds it label by label in the log domain; a backward
    pass carries probabilities only. O(K M) a row and size, no cancellation.

    Parameters
    ----------
    scores : ndarray of shape (n, K)
        The scores s_k of the labels.
    sizes : array-like of shape (M,), int
        Sizes with mass, in 1..K.
    slopes, offsets : array-like of shape (M,)
        The numbers b_m and o_m of each size.

    Returns
    -------
    marginals : ndarray of shape (n, M, K)
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
    >>> p, log_mass = subset_marginals(np.array([[0.0, 0.0, 0.0]]), [2], [1.0], [0.0])
    >>> np.round(p, 6), np.round(np.exp(log_mass), 6)
    (array([[[0.666667, 0.666667, 0.666667]]]), array([[3.]]))
    """
    scores = np.asarray(scores, dtype=np.float64)
    per_size = zip(np.asarray(sizes).tolist(), np.asarray(slopes).tolist(), strict=True)
    parts = [_one_size(b * scores, m) for m, b in per_size]
    marginals = np.stack([p for p, _ in parts], axis=1)
    return marginals, np.stack([e for _, e in parts], axis=1) + np.asarray(offsets)


def _one_size(log_x: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Marginals (n, K) and log e_m (n,) for the m-sets with weights exp(log_x)."""
    n, K = log_x.shape
    log_e = np.full((n, m + 1), -np.inf)  # log e_r of the labels seen so far
    log_e[:, 0] = 0.0
    taken = np.zeros((K, n, m + 1))  # P(label j in S | r of the first j + 1 labels in S)
    for j in range(K):
        with_j = log_x[:, j, None] + log_e[:, :-1]
        total = np.logaddexp(log_e[:, 1:], with_j)
        # Before j labels are seen e_r is 0 for r > j; such states are never reached.
        reached = slice(0, min(m, j + 1))
        taken[j, :, 1:][:, reached] = np.exp(with_j[:, reached] - total[:, reached])
        log_e[:, 1:] = total
    state = np.zeros((n, m + 1))
    state[:, m] = 1.0
    marginals = np.empty((n, K))
    for j in range(K - 1, -1, -1):
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
    label_sets : {csr_array, ndarray} of shape (U, K)
        Indicator rows of the sets.

    Returns
    -------
    ndarray of shape (n, K)
        Probability of each label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import observed_marginals
    >>> observed_marginals(np.log([[0.25, 0.75]]), np.array([[1, 0], [1, 1]]))
    array([[1.  , 0.75]])
    """
    sets = sp.csr_array(label_sets, dtype=np.float64)
    return (sets.T @ softmax(log_weights, axis=1).T).T
