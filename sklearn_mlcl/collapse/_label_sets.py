"""Samples in blocks of bounded size, and the label sets they carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.utils.samples import chunks
from sklearn_mlcl.utils.targets import as_array, as_label_matrix, is_label_sets
from sklearn_mlcl.utils.validation import as_floats, check_weights, positives_and_known

BLOCK_ENTRIES = 2**20  # float64 entries of a temporary block: 8 MiB


@dataclass(frozen=True)
class LabelSets:
    """Distinct label sets of an indicator matrix, smaller sets first, then lexicographic.

    `sets` (U, L) CSR of ones; `sizes` (U,); `counts` (U,) samples and `weights` (U,) their summed
    weight; `of_row` (n,) index of the set of each sample, -1 for a sample with a missing label or
    without weight; `row_weight` (n,).
    """

    sets: sp.csr_array
    sizes: np.ndarray
    counts: np.ndarray
    weights: np.ndarray
    of_row: np.ndarray
    row_weight: np.ndarray

    @property
    def n_labels(self) -> int:
        return int(self.sets.shape[1])

    def proper(self) -> np.ndarray:
        """Mask of the sets that are neither empty nor hold every label of the sets in the mask."""
        proper = full = self.sizes > 0
        while full.any():  # without the full set fewer labels may be left, and another set be full
            full = proper & (self.sizes == np.count_nonzero(proper @ self.sets))
            proper = proper & ~full
        return proper


def block_slices(n: int, width: int) -> Iterator[slice]:
    """Slices of n rows; `width` columns of one slice make a block of bounded size."""
    return chunks(n, max(1, BLOCK_ENTRIES // max(width, 1)))


def as_rows(array: Any, name: str = "features") -> Any:
    """Return a matrix whose rows can be sliced: array, memory map, CSR or tensor."""
    if sp.issparse(array):
        array = array.tocsr()
    elif not hasattr(array, "shape") or hasattr(array, "iloc"):
        array = as_array(array)
    if np.ma.is_masked(array):
        raise ValueError(f"{name} have masked entries, expected a value for each.")
    if len(array.shape) != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must be a matrix with columns, got shape {array.shape}.")
    return array


def row_blocks(
    features: Any, rows: np.ndarray | None = None, width: int = 0, name: str = "features"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (row indices, float64 block); `width` columns bound the block if more than d.

    Without rows there is one empty block.
    """
    rows = np.arange(features.shape[0]) if rows is None else rows
    for part in block_slices(max(len(rows), 1), max(features.shape[1], width)):
        yield rows[part], as_float64(features[rows[part]], name)


def as_float64(array: Any, name: str = "features") -> np.ndarray:
    """Return a dense float64 array of finite values."""
    if hasattr(array, "detach"):  # a torch tensor, known without importing torch; bf16 included
        array = array.detach().cpu().double().numpy()
    array = as_floats(np.asarray(array.toarray() if sp.issparse(array) else array), name)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contain NaN or infinity; finite values are expected.")
    return array


def complete_labels(Y: Any, name: str) -> sp.csr_array:
    """Return indicator rows without missing labels as CSR."""
    labels = sp.csr_array(as_label_matrix(Y, name=name), dtype=np.float64)
    if np.isnan(labels.data).any():
        raise ValueError(f"{name} holds NaN; expected 0 and 1.")
    return labels


def label_sets(Y: Any, sample_weight: Any = None) -> LabelSets:
    """Group the rows of an indicator matrix (dense, CSR or DataFrame; NaN = missing)."""
    Y = as_rows(as_label_matrix(Y, name="Y") if is_label_sets(Y) else Y, "Y")
    n, L = Y.shape
    packed, usable = np.empty((n, -(-L // 8)), dtype=np.uint8), np.ones(n, dtype=bool)
    for part in block_slices(n, L):
        positive, known = positives_and_known(Y[part])
        packed[part] = np.packbits(positive, axis=1)
        usable[part] = True if known is None else known.all(axis=1)
    given = check_weights(sample_weight, n, None)
    weight = np.ones(n) if given is None else given
    usable &= weight > 0
    if not usable.any():
        raise ValueError(
            "Y holds no sample with a positive weight and all its labels observed; label sets are "
            "learned from complete samples only."
        )
    keys = packed[usable].view(f"V{packed.shape[1]}").ravel()
    unique, inverse = np.unique(keys, return_inverse=True)
    bits = np.unpackbits(unique.view(np.uint8).reshape(len(unique), -1), axis=1, count=L)
    # For one size the lexicographically first set is the largest bit string.
    order = np.lexsort((-np.arange(len(unique)), bits.sum(axis=1)))
    of_row = np.full(n, -1, dtype=np.intp)
    of_row[usable] = np.argsort(order)[inverse.ravel()]
    sets: Any = sp.csr_array(bits[order], dtype=np.float64)
    return LabelSets(
        sets=sets,
        sizes=np.diff(sets.indptr).astype(np.intp),
        counts=np.bincount(of_row[usable]),
        weights=np.bincount(of_row[usable], weight[usable]),
        of_row=of_row,
        row_weight=np.where(usable, weight, 0.0),
    )


def set_means(features: Any, groups: LabelSets) -> np.ndarray:
    """(U, d) weighted mean of the features of each label set, one pass, float64."""
    sums = np.zeros((len(groups.sizes), features.shape[1]))
    for index, block in row_blocks(features, np.flatnonzero(groups.of_row >= 0)):
        at = (groups.of_row[index], np.arange(len(index)))
        sums += sp.csr_array((groups.row_weight[index], at), (len(sums), len(index))) @ block
    return sums / groups.weights[:, None]


def grouped(features: Any, Y: Any, sample_weight: Any = None) -> tuple[Any, LabelSets]:
    """Sliceable features and the label sets of their rows."""
    features, groups = as_rows(features), label_sets(Y, sample_weight)
    if features.shape[0] != len(groups.of_row):
        raise ValueError(f"features has {features.shape[0]} rows where Y has {len(groups.of_row)}.")
    return features, groups
