"""Solving all labels over a grid of C on some rows of a design: blocks, warm starts, constants."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_mlcl.solvers._design import Design
from sklearn_mlcl.solvers._inputs import ArrayLike, label_block
from sklearn_mlcl.solvers._newton import Minimum, Problems, minimise
from sklearn_mlcl.solvers._operator import Operator

BYTES_PER_CELL = 80  # about ten arrays of doubles of the shape of the logits live at once


@dataclass(frozen=True)
class Rows:
    """Some rows of a design in both precisions, with their labels and weights."""

    double: Operator
    single: Operator
    Y: ArrayLike
    s: Tensor | None

    @classmethod
    def of(cls, design: Design, Y: ArrayLike, s: Tensor | None) -> Rows:
        return cls(design.operator, design.operator.to(torch.float32), Y, s)

    def take(self, index: Tensor) -> Rows:
        Y = self.Y[index] if isinstance(self.Y, Tensor) else self.Y[index.cpu().numpy()]
        s = None if self.s is None else self.s[index]
        return Rows(self.double.rows(index), self.single.rows(index), Y, s)


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
    """Fits at each row of `grid` (n_C, L), each started from the one before it."""
    n, L = rows.Y.shape
    device = design.penalty.device
    fits = [Fits.empty(len(design.penalty), L, device) for _ in grid]
    width = max(1, int(memory_budget // (BYTES_PER_CELL * n)))
    for first in range(0, L, width):
        columns = slice(first, min(first + width, L))
        _solve_block(rows, design, columns, grid, start, tol, max_iter, fits)
    return fits


def _solve_block(
    rows: Rows,
    design: Design,
    columns: slice,
    grid: Tensor,
    start: Tensor | None,
    tol: float,
    max_iter: int,
    fits: list[Fits],
) -> None:
    y, s = label_block(rows.Y, rows.s, columns, design.penalty.device)
    positive, negative = _class_weights(y, s)
    constant = (positive == 0) | (negative == 0)
    closed = constant if design.intercept else positive + negative == 0
    for fit, C in zip(fits, grid[:, columns], strict=True):
        fit.constant[columns] = constant
        fit.converged[columns] = closed
        if design.intercept:
            _set_log_odds(fit, C, columns.start, constant, positive, negative)
    solved = (~closed).nonzero()[:, 0]
    if not len(solved):
        return
    total = (positive + negative)[solved]
    problems = Problems(1 - 2 * y, s, positive + negative, y[:1]).take(solved)
    where = solved + columns.start
    theta = design.penalty.new_zeros(len(design.penalty), len(solved))
    if start is not None:
        theta = start[:, where]
    elif design.intercept:
        theta[-1] = torch.log(positive[solved] / negative[solved])
    for fit, C in zip(fits, grid, strict=True):
        problems.rho = design.penalty[:, None] / (C[where] * total)
        minimum = minimise(rows.double, rows.single, problems, theta, tol, max_iter)
        theta = minimum.theta
        _store(fit, minimum, where, C[where] * total)


def _store(fit: Fits, minimum: Minimum, where: Tensor, scale: Tensor) -> None:
    fit.theta[:, where] = minimum.theta
    fit.objective[where] = minimum.value * scale
    fit.n_iter[where] = minimum.n_iter
    fit.converged[where] = minimum.converged


def _class_weights(y: Tensor, s: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight of the positives and of the negatives, per label."""
    if s is None:
        positive = y.sum(0)
        return positive, len(y) - positive
    if s.shape[1] == 1:
        return s[:, 0] @ y, s[:, 0] @ (1 - y)
    return (s * y).sum(0), (s * (1 - y)).sum(0)


def _set_log_odds(
    fit: Fits, C: Tensor, first: int, constant: Tensor, positive: Tensor, negative: Tensor
) -> None:
    """Labels of one class: no coefficients, and the log odds of the weights plus one half."""
    at = constant.nonzero()[:, 0]
    positive, negative = positive[at], negative[at]
    logit = torch.log((positive + 0.5) / (negative + 0.5))
    softplus = torch.nn.functional.softplus
    fit.theta[-1, first + at] = logit
    fit.objective[first + at] = C[at] * (positive * softplus(-logit) + negative * softplus(logit))
