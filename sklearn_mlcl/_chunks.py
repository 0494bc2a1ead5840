"""Rows in chunks, so that what is made of them fits into memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch

#: Rows of a chunk at most, so that a layer's output stays in the caches, and entries that are held
#: for them at most.
CHUNK_ROWS, CHUNK_ENTRIES = 2048, 2**26


def chunks(n_rows: int, size: int = 2**16) -> Iterator[slice]:
    """Yield the slices of ``size`` rows that make up ``n_rows``."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def chunk_rows(entries: int) -> int:
    """Return how many rows to take at once where a row needs so many entries of memory."""
    return max(1, min(CHUNK_ROWS, CHUNK_ENTRIES // max(1, entries)))


def by_chunks(n_rows: int, size: int, compute: Callable[[slice], np.ndarray]) -> np.ndarray:
    """Return what ``compute`` makes of slices of the rows, one below the other.

    Where the device runs out of memory the chunks are halved, with a warning.

    Parameters
    ----------
    n_rows : int
        Number of rows, at least 1.
    size : int
        Rows of a chunk.
    compute : callable
        Maps a slice of rows to an array with as many rows.

    Raises
    ------
    torch.OutOfMemoryError
        If a single row does not fit.
    """
    out: np.ndarray | None = None
    start = 0
    while start < n_rows:
        part = slice(start, min(start + size, n_rows))
        try:
            made = compute(part)
        except torch.OutOfMemoryError:
            if part.stop - part.start == 1:
                raise
            size = _halved(part.stop - part.start)
            continue
        if out is None:
            if part.stop == n_rows:
                return made
            out = np.empty((n_rows, *made.shape[1:]), dtype=made.dtype)
        out[part] = made
        start = part.stop
    if out is None:
        raise ValueError(f"n_rows must be at least 1, got {n_rows}.")
    return out


def _halved(size: int) -> int:
    """Say that chunks become smaller, and give back what the failed one took."""
    warnings.warn(
        f"The device ran out of memory at {size} rows at once; going on with {size // 2}.",
        RuntimeWarning,
        stacklevel=4,
    )
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return size // 2
