"""How long ``import sklearn_mlcl`` takes beyond the imports of torch and scikit-learn.

python -m benchmarks.bench_startup [--json FILE]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks._report import Bar, report

REPEATS = 5
#: What a user of torch and scikit-learn has imported already.
BASE = "import torch, sklearn.base, sklearn.linear_model, sklearn.model_selection, sklearn.metrics"
CODE = f"""
import time
{BASE}
start = time.perf_counter()
import sklearn_mlcl
print(time.perf_counter() - start)
"""


def bars() -> Iterator[Bar]:
    """The one bar: the fastest of several fresh processes."""
    command = [sys.executable, "-c", CODE]
    seconds = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(REPEATS)
    ]
    yield Bar("import sklearn_mlcl", 0.3, min(seconds), "s", config={"after": BASE})


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
