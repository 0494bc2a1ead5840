"""Newton's method for many logistic regressions at once, in the working coordinates of a design.

Per label l, with observed weight ``S_l = sum_i s_il``, the objective divided by ``C_l S_l``:
``f_l(t) = sum_i (s_il / S_l) softplus(u_il) + 0.5 * sum_j rho_jl t_j^2``, ``u_il = sign_il a_i.t``
with sign -1 for a positive and 1 for a negative. ``p_il = sigmoid(u_il)``, the probability of the
wrong class, keeps its relative precision where the data are separated.

Each Newton system is solved by conjugate gradients whose metric is diagonal: the Gram matrix is
near the identity, so ``M_jl = mean_i p_il (1 - p_il) + rho_jl``. The systems are solved in single
precision, since Newton corrects their errors; logits and gradients stay in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_mlcl.solvers._operator import Operator

SINGLE_STEPS = 15  # Newton steps after which the systems too are solved in double precision
INNER_LIMIT = 200  # conjugate gradient steps per Newton step
BISECTIONS = 100
CURVATURE_FLOOR = 1e-20  # on p (1 - p): saturated rows keep the Newton system definite
SUFFICIENT = 0.1  # the slope past the minimum, relative to the first one, that a full step may have


@dataclass
class Problems:
    """Signs -1 or 1 (n, L), weights `s` (None, (n, 1) or (n, L)), `total` (L,) and `rho` (r, L)."""

    sign: Tensor
    s: Tensor | None
    total: Tensor
    rho: Tensor

    def take(self, index: Tensor) -> Problems:
        s = self.s if self.s is None or self.s.shape[1] == 1 else self.s[:, index]
        return Problems(self.sign[:, index], s, self.total[index], self.rho[:, index])

    def weighted(self, cells: Tensor) -> Tensor:
        return cells if self.s is None else cells.mul_(self.s)

    def value(self, theta: Tensor, u: Tensor) -> Tensor:
        loss = torch.nn.functional.softplus(u)
        ridge = 0.5 * (self.rho * theta * theta).sum(0)
        return self.weighted(loss).sum(0) / self.total + ridge


@dataclass
class State:
    """A point of each label with its signed logits u, probabilities p and gradient."""

    problems: Problems
    theta: Tensor
    u: Tensor
    p: Tensor
    gradient: Tensor

    @classmethod
    def at(cls, A: Operator, problems: Problems, theta: Tensor, u: Tensor) -> State:
        p = torch.sigmoid(u)
        residual = problems.weighted(p * problems.sign)
        gradient = A.adjoint(residual).div_(problems.total).addcmul_(problems.rho, theta)
        return cls(problems, theta, u, p, gradient)

    def take(self, index: Tensor) -> State:
        parts = (self.theta, self.u, self.p, self.gradient)
        return State(self.problems.take(index), *(part[:, index] for part in parts))

    def curvature(self) -> tuple[Tensor, Tensor]:
        """Weights ``s p (1 - p)`` of the Hessian's rows, and the diagonal metric."""
        cells = torch.addcmul(self.p, self.p, self.p, value=-1)
        cells = self.problems.weighted(cells.clamp_min_(CURVATURE_FLOOR))
        return cells, cells.sum(0) / self.problems.total + self.problems.rho


@dataclass
class Minimum:
    """Minimisers (r, L), values (L,), Newton steps (L,) and whether the tolerance was met (L,)."""

    theta: Tensor
    value: Tensor
    n_iter: Tensor
    converged: Tensor

    @classmethod
    def empty(cls, like: Tensor) -> Minimum:
        flags = torch.zeros_like(like[0], dtype=torch.bool)
        return cls(torch.zeros_like(like), torch.zeros_like(like[0]), flags.long(), flags)

    def record(self, where: Tensor, state: State, n_iter: int, converged: Tensor) -> None:
        self.theta[:, where] = state.theta
        self.value[where] = state.problems.value(state.theta, state.u)
        self.n_iter[where] = n_iter
        self.converged[where] = converged


def minimise(
    double: Operator, single: Operator, problems: Problems, theta: Tensor, tol: float, max_iter: int
) -> Minimum:
    """Minimise all labels; a label leaves once ``g' M^-1 g <= tol^2``.

    The square root of that is, up to the spread of the curvature, the root mean square distance of
    the logits from their optimum, weighted by p (1 - p).
    """
    out = Minimum.empty(theta)
    active = torch.arange(theta.shape[1], device=theta.device)
    state = State.at(double, problems, theta, double.forward(theta).mul_(problems.sign))
    for iteration in range(max_iter + 1):
        curvature, metric = state.curvature()
        norm = (state.gradient.square() / metric).sum(0).sqrt()
        done = norm <= tol
        leaves = done if iteration < max_iter else torch.ones_like(done)
        if leaves.any():
            at, stay = leaves.nonzero()[:, 0], (~leaves).nonzero()[:, 0]
            out.record(active[at], state.take(at), iteration, done[at])
            if not len(stay):
                break
            active, state = active[stay], state.take(stay)
            curvature, metric, norm = curvature[:, stay], metric[:, stay], norm[stay]
        inner = single if iteration < SINGLE_STEPS else double
        direction = _newton_direction(inner, state, curvature, metric, norm)
        state = _step(double, state, direction)
    return out


