"""Reader for the text format of the extreme classification repository."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.datasets._files import Budget, Source, naming, open_lines

LARGEST = np.iinfo(np.int32).max  # CSR of scikit-learn has 32-bit indices


class _Rows:
    """The rows of a CSR matrix as they are read.

    Parameters
    ----------
    n_columns : int
        As the header says.
    kind : str
        What the columns are, for messages.
    """

    def __init__(self, n_columns: int, kind: str) -> None:
        self.n_columns, self.kind = n_columns, kind
        self.indices, self.values, self.ends = array("q"), array("d"), array("q", [0])

    def append(self, indices: Sequence[int], values: Sequence[float]) -> None:
        outside = [j for j in indices if not 0 <= j < self.n_columns]
        if outside:
            raise ValueError(
                f"{self.kind} numbers must be in 0..{self.n_columns - 1}, got {outside[0]}"
            )
        if len(set(indices)) < len(indices):
            twice, _ = next(pair for pair in pairwise(sorted(indices)) if pair[0] == pair[1])
            raise ValueError(f"{self.kind} numbers occur twice: {twice}")
        self.indices.extend(indices)
        self.values.extend(values)
        self.ends.append(len(self.indices))

    def to_csr(self, dtype: np.dtype) -> sp.csr_matrix:
        with np.errstate(over="raise", invalid="raise"):
            values = np.asarray(self.values).astype(dtype)
        shape = (len(self.ends) - 1, self.n_columns)
        matrix = sp.csr_matrix((values, np.asarray(self.indices), np.asarray(self.ends)), shape)
        matrix.sort_indices()
        return matrix


def _read_header(line: str) -> tuple[int, int, int]:
    fields = line.split()
    if len(fields) != 3 or not all(field.isdecimal() for field in fields):
        raise ValueError(
            f"the header must be 'n_samples n_features n_labels', got {line.strip()[:40]!r}"
        )
    if any(len(field) > 10 or int(field) > LARGEST for field in fields):
        raise ValueError(f"the numbers of the header must be at most {LARGEST}")
    n, d, L = map(int, fields)
    return n, d, L


def _read_row(line: str) -> tuple[list[int], list[int], list[float]]:
    """Labels, feature numbers and feature values of one sample."""
    if "_" in line:
        raise ValueError("numbers must be written without underscores")  # Python's own 1_000
    words, labels = line.split(), list[int]()
    if words and not line[0].isspace() and ":" not in words[0]:
        labels = [int(word) for word in words.pop(0).split(",")]
    indices, values = list[int](), list[float]()
    for word in words:
        index, colon, value = word.partition(":")
        if not colon:
            raise ValueError(f"features must be written as 'number:value', got {word[:40]!r}")
        indices.append(int(index))
        values.append(float(value))
    return labels, indices, values


def load_xc(
    path: Source, *, dtype: Any = np.float64, max_bytes: int | None = None
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Read a file in the text format of the extreme classification repository.

    The first line is ``n_samples n_features n_labels``. Each of the others is a sample,
    ``label,label,... feature:value feature:value ...``, with numbers from 0 on. A sample without
    labels begins with a blank.

    Parameters
    ----------
    path : str, path-like or file object
        Paths that end in ``.gz`` or ``.bz2`` are unpacked.
    dtype : dtype, default=float64
        Of X: a type of real numbers.
    max_bytes : int, default=None
        Approximate limit on the memory. A file that needs more raises an error. None means 128 MiB,
        or 16 times the size of the file if that is more. A packed file may unpack to 4 MiB, or to
        200 times its size. Give a number to read a larger file that you trust.

    Returns
    -------
    X : CSR matrix of shape (n_samples, n_features)
        Features.
    Y : CSR matrix of shape (n_samples, n_labels), int64
        Indicator matrix.

    Raises
    ------
    DataFileError
        If a line is malformed or a number is out of range (with the number of the line). If the
        number of rows differs from the header, or the file is too large.
    OSError
        If there is no such file, or it cannot be opened.

    References
    ----------
    .. [1] Bhatia et al., "The extreme classification repository: multi-label datasets and code",
       2016.

    Examples
    --------
    >>> import io
    >>> from sklearn_mlcl.datasets import load_xc
    >>> X, Y = load_xc(io.StringIO("2 4 3\\n0,2 1:0.5 3:1\\n 0:2\\n"))
    >>> X.toarray().tolist(), Y.toarray().tolist()
    ([[0.0, 0.5, 0.0, 1.0], [2.0, 0.0, 0.0, 0.0]], [[1, 0, 1], [0, 0, 0]])
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiu":
        raise ValueError(f"dtype must be a type of real numbers, got {dtype}.")
    budget = Budget(max_bytes)
    with open_lines(path, budget) as lines:
        n, d, L = _read_header(next(lines, ""))
        features, labels, n_rows = _Rows(d, "feature"), _Rows(L, "label"), 0
        for line in lines:
            if n_rows == n and not line.strip():
                continue
            n_rows += 1
            if n_rows > n:
                raise ValueError(f"it has more rows than the {n} of its header")
            row_labels, indices, values = _read_row(line)
            budget.take(64 + 32 * (len(indices) + len(row_labels)))
            features.append(indices, values)
            labels.append(row_labels, [1.0] * len(row_labels))
    with naming(path):
        if n_rows < n:
            raise ValueError(f"it has {n_rows} rows; its header says {n}")
        return features.to_csr(dtype), labels.to_csr(np.dtype(np.int64))
