"""A logistic regression per label on the scaled features, beside the net."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from sklearn_mlcl.heads.logistic import fit_heads
from sklearn_mlcl.heads.neighbors import subsample
from sklearn_mlcl.modules import InputScaler
from sklearn_mlcl.solvers import select_C
from sklearn_mlcl.utils.fit_data import FitData

#: Grid and folds from which C is chosen, and the tolerance of those fits.
CS, N_FOLDS, CV_TOL = (0.001, 0.01, 0.1, 1.0), 3, 1e-3
#: ``linear_weight="auto"``: the weight for sparse features, of which a single one often decides,
#: where the solve is short beside the training.
AUTO_WEIGHT = 0.3
#: Multiply-adds of one product of all samples and labels, and coefficients, up to which it is.
AUTO_WORK, AUTO_COEFFICIENTS = 2 * 10**9, 10**7
#: Relative tolerance of the solve: the third digit of a coefficient decides nothing.
TOL = 1e-4


def linear_share(weight: float | str, data: FitData) -> float:
    """Return the parameter ``linear_weight``, "auto" resolved."""
    if not isinstance(weight, str):
        return weight
    few = data.n_features * data.n_labels <= AUTO_COEFFICIENTS
    return AUTO_WEIGHT if few and _is_short(data) else 0.0


def _is_short(data: FitData) -> bool:
    """Return whether the solve on all samples is short beside the training."""
    return sp.issparse(data.X) and data.X.nnz * data.n_labels <= AUTO_WORK


def fit_linear(
    data: FitData, scaler: InputScaler, random_state: np.random.RandomState
) -> nn.Module:
    """Return a module that maps samples as they come to log-odds (n, L).

    Parameters
    ----------
    data : FitData
        The samples. CSR within ``AUTO_WORK`` counts whole; of others a random subsample does.
    scaler : InputScaler
        The first layer of the net.
    random_state : RandomState
        Draws the subsample.
    """
    scaler = copy.deepcopy(scaler).cpu()
    if not _is_short(data):
        data = data.take(subsample(data, random_state))
    data = FitData(_scaled(data.X, scaler), data.Y, data.sample_weight)
    heads = fit_heads(data.X, data.Y, data.sample_weight, common_C(data), Cs=(), tol=TOL)
    # Drawing weights that are then overwritten would move the random stream of a training.
    layer = nn.utils.skip_init(
        nn.Linear, data.n_features, len(heads.intercept), dtype=torch.float32
    )
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(heads.coef))
        layer.bias.copy_(torch.from_numpy(heads.intercept))
    return nn.Sequential(scaler, layer)


def common_C(data: FitData) -> float:
    """Return the C of the smallest held-out log loss, a mean over labels; rare ones share it too.

    A choice for each label would be one by chance where a label has a few positive samples.
    """
    n_folds = min(N_FOLDS, data.n_samples)
    if n_folds < 2:
        return CS[0]
    Y: Any = data.Y
    Y = Y.astype(np.uint8).toarray() if sp.issparse(Y) else Y
    chosen = select_C(data.X, Y, CS, cv=n_folds, sample_weight=data.sample_weight, tol=CV_TOL)
    return CS[int(np.nanmean(chosen.log_loss, axis=1).argmin())]


def _scaled(X: Any, scaler: InputScaler) -> Any:
    """Return scaled samples in float64; CSR stays CSR, as its scaler shifts nothing."""
    if sp.issparse(X):
        return sp.csr_array(X.astype(np.float64) @ sp.diags_array(scaler.factor.double().numpy()))
    with torch.inference_mode():
        return scaler(torch.from_numpy(np.array(X, dtype=np.float64))).numpy()
