"""The Newton systems of many labels, by preconditioned conjugate gradients.

The Gram matrix of the working coordinates is near the identity, so the metric
``M_jl = sum_i s_il p_il (1 - p_il) / S_l + rho_jl`` is near the diagonal of the Hessian.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_mlcl.solvers._design import Operator
from sklearn_mlcl.solvers._objective import Buffer, Point, Problems
from sklearn_mlcl.solvers._preconditioner import Preconditioner, row_chunks

TINY = torch.finfo(torch.float64).tiny
INNER_LIMIT = 200  # conjugate gradient steps per Newton step


def newton_direction(A: Operator, problems: Problems, point: Point, eta: Tensor) -> Tensor:
    """Directions (r, L) whose residual is `eta` (L,) of the gradient, as preconditioned."""
    norm, total = point.norm, problems.total
    # Scaled by the norm, that single precision does not underflow, and by S, as the curvatures are.
    scaled = (point.gradient / -norm.clamp_min(TINY), problems.rho, point.metric)
    right, ridge, metric = ((part * total).to(A.dtype) for part in scaled)
    hessian = Hessian(A, problems.buffer, point.curvature, ridge)
    # In double are the systems that single precision cannot solve: for them a pair is too rough.
    pairs = problems.pairs if A.dtype == torch.float32 else None
    x, rest = conjugate_gradients(hessian, Preconditioner.of(metric, pairs), right, eta.to(A.dtype))
    if pairs is not None:
        pairs.put(x, right - rest)
    return x.to(norm.dtype) * norm


@dataclass
class Hessian:
    """``A' diag(weight_l) A + diag(ridge_l)`` for each label l."""

    A: Operator
    buffer: Buffer
    weight: Tensor
    ridge: Tensor

    def times(self, q: Tensor) -> Tensor:
        product = self.A.forward(q, self.buffer.of(q.shape[1], q.dtype)).mul_(self.weight)
        return self.A.adjoint(product).addcmul_(self.ridge, q)

    def take(self, index: Tensor) -> Hessian:
        parts = (part.index_select(-1, index) for part in (self.weight, self.ridge))
        return Hessian(self.A, self.buffer, *parts)


def conjugate_gradients(
    H: Hessian, P: Preconditioner, right: Tensor, eta: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve ``H x = right`` until ``r' P r`` has fallen by `eta` squared: x and the residual r."""
    out, rest = torch.zeros_like(right), torch.zeros_like(right)
    x, residual, q = torch.zeros_like(right), right.clone(), P.solve(right)
    rz = (residual * q).sum(0)
    target, where = eta.square() * rz, torch.arange(len(rz), device=rz.device)
    for _ in range(INNER_LIMIT):
        live = rz > target
        left = int(live.sum())
        if 8 * left <= 7 * len(live):  # narrower products pay for the copies
            out[:, where], rest[:, where] = x, residual
            if not left:
                break
            stay = live.nonzero()[:, 0]
            H, P = H.take(stay), P.take(stay)
            x, residual, q, rz, target, where, live = (
                t.index_select(-1, stay) for t in (x, residual, q, rz, target, where, live)
            )
        Hq = H.times(q)
        # A few rows at a time: the vectors of many coefficients do not fit into the caches.
        qHq = torch.zeros_like(rz)
        for rows in row_chunks(q):
            qHq += (q[rows] * Hq[rows]).sum(0)
        alpha = torch.where(live, rz / qHq, 0.0)
        rz, before, z = torch.zeros_like(rz), rz, Hq
        for rows in P.chunks():
            x[rows].addcmul_(q[rows], alpha)
            left_over = residual[rows].addcmul_(Hq[rows], alpha, value=-1)
            z[rows] = P.rows(rows).solve(left_over)
            rz += (left_over * z[rows]).sum(0)
        torch.addcmul(z, q, torch.where(live, rz / before, 0.0), out=q)
    out[:, where], rest[:, where] = x, residual
    return out, rest
