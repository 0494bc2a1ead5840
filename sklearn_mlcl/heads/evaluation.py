"""What modules make of samples: in chunks, on one device, in one dtype."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, log
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sklearn_mlcl.heads.label_tree import BEAM, LabelTree
from sklearn_mlcl.heads.predictor import DecoderHead, NeighborHead, Predictor
from sklearn_mlcl.modules import side_by_side
from sklearn_mlcl.training._parallel import in_parts
from sklearn_mlcl.training.net import encoded
from sklearn_mlcl.utils.answers import sigmoid
from sklearn_mlcl.utils.runtime import (
    resolve_device,
    signals_reach_caller,
    threads_for,
    torch_defaults,
)
from sklearn_mlcl.utils.samples import (
    as_tensor,
    chunk_rows,
    chunks,
    is_table,
    map_chunks,
    n_entries,
    stacked,
    take_part,
    take_rows,
    tensors_of,
)

#: Entries of the similarities of one chunk of samples to a block of neighbours: bounds the memory,
#: and leaves enough samples for fast products.
SIMILARITY_ENTRIES = 2**20
#: Samples up to which nobody looks what memory a sample of other shapes than rows needs.
FEW_SAMPLES = 32


def outputs(module: nn.Module, *arrays: Any, **options: Any) -> np.ndarray:
    """Return what a module makes of samples, one below the other; see :func:`chunk_outputs`."""
    return stacked(chunk_outputs(module, *arrays, **options), arrays[0].shape[0])


def chunk_outputs(
    module: nn.Module,
    *arrays: Any,
    device: str | torch.device,
    dtype: torch.dtype | None = None,
    entries: int = 0,
    precision: str = "float32",
    **options: Any,
) -> Iterator[Any]:
    """Yield what a module makes of chunks of samples, as NumPy arrays.

    The module is copied, its tensors are cast and moved: the one that was given is left alone, so
    that several threads can predict at once. For float64 samples the weights are cast up: a float32
    pass gives a sample another answer in another batch, by more than scikit-learn's checks allow.
    A module that has ``in_float32`` computes in float32 all the same, and its answers are cast.

    Parameters
    ----------
    module : torch.nn.Module
        Called with the chunks.
    *arrays : ndarray, MemmapView or CSR of shape (n, ...)
        The samples, and what belongs to them. Those that are no floats stay as they are.
    device : str or torch.device
        Where it runs; "auto" weighs the work of a chunk.
    dtype : torch.dtype, default=None
        Of samples, weights and answers; None is that of the samples.
    entries : int, default=0
        Numbers of memory that a sample needs beside its features and the widest layer. For samples
        that are no rows of floats, one sample shows what the layers need.
    precision : {"float32", "bf16"}, default="float32"
        "bf16" runs encoders under autocast to bfloat16, where samples and weights are float32.
    **options : Any
        Passed to the module.
    """
    columns = getattr(module, "columns", None)
    if columns is not None and sp.issparse(arrays[0]):
        arrays = (arrays[0][:, columns], *arrays[1:])
    n_samples = arrays[0].shape[0]
    if dtype is None:
        dtype = torch.float64 if arrays[0].dtype == np.float64 else torch.float32
    in_half = precision == "bf16" and dtype == torch.float32
    cast = None
    if any(getattr(part, "in_float32", False) for part in module.modules()):
        dtype, cast = torch.float32, dtype
    takes_csr = getattr(module, "takes_csr", False)
    heads = [part for part in module.modules() if isinstance(part, NeighborHead)]
    widest = max((p.numel() for p in module.parameters() if p.ndim == 1), default=0)
    block_size = max((head.block_size for head in heads), default=1)
    size = chunk_rows(n_entries(arrays[0]) + widest + entries)
    size = max(1, min(size, SIMILARITY_ENTRIES // block_size))
    # Multiply-adds of a sample's way through the module.
    matrices = [p.numel() for p in module.parameters() if p.ndim > 1]
    matrices += [head.unit.numel() for head in heads]
    work = min(n_samples, size) * sum(matrices)
    work_of_product = work / max(1, len(matrices))
    device = resolve_device(device, work)
    copied = signals_reach_caller()(torch_defaults()(placed))(module, device, dtype)
    if in_half:
        for part in list(copied.modules()):
            if isinstance(part, Embedding | Predictor):
                part.encoder = _HalfPrecision(part.encoder)

    def answer(tensor: Tensor) -> np.ndarray:
        return tensor.to("cpu", cast if tensor.is_floating_point() else None).numpy()

    # All modes end with a chunk: between two of them the caller's own code runs.
    @signals_reach_caller()
    def made(part: slice) -> Any:
        with torch_defaults(), threads_for(work_of_product, device), torch.inference_mode():
            own = (a[part] for a in arrays)
            if not takes_csr:
                own = (a.toarray() if sp.issparse(a) else a for a in own)
            made = copied(*(_tensor(a, device, dtype) for a in own), **options)
            if isinstance(made, tuple):
                return tuple(answer(tensor) for tensor in made)
            return answer(made)

    if n_samples > FEW_SAMPLES and not is_table(arrays[0]):
        with _counted_entries(copied) as largest:
            made(slice(0, 1))
        size = min(size, chunk_rows(n_entries(arrays[0]) + largest[0] + entries))
    for _, output in map_chunks(n_samples, size, made):
        yield output


@contextmanager
def _counted_entries(module: nn.Module) -> Iterator[list[int]]:
    """Let a list have the most numbers that a layer of a module takes and returns in the block.

    A transformer holds a row for each token, a convolution one for each pixel: the widths of the
    layers alone do not say what a sample needs.
    """
    largest = [0]

    def count(part: nn.Module, given: Any, made: Any) -> None:
        tensors = (t for t in (*given, made) if isinstance(t, Tensor))
        largest[0] = max(largest[0], sum(t.numel() for t in tensors))

    hooks = [part.register_forward_hook(count) for part in module.modules()]
    try:
        yield largest
    finally:
        for hook in hooks:
            hook.remove()


def _tensor(samples: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if sp.issparse(samples):
        return sp.csr_array(samples)
    made = tensors_of(samples, dtype)
    if isinstance(made, dict):
        return {name: tensor.to(device) for name, tensor in made.items()}
    return made.to(device)


class CachedEmbedding:
    """The float32 embedding of samples, computed where somebody asks for it, and once.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps samples to embeddings.
    X : ndarray, MemmapView or CSR of shape (n, d)
        The samples.
    device : torch.device
        Where they are embedded.
    """

    def __init__(self, encoder: nn.Module, X: Any, device: torch.device) -> None:
        self.encoder = encoder
        self.X = X
        self.device = device
        self._all: np.ndarray | None = None

    def all(self) -> np.ndarray:
        """Return the embeddings (n, h) of all samples."""
        if self._all is None:
            self._all = self._embedded(self.X)
        return self._all

    def of(self, samples: np.ndarray) -> np.ndarray:
        """Return the embeddings of some samples, by number."""
        if self._all is None and len(samples) < self.X.shape[0]:
            return self._embedded(take_rows(self.X, samples))
        return self.all()[samples]

    def _embedded(self, X: Any) -> np.ndarray:
        encoder = Embedding(self.encoder)

        def embedded(part: slice) -> np.ndarray:
            own = take_part(X, part)
            return outputs(encoder, own, device=self.device, dtype=torch.float32)

        return in_parts(X.shape[0], embedded)


class Embedding(nn.Module):
    """An encoder whose members' embeddings stand side by side, (n, M * h)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def columns(self) -> np.ndarray | None:
        """Numbers of the features of CSR that the encoder needs; None for all."""
        return getattr(self.encoder, "columns", None)

    def forward(self, X: Tensor) -> Tensor:
        """Return the embeddings of samples (n, d)."""
        return side_by_side(self.encoder(X))


