"""Multi-label ARFF files as Mulan and MEKA write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby
from os import PathLike
from typing import IO, Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from sklearn_mlcl.datasets._base import TRUTH, as_indicator, hand_over, name_of, open_text

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


Source = str | PathLike[str] | IO[Any]


def _read_xml(source: Source) -> list[str]:
    """Label names of a Mulan XML header, nested ones of a hierarchy included."""
    try:
        root = ElementTree.parse(source).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{name_of(source)} is no XML header: {error}.") from error
    names = [e.get("name") for e in root.iter() if str(e.tag).rpartition("}")[2] == "label"]
    if not names or None in names:
        raise ValueError(f"{name_of(source)} must hold elements <label name='...'>.")
    return [str(name) for name in names]


def _named_columns(attributes: list[Attribute], labels: Sequence[str]) -> list[int]:
    column = {attribute.name: j for j, attribute in enumerate(attributes)}
    unknown = [label for label in labels if label not in column]
    if unknown or len(set(labels)) < len(labels):
        raise ValueError(f"Label names must differ and be attributes of the file; not: {unknown}.")
    return [column[label] for label in labels]


def _counted_columns(n_attributes: int, n_labels: int, at_start: bool) -> list[int]:
    if not 1 <= n_labels < n_attributes:
        raise ValueError(f"n_labels must be in 1..{n_attributes - 1}, got {n_labels}.")
    columns = range(n_attributes)
    return list(columns[:n_labels] if at_start else columns[-n_labels:])


def _label_columns(
    table: ArffTable, n_labels: int | None, labels: Sequence[str] | None, label_location: str
) -> list[int]:
    """Columns of the labels, by name, by number, or by MEKA's option in the relation's name."""
    if labels is not None:
        return _named_columns(table.attributes, labels)
    if n_labels is not None:
        return _counted_columns(len(table.attributes), n_labels, label_location == "start")
    option = re.search(r"-C\s+(-?\d+)", table.relation)
    if option is None:
        raise ValueError(
            "Which attributes are labels? Give n_labels, labels or xml; the relation name "
            f"{table.relation!r} has no MEKA option '-C'."
        )
    count = int(option[1])
    return _counted_columns(len(table.attributes), abs(count), count > 0)


def _truth_of(attribute: Attribute) -> np.ndarray | None:
    """Numbers 0 and 1 of a nominal attribute's values in order, None if it has others."""
    if attribute.values is None or not all(v.lower() in TRUTH for v in attribute.values):
        return None
    return np.array([TRUTH[v.lower()] for v in attribute.values], dtype=np.float64)


def _is_plain(attribute: Attribute, nominal: str) -> bool:
    """Whether the table's numbers can stand as they are."""
    truth = _truth_of(attribute)
    if truth is None:
        return attribute.values is None or nominal == "codes"
    return np.array_equal(truth, np.arange(len(truth)))


def _encode(codes: np.ndarray, attribute: Attribute) -> tuple[np.ndarray, list[str]]:
    """A nominal attribute as one 0/1 column, or as one column per value; NaN where missing."""
    missing = np.isnan(codes)
    position = np.where(missing, 0, codes).astype(np.intp)
    truth = _truth_of(attribute)
    if truth is not None:
        block, names = truth[position][:, None], [attribute.name]
    else:
        block = np.eye(len(attribute.values or ()))[position]
        names = [f"{attribute.name}={value}" for value in attribute.values or ()]
    block[missing] = np.nan
    return block, names


def _dense_column(values: Any, j: int) -> np.ndarray:
    return values[:, j] if isinstance(values, np.ndarray) else values[:, [j]].toarray().ravel()


def _columns(table: ArffTable, columns: Sequence[int], nominal: str) -> tuple[Any, list[str]]:
    """The matrix of some attributes and its column names; plain ones are taken in runs."""
    blocks, names = [], []
    for plain, group in groupby(columns, key=lambda j: _is_plain(table.attributes[j], nominal)):
        run = list(group)
        if plain:
            blocks.append(table.values[:, run])
            names += [table.attributes[j].name for j in run]
            continue
        for j in run:
            block, block_names = _encode(_dense_column(table.values, j), table.attributes[j])
            blocks.append(block)
            names += block_names
    if not sp.issparse(table.values):
        return np.hstack(blocks), names
    matrix = sp.csr_matrix(sp.hstack([sp.csc_matrix(block) for block in blocks], format="csr"))
    matrix.eliminate_zeros()
    return matrix, names


