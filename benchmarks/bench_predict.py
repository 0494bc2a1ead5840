"""``predict_proba`` against the raw module on 100,000 rows; what members add; the vote.

python -m benchmarks.bench_predict [--json FILE] [--threads 2]
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn import functional

from benchmarks._data import SINGLE, label_rows
from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.heads.evaluation import outputs
from sklearn_mlcl.heads.predictor import TEMPERATURE, NeighborHead
from sklearn_mlcl.utils.fit_data import FitData, LabelStats

REPEATS = 15
VOTE_REPEATS = 3
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
    for n_labels, cardinality in ((14, 4), (100, 2), (1000, 3)):
        yield from vote(n_labels, cardinality)


def as_it_comes(X: np.ndarray, Y: np.ndarray) -> Iterator[Bar]:
    """Four members and the vote of 5,000 rows, the defaults."""
    clf = MultiLabelMLPClassifier(max_epochs=1, random_state=0).fit(X[:5000], Y[:5000])
    seconds = interleaved({"ours": lambda: clf.predict_proba(X[:20_000])}, 2)["ours"]
    config = {**ROWS, "n": 20_000, "members": 4, "neighbours": 5000}
    name = "predict_proba with members and neighbours, rows a second"
    yield Bar(name, None, 20_000 / min(seconds), "rows/s", True, config)


def plain_vote(unit: torch.Tensor, votes: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Return the vote by three products, of as many queries at once as fill 16 MiB."""
    answers = []
    for part in functional.normalize(queries, dim=1).split(2**22 // len(unit)):
        kernel = ((part @ unit.T - 1) / TEMPERATURE).exp_()
        answers.append((kernel @ votes) / kernel.sum(dim=1, keepdim=True))
    return torch.cat(answers)


def vote(
    n_labels: int, cardinality: int, n_neighbors: int = 20_000, n: int = 2048, width: int = 1024
) -> Iterator[Bar]:
    """CPU time a row of the vote, of plain products, and of the product of embeddings alone."""
    rng = np.random.default_rng(0)
    embedding, queries = (
        rng.standard_normal((k, width), dtype=np.float32) for k in (n_neighbors, n)
    )
    density = cardinality / n_labels
    Y = sp.random_array((n_neighbors, n_labels), density=density, format="csr", random_state=rng)
    Y.data[:] = 1
    head = NeighborHead(embedding, Y, None, LabelStats.of(FitData(embedding, Y)))
    unit, samples = head.unit, torch.from_numpy(queries)
    votes = torch.from_numpy(Y.toarray()).float()
    calls = {
        "vote": lambda: outputs(head, queries, device="cpu"),
        "plain": lambda: plain_vote(unit, votes, samples),
        "product": lambda: samples @ unit.T,
    }
    seconds = interleaved(calls, VOTE_REPEATS, time.process_time)
    config = {"neighbours": n_neighbors, "width": width, "n": n, "L": n_labels}
    config["labels a row"] = cardinality
    name = f"vote of {n_neighbors:,} neighbours, {n_labels:,} labels"
    micro = 1e6 * min(seconds["vote"]) / n
    yield Bar(f"{name}: CPU time a row", None, micro, "us", config=config)
    ratio = median_ratio(seconds["plain"], seconds["vote"])
    yield Bar(f"{name}: plain products / ours", None, ratio, "x", True, config)
    ratio = median_ratio(seconds["product"], seconds["vote"])
    yield Bar(f"{name}: product of embeddings by torch / ours", None, ratio, "x", True, config)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
