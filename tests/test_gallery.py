"""Every example is in the gallery, which runs it; one of them runs here."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def agg() -> Iterator[None]:
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    with threadpool_limits(1):
        yield
    plt.close("all")
    matplotlib.use(backend)


def test_the_gallery_runs_every_example_and_stops_at_errors() -> None:
    configuration = ast.parse((ROOT / "doc" / "conf.py").read_text())
    (gallery,) = (
        ast.literal_eval(node.value)
        for node in configuration.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "sphinx_gallery_conf"
    )
    assert gallery["abort_on_example_error"] is True
    assert (ROOT / "doc" / gallery["examples_dirs"]).resolve() == ROOT / "examples"
    for example in EXAMPLES:
        assert re.search(gallery["filename_pattern"], str(example)), example.name
        title = ast.get_docstring(ast.parse(example.read_text())) or ""
        assert re.match(r".+\n={4,}\n\n\w", title), f"{example.name} has no title and text"


def test_an_example_runs_as_a_script(agg: None, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = runpy.run_path(str(ROOT / "examples" / "plot_mixed_columns.py"))
    printed = capsys.readouterr().out
    assert list(names["Y"].columns) == ["outage", "slow", "invoice", "refund"]
    assert all(label in printed for label in names["Y"].columns)
    (axis,) = plt.gcf().axes
    drawn = {text.get_text().split(" (")[0] for text in axis.get_legend().get_texts()}
    assert set(names["Y"].columns) <= drawn
