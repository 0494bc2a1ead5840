"""Newton's method for many logistic regressions at once, in the working coordinates of a design.

Each label has its own step length and leaves when it has converged. Far from the minimum all is
done in single precision; the points that may be the last are evaluated in double, if the tolerance
is a fine one, and after many steps all is in double.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_mlcl.solvers._conjugate_gradient import newton_direction
from sklearn_mlcl.solvers._design import Operator
from sklearn_mlcl.solvers._objective import Point, Problems, evaluate

ROUGH = 1e-3  # tolerance that single precision is enough to judge
SINGLE_STEPS = 15  # Newton steps after which points and systems too are in double precision
FINE = 1e-6  # expected norm of the gradient that single precision no longer tells from zero
TIGHTEST = 1e-4  # reduction of a residual that single precision surely allows
LOOSEST = 0.1, 0.5  # reduction of a residual that is always asked for: of fine and rough tolerances
BISECTIONS = 100
SUFFICIENT = 0.1  # the slope past the minimum, relative to the first one, that a full step may have


@dataclass
class Minimum:
    """Minimisers (r, L); per label the value, Newton steps, whether the tolerance was met.

    `start` (L,) is the norm of the gradient, as `Point` has it, where the label started.
    """

    theta: Tensor
    value: Tensor
    n_iter: Tensor
    converged: Tensor
    start: Tensor

    @classmethod
    def empty(cls, like: Tensor, start: Tensor) -> Minimum:
        flags = torch.zeros_like(start, dtype=torch.bool)
        return cls(torch.zeros_like(like), torch.zeros_like(start), flags.long(), flags, start)

    def record(self, where: Tensor, point: Point, at: Tensor, n_iter: int, done: Tensor) -> None:
        self.theta[:, where] = point.theta.index_select(1, at)
        self.value[where] = point.value[at]
        self.n_iter[where] = n_iter
        self.converged[where] = done[at]


def minimise(
    double: Operator,
    single: Operator,
    problems: Problems,
    theta: Tensor,
    tol: float,
    max_iter: int,
    near: bool,
) -> Minimum:
    """Minimise all labels; a label leaves once ``g' M^-1 g <= tol^2``.

    The square root of that is, up to the spread of the curvature, the root mean square distance of
    the logits from their optimum, weighted by p (1 - p). `near`: theta may be a minimum already.
    """
    active = torch.arange(theta.shape[1], device=theta.device)
    judging = single if tol >= ROUGH else double
    fine, small = bool(near or max_iter == 0), max(FINE, tol)
    curvature = torch.empty_like(problems.sign, dtype=single.dtype)
    point = evaluate(judging if fine else single, problems, theta, curvature, fine)
    before, out = torch.ones_like(point.value), Minimum.empty(theta, point.norm)
    for iteration in range(max_iter + 1):
        norm = point.norm
        done = (norm <= tol) & fine
        leaves = done if iteration < max_iter else torch.ones_like(done)
        if leaves.any():
            at, stay = leaves.nonzero()[:, 0], (~leaves).nonzero()[:, 0]
            out.record(active[at], point, at, iteration, done)
            if not len(stay):
                break
            active, problems, point = active[stay], problems.take(stay), point.take(stay)
            norm, before = norm[stay], before[stay]
        if iteration == SINGLE_STEPS:
            point.curvature, judging = point.curvature.double(), double
        inner = single if iteration < SINGLE_STEPS else double
        eta, before = _forcing(norm, before, tol), norm
        direction = newton_direction(inner, problems, point, eta)
        many = iteration + 1 >= min(max_iter, SINGLE_STEPS)
        fine = many or bool((eta * norm < small).double().mean() > 0.25)
        point = _step(judging, fine, single, problems, point, direction)
    return out


def _forcing(norm: Tensor, before: Tensor, tol: float) -> Tensor:
    """How far to solve a system: no further than Newton's own error, or than `tol` asks for."""
    asked = torch.maximum(norm, 0.3 * tol / norm)
    loosest = min(max(LOOSEST[0], 3 * tol), LOOSEST[1])
    return torch.maximum(asked, (norm / before).square()).clamp(TIGHTEST, loosest)


def _step(
    judging: Operator,
    fine: bool,
    single: Operator,
    problems: Problems,
    point: Point,
    direction: Tensor,
) -> Point:
    """The full step; where the slope there is too far past zero, a shorter one."""
    A = judging if fine else single
    moved = evaluate(A, problems, point.theta + direction, point.curvature, fine)
    slope = (point.gradient * direction).sum(0)
    too_far = (moved.gradient * direction).sum(0) > -SUFFICIENT * slope
    if not too_far.any():
        return moved
    width = max(1, len(slope) // 4)  # the arrays of a line search are several
    for at in too_far.nonzero()[:, 0].split(width):
        some, theta, way = problems.take(at), point.theta[:, at], direction[:, at]
        step = _line_search(judging, some, theta, way)
        curvature = torch.empty_like(moved.curvature[:, : len(at)])
        theta = torch.addcmul(theta, way, step)
        moved.put(at, evaluate(A, some, theta, curvature, fine))
    return moved


def _line_search(A: Operator, problems: Problems, theta: Tensor, direction: Tensor) -> Tensor:
    """Steps in (0, 1) of slope between half the first and zero: the convex objective falls there.

    Newton's method on the slope, aimed at a quarter of the first, inside a shrinking bracket.
    """
    u, shift = (problems.signed_logits(A, t) for t in (theta, direction))
    low = torch.zeros_like(direction[0])
    high, step, found = torch.ones_like(low), low, low > 0
    first, bend = _slope(problems, theta, u, direction, shift, low)
    slope = first
    for _ in range(BISECTIONS):
        aim = step - (slope - 0.25 * first) / bend
        aim = torch.where((aim > low) & (aim < high), aim, 0.5 * (low + high))
        step = torch.where(found, step, aim)
        slope, bend = _slope(problems, theta, u, direction, shift, step)
        found = (slope <= 0) & (slope >= 0.5 * first)
        low, high = torch.where(slope <= 0, step, low), torch.where(slope > 0, step, high)
        if found.all():
            break
    return low


def _slope(
    problems: Problems, theta: Tensor, u: Tensor, direction: Tensor, shift: Tensor, step: Tensor
) -> tuple[Tensor, Tensor]:
    """First and second derivative along the direction at `step`."""
    slope, bend = torch.zeros_like(step), torch.zeros_like(step)
    for rows in problems.chunks():
        way = shift[rows]
        p = torch.addcmul(u[rows], way, step.to(u.dtype)).sigmoid_()
        bend += problems.weighted((p - p * p).mul_(way).mul_(way), rows).sum(0)
        slope += problems.weighted(p.mul_(way), rows).sum(0)
    pull = problems.rho * direction
    slope = slope / problems.total + (pull * torch.addcmul(theta, direction, step)).sum(0)
    return slope, bend / problems.total + (pull * direction).sum(0)
