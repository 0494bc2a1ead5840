"""The simplex equiangular tight frame."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_mlcl.utils.parameters import ABOVE_0, AT_LEAST_1, Interval, check_arguments


def simplex_etf(
    n_labels: int,
    dim: int | None = None,
    *,
    scale: float = 1.0,
    random_state: Any = None,
) -> np.ndarray:
    r"""Simplex equiangular tight frame: L vectors of equal norm, as far apart as L vectors can be.

    :math:`W = s \sqrt{L/(L-1)}\, B U^\top` with B (L, L-1) an orthonormal basis of the complement
    of the ones vector and U (d, L-1) orthonormal columns, so that
    :math:`W W^\top = s^2 \frac{L}{L-1} (I - \tfrac1L 1 1^\top)`.

    Parameters
    ----------
    n_labels : int
        Number of vectors L, at least 2.
    dim : int, default=None
        Dimension d of the vectors, at least L-1; None stands for L-1.
    scale : float, default=1.0
        Norm s of every vector.
    random_state : int, RandomState instance or None, default=None
        Seeds the draw of U, which is uniform.

    Returns
    -------
    ndarray of shape (n_labels, dim), float64
        The vectors as rows.

    Raises
    ------
    ValueError
        If ``n_labels < 2``, ``dim < n_labels - 1`` or ``scale`` is not positive.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import simplex_etf
    >>> W = simplex_etf(4, 8, random_state=0)
    >>> np.round(W @ W.T, 3)[0]
    array([ 1.   , -0.333, -0.333, -0.333])
    """
    check_arguments(
        "simplex_etf",
        n_labels=(n_labels, Interval(Integral, 2, None, closed="left")),
        dim=(dim, AT_LEAST_1, None),
        scale=(scale, ABOVE_0),
    )
    L, d = int(n_labels), int(n_labels) - 1 if dim is None else int(dim)
    if d < L - 1:
        raise ValueError(
            f"dim={d} is too small: a simplex of n_labels={L} vectors needs dim >= {L - 1}."
        )
    Q, R = np.linalg.qr(check_random_state(random_state).standard_normal((d, L - 1)))
    U = Q * np.sign(np.diag(R))  # uniform draw, whatever signs the LAPACK build chose
    return scale * np.sqrt(L / (L - 1)) * _helmert(L) @ U.T


def _helmert(L: int) -> np.ndarray:
    """(L, L-1) orthonormal basis of the complement of the ones vector."""
    j = np.arange(1, L)
    B = np.triu(np.ones((L, L - 1)))
    B[j, j - 1] = -j
    return B / np.sqrt(j * (j + 1))
