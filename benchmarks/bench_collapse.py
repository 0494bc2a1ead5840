"""Time, memory and search quality of the neural-collapse functions.

    python benchmarks/bench_collapse.py [--json FILE] [--threads N]

Reports: metrics on 20,000 x 64 features with 100 labels (seconds and peak added memory), decoding
of 100,000 rows with 1,000 labels by each variant, and the search against a list of all label sets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
import tracemalloc
from itertools import combinations

import numpy as np
import scipy.sparse as sp
import sklearn
from threadpoolctl import threadpool_limits

from sklearn_mlcl import collapse


def machine(threads):
    """What the figures were taken on."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__}
    return {"cpu": name, "cores": os.cpu_count(), "threads": threads, **versions}


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


def timed(function, repeats=3):
    """Best wall time of the calls, least processor time, and the last answer.

    The processor time, summed over threads, tells a slow function from a busy machine.
    """
    walls, busy = [], []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        answer = function()
        walls.append(time.perf_counter() - start)
        busy.append(time.process_time() - cpu)
    return {"seconds": min(walls), "cpu_seconds": min(busy)}, answer


def bench_metrics(rng):
    """Seconds and peak added MiB of neural_collapse_metrics on 20,000 x 64, K = 100."""
    Y = label_rows(20_000, 100, 3.0, 8, rng)
    T = random_tags(100, 64, rng)
    H = collapsed_features(Y, T, 0.3, rng)
    W = T + 0.05 * rng.standard_normal(T.shape)
    Y = Y.toarray().astype(np.int64)

    def run():
        return collapse.neural_collapse_metrics(H, Y, W)

    seconds, report = timed(run)
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return {
        "shape": [20_000, 64, 100],
        "n_sets": report["n_sets"],
        **seconds,
        "bar_seconds": 3.0,
        "peak_added_mib": peak,
        "bar_mib": 300,
    }


def bench_decoding(rng, n=100_000, K=1000):
    """Seconds to decode by each variant; tags in 64 dimensions, and on a full simplex."""
    out = {}
    Y = label_rows(n, K, 3.0, 8, rng)
    for d, variants in ((64, ("tags", "etf", "cosine")), (K - 1, ("etf", "cosine"))):
        H = collapsed_features(Y, random_tags(K, d, rng), 0.3, rng)
        for variant in variants:
            fit_s, decoder = timed(
                lambda H=H, variant=variant: collapse.fit_onn_decoder(
                    H[:20_000], Y[:20_000], variant=variant
                ),
                repeats=1,
            )
            seconds, _ = timed(lambda H=H, decoder=decoder: decoder.decode(H), repeats=2)
            out[f"{variant}, d={d}"] = {
                **seconds,
                "bar_seconds": 5.0,
                "fit_20000_rows": fit_s,
                "sizes": decoder.sizes.tolist(),
            }
    scores = rng.standard_normal((n, K))
    seconds, _ = timed(lambda: collapse.nearest_cosine(scores), repeats=2)
    out["nearest_cosine of logits, all sizes"] = {**seconds, "bar_seconds": 5.0}
    return out


def all_sets(K, sizes):
    """(n_sets, K) indicator rows of every set of the sizes, smaller first."""
    rows = [S for m in sizes for S in combinations(range(K), m)]
    out = np.zeros((len(rows), K))
    for row, S in zip(out, rows, strict=True):
        row[list(S)] = 1
    return out


def bench_search(rng):
    """Share of answers identical to enumeration, and the largest objective gap."""
    out = {}
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
            out[f"{name}: {label} tags, K={K}, d={d}"] = {
                "identical": float(same),
                "largest_relative_gap": float(gap),
            }
    return out


def random_tags_uneven(K, d, rng):
    """Gaussian tags that sum to zero: far from a simplex."""
    T = rng.standard_normal((K, d))
    return T - T.mean(axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the report to this file")
    parser.add_argument("--threads", type=int, default=2, help="BLAS threads")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with threadpool_limits(options.threads):
        report = {
            "machine": machine(options.threads),
            "metrics": bench_metrics(rng),
            "decoding": bench_decoding(rng),
            "search": bench_search(rng),
        }
    report["max_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        with open(options.json, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
