"""Heads for many labels against PECOS, omikuji and napkinXC: P@1, P@5, PSP@1, and CPU time.

Then nets of many labels: seconds, memory and ranking with a tree of labels, and without one.

Run with ``python -m benchmarks.bench_xmc [--json FILE] [--threads 1]``. The environment variable
SKLEARN_MLCL_DATA is the folder of bibtex and delicious. XMC_PYTHON is the Python of an environment
that has ``libpecos``, ``omikuji`` and ``napkinxc``. Without it, or without one of them, no bar has
the peer. Our C, and whether there is a tree, are chosen on splits of training rows.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.model_selection import train_test_split

from benchmarks._report import Bar, report
from benchmarks._xmc_data import tfidf, xmc_rows
from benchmarks._xmc_peers import PEERS, K
from benchmarks.bench_heads import training_rows
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelLogisticRegression
from sklearn_mlcl.metrics import (
    label_propensities,
    precision_at_k,
    propensity_scored_precision_at_k,
)

#: Rows for training and testing, words and labels of the set that is made.
SYNTHETIC = (15_000, 5_000, 30_000, 4_000)
#: What the split of training rows chooses from.
FLAT = [
    {"label_tree": False, "C": C, "tol": tol}
    for C in (1.0, 2.0, 4.0, 8.0, 16.0)
    for tol in (1e-3, 1e-2)
]
TREES = [{"label_tree": True, "C": C, "tol": tol} for C in (128.0, 1024.0) for tol in (0.05, 0.1)]
#: Labels beyond which no heads without a tree are tried, ours or those of a peer.
FLAT_LABELS, FLAT_PEERS = 2_000, ("napkinxc_br",)
#: Splits of training rows to choose on.
N_SPLITS = 3
#: Differences below are a tie; times may be so many times those of a peer.
TIE, TIMES = 0.005, 3.0
TOPK_ROWS, TOPK_LABELS, ALONE = 20_000, 100_000, 200
#: Labels of the nets, and the goals: seconds and GiB of a fit.
NET_GOALS = {20_000: (120.0, 3.0), 100_000: (None, 6.0)}
#: Epochs of the nets that are compared.
NET_EPOCHS = 8


class Rows(NamedTuple):
    """A set: weighted words and labels of the rows for training and testing."""

    train_X: sp.csr_matrix
    train_Y: sp.csr_matrix
    test_X: sp.csr_matrix
    test_Y: sp.csr_matrix


def real_rows(name: str) -> Rows | None:
    """Return a set of the folder of data sets, with its own split."""
    if training_rows(name) is None:
        return None
    with np.load(Path(os.environ["SKLEARN_MLCL_DATA"]) / f"{name}.npz") as z:
        X, Y = (
            sp.csr_matrix((z[f"{k}_data"], z[f"{k}_indices"], z[f"{k}_indptr"]), z[f"{k}_shape"])
            for k in "XY"
        )
        train, test = z["train_idx"], z["test_idx"]
    own, others = tfidf(X[train], X[test])
    return Rows(own, Y[train], others, Y[test])


def synthetic_rows() -> Rows:
    """Return the set that is made."""
    n_train, n_test, d, L = SYNTHETIC
    X, Y = xmc_rows(n_train + n_test, d, L)
    own, others = tfidf(X[:n_train], X[n_train:])
    return Rows(own, Y[:n_train], others, Y[n_train:])


def splits(rows: Rows) -> Iterator[Rows]:
    """Yield splits of the training rows, to choose on."""
    for seed in range(N_SPLITS):
        X, other_X, Y, other_Y = train_test_split(*rows[:2], test_size=0.2, random_state=seed)
        yield Rows(X, Y, other_X, other_Y)


def scores(rows: Rows, ranked: sp.csr_matrix) -> dict[str, float]:
    """Return P@1, P@5 and PSP@1 of the scores of the best labels."""
    propensities = label_propensities(rows.train_Y)
    return {
        "P@1": precision_at_k(rows.test_Y, ranked, k=1),
        f"P@{K}": precision_at_k(rows.test_Y, ranked, k=K),
        "PSP@1": propensity_scored_precision_at_k(
            rows.test_Y, ranked, propensities=propensities, k=1
        ),
    }


def ours(rows: Rows, settings: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Return scores and CPU seconds of our heads."""
    start = time.process_time()
    heads = MultiLabelLogisticRegression(**settings).fit(rows.train_X, rows.train_Y)
    fitted = time.process_time()
    ranked = heads.predict_topk(rows.test_X, K)
    seconds = {"fit": fitted - start, "predict": time.process_time() - fitted}
    return scores(rows, ranked), seconds


def chosen(rows: Rows) -> dict[str, Any]:
    """Return the settings of the largest sum of scores on splits of training rows."""
    own = list(splits(rows))
    candidates = TREES if rows.train_Y.shape[1] > FLAT_LABELS else FLAT + TREES

    def total(settings: dict[str, Any]) -> float:
        return sum(sum(ours(part, settings)[0].values()) for part in own)

    return max(candidates, key=total)


