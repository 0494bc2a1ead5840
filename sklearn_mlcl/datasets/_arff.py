"""Multi-label ARFF files as Mulan and MEKA write them.

The parser follows Weka's tokenizer. The package liac-arff reads less: tabs in the header, ranges,
dates and comments behind a line are errors. It also changes what it reads without a word: escaped
quotes in names, fractions of "integer" attributes, attribute numbers that occur twice in a sparse
row, and empty cells. Its pattern for nominal values takes exponential time on malformed ones.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from sklearn_mlcl.datasets._base import TRUTH, as_indicator, make_bunch
from sklearn_mlcl.datasets._files import Budget, Source, naming, open_lines
from sklearn_mlcl.datasets._mulan_xml import read_label_names
from sklearn_mlcl.utils.parameters import Interval, check_arguments

BLANKS = "".join(map(chr, range(33))) + ","
# Possessive: what a quotation holds is scanned once, and takes no memory.
TOKEN = re.compile(
    r"""(?P<brace>[{}])|(?P<comment>%.*)|(?P<word>[^\x00-\x20,{}'"%]+)
      |(?P<quoted>'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")|(?P<stray>['"].*)""",
    re.VERBOSE | re.DOTALL,
)
ESCAPE = re.compile(r"\\([0-3][0-7]{0,2}|[4-7][0-7]?|.)", re.DOTALL)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
# What `str.split` would not part as Weka does.
SPECIAL = re.compile(r"""[{}'"%\x00-\x08\x0e-\x1b]|[^\x00-\x7f]""")
NUMERIC = {"numeric", "real", "integer"}
# One-hot X is CSR if it has more columns than this for each attribute.
WIDE = 10


class Attribute(NamedTuple):
    """A column of a file, its values read as numbers.

    Attributes
    ----------
    name : str
        As in the file.
    parse : callable
        Number of a word; KeyError or ValueError if it has none.
    values : list of str or None
        The nominal values, whose numbers count from 0, the one that a sparse row leaves out. None
        for a numeric attribute.
    first : int or None
        If the values are 0 and 1, or FALSE and TRUE: the first of them, whose number is 0.
    """

    name: str
    parse: Callable[[str], float] = float
    values: list[str] | None = None
    first: int | None = None

    @property
    def as_it_is(self) -> bool:
        """Whether the numbers are those to return."""
        return self.values is None or self.first == 0

    @property
    def width(self) -> int:
        """Number of columns of X."""
        return 1 if self.values is None or self.first is not None else len(self.values)

    def read(self, word: str) -> float:
        try:
            if "_" not in word or self.values is not None:  # Python's own 1_000
                return self.parse(word)
        except (KeyError, ValueError):
            if word == "?":
                return np.nan
        expected = "a number" if self.values is None else f"one of {self.values[:10]}"
        raise ValueError(f"attribute {self.name!r} has the value {word[:40]!r}, not {expected}")


def _unescaped(match: re.Match[str]) -> str:
    text = match[1]
    return chr(int(text, 8)) if text[0] in "01234567" else ESCAPED.get(text, text)


def _split(line: str, most: int) -> list[list[str]]:
    """Words of a line: those before a brace, those in braces, those behind it, and so on."""
    line = line.strip(BLANKS)
    braced = line[:1] == "{" and line[-1:] == "}"
    plain = line[1:-1] if braced else line
    if not SPECIAL.search(plain):
        words = plain.replace(",", " ").split(None, most)
        if len(words) > most:
            raise ValueError(f"more than {most} values")
        return [[], words, []] if braced else [words]
    groups: list[list[str]] = [[]]
    for n, match in enumerate(TOKEN.finditer(line)):
        if n > most:
            raise ValueError(f"more than {most} values")
        kind, text = match.lastgroup, match[0]
        if kind == "stray" or (kind == "brace" and (text == "{") != (len(groups) % 2 == 1)):
            raise ValueError(f"cannot read {text[:30]!r}: a quotation mark or brace is misplaced")
        if kind == "brace":
            groups.append([])
        elif kind == "quoted":
            groups[-1].append(ESCAPE.sub(_unescaped, text[1:-1]))
        elif kind == "word":
            groups[-1].append(text)
    if len(groups) % 2 == 0:
        raise ValueError("a brace is not closed")
    return groups


def _is_blank(line: str) -> bool:
    text = line.lstrip(BLANKS)
    return not text or text[0] == "%"


def _nominal(name: str, values: list[str]) -> Attribute:
    if not values or len(set(values)) < len(values):
        raise ValueError(f"attribute {name!r} must have values, and they must differ")
    truth = [TRUTH.get(value.lower()) for value in values]
    first = truth[0] if truth and None not in truth else None
    if first is None:
        numbers = {value: float(i) for i, value in enumerate(values)}
    else:
        numbers = {value: float(t != first) for value, t in zip(values, truth, strict=True)}
    return Attribute(name, (numbers | {"?": np.nan}).__getitem__, values, first)


def _read_attribute(
    words: list[str], braces: list[list[str]], dropped: Collection[str]
) -> Attribute:
    if len(words) < 2 or (len(words) == 2 and not braces):
        shown = " ".join(words)[:40]
        raise ValueError(f"an attribute must read '@attribute name type', got {shown!r}")
    _, name, *kind = words
    if kind and kind[0].lower() == "relational":
        raise ValueError(f"attribute {name!r} is relational; tables inside a cell cannot be read")
    if name in dropped:
        return Attribute(name, lambda word: 0.0)
    if not kind:
        return _nominal(name, braces[0])
    if kind[0].lower() in NUMERIC:
        return Attribute(name)
    raise ValueError(
        f"attribute {name!r} has the type {kind[0][:40]!r}; numeric and nominal ones can be read, "
        "others must be named in drop_attributes"
    )


def _read_header(
    lines: Iterator[str], budget: Budget, dropped: Collection[str]
) -> tuple[str, list[Attribute]]:
    relation, attributes = "", dict[str, Attribute]()
    for line in lines:
        if _is_blank(line):
            continue
        words, *braces = _split(line, 100 + (budget.limit - budget.n_taken) // 256)
        keyword = words[0].lower() if words else ""
        if keyword == "@data":
            if len(words) > 1 or braces:
                raise ValueError("data must begin on the line after @data")
            return relation, [*attributes.values()]
        if keyword == "@relation":
            relation = " ".join(words[1:])
        elif keyword == "@attribute":
            attribute = _read_attribute(words, braces, dropped)
            if attribute.name in attributes:
                raise ValueError(f"attribute {attribute.name!r} is declared twice")
            attributes[attribute.name] = attribute
            budget.take(768 + 256 * len(attribute.values or ()))
        else:
            raise ValueError(f"expected @relation, @attribute or @data, got {line.strip()[:40]!r}")
    raise ValueError("the file ends before @data")


def _read_weight(braces: list[list[str]]) -> float:
    """Weight of a sample by what stands behind its row: nothing, or a number in braces."""
    if not braces:
        return 1.0
    if len(braces) != 2 or len(braces[0]) != 1 or braces[1]:
        raise ValueError("behind a row only its weight may stand, written as {2.5}")
    return Attribute("weight").read(braces[0][0])


def _read_items(words: list[str], n_columns: int) -> tuple[list[int], list[str]]:
    """Column numbers and words of a sparse row."""
    if len(words) % 2:
        raise ValueError("the items of a sparse row must read 'number value'")
    if not all(word.isdecimal() and len(word) < 10 for word in words[::2]):
        raise ValueError("the items of a sparse row must begin with an attribute number")
    columns = [int(word) for word in words[::2]]
    if len(set(columns)) < len(columns) or not all(j < n_columns for j in columns):
        raise ValueError(f"attribute numbers must differ and be in 0..{n_columns - 1}")
    return columns, words[1::2]


def _read_row(
    line: str, attributes: list[Attribute]
) -> tuple[Sequence[int] | None, list[float], float]:
    """Column numbers of a sparse row, None for a dense one; the numbers there, and the weight."""
    n_columns = len(attributes)
    words, *braces = _split(line, 2 * n_columns + 5)
    if words:
        if len(words) != n_columns:
            raise ValueError(f"{len(words)} values for {n_columns} attributes")
        numbers = [a.read(word) for a, word in zip(attributes, words, strict=True)]
        return None, numbers, _read_weight(braces)
    items, behind, *braces = braces
    columns, words = _read_items(items, n_columns)
    numbers = [attributes[j].read(word) for j, word in zip(columns, words, strict=True)]
    return columns, numbers, _read_weight([behind, *braces] if behind else braces)


def _read_data(
    lines: Iterator[str], budget: Budget, attributes: list[Attribute]
) -> tuple[Any, np.ndarray]:
    """Numbers of all rows, (n, number of attributes), ndarray or CSC, and the rows' weights.

    The first row says whether the table is sparse; Weka reads rows of both kinds in one file.
    """
    values, indices, ends, weights = array("d"), array("q"), array("q", [0]), array("d")
    sparse = False
    for line in lines:
        if _is_blank(line):
            continue
        columns, numbers, weight = _read_row(line, attributes)
        sparse = sparse if weights else columns is not None
        weights.append(weight)
        if sparse:
            indices.extend(range(len(attributes)) if columns is None else columns)
            ends.append(len(indices))
        elif columns is not None:
            given = dict(zip(columns, numbers, strict=True))
            numbers = [given.get(j, 0.0) for j in range(len(attributes))]
        budget.take(64 + (64 if sparse else 16) * len(numbers))
        values.extend(numbers)
    shape = (len(weights), len(attributes))
    if not sparse:
        return np.asarray(values).reshape(shape), np.asarray(weights)
    parts = (np.asarray(part) for part in (values, indices, ends))
    return sp.csr_matrix(tuple(parts), shape).tocsc(), np.asarray(weights)


def _columns_of(labels: Sequence[str], names: list[str]) -> list[int]:
    column = {name: j for j, name in enumerate(names)}
    if unknown := [label for label in labels if label not in column]:
        raise ValueError(f"label names must be attributes of the file; not: {unknown}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"label names must differ, got {list(labels)}")
    return [column[label] for label in labels]


def _meka_option(relation: str) -> tuple[int, str]:
    """Number and location of the labels by the option in the relation's name.

    As in MEKA, options stand behind the first colon, and the first ``-C`` counts.
    """
    options = relation.partition(":")[2].split()
    for flag in ("-C", "-c"):
        if flag in options[:-1]:
            number = options[options.index(flag) + 1]
            if not re.fullmatch(r"-?\d{1,9}", number):
                raise ValueError(f"MEKA's option {flag} must be a number, got {number[:40]!r}")
            n_labels = int(number)
            return abs(n_labels), "start" if n_labels > 0 else "end"
    raise ValueError(
        "which attributes are labels? Give n_labels, labels or xml; the relation name "
        f"{relation[:80]!r} has no MEKA option ': -C n'"
    )


def _one_hot(
    codes: np.ndarray,
    attributes: list[Attribute],
    starts: np.ndarray,
    n_columns: int,
    budget: Budget,
) -> sp.csr_matrix:
    """Codes of nominal attributes as columns from `starts` on.

    A code becomes a one in the column of its value. Two values that mean 1 and 0, in this order,
    are turned round. A missing code becomes NaN in all columns of its attribute.
    """
    shape, missing = (len(codes), n_columns), np.isnan(codes)
    budget.take(96 * codes.size)
    turned = np.array([a.first is not None for a in attributes], dtype=bool)
    places = starts + np.where(turned | missing, 0, codes).astype(np.int64)
    values = np.where(turned, 1 - codes, 1.0)
    rows = np.repeat(np.arange(len(codes)), len(attributes))
    matrix = sp.csr_matrix((values.ravel(), (rows, places.ravel())), shape)
    if missing.any():
        widths = np.array([a.width for a in attributes])
        budget.take(96 * (missing.sum(axis=0) @ widths))
        ends = np.concatenate([[0], np.cumsum(widths)])
        columns = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], widths)
        own = sp.csr_matrix((np.full(ends[-1], np.nan), columns, ends), (len(widths), n_columns))
        matrix = matrix + sp.csr_matrix(missing) @ own
    return matrix


def _matrix(table: Any, attributes: list[Attribute], budget: Budget) -> Any:
    """Columns of a table as X or Y: ndarray, or CSR if the table is sparse or gets wide."""
    starts = np.cumsum([0, *(a.width for a in attributes)])
    starts, n_columns = starts[:-1], int(starts[-1])
    as_it_is = np.array([a.as_it_is for a in attributes], dtype=bool)
    plain, coded = table[:, as_it_is], table[:, ~as_it_is]
    sparse = sp.issparse(table) or n_columns > WIDE * len(attributes)
    budget.take(32 * plain.size if sparse else 8 * table.shape[0] * n_columns)
    if sp.issparse(table):
        budget.take(8 * coded.shape[0] * coded.shape[1])
        coded = coded.toarray()
    nominal = [a for a in attributes if not a.as_it_is]
    one_hot = _one_hot(coded, nominal, starts[~as_it_is], n_columns, budget)
    if not sparse:
        dense = one_hot.toarray()
        dense[:, starts[as_it_is]] = plain
        return dense
    cells = sp.coo_matrix(plain)
    columns = starts[as_it_is][cells.col]
    matrix = one_hot + sp.csr_matrix((cells.data, (cells.row, columns)), one_hot.shape)
    matrix.eliminate_zeros()
    return matrix


def _names(attributes: list[Attribute], budget: Budget) -> list[str]:
    names = list[str]()
    for name, _, values, first in attributes:
        if values is None or first is not None:
            names.append(name)
        else:
            budget.take(len(values) * (64 + 4 * len(name)))
            names += [f"{name}={value}" for value in values]
    return names


def load_arff(
    path: Source,
    *,
    n_labels: int | None = None,
    labels: Sequence[str] | None = None,
    xml: Source | None = None,
    label_location: str = "end",
    drop_attributes: Sequence[str] = (),
    encoding: str = "utf-8",
    max_bytes: int | None = None,
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Read a multi-label ARFF file of Mulan, MEKA, MOA or Weka, dense or sparse.

    Give at most one of `n_labels`, `labels` and `xml` to name the labels. Without these, MEKA's
    option ``-C n`` in the relation's name is used: the first n attributes, or the last ``-n`` for a
    negative number. An attribute that a sparse row omits is 0, or has the first of its nominal
    values. A missing entry, ``?``, becomes NaN. A nominal feature becomes one 0/1 column per value,
    named ``attribute=value``. One whose values are 0 and 1, or FALSE and TRUE, becomes one 0/1
    column.

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
    encoding : str, default="utf-8"
        Of a path or a binary file object; ``"latin-1"`` for many older files.
    max_bytes : int, default=None
        Approximate limit on the memory. A file that needs more raises an error. None means 128 MiB,
        or 16 times the size of the file if that is more. A packed file may unpack to 4 MiB, or to
        200 times its size. Give a number to read a larger file that you trust.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Return data and target as DataFrames, with sparse columns for a sparse file.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        With these attributes.

        data : ndarray or CSR matrix of shape (n, d)
            float64. CSR for a sparse file, and where nominal features give more than ten columns
            for each attribute.
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
    DataFileError
        If the file is malformed (with the number of the line) or too large. If nothing names the
        labels, or a label has values other than 0 and 1.
    OSError
        If there is no such file, or it cannot be opened.

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
    check_arguments(
        "load_arff",
        n_labels=(n_labels, Interval(Integral, None, None, closed="neither"), None),
        labels=(labels, list, tuple, np.ndarray, None),
        drop_attributes=(drop_attributes, list, tuple, np.ndarray),
        encoding=(encoding, str),
    )
    if sum(argument is not None for argument in (n_labels, labels, xml)) > 1:
        raise ValueError("Give only one of n_labels, labels and xml.")
    budget = Budget(max_bytes)
    with open_lines(path, budget, encoding) as lines:
        relation, attributes = _read_header(lines, budget, drop_attributes)
        table, weights = _read_data(lines, budget, attributes)
    if xml is not None:
        labels = read_label_names(xml, max_bytes)
    names = [attribute.name for attribute in attributes]
    with naming(path):
        if labels is None:
            if n_labels is None:
                n_labels, label_location = _meka_option(relation)
            if not 1 <= n_labels < len(names):
                raise ValueError(
                    f"n_labels must be in 1..{len(names) - 1} for {len(names)} attributes, "
                    f"got {n_labels}"
                )
            labels = names[:n_labels] if label_location == "start" else names[-n_labels:]
        Y_columns = _columns_of(labels, names)
        left_out = {*Y_columns, *_columns_of(drop_attributes, names)}
        X_columns = [j for j in range(len(names)) if j not in left_out]
        if not X_columns:
            raise ValueError("it has no attribute that is neither label nor dropped")
        bunch = Bunch(relation=relation)
        features, targets = ([attributes[j] for j in J] for J in (X_columns, Y_columns))
        for name, _, values, first in targets:
            if values is not None and first is None:
                raise ValueError(
                    f"label {name!r} has the values {values[:10]}; labels must be 0/1 or FALSE/TRUE"
                )
        bunch.feature_names, bunch.target_names = _names(features, budget), _names(targets, budget)
        bunch.data = _matrix(table[:, X_columns], features, budget)
        bunch.target = as_indicator(_matrix(table[:, Y_columns], targets, budget))
    if (weights != 1).any():
        bunch.sample_weight = weights
    return make_bunch(bunch, return_X_y=return_X_y, as_frame=as_frame)
