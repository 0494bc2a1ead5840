"""Run the benchmarks, each in a process of its own, and print one table.

    python -m benchmarks [NAME ...] [--json FILE] [--page FOLDER]

A NAME is that of a file without ``bench_``; by default those of the performance page, ``all`` is
every one. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._report import Bar

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
#: The table of ``doc/performance.rst``, in its order.
PAGE = ("epoch", "heads", "fit", "realmlp", "predict", "stream", "cost", "gpu", "startup")


def run(name: str) -> dict[str, Any] | None:
    """Run one benchmark, which prints as it goes; return the table that it wrote, None if it broke.

    A benchmark that breaks, or that the system ends for its memory, leaves the others their turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.json"
        command = [sys.executable, "-m", f"benchmarks.bench_{name}", "--json", str(table)]
        status = subprocess.run(command, cwd=FOLDER.parent).returncode
        if status:
            print(f"{name} ended with status {status}", flush=True)
            return None
        return json.loads(table.read_text())


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for, print all bars, and return 1 if one is missed or broke off."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, help="also write all tables to this file")
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="write the data of the performance page there"
    )
    options = parser.parse_args(argv)
    names = NAMES if options.names == ["all"] else options.names or PAGE
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(NAMES)}")
    tables, broken = {}, []
    for name in names:
        print(f"\n{name}", flush=True)
        table = run(name)
        if table is None:
            broken.append(name)
        else:
            tables[name] = table
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(tables, indent=2) + "\n")
    if options.page is not None:
        _write_page(tables, options.page)
    n_missed = summary(tables)
    print("".join(f"{name} broke off\n" for name in broken), end="")
    return int(n_missed > 0 or bool(broken))


def _write_page(tables: dict[str, Any], doc: Path) -> None:
    # Needs matplotlib, which no benchmark does.
    from benchmarks._performance_page import write_page

    missing = sorted(set(PAGE) - set(tables))
    if missing:
        raise SystemExit(f"the page shows full runs only; missing: {', '.join(missing)}")
    write_page(tables, doc)


def summary(tables: dict[str, Any]) -> int:
    """Print bar, goal and measured of all tables; return the number of bars missed."""
    bars = {name: [Bar(**bar) for bar in table["bars"]] for name, table in tables.items()}
    print(f"\n{'bar':66s} {'goal':>14s} {'measured':>11s}")
    for name, measured in bars.items():
        print(f"{name}: {', '.join(f'{k} {v}' for k, v in tables[name]['machine'].items())}")
        print("\n".join(f"{bar}" for bar in measured))
    with_goal = [bar for measured in bars.values() for bar in measured if bar.goal is not None]
    missed = [bar for bar in with_goal if not bar.holds]
    print(f"{len(missed)} of {len(with_goal)} bars missed")
    return len(missed)


if __name__ == "__main__":
    sys.exit(main())
