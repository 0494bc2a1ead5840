"""Reader for the text format of the extreme classification repository."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.datasets._base import Source, name_of, open_lines

LARGEST = np.iinfo(np.int64).max


def _read_header(line: str) -> tuple[int, int, int]:
    fields = line.split()
    if len(fields) != 3 or not all(field.isdecimal() for field in fields):
        raise ValueError(
            f"the header must be 'n_samples n_features n_labels', got {line.strip()!r}"
        )
    n, d, L = map(int, fields)
    if max(n, d, L) > LARGEST:
        raise ValueError(f"the numbers of the header must be at most {LARGEST}")
    return n, d, L


def _check_range(indices: np.ndarray, n: int, kind: str) -> None:
    outside = indices[(indices < 0) | (indices >= n)]
    if len(outside):
        raise ValueError(f"{kind} numbers must be in 0..{n - 1}, got {outside[0]}")
    ordered = np.sort(indices)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(f"{kind} numbers occur twice: {twice[0]}")


def _read_row(line: str, d: int, L: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, feature numbers and feature values of one sample."""
    head, _, tail = line.rstrip().partition(" ")
    if ":" in head:  # a sample without labels whose leading blank was lost
        head, tail = "", line
    labels = np.array(head.split(",") if head else [], dtype=np.int64)
    fields = [field.split(":") for field in tail.split()]
    if any(len(field) != 2 for field in fields):
        raise ValueError("features must be written as 'number:value'")
    indices = np.array([field[0] for field in fields], dtype=np.int64)
    values = np.array([field[1] for field in fields], dtype=np.float64)
    _check_range(labels, L, "label")
    _check_range(indices, d, "feature")
    return labels, indices, values


def _csr(
    indices: list[np.ndarray], values: list[np.ndarray], n_columns: int, dtype: Any
) -> sp.csr_matrix:
    indptr = np.cumsum([0, *map(len, indices)])
    columns = np.concatenate([np.zeros(0, dtype=np.int64), *indices])
    data = np.concatenate([np.zeros(0), *values]).astype(dtype)
    matrix = sp.csr_matrix((data, columns, indptr), shape=(len(indices), n_columns))
    matrix.sort_indices()
    return matrix


def load_xc(path: Source, *, dtype: Any = np.float64) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Read a file in the text format of the extreme classification repository.

    The first line is ``n_samples n_features n_labels``. Each of the others is a sample,
    ``label,label,... feature:value feature:value ...``, with numbers from 0 on. A sample without
    labels begins with a blank.

    Parameters
    ----------
    path : str, path-like or file object
        Paths that end in ``.gz`` or ``.bz2`` are unpacked.
    dtype : dtype, default=float64
        Of X.

    Returns
    -------
    X : CSR matrix of shape (n_samples, n_features)
        Features.
    Y : CSR matrix of shape (n_samples, n_labels), int64
        Indicator matrix.

    Raises
    ------
    ValueError
        If a line is malformed or a number out of range, with the number of the line, or if the
        file has fewer or more rows than the header says.

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
    with open_lines(path) as lines:
        n, d, L = _read_header(next(lines, ""))
        rows = list[tuple[np.ndarray, np.ndarray, np.ndarray]]()
        for line in lines:
            if len(rows) < n or line.strip():
                rows.append(_read_row(line, d, L))
    if len(rows) != n:
        raise ValueError(f"{name_of(path)} has {len(rows)} rows; its header says {n}.")
    labels, indices, values = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
    ones = [np.ones(len(row)) for row in labels]
    return _csr(indices, values, d, dtype), _csr(labels, ones, L, np.int64)
