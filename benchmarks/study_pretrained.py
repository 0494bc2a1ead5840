"""The claim of arXiv:2412.00101 with a pretrained encoder: every loss with the same heads.

``python -m benchmarks.study_pretrained --texts PATH`` fits the cells that the results lack (one
JSON line each), then writes the tables that ``doc/losses.rst`` shows. It may be killed at any
moment and started again; ``--seconds 600`` ends it in time for a machine that is lent for ten
minutes, ``--report-only`` fits nothing. ``--mode frozen`` puts small nets on embeddings of the
encoder, which are computed once and kept in ``--embeddings``; ``--mode fine-tuned`` trains the
encoder. It needs the packages of the extra ``pretrained``, and texts that the user has fetched
(``benchmarks/_pretrained_data.py``).

``--plan home`` is what two cores can do: frozen embeddings in full, and fine-tuning on up to 800
rows. ``--plan gpu`` is about an hour of a GPU: fine-tuning of all sizes, too.

Settings were chosen on training rows. The test rows are predicted once, with C and thresholds from
held-out training rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from benchmarks._pretrained_data import read_titles, tokens, with_embeddings
from benchmarks._pretrained_fit import METHODS, REFERENCES, run_cell
from benchmarks._resumable import Row, RowFile

N_LABELS, N_SEEDS = (28, 90, 287), 3
#: 2 %, 10 % and all of the training rows.
N_ROWS = (57, 284, 2839)
#: Labels and rows that are fine-tuned first, and with lost positives.
HOME = (28, 800)
MODES = ("frozen", "fine-tuned")
KEY = ("mode", "n_labels", "n_rows", "method", "lost", "seed")
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "rows" / "study_pretrained.jsonl"
TABLES = ROOT / "doc" / "_data"
SCORES = {"map": "mAP", "f1_micro": "micro-F1", "f1_macro": "macro-F1"}
#: Heads, and what their columns are called.
HEADS = {"own": ", own", "refitted": ""}
EXTRA = {"neighbours": "mAP, neighbours", "new_labels": "mAP, new labels"}


def cells(mode: str, sizes: Sequence[tuple[int, int]], seed: int) -> Iterator[Row]:
    """Yield the cells of a mode and a seed; with 800 rows also without half of the positives."""
    for (n_labels, n_rows), method in product(sizes, (*METHODS, *REFERENCES[mode])):
        for lost in (False, True) if (n_labels, n_rows) == HOME else (False,):
            yield dict(zip(KEY, (mode, n_labels, n_rows, method, lost, seed), strict=True))


def plan(name: str, modes: Sequence[str]) -> Iterator[Row]:
    """Yield what is to be done: first what two cores fine-tune on, with all positives."""
    everything = [*product(N_LABELS, N_ROWS)]
    sizes = {
        "frozen": [HOME, *everything],
        "fine-tuned": [HOME, *(s for s in everything if name == "gpu" or s[1] <= HOME[1])],
    }
    for mode in modes:
        tasks = [task for seed in range(N_SEEDS) for task in cells(mode, sizes[mode], seed)]
        yield from sorted(tasks, key=_later)


def _later(task: Row) -> tuple[bool, bool]:
    return task["lost"], (task["n_labels"], task["n_rows"]) != HOME


def run(tasks: Iterator[Row], done: RowFile, data: Any, seconds: float) -> int:
    """Do missing cells until one more might not end in time; return how many were done."""
    start, longest, n_done = time.monotonic(), 0.0, 0
    for task in tasks:
        if done.key_of(task) in done.rows:
            continue
        began = time.monotonic()
        if began - start + longest > seconds:
            break
        done.add(run_cell(data, task))
        n_done += 1
        longest = max(longest, time.monotonic() - began)
        print(*task.values(), f"{time.monotonic() - began:.0f} s", flush=True)
    return n_done


# ---------------------------------------------------------------------- the report


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Return one line for each cell, with a column for each score and each kind of heads."""
    lines = []
    for row in rows:
        line = {name: row[name] for name in KEY}
        line |= {title: row.get(name) for name, title in EXTRA.items()}
        for heads, suffix in HEADS.items():
            own = row.get(heads, {})
            line |= {f"{title}{suffix}": own.get(name) for name, title in SCORES.items()}
        lines.append(line)
    return pd.DataFrame(lines).astype(dict.fromkeys(columns_of(EXTRA), float))


def columns_of(extra: dict[str, str]) -> list[str]:
    """Return the columns of scores in their order."""
    both = [f"{title}{suffix}" for suffix in HEADS.values() for title in SCORES.values()]
    return [*both, *extra.values()]


