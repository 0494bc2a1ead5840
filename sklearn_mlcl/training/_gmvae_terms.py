"""The terms of C-GMVAE on logits: sums over labels, one value a row, from one pass each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_mlcl.losses._label_indices import active_labels, sample_negatives
from sklearn_mlcl.losses._sample_weight import mean_entry_weight


@dataclass(frozen=True)
class LabelColumns:
    """Labels of a batch over the C columns that logits are computed for.

    Attributes
    ----------
    index : Tensor of shape (C,) or None
        Label of each column; None for all labels in order.
    active : Tensor of shape (U,)
        Columns with a positive in the batch.
    positive : bool Tensor of shape (B, C)
        Known positives.
    unknown : bool Tensor of shape (B, C) or None
        LabelEntries that are not known; None where all are.
    empty : bool Tensor of shape (B,)
        Rows of which all labels are known, and none is positive.
    weight : Tensor of shape (C,) or None
        How many labels a column stands for; None where it is one each.
    importance : Tensor of shape (B, C) or None
        Weight of each cell over the mean of its row's known ones; None where all are 1.
    """

    index: Tensor | None
    active: Tensor
    positive: Tensor
    unknown: Tensor | None
    empty: Tensor
    weight: Tensor | None = None
    importance: Tensor | None = None

    @classmethod
    def of(
        cls, labels: Tensor, n_negatives: int | None = None, sample_weight: Tensor | None = None
    ) -> LabelColumns:
        """Read labels (B, L), NaN for unknown; keep the active ones and some drawn others.

        Weights of cells (B, L) become their importance within the row; of weight 0 is unknown.
        """
        importance = None
        if sample_weight is not None and sample_weight.ndim == 2:
            labels = labels.to(sample_weight.dtype).masked_fill(sample_weight == 0, torch.nan)
            of_row = mean_entry_weight(sample_weight, labels.isnan())[:, None]
            importance = sample_weight / torch.where(of_row > 0, of_row, 1.0)
        active, empty = active_labels(labels), (labels == 0).all(1)
        index, weight = None, None
        if n_negatives is not None and len(active) + n_negatives < labels.shape[1]:
            drawn, stands_for = sample_negatives(active, labels.shape[1], n_negatives)
            index = torch.cat([active, drawn])
            weight = torch.ones(len(index), device=labels.device)
            weight[len(active) :] = stands_for
            labels = labels.index_select(1, index)
            importance = None if importance is None else importance.index_select(1, index)
            active = torch.arange(len(active), device=labels.device)
        unknown = labels.isnan() if labels.is_floating_point() else None
        return cls(index, active, labels == 1, unknown, empty, weight, importance)

    @property
    def has_positive(self) -> Tensor:
        """Whether a row has a known positive, of shape (B,)."""
        return self.positive.any(1)

    def members(self) -> Tensor:
        """Indicator matrix (B, U) of the active columns."""
        if len(self.active) == self.positive.shape[1]:
            return self.positive
        return self.positive.index_select(1, self.active)


def label_terms(logits: Tensor, columns: LabelColumns, temperature: float) -> tuple[Tensor, Tensor]:
    r"""Cross-entropy and contrastive loss of each row, from the same logits s.

    .. math::
        \ell_{bce} = \sum_l \log(1 + e^{s_l}) - \sum_{l \in P} s_l, \qquad
        \ell_{cl} = \log \sum_l e^{s_l / \tau} - \frac{1}{|P|} \sum_{l \in P} s_l / \tau

    The second is the contrastive loss of an anchor against all label embeddings, its positives
    being those of its labels. Sums leave unknown labels out and count a drawn one as often as it
    stands for others. Under weights of cells, the terms of a label count by their importance
    :math:`v_l`: the sums of the first are :math:`\sum_l v_l \log(1 + e^{s_l}) - \sum_{l \in P} v_l
    s_l`, and the second is :math:`\frac{1}{|P|} \sum_{l \in P} v_l (\log \sum_k e^{s_k / \tau} -
    s_l / \tau)`.

    Parameters
    ----------
    logits : Tensor of shape (S, B, C)
        Logits of S embeddings a row.
    columns : LabelColumns
        The labels.
    temperature : float
        The divisor :math:`\tau`.

    Returns
    -------
    cross_entropy, contrastive : Tensor of shape (S, B)
        The second is 0 for a row without a positive.

    References
    ----------
    .. [1] J. Bai, S. Kong, C. P. Gomes, "Gaussian Mixture Variational Autoencoder with
       Contrastive Learning for Multi-Label Classification", ICML 2022.
    """
    rows, positives = columns.positive.nonzero(as_tuple=True)
    terms, share = logits[:, rows, positives], columns.has_positive.to(logits.dtype)
    n_positives = columns.positive.sum(1).clamp(min=1).to(logits.dtype)
    if columns.importance is not None:
        v = columns.importance[rows, positives].to(logits.dtype)
        terms, share = terms * v, logits.new_zeros(len(share)).index_add(0, rows, v) / n_positives
    chosen = logits.new_zeros(logits.shape[:2]).index_add(1, rows, terms)
    cross_entropy = _sum(functional.softplus(logits), columns) - chosen
    log_sum = torch.logsumexp(_exponents(logits, columns, temperature), dim=-1)
    return cross_entropy, log_sum * share - chosen / (n_positives * temperature)


def _sum(cells: Tensor, columns: LabelColumns) -> Tensor:
    if columns.importance is not None:
        cells = cells * columns.importance.to(cells.dtype)
    if columns.unknown is not None:
        cells = cells.masked_fill(columns.unknown, 0.0)
    return cells.sum(-1) if columns.weight is None else cells @ columns.weight.to(cells.dtype)


def _exponents(logits: Tensor, columns: LabelColumns, temperature: float) -> Tensor:
    exponents = logits / temperature if temperature != 1 else logits
    if columns.weight is not None:
        exponents = exponents + columns.weight.to(logits.dtype).log()
    if columns.unknown is None:
        return exponents
    # A row without a positive has no part in it and keeps its cells: a sum of nothing has no log.
    return exponents.masked_fill(columns.unknown & columns.has_positive[:, None], -torch.inf)
