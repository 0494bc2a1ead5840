"""Losses on logits that treat every cell of the label matrix by itself."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import softplus

from sklearn_mlcl.losses._arguments import check_number
from sklearn_mlcl.losses._pair_weights import MASKED
from sklearn_mlcl.losses._targets import (
    cell_weight,
    mean_over_known,
    read_targets,
    row_weight,
    weighted_mean,
)


class _ElementwiseLoss(nn.Module):
    """Mean over the observed cells, weighted by ``sample_weight``."""

    pos_weight: Tensor | None
    #: Labels between 0 and 1 are targets as good as any.
    takes_mixed_labels = True
    is_mean_over_rows = True

    def __init__(self, pos_weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("pos_weight", pos_weight)

    @abstractmethod
    def _cells(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss of every cell, before the weight of the positives."""

    def forward(
        self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Mean loss of the observed cells.

        Parameters
        ----------
        logits : Tensor of shape (B, L)
            float16 and bfloat16 are computed in float32.
        labels : Tensor of shape (B, L)
            Indicator matrix.  In a floating one NaN marks an unknown cell, which counts neither
            in the sum nor in the mean, and what lies between 0 and 1 mixes the losses of both;
            boolean and integer ones are taken as fully known.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            A weight of 2 counts as two copies of the row, or of the cell.

        Returns
        -------
        Tensor
            A scalar; 0 when nothing is observed.

        Raises
        ------
        ValueError
            If the shapes of ``labels`` or ``sample_weight`` do not match ``logits``.
        """
        x, y, known = read_targets(logits, labels, sample_weight)
        cells = self._cells(x, y)
        if self.pos_weight is not None:
            positive = self._cells(x, torch.ones_like(y))
            cells = cells + y * (self.pos_weight.to(cells) - 1.0) * positive
        return weighted_mean(cells, cell_weight(known, sample_weight, cells))


class BinaryCrossEntropyLoss(_ElementwiseLoss):
    r"""Binary cross-entropy, :math:`-y \log p - (1 - y) \log(1 - p)` with p the sigmoid.

    Parameters
    ----------
    pos_weight : Tensor of shape (L,), optional
        Factor on the loss of the positives of each label.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import BinaryCrossEntropyLoss
    >>> logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]])
    >>> round(BinaryCrossEntropyLoss()(logits, labels).item(), 4)
    0.2201
    """

    def _cells(self, x: Tensor, y: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(x, y, reduction="none")


class FocalLoss(_ElementwiseLoss):
    r"""Cross-entropy of a cell times :math:`(1 - p_t)^\gamma`, p_t the probability of its label.

    Parameters
    ----------
    gamma : float, default=2.0
        0 is binary cross-entropy.
    pos_weight : Tensor of shape (L,), optional
        Factor on the loss of the positives of each label.

    Raises
    ------
    ValueError
        If ``gamma`` is negative.

    References
    ----------
    Lin et al., "Focal loss for dense object detection", ICCV 2017, equation 4.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import FocalLoss
    >>> logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]])
    >>> round(FocalLoss()(logits, labels).item(), 4)
    0.0122
    """

    def __init__(self, gamma: float = 2.0, *, pos_weight: Tensor | None = None) -> None:
        super().__init__(pos_weight)
        check_number("gamma", gamma, zero=True)
        self.gamma = gamma

    def _cells(self, x: Tensor, y: Tensor) -> Tensor:
        # With u = x on positives and -x on negatives: p_t = sigmoid(u), 1 - p_t = sigmoid(-u).
        log_p, log_q = functional.logsigmoid(x), functional.logsigmoid(-x)
        positive = -log_p * torch.exp(self.gamma * log_q)
        negative = -log_q * torch.exp(self.gamma * log_p)
        return torch.lerp(negative, positive, y)


class AsymmetricLoss(_ElementwiseLoss):
    r"""Focusing of its own for negatives, and a shift that drops the easy ones.

    .. math:: -y (1 - p)^{\gamma_+} \log p - (1 - y) p_m^{\gamma_-} \log(1 - p_m), \qquad
       p_m = \max(p - m, 0)

    The published loss is the sum over cells; this is their mean, so its value is smaller by the
    number of cells and the learning rate means the same at every batch size.  Gradients flow
    through the focusing factors.

    Parameters
    ----------
    gamma_neg : float, default=4.0
        Focusing of negatives.
    gamma_pos : float, default=1.0
        Focusing of positives.
    clip : float, default=0.05
        The shift m, in [0, 1).
    pos_weight : Tensor of shape (L,), optional
        Factor on the loss of the positives of each label.

    Raises
    ------
    ValueError
        If a gamma is negative or ``clip`` is not in [0, 1).

    References
    ----------
    Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021, equation 7.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import AsymmetricLoss
    >>> logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]])
    >>> round(AsymmetricLoss()(logits, labels).item(), 4)
    0.0078
    """

    def __init__(
        self,
        gamma_neg: float = 4.0,
        gamma_pos: float = 1.0,
        clip: float = 0.05,
        *,
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(pos_weight)
        check_number("gamma_neg", gamma_neg, zero=True)
        check_number("gamma_pos", gamma_pos, zero=True)
        check_number("clip", clip, zero=True)
        if clip >= 1:
            raise ValueError(f"clip must be below 1, got {clip!r}")
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.clip = clip

    def _cells(self, x: Tensor, y: Tensor) -> Tensor:
        log_p, log_q = functional.logsigmoid(x), functional.logsigmoid(-x)
        positive = -log_p * torch.exp(self.gamma_pos * log_q)
        if self.clip == 0:
            negative = -log_q * torch.exp(self.gamma_neg * log_p)
        else:
            # p_m = max(p - m, 0); the floor keeps the slope of p_m^gamma finite at p_m = 0.
            p_m = (log_p.exp() - self.clip).clamp_min(torch.finfo(x.dtype).eps)
            negative = -torch.log1p(-p_m) * p_m.pow(self.gamma_neg)
        return torch.lerp(negative, positive, y)


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
