"""Sets as `.npz` files: dense or CSR matrices, names and the rows of the official split."""

from __future__ import annotations

import os
import zipfile
import zlib
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp
from numpy.lib.npyio import NpzFile
from sklearn.utils import Bunch

from sklearn_mlcl.datasets._base import SUBSETS, as_indicator, make_bunch, name_of, open_source

DATA_ENV = "SKLEARN_MLCL_DATA"
CSR_PARTS = ("data", "indices", "indptr", "shape")
MOST_COLUMNS = 10**7


def local_data_home(data_home: str | PathLike[str] | None = None) -> Path | None:
    """Folder of local sets: `data_home`, else the environment variable, else None."""
    home = data_home if data_home is not None else os.environ.get(DATA_ENV)
    return Path(home).expanduser() if home else None


def _read_matrix(arrays: NpzFile, key: str) -> Any:
    matrix: Any
    if key in arrays:
        matrix = arrays[key]
    elif all(f"{key}_{part}" in arrays for part in CSR_PARTS):
        data, indices, indptr, shape = (arrays[f"{key}_{part}"] for part in CSR_PARTS)
        matrix = sp.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
        matrix.check_format(full_check=True)
        matrix.sum_duplicates()
    else:
        raise ValueError(f"it holds neither {key!r} nor the CSR parts {key}_data, ..., {key}_shape")
    if np.ndim(matrix) != 2:
        raise ValueError(f"{key} must have 2 dimensions, got {np.ndim(matrix)}")
    if matrix.shape[1] > MOST_COLUMNS:
        raise ValueError(f"{key} has {matrix.shape[1]} columns, more than {MOST_COLUMNS}")
    return matrix


def _read_names(arrays: NpzFile, key: str, stem: str, n: int) -> list[str]:
    if key not in arrays:
        return [f"{stem}{i}" for i in range(n)]
    names = [str(name) for name in arrays[key]]
    if len(names) != n:
        raise ValueError(f"{key} has {len(names)} entries for {n} columns")
    return names


def _read_split(arrays: NpzFile, n: int) -> dict[str, np.ndarray]:
    """The index arrays there are: disjoint, and together all samples."""
    split = {key: arrays[key] for key in SUBSETS.values() if key in arrays}
    if split and not np.array_equal(np.sort(np.concatenate(list(split.values()))), np.arange(n)):
        raise ValueError(f"{', '.join(split)} do not name each of the {n} samples exactly once")
    return {key: samples.astype(np.int64) for key, samples in split.items()}


def _read_texts(arrays: NpzFile, n: int) -> dict[str, np.ndarray]:
    """Strings per sample, stored as the UTF-8 bytes of all and the offsets of each."""
    texts = {}
    for stem in (key.removesuffix("_utf8") for key in arrays.files if key.endswith("_utf8")):
        raw, ends = arrays[f"{stem}_utf8"].tobytes(), arrays[f"{stem}_offsets"].tolist()
        if len(ends) != n + 1:
            raise ValueError(f"{stem}_offsets has {len(ends)} entries for {n} samples")
        texts[stem] = np.array([raw[a:b].decode() for a, b in pairwise(ends)], dtype=object)
    return texts


def _read_bunch(arrays: NpzFile) -> Bunch:
    X, Y = _read_matrix(arrays, "X"), _read_matrix(arrays, "Y")
    if X.shape[0] != Y.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows, Y has {Y.shape[0]}")
    return Bunch(
        data=X,
        target=as_indicator(Y),
        feature_names=_read_names(arrays, "feature_names", "x", X.shape[1]),
        target_names=_read_names(arrays, "label_names", "label", Y.shape[1]),
        **_read_split(arrays, X.shape[0]),
        **_read_texts(arrays, X.shape[0]),
    )


DAMAGE = (
    ValueError, TypeError, AttributeError, KeyError, EOFError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_npz(source: str | PathLike[str] | IO[bytes]) -> Bunch:
    """The whole set of a file, with one kind of error for whatever may be wrong with it."""
    with open_source(source) as file:
        try:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, NpzFile):
                raise ValueError("it holds one array, not named arrays")
            with arrays:
                return _read_bunch(arrays)
        except DAMAGE as error:
            raise ValueError(
                f"{name_of(source)} is no readable multi-label npz file: {error}"
            ) from error


def load_npz(
    path: str | PathLike[str] | IO[bytes],
    *,
    subset: str = "all",
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Read a multi-label set from an `.npz` file.

    The file holds ``X`` and ``Y``, each either as one 2-D array or as the parts ``X_data``,
    ``X_indices``, ``X_indptr``, ``X_shape`` of a CSR matrix. Optional are ``label_names``,
    ``feature_names``, the sample numbers ``train_idx``, ``test_idx``, ``val_idx`` (disjoint,
    together all samples), and strings per sample as ``<name>_utf8`` (bytes) with
    ``<name>_offsets``. Nothing pickled is read.

    Parameters
    ----------
    path : str, path-like or binary file object
        The file.
    subset : {"all", "train", "validation", "test"}, default="all"
        Which samples to return, if the file holds a split.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Return data and target as DataFrames, with sparse columns for a sparse matrix.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        With these attributes.

        data : ndarray or CSR matrix of shape (n, d)
            In the dtype of the file.
        target : ndarray or CSR matrix of shape (n, L)
            int64; float64 if entries are missing (NaN).
        feature_names, target_names : list of str
            ``x0, x1, ...`` and ``label0, label1, ...`` if the file has none.
        train_idx, test_idx, val_idx : ndarray of int64
            Those that the file holds; only for ``subset="all"``.
    (data, target) : tuple if `return_X_y`
        These two alone.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or its arrays disagree, or if it has no such subset.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from sklearn_mlcl.datasets import load_npz
    >>> file = io.BytesIO()
    >>> np.savez(file, X=np.eye(3), Y=np.array([[0, 1], [1, 1], [0, 0]], dtype=np.uint8))
    >>> _ = file.seek(0)
    >>> X, Y = load_npz(file, return_X_y=True)
    >>> Y.dtype, Y.sum(axis=0)
    (dtype('int64'), array([1, 2]))
    """
    return make_bunch(read_npz(path), subset=subset, return_X_y=return_X_y, as_frame=as_frame)
