"""A tree of labels as a part of a net's prediction: on its features, or on its embedding."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from sklearn_mlcl.heads.label_tree import LabelTree
from sklearn_mlcl.heads.logistic import standardised, tolerance
from sklearn_mlcl.heads.tree_fit import FittedTree, fit_label_tree
from sklearn_mlcl.modules import InputScaler
from sklearn_mlcl.solvers.select import DEFAULT_CS
from sklearn_mlcl.training._parallel import by_first
from sklearn_mlcl.utils.fit_data import FitData

#: Inverse regularisation of regressions on scaled features. Of 0.01, 0.1, 1 and 10 it ranked the
#: labels of held-out samples best on the rows of ``benchmarks/bench_xmc.py``.
TREE_C = 1.0
#: Relative tolerance of small problems; large ones have that of ``tol="auto"``.
TOL = 1e-4
#: Entries of a dense X up to which all samples count; of more, a random subsample does.
DENSE_ENTRIES = 2**26


class ScaledTree(nn.Module):
    """A tree of labels, and what scales the rows that it sees.

    Parameters
    ----------
    scaler : InputScaler
        Scales features or embeddings.
    tree : LabelTree
        Says what it makes of scaled rows.
    """

    #: Whether samples may come as CSR.
    takes_csr = True

    def __init__(self, scaler: InputScaler, tree: LabelTree) -> None:
        super().__init__()
        self.scaler, self.tree = scaler, tree

    def forward(self, X: Any) -> Tensor:
        """Return log-odds (n, L) of rows (n, d): a tensor, or CSR."""
        return self.tree(_scaled(X, self.scaler))

    def best(self, X: Any, k: int) -> tuple[Tensor, Tensor]:
        """Return the labels and log-odds, (n, k), of :meth:`LabelTree.best`."""
        return self.tree.best(_scaled(X, self.scaler), k)


def _scaled(X: Any, scaler: InputScaler) -> Any:
    """Return scaled rows; CSR stays CSR if zeros stay zeros."""
    if isinstance(X, Tensor):
        return scaler(X)
    if scaler.keeps_zeros:
        return scaler.of_csr(X)
    return scaler(torch.from_numpy(X.toarray()).to(scaler.factor))


def fit_feature_tree(
    data: FitData, scaler: InputScaler, random_state: np.random.RandomState
) -> ScaledTree:
    """Return a tree of regressions on the scaled features of samples.

    Parameters
    ----------
    data : FitData
        The samples.
    scaler : InputScaler
        Scales the features.
    random_state : RandomState
        Draws samples, where there are too many entries of a dense X.
    """
    scaler = copy.deepcopy(scaler).cpu()
    if not sp.issparse(data.X) and data.n_samples * data.n_features > DENSE_ENTRIES:
        data = data.take(data.subsample(random_state))
    X = data.X if sp.issparse(data.X) else torch.from_numpy(np.array(data.X, dtype=np.float32))
    with torch.inference_mode():
        scaled = _scaled(X, scaler)
    scaled = scaled.astype(np.float32) if sp.issparse(scaled) else scaled.numpy()
    fitted = _fitted(replace(data, X=scaled), TREE_C)
    return ScaledTree(scaler, fitted.tree)


def fit_embedding_tree(
    embedding: np.ndarray, Y: Any, sample_weight: np.ndarray | None, C: Any
) -> tuple[ScaledTree, np.ndarray]:
    """Return a tree of regressions on a standardised embedding, and the C (L,) of the labels.

    The arguments are those of :func:`sklearn_mlcl.heads.logistic.fit_embedding_heads`.
    """
    rows, scaler = standardised(embedding, Y, sample_weight)
    fitted = _fitted(FitData(rows.astype(np.float32), Y, sample_weight), C)
    shift, factor = (
        torch.from_numpy(values.astype(np.float32)) for values in (scaler.mean_, 1 / scaler.scale_)
    )
    return ScaledTree(InputScaler(shift, factor), fitted.tree), fitted.C


def _fitted(data: FitData, C: Any) -> FittedTree:
    tol = max(TOL, tolerance("auto", data.X, data.n_labels, has_tree=True))

    def fitted() -> FittedTree:
        return fit_label_tree(data.X, data.Y, data.copies, C, Cs=DEFAULT_CS, tol=tol)

    # All labels share clusters: the work is not for several processes.
    found: FittedTree = by_first(fitted)
    return found