def _newton_direction(
    A: Operator, state: State, curvature: Tensor, metric: Tensor, norm: Tensor
) -> Tensor:
    """Solve to a residual that shrinks with the gradient, so that Newton is superlinear."""
    eta = norm.clamp(1e-4, 0.1)
    right = (state.gradient / -norm).to(A.dtype)  # scaled: single precision must not underflow
    rho, total = state.problems.rho.to(A.dtype), state.problems.total.to(A.dtype)
    x = _conjugate_gradients(
        A, curvature.to(A.dtype) / total, rho, metric.to(A.dtype), right, eta.to(A.dtype)
    )
    return x.double() * norm


def _conjugate_gradients(
    A: Operator, weight: Tensor, rho: Tensor, metric: Tensor, right: Tensor, eta: Tensor
) -> Tensor:
    """Solve ``(A' diag(weight_l) A + diag(rho_l)) x_l = right_l`` for each label l."""
    out = torch.zeros_like(right)
    x, residual, q = torch.zeros_like(right), right.clone(), right / metric
    rz = (residual * q).sum(0)
    target, where = eta.square() * rz, torch.arange(len(rz), device=rz.device)
    for _ in range(INNER_LIMIT):
        live = rz > target
        left = int(live.sum())
        if 4 * left <= 3 * len(live):  # narrower products pay for the copies
            out[:, where] = x
            if not left:
                break
            stay = live.nonzero()[:, 0]
            weight, rho, metric, x, residual, q, rz, target, where, live = (
                t[..., stay] for t in (weight, rho, metric, x, residual, q, rz, target, where, live)
            )
        Hq = A.adjoint(A.forward(q).mul_(weight)).addcmul_(rho, q)
        alpha = torch.where(live, rz / (q * Hq).sum(0), 0.0)
        x.addcmul_(q, alpha)
        residual.addcmul_(Hq, alpha, value=-1)
        z = residual / metric
        rz, before = (residual * z).sum(0), rz
        q = torch.addcmul(z, q, torch.where(live, rz / before, 0.0))
    out[:, where] = x
    return out


def _step(A: Operator, state: State, direction: Tensor) -> State:
    """The full step; where the slope there is too far past zero, a shorter one."""
    shift = A.forward(direction).mul_(state.problems.sign)
    moved = State.at(A, state.problems, state.theta + direction, state.u + shift)
    slope = (state.gradient * direction).sum(0)
    too_far = (moved.gradient * direction).sum(0) > -SUFFICIENT * slope
    if not too_far.any():
        return moved
    at = too_far.nonzero()[:, 0]
    step = torch.ones_like(slope)
    step[at] = _line_search(state.take(at), direction[:, at], shift[:, at])
    return State.at(
        A,
        state.problems,
        torch.addcmul(state.theta, direction, step),
        torch.addcmul(state.u, shift, step),
    )


def _line_search(state: State, direction: Tensor, shift: Tensor) -> Tensor:
    """Steps in (0, 1) of slope between half the first and zero: the convex objective falls there.

    Newton's method on the slope, aimed at a quarter of the first, inside a shrinking bracket.
    """
    low = torch.zeros_like(direction[0])
    high, step, found = torch.ones_like(low), low, low > 0
    first, bend = _slope(state, direction, shift, low)
    slope = first
    for _ in range(BISECTIONS):
        aim = step - (slope - 0.25 * first) / bend
        aim = torch.where((aim > low) & (aim < high), aim, 0.5 * (low + high))
        step = torch.where(found, step, aim)
        slope, bend = _slope(state, direction, shift, step)
        found = (slope <= 0) & (slope >= 0.5 * first)
        low, high = torch.where(slope <= 0, step, low), torch.where(slope > 0, step, high)
        if found.all():
            break
    return low


def _slope(state: State, direction: Tensor, shift: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative along the direction at `step`."""
    problems = state.problems
    p = torch.sigmoid(torch.addcmul(state.u, shift, step))
    pull = problems.rho * direction
    slope = problems.weighted(p * shift).sum(0) / problems.total
    slope = slope + (pull * torch.addcmul(state.theta, direction, step)).sum(0)
    bend = problems.weighted((p * (1 - p)).mul_(shift).mul_(shift)).sum(0) / problems.total
    return slope, bend + (pull * direction).sum(0)