class _HalfPrecision(nn.Module):
    """An encoder under autocast to bfloat16, whose embeddings are float32 again."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, X: Any) -> Tensor:
        """Return the embeddings of samples."""
        return encoded(self.encoder, X, "bf16")


def placed(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a module for evaluation; tensors that are as asked for are shared."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        fixed = getattr(part, "in_float64", False)
        for t in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
            cast = t.is_floating_point() and not fixed
            made = t.detach().to(device, dtype if cast else None)
            # A parameter stays one: else torch.export tries two ways, and the second is slow.
            memo[id(t)] = nn.Parameter(made, False) if isinstance(t, nn.Parameter) else made
        # Each module has ten dicts of hooks. Deep copies of them take two fifths of the time.
        hooks = (value for value in vars(part).values() if type(value) is OrderedDict)
        memo |= {id(value): OrderedDict() for value in hooks if not value}
    return copy.deepcopy(module, memo).eval()


def exportable(module: nn.Module) -> nn.Module:
    """Return a float32 copy of a module on the CPU, for evaluation, without sparse products."""
    module = copy.deepcopy(placed(module, torch.device("cpu"), torch.float32))
    for part in module.modules():
        if isinstance(part, NeighborHead):
            part.densify()
        if isinstance(part, LabelTree):
            part.unroll()
        if isinstance(part, DecoderHead) and not part.lists_sets:
            raise ValueError(
                "to_module: the marginals over all label sets on a simplex ETF are a recursion "
                "that torch has no operations for; expected general tags: variant='tags' and "
                "classifier='linear', or variant='observed'."
            )
    return module


# ---------------------------------------------------------------------- trees of labels


def tree_log_odds(tree: LabelTree, X: Any) -> np.ndarray:
    """Return the log-odds (n, L) of all labels, in the dtype of X."""
    # The scores of a chunk, and their sums along the paths.
    parts = _answers(tree, X, chunk_rows(8 * len(tree.labels)), LabelTree.forward)
    return stacked((part.numpy() for _, part in parts), X.shape[0])


def tree_topk(tree: LabelTree, X: Any, k: int) -> Iterator[sp.csr_matrix]:
    """Yield the k largest probabilities that a beam search meets, for chunks of samples."""
    width = max(len(level.bias[0]) for level in tree.levels)
    for _, (labels, log_odds) in _answers(
        tree, X, chunk_rows(32 * BEAM * width + k), lambda tree, rows: tree.best(rows, k)
    ):
        yield best_of_rows(labels.numpy(), sigmoid(log_odds).numpy(), len(tree.labels))


def best_of_rows(labels: np.ndarray, probabilities: np.ndarray, n_labels: int) -> sp.csr_matrix:
    """Return the probabilities (n, k) of labels (n, k), which ascend, as CSR (n, L)."""
    n, k = labels.shape
    starts = np.arange(0, n * k + 1, k)
    return sp.csr_matrix((probabilities.ravel(), labels.ravel(), starts), (n, n_labels))


def tree_labels(tree: LabelTree, X: Any, threshold: Any) -> Iterator[sp.csr_matrix]:
    """Yield the labels of probability at least ``threshold``, one number or one a label."""
    least = float(np.min(threshold))
    floor = log(least) if least > 0 else -inf
    per_label = torch.from_numpy(np.broadcast_to(threshold, len(tree.labels)).copy())
    # In the worst case every label is above.
    parts = _answers(tree, X, chunk_rows(32 * len(tree.labels)), lambda t, x: t.above(x, floor))
    for n, (row, label, log_odds) in parts:
        kept = sigmoid(log_odds) >= per_label[label]
        ij = row[kept].numpy(), label[kept].numpy()
        yield sp.csr_matrix((np.ones(len(ij[0]), dtype=np.int8), ij), (n, len(tree.labels)))


def _answers(
    tree: LabelTree, X: Any, size: int, ask: Callable[[LabelTree, Any], Any]
) -> Iterator[tuple[int, Any]]:
    """Yield the sizes of chunks of samples, and what a tree in their dtype says of them."""
    with torch_defaults():
        of_dtype: Any = placed(tree, torch.device("cpu"), as_tensor(np.empty(0, X.dtype)).dtype)
    for part in chunks(X.shape[0], size):
        rows = sp.csr_array(X[part]) if sp.issparse(X) else as_tensor(X[part])
        with torch_defaults(), torch.inference_mode():
            answer = ask(of_dtype, rows)
        yield rows.shape[0], answer
