"""The Newton systems of many labels, by conjugate gradients with a diagonal metric.

The Gram matrix of the working coordinates is near the identity, so the metric
``M_jl = sum_i s_il p_il (1 - p_il) / S_l + rho_jl`` is near the diagonal of the Hessian.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_mlcl.solvers._operator import Operator
from sklearn_mlcl.solvers._problems import Buffer, Point, Problems

INNER_LIMIT = 200  # conjugate gradient steps per Newton step


def newton_direction(A: Operator, problems: Problems, point: Point, eta: Tensor) -> Tensor:
    """Directions (r, L) whose residual is `eta` (L,) of the gradient, in the metric's norm."""
    norm = point.norm
    right = (point.gradient / -norm).to(A.dtype)  # scaled: single precision must not underflow
    rho, metric, eta = (part.to(A.dtype) for part in (problems.rho, point.metric, eta))
    x = conjugate_gradients(A, problems.buffer, point.curvature, rho, metric, right, eta)
    return x.to(norm.dtype) * norm


def conjugate_gradients(
    A: Operator,
    buffer: Buffer,
    weight: Tensor,
    rho: Tensor,
    metric: Tensor,
    right: Tensor,
    eta: Tensor,
) -> Tensor:
    """Solve ``(A' diag(weight_l) A + diag(rho_l)) x_l = right_l`` for each label l."""
    out = torch.zeros_like(right)
    x, residual, q = torch.zeros_like(right), right.clone(), right / metric
    rz = (residual * q).sum(0)
    target, where = eta.square() * rz, torch.arange(len(rz), device=rz.device)
    for _ in range(INNER_LIMIT):
        live = rz > target
        left = int(live.sum())
        if 8 * left <= 7 * len(live):  # narrower products pay for the copies
            out[:, where] = x
            if not left:
                break
            stay = live.nonzero()[:, 0]
            weight, rho, metric, x, residual, q, rz, target, where, live = (
                t.index_select(-1, stay)
                for t in (weight, rho, metric, x, residual, q, rz, target, where, live)
            )
        product = A.forward(q, buffer.of(q.shape[1], q.dtype)).mul_(weight)
        Hq = A.adjoint(product).addcmul_(rho, q)
        alpha = torch.where(live, rz / (q * Hq).sum(0), 0.0)
        x.addcmul_(q, alpha)
        residual.addcmul_(Hq, alpha, value=-1)
        z = residual / metric
        rz, before = (residual * z).sum(0), rz
        q = torch.addcmul(z, q, torch.where(live, rz / before, 0.0))
    out[:, where] = x
    return out
