"""What every benchmark shares: the bar, the machine, interleaved timings, the command line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
import skorch
import torch
from threadpoolctl import threadpool_limits

#: The libraries whose versions move a timing.
LIBRARIES = (np, scipy, sklearn, torch, skorch)


@dataclass(frozen=True)
class Bar:
    """One line of the table: what was measured, and the goal it has to keep.

    Parameters
    ----------
    bar : str
        What is measured.
    goal : float or None
        Largest allowed value, or smallest with ``at_least``; None for a figure for comparison.
    measured : float
        What came out.
    unit : str
        "x" for a ratio, "s", "MiB".
    at_least : bool
        Whether more is better.
    config : mapping
        What the figure was taken on: rows, features, labels, layers, batch, epochs, and the like.
    """

    bar: str
    goal: float | None
    measured: float
    unit: str = "x"
    at_least: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the goal is kept; a figure without a goal always is."""
        if self.goal is None:
            return True
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        goal = "" if self.goal is None else f"{sign} {self.goal:g} {self.unit}"
        verdict = "" if self.goal is None else ("ok" if self.holds else "MISSED")
        return f"{self.bar:66s} {goal:>14s} {self.measured:11.4g} {self.unit:4s} {verdict}".rstrip()


def machine(threads: int) -> dict[str, str | int | None]:
    """Return what the figures were taken on: processor, cores, threads, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        **{library.__name__: library.__version__ for library in LIBRARIES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of every call, the calls taking turns so that all see the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return seconds


def median_ratio(seconds: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the ratios within each turn of :func:`interleaved`."""
    return statistics.median(a / b for a, b in zip(seconds, reference, strict=True))


def report(
    bars: Callable[[], Iterator[Bar]],
    description: str,
    argv: Sequence[str] | None = None,
    *,
    threads: int = 1,
) -> list[Bar]:
    """Measure and print the bars, and write them to ``--json``: the body of a ``main``.

    Parameters
    ----------
    bars : callable
        Yields the bars; run under the thread limit.
    description : str
        The docstring of the benchmark; its first line heads the help.
    argv : sequence of str or None
        Command line; None for that of the process.
    threads : int
        Default of ``--threads``.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--threads", type=int, default=threads)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    measured = []
    with threadpool_limits(options.threads):
        on = machine(options.threads)
        print(", ".join(f"{key} {value}" for key, value in on.items()))
        for bar in bars():
            print(bar, flush=True)
            measured.append(bar)
    if options.json is not None:
        table = {"machine": on, "bars": [asdict(bar) for bar in measured]}
        options.json.write_text(json.dumps(table, indent=2) + "\n")
    return measured
