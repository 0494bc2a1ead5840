"""The closed form of the unconstrained-features optimum of the pick-all-label loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from scipy.optimize import brentq

from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.parameters import ABOVE_0, SHARE, Interval, check_arguments

GAMMAS: Mapping[Any, float] = {"sum": 0.0, "mean": 1.0}


@dataclass(frozen=True)
class UFMScaling:
    """Optimum of the unconstrained-features model, as `ufm_scaling` returns it.

    Attributes
    ----------
    omega2 : float
        Squared norm of every classifier row; 0 when the penalties leave only the zero solution.
    c : dict of int to float
        ``c[m]``: the mean of a set S of m labels is ``c[m]`` times the sum of its classifier rows.
    gap : dict of int to float
        Logit gap between a true and a false label.
    relative : dict of int to float
        ``c[m] / c[1]``: the scale against the *sum* of single-label means. With no single-label
        samples the smallest multiplicity takes the place of 1.

    Examples
    --------
    >>> from sklearn_mlcl.collapse import ufm_scaling
    >>> optimum = ufm_scaling(4, {1: 40, 2: 60}, lam_w=5e-3, lam_h=5e-5)
    >>> optimum.relative[1], optimum.relative[2] < 1
    (1.0, True)
    """

    omega2: float
    c: dict[int, float]
    gap: dict[int, float]
    relative: dict[int, float]


def ufm_scaling(
    n_labels: int,
    counts: Mapping[int, float],
    lam_w: float,
    lam_h: float,
    norm: str | float = "sum",
) -> UFMScaling:
    r"""Compute the scales of the collapsed pick-all-label solution from two scalar equations.

    The objective is :math:`\frac1N \sum_i m_i^{-\gamma} L_{PAL}(W h_i, S_i) + \lambda_W \|W\|_F^2 +
    \lambda_H \|H\|_F^2`, with label sets balanced inside each multiplicity and d >= L-1. At the
    optimum the rows of W form a simplex ETF of squared norm :math:`\omega^2`, and :math:`h_S = c_m
    \sum_{k\in S} w_k` with

    .. math:: c_m \left(m\, e^{c_m \omega^2 L/(L-1)} + L - m\right)
       = \frac{L}{2 N \lambda_H m^\gamma}, \qquad
       \lambda_W L = \lambda_H \sum_m N_m c_m^2 \frac{m(L-m)}{L-1}.

    Parameters
    ----------
    n_labels : int
        Number of labels L, at least 2.
    counts : mapping of int to float
        ``counts[m]``: number of samples with m labels, 1 <= m <= L. Samples with all L labels
        count in N and have the zero prototype.
    lam_w, lam_h : float
        Penalties, positive.
    norm : {"sum", "mean"} or float, default="sum"
        Exponent gamma: "sum" is 0, "mean" is 1.

    Returns
    -------
    UFMScaling
        The optimum.

    Raises
    ------
    ValueError
        If an argument is outside the ranges above.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903 (the geometry; the two equations are derived from the loss).

    Examples
    --------
    >>> from sklearn_mlcl.collapse import ufm_scaling
    >>> optimum = ufm_scaling(
    ...     5, {1: 35, 2: 40, 3: 30}, lam_w=5e-3, lam_h=5e-3 / 105
    ... )
    >>> round(optimum.omega2, 6), round(optimum.c[2], 6)
    (2.027847, 1.916968)
    """
    check_arguments(
        "ufm_scaling",
        n_labels=(n_labels, Interval(Integral, 2, None, closed="left")),
        counts=(counts, Mapping),
        lam_w=(lam_w, ABOVE_0),
        lam_h=(lam_h, ABOVE_0),
        norm=(norm, StrOptions(set(GAMMAS)), SHARE),
    )
    L, gamma = n_labels, GAMMAS.get(norm, norm)
    if any(not 1 <= m <= L or n < 0 for m, n in counts.items()):
        raise ValueError(f"counts must map multiplicities in 1..{L} to counts, got {counts!r}.")
    of_size = {m: n for m, n in sorted(counts.items()) if n > 0 and m < L}
    if not of_size:
        raise ValueError("counts holds no sample with a label set other than the full one.")
    m, n = np.array(list(of_size)), np.array(list(of_size.values()), dtype=float)
    targets = L / (2 * sum(counts.values()) * lam_h * m.astype(float) ** gamma)

    def scales(omega2: float) -> np.ndarray:
        rate = omega2 * L / (L - 1)
        return np.array([_scale(rate, *each, L) for each in zip(m, targets, strict=True)])

    def excess(log_omega2: float) -> float:
        """Imbalance of the two norms; falls as omega^2 grows."""
        squares = n * scales(np.exp(log_omega2)) ** 2
        return np.log(lam_h * (squares * m * (L - m)).sum()) - np.log(lam_w * L * (L - 1))

    omega2, c, relative = 0.0, np.zeros(len(m)), np.full(len(m), np.nan)
    if excess(low := -60.0) > 0:
        high = 0.0
        while excess(high) > 0:
            high += 5.0
        omega2 = float(np.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14)))
        c = scales(omega2)
        relative = c / c[0]

    def by_size(values: np.ndarray) -> dict[int, float]:
        return dict(zip(of_size, values.tolist(), strict=True))

    return UFMScaling(omega2, by_size(c), by_size(c * omega2 * L / (L - 1)), by_size(relative))


def _scale(rate: float, m: int, target: float, L: int) -> float:
    """Root c_m of the scaling equation, solved in log c where nothing overflows."""

    def log_sum(log_c: float) -> float:
        return np.logaddexp(np.log(m) + rate * np.exp(log_c), np.log(L - m))

    high = np.log(target / L)  # the sum in brackets is at least L, and at most that of this c
    low = np.log(target) - log_sum(high)
    root = brentq(
        lambda x: x + log_sum(x) - np.log(target), low - 1e-9, high + 1e-9, xtol=1e-14, rtol=1e-14
    )
    return float(np.exp(root))
