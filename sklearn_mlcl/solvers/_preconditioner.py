"""The preconditioner of the Newton systems: a diagonal, made exact along the last direction.

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

from sklearn_mlcl.utils.samples import chunks

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
