"""Formulas as MathML, written when the pages are built: readers load no script, from nowhere.

Docutils has a converter from LaTeX. What it does not know stops the build with the formula's text,
so that no page is published with a formula in red. The font is the one that ziamath brings; without
a font made for formulas browsers draw small brackets.
"""

from __future__ import annotations

import re
from importlib.resources import as_file, files
from itertools import count, pairwise
from pathlib import Path
from shutil import copyfile
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator

NAMESPACE = ' xmlns="http://www.w3.org/1998/Math/MathML"'
FONT = "STIXTwoMath-Regular.ttf"
SIZED = re.compile(r"\\([bB]igg?)\s*(\\[{}|]|[()\[\]|/])")
BRACE = re.compile(r"(\\(?:left|right|[bB]igg?[lr]?)\s*)?(\\[{}])")
SHORT_FRACTION = re.compile(r"(frac)(\d)(\d)")
APPLICATION = "\u2061"
BARS = {"|", "‖"}


def in_known_words(formula: str) -> str:
    r"""Write what the converter does not read in words that it does.

    Sized delimiters say whether they open or close (``\big(`` is ``\bigl(``; bars open and close
    in turn), braces do not grow, and ``\tfrac12`` has its own.
    """
    bars = count()

    def with_side(match: re.Match[str]) -> str:
        size, delimiter = match.groups()
        if delimiter == "/":
            return "/"
        opens = next(bars) % 2 == 0 if delimiter[-1] == "|" else delimiter[-1] in "([{"
        return rf"\{size}{'l' if opens else 'r'}{delimiter}"

    def sized(match: re.Match[str]) -> str:
        return (match[1] or r"\big") + match[2]

    formula = SIZED.sub(with_side, BRACE.sub(sized, formula))
    return SHORT_FRACTION.sub(r"\1{\2}{\3}", formula)


def set_spaces(element: ElementTree.Element) -> None:
    """Space as TeX does: none around bars, a little around the name of a function."""
    thin = {"width": "0.17em"}
    for parent in list(element.iter()):
        for child, after in reversed([*pairwise([*parent, None])]):
            if child.text == APPLICATION:
                place = [*parent].index(child)
                parent.remove(child)
                if after is not None and after.text not in ("(", "["):
                    parent.insert(place, ElementTree.Element("mspace", thin))
                if place > 1 and parent[place - 2].tag not in ("mo", "mspace"):
                    parent.insert(place - 1, ElementTree.Element("mspace", thin))
            elif child.text in BARS and child.tag == "mo" and "minsize" not in child.attrib:
                child.attrib.update(stretchy="false", lspace="0", rspace="0")


def put_indices_beside(element: ElementTree.Element) -> None:
    """Set the index of a letter with an accent beside it, not below."""
    for both in [*element.iter("munderover")]:
        letter, index, accent = both
        if letter.tag == "mi" and accent.tag == "mo":
            accented = ElementTree.Element("mover", {"accent": "true"})
            accented.extend([letter, accent])
            both.tag = "msub"
            both[:] = [accented, index]


def converted(formula: str, *, as_block: bool) -> str:
    """Return the MathML of a formula; several lines are one under the other."""
    try:
        markup = tex2mathml(in_known_words(formula), as_block=as_block)
    except MathError as error:
        raise ExtensionError(f"no MathML for the formula {formula!r}: {error}") from error
    markup = markup.replace("&ApplyFunction;", APPLICATION).replace(NAMESPACE, "")
    element = ElementTree.fromstring("".join(line.strip() for line in markup.splitlines()))
    set_spaces(element)
    put_indices_beside(element)
    element.set("xmlns", "http://www.w3.org/1998/Math/MathML")
    return ElementTree.tostring(element, encoding="unicode")


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(converted(node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    translator.body.append(converted(node.astext(), as_block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def copy_font(app: Sphinx, exception: Exception | None) -> None:
    """Put the font beside the style sheet that names it."""
    if exception is None and app.builder.format == "html":
        with as_file(files("ziamath") / "fonts" / FONT) as font:
            copyfile(font, Path(app.outdir) / "_static" / FONT)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("build-finished", copy_font)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
