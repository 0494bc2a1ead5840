"""Working coordinates in which the Gram matrix that all labels share is close to the identity.

With weighted mean ``mu`` and Gram ``V diag(lam) V'`` of the rows, ``w = V lam^(-1/2) v`` turns the
penalty ``|w|^2`` into ``sum_j v_j^2 / lam_j`` and leaves every other part of the objective as it
is, so a diagonal metric preconditions all labels at once. Nothing is approximated: any orthogonal
`V` and positive `lam` give the same minimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ._operator import DenseOperator, Operator, SparseOperator

EIGENBASIS_LIMIT = 4096


@dataclass(frozen=True)
class Design:
    """``logits = operator.forward(theta)``; objective ``0.5 * sum(penalty * theta**2) + loss``.

    Attributes
    ----------
    operator : of shape (n, r) or, with an intercept (last column), (n, r + 1), float64
    penalty : Tensor of shape (r,) or (r + 1,); 0 for the intercept
    back : theta -> (coef (d, L), intercept (L,)) in the coordinates of X
    into : the inverse of `back`, on the span of the rows
    """

    operator: Operator
    penalty: Tensor
    back: Callable[[Tensor], tuple[Tensor, Tensor]]
    into: Callable[[Tensor, Tensor], Tensor]
    intercept: bool


def make_design(
    X: Tensor | sp.csr_array, row_weight: Tensor | None, fit_intercept: bool
) -> Design:
    """Choose the coordinates: eigenbasis (dense), row space (n < d), scaled columns (others)."""
    n, d = X.shape
    mean = _mean(X, row_weight) if fit_intercept else None
    if n < d and n <= EIGENBASIS_LIMIT:
        return _row_space(X, mean)
    if isinstance(X, Tensor):
        return _dense(X, mean, row_weight)
    return _scaled_sparse(X, mean, row_weight)


def _mean(X: Tensor | sp.csr_array, row_weight: Tensor | None) -> Tensor:
    if isinstance(X, Tensor):
        return X.mean(0) if row_weight is None else row_weight @ X / row_weight.sum()
    weight = np.ones(X.shape[0]) if row_weight is None else row_weight.numpy()
    return torch.from_numpy(X.T @ weight / weight.sum())


def _dense(X: Tensor, mean: Tensor | None, row_weight: Tensor | None) -> Design:
    n, d = X.shape
    Xc = X if mean is None else X - mean
    weighted = Xc if row_weight is None else Xc * row_weight[:, None]
    total = n if row_weight is None else float(row_weight.sum())
    if d <= EIGENBASIS_LIMIT:
        lam, V = torch.linalg.eigh(weighted.T @ Xc / total)
    else:
        lam, V = (weighted * Xc).sum(0) / total, None
    lam = _floored(lam)
    basis = lam.rsqrt() if V is None else V * lam.rsqrt()
    A = X.new_empty(n, d + (mean is not None))
    if V is None:
        torch.mul(Xc, basis, out=A[:, :d])
    else:
        A[:, :d] = Xc @ basis
    if mean is not None:
        A[:, d] = 1.0
    rotate = (lambda v: v * basis[:, None]) if V is None else (lambda v: basis @ v)
    unrotate = (
        (lambda w: w / basis[:, None]) if V is None else (lambda w: (V.T @ w) * lam.sqrt()[:, None])
    )
    return _finish(DenseOperator(A), 1.0 / lam, mean, rotate, unrotate)


def _scaled_sparse(X: sp.csr_array, mean: Tensor | None, row_weight: Tensor | None) -> Design:
    lam = torch.from_numpy(X.multiply(X).T @ np.ones(X.shape[0]) / X.shape[0])
    if row_weight is not None:
        w = row_weight.numpy()
        lam = torch.from_numpy(X.multiply(X).T @ w / w.sum())
    if mean is not None:
        lam = lam - mean.square()
    lam = _floored(lam)
    scale = lam.rsqrt()
    A = sp.csr_array(X @ sp.diags_array(scale.numpy()))
    if mean is not None:
        A = sp.csr_array(sp.hstack([A, np.ones((X.shape[0], 1))], format="csr"))
    shift = None if mean is None else mean * scale
    return _finish(
        SparseOperator(A, shift),
        1.0 / lam,
        mean,
        lambda v: v * scale[:, None],
        lambda w: w / scale[:, None],
    )


def _row_space(X: Tensor | sp.csr_array, mean: Tensor | None) -> Design:
    n = X.shape[0]
    if isinstance(X, Tensor):
        Xc = X if mean is None else X - mean
        K = Xc @ Xc.T
        apply, apply_t = (lambda w: Xc @ w), (lambda a: Xc.T @ a)
    else:
        K = torch.from_numpy((X @ X.T).toarray())
        if mean is not None:
            inner = torch.from_numpy(X @ mean.numpy())
            K = K - inner[:, None] - inner[None, :] + mean @ mean
        centre = 0.0 if mean is None else mean[:, None]
        apply = lambda w: torch.from_numpy(X @ w.numpy()) - (  # noqa: E731
            0.0 if mean is None else mean @ w
        )
        apply_t = lambda a: torch.from_numpy(X.T @ a.numpy()) - centre * a.sum(0)  # noqa: E731
    lam, U = torch.linalg.eigh(K)
    kept = lam > n * torch.finfo(lam.dtype).eps * lam[-1].clamp_min(0)
    lam, U = lam[kept], U[:, kept]
    A = U * n**0.5
    if mean is not None:
        A = torch.cat([A, A.new_ones(n, 1)], 1)
    return _finish(
        DenseOperator(A),
        n / lam,
        mean,
        lambda v: apply_t(U @ (v * (n**0.5 / lam)[:, None])),
        lambda w: U.T @ apply(w) / n**0.5,
    )


def _finish(
    operator: Operator,
    penalty: Tensor,
    mean: Tensor | None,
    rotate: Callable[[Tensor], Tensor],
    unrotate: Callable[[Tensor], Tensor],
) -> Design:
    """Add the intercept, of which the working value is the logit at the mean of X."""
    if mean is None:
        return Design(
            operator,
            penalty,
            lambda theta: (rotate(theta), theta.new_zeros(theta.shape[1])),
            lambda coef, intercept: unrotate(coef),
            False,
        )

    def back(theta: Tensor) -> tuple[Tensor, Tensor]:
        coef = rotate(theta[:-1])
        return coef, theta[-1] - mean @ coef

    def into(coef: Tensor, intercept: Tensor) -> Tensor:
        return torch.cat([unrotate(coef), (intercept + mean @ coef)[None]])

    return Design(operator, torch.cat([penalty, penalty.new_zeros(1)]), back, into, True)


def _floored(lam: Tensor) -> Tensor:
    """Second moments kept off zero: directions without variance stay at a zero coefficient."""
    top = lam.max()
    if top <= 0:
        return torch.ones_like(lam)
    return lam.clamp_min(float(top) * lam.numel() * torch.finfo(lam.dtype).eps)
