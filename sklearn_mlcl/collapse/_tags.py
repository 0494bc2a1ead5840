"""The tag model: every label-set mean as an intercept plus a scaled sum of label vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve

from sklearn_mlcl.collapse._label_sets import LabelSets, grouped, set_means

MAX_SWEEPS = 100
TOL = 1e-12  # the sweeps end when tags and scales change by less, relatively


@dataclass(frozen=True)
class TagPrototypes:
    """Fitted tag model, as `fit_tag_prototypes` returns it.

    Attributes
    ----------
    tags : ndarray of shape (L, d)
        Tag vectors t_k, summing to zero; NaN rows for labels that no usable sample has.
    intercept : ndarray of shape (d,)
        Global vector g.
    multiplicities : ndarray of shape (M,), int
        Observed numbers of labels of a sample, ascending.
    scales : ndarray of shape (M,)
        alpha_m; 1 for the smallest multiplicity. Negative values can occur far from collapse.
    labels : ndarray of shape (L',), int
        Labels with a tag vector.
    r2 : float
        1 - weighted residual / weighted between-set scatter: 1 at collapse. NaN for a single set.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import fit_tag_prototypes, simplex_etf
    >>> Y = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    >>> fitted = fit_tag_prototypes(Y @ simplex_etf(3), Y)
    >>> fitted.tags.shape
    (3, 2)
    """

    tags: np.ndarray
    intercept: np.ndarray
    multiplicities: np.ndarray
    scales: np.ndarray
    labels: np.ndarray
    r2: float


def fit_tag_prototypes(features: Any, Y: Any, *, sample_weight: Any = None) -> TagPrototypes:
    r"""Fit one vector per label, with label-set means as scaled sums.

    .. math:: \min_{g, t, \alpha} \sum_S \omega_S \Big\| M_S - g - \alpha_{|S|} \sum_{k\in S} t_k
       \Big\|^2, \qquad \sum_k t_k = 0,

    over the observed label sets S with mean :math:`M_S`, where :math:`\omega_S` is the square root
    of the weight of their samples. Alternating least squares fits the tags and g given the scales,
    then each scale by a projection. No sample with a single
    label is needed. Samples without a label or with every label are dropped: the model gives both
    the prototype g.

    Parameters
    ----------
    features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
        Read in bounded blocks, in float64.
    Y : {array-like, CSR} of shape (n, L)
        Indicator matrix. Samples with a missing label (NaN) belong to no known set and are
        dropped.
    sample_weight : array-like of shape (n,), default=None
        Weights of the samples.

    Returns
    -------
    TagPrototypes
        The fitted model.

    Raises
    ------
    ValueError
        If no sample has a label set that is neither empty nor full, or an argument is outside its
        range.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import fit_tag_prototypes, simplex_etf
    >>> Y = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]])
    >>> H = 5 + np.where(Y.sum(1) == 1, 1.0, 0.8)[:, None] * (Y @ simplex_etf(3))
    >>> fitted = fit_tag_prototypes(H, Y)
    >>> (
    ...     np.round(fitted.scales, 6),
    ...     np.round(fitted.intercept, 6),
    ...     round(fitted.r2, 6),
    ... )
    (array([1. , 0.8]), array([5., 5.]), 1.0)
    """
    features, groups = grouped(features, Y, sample_weight)
    return fit_tags(set_means(features, groups), groups)


def fit_tags(means: np.ndarray, groups: LabelSets) -> TagPrototypes:
    """`fit_tag_prototypes` from the means of the label sets."""
    proper = groups.proper()
    if not proper.any():
        raise ValueError("No sample of Y has a label set that is neither empty nor full.")
    problem = _TagProblem(means[proper], groups, proper)
    tags, scale = _alternate(problem)
    return problem.expand(tags, problem.intercept(tags, scale), scale)


def no_tags(n_labels: int, intercept: np.ndarray) -> TagPrototypes:
    """The model of label sets that are all empty or full: an intercept and nothing else."""
    tags, none = np.full((n_labels, len(intercept)), np.nan), np.zeros(0, dtype=np.intp)
    return TagPrototypes(tags, intercept, none, np.zeros(0), none, np.nan)


class _TagProblem:
    """The weighted regression of set means on scaled, centred labels."""

    def __init__(self, means: np.ndarray, groups: LabelSets, proper: np.ndarray) -> None:
        sets = groups.sets[proper]
        self.n_all = groups.n_labels
        self.labels = np.flatnonzero(np.asarray(sets.sum(axis=0)) > 0)
        self.sets = sp.csr_array(sets[:, self.labels])
        self.sizes = groups.sizes[proper]
        self.multiplicities, self.at = np.unique(self.sizes, return_inverse=True)
        weight = np.sqrt(groups.weights[proper])
        self.weight = weight / weight.sum()
        self.center = self.weight @ means
        self.means = means - self.center  # the offset of the features leaves before any product

    def gram(self, scale: np.ndarray) -> np.ndarray:
        """Normal matrix of the design scale * (y - m/L), weighted columns centred."""
        L, a = len(self.labels), scale[self.at]
        w, m = self.weight * a**2, self.sizes
        cross = self.sets.T @ (w * m)
        first = self.sets.T @ (self.weight * a) - self.weight @ (a * m) / L
        A = (self.sets.T @ (sp.diags_array(w) @ self.sets)).toarray()
        A += w @ m**2 / L**2 - (cross[:, None] + cross) / L
        return A - np.outer(first, first)

    def moment(self, scale: np.ndarray) -> np.ndarray:
        """Design-transpose times means."""
        weighted = (self.weight * scale[self.at])[:, None] * self.means
        return self.sets.T @ weighted - (self.sizes @ weighted) / len(self.labels)

    def intercept(self, tags: np.ndarray, scale: np.ndarray) -> np.ndarray:
        return -(self.weight * scale[self.at]) @ (self.sets @ tags)

    def project_scales(self, tags: np.ndarray, g: np.ndarray) -> np.ndarray:
        """alpha_m = <M_S - g, sum of tags> / ||sum of tags||^2, pooled over the sets of size m."""
        sums = self.sets @ tags
        top = np.bincount(self.at, self.weight * ((self.means - g) * sums).sum(axis=1))
        bottom = np.bincount(self.at, self.weight * (sums**2).sum(axis=1))
        # Where features do not depend on the labels the sums vanish, and any scale is right.
        return np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0)

    def expand(self, tags: np.ndarray, g: np.ndarray, scale: np.ndarray) -> TagPrototypes:
        """Scale so that the first multiplicity has alpha = 1, and put every label in its place."""
        residual = self.means - g - scale[self.at][:, None] * (self.sets @ tags)
        total = self.weight @ (self.means**2).sum(axis=1)
        r2 = 1 - self.weight @ (residual**2).sum(axis=1) / total if total > 0 else np.nan
        # The unit is the first scale that is positive and not lost in rounding.
        usable = scale[scale > 1e-6 * np.abs(scale).max()]
        unit = usable[0] if len(usable) else 1.0
        full = np.full((self.n_all, tags.shape[1]), np.nan)
        full[self.labels] = tags * unit
        return TagPrototypes(
            tags=full,
            intercept=g + self.center,
            multiplicities=self.multiplicities,
            scales=scale / unit,
            labels=self.labels,
            r2=float(r2),
        )


def _alternate(problem: _TagProblem) -> tuple[np.ndarray, np.ndarray]:
    """Tags and scales by alternating least squares."""
    scale = np.ones(len(problem.multiplicities))
    tags = np.zeros((len(problem.labels), problem.means.shape[1]))
    for _ in range(MAX_SWEEPS):
        before = tags, scale
        tags = _solve_tags(problem, tags, scale)
        scale = problem.project_scales(tags, problem.intercept(tags, scale))
        size = np.sqrt((scale**2).mean())
        tags, scale = (tags * size, scale / size) if size > 0 else (tags, scale)
        if max(_change(tags, before[0]), _change(scale, before[1])) < TOL:
            break
    return tags, scale


def _solve_tags(problem: _TagProblem, tags: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """One proximal step from `tags`: ridge-regularised, yet exact in the limit of the sweeps."""
    A = problem.gram(scale)
    ridge = 1e-8 * max(np.trace(A) / len(A), np.finfo(float).tiny)
    factor = cho_factor(A + ridge * np.eye(len(A)), check_finite=False)
    moment = problem.moment(scale)
    for _ in range(2):  # the second step removes what the ridge of the first left
        tags = tags + cho_solve(factor, moment - A @ tags, check_finite=False)
    return tags - tags.mean(axis=0)


def _change(new: np.ndarray, old: np.ndarray) -> float:
    return float(np.linalg.norm(new - old) / max(np.linalg.norm(new), np.finfo(float).tiny))
