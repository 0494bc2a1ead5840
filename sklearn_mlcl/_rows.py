"""Rows of a memory map that stay on disk until they are asked for."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

#: Size up to which a memory map is read into memory like any other array.
READ_AT_ONCE = 2**26


class MappedRows:
    """Some rows of a memory-mapped array; indexing reads those that are named.

    Splitting such rows, or leaving some out, takes a list of their numbers and reads nothing.

    Parameters
    ----------
    array : ndarray of shape (N, d)
        The memory map.
    index : ndarray of int of shape (n,) or None
        Numbers of the rows; None is all of them.
    """

    def __init__(self, array: np.ndarray, index: np.ndarray | None = None) -> None:
        self.array = array
        self.index = index

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and features."""
        n_rows = len(self.array) if self.index is None else len(self.index)
        return n_rows, self.array.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Of the entries."""
        return self.array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read the rows that a slice, a mask or an array of numbers names."""
        return self.array[key if self.index is None else self.index[key]]

    def take(self, rows: np.ndarray) -> MappedRows:
        """Return some of these rows, by number or mask, unread."""
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        return MappedRows(self.array, rows if self.index is None else self.index[rows])


def is_mapped(array: Any) -> bool:
    """Return whether an array, or what it is a view of, is a memory map."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return isinstance(array, mmap.mmap)


def unread(X: Any) -> Any:
    """Return a large memory map as :class:`MappedRows`, anything else as it is."""
    large = is_mapped(X) and X.nbytes > READ_AT_ONCE
    return MappedRows(X) if large else X


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Return the rows of X that are named, by number or mask; those of a map stay unread."""
    return X.take(rows) if isinstance(X, MappedRows) else X[rows]
