"""Long signatures are folded: a constructor with thirty parameters opens on a click."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

#: Signatures with more parameters than this are folded.
MOST = 8


def fold(app: Sphinx, page: nodes.document, name: str) -> None:
    """Wrap the parameters of each long signature into an element that opens on a click."""
    if app.builder.format != "html":
        return
    for signature in list(page.findall(addnodes.desc_parameterlist)):
        parameters = signature.findall(addnodes.desc_parameter)
        count = sum(parameter.astext() != "*" for parameter in parameters)
        if count > MOST:
            opening = f'<details class="signature"><summary>{count} parameters</summary>'
            parts = [nodes.raw("", opening, format="html"), signature.deepcopy()]
            signature.replace_self([*parts, nodes.raw("", "</details>", format="html")])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the fold."""
    app.connect("doctree-resolved", fold)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
