"""Newton's method for many logistic regressions at once, in the working coordinates of a design.

Per label l, with observed weight ``S_l = sum_i s_il``, the objective divided by ``C_l S_l``:
``f_l(t) = sum_i (s_il / S_l) [softplus(a_i.t) - y_il a_i.t] + 0.5 * sum_j rho_jl t_j^2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._operator import Operator

DOUBLE_AFTER = 15  # Newton steps after which the inner systems are solved in double precision
INNER_LIMIT = 100


@dataclass
class Problems:
    """Labels `y` (n, L), weights `s` (None, (n, 1) or (n, L)), `total` (L,) and `rho` (r, L)."""

    y: Tensor
    s: Tensor | None
    total: Tensor
    rho: Tensor

    def take(self, index: Tensor) -> Problems:
        s = self.s if self.s is None or self.s.shape[1] == 1 else self.s[:, index]
        return Problems(self.y[:, index], s, self.total[index], self.rho[:, index])

    def weighted(self, values: Tensor) -> Tensor:
        return values if self.s is None else values.mul_(self.s)

    def value(self, theta: Tensor, logits: Tensor) -> Tensor:
        loss = torch.nn.functional.softplus(logits).addcmul_(self.y, logits, value=-1)
        ridge = 0.5 * (self.rho * theta * theta).sum(0)
        return self.weighted(loss).sum(0) / self.total + ridge


@dataclass
class Minimum:
    """Minimisers (r, L), values (L,), Newton steps (L,) and whether the tolerance was met (L,)."""

    theta: Tensor
    value: Tensor
    n_iter: Tensor
    converged: Tensor


def minimise(
    double: Operator, single: Operator, problems: Problems, theta: Tensor, tol: float, max_iter: int
) -> Minimum:
    """Newton with preconditioned conjugate gradients; labels leave as they converge."""
    L = theta.shape[1]
    out = Minimum(
        theta.clone(),
        theta.new_zeros(L),
        torch.zeros(L, dtype=torch.int64, device=theta.device),
        torch.zeros(L, dtype=torch.bool, device=theta.device),
    )
    active = torch.arange(L, device=theta.device)
    logits = double.forward(theta)
    gradient, prob = _gradient(double, problems, theta, logits)
    for iteration in range(max_iter + 1):
        curvature = problems.weighted(torch.addcmul(prob, prob, prob, value=-1))
        if EXACT:
            metric = single.squared_adjoint(curvature.float()).double().clamp_min_(0) / problems.total + problems.rho
            metric += 1e-6*curvature.sum(0) / problems.total
        else:
            metric = curvature.sum(0) / problems.total + problems.rho
        norm2 = (gradient.square() / metric).sum(0)
        done = norm2 <= tol**2
        leaving = torch.ones_like(done) if iteration == max_iter else done
        if leaving.any():
            index, at = active[leaving], leaving.nonzero()[:, 0]
            out.theta[:, index] = theta[:, at]
            out.value[index] = problems.take(at).value(theta[:, at], logits[:, at])
            out.n_iter[index] = iteration
            out.converged[index] = done[at]
            stay = (~leaving).nonzero()[:, 0]
            active = active[stay]
            if not len(active):
                break
            problems = problems.take(stay)
            theta, logits, prob, gradient, curvature, metric, norm2 = (
                t[..., stay] for t in (theta, logits, prob, gradient, curvature, metric, norm2)
            )
        inner = single if iteration < DOUBLE_AFTER else double
        direction = _newton_direction(inner, problems, curvature, metric, gradient, norm2)
        shift = double.forward(direction)
        logits += shift
        moved = theta + direction
        slope = (gradient * direction).sum(0)
        new_gradient, prob = _gradient(double, problems, moved, logits)
        too_far = (new_gradient * direction).sum(0) > -0.1 * slope
        if too_far.any():
            step = torch.ones_like(slope)
            at = too_far.nonzero()[:, 0]
            step[at] = _line_search(
                problems.take(at), theta[:, at], direction[:, at], logits[:, at] - shift[:, at], shift[:, at]
            )
            logits.addcmul_(shift, step - 1)
            moved = theta + step * direction
            new_gradient, prob = _gradient(double, problems, moved, logits)
        theta, gradient = moved, new_gradient
    return out


def _gradient(A: Operator, problems: Problems, theta: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    prob = torch.sigmoid(logits)
    residual = problems.weighted(prob - problems.y)
    return A.adjoint(residual).div_(problems.total).addcmul_(problems.rho, theta), prob


ETA_MAX, ETA_MIN = 0.1, 1e-4
STAT = [0, 0]
EXACT = False
LIVE=[0,0]

def _newton_direction(A, problems, curvature, metric, gradient, norm2) -> Tensor:
    """Conjugate gradients on the Newton system, per label to a residual that shrinks with the gradient."""
    dtype = (A.A).dtype
    size = norm2.sqrt()
    weight, rho, M = curvature.to(dtype), problems.rho.to(dtype), metric.to(dtype)
    total = problems.total.to(dtype)
    residual = (gradient / -size).to(dtype)
    x = torch.zeros_like(residual)
    z = residual / M
    q = z
    rz = (residual * z).sum(0)
    eta = size.clamp(ETA_MIN, ETA_MAX).to(dtype)
    target = eta.square() * rz
    STAT[0] += 1
    for _ in range(INNER_LIMIT):
        live = rz > target
        if not live.any():
            break
        STAT[1] += 1; LIVE[0] += len(live); LIVE[1] += int(live.sum())
        Hq = A.adjoint(A.forward(q).mul_(weight)).div_(total).addcmul_(rho, q)
        alpha = torch.where(live, rz / (q * Hq).sum(0), 0.0)
        x.addcmul_(q, alpha)
        residual.addcmul_(Hq, alpha, value=-1)
        z = residual / M
        rz, previous = (residual * z).sum(0), rz
        q = torch.addcmul(z, q, rz / previous)
    return x.double() * size


def _line_search(problems: Problems, theta, direction, logits, shift) -> Tensor:
    """Step in (0, 1] at which the slope along the direction is between half the first and zero."""
    ridge0 = (problems.rho * theta * direction).sum(0)
    ridge1 = (problems.rho * direction * direction).sum(0)
    low = torch.zeros_like(ridge0)
    high = torch.ones_like(ridge0)
    t = low
    slope0 = None
    for _ in range(60):
        prob = torch.sigmoid(logits + t * shift)
        slope = (problems.weighted(prob - problems.y) * shift).sum(0) / problems.total + ridge0 + t * ridge1
        bend = (problems.weighted(prob * (1 - prob)) * shift * shift).sum(0) / problems.total + ridge1
        if slope0 is None:
            slope0 = slope
        else:
            good = (slope <= 0) & (slope >= 0.5 * slope0)
            if good.all():
                break
            low = torch.where(slope <= 0, t, low)
            high = torch.where(slope > 0, t, high)
        aim = t - (slope - 0.25 * slope0) / bend
        inside = (aim > low) & (aim < high)
        t = torch.where(inside, aim, 0.5 * (low + high))
    return t
