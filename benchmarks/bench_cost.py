"""What a whole fit costs as rows, labels, features, batch and members grow.

One thing grows at a time from a common middle, the number of epochs stays the same. The exponent
is the slope of the line through the logarithms, by least squares.

    python -m benchmarks.bench_cost [--json FILE] [--threads 1]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks._data import label_rows
from benchmarks._report import Bar, report
from sklearn_mlcl import ContrastiveMultiLabelClassifier

#: The middle, and what each of its numbers grows through. Two decades for n and L.
MIDDLE: dict[str, int] = {"n": 4000, "L": 14, "d": 100, "batch": 128, "members": 2}
CURVES: dict[str, list[int]] = {
    "n": [1_000, 3_000, 10_000, 30_000, 100_000],
    "L": [10, 30, 100, 300, 1_000],
    "d": [32, 128, 512, 2048],
    "batch": [32, 128, 512, 2048],
    "members": [1, 2, 4, 8, 16],
}
EPOCHS = 2
REPEATS = 2
#: Largest allowed exponent; the others are shown for comparison.
GOALS = {"n": 1.1, "L": 1.1}


def fit_seconds(n: int, L: int, d: int, batch: int, members: int) -> float:
    """Return the seconds of a fit with all that comes after the training, the better of some."""
    X, Y = label_rows(n, d, L)
    clf = ContrastiveMultiLabelClassifier(
        n_estimators=members, batch_size=batch, max_epochs=EPOCHS, random_state=0
    )
    seconds = []
    for _ in range(REPEATS):
        start = perf_counter()
        clf.fit(X, Y)
        seconds.append(perf_counter() - start)
    return min(seconds)


def exponent(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log(seconds) on log(values)."""
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


def curve(name: str) -> Iterator[Bar]:
    """One figure a point and the exponent of all."""
    seconds = []
    for value in CURVES[name]:
        setting: dict[str, Any] = {**MIDDLE, name: value}
        seconds.append(fit_seconds(**setting))
        config = {**setting, "epochs": EPOCHS, "curve": name, "value": value}
        yield Bar(f"fit, {name} = {value}", None, seconds[-1], "s", config=config)
    config = {**MIDDLE, "epochs": EPOCHS, "exponent": name, "values": CURVES[name]}
    slope = exponent(CURVES[name], seconds)
    yield Bar(f"exponent of the cost of a fit in {name}", GOALS.get(name), slope, "", config=config)


def bars() -> Iterator[Bar]:
    """All curves."""
    fit_seconds(**{**MIDDLE, "n": 500})  # what a process does once
    for name in CURVES:
        yield from curve(name)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
