"""Solving all labels over a grid of C on some rows of a design: blocks, warm starts, constants."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_mlcl.solvers._design import ArrayLike, Design, Operator, SparseOperator, label_block
from sklearn_mlcl.solvers._newton import (
    FINE,
    ROWS_A_COEFFICIENT,
    Buffer,
    CurvaturePairs,
    Problems,
    minimise,
)
from sklearn_mlcl.utils.samples import chunks

BYTES_PER_ENTRY = 56  # signs, curvatures, a product, perhaps weights; copies for those that stay
BYTES_PER_COEFFICIENT = 160  # the vectors of Newton's method and of conjugate gradients
CACHED_ENTRIES = 2**21  # on a CPU, logits that the caches hold
CLOSER = 0.1  # norm of the gradient at a start, relative to the start before it on the path
STRENGTHS = (1e-300, 1e300)  # bounds on C times the unit of the weights
STEEPEST = 1e25  # the curvature of the penalty that single precision holds, times many rows
NARROW = 64  # on a CPU, labels whose products with a sparse matrix go fastest


@dataclass(frozen=True)
class Rows:
    """Some rows of a design in both precisions, with their labels and weights.

    The weights `s` are in units of `unit`, (1,) or one a label.
    """

    double: Operator
    single: Operator
    Y: ArrayLike
    s: Tensor | None
    unit: Tensor

    @classmethod
    def of(cls, design: Design, Y: ArrayLike, s: Tensor | None, unit: Tensor) -> Rows:
        return cls(design.operator, design.operator.to(torch.float32), Y, s, unit)

    def take(self, index: Tensor) -> Rows:
        Y = self.Y[index] if isinstance(self.Y, Tensor) else self.Y[index.cpu().numpy()]
        s = None if self.s is None else self.s[index]
        return Rows(self.double.rows(index), self.single.rows(index), Y, s, self.unit)

    def labels(self, columns: slice) -> Rows:
        """The same rows with some of their labels."""
        s = self.s if self.s is None or self.s.shape[1] == 1 else self.s[:, columns]
        unit = self.unit if len(self.unit) == 1 else self.unit[columns]
        return Rows(self.double, self.single, self.Y[:, columns], s, unit)


@dataclass
class Fits:
    """One value of C per label: theta (r, L); the others of shape (L,)."""

    theta: Tensor
    objective: Tensor
    n_iter: Tensor
    converged: Tensor
    constant: Tensor

    @classmethod
    def empty(cls, r: int, L: int, device: torch.device) -> Fits:
        floats = torch.zeros(r + 1, L, dtype=torch.float64, device=device)
        flags = torch.zeros(2, L, dtype=torch.bool, device=device)
        n_iter = torch.zeros(L, dtype=torch.int64, device=device)
        return cls(floats[:-1], floats[-1], n_iter, flags[0], flags[1])


def solve(
    rows: Rows,
    design: Design,
    grid: Tensor,
    start: Tensor | None,
    tol: float,
    max_iter: int,
    memory_budget: int,
) -> list[Fits]:
    """Fits at each row of `grid` (n_C, L), each started from those before it."""
    L, device = rows.Y.shape[1], design.penalty.device
    fits = [Fits.empty(len(design.penalty), L, device) for _ in grid]
    width = label_width(rows, memory_budget)
    ascending = grid.mean(1).argsort().tolist()
    walk = [(fits[k], grid[k]) for k in ascending]
    for columns in chunks(L, width):
        _solve_block(rows, design, columns, walk, start, tol, max_iter)
    return fits


def label_width(rows: Rows, memory_budget: int) -> int:
    """Labels solved at a time: within the budget and, on a CPU, within its caches."""
    n, r = rows.double.A.shape
    width = max(1, int(memory_budget // (BYTES_PER_ENTRY * n + BYTES_PER_COEFFICIENT * r)))
    if rows.double.A.device.type != "cpu":
        return width
    fast = NARROW if isinstance(rows.double, SparseOperator) else max(NARROW, CACHED_ENTRIES // n)
    return min(width, fast)


def _solve_block(
    rows: Rows,
    design: Design,
    columns: slice,
    walk: list[tuple[Fits, Tensor]],
    start: Tensor | None,
    tol: float,
    max_iter: int,
) -> None:
    y, s = label_block(rows.Y, rows.s, columns, design.penalty.device)
    positive, negative = _class_weights(y, s)
    unit = rows.unit.expand(rows.Y.shape[1])
    closed = _close(design, columns, walk, positive * unit[columns], negative * unit[columns])
    solved = (~closed).nonzero()[:, 0]
    if not len(solved):
        return
    problems = _problems(y, s, positive + negative, solved, len(design.penalty))
    where = solved + columns.start
    path = _null_path(design, positive[solved], negative[solved])
    near = start is not None
    for fit, C in ((fit, C[where]) for fit, C in walk):
        C = (C * unit[where]).clamp(*STRENGTHS)
        theta = path.start(C) if start is None else start[:, where]
        rho = design.penalty[:, None] / (C * problems.total)
        problems.rho = rho.clamp_max(STEEPEST)
        minimum = minimise(rows.double, rows.single, problems, theta, tol, max_iter, near)
        near = bool(CLOSER * minimum.start.median() <= max(FINE, tol))
        path.move(minimum.theta, C)
        # Beyond STEEPEST the loss is a line beside the penalty: the minimum falls as one over it.
        fit.theta[:, where] = minimum.theta * (problems.rho / rho).nan_to_num(1.0)
        fit.objective[where] = minimum.value * (C * problems.total)
        fit.n_iter[where] = minimum.n_iter
        fit.converged[where] = minimum.converged


def _close(
    design: Design,
    columns: slice,
    walk: list[tuple[Fits, Tensor]],
    positive: Tensor,
    negative: Tensor,
) -> Tensor:
    """Labels that need no solver: of one class with an intercept, or unobserved.

    With an intercept, labels of one class have no coefficients, and the log odds of the weights
    plus one half.
    """
    constant = (positive == 0) | (negative == 0)
    closed = constant if design.intercept else positive + negative == 0
    at, softplus = constant.nonzero()[:, 0], torch.nn.functional.softplus
    positive, negative = positive[at], negative[at]
    logit = torch.log((positive + 0.5) / (negative + 0.5))
    loss = positive * softplus(-logit) + negative * softplus(logit)
    for fit, C in walk:
        fit.constant[columns] = constant
        fit.converged[columns] = closed
        if design.intercept:
            fit.theta[-1, columns.start + at] = logit
            fit.objective[columns.start + at] = C[columns.start + at] * loss
    return closed


def _problems(y: Tensor, s: Tensor | None, total: Tensor, solved: Tensor, r: int) -> Problems:
    """The labels to solve, in r coefficients; rho is set for each C."""
    sign = (1 - 2 * y.to(torch.int8)).index_select(1, solved)
    if s is not None and s.shape[1] > 1:
        s = s.index_select(1, solved)
    n, L = sign.shape
    pairs = CurvaturePairs.none(r, L, y.device) if n >= ROWS_A_COEFFICIENT * r else None
    return Problems(sign, s, total[solved], total.new_zeros(r, L), Buffer(n, L, y.device), pairs)


def _null_path(design: Design, positive: Tensor, negative: Tensor) -> Secant:
    """The path at C = 0: the log odds as intercept, or even odds without one."""
    odds = positive / negative if design.intercept else torch.ones_like(positive)
    theta = odds.new_zeros(len(design.penalty), len(odds))
    if design.intercept:
        theta[-1] = odds.log()
    return Secant.at_null(design.penalty, positive + negative, theta, odds / (1 + odds))


def _class_weights(y: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight of the positives and of the negatives, per label."""
    if s is None:
        positive = y.sum(0).double()
        return positive, len(y) - positive
    if s.shape[1] == 1:
        weight = s[:, 0].double()
        return weight @ y.double(), weight @ (~y).double()
    return (s * y).sum(0).double(), (s * ~y).sum(0).double()


