"""Samples of any kind (dense, CSR, memory maps, arrays for a module): checks and chunks."""

from __future__ import annotations

import mmap
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import ceil
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data
from torch import Tensor

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


def map_chunks(
    n_rows: int, size: int, compute: Callable[[slice], Any]
) -> Iterator[tuple[slice, Any]]:
    """Yield slices of the rows, each with what ``compute`` makes of it.

    Where the device runs out of memory the chunks are halved, with a warning.

    Parameters
    ----------
    n_rows : int
        Number of rows, at least 1.
    size : int
        Rows of a chunk.
    compute : callable
        Maps a slice of rows to anything.

    Raises
    ------
    torch.OutOfMemoryError
        If a single row does not fit.
    """
    if n_rows < 1:
        raise ValueError(f"n_rows must be at least 1, got {n_rows}.")
    start = 0
    while start < n_rows:
        part = slice(start, min(start + size, n_rows))
        try:
            made = compute(part)
        except torch.OutOfMemoryError:
            if part.stop - part.start == 1:
                raise
            size = (part.stop - part.start) // 2
            warnings.warn(
                f"The device ran out of memory with {part.stop - start} samples at once; "
                f"continuing with {size}.",
                RuntimeWarning,
                stacklevel=3,
            )
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            continue
        yield part, made
        start = part.stop


def part_of(n: int, part: tuple[int, int]) -> slice:
    """Return the k-th of m contiguous parts of n things; their sizes differ by 1 at most.

    Parameters
    ----------
    n : int
        Number of things.
    part : (int, int)
        The numbers k, from 0 on, and m.
    """
    k, m = part
    return slice(n * k // m, n * (k + 1) // m)


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor; torch has no read-only memory and no negative strides: copy."""
    as_it_is = array.flags.writeable and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if as_it_is else array.copy())


def stacked(parts: Iterable[Any], n_rows: int) -> Any:
    """Return chunks of ``n_rows`` rows one below the other, dense or CSR.

    Dense chunks are copied into the result one by one: two copies of all are never there.
    """
    out: np.ndarray | None = None
    start, parts = 0, iter(parts)
    for made in parts:
        if sp.issparse(made):
            return sp.vstack([made, *parts], format="csr")
        if len(made) == n_rows:
            return made
        if out is None:
            out = np.empty((n_rows, *made.shape[1:]), dtype=made.dtype)
        out[start : start + len(made)] = made
        start += len(made)
    return out


# ---------------------------------------------------------------------- memory maps

#: Bytes up to which a memory map is read into memory like any other array.
READ_AT_ONCE = 2**26


class MemmapView:
    """Some rows of a memory-mapped array, which indexing reads.

    Splitting the rows or dropping some takes a list of their numbers and reads nothing.

    Parameters
    ----------
    array : ndarray of shape (N, ...)
        The memory map.
    index : ndarray of int of shape (n,) or None
        Numbers of the rows; None takes all of them.
    """

    def __init__(self, array: np.ndarray, index: np.ndarray | None = None) -> None:
        self.array = array
        self.index = index
        self.shape = (len(array) if index is None else len(index), *array.shape[1:])
        self.dtype = array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read the rows that a slice, a mask or an array of numbers names."""
        return self.array[key if self.index is None else self.index[key]]

    def take(self, rows: np.ndarray) -> MemmapView:
        """Return some of these rows, by number or mask, without reading them."""
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        return MemmapView(self.array, rows if self.index is None else self.index[rows])


def is_mapped(array: Any) -> bool:
    """Return whether an array, or what it is a view of, is a memory map."""
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap | mmap.mmap)