def _check_labels(attributes: list[Attribute], columns: Sequence[int]) -> None:
    for attribute in (attributes[j] for j in columns):
        if attribute.values is not None and _truth_of(attribute) is None:
            raise ValueError(
                f"Label {attribute.name!r} has the values {list(attribute.values)[:10]}; "
                "labels must be 0/1 or FALSE/TRUE."
            )


def _check_arguments(label_location: str, nominal: str, given: Sequence[object]) -> None:
    if label_location not in ("start", "end"):
        raise ValueError(f"label_location must be 'start' or 'end', got {label_location!r}.")
    if nominal not in ("onehot", "codes"):
        raise ValueError(f"nominal must be 'onehot' or 'codes', got {nominal!r}.")
    if sum(argument is not None for argument in given) > 1:
        raise ValueError("Give only one of n_labels, labels and xml.")


def load_arff(
    path: Source,
    *,
    n_labels: int | None = None,
    labels: Sequence[str] | None = None,
    xml: Source | None = None,
    label_location: str = "end",
    nominal: str = "onehot",
    drop_attributes: Sequence[str] = (),
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Read a multi-label ARFF file of Mulan or MEKA, dense or sparse.

    Which attributes are labels is said by exactly one of `n_labels`, `labels` and `xml`, or by
    the option ``-C n`` in the relation's name as MEKA writes it: the first n attributes, or the
    last ``-n`` for a negative number. An attribute left out of a sparse row is 0, or has the
    first of its nominal values. A missing cell, ``?``, becomes NaN.

    Parameters
    ----------
    path : str, path-like or file object
        Paths that end in ``.gz`` or ``.bz2`` are unpacked.
    n_labels : int, default=None
        Number of labels, counted from the end that `label_location` names.
    labels : sequence of str, default=None
        Names of the label attributes, in the order wanted.
    xml : str, path-like or file object, default=None
        Mulan's XML header, which lists the labels.
    label_location : {"end", "start"}, default="end"
        Only for `n_labels`.
    nominal : {"onehot", "codes"}, default="onehot"
        A nominal feature becomes one 0/1 column per value, named ``attribute=value``, or one
        column with the position of the value in the declaration. One whose values are 0 and 1,
        or FALSE and TRUE, becomes one 0/1 column in either case.
    drop_attributes : sequence of str, default=()
        Attributes to leave out, for instance identifiers; those of type string or date must be.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Return data and target as DataFrames, with sparse columns for a sparse file.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        With these attributes.

        data : ndarray, or CSR matrix for a sparse file, of shape (n, d)
            float64.
        target : ndarray, or CSR matrix for a sparse file, of shape (n, L)
            int64; float64 if labels are missing.
        feature_names, target_names : list of str
            Names of the attributes.
        relation : str
            Name of the relation, with MEKA's options.
    (data, target) : tuple if `return_X_y`
        These two alone.

    Raises
    ------
    ValueError
        If the file is malformed (with the number of the line), if it is not said which attributes
        are labels, or if a label has other values than 0 and 1.

    Examples
    --------
    >>> import io
    >>> from sklearn_mlcl.datasets import load_arff
    >>> text = '''@relation 'toy: -C 2'
    ... @attribute sunny {0,1}
    ... @attribute windy {0,1}
    ... @attribute temperature numeric
    ... @data
    ... 1,0,23.5
    ... 0,1,11
    ... '''
    >>> X, Y = load_arff(io.StringIO(text), return_X_y=True)
    >>> X.tolist(), Y.tolist()
    ([[23.5], [11.0]], [[1, 0], [0, 1]])
    """
    _check_arguments(label_location, nominal, (n_labels, labels, xml))
    with open_text(path) as file:
        table = parse_arff(file, name_of(path), set(drop_attributes))
    if xml is not None:
        labels = _read_xml(xml)
    Y_columns = _label_columns(table, n_labels, labels, label_location)
    _check_labels(table.attributes, Y_columns)
    left_out = {*Y_columns, *_named_columns(table.attributes, drop_attributes)}
    X_columns = [j for j in range(len(table.attributes)) if j not in left_out]
    if not X_columns:
        raise ValueError(f"{name_of(path)} has no attribute that is neither label nor dropped.")
    X, feature_names = _columns(table, X_columns, nominal)
    Y, target_names = _columns(table, Y_columns, nominal)
    bunch = Bunch(
        data=X,
        target=as_indicator(Y),
        feature_names=feature_names,
        target_names=target_names,
        relation=table.relation,
    )
    return hand_over(bunch, subset="all", return_X_y=return_X_y, as_frame=as_frame)
