"""Losses on logits that set the positives of a row against its negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from sklearn_mlcl.losses._arguments import check_number
from sklearn_mlcl.losses._targets import (
    mean_over_known,
    read_targets,
    row_weight,
    weighted_mean,
)
from sklearn_mlcl.losses._weights import MASKED


def _log_sum(x: Tensor, member: Tensor, dim: int) -> Tensor:
    """log sum exp over the members; an empty set gives a huge negative, not -inf."""
    return torch.where(member, x, MASKED).logsumexp(dim)


def _members(y: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
    positive = y > 0
    return (positive, ~positive) if known is None else (known & positive, known & ~positive)


class ZLPRLoss(nn.Module):
    r"""Zero-bounded log-sum-exp of pairwise ranks, with threshold logit 0.

    .. math:: \log \Big(1 + \sum_{l \notin y} e^{x_l}\Big)
       + \log \Big(1 + \sum_{l \in y} e^{-x_l}\Big)

    averaged over the rows with a known label; finite on empty and full rows.

    References
    ----------
    Su et al., "ZLPR: a novel loss for multi-label classification", arXiv 2208.02955.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import ZLPRLoss
    >>> logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]])
    >>> round(ZLPRLoss()(logits, labels).item(), 4)
    0.4402
    """

    is_mean_over_rows = True

    def forward(
        self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Mean loss; arguments as for the other losses on logits.

        Parameters
        ----------
        logits, labels : Tensor of shape (B, L)
            NaN in floating labels marks a cell that is neither positive nor negative.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            A weight of 2 counts as two copies of the row. Weights of cells give a row the mean
            over its known cells, since its loss is no sum over labels; weight 0 is unknown.

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        ValueError
            If the shapes of ``labels`` or ``sample_weight`` do not match ``logits``.
        """
        x, y, known = read_targets(logits, labels, sample_weight)
        positive, negative = _members(y, known)
        # log(1 + sum exp x) = softplus(log sum exp x)
        rows = softplus(_log_sum(x, negative, 1)) + softplus(_log_sum(-x, positive, 1))
        return weighted_mean(rows, row_weight(known, sample_weight, x.dtype))


class TwoWayLoss(nn.Module):
    r"""Positives against negatives, within each row and within each label.

    .. math:: \mathrm{softplus} \Big( T_n \log \sum_{neg} e^{x / T_n}
       + T_p \log \sum_{pos} e^{-x / T_p} \Big)

    once over the labels of each row and once over the rows of each label, averaged over the rows
    and over the labels that have a positive, and added.

    Parameters
    ----------
    positive_temperature : float, default=4.0
        T_p.
    negative_temperature : float, default=1.0
        T_n.

    Raises
    ------
    ValueError
        If a temperature is not positive.

    References
    ----------
    Kobayashi, "Two-way multi-label loss", CVPR 2023.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import TwoWayLoss
    >>> logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]])
    >>> round(TwoWayLoss()(logits, labels).item(), 4)
    0.0486
    """

    def __init__(
        self, positive_temperature: float = 4.0, negative_temperature: float = 1.0
    ) -> None:
        super().__init__()
        check_number("positive_temperature", positive_temperature)
        check_number("negative_temperature", negative_temperature)
        self.positive_temperature = positive_temperature
        self.negative_temperature = negative_temperature

    def forward(
        self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Mean loss; arguments as for the other losses on logits.

        Parameters
        ----------
        logits, labels : Tensor of shape (B, L)
            NaN in floating labels marks a cell that is neither positive nor negative.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            A weight of 2 counts as two copies of the row. Weights of cells count as copies of the
            cell in the sums over the rows of a label, and give a row the mean over its known
            cells; weight 0 is unknown.

        Returns
        -------
        Tensor
            A scalar.

        Raises
        ------
        ValueError
            If the shapes of ``labels`` or ``sample_weight`` do not match ``logits``.
        """
        x, y, known = read_targets(logits, labels, sample_weight)
        positive, negative = _members(y, known)
        rows = self._contrast(x, positive, negative, None, 1)
        weight = positive.any(1).to(x.dtype)
        if sample_weight is None:
            columns = self._contrast(x, positive, negative, None, 0)
            present = positive.any(0)
        else:
            importance = sample_weight.to(x)
            importance = importance if importance.ndim == 2 else importance[:, None]
            of_cells = importance.expand_as(x)
            weight = weight * mean_over_known(of_cells, known)
            columns = self._contrast(x, positive, negative, importance, 0)
            present = (positive & (importance > 0)).any(0)
        return weighted_mean(rows, weight) + weighted_mean(columns, present.to(x.dtype))

    def _contrast(
        self,
        x: Tensor,
        positive: Tensor,
        negative: Tensor,
        importance: Tensor | None,
        dim: int,
    ) -> Tensor:
        """softplus(T_n lse_neg(x / T_n) + T_p lse_pos(-x / T_p)); a weight counts copies."""
        t_n, t_p = self.negative_temperature, self.positive_temperature
        up, down = x / t_n, -x / t_p
        if importance is not None:
            log_copies = importance.log().clamp_min(MASKED)
            up, down = up + log_copies, down + log_copies
        return softplus(t_n * _log_sum(up, negative, dim) + t_p * _log_sum(down, positive, dim))
