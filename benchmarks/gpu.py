"""All that only a GPU can show: its tests, then its bars, in less than ten minutes.

    python -m benchmarks.gpu [--json FILE] [--dry-run]

Run it in the folder of the repository, or ``make gpu``. Nothing is installed: the Python that runs
it needs torch >= 2.6, scikit-learn, skorch and safetensors. The tests need pytest too; without it
they are left out, and a sentence says so. ``--dry-run`` needs no GPU: it collects the tests, and
runs all bars in tiny sizes on the CPU. Exit status 1 if a test fails, a bar is missed or there is
no GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

NEEDED = {
    "torch": "torch",
    "sklearn": "scikit-learn",
    "skorch": "skorch",
    "safetensors": "safetensors",
}
OLDEST_TORCH = (2, 6)
#: Seconds of the whole run, after which no part of the bars begins, and those that the tests have.
BUDGET, OF_TESTS = 480, 240
ROOT = Path(__file__).resolve().parents[1]


def what_is_missing(dry_run: bool) -> str | None:
    """Return what keeps this machine from the run, as a sentence."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        return (
            f"{sys.executable} has no {', '.join(missing)}: install them, or name another PYTHON."
        )
    import torch

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < OLDEST_TORCH:
        return f"torch >= 2.6 is needed, {sys.executable} has {torch.__version__}."
    if not dry_run and not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no GPU on this machine; --dry-run needs none."
    return None


def tests_pass(dry_run: bool) -> bool:
    """Run tests/test_gpu.py, or collect it in a dry run; True too where pytest is missing."""
    if find_spec("pytest") is None:
        print("pytest is not installed: tests/test_gpu.py is not run", flush=True)
        return True
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    try:
        status = subprocess.run(
            command + ["--collect-only", "-q"] * dry_run, cwd=ROOT, timeout=OF_TESTS
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"tests/test_gpu.py was ended after {OF_TESTS} s", flush=True)
        return False
    return status == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run tests and bars, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the bars to this file")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes, on the CPU")
    options = parser.parse_args(argv)
    if reason := what_is_missing(options.dry_run):
        print(reason)
        return 1
    start = perf_counter()
    passed = tests_pass(options.dry_run)
    from benchmarks import bench_gpu

    rest = ["--dry-run"] * options.dry_run
    rest += [] if options.json is None else ["--json", str(options.json)]
    measured = bench_gpu.main(rest, seconds=BUDGET - (perf_counter() - start))
    missed = [bar.bar for bar in measured if not bar.holds]
    print(f"tests: {'ok' if passed else 'FAILED'}; bars missed: {', '.join(missed) or 'none'}")
    return int(bool(missed) or not passed)


if __name__ == "__main__":
    sys.exit(main())
