"""Sets as `.npz` files: dense or CSR matrices, names and the rows of the official split."""

from __future__ import annotations

import io
import math
import os
import zipfile
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp
from numpy.lib import format as npy
from sklearn.utils import Bunch

from sklearn_mlcl.datasets._base import SUBSETS, as_indicator, make_bunch
from sklearn_mlcl.datasets._files import Budget, naming, open_source

DATA_ENV = "SKLEARN_MLCL_DATA"
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# Others may unpack without a bound, and numpy writes none of them.
PACKINGS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
REAL, WHOLE, TEXT = "biuf", "iu", "US"


def local_data_home(data_home: str | PathLike[str] | None = None) -> Path | None:
    """Folder of local sets: `data_home`, else the environment variable, else None."""
    home = data_home if data_home is not None else os.environ.get(DATA_ENV)
    return Path(home).expanduser() if home else None


class Arrays:
    """The arrays of an archive, each checked before it takes memory.

    Parameters
    ----------
    archive : ZipFile
        Of members ``<name>.npy``.
    budget : Budget
        What they may take together.
    """

    def __init__(self, archive: zipfile.ZipFile, budget: Budget) -> None:
        self.archive, self.budget = archive, budget
        self.members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}

    def read(self, key: str, kinds: str, n_dimensions: int = 1) -> np.ndarray:
        """Array of a name, if it is of the kinds of dtype, and of as many dimensions."""
        if key not in self.members:
            raise ValueError(f"it holds no {key!r}")
        info = self.members[key]
        if info.compress_type not in PACKINGS:
            raise ValueError(f"{key} is packed by another method than numpy's")
        self.budget.take(info.file_size)
        with self.archive.open(info) as member:
            version = npy.read_magic(member)
            if version not in HEADERS:
                raise ValueError(f"{key} has an npy header of version {version}")
            shape, _, dtype = HEADERS[version](member)
            n_bytes = info.file_size - member.tell()
        if dtype.kind not in kinds:
            wanted = "text" if kinds == TEXT else "real numbers" if kinds == REAL else "integers"
            raise ValueError(f"{key} must hold {wanted}, got {dtype}")
        if len(shape) != n_dimensions:
            raise ValueError(f"{key} must have {n_dimensions} dimensions, got {len(shape)}")
        if math.prod(shape) * dtype.itemsize != n_bytes:
            raise ValueError(f"{key} claims the shape {shape} of {dtype}, but has {n_bytes} bytes")
        with self.archive.open(info) as member:
            return npy.read_array(member, allow_pickle=False)


def _sum_duplicates(matrix: sp.csr_matrix) -> sp.csr_matrix:
    if matrix.has_canonical_format:
        return matrix
    # Sums of small integers, and of booleans, would not fit.
    wide = matrix.astype(np.float64 if matrix.dtype.kind == "f" else np.int64)
    wide.sum_duplicates()
    return wide.astype(matrix.dtype) if matrix.dtype.kind == "f" else wide


def _read_csr(arrays: Arrays, key: str) -> sp.csr_matrix:
    shape = arrays.read(f"{key}_shape", WHOLE)
    if len(shape) != 2:
        raise ValueError(f"{key}_shape must hold 2 numbers, got {len(shape)}")
    data = arrays.read(f"{key}_data", REAL)
    indices, indptr = (arrays.read(f"{key}_{part}", WHOLE) for part in ("indices", "indptr"))
    arrays.budget.take(16 * len(data))
    matrix = sp.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
    matrix.check_format(full_check=True)
    return matrix


def _read_matrix(arrays: Arrays, key: str) -> Any:
    """Array or CSR matrix, of rows and columns that can be listed."""
    if key in arrays.members:
        matrix = arrays.read(key, REAL, n_dimensions=2)
    elif f"{key}_data" in arrays.members:
        matrix = _read_csr(arrays, key)
    else:
        raise ValueError(f"it holds neither {key!r} nor the CSR parts {key}_data, ..., {key}_shape")
    arrays.budget.take(16 * matrix.shape[0] + 64 * matrix.shape[1])
    return matrix


def _read_X(arrays: Arrays) -> Any:
    X = _read_matrix(arrays, "X")
    return _sum_duplicates(X) if sp.issparse(X) else X


def _read_Y(arrays: Arrays) -> Any:
    """Labels; checked before entries that occur twice are summed, and after."""
    Y = _read_matrix(arrays, "Y")
    arrays.budget.take(16 * Y.size)
    Y = as_indicator(Y)
    return as_indicator(_sum_duplicates(Y)) if sp.issparse(Y) else Y


