"""Many fits and loads in one process: memory stays flat, and nothing is left behind.

``python -m tests.fuzz_soak`` soaks each estimator for a share of ``FUZZ_S`` seconds (60), or for
``FUZZ_N`` fits and as many loads, in a process of its own. After a few rounds that warm up,
resident memory may grow by 2 % at most, and no more handles, threads, drafts of files, estimators
and tensors may be there. The tests do a short run.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone

import sklearn_mlcl
from sklearn_mlcl import (
    MultiLabelLogisticRegression,
    MultiLabelThresholdClassifierCV,
    MultiLabelVotingClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from tests.small import CLASSIFIERS, small

#: Growth of resident memory that is noise, and rounds after which it is looked at: allocators keep
#: what the first rounds gave back.
MOST_GROWTH, WARM_UP = 0.02, 10

HEADS = MultiLabelLogisticRegression()
ESTIMATORS: dict[str, Any] = {
    **{make.__name__: small(make) for make in CLASSIFIERS},
    "NearestLabelSetClassifier": NearestLabelSetClassifier(),
    "MultiLabelThresholdClassifierCV": MultiLabelThresholdClassifierCV(HEADS, cv=2),
    "MultiLabelCalibratedClassifierCV": MultiLabelCalibratedClassifierCV(HEADS, cv=2),
    "MultiLabelVotingClassifierCV": MultiLabelVotingClassifierCV(
        [("a", HEADS), ("b", clone(HEADS))], cv=2
    ),
}


def left(folder: Path) -> dict[str, int]:
    """Count what a process holds and what lies in a folder."""
    gc.collect()
    tasks = Path("/proc/self/task")
    return {
        "handles": len(os.listdir("/dev/fd")),
        "threads": len(os.listdir(tasks)) if tasks.exists() else threading.active_count(),
        "files": len(os.listdir(folder)),
        "estimators": sum(issubclass(type(o), BaseEstimator) for o in gc.get_objects()),
        "tensors": sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects()),
    }


def resident() -> float:
    """Return the resident memory of this process in MiB, 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def soaked(one_round: Callable[[], Any], folder: Path, n: int, end: float) -> str:
    """Do many rounds, and return what is wrong after them; print how it went."""
    for _ in range(WARM_UP):
        one_round()
    before, start, done = left(folder), resident(), 0
    while done < n and time.monotonic() < end:
        one_round()
        done += 1
    after, now = left(folder), resident()
    print(f"{done} rounds, {start:.1f} -> {now:.1f} MiB, {after}", flush=True)
    more = [name for name in before if after[name] > before[name]]
    wrong = [f"{name}: {before[name]} -> {after[name]}" for name in more]
    if now > start * (1 + MOST_GROWTH):
        wrong.append(f"resident memory: {start:.1f} -> {now:.1f} MiB")
    return ", ".join(wrong)


def soak(name: str, n: int, seconds: float) -> list[str]:
    """Soak an estimator, and return what it leaves behind; print how it went."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    Y = (X[:, :3] + rng.normal(size=(60, 3)) > 0).astype(int)
    model = ESTIMATORS[name]
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"

        def fit() -> None:
            clone(model).fit(X, Y).predict_proba(X)

        def load() -> None:
            fitted.save(path)
            sklearn_mlcl.load(path).predict_proba(X)

        for what in ("fit", "load"):
            fitted = clone(model).fit(X, Y)
            fitted.save(path)
            print(f"{name}, {what}:", end=" ", flush=True)
            end = time.monotonic() + seconds / 2
            left_behind = soaked(fit if what == "fit" else load, Path(folder), n, end)
            if left_behind:
                wrong.append(f"LEFT after {what}: {left_behind}")
                print(wrong[-1], flush=True)
    return wrong


def main() -> int:
    """Soak the estimators named, or all, each in a process of its own; 0 if nothing is left."""
    if sys.argv[1:]:
        name, n, seconds = sys.argv[1:]
        return int(bool(soak(name, int(n), float(seconds))))
    n = os.environ.get("FUZZ_N", str(10**9))
    seconds = "inf" if "FUZZ_N" in os.environ else os.environ.get("FUZZ_S", "60")
    share = str(float(seconds) / len(ESTIMATORS))
    command = [sys.executable, "-m", "tests.fuzz_soak"]
    return max([subprocess.run([*command, name, n, share]).returncode for name in ESTIMATORS])


if __name__ == "__main__":
    sys.exit(main())
