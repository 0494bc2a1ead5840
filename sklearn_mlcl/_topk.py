"""The k largest entries of each row as a sparse matrix."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp


def check_k(k: Any, n_labels: int) -> int:
    """Return ``k`` if it is a number of labels."""
    is_count = isinstance(k, Integral) and not isinstance(k, bool)
    if not is_count or not 1 <= int(k) <= n_labels:
        raise ValueError(f"k must be an integer from 1 to the {n_labels} labels, got {k!r}.")
    return int(k)


def largest_of_rows(values: np.ndarray, k: int) -> sp.csr_matrix:
    """Return a CSR matrix of the shape of ``values`` with the k largest entries of each row.

    >>> import numpy as np
    >>> largest_of_rows(np.array([[0.1, 0.9, 0.4]]), 2).toarray()
    array([[0. , 0.9, 0.4]])
    """
    n_rows, n_columns = values.shape
    columns = np.argpartition(values, n_columns - k, axis=1)[:, n_columns - k :]
    columns.sort(axis=1)
    kept = np.take_along_axis(values, columns, axis=1)
    starts = np.arange(0, n_rows * k + 1, k)
    return sp.csr_matrix((kept.ravel(), columns.ravel(), starts), shape=values.shape)
