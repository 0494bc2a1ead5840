"""The strength of the regularisation, per label, by held-out log loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import KFold
from torch import Tensor

from sklearn_mlcl.solvers._design import ArrayLike, label_block
from sklearn_mlcl.solvers._task import Fits, Rows, label_width, solve
from sklearn_mlcl.solvers.logistic import MEMORY_BUDGET, as_grid, prepare
from sklearn_mlcl.utils.samples import chunks
from sklearn_mlcl.utils.targets import as_array
from sklearn_mlcl.utils.validation import as_floats

DEFAULT_CS = tuple(10.0**k for k in range(-5, 4))
TIE = 1e-9  # relative difference of log loss below which two values of C are a tie


@dataclass(frozen=True)
class SelectedC:
    """Result of `select_C`: NumPy arrays, or tensors on the device of X if X is a tensor.

    Attributes
    ----------
    C : array of shape (L,), float64
    log_loss : array of shape (n_C, L), float64
        Weighted mean held-out log loss at the sorted values `Cs`; NaN for a label without a
        held-out entry.
    Cs : array of shape (n_C,), float64
    pooled : array of shape (L,), bool
        Labels with too few positives or negatives, which share one pooled choice.
    """

    C: Any
    log_loss: Any
    Cs: Any
    pooled: Any


def select_C(
    X: ArrayLike,
    Y: ArrayLike,
    Cs: Sequence[float] = DEFAULT_CS,
    *,
    cv: int | Iterable[tuple[ArrayLike, ArrayLike]] = 5,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    tol: float = 1e-8,
    max_iter: int = 100,
    memory_budget: int = MEMORY_BUDGET,
) -> SelectedC:
    """Choose C per label from a grid by cross-validated log loss.

    Per label, minimises over the grid ``sum_i s_il * log(1 + exp(-t_il * f_il)) / sum_i s_il``,
    where ``f_il`` is the logit of held-out sample i by the fit of :func:`fit_logistic` on the
    training part of its fold. Each fold goes through the grid in ascending order with warm starts.
    Losses that differ by less than 1e-9 relative are a tie, and the smaller C wins.

    A label is too rare for the folds if a training part has one class of it only, or if it has no
    held-out entry. Such labels share one pooled choice: the C of the smallest held-out loss, summed
    over the entries of all labels.

    Parameters
    ----------
    X : array or tensor of shape (n, d), or SciPy CSR
        Features, as for :func:`fit_logistic`.
    Y : array or tensor of shape (n, L), or SciPy sparse
        0, 1, and NaN for a missing label.
    Cs : sequence of float, default=(1e-5, 1e-4, ..., 1e3)
        The grid.
    cv : int or iterable of (train, test), default=5
        Number of folds (shuffled with a fixed seed), or pairs of arrays of row numbers.
    sample_weight : array of shape (n,) or (n, L), default=None
        Weights in the fits and in the held-out loss.
    fit_intercept, tol, max_iter, memory_budget
        As for :func:`fit_logistic`; `tol` is 1e-8 here.

    Returns
    -------
    SelectedC

    Raises
    ------
    ValueError
        As for :func:`fit_logistic`, and if `Cs` is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.solvers import select_C
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 3))
    >>> Y = np.column_stack([X[:, 0] > 0, rng.random(200) < 0.5])
    >>> bool(
    ...     np.diff(select_C(X, Y).C)[0] < 0
    ... )  # noise wants a smaller C than a clean rule
    True
    """
    Cs = np.sort(as_floats(as_array(Cs), "Cs")).tolist()
    design, rows = prepare(X, Y, sample_weight, fit_intercept, n_Cs=len(Cs))
    L, device = rows.Y.shape[1], design.penalty.device
    grid = as_grid(Cs, L, device, "Cs")
    values = grid[:, 0]
    loss = torch.zeros_like(grid)
    weight = grid.new_zeros(L)
    pooled = torch.zeros(L, dtype=torch.bool, device=device)
    for train, test in _splits(cv, rows.Y.shape[0]):
        fits = solve(rows.take(train.to(device)), design, grid, None, tol, max_iter, memory_budget)
        _add_losses(rows.take(test.to(device)), fits, memory_budget, loss, weight)
        pooled |= fits[0].constant
    pooled |= weight == 0
    chosen = torch.where(pooled, values[_smallest(loss.sum(1))], values[_smallest(loss)])
    parts = (chosen, loss / weight, values, pooled)
    return SelectedC(*(parts if isinstance(X, Tensor) else (part.cpu().numpy() for part in parts)))


def _splits(cv: Any, n: int) -> list[tuple[Tensor, Tensor]]:
    if isinstance(cv, Integral):
        cv = KFold(cv, shuffle=True, random_state=0).split(np.empty(n))
    return [(torch.as_tensor(train), torch.as_tensor(test)) for train, test in cv]


def _add_losses(
    rows: Rows, fits: list[Fits], memory_budget: int, loss: Tensor, weight: Tensor
) -> None:
    """Add the held-out losses and weights of one fold."""
    for columns in chunks(rows.Y.shape[1], label_width(rows, memory_budget)):
        y, s = label_block(rows.Y, rows.s, columns, loss.device)
        s = torch.ones_like(y[:, :1], dtype=torch.float64) if s is None else s
        s = s * (rows.unit if len(rows.unit) == 1 else rows.unit[columns])
        weight[columns] += s.expand_as(y).sum(0)
        for k, fit in enumerate(fits):
            logits = rows.double.forward(fit.theta[:, columns])
            right = torch.where(y, logits, -logits)
            loss[k, columns] -= torch.nn.functional.logsigmoid(right).mul_(s).sum(0)


def _smallest(loss: Tensor) -> Tensor:
    """Index of the smallest C whose loss ties with the best."""
    return (loss <= loss.min(0).values * (1 + TIE)).to(torch.int8).argmax(0)
