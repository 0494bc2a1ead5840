"""The objectives of many labels over one design: values, gradients and curvatures in one pass.

Per label l, with observed weight ``S_l = sum_i s_il``, the objective divided by ``C_l S_l``:
``f_l(t) = sum_i (s_il / S_l) softplus(u_il) + 0.5 * sum_j rho_jl t_j^2``, ``u_il = sign_il a_i.t``
with sign -1 for a positive and 1 for a negative. ``p_il = sigmoid(u_il)``, the probability of the
wrong class, keeps its relative precision where the data are separated.

Of the shape of the logits only the signs, the curvatures ``s p (1 - p)`` and one buffer for
products are kept; what comes in between is made for a few rows at a time, in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sklearn_mlcl.solvers._design import Operator
from sklearn_mlcl.solvers._preconditioner import CurvaturePairs, row_chunks

CURVATURE_FLOOR = 1e-20  # on p (1 - p): saturated rows keep the Newton system definite
LINEAR = 40.0  # where softplus(u) is u in double precision


class Buffer:
    """Memory for one (n, l) product at a time, of either precision."""

    def __init__(self, n: int, width: int, device: torch.device):
        self.n, self.memory = n, torch.empty(n * width, dtype=torch.float64, device=device)

    def of(self, width: int, dtype: torch.dtype) -> Tensor:
        return self.memory.view(dtype)[: self.n * width].view(self.n, width)


@dataclass
class Problems:
    """Signs -1 or 1 (n, L), weights `s` (None, (n, 1), (n, L)), `total` (L,) and `rho` (r, L).

    `pairs` keep the curvature along the last directions; None where they would not pay.
    """

    sign: Tensor
    s: Tensor | None
    total: Tensor
    rho: Tensor
    buffer: Buffer
    pairs: CurvaturePairs | None

    def take(self, index: Tensor) -> Problems:
        s = self.s if self.s is None or self.s.shape[1] == 1 else self.s.index_select(1, index)
        return Problems(
            self.sign.index_select(1, index),
            s,
            self.total[index],
            self.rho.index_select(1, index),
            self.buffer,
            None if self.pairs is None else self.pairs.take(index),
        )

    def chunks(self) -> Iterator[slice]:
        return row_chunks(self.sign)

    def weighted(self, entries: Tensor, rows: slice) -> Tensor:
        return entries if self.s is None else entries.mul_(self.s[rows])

    def signed_logits(self, A: Operator, theta: Tensor, out: Tensor | None = None) -> Tensor:
        u = A.forward(theta.to(A.dtype), out)
        for rows in self.chunks():
            u[rows].mul_(self.sign[rows].to(u.dtype))
        return u

    def ridge(self, theta: Tensor) -> Tensor:
        return 0.5 * (self.rho * theta * theta).sum(0)


@dataclass
class Point:
    """A coefficient vector for each label, and the objective around it.

    `curvature` (n, L) holds ``s p (1 - p)``, `metric` (r, L) the diagonal metric; `value` (L,)
    is of use only at a point where it was asked for.
    """

    theta: Tensor
    value: Tensor
    gradient: Tensor
    curvature: Tensor
    metric: Tensor

    def take(self, index: Tensor) -> Point:
        parts = (self.theta, self.gradient, self.curvature, self.metric)
        theta, gradient, curvature, metric = (part.index_select(1, index) for part in parts)
        return Point(theta, self.value[index], gradient, curvature, metric)

    def put(self, index: Tensor, other: Point) -> None:
        self.value[index] = other.value
        self.theta[:, index], self.gradient[:, index] = other.theta, other.gradient
        self.curvature[:, index], self.metric[:, index] = other.curvature, other.metric

    @property
    def norm(self) -> Tensor:
        return (self.gradient.square() / self.metric).sum(0).sqrt()


def evaluate(
    A: Operator, problems: Problems, theta: Tensor, curvature: Tensor, with_value: bool
) -> Point:
    """The objectives at theta, in the precision of `A`; the curvatures are written in place."""
    u = A.forward(theta.to(A.dtype), problems.buffer.of(theta.shape[1], A.dtype))
    value, bend = theta.new_zeros(2, theta.shape[1])
    for rows in problems.chunks():
        sign = problems.sign[rows].to(A.dtype)
        logits = u[rows].mul_(sign)
        if with_value:
            value += problems.weighted(softplus(logits, threshold=LINEAR), rows).sum(0)
        p = logits.sigmoid_()
        q, bends = p.to(curvature.dtype), curvature[rows]
        torch.addcmul(q, q, q, value=-1, out=bends).clamp_min_(CURVATURE_FLOOR)
        bend += problems.weighted(bends, rows).sum(0)
        problems.weighted(p.mul_(sign), rows)
    total, rho = problems.total, problems.rho
    gradient = A.adjoint(u).to(theta.dtype).div_(total).addcmul_(rho, theta)
    if with_value:
        value = value / total + problems.ridge(theta)
    return Point(theta, value, gradient, curvature, bend / total + rho)
