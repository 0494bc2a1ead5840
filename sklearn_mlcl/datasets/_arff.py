"""Multi-label ARFF files as Mulan and MEKA write them.

The parser follows Weka's tokenizer. The package liac-arff reads less: tabs in the header, ranges,
dates and comments behind a line are errors. It also changes what it reads without a word: escaped
quotes in names, fractions of "integer" attributes, attribute numbers that occur twice in a sparse
row, and empty cells. Its pattern for nominal values takes exponential time on malformed ones.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from sklearn_mlcl.datasets._base import (
    TRUTH,
    Source,
    as_indicator,
    make_bunch,
    name_of,
    open_lines,
    open_source,
)

TOKEN = re.compile(
    r"""(?P<brace>[{}])|(?P<comment>%.*)|(?P<word>[^\s,{}'"%]+)
      |(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<stray>['"].*)""",
    re.VERBOSE,
)
SPECIAL = re.compile(r"""[{}'"%]""")
WEIGHT = re.compile(r",\s*\{\s*([-+.\w]+)\s*\}(?:\s*%.*)?$")
MEKA_OPTION = re.compile(r":(?:.*\s)?-C\s+(-?\d+)")
NUMERIC = {"numeric", "real", "integer"}


class Attribute(NamedTuple):
    """A column of a file, its values read as numbers.

    Attributes
    ----------
    name : str
        As in the file.
    numbers : dict or None
        Number of each nominal value, 0 for the first, which a sparse row leaves out. None for a
        numeric attribute.
    first : int or None
        If the values are 0 and 1, or FALSE and TRUE: the first of them.
    """

    name: str
    numbers: dict[str, float] | None = None
    first: int | None = None

    def read(self, word: str) -> float:
        try:
            return float(word) if self.numbers is None else self.numbers[word]
        except (KeyError, ValueError):
            if word == "?":
                return np.nan
            expected = "a number" if self.numbers is None else f"one of {[*self.numbers][:10]}"
            raise ValueError(
                f"attribute {self.name!r} has the value {word!r}, not {expected}"
            ) from None


def _split(line: str) -> list[list[str]]:
    """Words of a line: those before a brace, those in braces, those behind it, and so on."""
    braced = line[0] == "{" and line[-1] == "}"
    plain = line[1:-1] if braced else line
    if not SPECIAL.search(plain):
        words = plain.replace(",", " ").split()
        return [[], words, []] if braced else [words]
    groups: list[list[str]] = [[]]
    for match in TOKEN.finditer(line):
        kind, text = match.lastgroup, match[0]
        if kind == "stray" or (kind == "brace" and (text == "{") != (len(groups) % 2 == 1)):
            raise ValueError(f"cannot read {text[:30]!r}: a quotation mark or brace is misplaced")
        if kind == "brace":
            groups.append([])
        elif kind == "quoted":
            groups[-1].append(re.sub(r"\\(.)", r"\1", text[1:-1]))
        elif kind == "word":
            groups[-1].append(text)
    return groups


def _read_attribute(line: str, dropped: Collection[str]) -> Attribute:
    words, *braces = _split(line)
    if len(words) < 2 or (len(words) == 2 and not braces):
        raise ValueError(f"an attribute must read '@attribute name type', got {line[:40]!r}")
    _, name, *kind = words
    if name in dropped:
        return Attribute(name, defaultdict(float))  # any word is read as 0
    if kind and kind[0].lower() not in NUMERIC:
        raise ValueError(
            f"attribute {name!r} has the type {kind[0]!r}; numeric and nominal ones can be read, "
            "others must be named in drop_attributes"
        )
    if kind:
        return Attribute(name)
    values = braces[0]
    if len(set(values)) < len(values):
        raise ValueError(f"the values of attribute {name!r} must differ")
    truth = [TRUTH.get(value.lower()) for value in values]
    if None in truth:
        return Attribute(name, {value: float(i) for i, value in enumerate(values)})
    numbers = {value: float(t != truth[0]) for value, t in zip(values, truth, strict=True)}
    return Attribute(name, numbers, truth[0])


def _read_header(lines: Iterator[str], dropped: Collection[str]) -> tuple[str, list[Attribute]]:
    relation, attributes = "", dict[str, Attribute]()
    for line in lines:
        keyword = line.split(None, 1)[0].lower()
        if keyword == "@data":
            return relation, [*attributes.values()]
        if keyword == "@relation":
            relation = " ".join(_split(line)[0][1:])
        elif keyword == "@attribute":
            attribute = _read_attribute(line, dropped)
            if attribute.name in attributes:
                raise ValueError(f"attribute {attribute.name!r} is declared twice")
            attributes[attribute.name] = attribute
        else:
            raise ValueError(f"expected @relation, @attribute or @data, got {line[:40]!r}")
    raise ValueError("the file ends before @data")


def _read_row(line: str, n_columns: int, sparse: bool) -> tuple[Sequence[int], list[str]]:
    """Column numbers and words of a row."""
    words, *braces = _split(line)
    if not sparse:
        if braces or len(words) != n_columns:
            raise ValueError(f"{len(words)} values for {n_columns} attributes")
        return range(n_columns), words
    if words or len(braces) != 2 or braces[1]:
        raise ValueError("a row of a sparse file must stand in braces")
    items = braces[0]
    if len(items) % 2:
        raise ValueError("the items of a sparse row must read 'number value'")
    columns = [int(word) for word in items[::2]]
    if len(set(columns)) < len(columns) or not all(0 <= j < n_columns for j in columns):
        raise ValueError(f"attribute numbers must differ and be in 0..{n_columns - 1}")
    return columns, items[1::2]


def _read_data(lines: Iterator[str], attributes: list[Attribute]) -> tuple[Any, np.ndarray]:
    """Numbers of all rows, (n, number of attributes), ndarray or CSC, and the rows' weights."""
    values, indices, ends, weights = array("d"), array("q"), array("q", [0]), array("d")
    sparse = False
    for line in lines:
        sparse = sparse if weights else line[0] == "{"
        weight = WEIGHT.search(line)
        weights.append(float(weight[1]) if weight else 1.0)
        row = line[: weight.start()] if weight else line
        columns, words = _read_row(row, len(attributes), sparse)
        values.extend(attributes[j].read(word) for j, word in zip(columns, words, strict=True))
        if sparse:
            indices.extend(columns)
            ends.append(len(indices))
    shape = (len(weights), len(attributes))
    if not sparse:
        return np.array(values).reshape(shape), np.array(weights)
    rows = sp.csr_matrix((np.array(values), np.array(indices), np.array(ends)), shape)
    return rows.tocsc(), np.array(weights)


def _read_xml(source: Source) -> list[str]:
    """Label names of a Mulan XML header, nested ones of a hierarchy included."""
    try:
        with open_source(source) as file:
            root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, LookupError, EOFError, ValueError) as error:
        raise ValueError(f"{name_of(source)} is no XML header: {error}.") from error
    names = [e.get("name") for e in root.iter() if str(e.tag).rpartition("}")[2] == "label"]
    if not names or None in names:
        raise ValueError(f"{name_of(source)} must hold elements <label name='...'>.")
    return [str(name) for name in names]


def _columns_of(labels: Sequence[str], names: list[str]) -> list[int]:
    column = {name: j for j, name in enumerate(names)}
    unknown = [label for label in labels if label not in column]
    if unknown or len(set(labels)) < len(labels):
        raise ValueError(f"Label names must differ and be attributes of the file; not: {unknown}.")
    return [column[label] for label in labels]


def _meka_option(relation: str) -> tuple[int, str]:
    """Number and location of the labels by the option in the relation's name."""
    option = MEKA_OPTION.search(relation)
    if option is None:
        raise ValueError(
            "Which attributes are labels? Give n_labels, labels or xml; the relation name "
            f"{relation[:80]!r} has no MEKA option ': -C n'."
        )
    n_labels = int(option[1])
    return abs(n_labels), "start" if n_labels > 0 else "end"


def _encode(column: Any, attribute: Attribute) -> tuple[Any, list[str]]:
    """One column of the file as it is, as 0/1, or as one column a nominal value."""
    name, numbers, first = attribute
    if numbers is None or first == 0:
        return column, [name]
    codes = column.toarray().ravel() if sp.issparse(column) else column.ravel()
    if first == 1:
        return 1 - codes[:, None], [name]
    missing = np.isnan(codes)
    block = sp.identity(len(numbers), format="csr")[np.where(missing, 0, codes).astype(np.intp)]
    if missing.any() or not sp.issparse(column):
        block = block.toarray()
        block[missing] = np.nan
    return block, [f"{name}={value}" for value in numbers]


def _select(
    table: Any, attributes: list[Attribute], columns: Sequence[int]
) -> tuple[Any, list[str]]:
    """The matrix of some attributes, ndarray or CSR, and the names of its columns."""
    encoded = [_encode(table[:, [j]], attributes[j]) for j in columns]
    names = [name for _, block_names in encoded for name in block_names]
    if not sp.issparse(table):
        return np.hstack([block for block, _ in encoded]), names
    matrix = sp.csr_matrix(sp.hstack([sp.csc_matrix(block) for block, _ in encoded], format="csr"))
    matrix.eliminate_zeros()
    return matrix, names


def load_arff(
    path: Source,
    *,
    n_labels: int | None = None,
    labels: Sequence[str] | None = None,
    xml: Source | None = None,
    label_location: str = "end",
    drop_attributes: Sequence[str] = (),
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Read a multi-label ARFF file of Mulan or MEKA, dense or sparse.

    The labels are named by exactly one of `n_labels`, `labels` and `xml`. Without these, they are
    named by the option ``-C n`` that MEKA writes behind the colon of the relation's name: the
    first n attributes, or the last ``-n`` for a negative number. An attribute that a sparse row
    leaves out is 0, or has the first of its nominal values. A missing entry, ``?``, becomes NaN.
    A nominal feature becomes one 0/1 column per value, named ``attribute=value``. One whose values
    are 0 and 1, or FALSE and TRUE, becomes one 0/1 column.

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
        sample_weight : ndarray of shape (n,)
            Weights that the file gives to its samples; only if some weight is not 1.
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
    if label_location not in ("start", "end"):
        raise ValueError(f"label_location must be 'start' or 'end', got {label_location!r}.")
    if sum(argument is not None for argument in (n_labels, labels, xml)) > 1:
        raise ValueError("Give only one of n_labels, labels and xml.")
    with open_lines(path) as file:
        lines = (line for raw in file if (line := raw.strip()) and line[0] != "%")
        relation, attributes = _read_header(lines, drop_attributes)
        table, weights = _read_data(lines, attributes)
    if xml is not None:
        labels = _read_xml(xml)
    names = [attribute.name for attribute in attributes]
    if labels is None:
        if n_labels is None:
            n_labels, label_location = _meka_option(relation)
        if not 1 <= n_labels < len(names):
            raise ValueError(f"n_labels must be in 1..{len(names) - 1}, got {n_labels}.")
        labels = names[:n_labels] if label_location == "start" else names[-n_labels:]
    Y_columns = _columns_of(labels, names)
    left_out = {*Y_columns, *_columns_of(drop_attributes, names)}
    X_columns = [j for j in range(len(names)) if j not in left_out]
    if not X_columns:
        raise ValueError(f"{name_of(path)} has no attribute that is neither label nor dropped.")
    for name, numbers, first in (attributes[j] for j in Y_columns):
        if numbers and first is None:
            raise ValueError(
                f"Label {name!r} has the values {[*numbers][:10]}; labels must be 0/1 or "
                "FALSE/TRUE."
            )
    bunch = Bunch(relation=relation)
    bunch.data, bunch.feature_names = _select(table, attributes, X_columns)
    Y, bunch.target_names = _select(table, attributes, Y_columns)
    bunch.target = as_indicator(Y)
    if (weights != 1).any():
        bunch.sample_weight = weights
    return make_bunch(bunch, return_X_y=return_X_y, as_frame=as_frame)
