"""One epoch over a memory map of 1,000,000 rows: peak memory, and speed beside the raw loop.

Each fit runs in a process of its own; the raw loop is that which one writes by hand for rows that
fit into memory, on the same rows read from the same file. Resident memory counts the pages of the
map that were read, 430 MiB, which the system takes back when it needs them.

    python -m benchmarks.bench_stream [--json FILE] [--threads 2]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from benchmarks._data import UNREGULARISED, label_rows
from benchmarks._report import Bar, report
from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.losses import BinaryCrossEntropyLoss
from sklearn_mlcl.modules import MLPEncoder
from sklearn_mlcl.modules._encoder import linear_head
from sklearn_mlcl.training import LogitObjective

ROWS, FEATURES, LABELS, BATCH = 1_000_000, 100, 50, 1024
BLOCK = 100_000


def write_rows(folder: Path, n_rows: int) -> None:
    """Write features and labels, a block at a time.

    It belongs into a process of its own: the peak that a process begins with is the memory of the
    one that started it.
    """
    shape = {"X": (n_rows, FEATURES), "Y": (n_rows, LABELS)}
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape[name])
        for name, dtype in (("X", np.float32), ("Y", np.uint8))
    }
    for seed, start in enumerate(range(0, n_rows, BLOCK)):
        part = slice(start, min(start + BLOCK, n_rows))
        X, Y = label_rows(BLOCK, FEATURES, LABELS, seed)
        # The directions are those of the block: only cost is measured here.
        files["X"][part], files["Y"][part] = X[: part.stop - start], Y[: part.stop - start]


def peak_mib() -> float:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def estimator_epoch(folder: Path) -> dict[str, float]:
    """Fit for one epoch from the memory map."""
    X = np.load(folder / "X.npy", mmap_mode="r")
    Y = np.load(folder / "Y.npy", mmap_mode="r")
    clf = MultiLabelMLPClassifier(
        n_estimators=1,
        neighbor_weight=0.0,
        linear_weight=0.0,
        validation=None,
        max_epochs=1,
        batch_size=BATCH,
        random_state=0,
        **UNREGULARISED,
    )
    before = peak_mib()
    start, start_of_cpu = perf_counter(), process_time()
    clf.fit(X, Y)
    whole, cpu = perf_counter() - start, process_time() - start_of_cpu
    return {
        "MiB": peak_mib() - before,
        "rows": len(X) / float(clf.history_["dur"][0]),
        "whole": len(X) / whole,
        "cpu": len(X) / cpu,
    }


def raw_epoch(folder: Path) -> dict[str, float]:
    """Train the same net for one epoch by hand, all rows in memory."""
    X, Y = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in "XY")
    torch.set_num_threads(1)
    module = MLPEncoder(FEATURES)
    objective = LogitObjective(linear_head(256, np.zeros(LABELS)), BinaryCrossEntropyLoss())
    parameters = [*module.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    Y = Y.bool()
    start = perf_counter()
    for index in torch.randperm(len(X)).split(BATCH):
        optimizer.zero_grad()
        objective(module(X[index]), Y[index], None).backward()
        optimizer.step()
    return {"rows": len(X) / (perf_counter() - start)}


def written(folder: Path, n_rows: str) -> dict[str, float]:
    """Write the rows."""
    write_rows(folder, int(n_rows))
    return {}


KINDS: dict[str, Callable[..., dict[str, float]]] = {
    "rows": written,
    "estimator": estimator_epoch,
    "raw": raw_epoch,
}


def in_a_process(kind: str, folder: Path, *options: str) -> dict[str, float]:
    """Run one of the kinds in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.bench_stream", "--kind", kind, str(folder)]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{kind} ended with status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def bars(n_rows: int = ROWS) -> Iterator[Bar]:
    """Peak memory above the imports, and rows a second."""
    config: dict[str, Any] = {
        "n": n_rows,
        "d": FEATURES,
        "L": LABELS,
        "batch": BATCH,
        "layers": (256, 256),
        "members": 1,
        "dtype": "float32 memory map",
        **UNREGULARISED,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_a_process("rows", folder, str(n_rows))
        runs = {kind: in_a_process(kind, folder) for kind in ("raw", "estimator")}
    ours, raw = runs["estimator"], runs["raw"]
    peak = "memory map, one epoch: peak resident above import"
    yield Bar(peak, 0.6 * 1024, ours["MiB"], "MiB", config=config)
    share = ours["rows"] / raw["rows"]
    yield Bar("memory map, one epoch / raw loop in memory", 0.6, share, "x", True, config)
    yield Bar("memory map, epoch", None, ours["rows"], "rows/s", True, config)
    yield Bar("memory map, whole fit", None, ours["whole"], "rows/s", True, config)
    per_cpu = "memory map, whole fit, processor time"
    yield Bar(per_cpu, 45_000, ours["cpu"], "rows/s", True, config)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--kind"]:
        print(json.dumps(KINDS[sys.argv[2]](Path(sys.argv[3]), *sys.argv[4:])))
    else:
        main()
