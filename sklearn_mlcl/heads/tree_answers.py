"""What a tree of labels says of samples, in chunks that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, log
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sklearn_mlcl.heads.evaluation import placed
from sklearn_mlcl.heads.label_tree import BEAM, LabelTree
from sklearn_mlcl.utils.answers import sigmoid
from sklearn_mlcl.utils.runtime import torch_defaults
from sklearn_mlcl.utils.samples import as_tensor, chunk_rows, chunks, stacked


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
