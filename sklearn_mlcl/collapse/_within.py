"""Within-set scatter against between-set scatter (NC1), streamed and truncated to its rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_mlcl.collapse._label_sets import LabelSets, row_blocks


@dataclass
class _Axes:
    """Leading axes of one between-set scatter, and the within-set scatter seen along them."""

    member: np.ndarray  # mask over label sets
    axes: np.ndarray  # (d, r)
    eigenvalues: np.ndarray  # (r,)
    between: float  # trace of the between-set scatter
    divisor: float  # degrees of freedom of the within-set scatter
    along: Any = 0.0  # (r,) within-set scatter along the axes
    total: float = 0.0  # its trace

    def add(self, residual: np.ndarray) -> None:
        self.along = self.along + ((residual @ self.axes) ** 2).sum(axis=0)
        self.total += (residual**2).sum()

    def ratio(self, count: int) -> float:
        """Sum of the ratios of within to between along the axes, divided by `count`."""
        if not len(self.eigenvalues) or not self.divisor > 0:
            return float("nan")
        return float((self.along / self.divisor / self.eigenvalues).sum() / count)

    def trace_ratio(self) -> float:
        scatter = self.divisor * self.between
        return self.total / scatter if scatter > 0 else float("nan")


def within_between(
    features: Any, groups: LabelSets, means: np.ndarray, n_tags: int, min_count: int
) -> dict[str, float]:
    """NC1 values by key: "nc1_m{m}" and "nc1_trace_m{m}" per size, "nc1_code" of single labels."""
    proper, out = groups.proper(), {}
    parts: dict[str, _Axes] = {}
    for m in np.unique(groups.sizes[proper]).tolist():
        out[f"nc1_m{m}"] = out[f"nc1_trace_m{m}"] = float("nan")
        member = proper & (groups.sizes == m) & (groups.counts >= min_count)
        if member.sum() > 1:
            parts[f"m{m}"] = _axes_of_size(groups, member, means[member], n_tags)
    singles = _axes_of_singles(groups, means)
    tracked = [*parts.values(), *([] if singles is None else [singles])]
    _accumulate(features, groups, means, tracked)
    for name, part in parts.items():
        out[f"nc1_{name}"] = part.ratio(len(part.eigenvalues))
        out[f"nc1_trace_{name}"] = part.trace_ratio()
    out["nc1_code"] = float("nan") if singles is None else singles.ratio(groups.n_labels)
    return out


def _axes_of_size(groups: LabelSets, member: np.ndarray, means: np.ndarray, n_tags: int) -> _Axes:
    """Scatter weighted by samples, cut to the rank that the labels can span."""
    counts = groups.counts[member]
    share = counts / counts.sum()
    B = np.sqrt(share)[:, None] * (means - share @ means)
    return _leading(member, B, min(n_tags, len(means)) - 1, float((counts - 1).sum()))


def _axes_of_singles(groups: LabelSets, means: np.ndarray) -> _Axes | None:
    """The published NC1 of single labels (unweighted, full pseudo-inverse), about the true mean."""
    member = groups.sizes == 1
    if member.sum() < 2:
        return None
    counts, means = groups.counts[member], means[member]
    B = (means - counts @ means / counts.sum()) / np.sqrt(len(means))
    cutoff = means.shape[1] * float(np.finfo(np.float32).eps)
    return _leading(member, B, min(B.shape), float(counts.sum()), cutoff)


def _leading(
    member: np.ndarray, B: np.ndarray, rank: int, divisor: float, cutoff: float = 0.0
) -> _Axes:
    """Up to `rank` eigenpairs of B'B, from whichever Gram matrix is smaller."""
    U, d = B.shape
    values, vectors = np.linalg.eigh(B.T @ B if d <= U else B @ B.T)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    keep = values > max(cutoff, max(U, d) * np.finfo(float).eps) * max(values[0], 0.0)
    values, vectors = values[keep], vectors[:, keep]
    axes = vectors if d <= U else B.T @ vectors / np.sqrt(values)
    return _Axes(member, axes, values, float((B**2).sum()), divisor)


def _accumulate(features: Any, groups: LabelSets, means: np.ndarray, tracked: list[_Axes]) -> None:
    """One pass over the samples of the sets that any scatter uses."""
    used = np.zeros(len(means), dtype=bool)
    for part in tracked:
        used |= part.member
    rows = np.flatnonzero((groups.of_row >= 0) & used[groups.of_row])
    for index, block in row_blocks(features, rows):
        at = groups.of_row[index]
        residual = block - means[at]
        for part in tracked:
            part.add(residual[part.member[at]])