def as_memmap_view(X: Any) -> Any:
    """Return a large memory map as :class:`MemmapView`, anything else as it is."""
    large = is_mapped(X) and X.nbytes > READ_AT_ONCE
    return MemmapView(X) if large else X


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Return some rows of X, by number or mask; those of a memory map are not read."""
    return X.take(rows) if isinstance(X, MemmapView) else X[rows]


def take_part(X: Any, rows: slice) -> Any:
    """Return some rows of X in a row, all as they are; those of a memory map are not read."""
    whole = (rows.start, rows.stop) == (0, X.shape[0])
    return X if whole else take_rows(X, np.arange(rows.start, rows.stop))


def same_samples(X: Any, other: Any) -> bool:
    """Return whether two matrices hold the same numbers."""
    if X.shape != other.shape or sp.issparse(X) != sp.issparse(other):
        return False
    if sp.issparse(X):
        return (other != X).nnz == 0
    return bool(np.array_equal(X, other))


# ---------------------------------------------------------------------- samples of any shape

#: What a module is called with: a tensor, or tensors by name.
Inputs = Tensor | dict[str, Tensor]
#: Name, dtype and shape of a sample, one for each of several arrays.
SampleShape = list[tuple[str, str, tuple[int, ...]]]
#: What tensors of some integers are cast to.
WIDER = dict.fromkeys((torch.uint16, torch.uint32, torch.uint64), torch.int64)


def pack_inputs(**arrays: ArrayLike) -> np.ndarray:
    """Put several arrays of the same samples side by side, as one array.

    A ``module`` of your own is then called with a dict of tensors. The result is a structured array
    of NumPy: it can be indexed, split, memory-mapped and pickled as any other array.

    Parameters
    ----------
    **arrays : array-like of shape (n_samples, ...)
        Token ids, a mask, an image, by name.

    Returns
    -------
    samples : ndarray of shape (n_samples,)
        With the names as fields.

    Raises
    ------
    ValueError
        If there is no array, or they have different numbers of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.modules import pack_inputs
    >>> X = pack_inputs(
    ...     ids=np.zeros((3, 5), dtype=int), mask=np.ones((3, 5), dtype=bool)
    ... )
    >>> X.shape, X[:2]["mask"].shape
    ((3,), (2, 5))
    """
    parts = {name: np.asarray(array) for name, array in arrays.items()}
    sizes = {name: len(part) if part.ndim else None for name, part in parts.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise ValueError(f"pack_inputs needs arrays of the same samples, got the numbers {sizes}.")
    fields = [(name, part.dtype, part.shape[1:]) for name, part in parts.items()]
    samples = np.empty(len(next(iter(parts.values()))), dtype=fields)
    for name, part in parts.items():
        samples[name] = part
    return samples


def fields_of(array: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of packed samples by name; an array alone has the name ""."""
    names = array.dtype.names
    return {"": array} if names is None else {name: array[name] for name in names}


def each_tensor(change: Callable[[Tensor], Any], inputs: Any) -> Any:
    """Return inputs of a module, each tensor changed."""
    if isinstance(inputs, dict):
        return {name: change(tensor) for name, tensor in inputs.items()}
    return change(inputs)