def compared(frame: pd.DataFrame, mode: str, lost: bool) -> pd.DataFrame:
    """Return the cells of sizes and seeds that all methods that were run in a mode have done."""
    part = frame[(frame["mode"] == mode) & (frame["lost"] == lost)]
    n_methods = part["method"].nunique()
    counts = part.groupby(["n_labels", "n_rows", "seed"])["method"].transform("size")
    return part[counts == n_methods]


def by_size(part: pd.DataFrame) -> pd.DataFrame:
    """Return the mAP of refitted heads by size, means over the seeds; the default has its own."""
    best = part["mAP"].fillna(part["mAP, own"])
    index = ["n_labels", "n_rows"]
    table = part.assign(best=best).pivot_table("best", index, "method", sort=False).sort_index()
    table["seeds"] = part.groupby(index)["seed"].nunique()
    return table.rename_axis(["labels", "rows"])


def add_default(fine_tuned: pd.DataFrame, frozen: pd.DataFrame) -> None:
    """Put the default on frozen embeddings beside fine-tuned encoders of the same size."""
    if "default" in frozen:
        fine_tuned.insert(len(fine_tuned.columns) - 1, "default, frozen", frozen["default"])


def by_method(part: pd.DataFrame) -> pd.DataFrame:
    """Return means over sizes and seeds, and the spread of mAP over the seeds of a size."""
    part = part.assign(best=part["mAP"].fillna(part["mAP, own"]))
    groups = part.groupby("method", sort=False)
    table = groups[columns_of(EXTRA)].mean()
    spreads = part.groupby(["method", "n_labels", "n_rows"], sort=False)["best"].std()
    table["spread"] = spreads.groupby("method", sort=False).mean()
    table["seeds"] = groups["seed"].nunique()
    return table.rename_axis("loss")


def after_loss(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mAP with all positives, and where half of them were lost in training."""
    index = ["mode", "n_labels", "n_rows", "seed", "method"]
    best = frame.assign(best=frame["mAP"].fillna(frame["mAP, own"]))
    pairs = best.pivot_table("best", index, "lost", sort=False).dropna()
    table = pairs.groupby(["mode", "method"], sort=False).mean()
    table["seeds"] = pairs.groupby(["mode", "method"], sort=False).size()
    return table.rename(columns={False: "all", True: "half"}).rename_axis(["mode", "loss"])


def report(rows: Sequence[Row], folder: Path) -> None:
    """Write the tables of what is done."""
    frame = frame_of(rows)
    tables = {}
    for mode in frame["mode"].unique():
        part = compared(frame, mode, lost=False)
        name = mode.replace("-", "_")
        # Scores of a fine-tuned encoder say little where 57 rows trained it.
        at_home = (part["n_labels"] == HOME[0]) & (part["n_rows"] == HOME[1])
        detailed = part[at_home] if mode == "fine-tuned" else part
        tables |= {f"{name}_sizes": by_size(part), f"{name}_means": by_method(detailed)}
    if tables.keys() >= {"frozen_sizes", "fine_tuned_sizes"}:
        add_default(tables["fine_tuned_sizes"], tables["frozen_sizes"])
    if frame["lost"].nunique() == 2:
        tables["lost"] = after_loss(frame)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"study_pretrained_{name}.csv", float_format="%.3f")


def main(argv: Sequence[str] | None = None) -> None:
    """Fit what is missing, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="folder with JSON files, or a file of NumPy")
    parser.add_argument("--embeddings", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tables", type=Path, default=TABLES)
    parser.add_argument("--plan", choices=("home", "gpu"), default="home")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--methods", nargs="+", choices=[*METHODS, *sum(REFERENCES.values(), ())])
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--report-only", action="store_true", help="fit nothing")
    options = parser.parse_args(argv)
    done = RowFile(options.out, KEY)
    if not options.report_only:
        if options.texts is None:
            parser.error("--texts must name the texts; see benchmarks/_pretrained_data.py.")
        data = with_embeddings(read_titles(options.texts), options.embeddings)
        data.update(X=tokens(data.texts), X_test=tokens(data.texts_test))
        torch.set_num_threads(1)
        with threadpool_limits(1):
            tasks = plan(options.plan, options.mode)
            if options.methods is not None:
                tasks = (task for task in tasks if task["method"] in options.methods)
            run(tasks, done, data, options.seconds)
    report([*done.rows.values()], options.tables)


if __name__ == "__main__":
    main()
