"""How long ``import sklearn_mlcl`` takes beyond the imports of torch and scikit-learn.

python -m benchmarks.bench_startup [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks._report import Bar, report

REPEATS = 5
#: What a user of torch and scikit-learn has imported already.
BASE = "import torch, sklearn.base, sklearn.linear_model, sklearn.model_selection, sklearn.metrics"
#: Forgets the files of what is imported beyond the base, as after a start of the machine.
FORGET = """
import os, pathlib, importlib.util
for name in ("sklearn_mlcl", "skorch", "safetensors"):
    folder = pathlib.Path(importlib.util.find_spec(name).origin).parent
    for path in folder.rglob("*"):
        if path.suffix in (".py", ".pyc", ".so"):
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
"""
CODE = """
import time
start = time.perf_counter()
{base}
before = time.perf_counter() - start
{forget}
start = time.perf_counter()
import sklearn_mlcl
print([before, time.perf_counter() - start])
"""


def fastest(forget: str = "") -> list[float]:
    """Return the seconds of the base and of our import, the smallest over fresh processes."""
    command = [sys.executable, "-c", CODE.format(base=BASE, forget=forget)]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(REPEATS)
    ]
    return [min(times) for times in zip(*runs, strict=True)]


def bars() -> Iterator[Bar]:
    """The bar, and what is beside it: the base, and files that must come from the disk."""
    base, ours = fastest()
    config = {"after": BASE}
    yield Bar("import sklearn_mlcl", 0.3, ours, "s", config=config)
    yield Bar("import torch and scikit-learn", None, base, "s")
    if sys.platform == "linux":
        yield Bar(
            "import sklearn_mlcl, files on disk", None, fastest(FORGET)[1], "s", config=config
        )


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
