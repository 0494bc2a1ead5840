"""The terms of C-GMVAE on logits: sums over labels, one value per sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_mlcl.losses._inputs import active_labels, mean_entry_weight, sample_negatives


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
        The positives.
    missing : bool Tensor of shape (B, C) or None
        The missing entries; None if there cannot be any.
    empty : bool Tensor of shape (B,)
        Samples without a positive and without a missing label.
    weight : Tensor of shape (C,) or None
        Number of labels that each column stands for; None if it is 1 for all.
    importance : Tensor of shape (B, C) or None
        Weight of each entry over the mean weight of the observed entries of its sample; None if
        all are 1.
    """

    index: Tensor | None
    active: Tensor
    positive: Tensor
    missing: Tensor | None
    empty: Tensor
    weight: Tensor | None = None
    importance: Tensor | None = None

    @classmethod
    def of(
        cls, labels: Tensor, n_negatives: int | None = None, sample_weight: Tensor | None = None
    ) -> LabelColumns:
        """Read labels (B, L), NaN where missing; keep the active ones and some drawn others.

        Weights of entries (B, L) become their importance within the sample. An entry with a
        weight of 0 is missing.
        """
        importance = None
        if sample_weight is not None and sample_weight.ndim == 2:
            labels = labels.to(sample_weight.dtype).masked_fill(sample_weight == 0, torch.nan)
            of_sample = mean_entry_weight(sample_weight, labels.isnan())[:, None]
            importance = sample_weight / torch.where(of_sample > 0, of_sample, 1.0)
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
        missing = labels.isnan() if labels.is_floating_point() else None
        return cls(index, active, labels == 1, missing, empty, weight, importance)

    @property
    def has_positive(self) -> Tensor:
        """Whether a sample has a positive, of shape (B,)."""
        return self.positive.any(1)

    def members(self) -> Tensor:
        """Indicator matrix (B, U) of the active columns."""
        if len(self.active) == self.positive.shape[1]:
            return self.positive
        return self.positive.index_select(1, self.active)


def label_terms(logits: Tensor, columns: LabelColumns, temperature: float) -> tuple[Tensor, Tensor]:
    r"""Cross-entropy and contrastive loss of each sample, from the same logits s.

    .. math::
        \ell_{bce} = \sum_l \log(1 + e^{s_l}) - \sum_{l \in P} s_l, \qquad
        \ell_{cl} = \log \sum_l e^{s_l / \tau} - \frac{1}{|P|} \sum_{l \in P} s_l / \tau

    The second is the contrastive loss of an anchor against all label embeddings; its positives are
    the embeddings of its labels. The sums skip missing labels and count a drawn label as often as
    it stands for others. Under weights of entries, the terms of a label count by their importance
    :math:`v_l`: the sums of the first are :math:`\sum_l v_l \log(1 + e^{s_l}) - \sum_{l \in P} v_l
    s_l`, and the second is :math:`\frac{1}{|P|} \sum_{l \in P} v_l (\log \sum_k e^{s_k / \tau} -
    s_l / \tau)`.

    Parameters
    ----------
    logits : Tensor of shape (S, B, C)
        Logits of S embeddings per sample.
    columns : LabelColumns
        The labels.
    temperature : float
        The divisor :math:`\tau`.

    Returns
    -------
    cross_entropy, contrastive : Tensor of shape (S, B)
        The second is 0 for a sample without a positive.

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


def _sum(entries: Tensor, columns: LabelColumns) -> Tensor:
    if columns.importance is not None:
        entries = entries * columns.importance.to(entries.dtype)
    if columns.missing is not None:
        entries = entries.masked_fill(columns.missing, 0.0)
    return entries.sum(-1) if columns.weight is None else entries @ columns.weight.to(entries.dtype)


def _exponents(logits: Tensor, columns: LabelColumns, temperature: float) -> Tensor:
    exponents = logits / temperature if temperature != 1 else logits
    if columns.weight is not None:
        exponents = exponents + columns.weight.to(logits.dtype).log()
    if columns.missing is None:
        return exponents
    # A sample without a positive has no such loss and keeps its entries: a sum of nothing has no
    # logarithm.
    return exponents.masked_fill(columns.missing & columns.has_positive[:, None], -torch.inf)
