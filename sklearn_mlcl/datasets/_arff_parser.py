"""ARFF text to a table of numbers: dense or sparse rows, nominal values as their positions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

QUOTED = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
ATTRIBUTE = re.compile(rf"@attribute\s+({QUOTED}|\S+)\s+(.+)", re.IGNORECASE)
FIELD = re.compile(rf"\s*({QUOTED}|[^,'\"]*)\s*(?:,|$)")
SPARSE_FIELD = re.compile(rf"\s*(\d+\s+(?:{QUOTED}|[^,'\"]+))\s*(?:,|$)")
NUMERIC = {"numeric", "real", "integer"}
MISSING = "?"


class Attribute(NamedTuple):
    """A column; `values` are those of a nominal one, None for a numeric one."""

    name: str
    values: tuple[str, ...] | None


class ArffTable(NamedTuple):
    """Numbers and positions of nominal values, (n, number of attributes): ndarray or CSC."""

    relation: str
    attributes: list[Attribute]
    values: Any


def _unquote(text: str) -> str:
    if text[:1] not in ("'", '"') or len(text) < 2 or text[-1] != text[0]:
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _split_fields(text: str, pattern: re.Pattern[str] = FIELD) -> list[str]:
    """Fields between commas, as they are written; a comma in quotation marks parts nothing."""
    if "'" not in text and '"' not in text:
        return [field.strip() for field in text.split(",")]
    fields, position = [], 0
    while position < len(text):
        match = pattern.match(text, position)
        if match is None:
            raise ValueError(
                f"cannot read {text[position:][:30]!r}: a quotation mark is out of place"
            )
        fields.append(match[1].strip())
        position = match.end()
    return fields


def _read_attribute(line: str, dropped: Collection[str]) -> Attribute:
    match = ATTRIBUTE.match(line)
    if match is None:
        raise ValueError(f"an attribute must read '@attribute name type', got {line!r}")
    name, kind = _unquote(match[1]), match[2].strip()
    if kind.startswith("{") and kind.endswith("}"):
        return Attribute(name, tuple(_unquote(v) for v in _split_fields(kind[1:-1].strip())))
    if kind.split()[0].lower() in NUMERIC or name in dropped:
        return Attribute(name, None)
    raise ValueError(
        f"attribute {name!r} has the type {kind!r}; numeric and nominal ones can be read, others "
        "must be named in drop_attributes"
    )


def _number(text: str) -> float:
    return np.nan if text == MISSING else float(text)


def _reader(attribute: Attribute, dropped: Collection[str]) -> Callable[[str], float]:
    """Function from the text of a cell to its number."""
    if attribute.name in dropped:
        return lambda text: 0.0
    if attribute.values is None:
        return _number
    position = {value: float(i) for i, value in enumerate(attribute.values)}
    return ({MISSING: np.nan} | position).__getitem__


def _read_cell(text: str, j: int, attributes: list[Attribute], readers: list[Any]) -> float:
    try:
        return readers[j](text)
    except (KeyError, ValueError):
        name, values = attributes[j]
        expected = "a number" if values is None else f"one of {list(values)[:10]}"
        raise ValueError(f"attribute {name!r} has the value {text!r}, not {expected}") from None


def _dense_row(line: str, attributes: list[Attribute], readers: list[Any]) -> list[float]:
    fields = _split_fields(line)
    if len(fields) != len(attributes):
        raise ValueError(f"{len(fields)} values for {len(attributes)} attributes")
    return [_read_cell(_unquote(f), j, attributes, readers) for j, f in enumerate(fields)]


def _sparse_row(
    line: str, attributes: list[Attribute], readers: list[Any]
) -> tuple[list[int], list[float]]:
    if not (line.startswith("{") and line.endswith("}")):
        raise ValueError("a row of a sparse file must stand in braces")
    inner = line[1:-1].strip()
    items = [item.split(None, 1) for item in _split_fields(inner, SPARSE_FIELD)] if inner else []
    if any(len(item) != 2 for item in items):
        raise ValueError("the items of a sparse row must read 'number value'")
    columns = [int(item[0]) for item in items]
    if len(set(columns)) < len(columns) or not all(0 <= j < len(attributes) for j in columns):
        raise ValueError(f"attribute numbers must differ and be in 0..{len(attributes) - 1}")
    texts = [_unquote(item[1]) for item in items]
    cells = [_read_cell(t, j, attributes, readers) for j, t in zip(columns, texts, strict=True)]
    return columns, cells


def _csc(rows: list[tuple[list[int], list[float]]], n_columns: int) -> sp.csc_matrix:
    indptr = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    indices = np.array([j for columns, _ in rows for j in columns], dtype=np.int64)
    data = np.array([value for _, cells in rows for value in cells], dtype=np.float64)
    return sp.csr_matrix((data, indices, indptr), shape=(len(rows), n_columns)).tocsc()


def _read_header(lines: Iterator[str], dropped: Collection[str]) -> tuple[str, list[Attribute]]:
    relation, attributes = "", list[Attribute]()
    for line in lines:
        keyword = line.split(None, 1)[0].lower()
        if keyword == "@data":
            return relation, attributes
        if keyword == "@relation":
            relation = _unquote(line[len(keyword) :].strip())
        elif keyword == "@attribute":
            attributes.append(_read_attribute(line, dropped))
        else:
            raise ValueError(f"expected @relation, @attribute or @data, got {line[:40]!r}")
    raise ValueError("the file ends before @data")


def _read_data(lines: Iterator[str], attributes: list[Attribute], dropped: Collection[str]) -> Any:
    readers = [_reader(attribute, dropped) for attribute in attributes]
    first = next(lines, None)
    if first is None:
        return np.zeros((0, len(attributes)))
    if first.startswith("{"):
        rows = [_sparse_row(first, attributes, readers)]
        rows.extend(_sparse_row(line, attributes, readers) for line in lines)
        return _csc(rows, len(attributes))
    dense = [_dense_row(first, attributes, readers)]
    dense.extend(_dense_row(line, attributes, readers) for line in lines)
    return np.array(dense, dtype=np.float64)


class _Lines:
    """The lines that are neither blank nor a comment, counting all."""

    def __init__(self, file: Iterable[str]) -> None:
        self.file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.number += 1
            stripped = line.strip()
            if stripped and not stripped.startswith("%"):
                yield stripped


def parse_arff(file: Iterable[str], name: str, dropped: Collection[str]) -> ArffTable:
    """Read the lines of an ARFF file; `dropped` attributes are read as zeros of any type."""
    counted = _Lines(file)
    lines = iter(counted)
    try:
        relation, attributes = _read_header(lines, dropped)
        return ArffTable(relation, attributes, _read_data(lines, attributes, dropped))
    except ValueError as error:
        raise ValueError(f"{name}, line {counted.number}: {error}.") from error
