"""The page of the performance run: its data from a run, complete and empty."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from benchmarks._performance_page import write_page
from benchmarks.bench_cost import exponent

MACHINE = {"processor": "Cheetah", "cores": 2, "threads": 1, "python": "3.11"}


def bar(name: str, goal: float | None, measured: float, **config: Any) -> dict[str, Any]:
    return {
        "bar": name, "goal": goal, "measured": measured, "unit": "x", "at_least": False,
        "config": config,
    }  # fmt: skip


@pytest.fixture
def doc(tmp_path: Path) -> Path:
    for name in ("_data", "_static"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_run_becomes_tables_and_curves(doc: Path) -> None:
    curve = [bar(f"fit, n = {n}", None, 1e-3 * n, curve="n", value=n) for n in (10, 100, 1000)]
    slope = bar("exponent of the cost of a fit in n", 1.1, 1.0, exponent="n")
    tables = {
        "epoch": {"machine": MACHINE, "bars": [bar("ours / torch", 1.1, 1.2, n=5, batch=64)]},
        "cost": {"machine": {**MACHINE, "threads": 2}, "bars": [*curve, slope]},
    }
    write_page(tables, doc)
    data = {path.name: path.read_text() for path in (doc / "_data").iterdir()}
    assert "ours / torch,at most 1.1 x,1.2 x,**missed**" in data["performance_bars.txt"]
    assert "in n,at most 1.1 x,1 x,kept" in data["performance_bars.txt"]
    assert 'ours / torch,"n 5, batch 64"' in data["performance_settings.txt"]
    assert "fit, n = 10" not in data["performance_figures.txt"]
    assert data["performance_machine.txt"].strip().endswith("thread: epoch. On more: cost (2).")
    assert json.loads(data["performance.json"]) == tables
    assert "performance_cost.svg" in data["performance_cost.txt"]
    assert (doc / "_static" / "performance_cost.svg").read_text().startswith("<?xml")


def test_a_run_without_curves_says_so(doc: Path) -> None:
    write_page({"epoch": {"machine": MACHINE, "bars": []}}, doc)
    assert "not in this run" in (doc / "_data" / "performance_cost.txt").read_text()
    assert (doc / "_data" / "performance_bars.txt").read_text() == "None in this run.\n"
    assert not list((doc / "_static").iterdir())


def test_the_exponent_is_the_slope() -> None:
    values = [1.0, 3.0, 10.0]
    assert exponent(values, [5 * v**1.3 for v in values]) == pytest.approx(1.3)