def _read_names(arrays: Arrays, key: str, stem: str, n: int) -> list[str]:
    if key not in arrays.members:
        return [f"{stem}{i}" for i in range(n)]
    names = arrays.read(key, TEXT)
    if len(names) != n:
        raise ValueError(f"{key} has {len(names)} entries for {n} columns")
    return [name.decode() if isinstance(name, bytes) else name for name in names.tolist()]


def _read_split(arrays: Arrays, n: int) -> dict[str, np.ndarray]:
    """The index arrays there are: disjoint, and together all samples."""
    split = {k: arrays.read(k, WHOLE) for k in SUBSETS.values() if k in arrays.members}
    if split and not np.array_equal(np.sort(np.concatenate(list(split.values()))), np.arange(n)):
        raise ValueError(f"{', '.join(split)} do not name each of the {n} samples exactly once")
    return {key: samples.astype(np.int64) for key, samples in split.items()}


def _read_texts(arrays: Arrays, n: int) -> dict[str, np.ndarray]:
    """Strings per sample, stored as the UTF-8 bytes of all and the offsets of each."""
    texts = {}
    for stem in [k.removesuffix("_utf8") for k in arrays.members if k.endswith("_utf8")]:
        raw = arrays.read(f"{stem}_utf8", "u").tobytes()
        offsets = arrays.read(f"{stem}_offsets", WHOLE)
        if len(offsets) != n + 1 or offsets[0] != 0 or offsets[-1] != len(raw):
            raise ValueError(
                f"{stem}_offsets must have {n + 1} entries, from 0 to {len(raw)}, for {n} samples"
            )
        if (offsets[1:] < offsets[:-1]).any():
            raise ValueError(f"{stem}_offsets must not decrease")
        arrays.budget.take(64 * n + 4 * len(raw))
        texts[stem] = np.array(
            [raw[a:b].decode() for a, b in pairwise(offsets.tolist())], dtype=object
        )
    return texts


def _read_bunch(arrays: Arrays) -> Bunch:
    X, Y = _read_X(arrays), _read_Y(arrays)
    if X.shape[0] != Y.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows, Y has {Y.shape[0]}")
    return Bunch(
        data=X,
        target=Y,
        feature_names=_read_names(arrays, "feature_names", "x", X.shape[1]),
        target_names=_read_names(arrays, "label_names", "label", Y.shape[1]),
        **_read_split(arrays, X.shape[0]),
        **_read_texts(arrays, X.shape[0]),
    )


def read_npz(source: str | PathLike[str] | IO[bytes], max_bytes: int | None = None) -> Bunch:
    """The whole set of a file."""
    budget = Budget(max_bytes)
    with (
        open_source(source, unpack=False) as (file, _),
        naming(source, damage=Exception),  # whatever zipfile, numpy and scipy raise
    ):
        budget.n_read = file.seek(0, io.SEEK_END)
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            return _read_bunch(Arrays(archive, budget))


def load_npz(
    path: str | PathLike[str] | IO[bytes],
    *,
    max_bytes: int | None = None,
    subset: str = "all",
    return_X_y: bool = False,
    as_frame: bool = False,
) -> Any:
    """Read a multi-label set from an `.npz` file.

    The file holds ``X`` and ``Y``, each either as one 2-D array or as the parts ``X_data``,
    ``X_indices``, ``X_indptr``, ``X_shape`` of a CSR matrix. Optional are ``label_names``,
    ``feature_names``, the sample numbers ``train_idx``, ``test_idx``, ``val_idx`` (disjoint,
    together all samples), and strings per sample as ``<name>_utf8`` (bytes) with
    ``<name>_offsets``. Entries of a CSR matrix that occur twice are summed; sums in Y must be 0 or
    1. Nothing pickled is read.

    Parameters
    ----------
    path : str, path-like or binary file object
        The file.
    max_bytes : int, default=None
        About the most memory to take. A file that needs more is an error. If None, 128 MiB or 16
        times the size of the file, whichever is more. Give a number to read a larger file that
        you trust.
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
            In the dtype of the file; int64 where integers that occur twice are summed.
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
    DataFileError
        If the file is damaged or too large, or its arrays disagree.
    ValueError
        If the set has no such subset.
    OSError
        If there is no such file, or it cannot be opened.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> from sklearn_mlcl.datasets import load_npz
    >>> file = io.BytesIO()
    >>> np.savez(
    ...     file, X=np.eye(3), Y=np.array([[0, 1], [1, 1], [0, 0]], dtype=np.uint8)
    ... )
    >>> _ = file.seek(0)
    >>> X, Y = load_npz(file, return_X_y=True)
    >>> Y.dtype, Y.sum(axis=0)
    (dtype('int64'), array([1, 2]))
    """
    bunch = read_npz(path, max_bytes)
    return make_bunch(bunch, subset=subset, return_X_y=return_X_y, as_frame=as_frame)
