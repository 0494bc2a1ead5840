"""``predict_proba`` against the raw module on 100,000 rows; what members and neighbours add.

python -m benchmarks.bench_predict [--json FILE] [--threads 2]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from benchmarks._data import SINGLE, label_rows
from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl import MultiLabelMLPClassifier

REPEATS = 15
ROWS = {"n": 100_000, "d": 100, "L": 14}


def raw_probabilities(clf: MultiLabelMLPClassifier, X: np.ndarray, size: int) -> np.ndarray:
    """Return what the module and its head give, in slices of ``size`` rows."""
    net = torch.nn.Sequential(clf.net_.module_, clf.net_.criterion_.head).eval()
    with torch.inference_mode():
        parts = torch.from_numpy(X).split(size)
        return torch.cat([net(part).sigmoid() for part in parts]).numpy()


def bars() -> Iterator[Bar]:
    """All bars; the raw module in one piece and in slices, of which the faster counts."""
    X, Y = label_rows(**ROWS)
    clf = MultiLabelMLPClassifier(**SINGLE, max_epochs=1).fit(X[:5000], Y[:5000])
    sizes = (1024, 2048, 4096, 8192, len(X))
    calls = {"ours": lambda: clf.predict_proba(X)}
    for size in sizes:
        calls[f"raw {size}"] = lambda size=size: raw_probabilities(clf, X, size)
    calls["topk"] = lambda: clf.predict_topk(X, 3)
    seconds = interleaved(calls, REPEATS)
    fastest = min((seconds[f"raw {size}"] for size in sizes), key=min)
    config = {**ROWS, **SINGLE, "dtype": "float32"}
    speed = median_ratio(fastest, seconds["ours"])
    yield Bar("predict_proba / raw module, rows a second", 0.9, speed, "x", True, config)
    rate = len(X) / min(seconds["ours"])
    yield Bar("predict_proba, rows a second", None, rate, "rows/s", True, config)
    rate = len(X) / min(seconds["topk"])
    yield Bar("predict_topk, rows a second", None, rate, "rows/s", True, {**config, "k": 3})
    yield from as_it_comes(X, Y)


def as_it_comes(X: np.ndarray, Y: np.ndarray) -> Iterator[Bar]:
    """Four members and the vote of 5,000 rows, the defaults."""
    clf = MultiLabelMLPClassifier(max_epochs=1, random_state=0).fit(X[:5000], Y[:5000])
    seconds = interleaved({"ours": lambda: clf.predict_proba(X[:20_000])}, 2)["ours"]
    config = {**ROWS, "n": 20_000, "members": 4, "neighbours": 5000}
    name = "predict_proba with members and neighbours, rows a second"
    yield Bar(name, None, 20_000 / min(seconds), "rows/s", True, config)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
