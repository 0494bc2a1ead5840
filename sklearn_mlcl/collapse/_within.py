"""Within-set scatter against between-set scatter (NC1), streamed and truncated to its rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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
    along: np.ndarray = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.along = np.zeros(len(self.eigenvalues))

    def add(self, residual: np.ndarray) -> None:
        self.along += ((residual @ self.axes) ** 2).sum(axis=0)
        self.total += (residual**2).sum()


def within_between(
    features: Any, groups: LabelSets, means: np.ndarray, n_tags: int, min_count: int
) -> dict[str, float]:
    """NC1 values by key: "nc1_m{m}" and "nc1_trace_m{m}" per size, "nc1_code" of single labels."""
    parts = {f"m{m}": part for m, part in _per_size(groups, means, n_tags, min_count)}
    singles = _code_axes(groups, means)
    tracked = [p for p in [*parts.values(), singles] if p is not None]
    _accumulate(features, groups, means, tracked)
    out = {}
    for name, part in parts.items():
        out[f"nc1_{name}"] = out[f"nc1_trace_{name}"] = float("nan")
        if part is not None and part.divisor > 0:
            out[f"nc1_{name}"] = _ratio(part, len(part.eigenvalues))
            if part.between > 0:
                out[f"nc1_trace_{name}"] = part.total / part.divisor / part.between
    K = groups.n_labels
    out["nc1_code"] = _ratio(singles, K) if singles is not None else float("nan")
    return out


def _ratio(part: _Axes, count: int) -> float:
    if not len(part.eigenvalues):
        return float("nan")
    return float((part.along / part.divisor / part.eigenvalues).sum() / count)


def _per_size(
    groups: LabelSets, means: np.ndarray, n_tags: int, min_count: int
) -> Iterator[tuple[int, _Axes | None]]:
    """Per multiplicity the scatter weighted by rows, cut to the rank that K labels can span."""
    proper = groups.proper()
    for m in np.unique(groups.sizes[proper]).tolist():
        member = proper & (groups.sizes == m) & (groups.counts >= min_count)
        n_sets = int(member.sum())
        if n_sets < 2:
            yield m, None
            continue
        share = groups.counts[member] / groups.counts[member].sum()
        centered = means[member] - share @ means[member]
        values, axes = _leading(np.sqrt(share)[:, None] * centered, min(n_tags, n_sets) - 1)
        between = float((share[:, None] * centered**2).sum())
        freedom = float((groups.counts[member] - 1).sum())
        yield m, _Axes(member, axes, values, between, freedom)


def _code_axes(groups: LabelSets, means: np.ndarray) -> _Axes | None:
    """The published NC1 of single labels (unweighted, full pseudo-inverse), about the true mean."""
    member = groups.sizes == 1
    if member.sum() < 2:
        return None
    mean = groups.counts[member] @ means[member] / groups.counts[member].sum()
    B = (means[member] - mean) / np.sqrt(member.sum())
    cutoff = means.shape[1] * float(np.finfo(np.float32).eps)
    values, axes = _leading(B, min(B.shape), cutoff)
    return _Axes(member, axes, values, float((B**2).sum()), float(groups.counts[member].sum()))


def _leading(B: np.ndarray, rank: int, cutoff: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Up to `rank` eigenpairs of B'B, from whichever Gram matrix is smaller."""
    U, d = B.shape
    values, vectors = np.linalg.eigh(B.T @ B if d <= U else B @ B.T)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    keep = values > max(cutoff, max(U, d) * np.finfo(float).eps) * max(values[0], 0.0)
    values, vectors = values[keep], vectors[:, keep]
    return values, vectors if d <= U else B.T @ vectors / np.sqrt(values)


def _accumulate(features: Any, groups: LabelSets, means: np.ndarray, tracked: list[_Axes]) -> None:
    """One pass over the rows of the sets that any scatter uses."""
    used = np.zeros(len(groups.sizes), dtype=bool)
    for part in tracked:
        used |= part.member
    rows = np.flatnonzero((groups.of_row >= 0) & used[groups.of_row])
    for index, block in row_blocks(features, rows):
        at = groups.of_row[index]
        residual = block - means[at]
        for part in tracked:
            mine = part.member[at]
            if mine.any():
                part.add(residual[mine])
