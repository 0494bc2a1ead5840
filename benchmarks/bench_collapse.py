"""Time, memory and search quality of the neural-collapse functions.

    python -m benchmarks.bench_collapse [--json FILE] [--threads N]

Bars: metrics on 20,000 x 64 features with 100 labels (seconds and peak added memory), decoding
of 100,000 rows with 1,000 labels by each variant, and the search against a list of all label sets.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks._report import Bar, report
from sklearn_mlcl import collapse


def label_rows(n, K, mean_labels, max_labels, rng):
    """CSR label sets with popular and rare labels and 1 + Poisson sizes."""
    popularity = 1 / (10 + np.arange(K))
    sizes = 1 + np.minimum(rng.poisson(mean_labels - 1, n), max_labels - 1)
    keys = rng.random((n, K)) ** (1 / (popularity / popularity.max()))
    order = np.argpartition(-keys, max_labels, axis=1)[:, :max_labels]
    keep = np.arange(max_labels) < sizes[:, None]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    return sp.csr_array((np.ones(keep.sum()), order[keep], indptr), (n, K))


def collapsed_features(Y, tags, noise, rng):
    """Scaled tag sums with an offset and isotropic noise of `noise` times the tag norm."""
    sizes = np.diff(Y.indptr)
    scale = sizes**-0.3
    sigma = noise * np.sqrt((tags**2).sum(axis=1).mean() / tags.shape[1])
    H = scale[:, None] * (Y @ tags) + 1.0
    return H + sigma * rng.standard_normal(H.shape)


def random_tags(K, d, rng):
    """A simplex ETF if it fits, else random unit vectors, with 10 % uneven norms."""
    if d >= K - 1:
        return collapse.simplex_etf(K, d, random_state=0)
    T = rng.standard_normal((K, d))
    T *= rng.uniform(0.9, 1.1, (K, 1)) / np.linalg.norm(T, axis=1, keepdims=True)
    return T - T.mean(axis=0)


def timed(name: str, goal: float | None, function: Callable[[], Any], repeats: int = 3) -> tuple:
    """Two bars, best wall time and least processor time of the calls, and the last answer.

    The processor time, summed over threads, tells a slow function from a busy machine.
    """
    walls, busy = [], []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        answer = function()
        walls.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
    bars = [Bar(name, goal, min(walls), "s"), Bar(f"{name}, processor time", None, min(busy), "s")]
    return bars, answer


def metrics_bars(rng: np.random.Generator) -> Iterator[Bar]:
    """Seconds and peak added MiB of neural_collapse_metrics on 20,000 x 64, K = 100."""
    Y = label_rows(20_000, 100, 3.0, 8, rng)
    T = random_tags(100, 64, rng)
    H = collapsed_features(Y, T, 0.3, rng)
    W = T + 0.05 * rng.standard_normal(T.shape)
    Y = Y.toarray().astype(np.int64)

    def run() -> dict:
        return collapse.neural_collapse_metrics(H, Y, W)

    bars, _ = timed("metrics, n 20,000 d 64 K 100", 3, run)
    yield from bars
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    yield Bar("peak of the metrics, n 20,000 d 64 K 100", 300, peak, "MiB")


def decoding_bars(rng: np.random.Generator, n: int = 100_000, K: int = 1000) -> Iterator[Bar]:
    """Seconds to decode by each variant; tags in 64 dimensions, and on a full simplex."""
    Y = label_rows(n, K, 3.0, 8, rng)
    for d, variants in ((64, ("tags", "etf", "cosine")), (K - 1, ("etf", "cosine"))):
        H = collapsed_features(Y, random_tags(K, d, rng), 0.3, rng)
        for variant in variants:
            case = f"{variant}, d {d} K {K}"
            bars, decoder = timed(
                f"fit of the decoder on 20,000 rows, {case}",
                None,
                lambda H=H, variant=variant: collapse.fit_onn_decoder(
                    H[:20_000], Y[:20_000], variant=variant
                ),
                repeats=1,
            )
            yield from bars
            bars, _ = timed(
                f"decoding of {n:,} rows, {case}",
                5,
                lambda H=H, decoder=decoder: decoder.decode(H),
                repeats=2,
            )
            yield from bars
    scores = rng.standard_normal((n, K))
    case = f"nearest_cosine of {n:,} rows of logits, all sizes, K {K}"
    bars, _ = timed(case, 5, lambda: collapse.nearest_cosine(scores), repeats=2)
    yield from bars


def all_sets(K, sizes):
    """(n_sets, K) indicator rows of every set of the sizes, smaller first."""
    rows = [S for m in sizes for S in combinations(range(K), m)]
    out = np.zeros((len(rows), K))
    for row, S in zip(out, rows, strict=True):
        row[list(S)] = 1
    return out


def search_bars(rng: np.random.Generator) -> Iterator[Bar]:
    """Share of answers identical to enumeration, and the largest objective gap."""
    for K, d, label in ((8, 7, "simplex"), (8, 8, "uneven"), (8, 4, "crowded"), (14, 8, "crowded")):
        T = collapse.simplex_etf(K, d) if label == "simplex" else random_tags_uneven(K, d, rng)
        sizes = np.arange(1, min(K, 6))
        scales = sizes**-0.3
        listed = all_sets(K, sizes)
        P = (scales[listed.sum(axis=1).astype(int) - 1])[:, None] * (listed @ T)
        H = P[rng.integers(0, len(P), 500)]
        H = H + 0.4 * np.sqrt((T**2).sum(axis=1).mean() / d) * rng.standard_normal(H.shape)
        D = (P**2).sum(axis=1) - 2 * H @ P.T
        zero = np.zeros(len(sizes))
        for name, limit in (("listed", 4096), ("swaps", 0)):
            sets, value = collapse.nearest_tags(
                H @ T.T, T @ T.T, sizes, scales, zero, max_candidates=limit
            )
            same = (sets.toarray() == listed[D.argmin(axis=1)]).all(axis=1).mean()
            gap = (value - D.min(axis=1)).max() / np.abs(D.min(axis=1)).mean()
            case = f"search, {name}, {label} tags, K {K} d {d}"
            exact = 1 if name == "listed" else None
            yield Bar(f"{case}: share identical", exact, float(same), "", at_least=True)
            yield Bar(f"{case}: largest gap", None, float(gap), "")


def random_tags_uneven(K, d, rng):
    """Gaussian tags that sum to zero: far from a simplex."""
    T = rng.standard_normal((K, d))
    return T - T.mean(axis=0)


def bars() -> Iterator[Bar]:
    """All bars."""
    rng = np.random.default_rng(0)
    yield from metrics_bars(rng)
    yield from decoding_bars(rng)
    yield from search_bars(rng)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
