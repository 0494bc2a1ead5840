"""What the pages show is Python, imports what exists, and names parameters that exist."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.rst"))]
FENCED = re.compile(r"```python\n(.*?)```", re.DOTALL)
DIRECTIVE = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def snippets() -> list[Any]:
    """Return the Python of all pages, each with the name of its page."""
    found = []
    for page in PAGES:
        pattern = FENCED if page.suffix == ".md" else DIRECTIVE
        blocks = pattern.findall(page.read_text() + "\n")
        found += [
            pytest.param(inspect.cleandoc(block), id=f"{page.name}-{place}")
            for place, block in enumerate(blocks)
        ]
    return found


def names_imported(tree: ast.Module) -> dict[str, Any]:
    """Import what a snippet imports from this package; return it by name."""
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sklearn_mlcl"):
            # As the statement itself does it: a name may be that of a module nobody imported yet.
            exec(ast.unparse(node), known)
    return known


@pytest.mark.parametrize("code", snippets())
def test_snippets_name_what_exists(code: str) -> None:
    tree = ast.parse(code)
    known = names_imported(tree)
    for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call)]:
        if isinstance(call.func, ast.Name) and call.func.id in known:
            named = {keyword.arg for keyword in call.keywords if keyword.arg}
            parameters = inspect.signature(known[call.func.id]).parameters
            assert named <= set(parameters), f"{call.func.id} has no {named - set(parameters)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_interactive_examples_of_pages_run(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_pages_have_snippets() -> None:
    assert {"README.md-0", "tuning.rst-0"} <= {param.id for param in snippets()}
