"""A logistic regression per label on the scaled features, beside the net."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from sklearn_mlcl.heads.logistic import fit_heads
from sklearn_mlcl.heads.neighbors import thinned
from sklearn_mlcl.modules import InputScaler
from sklearn_mlcl.solvers import select_C

#: Grid and folds of ``linear_C="cv"``, and the tolerance of their fits.
CS, N_FOLDS, CV_TOL = (0.001, 0.01, 0.1, 1.0), 3, 1e-3
#: ``linear_weight="auto"``: the share of the log-odds for sparse features, of which a single one
#: often decides, where the solve is short beside the training.
AUTO_WEIGHT = 0.3
#: Multiply-adds of one product of all rows and labels, and coefficients, up to which it is.
AUTO_WORK, AUTO_COEFFICIENTS = 2 * 10**9, 10**7
#: Relative tolerance of the solve: the third digit of a coefficient decides nothing.
TOL = 1e-4


def auto_weight(X: Any, n_labels: int) -> float:
    """Return ``linear_weight="auto"`` resolved."""
    small = _is_short(X, n_labels) and X.shape[1] * n_labels <= AUTO_COEFFICIENTS
    return AUTO_WEIGHT if small else 0.0


def _is_short(X: Any, n_labels: int) -> bool:
    """Return whether the solve on all rows is short beside the training."""
    return sp.issparse(X) and X.nnz * n_labels <= AUTO_WORK


def fit_linear(
    X: Any,
    Y: Any,
    sample_weight: np.ndarray | None,
    scaler: InputScaler,
    C: float | str,
    random_state: np.random.RandomState,
) -> nn.Module:
    """Return a module that maps rows as they come to logits of shape (n, L).

    Parameters
    ----------
    X : ndarray or CSR of shape (n, d)
        Features. CSR within ``AUTO_WORK`` counts whole, of others 20,000 rows at most are drawn.
    Y : ndarray or CSR of shape (n, L)
        Indicator matrix, NaN where unknown.
    sample_weight : ndarray of shape (n,) or (n, L), or None
        Weights.
    scaler : InputScaler
        The first layer of the net.
    C : float or "cv"
        Inverse regularisation on scaled features, for all labels.
    random_state : RandomState
        Draws the rows.
    """
    scaler = copy.deepcopy(scaler).cpu()
    if not _is_short(X, Y.shape[1]):
        rows = thinned(X.shape[0], random_state)
        X, Y = X[rows], Y[rows]
        sample_weight = None if sample_weight is None else sample_weight[rows]
    X = _scaled(X, scaler)
    if isinstance(C, str):
        C = common_C(X, Y, sample_weight)
    heads = fit_heads(X, Y, sample_weight, C, Cs=(), tol=TOL)
    # Drawing weights that are then overwritten would move the random stream of a training.
    layer = nn.utils.skip_init(nn.Linear, X.shape[1], len(heads.intercept))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(heads.coef))
        layer.bias.copy_(torch.from_numpy(heads.intercept))
    return nn.Sequential(scaler, layer)


def common_C(X: Any, Y: Any, sample_weight: np.ndarray | None) -> float:
    """Return the C of the smallest held-out log loss, a mean over labels; rare ones share it too.

    A choice for each label would be one by chance where a label has a few rows.
    """
    n_folds = min(N_FOLDS, X.shape[0])
    if n_folds < 2:
        return CS[0]
    labels = Y.astype(np.uint8).toarray() if sp.issparse(Y) else Y
    chosen = select_C(X, labels, CS, cv=n_folds, sample_weight=sample_weight, tol=CV_TOL)
    return CS[int(np.nanmean(chosen.log_loss, axis=1).argmin())]


def _scaled(X: Any, scaler: InputScaler) -> Any:
    """Return scaled rows in float64; CSR stays CSR, as its scaler shifts nothing."""
    if sp.issparse(X):
        return sp.csr_array(X.astype(np.float64) @ sp.diags_array(scaler.factor.double().numpy()))
    with torch.inference_mode():
        return scaler(torch.from_numpy(np.array(X, dtype=np.float64))).numpy()