def tensors_of(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Inputs:
    """Return samples as tensors: floats in a dtype, all others as they are.

    Wide unsigned integers become int64: torch neither indexes nor computes with them.
    """

    def as_wanted(tensor: Tensor) -> Tensor:
        return tensor.to(
            dtype if tensor.is_floating_point() else WIDER.get(tensor.dtype, tensor.dtype)
        )

    if array.dtype.names is None:
        return as_wanted(as_tensor(array))
    # Fields of packed samples lie between one another, which torch has no strides for.
    parts = fields_of(array).items()
    return {name: as_wanted(as_tensor(part.copy(order="C"))) for name, part in parts}


def n_entries(X: Any) -> int:
    """Return how many numbers a sample has."""
    if getattr(X.dtype, "names", None):
        return sum(max(1, int(np.prod(X.dtype[name].shape))) for name in X.dtype.names)
    return int(np.prod(X.shape[1:]))


def is_table(X: Any) -> bool:
    """Return whether samples are rows of floats: an array of two dimensions, or CSR."""
    return sp.issparse(X) or (len(X.shape) == 2 and X.dtype.kind == "f")


def sample_shape(X: Any) -> SampleShape:
    """Return what a sample looks like."""
    if getattr(X.dtype, "names", None):
        return [(n, X.dtype[n].base.str, X.dtype[n].shape) for n in X.dtype.names]
    return [("", X.dtype.str, tuple(X.shape[1:]))]


def zero_samples(like: SampleShape, n: int) -> np.ndarray:
    """Return samples of zeros of the shape that :func:`sample_shape` returned."""
    (name, dtype, shape), *others = like
    return np.zeros((n, *shape), dtype) if not (name or others) else np.zeros(n, np.dtype(like))


def check_samples(X: Any) -> np.ndarray:
    """Return samples for a module of the user's.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If they have fewer than two dimensions, none at all, NaN or infinity.
    """
    try:
        X = X.detach().cpu().numpy() if isinstance(X, Tensor) else np.asarray(X)
    except ValueError as error:
        raise ValueError(
            f"X cannot be read as one array: {error} Pad samples of different lengths to one."
        ) from error
    parts = fields_of(X)
    kinds = {part.dtype.kind for part in parts.values()}
    if not kinds <= set("biuf"):
        raise TypeError(
            f"module needs numbers, but X has the dtype {X.dtype}. Convert X in a step before the "
            "classifier, for example texts to token ids."
        )
    if not X.dtype.names and X.ndim < 2:
        raise ValueError(f"X must have shape (n_samples, ...), got {X.shape}.")
    if X.shape[0] == 0:
        raise ValueError(f"X has no samples: its shape is {X.shape}.")
    for name, part in parts.items():
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            raise ValueError(f"X{f'[{name!r}]' if name else ''} contains NaN or infinity.")
    if X.dtype.names or X.dtype.kind != "f":
        return X if X.dtype.isnative else X.astype(X.dtype.newbyteorder("="))
    return X.astype(np.float64 if X.dtype.itemsize > 4 else np.float32, copy=False)


def check_same_kind(X: np.ndarray, like: SampleShape) -> None:
    """Raise unless samples have the arrays, dimensions and kinds of those of the fit."""
    given = sample_shape(X)

    def kinds(shape: SampleShape) -> list[tuple[str, int, bool]]:
        return [(name, len(sizes), np.dtype(d).kind == "f") for name, d, sizes in shape]

    if kinds(given) != kinds(like):
        raise ValueError(f"X has samples of {given}, expected those of the fit: {like}.")


def canonical(matrix: Any) -> Any:
    """Return a CSR matrix without duplicates and explicit zeros; it is copied if it has some."""
    if not matrix.has_canonical_format or not matrix.data.all():
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


# ---------------------------------------------------------------------- X as it is given

Features: TypeAlias = np.ndarray | sp.csr_matrix
FLOATS = (np.float64, np.float32)
#: Errors of the libraries below about X that do not say so.
_WITHOUT_NAME = re.compile(
    r"could not convert|float\(\) argument|setting an array element|Cannot cast|int too large|"
    r"Expected unique column names|[Cc]an't c|Got unsupported"
)


def check_in_memory(name: str, value: Any) -> None:
    """Raise for an array or frame of dask, which would be loaded as a whole without a word."""
    if type(value).__module__.partition(".")[0] in ("dask", "dask_expr"):
        raise TypeError(
            f"{name} is a dask {type(value).__name__}: fit and predict need it in memory, and "
            f"{name}.compute() loads it. To go block by block, use partial_fit_blocks and "
            "predict_proba_blocks of sklearn_mlcl.distributed."
        )


def check_features(estimator: Any, X: Any, *, reset: bool) -> Features:
    """Return X as scikit-learn checks it: float32 or float64, dense or CSR, finite.

    CSR comes without duplicates and explicit zeros: equal matrices are equal arrays.
    """
    check_in_memory("X", X)
    if getattr(estimator, "_own_inputs", False) and not sp.issparse(X):
        frame = hasattr(X, "columns")
        named = validate_data(estimator, X, reset=reset, dtype=None) if frame else X
        samples = check_samples(named)
        known = None if reset else getattr(estimator, "_sample_shape", None)
        if known is not None or not is_table(samples):
            return _checked_kind(estimator, samples, known, reset)
        X = X if frame else samples
    if reset:
        vars(estimator).pop("_sample_shape", None)
    if np.ma.is_masked(X):
        raise ValueError("X has masked entries, expected a value for each: impute them.")
    if _holds_times(X):
        raise ValueError("X must hold numbers, got dates or durations.")
    try:
        # scikit-learn takes the dtype of a tensor for none, and would make float64 of it.
        X = np.asarray(X) if isinstance(X, Tensor) else X
        X = validate_data(estimator, X, reset=reset, accept_sparse="csr", dtype=FLOATS)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if not _WITHOUT_NAME.match(str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        hint = (
            ""
            if "could not convert" not in str(error)
            else (
                ". Convert texts and categories in a step before the classifier, for example by "
                "TfidfVectorizer or OneHotEncoder."
            )
        )
        raise kind(f"X cannot be read as a matrix of numbers: {error}{hint}") from error
    return canonical(X) if sp.issparse(X) else X


def _checked_kind(estimator: Any, X: np.ndarray, known: Any, reset: bool) -> np.ndarray:
    """Note what a sample looks like, or compare it with those of the fit."""
    if reset:
        estimator._sample_shape = sample_shape(X)
        estimator.n_features_in_ = len(X.dtype.names) if X.dtype.names else X.shape[1]
    else:
        check_same_kind(X, known or [("", "<f8", (estimator.n_features_in_,))])
    return X


def _holds_times(X: Any) -> bool:
    """Return whether there are dates or durations, which would be read as numbers."""
    schema = getattr(X, "schema", None)
    if isinstance(schema, Mapping):  # of polars
        return any(dtype.is_temporal() for dtype in schema.values())
    dtypes = np.ravel(np.asarray(getattr(X, "dtypes", getattr(X, "dtype", ())), dtype=object))
    return any(getattr(dtype, "kind", "") in ("m", "M") for dtype in dtypes)


#: Samples of a memory map whose size is looked at.
SAMPLES_OF_MAP = 32


def largest_value(X: Any) -> float:
    """Return the largest size of a feature of samples; of a memory map a few samples speak."""
    if isinstance(X, MemmapView):
        X = X[:: max(1, ceil(X.shape[0] / SAMPLES_OF_MAP))]
    values = X.data if sp.issparse(X) else X
    if not is_table(X) and not sp.issparse(X):
        return 0.0  # numbers that nothing here is computed with
    parts = (np.asarray(values[part]) for part in chunks(len(values)))
    return float(max((max(part.max(), -part.min()) for part in parts if part.size), default=0.0))


def check_sizes(X: Any, smallest: float, largest: float) -> None:
    """Raise unless the largest size of a feature is 0 or within bounds."""
    found = largest_value(X)
    if found and not smallest <= found <= largest:
        raise ValueError(
            f"X holds values up to {found:g}, expected {smallest:g} to {largest:g}. Bring the "
            "features to a common scale (StandardScaler)."
        )
