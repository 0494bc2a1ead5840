"""The closed form of the unconstrained-features optimum of the pick-all-label loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq


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
        rows the smallest multiplicity takes the place of 1.

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

    For :math:`\frac1N \sum_i m_i^{-\gamma} L_{PAL}(W h_i, S_i) + \lambda_W \|W\|_F^2 + \lambda_H
    \|H\|_F^2`, balanced inside each multiplicity and d >= K-1, the optimum has rows of W on a
    simplex ETF of squared norm :math:`\omega^2` and :math:`h_S = c_m \sum_{k\in S} w_k` with

    .. math:: c_m \left(m\, e^{c_m \omega^2 K/(K-1)} + K - m\right)
       = \frac{K}{2 N \lambda_H m^\gamma}, \qquad
       \lambda_W K = \lambda_H \sum_m N_m c_m^2 \frac{m(K-m)}{K-1}.

    Parameters
    ----------
    n_labels : int
        Number of labels K, at least 2.
    counts : mapping of int to float
        ``counts[m]``: number of rows with m labels, 1 <= m <= K. Rows with all K labels count in
        N and have the zero prototype.
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
    >>> optimum = ufm_scaling(5, {1: 35, 2: 40, 3: 30}, lam_w=5e-3, lam_h=5e-3 / 105)
    >>> round(optimum.omega2, 6), round(optimum.c[2], 6)
    (2.027847, 1.916968)
    """
    K, gamma = int(n_labels), _gamma(norm)
    _check_positive(lam_w=lam_w, lam_h=lam_h)
    if K < 2:
        raise ValueError(f"n_labels must be at least 2, got {n_labels!r}.")
    if not counts or any(not 1 <= m <= K or n < 0 for m, n in counts.items()):
        raise ValueError(f"counts must map multiplicities in 1..{K} to row counts, got {counts!r}.")
    rows = {m: n for m, n in sorted(counts.items()) if n > 0 and m < K}
    if not rows:
        raise ValueError("counts holds no row with a label set other than the full one.")
    m, n = np.array(list(rows)), np.array(list(rows.values()), dtype=float)
    target = K / (2 * sum(counts.values()) * lam_h * m.astype(float) ** gamma)

    def excess(log_omega2: float) -> float:
        c = _scales(np.exp(log_omega2), m, target, K)
        return np.log(lam_h * (n * c**2 * m * (K - m)).sum()) - np.log(lam_w * K * (K - 1))

    omega2 = _balanced_norm(excess)
    c = _scales(omega2, m, target, K) if omega2 > 0 else np.zeros(len(m))
    relative = c / c[0] if omega2 > 0 else np.full(len(m), np.nan)
    keys = m.tolist()
    return UFMScaling(
        omega2=omega2,
        c=dict(zip(keys, c.tolist(), strict=True)),
        gap=dict(zip(keys, (c * omega2 * K / (K - 1)).tolist(), strict=True)),
        relative=dict(zip(keys, relative.tolist(), strict=True)),
    )


def _gamma(norm: str | float) -> float:
    named = {"sum": 0.0, "mean": 1.0}
    if isinstance(norm, str) and norm not in named:
        raise ValueError(f'norm must be "sum", "mean" or a float in [0, 1], got {norm!r}.')
    gamma = named[norm] if isinstance(norm, str) else float(norm)
    if not 0 <= gamma <= 1:
        raise ValueError(f'norm must be "sum", "mean" or a float in [0, 1], got {norm!r}.')
    return gamma


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}.")


def _scales(omega2: float, m: np.ndarray, target: np.ndarray, K: int) -> np.ndarray:
    """Roots c_m of the scaling equation, solved in log c where nothing overflows."""
    rate = omega2 * K / (K - 1)
    return np.array([_scale(rate, mi, ti, K) for mi, ti in zip(m, target, strict=True)])


def _scale(rate: float, m: int, target: float, K: int) -> float:
    def excess(log_c: float) -> float:
        growth = np.logaddexp(np.log(m) + rate * np.exp(log_c), np.log(K - m))
        return log_c + growth - np.log(target)

    high = np.log(target / K)  # the bracket is m e^x + K - m >= K
    low = high - 1.0
    while excess(low) > 0:
        low -= 2 * (high - low)
    return float(np.exp(brentq(excess, low, high + 1e-9, xtol=1e-14, rtol=1e-14)))


def _balanced_norm(excess: Callable[[float], float]) -> float:
    """Root omega^2 of the norm balance; excess falls as omega^2 grows."""
    low, high = -60.0, 0.0
    if excess(low) <= 0:
        return 0.0
    while excess(high) > 0:
        high += 5.0
    return float(np.exp(brentq(excess, low, high, xtol=1e-14, rtol=1e-14)))
