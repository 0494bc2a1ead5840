"""Neural-collapse metrics of multi-label features."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from sklearn_mlcl.collapse._decoder import ONNDecoder
from sklearn_mlcl.collapse._decoder_fit import decoder_from_means
from sklearn_mlcl.collapse._etf import etf_deviation, phi_coefficient
from sklearn_mlcl.collapse._label_sets import (
    LabelSets,
    as_float64,
    block_slices,
    grouped,
    label_sets,
    row_blocks,
    set_means,
)
from sklearn_mlcl.collapse._search import every_set
from sklearn_mlcl.collapse._tags import TagPrototypes, fit_tags
from sklearn_mlcl.collapse._within import within_between
from sklearn_mlcl.utils.parameters import AT_LEAST_1, check_arguments
from sklearn_mlcl.utils.topk import topk_decision

MAX_BASELINE_MEANS = 1000  # means that enter the chance level: an average close to 90 degrees
N_RANDOM_SETS = 4000  # arbitrary sets for the chance level, where listing all takes more
N_PAIRS = 20000  # pairs of sets for phi, where listing all takes more
MIN_POSITIVES = 5  # labels with fewer stay out of NC2 and NC3: their tags are noise
MAX_DECODED_ROWS = 5000  # samples that nc4 decodes: a share to within 0.01


class CollapseReport(dict[str, float]):
    """Flat dict of metric values (floats), with the arrays that plots need.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Of the tag model: "tags" (L, d), "intercept" (d,), "multiplicities" and "scales" (M,). Of
        the label sets: "label_sets" (U, L) bool, "set_means" (U, d), "set_counts" (U,). Of the
        sampled pairs of sets: "phi", "cosine" and "pair_sizes". Also "excluded_labels".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
    >>> Y = np.repeat([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], 5, axis=0)
    >>> report = neural_collapse_metrics(Y @ simplex_etf(3), Y)
    >>> report["n_sets"], report.arrays["tags"].shape
    (4.0, (3, 2))
    """

    def __init__(self, values: Mapping[str, float], arrays: dict[str, np.ndarray]) -> None:
        super().__init__(values)
        self.arrays = arrays

    def __reduce__(self) -> tuple[Any, ...]:
        return CollapseReport, (dict(self), self.arrays)


def neural_collapse_metrics(
    features: Any,
    Y: Any,
    W: Any = None,
    b: Any = None,
    *,
    min_count: int = 2,
    max_rows: int | None = 20000,
    random_state: Any = 0,
) -> CollapseReport:
    r"""How far features have collapsed onto the geometry of the pick-all-label optimum.

    Values, with m a number of labels of a sample (NaN where fewer than two label sets of that
    size have `min_count` samples):

    - ``nc1_m{m}``: :math:`\frac1r \sum_{j\le r} v_j^\top \Sigma_W v_j / \lambda_j` over the top
      r = min(L-1, U_m-1, d, rank) eigenpairs of the between-set scatter; ``nc1_trace_m{m}``: ratio
      of traces; ``nc1_code``: :math:`\mathrm{tr}(\Sigma_W \Sigma_B^+)/L` of samples with one label.
    - ``tag_r2``: share of the between-set scatter that the tag model explains, 1 at collapse.
    - ``nc2_h``, ``nc2_w``, ``nc3``: deviation of the tags, the classifier rows and their
      products from the simplex ETF (`etf_deviation`), centred; ``nc2_w_raw`` without centring,
      ``nc2_w_excess`` above what d dimensions allow. ``tag_norm_cv``, ``tag_cos_mean``,
      ``tag_cos_std`` (cosines plus 1/(L-1)), ``w_norm_cv``, ``tag_w_cos``: scale-free companions.
    - ``ncm_deg_m{m}``: weighted mean angle, in degrees, between set means and sums of their tags;
      ``ncm_chance_deg_m{m}``: the same against arbitrary m-sets; ``ncm_m{m}``: the ratio.
    - ``phi_rmse``, ``phi_corr``: cosines of set means against phi coefficients (`phi_matrix`).
    - ``alpha_m{m}``: scales of the tag model. ``nc4``: share of samples whose nearest prototype
      is the top-m set of the logits, over at most 5,000 evenly spaced samples.
    - ``kappa_m{m}``: smallest eigenvalue, across the ones vector, of the centred second moment of
      the label sets of size m; m(L-m)/(L(L-1)) when balanced. ``rows_m{m}``, ``imbalance_m{m}``
      (largest over smallest label count), ``singles_share``, ``coverage`` (share of samples in sets
      of `min_count`), ``n_sets``, ``n_rows``, ``n_incomplete``, ``n_degenerate``.

    Parameters
    ----------
    features : {array-like, CSR, memory map, torch tensor} of shape (n, d)
        Read twice in blocks of 8 MiB, in float64.
    Y : {array-like, CSR} of shape (n, L)
        Indicator matrix. Samples with a missing label (NaN) are dropped and counted.
    W : array-like of shape (L, d), default=None
        Classifier rows, for ``nc2_w``, ``nc3`` and ``nc4``.
    b : array-like of shape (L,), default=None
        Classifier bias, for ``nc4``.
    min_count : int, default=2
        Samples that a label set needs to enter all but the tag fit.
    max_rows : int or None, default=20000
        With more samples, this number is drawn, stratified by the number of labels.
    random_state : int, RandomState instance or None, default=0
        Draws the samples; at most 4,000 arbitrary m-sets for the chance angle, and at most 20,000
        pairs of sets for the phi coefficients.

    Returns
    -------
    CollapseReport
        The values by name.

    Raises
    ------
    ValueError
        If shapes disagree, no label set is neither empty nor full, or an argument is outside its
        range.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
    >>> Y = np.repeat(
    ...     [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]], 5, axis=0
    ... )
    >>> report = neural_collapse_metrics(Y @ simplex_etf(4), Y)
    >>> round(report["tag_r2"], 6), round(report["phi_rmse"], 6)
    (1.0, 0.0)
    """
    check_arguments(
        "neural_collapse_metrics",
        min_count=(min_count, AT_LEAST_1),
        max_rows=(max_rows, AT_LEAST_1, None),
    )
    rng = check_random_state(random_state)
    features, groups = grouped(features, Y)
    n_total, n_complete = len(groups.of_row), int((groups.of_row >= 0).sum())
    if max_rows is not None and n_complete > max_rows:
        groups = label_sets(Y, _stratified_rows(groups, max_rows, rng))
    means = set_means(features, groups)
    tags = fit_tags(means, groups)
    used = groups.proper() & (groups.counts >= min_count)
    sets = sp.csr_array(groups.sets[used][:, tags.labels])
    directions = means[used] - tags.intercept
    frequent = tags.labels[(groups.counts @ groups.sets)[tags.labels] >= MIN_POSITIVES]
    values = {"tag_r2": tags.r2, "n_incomplete": float(n_total - n_complete)}
    values |= within_between(features, groups, means, len(tags.labels), min_count)
    values |= _tag_angles(directions, sets, np.sqrt(groups.weights[used]), tags, rng)
    pairs = _phi_alignment(directions, sets, rng)
    values |= _phi_agreement(pairs["cosine"], pairs["phi"])
    scales = zip(tags.multiplicities, tags.scales.tolist(), strict=True)
    values |= {f"alpha_m{m}": alpha for m, alpha in scales}
    T = tags.tags[frequent]
    values["nc2_h"] = etf_deviation(T)
    values["tag_norm_cv"], values["tag_cos_mean"], values["tag_cos_std"] = _shape(T)
    values |= _balance(groups, tags, used)
    if W is not None:
        L, d = groups.n_labels, means.shape[1]
        W, b = as_float64(W, "W"), np.zeros(L) if b is None else as_float64(b, "b")
        if W.shape != (L, d) or b.shape != (L,):
            raise ValueError(f"W, b must be ({L}, {d}) and ({L},), got {W.shape} and {b.shape}.")
        values |= _head_metrics(W, tags, frequent)
        decoder = decoder_from_means(groups, means, "tags", None, 0.0)
        values["nc4"] = _agreement(features, groups, decoder, W, b)
    arrays = {
        "tags": tags.tags,
        "intercept": tags.intercept,
        "multiplicities": tags.multiplicities,
        "scales": tags.scales,
        "label_sets": groups.sets[used].toarray().astype(bool),
        "set_means": means[used],
        "set_counts": groups.counts[used],
        "excluded_labels": np.setdiff1d(np.arange(groups.n_labels), frequent),
    }
    return CollapseReport(values, arrays | pairs)


def _stratified_rows(groups: LabelSets, max_rows: int, rng: np.random.RandomState) -> np.ndarray:
    """0/1 weights of a systematic sample along (multiplicity, random order)."""
    rows = np.flatnonzero(groups.of_row >= 0)
    weight = np.zeros(len(groups.of_row))
    weight[rows[stratified(groups.sizes[groups.of_row[rows]], max_rows, rng)]] = 1.0
    return weight


def stratified(sizes: np.ndarray, n: int, rng: np.random.RandomState) -> np.ndarray:
    """Numbers of n samples, evenly spaced along their sizes, in random order within a size."""
    order = np.lexsort((rng.random_sample(len(sizes)), sizes))
    return order[np.arange(n) * len(order) // n]


def _unit(A: np.ndarray) -> np.ndarray:
    """Rows scaled to norm 1; NaN for a zero row."""
    norm = np.linalg.norm(A, axis=1, keepdims=True)
    return np.divide(A, norm, out=np.full_like(A, np.nan), where=norm > 0)


def _tag_angles(
    directions: np.ndarray,
    sets: sp.csr_array,
    weights: np.ndarray,
    fitted: TagPrototypes,
    rng: np.random.RandomState,
) -> dict[str, float]:
    """NC_m per size: "ncm_deg_m{m}", its chance level, and the ratio of the two.

    `directions` (U, d) are set means about the intercept, `sets` (U, L) CSR of the tagged labels.
    """
    tags, sizes = fitted.tags[fitted.labels], np.diff(sets.indptr)
    a, b = _unit(directions), _unit(sets @ tags)
    # Accurate near 0 and 180 degrees too, where the arc cosine is not.
    apart, together = np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)
    angles = np.degrees(2 * np.arctan2(apart, together))
    out = {"n_degenerate": float(np.isnan(angles).sum())}
    for m in fitted.multiplicities.tolist():
        mine = (sizes == m) & np.isfinite(angles)
        degrees = chance = float("nan")
        if mine.any() and len(tags) > 2:
            degrees = float(np.average(angles[mine], weights=weights[mine]))
            chance = _chance_angle(a[mine], m, tags, rng)
        out[f"ncm_deg_m{m}"], out[f"ncm_chance_deg_m{m}"] = degrees, chance
        out[f"ncm_m{m}"] = degrees / chance
    return out


def _chance_angle(u: np.ndarray, m: int, tags: np.ndarray, rng: np.random.RandomState) -> float:
    """Mean angle between unit set means and the tag sums of arbitrary m-sets, matched or not."""
    if len(u) > MAX_BASELINE_MEANS:
        u = u[rng.choice(len(u), MAX_BASELINE_MEANS, replace=False)]
    sums = _unit(_random_sets(len(tags), m, rng) @ tags)
    sums = sums[np.isfinite(sums[:, 0])]
    total = 0.0
    for part in block_slices(len(u), len(sums)):
        total += np.arccos(np.clip(u[part] @ sums.T, -1.0, 1.0)).sum()
    return float(np.degrees(total / (len(u) * len(sums))))


def _random_sets(L: int, m: int, rng: np.random.RandomState) -> sp.csr_array:
    """All m-sets of L labels if few, else a uniform draw of them, as CSR indicator rows."""
    if comb(L, m) <= (n := N_RANDOM_SETS):
        return every_set(L, [m])
    members = np.argsort(rng.random_sample((n, L)), axis=1)[:, :m]
    return sp.csr_array((np.ones(n * m), members.ravel(), np.arange(n + 1) * m), (n, L))


def _phi_alignment(
    directions: np.ndarray, sets: sp.csr_array, rng: np.random.RandomState
) -> dict[str, np.ndarray]:
    """Cosines of pairs of set means, their phi coefficients, and the sizes of the pairs."""
    (n_sets, L), sizes = sets.shape, np.diff(sets.indptr)
    if n_sets * (n_sets - 1) // 2 <= N_PAIRS:
        first, second = np.triu_indices(n_sets, 1)
    else:
        first, second = rng.randint(0, n_sets, N_PAIRS), rng.randint(0, n_sets - 1, N_PAIRS)
        second += second >= first
    u = _unit(directions)
    cosine, overlap = np.empty((2, len(first)))
    for part in block_slices(len(first), max(u.shape[1], L)):
        i, j = first[part], second[part]
        cosine[part] = (u[i] * u[j]).sum(axis=1)
        overlap[part] = sets[i].multiply(sets[j]).sum(axis=1)
    phi = phi_coefficient(overlap, sizes[first], sizes[second], L)
    finite = np.isfinite(cosine) & np.isfinite(phi)
    pair_sizes = np.column_stack([sizes[first], sizes[second]])
    return {"cosine": cosine[finite], "phi": phi[finite], "pair_sizes": pair_sizes[finite]}


def _phi_agreement(cosine: np.ndarray, phi: np.ndarray) -> dict[str, float]:
    varied = len(phi) > 1 and np.std(phi) > 0 and np.std(cosine) > 0
    return {
        "phi_rmse": float(np.sqrt(np.mean((cosine - phi) ** 2))) if len(phi) else np.nan,
        "phi_corr": float(np.corrcoef(cosine, phi)[0, 1]) if varied else np.nan,
    }


def _shape(T: np.ndarray) -> tuple[float, float, float]:
    """Variation of the norms; mean and spread of the cosines about those of a simplex."""
    L = len(T)
    T = T - T.mean(axis=0) if L > 1 else T
    unit, norms = _unit(T), np.linalg.norm(T, axis=1)
    if L < 2 or np.isnan(unit).any():
        return (float("nan"),) * 3
    off = (unit @ unit.T)[~np.eye(L, dtype=bool)] + 1 / (L - 1)
    return float(norms.std() / norms.mean()), float(off.mean()), float(off.std())


def _head_metrics(W: np.ndarray, tags: TagPrototypes, frequent: np.ndarray) -> dict[str, float]:
    T, W = tags.tags[frequent], W[frequent]
    nc2, (L, d) = etf_deviation(W), W.shape
    # What the vectors can reach in d dimensions.
    floor = np.sqrt(2 - 2 * np.sqrt(min(1.0, d / max(L - 1, 1))))
    out = {"nc2_w": nc2, "nc2_w_raw": etf_deviation(W, center=False), "nc2_w_excess": nc2 - floor}
    out |= {"nc3": etf_deviation(W, T), "w_norm_cv": _shape(W)[0], "tag_w_cos": float("nan")}
    if L:
        cosine = (_unit(T - T.mean(axis=0)) * _unit(W - W.mean(axis=0))).sum(axis=1)
        out["tag_w_cos"] = float(np.nan_to_num(cosine).mean())
    return out


def _agreement(
    features: Any, groups: LabelSets, decoder: ONNDecoder, W: np.ndarray, b: np.ndarray
) -> float:
    """Share of samples whose nearest set is that of as many largest logits."""
    rows = np.flatnonzero(groups.of_row >= 0)
    rows = rows[:: -(-len(rows) // MAX_DECODED_ROWS)]
    same = 0
    for _, block in row_blocks(features, rows, width=len(W)):
        sets = decoder.decode(block)
        sizes = np.diff(sets.indptr)
        top = topk_decision(block @ W.T + b, sizes)
        same += int((sets.multiply(top).sum(axis=1) == sizes).sum())
    return same / len(rows)


def _balance(groups: LabelSets, tags: TagPrototypes, used: np.ndarray) -> dict[str, float]:
    proper, L = groups.proper(), len(tags.labels)
    rows = groups.counts.sum()
    out = {
        "n_rows": float(rows),
        "n_sets": float(len(groups.sizes)),
        "coverage": float(groups.counts[used].sum() / rows),
        "singles_share": float(groups.sets[groups.sizes == 1].sum() / groups.n_labels),
    }
    for m in tags.multiplicities.tolist():
        at = proper & (groups.sizes == m)
        sets, counts = sp.csr_array(groups.sets[at][:, tags.labels]), groups.counts[at]
        label_counts = counts @ sets
        low = label_counts.min()
        out[f"rows_m{m}"] = float(counts.sum())
        out[f"imbalance_m{m}"] = float(label_counts.max() / low) if low > 0 else float("inf")
        out[f"kappa_m{m}"] = _kappa(sets, counts, label_counts, m, L)
    return out


def _kappa(
    sets: sp.csr_array, counts: np.ndarray, label_counts: np.ndarray, m: int, L: int
) -> float:
    """Smallest eigenvalue of E[(y - m/L)(y - m/L)'] on the complement of the ones vector."""
    n, share = counts.sum(), m / L
    second = (sets.T @ (sp.diags_array(counts / n) @ sets)).toarray()
    mean = label_counts / n
    second += share**2 - share * (mean[:, None] + mean)
    # The ones vector has eigenvalue 0; lifting it above the trace leaves the others in front.
    lifted = second + (np.trace(second) + 1.0) / L
    return float(max(np.linalg.eigvalsh(lifted)[0], 0.0)) if L > 1 else float("nan")