@dataclass
class Secant:
    """The last two minima of each label: `theta` (r, L) at `C` (L,), `before` at `C_before`.

    `curvature` (L,) is that of the null model; `penalty` (r, 1) over C S is rho, with S = `total`.
    """

    penalty: Tensor
    total: Tensor
    curvature: Tensor
    theta: Tensor
    C: Tensor
    before: Tensor
    C_before: Tensor

    @classmethod
    def at_null(cls, penalty: Tensor, total: Tensor, theta: Tensor, p: Tensor) -> Secant:
        """At C = 0, where all rows have the probability `p` (L,)."""
        zero = torch.zeros_like(total)
        return cls(penalty[:, None], total, p * (1 - p), theta, zero, theta, zero)

    def move(self, theta: Tensor, C: Tensor) -> None:
        """Take in the minimum at C."""
        self.before, self.C_before, self.theta, self.C = self.theta, self.C, theta, C

    def start(self, C: Tensor) -> Tensor:
        """Coefficients expected at C; those of the last minimum where the path does not ascend."""
        ascends = (C > self.C) & (self.C_before < self.C)
        ratio = self._ratio(C)
        # A step a million times as long as the one before it tells nothing.
        ratio = torch.where(ascends & (ratio < 1e6), ratio, 0.0)
        return torch.addcmul(self.theta, ratio, self.theta - self.before)

    def _ratio(self, C: Tensor) -> Tensor:
        """Steps of t after C_k over the one before it: t is ``h S C / (h S C + penalty)``."""
        pull = self.curvature * self.total
        steps = (C - self.C) / (self.C - self.C_before)
        return steps * (pull * self.C_before + self.penalty) / (pull * C + self.penalty)
