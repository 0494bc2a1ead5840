"""A logistic regression per label on the scaled features, beside the net."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from sklearn_mlcl.heads.blend import Judgement
from sklearn_mlcl.heads.logistic import fit_heads
from sklearn_mlcl.heads.neighbors import subsample
from sklearn_mlcl.modules import InputScaler
from sklearn_mlcl.solvers import fit_logistic_path, select_C
from sklearn_mlcl.training._parallel import added, agreed, by_first, own_turns
from sklearn_mlcl.utils.fit_data import FitData

#: Grid and folds from which C is chosen, and the tolerance of those fits.
CS, N_FOLDS, CV_TOL = (0.001, 0.01, 0.1, 1.0), 3, 1e-3
#: The share of the linear part where nothing is chosen: of sparse features a single one often
#: decides.
SPARSE_WEIGHT = 0.3
#: Multiply-adds of one product of all samples and labels, for CSR and dense X, and coefficients, up
#: to which the solve is short beside the training.
AUTO_WORK, AUTO_DENSE_WORK, AUTO_COEFFICIENTS = 2 * 10**9, 2 * 10**8, 10**7
#: Relative tolerance of the solve: the third digit of a coefficient decides nothing.
TOL = 1e-4


def has_linear(weight: float | str, data: FitData) -> bool:
    """Return whether the parameter ``linear_weight`` asks for a linear part; "auto" if short."""
    if not isinstance(weight, str):
        return weight > 0
    return data.n_features * data.n_labels <= AUTO_COEFFICIENTS and _is_short(data)


def default_weight(data: FitData) -> float:
    """Return the share of the linear part that others must beat."""
    return SPARSE_WEIGHT if sp.issparse(data.X) else 0.0


def _is_short(data: FitData) -> bool:
    """Return whether the solve on all samples is short beside the training."""
    if sp.issparse(data.X):
        return data.X.nnz * data.n_labels <= AUTO_WORK
    return data.n_samples * data.n_features * data.n_labels <= AUTO_DENSE_WORK


def fit_linear(
    data: FitData, scaler: InputScaler, C: float | None, random_state: np.random.RandomState
) -> nn.Module:
    """Return a module that maps samples as they come to log-odds (n, L).

    Parameters
    ----------
    data : FitData
        The samples. Where the solve is short all count; of others a random subsample does.
    scaler : InputScaler
        Scales the features.
    C : float or None
        Inverse regularisation; None chooses it by cross-validation.
    random_state : RandomState
        Draws the subsample.
    """
    scaler = copy.deepcopy(scaler).cpu()
    if not _is_short(data):
        data = data.take(subsample(data, random_state))
    data = replace(data, X=_scaled(data.X, scaler))

    def solved() -> tuple[np.ndarray, np.ndarray]:
        heads = fit_heads(
            data.X, data.Y, data.copies, common_C(data) if C is None else C, Cs=(), tol=TOL
        )
        return heads.coef, heads.intercept

    # Not in parts: at this tolerance the answer for a label depends on those beside it.
    coef, intercept = by_first(solved)
    # Drawing weights that are then overwritten would move the random stream of a training.
    layer = nn.utils.skip_init(nn.Linear, data.n_features, data.n_labels, dtype=torch.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(coef))
        layer.bias.copy_(torch.from_numpy(intercept))
    return nn.Sequential(scaler, layer)


def held_out_linear(
    parts: list[FitData],
    scalers: list[InputScaler],
    X: Any,
    fold: np.ndarray,
    judgement: Judgement,
) -> tuple[np.ndarray, float]:
    """Return log-odds of samples by regressions that never saw their fold, and the best C.

    Parameters
    ----------
    parts : list of FitData
        The samples outside each fold.
    scalers : list of InputScaler
        Scale the features, fitted on the same samples.
    X : ndarray or CSR of shape (n, d)
        The samples to judge.
    fold : ndarray of shape (n,)
        Their folds.
    judgement : Judgement
        Their labels.

    Returns
    -------
    log_odds : ndarray of shape (n, L), float32
        By the common C of the smallest log loss.
    C : float
        That C. A choice for each label would be one by chance for rare labels.
    """
    log_odds = np.zeros((len(CS), *judgement.Y.shape), dtype=np.float32)
    for k in own_turns(len(parts)):
        data, scaler = parts[k], scalers[k]
        A, own = _scaled(data.X, scaler), fold == k
        path = fit_logistic_path(A, data.Y, CS, sample_weight=data.copies, tol=CV_TOL)
        queries = _scaled(X[own], scaler)
        for scores, heads in zip(log_odds, path, strict=True):
            scores[own] = queries @ heads.coef.T + heads.intercept
    log_odds = added(log_odds)
    with np.errstate(invalid="ignore"):
        losses = [judgement.log_loss(scores) for scores in log_odds]
    # Weights of many sizes may leave no numbers at a small penalty.
    best = agreed(int(np.argmin(np.nan_to_num(losses, nan=np.inf))))
    return log_odds[best], CS[best]


def common_C(data: FitData) -> float:
    """Return the C of the smallest held-out log loss, a mean over labels; rare ones share it too.

    A choice for each label would be one by chance where a label has a few positive samples.
    """
    n_folds = min(N_FOLDS, data.n_samples)
    if n_folds < 2:
        return CS[0]
    Y: Any = data.Y
    Y = Y.astype(np.uint8).toarray() if sp.issparse(Y) else Y
    chosen = select_C(data.X, Y, CS, cv=n_folds, sample_weight=data.copies, tol=CV_TOL)
    return CS[int(np.nanmean(chosen.log_loss, axis=1).argmin())]


def _scaled(X: Any, scaler: InputScaler) -> Any:
    """Return scaled samples in float64; CSR stays CSR, as its scaler shifts nothing."""
    if sp.issparse(X):
        return sp.csr_array(X.astype(np.float64) @ sp.diags_array(scaler.factor.double().numpy()))
    with torch.inference_mode():
        return scaler(torch.from_numpy(np.array(X, dtype=np.float64))).numpy()
