"""A whole fit against ``MLPClassifier``; members in a stack against one by one; a busy machine.

python -m benchmarks.bench_fit [--json FILE] [--threads 2]
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from benchmarks._data import SINGLE, UNREGULARISED, label_rows
from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.utils import runtime

REPEATS = 5
ROWS = {"n": 10_000, "d": 100, "L": 14}
TRAINING = {"max_epochs": 10, "batch_size": 200}
MEMBERS = 8


def sklearn_mlp(X: Any, Y: Any) -> Callable[[], Any]:
    """Return a fit of ``MLPClassifier`` that runs all its epochs."""
    peer = MLPClassifier(
        SINGLE["hidden_layer_sizes"],
        batch_size=TRAINING["batch_size"],
        max_iter=TRAINING["max_epochs"],
        n_iter_no_change=TRAINING["max_epochs"],
        tol=0.0,
        random_state=0,
    )

    def fit() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return peer.fit(X, Y)

    return fit


def whole_fits() -> Iterator[Bar]:
    """Same layers, batch and epochs; like for like, and ours as they come.

    Like for like is without what regularises ours, of which the peer has nothing, and on the two
    threads that its products take. As they come ours choose one thread for nets of this size.
    """
    X, Y = label_rows(**ROWS)
    makers = {"mlp": MultiLabelMLPClassifier, "contrastive": ContrastiveMultiLabelClassifier}
    goals = {"mlp, like for like": 1.0, "contrastive, like for like": 1.5}
    calls: dict[str, Callable[[], Any]] = {"peer": sklearn_mlp(X, Y)}
    for name, make in makers.items():
        plain, whole = (
            lambda make=make, options=options: make(**SINGLE, **TRAINING, **options).fit(X, Y)
            for options in (UNREGULARISED, {})
        )
        calls[f"{name}, like for like"] = on_threads(2, plain)
        calls[f"{name}, unregularised, one thread"] = plain
        calls[f"{name}, two threads"] = on_threads(2, whole)
        calls[name] = whole
    seconds = interleaved(calls, REPEATS)
    config = {**ROWS, **SINGLE, **TRAINING}
    for name in calls:
        if name != "peer":
            ratio = median_ratio(seconds[name], seconds["peer"])
            yield Bar(f"fit: {name} / MLPClassifier", goals.get(name), ratio, config=config)
    yield Bar("fit: MLPClassifier", None, min(seconds["peer"]), "s", config=config)


def members() -> Iterator[Bar]:
    """Eight members in one stack against eight fits, each at the thread count that suits it."""
    rows = {"n": 2_000, "d": 100, "L": 14}
    training = {"max_epochs": 5, "batch_size": 128}
    X, Y = label_rows(**rows)
    options = {**SINGLE, **training}
    stack = MultiLabelMLPClassifier(**{**options, "n_estimators": MEMBERS})

    def one_by_one() -> None:
        for seed in range(MEMBERS):
            MultiLabelMLPClassifier(**{**options, "random_state": seed}).fit(X, Y)

    calls = {}
    for threads in (1, 2):
        calls[f"stack {threads}"] = on_threads(threads, lambda: stack.fit(X, Y))
        calls[f"apart {threads}"] = on_threads(threads, one_by_one)
    seconds = interleaved(calls, REPEATS)
    best = {
        kind: min((seconds[f"{kind} {threads}"] for threads in (1, 2)), key=min)
        for kind in ("stack", "apart")
    }
    config = {**rows, **options, "n_estimators": MEMBERS}
    ratio = median_ratio(best["apart"], best["stack"])
    yield Bar(f"{MEMBERS} fits / {MEMBERS} members in a stack", 1.5, ratio, "x", True, config)
    yield Bar(f"{MEMBERS} members in a stack", None, min(best["stack"]), "s", config=config)


def on_threads(n_threads: int, call: Callable[[], Any]) -> Callable[[], Any]:
    """Return the call with so many threads for torch and BLAS, and set as the caller's choice."""

    def limited() -> Any:
        before = torch.get_num_threads()
        os.environ["OMP_NUM_THREADS"] = str(n_threads)
        torch.set_num_threads(n_threads)
        try:
            # Torch does not tell whether its number of threads was chosen.
            with threadpool_limits(n_threads), patch.object(runtime, "THREADS_AT_IMPORT", 0):
                return call()
        finally:
            torch.set_num_threads(before)
            del os.environ["OMP_NUM_THREADS"]

    return limited


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy by a process of its own."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def beside_a_busy_core() -> Iterator[Bar]:
    """The same fit with and without another process on one of the cores."""
    rows = {"n": 2_000, "d": 100, "L": 14}
    X, Y = label_rows(**rows)
    estimator = ContrastiveMultiLabelClassifier(max_epochs=5, random_state=0)

    def disturbed() -> None:
        with busy_core():
            estimator.fit(X, Y)

    seconds = interleaved({"busy": disturbed, "idle": lambda: estimator.fit(X, Y)}, REPEATS)
    ratio = median_ratio(seconds["busy"], seconds["idle"])
    config = {**rows, "estimator": "ContrastiveMultiLabelClassifier()", "max_epochs": 5}
    yield Bar("fit beside a busy core / on the idle machine", 2.5, ratio, config=config)


def bars() -> Iterator[Bar]:
    """All bars."""
    yield from whole_fits()
    yield from members()
    yield from beside_a_busy_core()


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