def theirs(rows: Rows, peer: str) -> tuple[dict[str, float], dict[str, float]] | None:
    """Return scores and CPU seconds of a peer; None if it cannot be run."""
    python = os.environ.get("XMC_PYTHON")
    if python is None:
        print(f"{peer}: $XMC_PYTHON is not set")
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name in ("train_X", "train_Y", "test_X"):
            sp.save_npz(Path(folder) / f"{name}.npz", sp.csr_matrix(getattr(rows, name)))
        script = Path(__file__).with_name("_xmc_peers.py")
        done = subprocess.run(
            [python, str(script), peer, folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(f"{peer} ended with status {done.returncode}: {done.stderr[-300:]}")
            return None
        best = np.load(Path(folder) / f"{peer}.npy")
        seconds = json.loads((Path(folder) / f"{peer}.json").read_text())
    n = len(best)
    falling = np.tile(np.arange(K, 0, -1, dtype=float), n)
    ranked = sp.csr_matrix((falling, best.ravel(), np.arange(0, n * K + 1, K)), rows.test_Y.shape)
    ranked.sum_duplicates()
    return scores(rows, ranked), seconds


def compared(name: str, rows: Rows) -> Iterator[Bar]:
    """Our scores and those of each peer, and the ratios of the times."""
    settings = chosen(rows)
    own, seconds = ours(rows, settings)
    config = {"rows": rows.train_X.shape[0], "features": rows.train_X.shape[1]}
    config |= {"labels": rows.train_Y.shape[1], **settings}
    many = rows.train_Y.shape[1] > FLAT_LABELS
    peers = [peer for peer in PEERS if not (many and peer in FLAT_PEERS)]
    found = {peer: theirs(rows, peer) for peer in peers}
    known = {peer: each for peer, each in found.items() if each is not None}
    for score, value in own.items():
        best = max((each[0][score] for each in known.values()), default=None)
        goal = None if best is None else best - TIE
        yield Bar(f"{name}: {score} of ours", goal, value, "", True, config)
        for peer, each in known.items():
            yield Bar(f"{name}: {score} of {peer}", None, each[0][score], "", config=config)
    yield Bar(f"{name}: fit of ours", None, seconds["fit"], "s", config=config)
    for peer, (_, others) in known.items():
        ratio = seconds["fit"] / others["fit"]
        yield Bar(f"{name}: fit, ours / {peer}", TIMES, ratio, "x", config=config)


def best_labels() -> Iterator[Bar]:
    """Milliseconds of the five best of very many labels, in a batch and alone."""
    n, L = TOPK_ROWS, TOPK_LABELS
    X, Y = xmc_rows(n + 2_000, 30_000, L, seed=1)
    X, others = tfidf(X[:n], X[n:])
    config = {"rows": n, "features": 30_000, "labels": L, "C": 1024.0, "k": K}
    start = time.process_time()
    heads = MultiLabelLogisticRegression(C=1024.0).fit(X, Y[:n])
    yield Bar(f"{L} labels: fit", None, time.process_time() - start, "s", config=config)
    heads.predict_topk(others[:ALONE], K)
    start = time.perf_counter()
    heads.predict_topk(others, K)
    ms = 1e3 * (time.perf_counter() - start) / others.shape[0]
    yield Bar(f"{L} labels: predict_topk, a row of a batch", 2.0, ms, "ms", config=config)
    start = time.perf_counter()
    for i in range(ALONE):
        heads.predict_topk(others[i], K)
    ms = 1e3 * (time.perf_counter() - start) / ALONE
    yield Bar(f"{L} labels: predict_topk, a row alone", None, ms, "ms", config=config)


def large_nets() -> Iterator[Bar]:
    """A default net of one member and one epoch: seconds, memory of the process, search."""
    for L, (seconds, gib) in NET_GOALS.items():
        X, Y = xmc_rows(TOPK_ROWS + 2_000, 30_000, L, seed=1)
        X, others = tfidf(X[:TOPK_ROWS], X[TOPK_ROWS:])
        net = ContrastiveMultiLabelClassifier(n_estimators=1, max_epochs=1, random_state=0)
        config = {"rows": TOPK_ROWS, "features": 30_000, "labels": L, "epochs": 1, "k": K}
        start = time.process_time()
        net.fit(X, Y[:TOPK_ROWS])
        fitted = time.process_time() - start
        yield Bar(f"net, {L} labels: fit", seconds, fitted, "s", config=config)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        yield Bar(f"net, {L} labels: memory", gib, peak, "GiB", config=config)
        net.predict_topk(others[:ALONE], K)
        start = time.perf_counter()
        net.predict_topk(others, K)
        ms = 1e3 * (time.perf_counter() - start) / others.shape[0]
        yield Bar(f"net, {L} labels: predict_topk, a row", 2.0, ms, "ms", config=config)


def compared_nets(rows: Rows) -> Iterator[Bar]:
    """Scores of a net with a tree against those of the same net without one."""
    config = {"rows": rows.train_X.shape[0], "labels": rows.train_Y.shape[1], "epochs": NET_EPOCHS}
    found = {}
    for label_tree in (False, True):
        net = ContrastiveMultiLabelClassifier(
            n_estimators=1,
            max_epochs=NET_EPOCHS,
            random_state=0,
            net_params={"label_tree": label_tree},
        )
        ranked = net.fit(rows.train_X, rows.train_Y).predict_topk(rows.test_X, K)
        found[label_tree] = scores(rows, ranked)
    for score, value in found[True].items():
        flat = found[False][score]
        yield Bar(f"net: {score} without a tree", None, flat, "", config=config)
        yield Bar(f"net: {score} with a tree", flat - TIE, value, "", True, config)


def bars() -> Iterator[Bar]:
    """All bars."""
    yield from large_nets()
    for name in ("bibtex", "delicious"):
        if (rows := real_rows(name)) is not None:
            yield from compared(name, rows)
    yield from compared("synthetic", synthetic_rows())
    yield from compared_nets(synthetic_rows())
    yield from best_labels()


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
