"""What an epoch costs: a model of four terms in n, d, L, B and K, and how far it is off.

The operations of encoder and heads, those of the pairs, what a step costs whatever its size, and
what a sample of a member costs whatever its width: each has a price, found by least squares over a
grid of settings.

    python -m benchmarks.study_scale [--csv FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from benchmarks._data import label_rows
from sklearn_mlcl import ContrastiveMultiLabelClassifier

#: Width of the layers of the encoder, and of the projection: the defaults.
HIDDEN, PROJECTION = 256, 64
EPOCHS = 2
#: Samples, features, labels, samples of a batch and members.
GRID = (
    *((4_000, 100, 14, 128, K) for K in (1, 4)),
    *((n, 100, 14, 128, 1) for n in (1_000, 16_000)),
    *((4_000, d, 14, 128, 1) for d in (32, 400, 1_600)),
    *((4_000, 100, L, 128, 1) for L in (100, 400, 1_000)),
    *((16_000, 100, 14, B, 1) for B in (32, 512, 2_048)),
    (16_000, 400, 100, 512, 1),
    (4_000, 400, 100, 128, 4),
    (8_000, 1_000, 200, 256, 2),
)
TERMS = ("10^9 operations of layers", "10^9 operations of pairs", "step", "1,000 samples")


def epoch_seconds(n: int, d: int, L: int, B: int, K: int) -> float:
    """Return the processor seconds of an epoch, all else of a fit left out."""
    X, Y = label_rows(n, d, L)
    took = []
    for epochs in (EPOCHS, 2 * EPOCHS):
        clf = ContrastiveMultiLabelClassifier(
            n_estimators=K,
            batch_size=B,
            max_epochs=epochs,
            early_stopping=False,
            validation=None,
            neighbor_weight=0.0,
            random_state=0,
        )
        start = process_time()
        clf.fit(X, Y)
        took.append(process_time() - start)
    return (took[1] - took[0]) / EPOCHS


def terms(n: int, d: int, L: int, B: int, K: int) -> list[float]:
    """Return how much of each term an epoch has."""
    steps = ceil(n / B)
    layers = 6 * n * K * HIDDEN * (d + HIDDEN + PROJECTION + L)
    pairs = 6 * steps * K * PROJECTION * (B + L) ** 2
    return [layers / 1e9, pairs / 1e9, steps, n * K / 1e3]


def main(argv: Sequence[str] | None = None) -> pd.DataFrame:
    """Measure the grid, print the prices, and write settings, seconds and estimates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, default=None)
    given = parser.parse_args(argv)
    epoch_seconds(500, 20, 5, 64, 1)  # what a process does once
    seconds = np.array([epoch_seconds(*setting) for setting in GRID])
    amounts = np.array([terms(*setting) for setting in GRID])
    # Relative errors count, so that a small setting has its say.
    prices, _ = nnls(amounts / seconds[:, None], np.ones(len(seconds)))
    table = pd.DataFrame(GRID, columns=["n", "d", "L", "B", "K"])
    table["seconds"], table["estimate"] = seconds, amounts @ prices
    for name, price in zip(TERMS, prices, strict=True):
        print(f"{price * 1e3:9.3f} ms for a {name}")
    error = (table["estimate"] / table["seconds"] - 1).abs()
    print(f"error: median {error.median():.0%}, largest {error.max():.0%}")
    print(table.round(3).to_string(index=False))
    if given.csv is not None:
        table.round(3).to_csv(given.csv, index=False)
    return table


if __name__ == "__main__":
    main()
