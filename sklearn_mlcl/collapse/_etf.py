"""The simplex equiangular tight frame and the phi identity: the geometry of exact collapse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_mlcl.collapse._label_sets import complete_labels
from sklearn_mlcl.utils.parameters import check_arguments
from sklearn_mlcl.utils.validation import check_numbers


def phi_matrix(label_sets: Any, other: Any = None) -> np.ndarray:
    r"""Phi coefficients between label sets: the cosines of their prototypes under exact collapse.

    For sets S and T of m and l labels out of L that share r,

    .. math:: \phi(S, T) = \frac{rL - ml}{\sqrt{m(L-m)\, l(L-l)}},

    the Pearson correlation of the two 0/1 rows and, for a simplex ETF :math:`u_k`, the cosine of
    :math:`\sum_{k\in S} u_k` and :math:`\sum_{k\in T} u_k`.

    Parameters
    ----------
    label_sets : {array-like, sparse array} of shape (n, L)
        Indicator rows, one per label set.
    other : {array-like, sparse array} of shape (n_other, L), default=None
        Second family of sets; None stands for `label_sets`.

    Returns
    -------
    ndarray of shape (n, n_other), float64
        NaN where a set is empty or full: its prototype is the zero vector.

    Raises
    ------
    ValueError
        If the two families have different numbers of labels.

    Examples
    --------
    >>> from sklearn_mlcl.collapse import phi_matrix
    >>> phi_matrix([[1, 1, 0, 0]], [[0, 0, 1, 1], [1, 0, 1, 0]])
    array([[-1.,  0.]])
    """
    A = complete_labels(label_sets, "label_sets")
    B = A if other is None else complete_labels(other, "other")
    L = A.shape[1]
    if B.shape[1] != L:
        raise ValueError(f"other has {B.shape[1]} labels where label_sets has {L}.")
    m, l = np.asarray(A.sum(axis=1)), np.asarray(B.sum(axis=1))
    return phi_coefficient((A @ B.T).toarray(), m[:, None], l[None, :], L)


def phi_coefficient(overlap: np.ndarray, m: np.ndarray, l: np.ndarray, L: int) -> np.ndarray:
    """Phi of sets of m and l labels out of L that share `overlap`; arrays that broadcast."""
    spread = np.sqrt(m * (L - m) * l * (L - l))
    out = np.full(np.broadcast_shapes(np.shape(overlap), spread.shape), np.nan)
    return np.divide(overlap * L - m * l, spread, out=out, where=spread > 0)


def etf_deviation(A: ArrayLike, B: ArrayLike | None = None, *, center: bool = True) -> float:
    r"""Distance of a Gram matrix from the simplex ETF: NC2 with one argument, NC3 with two.

    :math:`\| G/\|G\|_F - (I - \tfrac1L 1 1^\top)/\sqrt{L-1} \|_F` with :math:`G = A B^\top`: 0 for
    a simplex ETF of any scale, and with B the self-duality of classifier and prototypes. In
    d < L-1 dimensions it is at least :math:`\sqrt{2 - 2\sqrt{d/(L-1)}}`. Without centring, L
    orthogonal vectors of one norm have :math:`\sqrt{2 - 2\sqrt{(L-1)/L}}`.

    Parameters
    ----------
    A, B : array-like of shape (L, d)
        The vectors as rows. B=None stands for A.
    center : bool, default=True
        Subtract the mean row first.

    Returns
    -------
    float
        NaN if L < 2 or the Gram matrix is zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import etf_deviation
    >>> (
    ...     round(etf_deviation(np.eye(10)), 6),
    ...     round(etf_deviation(np.eye(10), center=False), 4),
    ... )
    (0.0, 0.3204)
    """
    check_arguments("etf_deviation", center=(center, "boolean"))
    left = check_numbers(A, "A", ("L", "d")).astype(np.float64)
    right = left if B is None else check_numbers(B, "B", left.shape).astype(np.float64)
    L = len(left)
    if L < 2:
        return float("nan")
    if center:
        left, right = left - left.mean(axis=0), right - right.mean(axis=0)
    G = left @ right.T
    norm = np.linalg.norm(G)
    if norm == 0:
        return float("nan")
    return float(np.linalg.norm(G / norm - (np.eye(L) - 1 / L) / np.sqrt(L - 1)))
