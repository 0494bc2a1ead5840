"""L2-regularised logistic regressions, one per label, in one batched solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._design import Design, make_design
from ._inputs import ArrayLike, as_C, as_features, as_labels, as_sample_weight, row_weight
from ._task import Fits, Rows, solve

MEMORY_BUDGET = 2**28


@dataclass(frozen=True)
class LogisticSolution:
    """What `fit_logistic` returns: NumPy arrays, or tensors on its device where X was a tensor.

    Attributes
    ----------
    coef : array of shape (L, d), float64
    intercept : array of shape (L,), float64
    n_iter : array of shape (L,), int64
        Newton steps.
    converged : array of shape (L,), bool
    objective : array of shape (L,), float64
        ``0.5 * ||w||^2 + C * sum_i s_i * loss_i`` at the solution.
    constant : array of shape (L,), bool
        Labels of one class only among their observed rows of positive weight.
    """

    coef: Any
    intercept: Any
    n_iter: Any
    converged: Any
    objective: Any
    constant: Any


def fit_logistic(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    C: float | ArrayLike = 1.0,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    init: tuple[ArrayLike, ArrayLike] | None = None,
    tol: float = 1e-10,
    max_iter: int = 100,
    memory_budget: int = MEMORY_BUDGET,
) -> LogisticSolution:
    """Fit one L2-regularised logistic regression per label."""
    design, rows = prepare(X, Y, sample_weight, fit_intercept)
    start = None if init is None else _start(design, init, rows.Y.shape[1], X.shape[1])
    grid = as_C(C, rows.Y.shape[1], design.penalty.device)[None]
    fits = solve(rows, design, grid, start, tol, max_iter, memory_budget)
    return _solution(design, fits[0], isinstance(X, Tensor))


def fit_logistic_path(
    X: ArrayLike,
    Y: ArrayLike,
    Cs: Sequence[float],
    *,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    tol: float = 1e-10,
    max_iter: int = 100,
    memory_budget: int = MEMORY_BUDGET,
) -> list[LogisticSolution]:
    """Fit the regressions at each value of C in turn, each started from the one before."""
    design, rows = prepare(X, Y, sample_weight, fit_intercept)
    grid = as_grid(Cs, rows.Y.shape[1], design.penalty.device)
    fits = solve(rows, design, grid, None, tol, max_iter, memory_budget)
    return [_solution(design, fit, isinstance(X, Tensor)) for fit in fits]


def as_grid(Cs: Sequence[float], L: int, device: torch.device) -> Tensor:
    """The values of C, each for all labels: (n_C, L)."""
    if len(Cs) == 0:
        raise ValueError("Cs must hold one value at least, got none.")
    return torch.stack([as_C(C, L, device) for C in Cs])


def prepare(
    X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None, fit_intercept: bool
) -> tuple[Design, Rows]:
    """Check the inputs and move X to working coordinates."""
    X = as_features(X)
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    Y = as_labels(Y, X.shape[0])
    s = as_sample_weight(sample_weight, tuple(Y.shape), device)
    design = make_design(X, row_weight(Y, s, device), fit_intercept)
    return design, Rows.of(design, Y, s)


def _start(design: Design, init: tuple[ArrayLike, ArrayLike], L: int, d: int) -> Tensor:
    device = design.penalty.device
    coef, intercept = (torch.as_tensor(part, dtype=torch.float64, device=device) for part in init)
    if coef.shape != (L, d) or intercept.shape != (L,):
        raise ValueError(
            f"init must hold a coef of shape {(L, d)} and an intercept of shape {(L,)}, "
            f"got {tuple(coef.shape)} and {tuple(intercept.shape)}."
        )
    return design.into(coef.T.contiguous(), intercept)


def _solution(design: Design, fit: Fits, tensors: bool) -> LogisticSolution:
    coef, intercept = design.back(fit.theta)
    parts = (coef.T.contiguous(), intercept, fit.n_iter, fit.converged, fit.objective, fit.constant)
    return LogisticSolution(*(parts if tensors else (part.cpu().numpy() for part in parts)))
