"""Slow, obvious reference implementations: loops, and lists of all label sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np


def all_sets(L, sizes):
    """(n_sets, L) indicator rows of all sets of the sizes, smaller then lexicographic first."""
    rows = []
    for m in sizes:
        for S in combinations(range(L), m):
            row = np.zeros(L)
            row[list(S)] = 1
            rows.append(row)
    return np.array(rows)


def nearest_listed(H, prototypes):
    """Index of the nearest prototype of each row, by a loop."""
    return np.array([np.argmin([np.sum((h - P) ** 2) for P in prototypes]) for h in H])


def listed_marginals(scores, sizes, slopes, offsets):
    """Marginals and total log mass of every size, by listing the sets, one row at a time."""
    L = scores.shape[1]
    marginals = np.zeros((len(scores), len(sizes), L))
    log_mass = np.zeros((len(scores), len(sizes)))
    for i, s in enumerate(scores):
        for j, (m, b, o) in enumerate(zip(sizes, slopes, offsets, strict=True)):
            sets = all_sets(L, [m])
            logw = b * sets @ s + o
            top = logw.max()
            w = np.exp(logw - top)
            marginals[i, j] = w @ sets / w.sum()
            log_mass[i, j] = top + np.log(w.sum())
    return marginals, log_mass


def collapsed(L, d, sets, repeats, offset=0.0, noise=0.0, scale=None, seed=0):
    """Features on an ETF with scales per size, an offset and noise; and their labels."""
    from sklearn_mlcl.collapse import simplex_etf

    rng = np.random.default_rng(seed)
    scale = (lambda m: m**-0.3) if scale is None else scale
    T = 2.0 * simplex_etf(L, d, random_state=seed)
    Y = np.repeat(np.asarray(sets), repeats, axis=0)
    H = np.array([scale(y.sum()) * (y @ T) for y in Y]) + offset
    return H + noise * rng.standard_normal(H.shape), Y, T


def loop_nc1(H, Y, m, r_max):
    """NC1 and its trace form for the label sets of m labels with at least two rows."""
    groups: dict = {}
    for h, y in zip(H, Y, strict=True):
        if y.sum() == m:
            groups.setdefault(tuple(y), []).append(h)
    groups = {k: np.array(v) for k, v in groups.items() if len(v) >= 2}
    n = sum(len(v) for v in groups.values())
    mean = sum(v.sum(axis=0) for v in groups.values()) / n
    d = H.shape[1]
    within, between = np.zeros((d, d)), np.zeros((d, d))
    for rows in groups.values():
        center = rows.mean(axis=0)
        for h in rows:
            within += np.outer(h - center, h - center)
        between += len(rows) / n * np.outer(center - mean, center - mean)
    within /= sum(len(v) - 1 for v in groups.values())
    values, vectors = np.linalg.eigh(between)
    r = min(r_max, len(groups) - 1, d)
    terms = [vectors[:, -j - 1] @ within @ vectors[:, -j - 1] / values[-j - 1] for j in range(r)]
    return float(np.mean(terms)), float(np.trace(within) / np.trace(between))
