"""From the tables of a full run to what ``doc/performance.rst`` shows: tables and curves."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks._report import Bar

matplotlib.use("agg")
from matplotlib import pyplot as plt

#: What a curve grows in, on its axis.
AXES = {"n": "rows", "L": "labels", "d": "features", "batch": "batch size", "members": "members"}


def write_page(tables: Mapping[str, Any], doc: Path) -> None:
    """Write the data of the page under ``doc``: the run itself, its tables, the curves."""
    bars = [Bar(**bar) for table in tables.values() for bar in table["bars"]]
    data = doc / "_data"
    (data / "performance.json").write_text(json.dumps(tables, indent=1) + "\n")
    with_goal = [bar for bar in bars if bar.goal is not None]
    others = [bar for bar in bars if bar.goal is None and "curve" not in bar.config]
    _write_table(data / "performance_bars.csv", ["bar", "goal", "measured", ""], with_goal)
    _write_table(data / "performance_figures.csv", ["figure", "measured"], others)
    _write_settings(data / "performance_settings.csv", [*with_goal, *others])
    (data / "performance_machine.txt").write_text(_machine(tables) + "\n")
    curves = [bar for bar in bars if "curve" in bar.config]
    slopes = {bar.config["exponent"]: bar.measured for bar in bars if "exponent" in bar.config}
    if curves:
        figure = plot_curves(curves, slopes)
        figure.savefig(doc / "_static" / "performance_cost.svg", metadata={"Date": None})
        plt.close(figure)


def _amount(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{digits} {unit}".strip()


def _write_table(path: Path, header: Sequence[str], bars: Sequence[Bar]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for bar in bars:
            measured = _amount(bar.measured, bar.unit)
            if bar.goal is None:
                writer.writerow([bar.bar, measured])
                continue
            sign = "at least" if bar.at_least else "at most"
            verdict = "kept" if bar.holds else "**missed**"
            goal = f"{sign} {_amount(bar.goal, bar.unit)}"
            writer.writerow([bar.bar, goal, measured, verdict])


def _write_settings(path: Path, bars: Sequence[Bar]) -> None:
    """Write each setting once, with the bars that were taken on it."""
    by_setting: dict[str, list[str]] = {}
    for bar in bars:
        if bar.config:
            setting = ", ".join(f"{name} {value}" for name, value in bar.config.items())
            by_setting.setdefault(setting, []).append(bar.bar)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["figures", "setting"])
        writer.writerows(["; ".join(names), setting] for setting, names in by_setting.items())


def _machine(tables: Mapping[str, Any]) -> str:
    """Return the machine in a sentence; the number of threads is that of each table."""
    machine = dict(next(iter(tables.values()))["machine"])
    threads = {name: table["machine"]["threads"] for name, table in tables.items()}
    machine.pop("threads")
    one = ", ".join(name for name, n in threads.items() if n == 1)
    several = ", ".join(f"{name} ({n})" for name, n in threads.items() if n != 1)
    text = f"{machine.pop('processor')}, {machine.pop('cores')} cores; "
    text += ", ".join(f"{name} {version}" for name, version in machine.items())
    text += f". On one thread: {one or 'none'}."
    return text + (f" On more: {several}." if several else "")


def plot_curves(curves: Sequence[Bar], slopes: Mapping[str, float]) -> Any:
    """Return a figure with seconds over each thing that grows, and the fitted power of it."""
    names = [name for name in AXES if any(bar.config["curve"] == name for bar in curves)]
    figure, axes = plt.subplots(
        1, len(names), figsize=(2.6 * len(names), 2.8), sharey=True, layout="constrained"
    )
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        points = [(b.config["value"], b.measured) for b in curves if b.config["curve"] == name]
        x, y = np.array(points).T
        axis.loglog(x, y, "o-", color="tab:blue", ms=4)
        slope = slopes[name]
        middle = np.exp(np.log(y).mean() + slope * (np.log(x) - np.log(x).mean()))
        axis.loglog(x, middle, "--", color="tab:gray", lw=1)
        axis.set(xlabel=AXES[name], title=f"exponent {slope:.2f}")
        axis.spines[["top", "right"]].set_visible(False)
    np.atleast_1d(axes)[0].set_ylabel("seconds of a fit")
    return figure
