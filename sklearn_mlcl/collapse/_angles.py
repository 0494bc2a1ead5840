"""Angles between label-set means and tag sums: the NC_m and phi metrics."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.collapse._etf import phi_coefficient

BLOCK_ELEMENTS = 2**20
MAX_BASELINE_MEANS = 1000  # means that enter the chance level: an average close to 90 degrees


def angle_degrees(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Row-wise angle, accurate near 0 and 180 degrees; NaN for a zero row."""
    a, b = _unit(A), _unit(B)
    apart, together = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)
    return np.degrees(2 * np.arctan2(apart, together))


def _unit(A: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(A, axis=1, keepdims=True)
    return np.divide(A, norm, out=np.full_like(A, np.nan), where=norm > 0)


def tag_angles(
    directions: np.ndarray,
    sets: sp.csr_array,
    sizes: np.ndarray,
    weights: np.ndarray,
    tags: np.ndarray,
    multiplicities: np.ndarray,
    n_random_sets: int,
    rng: np.random.RandomState,
) -> dict[str, float]:
    """NC_m per size: "ncm_deg_m{m}", its chance level, and the ratio of the two.

    `directions` (U, d) are set means about the intercept, `sets` (U, K) CSR of the tagged labels.
    """
    K = len(tags)
    angles = angle_degrees(directions, sets @ tags)
    out = {"n_degenerate": float(np.isnan(angles).sum())}
    for m in multiplicities.tolist():
        mine = (sizes == m) & np.isfinite(angles)
        degrees = chance = float("nan")
        if mine.any() and K > 2 and m < K:
            degrees = float(np.average(angles[mine], weights=weights[mine]))
            chance = _chance_angle(directions[mine], m, tags, n_random_sets, rng)
        out[f"ncm_deg_m{m}"], out[f"ncm_chance_deg_m{m}"] = degrees, chance
        out[f"ncm_m{m}"] = degrees / chance
    return out


def _chance_angle(
    directions: np.ndarray, m: int, tags: np.ndarray, n_random_sets: int, rng: np.random.RandomState
) -> float:
    """Mean angle between set means and the tag sums of arbitrary m-sets, matched or not."""
    if len(directions) > MAX_BASELINE_MEANS:
        directions = directions[rng.choice(len(directions), MAX_BASELINE_MEANS, replace=False)]
    sums = _unit(_random_sets(len(tags), m, n_random_sets, rng) @ tags)
    sums = sums[np.isfinite(sums[:, 0])]
    u, total = _unit(directions), 0.0
    step = max(1, BLOCK_ELEMENTS // len(sums))
    for start in range(0, len(u), step):
        cosine = u[start : start + step] @ sums.T
        total += np.arccos(np.clip(cosine, -1.0, 1.0)).sum()
    return float(np.degrees(total / (len(u) * len(sums))))


def _random_sets(K: int, m: int, n: int, rng: np.random.RandomState) -> sp.csr_array:
    """All m-sets of K labels if at most n, else n drawn uniformly, as CSR indicator rows."""
    if comb(K, m) <= n:
        members = np.array(list(combinations(range(K), m)))
    else:
        members = np.argsort(rng.random_sample((n, K)), axis=1)[:, :m]
    indptr = np.arange(len(members) + 1) * m
    return sp.csr_array((np.ones(members.size), members.ravel(), indptr), (len(members), K))


def phi_alignment(
    directions: np.ndarray,
    sets: sp.csr_array,
    sizes: np.ndarray,
    n_pairs: int,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines of pairs of set means, their phi coefficients, and the sizes of the pairs."""
    n_sets, K = sets.shape
    first, second = _pairs(n_sets, n_pairs, rng)
    u = _unit(directions)
    cosine = np.empty(len(first))
    step = max(1, BLOCK_ELEMENTS // max(directions.shape[1], K))
    overlap = np.empty(len(first))
    for start in range(0, len(first), step):
        i, j = first[start : start + step], second[start : start + step]
        cosine[start : start + step] = (u[i] * u[j]).sum(axis=1)
        overlap[start : start + step] = np.asarray(sets[i].multiply(sets[j]).sum(axis=1)).ravel()
    phi = phi_coefficient(overlap, sizes[first], sizes[second], K)
    known = np.isfinite(cosine) & np.isfinite(phi)
    pair_sizes = np.column_stack([sizes[first], sizes[second]])
    return cosine[known], phi[known], pair_sizes[known]


def _pairs(n: int, n_pairs: int, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    if n * (n - 1) // 2 <= n_pairs:
        return np.triu_indices(n, 1)
    first = rng.randint(0, n, n_pairs)
    second = rng.randint(0, n - 1, n_pairs)
    return first, second + (second >= first)
