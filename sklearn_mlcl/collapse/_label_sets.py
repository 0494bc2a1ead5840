"""Rows in bounded blocks, and the label sets they carry: what every other file here counts with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.utils._sklearn_compat import effective_n_threads

Result = TypeVar("Result")

BLOCK_ELEMENTS = 2**20  # float64 elements of a temporary block: 8 MiB


@dataclass(frozen=True)
class LabelSets:
    """Distinct label sets of an indicator matrix, smaller sets first, then lexicographic.

    `sets` (U, K) CSR of ones; `sizes` (U,); `counts` (U,) rows and `weights` (U,) their summed
    sample weight; `of_row` (n,) index of each row's set, -1 for a row with a missing label or no
    weight; `row_weight` (n,).
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
        """Mask of the sets that are neither empty nor all the labels that ever occur."""
        n_present = int((np.asarray(self.sets.sum(axis=0)) > 0).sum())
        return (self.sizes > 0) & (self.sizes < n_present)


def is_sparse(M: Any) -> bool:
    """scipy's test without its type narrowing, which knows no methods of sparse arrays."""
    return bool(sp.issparse(M))


def as_rows(features: Any) -> Any:
    """The features as something whose rows can be sliced: array, memory map, CSR or tensor."""
    if is_sparse(features):
        features = features.tocsr()
    elif not hasattr(features, "shape") or hasattr(features, "iloc"):
        features = np.asarray(features)
    if len(features.shape) != 2 or features.shape[1] == 0:
        raise ValueError(f"features must be 2-D (n_samples, d), got shape {features.shape}.")
    return features


def row_blocks(
    features: Any, rows: np.ndarray | None = None, width: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (row indices, float64 block); `width` columns bound the block if more than d."""
    rows = np.arange(features.shape[0]) if rows is None else rows
    width = max(features.shape[1], 1 if width is None else width, 1)
    step = max(1, BLOCK_ELEMENTS // width)
    contiguous = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1
    for start in range(0, len(rows), step):
        index = rows[start : start + step]
        block = features[int(index[0]) : int(index[-1]) + 1] if contiguous else features[index]
        yield index, _as_float64(block)


def map_blocks(function: Callable[[np.ndarray], Result], features: Any, width: int) -> list[Result]:
    """function(block) of each block, in order, on as many threads as scikit-learn would use."""
    step = max(1, BLOCK_ELEMENTS // max(features.shape[1], width))
    parts = [slice(at, at + step) for at in range(0, features.shape[0], step)]
    n_threads = min(effective_n_threads(), max(len(parts), 1))
    # A block is read inside its thread: no more than n_threads of them are in memory at once.
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda part: function(_as_float64(features[part])), parts))


def _as_float64(block: Any) -> np.ndarray:
    if hasattr(block, "detach"):  # a torch tensor, known without importing torch; bf16 included
        block = block.detach().cpu().double().numpy()
    block = block.toarray() if is_sparse(block) else block
    block = np.asarray(block, dtype=np.float64)
    if not np.isfinite(block).all():
        raise ValueError("features contain NaN or infinity; finite values are expected.")
    return block


def label_sets(Y: Any, sample_weight: Any = None) -> LabelSets:
    """Group the rows of an indicator matrix (dense, CSR, DataFrame or tensor; NaN = missing)."""
    packed, complete, K = _packed_rows(Y)
    n = len(packed)
    weight = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n,) or not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(f"sample_weight must be {n} finite non-negative values.")
    usable = complete & (weight > 0)
    if not usable.any():
        raise ValueError(
            "Y holds no row with a positive weight and all its labels observed; label sets are "
            "learned from complete rows only."
        )
    keys = packed[usable].view(f"V{packed.shape[1]}").ravel()
    unique, inverse = np.unique(keys, return_inverse=True)
    bits = np.unpackbits(unique.view(np.uint8).reshape(len(unique), -1), axis=1, count=K)
    # For one size the lexicographically first set is the largest bit string, hence the reversal.
    order = len(unique) - 1 - np.argsort(bits.sum(axis=1)[::-1], kind="stable")
    rank = np.empty(len(unique), dtype=np.intp)
    rank[order] = np.arange(len(unique))
    of_row = np.full(n, -1, dtype=np.intp)
    of_row[usable] = rank[inverse.ravel()]
    sets: Any = sp.csr_array(bits[order], dtype=np.float64)
    return LabelSets(
        sets=sets,
        sizes=np.diff(sets.indptr).astype(np.intp),
        counts=np.bincount(of_row[usable], minlength=len(unique)),
        weights=np.bincount(of_row[usable], weight[usable], minlength=len(unique)),
        of_row=of_row,
        row_weight=np.where(usable, weight, 0.0),
    )


def _packed_rows(Y: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Bit-packed rows, mask of the rows with no missing label, number of labels."""
    if hasattr(Y, "detach"):
        Y = Y.detach().cpu().numpy()
    Y = Y.tocsr() if is_sparse(Y) else np.asarray(Y)
    if Y.ndim != 2 or Y.shape[1] == 0:
        raise ValueError(f"Y must be an indicator matrix (n_samples, n_labels), got {Y.shape}.")
    n, K = Y.shape
    packed = np.zeros((n, -(-K // 8)), dtype=np.uint8)
    complete = np.ones(n, dtype=bool)
    for start in range(0, n, max(1, BLOCK_ELEMENTS // K)):
        part = slice(start, start + max(1, BLOCK_ELEMENTS // K))
        block = Y[part].toarray() if is_sparse(Y) else Y[part]
        block = block.astype(np.float64) if block.dtype.kind == "O" else block
        missing = np.isnan(block) if block.dtype.kind == "f" else np.zeros(block.shape, dtype=bool)
        if not (missing | (block == 0) | (block == 1)).all():
            raise ValueError("Y must hold 0, 1 or NaN (a missing label) only.")
        complete[part] = ~missing.any(axis=1)
        packed[part] = np.packbits(block == 1, axis=1)
    return packed, complete, K


def set_means(features: Any, groups: LabelSets) -> np.ndarray:
    """(U, d) weighted mean of the features of each label set, one pass, float64."""
    sums = np.zeros((len(groups.sizes), features.shape[1]))
    rows = np.flatnonzero(groups.of_row >= 0)
    for index, block in row_blocks(features, rows):
        at = (groups.of_row[index], np.arange(len(index)))
        pick = sp.csr_array((groups.row_weight[index], at), shape=(len(sums), len(index)))
        sums += pick @ block
    return sums / groups.weights[:, None]


def grouped(features: Any, Y: Any, sample_weight: Any = None) -> tuple[Any, LabelSets]:
    """Sliceable features and the label sets of their rows."""
    features, groups = as_rows(features), label_sets(Y, sample_weight)
    if features.shape[0] != len(groups.of_row):
        raise ValueError(f"features has {features.shape[0]} rows where Y has {len(groups.of_row)}.")
    return features, groups
