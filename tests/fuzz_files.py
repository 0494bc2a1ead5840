"""Strange files for ``load``: forged ones, damaged ones, and those of killed calls of ``save``.

``python -m tests.fuzz_files`` works for about ``FUZZ_S`` seconds (60) from the seed ``FUZZ_SEED``
(the time). A file that does harm is kept in the working directory; the exit status is then 1. Every
file is loaded in a process that is forked from one that imported the package and never fitted.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

import sklearn_mlcl
from sklearn_mlcl.persistence import ModelFileError
from tests.persistence import _forge

#: Cases of tests/persistence/_cases.py with everything in them that files can hold.
CASES = [
    "contrastive", "missing labels", "CSR array of labels", "linear part", "MLP", "fixed frame",
    "nearest label set", "pick all labels", "observed label sets", "C-GMVAE", "C-GMVAE, draws",
    "optimizer", "random state", "monitors", "logistic", "nearest prototype", "calibrated",
    "thresholds by cross-validation", "classes in words", "CSR",
]  # fmt: skip
#: Seconds that a child may take, and MiB that it may take above one with the honest file.
TIMEOUT, MEMORY = 60, 512
FINE, OTHER_CLASS, OTHER_ERROR = 0, 3, 4


def make(folder: Path) -> None:
    """Write the honest files and the samples, in a process of its own: it fits."""
    code = f"""
import numpy as np
from tests.persistence._cases import X, Y, fitted
np.savez({str(folder / "samples.npz")!r}, X=X, Y=Y)
for name in {CASES}:
    fitted(name).save({str(folder)!r} + "/" + name, optimizer=True)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def in_child(work: Callable[[], int]) -> tuple[int, float]:
    """Return how a forked process that works ended (below 0: a signal), and its peak in MiB."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(TIMEOUT)
            status = work()
        finally:
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024


def used(path: Path, root: str, X: Any, Y: Any) -> int:
    """Load a file, predict and go on training; return what is wrong with that."""
    try:
        loaded = sklearn_mlcl.load(path)
    except ModelFileError as error:
        return FINE if str(path) in str(error) else OTHER_ERROR
    except Exception:
        return OTHER_ERROR
    if type(loaded).__name__ != root:
        return OTHER_CLASS
    calls: list[Any] = [
        lambda: loaded.predict_proba(X),
        lambda: loaded.predict(X),
        lambda: loaded.partial_fit(X, Y),
        lambda: loaded.partial_fit(X, Y).predict_proba(X),
        lambda: loaded.transform(X),
    ]
    for call in calls:
        try:
            call()
        except Exception:  # an error is no harm
            continue
    return FINE


def forged(folder: Path, cases: list[str], seconds: float, random: Random) -> Counter[str]:
    """Use forged files; return how often what happened."""
    counts: Counter[str] = Counter()
    torch.optim.SGD([torch.zeros(1)])  # imports for seconds; not in every child
    samples = np.load(folder / "samples.npz")
    X, Y = samples["X"], samples["Y"]
    honest: dict[str, float] = {}
    for name in cases:
        root = _forge.read(folder / name)[0]["class"]
        status, honest[name] = in_child(lambda n=name, r=root: used(folder / n, r, X, Y))
        assert status == FINE, f"the honest file of {name!r} fails"
    path, end = folder / "forged", time.monotonic() + seconds
    while time.monotonic() < end:
        name = random.choice(cases)
        path.write_bytes((folder / name).read_bytes())
        try:
            _forge.forge(path, random)
        except (ValueError, TypeError, OverflowError):
            continue  # no such file can be written
        root = _forge.read(path)[0]["class"]
        status, peak = in_child(lambda r=root: used(path, r, X, Y))
        harm = "" if status == FINE else f"status {status}"
        harm = harm or ("memory" if peak - honest[name] > MEMORY else "")
        counts["forged files"] += 1
        if harm:
            counts[f"HARM {harm}"] += 1
            keep(path, f"{harm} {name} {peak - honest[name]:.0f} MiB")
    return counts


def damaged(folder: Path, cases: list[str], seconds: float, random: Random) -> Counter[str]:
    """Load files with bytes changed; return how often what happened."""
    counts: Counter[str] = Counter()
    path, end = folder / "damaged", time.monotonic() + seconds
    contents = {name: (folder / name).read_bytes() for name in cases}
    while time.monotonic() < end:
        name, seed = random.choice(cases), random.randrange(2**32)

        def work(name: str = name, seed: int = seed) -> int:
            own = Random(seed)
            for _ in range(100):
                path.write_bytes(_forge.mutated(contents[name], own))
                try:
                    sklearn_mlcl.load(path)
                except ModelFileError as error:
                    if str(path) not in str(error):
                        return OTHER_ERROR
            return FINE

        status, _ = in_child(work)
        counts["damaged files"] += 100
        if status != FINE:
            counts[f"HARM damaged {status}"] += 1
            keep(path, f"damaged {status} {name}")
    return counts


def killed(folder: Path, seconds: float, random: Random) -> Counter[str]:
    """Kill processes in ``save``: the file is the old or the new one, no draft stays."""
    counts: Counter[str] = Counter()
    place = folder / "killed"
    place.mkdir()
    path, end = place / "model", time.monotonic() + seconds
    first, second = (sklearn_mlcl.load(folder / name) for name in ("contrastive", "C-GMVAE"))
    first.save(path)

    while time.monotonic() < end:
        child = os.fork()
        if child == 0:
            while True:
                first.save(path)
                second.save(path)
        time.sleep(random.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        counts["kills"] += 1
        counts["drafts after kills"] += len(list(place.iterdir())) - 1
        whole = type(sklearn_mlcl.load(path)) in (type(first), type(second))
        first.save(path)
        if not whole or [p.name for p in place.iterdir()] != [path.name]:
            counts["HARM killed"] += 1
    return counts


def keep(path: Path, what: str) -> None:
    name = f"harm-{time.time_ns()}"
    Path(name).write_bytes(path.read_bytes())
    print(f"{name}: {what}", flush=True)


def run(folder: Path, cases: list[str], seconds: float, seed: int) -> Counter[str]:
    """Forge, damage and kill for some seconds; ``folder`` has honest files and the samples."""
    counts = forged(folder, cases, 0.7 * seconds, Random(seed))
    print(dict(counts), flush=True)
    counts += damaged(folder, cases, 0.15 * seconds, Random(seed))
    counts += killed(folder, 0.15 * seconds, Random(seed))
    print(dict(counts))
    return counts


def main() -> int:
    seconds = float(os.environ.get("FUZZ_S", "60"))
    seed = int(os.environ.get("FUZZ_SEED", str(time.time_ns())))
    print(f"FUZZ_SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        counts = run(Path(folder), CASES, seconds, seed)
    return int(any(key.startswith("HARM") for key in counts))


if __name__ == "__main__":
    sys.exit(main())
