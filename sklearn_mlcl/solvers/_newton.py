"""Newton's method for many logistic regressions at once, in the working coordinates of a design.

Each label has its own step length and leaves when it has converged. Far from the minimum all is
done in single precision; the points that may be the last are evaluated in double, if the tolerance
is a fine one, and after many steps all is in double.

Per label l, with observed weight ``S_l = sum_i s_il``, the objective divided by ``C_l S_l``:
``f_l(t) = sum_i (s_il / S_l) softplus(u_il) + 0.5 * sum_j rho_jl t_j^2``, ``u_il = sign_il a_i.t``
with sign -1 for a positive and 1 for a negative. ``p_il = sigmoid(u_il)``, the probability of the
wrong class, keeps its relative precision where the data are separated.

Of the shape of the logits only the signs, the curvatures ``s p (1 - p)`` and one buffer for
products are kept; what comes in between is made for a few rows at a time, in the cache.

The Gram matrix of the working coordinates is near the identity, so the metric
``M_jl = sum_i s_il p_il (1 - p_il) / S_l + rho_jl`` is near the diagonal of the Hessian.

The logits of a label bend most along its own coefficients, and so do its directions, at one value
of C and at the next: one pair (s, H s) removes the largest eigenvalue that the diagonal leaves.
Morales & Nocedal, "Automatic preconditioning by limited memory quasi-Newton updating", SIAM J.
Optim. 10 (2000), 1079-1096.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sklearn_mlcl.solvers._design import Operator
from sklearn_mlcl.utils.samples import chunks

# ---------------------------------------------------------------------- the preconditioner

ROWS_A_COEFFICIENT = 2  # with fewer rows than that, the pair costs more than products that it saves

CHUNK_CPU, CHUNK_GPU = 2**16, 2**24  # entries that a thread, a GPU works on at a time


def row_chunks(matrix: Tensor) -> Iterator[slice]:
    """Slices of a few rows of a matrix, which the caches hold."""
    n, width = matrix.shape
    on_cpu = matrix.device.type == "cpu"
    entries = CHUNK_CPU * torch.get_num_threads() if on_cpu else CHUNK_GPU
    return chunks(n, max(1, entries // width))


@dataclass
class CurvaturePairs:
    """The last direction s of each label and its product H s, (r, all labels); zeros without one.

    `where` are the labels at hand: `take` shares the memory, so what is put stays for the next fit.
    """

    step: Tensor
    product: Tensor
    where: Tensor

    @classmethod
    def none(cls, r: int, L: int, device: torch.device) -> CurvaturePairs:
        step, product = torch.zeros(2, r, L, dtype=torch.float32, device=device)
        return cls(step, product, torch.arange(L, device=device))

    def take(self, index: Tensor) -> CurvaturePairs:
        return CurvaturePairs(self.step, self.product, self.where[index])

    def put(self, step: Tensor, product: Tensor) -> None:
        self.step[:, self.where], self.product[:, self.where] = step, product


@dataclass
class Preconditioner:
    """``P = (I - s y'/y's) M^-1 (I - y s'/y's) + s s'/y's`` with y = H s; without a pair, M^-1.

    `metric` M has the shape (r, L); `pair` holds s, y (r, L) and y's (L,).
    """

    metric: Tensor
    pair: tuple[Tensor, Tensor, Tensor] | None = None

    @classmethod
    def of(cls, metric: Tensor, pairs: CurvaturePairs | None) -> Preconditioner:
        if pairs is None:
            return cls(metric)
        step, product = (part.index_select(1, pairs.where) for part in (pairs.step, pairs.product))
        curvature = (step * product).sum(0)
        return cls(metric, (step, product, torch.where(curvature > 0, curvature, torch.inf)))

    def solve(self, residual: Tensor) -> Tensor:
        if self.pair is None:
            return residual / self.metric
        step, product, curvature = self.pair
        alpha = (step * residual).sum(0) / curvature
        z = torch.addcmul(residual, product, alpha, value=-1).div_(self.metric)
        beta = (product * z).sum(0) / curvature
        return z.addcmul_(step, alpha - beta)

    def chunks(self) -> Iterator[slice]:
        """Slices of rows that it solves one by one: all at once with a pair."""
        return row_chunks(self.metric) if self.pair is None else iter([slice(None)])

    def rows(self, rows: slice) -> Preconditioner:
        """The part of some of its :meth:`chunks`."""
        return Preconditioner(self.metric[rows], self.pair)

    def take(self, index: Tensor) -> Preconditioner:
        metric = self.metric.index_select(1, index)
        if self.pair is None:
            return Preconditioner(metric)
        step, product, curvature = (part.index_select(-1, index) for part in self.pair)
        return Preconditioner(metric, (step, product, curvature))


# ---------------------------------------------------------------------- the objectives

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


# ---------------------------------------------------------------------- the systems

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


# ---------------------------------------------------------------------- the steps

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
