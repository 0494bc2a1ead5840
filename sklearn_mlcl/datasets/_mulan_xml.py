"""Mulan's XML files, which list the labels of a set."""

from __future__ import annotations

from xml.parsers import expat

from sklearn_mlcl.datasets._files import DAMAGE, Budget, Source, naming, open_source

DEEPEST = 100


class _Labels:
    """Handlers of the parser: names of elements <label>, nested ones of a hierarchy included."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"elements are nested more than {DEEPEST} deep")
        if tag.rpartition(" ")[2] == "label":
            if "name" not in attributes:
                raise ValueError("it must hold elements <label name='...'>, got one without name")
            self.names.append(attributes["name"])

    def end(self, tag: str) -> None:
        self.depth -= 1

    def doctype(self, *declaration: object) -> None:
        raise ValueError("it declares a document type; files of labels have none")


def read_label_names(source: Source, max_bytes: int | None) -> list[str]:
    """Names of the labels in the order of the file."""
    budget, labels = Budget(max_bytes), _Labels()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = labels.start
    parser.EndElementHandler = labels.end
    parser.StartDoctypeDeclHandler = labels.doctype
    damage = (*DAMAGE, expat.ExpatError, LookupError)
    with (
        open_source(source) as (file, _),
        naming(source, lambda: parser.CurrentLineNumber, damage),
    ):
        text = file.read(budget.longest_line)
        if len(text) == budget.longest_line:
            raise ValueError(
                f"it is longer than {budget.longest_line} characters; if you trust the file, pass "
                "a larger max_bytes"
            )
        parser.Parse(text, True)
        if not labels.names:
            raise ValueError("it must hold elements <label name='...'>, got none")
    return labels.names
