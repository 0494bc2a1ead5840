"""From the tables of a full run to what ``doc/performance.rst`` shows: tables and curves."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from benchmarks._report import Bar

matplotlib.use("agg")
from matplotlib import pyplot as plt

#: Columns of the tables, with their widths.
BARS = {"bar": 46, "goal": 20, "measured": 20, "": 14}
FIGURES = {"figure": 70, "measured": 30}
SETTINGS = {"figures": 45, "setting": 55}
FIGURE = """.. figure:: _static/performance_cost.svg
   :alt: Seconds of a whole fit over rows, labels, features, batch size and members.

   Seconds of a whole fit of :class:`ContrastiveMultiLabelClassifier`, two epochs, as one thing
   grows from a common middle; dashed the power of it that fits best.
"""
#: What a curve grows in, on its axis.
AXES = {"n": "rows", "L": "labels", "d": "features", "batch": "batch size", "members": "members"}


def write_page(tables: Mapping[str, Any], doc: Path) -> None:
    """Write the data of the page under ``doc``: the run itself, its tables, the curves."""
    bars = [Bar(**bar) for table in tables.values() for bar in table["bars"]]
    data = doc / "_data"
    (data / "performance.json").write_text(json.dumps(tables, indent=1) + "\n")
    (data / "performance_machine.txt").write_text(_machine(tables) + "\n")
    with_goal = [bar for bar in bars if bar.goal is not None]
    others = [bar for bar in bars if bar.goal is None and "curve" not in bar.config]
    _write_table(data / "performance_bars.txt", BARS, [_with_goal(bar) for bar in with_goal])
    _write_table(
        data / "performance_figures.txt",
        FIGURES,
        [(bar.bar, _amount(bar.measured, bar.unit)) for bar in others],
    )
    _write_table(data / "performance_settings.txt", SETTINGS, _settings([*with_goal, *others]))
    _write_curves(bars, doc)


def _write_table(path: Path, header: Mapping[str, int], rows: Sequence[Sequence[str]]) -> None:
    """Write a table as the directive that shows it; a word if it is empty."""
    if not rows:
        path.write_text("None in this run.\n")
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([list(header), *rows])
    widths = " ".join(str(width) for width in header.values())
    head = f".. csv-table::\n   :header-rows: 1\n   :widths: {widths}\n\n"
    path.write_text(head + textwrap.indent(text.getvalue(), "   "))


def _with_goal(bar: Bar) -> tuple[str, str, str, str]:
    sign = "at least" if bar.at_least else "at most"
    verdict = "kept" if bar.holds else "**missed**"
    goal = f"{sign} {_amount(bar.goal or 0.0, bar.unit)}"
    return bar.bar, goal, _amount(bar.measured, bar.unit), verdict


def _settings(bars: Sequence[Bar]) -> list[tuple[str, str]]:
    """Return each setting once, with the bars that were taken on it."""
    by_setting: dict[str, list[str]] = {}
    for bar in bars:
        if bar.config:
            setting = ", ".join(f"{name} {value}" for name, value in bar.config.items())
            by_setting.setdefault(setting, []).append(bar.bar)
    return [("; ".join(names), setting) for setting, names in by_setting.items()]


def _write_curves(bars: Sequence[Bar], doc: Path) -> None:
    """Write the picture of the curves and the directive that shows it."""
    curves = [bar for bar in bars if "curve" in bar.config]
    fragment = doc / "_data" / "performance_cost.txt"
    if not curves:
        fragment.write_text("The curves are not in this run.\n")
        return
    slopes = {bar.config["exponent"]: bar.measured for bar in bars if "exponent" in bar.config}
    figure = plot_curves(curves, slopes)
    figure.savefig(doc / "_static" / "performance_cost.svg", metadata={"Date": None})
    plt.close(figure)
    fragment.write_text(FIGURE)


def _amount(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{digits} {unit}".strip()


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
