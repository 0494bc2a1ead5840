"""L2-regularised logistic regressions, one per label, in one batched solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sklearn_mlcl.solvers._design import (
    EIGENBASIS_LIMIT,
    ArrayLike,
    Design,
    as_C,
    as_features,
    as_labels,
    as_sample_weight,
    gram_weight,
    make_design,
)
from sklearn_mlcl.solvers._task import Fits, Rows, label_width, solve
from sklearn_mlcl.utils.docstrings import document
from sklearn_mlcl.utils.samples import chunks

MEMORY_BUDGET = 2**28


@dataclass(frozen=True)
class LogisticSolution:
    """Solution of `fit_logistic`: NumPy arrays, or tensors on the device of X if X is a tensor.

    Attributes
    ----------
    coef : array of shape (L, d)
    intercept : array of shape (L,)
    n_iter : array of shape (L,), int64
        Number of Newton steps.
    converged : array of shape (L,), bool
    objective : array of shape (L,), float64
        ``0.5 * ||w||^2 + C * sum_i s_i * loss_i`` at the solution.
    constant : array of shape (L,), bool
        Labels with one class only among their entries that are not missing and have weight.
    C : array of shape (L,), float64
        Inverse strength of the regularisation.
    """

    coef: Any
    intercept: Any
    n_iter: Any
    converged: Any
    objective: Any
    constant: Any
    C: Any


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
    dtype: torch.dtype = torch.float64,
    largest_gram: int = EIGENBASIS_LIMIT,
) -> LogisticSolution:
    """Fit one L2-regularised logistic regression per label, all labels in one solve.

    For each label l, with ``t_il`` in {-1, 1}, minimises over w and b

    ``0.5 * ||w||^2 + C_l * sum_i s_il * log(1 + exp(-t_il * (x_i . w + b)))``,

    the objective of :class:`~sklearn.linear_model.LogisticRegression`. An inexact Newton method
    works in coordinates in which the Gram matrix shared by all labels is close to the identity.

    Parameters
    ----------
    X : array or tensor of shape (n, d), or SciPy CSR
        Features, converted to float64. A tensor stays on its device. A CSR matrix stays sparse;
        with fewer rows than columns its n x n Gram matrix is formed, if that is estimated to be
        faster.
    Y : array or tensor of shape (n, L), or SciPy sparse
        0, 1, and NaN for a missing label, whose entry is left out of the sum. Sparse labels are
        made dense a block at a time.
    C : float or array of shape (L,), default=1.0
        Inverse strength of the regularisation.
    sample_weight : array of shape (n,) or (n, L), default=None
        Weights of the samples or of the entries; None means 1. A weight of k equals k copies.
    fit_intercept : bool, default=True
        Whether to fit the unpenalised `b`; otherwise it is 0.
    init : (coef, intercept), default=None
        Initial values of shapes (L, d) and (L,); None starts from zero coefficients.
    tol : float, default=1e-10
        A label has converged when its gradient g satisfies ``g' M^-1 g <= (tol ** 2) * C * S``.
        S is the weight of its entries and M a diagonal approximation of its Hessian. The relative
        error of the objective is about ``tol ** 2``.
    max_iter : int, default=100
        Largest number of Newton steps.
    memory_budget : int, default=2**28
        Bytes for the working arrays of a block of labels, which is solved together. A block holds
        at least one label. On a CPU it is narrower if it would not fit into the caches.
    dtype : torch.dtype, default=torch.float64
        Of the coefficients and intercepts that are returned. The solver has its own.
    largest_gram : int, default=4096
        Rows of the largest Gram matrix that is decomposed. For larger ones the coordinates are
        scaled only.

    Returns
    -------
    LogisticSolution
        A label with one class only has zero coefficients and the intercept
        ``log((s_pos + 0.5) / (s_neg + 0.5))``, which is 0 if all its entries are missing. Without
        an intercept it is fitted like the others: the penalty gives it a finite minimum.

    Raises
    ------
    ValueError
        If an argument has the wrong shape or values outside its range; the message names it.

    References
    ----------
    Dembo, Eisenstat & Steihaug, "Inexact Newton methods", SIAM J. Numer. Anal. 19 (1982), 400-408.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.solvers import fit_logistic
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> Y = np.array([[0, 1], [0, 0], [1, 1], [1, 0]])
    >>> solution = fit_logistic(X, Y)
    >>> solution.coef.round(3), solution.converged
    (array([[ 1.007],
           [-0.291]]), array([ True,  True]))
    """
    design, rows = prepare(X, Y, sample_weight, fit_intercept, largest_gram)
    L = rows.Y.shape[1]
    start = None if init is None else _start(design, init, L, X.shape[1])
    grid = as_grid([C], L, design.penalty.device)
    parts = _Parts(X.shape[1], L, grid[0], dtype)
    # What a block does not need any more is stated for X before the next one is solved.
    for columns in chunks(L, label_width(rows, memory_budget)):
        begin = None if start is None else start[:, columns]
        some = rows.labels(columns)
        (fit,) = solve(some, design, grid[:, columns], begin, tol, max_iter, memory_budget)
        parts.put(columns, design, fit)
    return parts.solution(isinstance(X, Tensor))


@document(fit_logistic)
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
    """Fit the regressions at each value of C, in ascending order, with warm starts.

    X is prepared once. Each fit minimises the objective of :func:`fit_logistic` to the same
    tolerance. It starts at an extrapolation of the minima at the last two values of C. Each
    coefficient is extrapolated in the scale on which the minimum of a quadratic loss is a line.

    Parameters
    ----------
    X : array or tensor of shape (n, d), or SciPy CSR
        Features, as for :func:`fit_logistic`.
    Y : array or tensor of shape (n, L), or SciPy sparse
        0, 1, and NaN for a missing label.
    Cs : sequence of float, or of arrays of shape (L,)
        Inverse strengths of the regularisation.
    <sample_weight>
    <fit_intercept>
    <tol>
    max_iter : int, default=100
        Largest number of Newton steps.
    <memory_budget>

    Returns
    -------
    list of LogisticSolution
        One for each of `Cs`, in their order.

    Raises
    ------
    ValueError
        As for :func:`fit_logistic`, and if `Cs` is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.solvers import fit_logistic_path
    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> Y = np.array([[0], [0], [1], [1]])
    >>> [
    ...     step.coef.round(2).item()
    ...     for step in fit_logistic_path(X, Y, [0.1, 1.0, 10.0])
    ... ]
    [0.24, 1.01, 2.28]
    """
    design, rows = prepare(X, Y, sample_weight, fit_intercept, n_Cs=len(Cs))
    grid = as_grid(Cs, rows.Y.shape[1], design.penalty.device)
    fits = solve(rows, design, grid, None, tol, max_iter, memory_budget)
    path = []
    for fit, own in zip(fits, grid, strict=True):
        parts = _Parts(X.shape[1], len(own), own, torch.float64)
        parts.put(slice(None), design, fit)
        path.append(parts.solution(isinstance(X, Tensor)))
    return path


def as_grid(Cs: Sequence[ArrayLike], L: int, device: torch.device, name: str = "C") -> Tensor:
    """The values of C for all labels, shape (n_C, L)."""
    if len(Cs) == 0:
        raise ValueError("Cs must hold one value at least, got none.")
    return torch.stack([as_C(C, L, device, name) for C in Cs])


def prepare(
    X: ArrayLike,
    Y: ArrayLike,
    sample_weight: ArrayLike | None,
    fit_intercept: bool,
    largest_gram: int = EIGENBASIS_LIMIT,
    n_Cs: int = 1,
) -> tuple[Design, Rows]:
    """Check the inputs and move X to working coordinates, to solve for so many values of C."""
    X = as_features(X)
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    Y = as_labels(Y, X.shape[0])
    s, unit = as_sample_weight(sample_weight, tuple(Y.shape), device)
    weight, n_solves = gram_weight(Y, s, device), n_Cs * Y.shape[1]
    design = make_design(X, weight, fit_intercept, largest_gram, n_solves)
    return design, Rows.of(design, Y, s, unit)


def _start(design: Design, init: tuple[ArrayLike, ArrayLike], L: int, d: int) -> Tensor:
    device = design.penalty.device
    coef, intercept = (torch.as_tensor(part, dtype=torch.float64, device=device) for part in init)
    if coef.shape != (L, d) or intercept.shape != (L,):
        raise ValueError(
            f"init must hold a coef of shape {(L, d)} and an intercept of shape {(L,)}, "
            f"got {tuple(coef.shape)} and {tuple(intercept.shape)}."
        )
    return design.into(coef.T.contiguous(), intercept)


class _Parts:
    """What a solution is made of, for X as it came, filled by blocks of labels."""

    def __init__(self, d: int, L: int, C: Tensor, dtype: torch.dtype) -> None:
        device = C.device
        self.coef = torch.empty(L, d, dtype=dtype, device=device)
        self.intercept = self.coef.new_empty(L)
        self.n_iter = torch.empty(L, dtype=torch.int64, device=device)
        self.converged, self.constant = torch.empty(2, L, dtype=torch.bool, device=device)
        self.objective, self.C = torch.empty_like(C), C

    def put(self, columns: slice, design: Design, fit: Fits) -> None:
        """Take in the fits of some labels."""
        coef, self.intercept[columns] = design.back(fit.theta)
        self.coef[columns] = coef.T
        self.n_iter[columns], self.converged[columns] = fit.n_iter, fit.converged
        self.objective[columns], self.constant[columns] = fit.objective, fit.constant

    def solution(self, tensors: bool) -> LogisticSolution:
        parts = vars(self)
        return LogisticSolution(
            **(parts if tensors else {name: part.cpu().numpy() for name, part in parts.items()})
        )
