"""Docstrings inherited from scikit-learn refer to its glossary and pages, which are not here."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

#: A term of the glossary, or a label of a page: its name, or the text that it shows.
ROLE = re.compile(r":(?:term|ref):`([^`<]+?)(?:\s*<[^`>]*>)?`")


def show_words(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Take the links off the references of what scikit-learn wrote."""
    written = getattr(obj, "fget", None) or obj
    written = inspect.unwrap(written) if inspect.isroutine(written) else written
    if (getattr(written, "__module__", None) or "").startswith("sklearn."):
        lines[:] = [ROLE.sub(r"``\1``", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the step."""
    app.connect("autodoc-process-docstring", show_words)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
