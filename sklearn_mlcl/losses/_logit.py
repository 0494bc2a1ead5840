"""Losses on logits: entry by entry, and ranks of positives against negatives."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.losses._inputs import (
    NON_NEGATIVE,
    POSITIVE,
    check_labels,
    check_parameters,
    check_sample_weight,
    check_shape,
    check_tensor,
    may_be_missing,
    missing_entries,
    weight_per_entry,
    weight_per_sample,
    weighted_mean,
)
from sklearn_mlcl.losses._pairs import MASKED
from sklearn_mlcl.utils.parameters import Interval, named_in_errors


@named_in_errors
@dataclass(eq=False, repr=False)
class _LogitLoss(nn.Module):
    """Base of the losses on logits: it reads what comes in."""

    #: Whether labels between 0 and 1 are valid targets.
    takes_mixed_labels: ClassVar[bool] = False
    #: Whether the value is a mean over samples, so that ensemble members can share one call.
    is_mean_over_rows: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "gamma": NON_NEGATIVE,
        "gamma_neg": NON_NEGATIVE,
        "gamma_pos": NON_NEGATIVE,
        "clip": [Interval(Real, 0, 1, closed="left")],
        "positive_temperature": POSITIVE,
        "negative_temperature": POSITIVE,
    }

    def __post_init__(self) -> None:
        super().__init__()
        check_parameters(self, vars(self))

    @abstractmethod
    def _value(self, x: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Scalar loss of logits x in at least float32."""

    def forward(
        self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Mean loss.

        Parameters
        ----------
        logits : Tensor of shape (B, L)
            float16 and bfloat16 are computed in float32.
        labels : Tensor of shape (B, L)
            Indicator matrix.  In a floating one NaN marks a missing entry, which counts neither in
            the sum nor in the mean.  Losses on entries take labels between 0 and 1 as mixtures of
            both.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            A weight of 2 counts as two copies of the sample, or of the entry.  An entry with a
            weight of 0 counts as missing.

        Returns
        -------
        Tensor
            A scalar; 0 if every entry is missing.

        Raises
        ------
        ValueError
            If the shapes of ``labels`` or ``sample_weight`` do not match ``logits``, or these have
            values that they cannot have.
        """
        check_tensor(logits, "logits")
        check_tensor(labels, "labels")
        if logits.ndim != 2 or not logits.is_floating_point():
            raise ValueError(
                f"logits must be a floating tensor of shape (B, L), got {logits.dtype} of shape "
                f"{tuple(logits.shape)}"
            )
        check_shape("labels", labels.shape, tuple(logits.shape))
        check_labels(labels, mixed=self.takes_mixed_labels)
        check_sample_weight(sample_weight, tuple(labels.shape))
        x = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return self._value(x, labels, sample_weight)


def _total(weight: Tensor | int, labels: Tensor) -> Tensor:
    """A sum of weights on the device of the labels."""
    if isinstance(weight, Tensor):
        return weight.sum()
    return torch.tensor(weight, dtype=torch.float64, device=labels.device)


# ---------------------------------------------------------------------------------- entry by entry


@named_in_errors
class _EntryLoss(_LogitLoss):
    """Weighted mean over the entries that are not missing."""

    takes_mixed_labels: ClassVar[bool] = True

    @abstractmethod
    def _entries(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss of every entry."""

    def total_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """What the mean is divided by: the weights of all entries that are not missing.

        Parameters
        ----------
        labels, sample_weight
            As in ``forward``.

        Returns
        -------
        Tensor
            A scalar, in float64.
        """
        weight = _entry_weight(labels, sample_weight, torch.float64)
        return _total(labels.numel() if weight is None else weight, labels)

    def _value(self, x: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        y = labels.to(x)
        if may_be_missing(labels):
            y = y.nan_to_num(nan=0.0)
        return weighted_mean(self._entries(x, y), _entry_weight(labels, sample_weight, x.dtype))


def _entry_weight(
    labels: Tensor, sample_weight: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """Return weights of entries (n, L), 0 where missing; None if all weigh 1."""
    if sample_weight is None and not may_be_missing(labels):
        return None
    return weight_per_entry(labels, sample_weight, dtype)


class BinaryCrossEntropyLoss(_EntryLoss):
    r"""Binary cross-entropy, :math:`-y \log p - (1 - y) \log(1 - p)` with p the sigmoid.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import BinaryCrossEntropyLoss
    >>> logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]])
    >>> round(BinaryCrossEntropyLoss()(logits, labels).item(), 4)
    0.2201
    """

    def _entries(self, x: Tensor, y: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(x, y, reduction="none")


@dataclass(eq=False, repr=False)
class FocalLoss(_EntryLoss):
    r"""Cross-entropy of an entry times :math:`(1 - p_t)^\gamma`, p_t the probability of its label.

    Parameters
    ----------
    gamma : float, default=2.0
        Focusing; 0 is binary cross-entropy.

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

    gamma: float = 2.0

    def _entries(self, x: Tensor, y: Tensor) -> Tensor:
        return _focused(x, y, self.gamma, self.gamma, 0.0)


@dataclass(eq=False, repr=False)
class AsymmetricLoss(_EntryLoss):
    r"""Cross-entropy with separate focusing for negatives, and a shift that drops the easy ones.

    .. math:: -y (1 - p)^{\gamma_+} \log p - (1 - y) p_m^{\gamma_-} \log(1 - p_m), \qquad
       p_m = \max(p - m, 0)

    The published loss is the sum over entries; this is their mean.  The value is smaller by the
    number of entries, and a learning rate means the same at every batch size.  Gradients flow
    through the focusing factors.

    Parameters
    ----------
    gamma_neg : float, default=4.0
        Focusing of negatives.
    gamma_pos : float, default=1.0
        Focusing of positives.
    clip : float, default=0.05
        The shift m, in [0, 1).

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

    gamma_neg: float = 4.0
    gamma_pos: float = 1.0
    clip: float = 0.05

    def _entries(self, x: Tensor, y: Tensor) -> Tensor:
        return _focused(x, y, self.gamma_neg, self.gamma_pos, self.clip)


def _focused(x: Tensor, y: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    """Asymmetric loss of every entry; with equal gammas and no shift the focal loss."""
    log_p, log_q = functional.logsigmoid(x), functional.logsigmoid(-x)
    positive = -log_p * torch.exp(gamma_pos * log_q)
    if clip == 0:
        negative = -log_q * torch.exp(gamma_neg * log_p)
    else:
        # p_m = max(p - m, 0); the floor keeps the slope of p_m^gamma finite at p_m = 0.
        p_m = (log_p.exp() - clip).clamp_min(torch.finfo(x.dtype).eps)
        negative = -torch.log1p(-p_m) * p_m.pow(gamma_neg)
    return torch.lerp(negative, positive, y)


# --------------------------------------------------------------------- positives against negatives


def _split(labels: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Masks of the positives and of the negatives; a missing entry is neither."""
    positive, missing = labels > 0, missing_entries(labels, sample_weight)
    if missing is None:
        return positive, ~positive
    return positive & ~missing, ~(positive | missing)


def _log_sum(x: Tensor, chosen: Tensor, dim: int) -> Tensor:
    """log sum exp over the chosen entries; an empty set gives a huge negative, not -inf."""
    return torch.where(chosen, x, MASKED).logsumexp(dim)


class ZLPRLoss(_LogitLoss):
    r"""Zero-bounded log-sum-exp of pairwise ranks, with threshold logit 0.

    .. math:: \log \Big(1 + \sum_{l \notin y} e^{x_l}\Big)
       + \log \Big(1 + \sum_{l \in y} e^{-x_l}\Big)

    averaged over the samples with a label that is not missing. It is finite for samples without a
    positive or without a negative. The loss of a sample is no sum over labels. With weights of
    entries, a sample therefore weighs their mean over its entries that are not missing.

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

    def total_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """What the mean is divided by: the weights of the samples with a label.

        Parameters
        ----------
        labels, sample_weight
            As in ``forward``.

        Returns
        -------
        Tensor
            A scalar, in float64.
        """
        weight = weight_per_sample(labels, sample_weight, torch.float64)
        return _total(len(labels) if weight is None else weight, labels)

    def _value(self, x: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        positive, negative = _split(labels, sample_weight)
        # log(1 + sum exp x) = softplus(log sum exp x)
        above = functional.softplus(_log_sum(x, negative, 1))
        below = functional.softplus(_log_sum(-x, positive, 1))
        return weighted_mean(above + below, weight_per_sample(labels, sample_weight, x.dtype))


@dataclass(eq=False, repr=False)
class TwoWayLoss(_LogitLoss):
    r"""Positives against negatives, within each sample and within each label.

    .. math:: \mathrm{softplus} \Big( T_n \log \sum_{neg} e^{x / T_n}
       + T_p \log \sum_{pos} e^{-x / T_p} \Big)

    The loss is the sum of two means. One is over samples with a positive, with sums over the labels
    of a sample. The other is over labels with a positive, with sums over the samples of a label.
    Weights of entries count as copies in the sums over the samples of a label. A sample weighs
    their mean over its entries that are not missing.

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

    is_mean_over_rows: ClassVar[bool] = False
    positive_temperature: float = 4.0
    negative_temperature: float = 1.0

    def _value(self, x: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        positive, negative = _split(labels, sample_weight)
        up, down = x / self.negative_temperature, -x / self.positive_temperature
        sample, label = positive.any(1).to(x), positive.any(0).to(x)
        within_samples = self._contrast(up, down, positive, negative, 1)
        weight = weight_per_sample(labels, sample_weight, x.dtype)
        if sample_weight is not None and weight is not None:
            copies = (
                sample_weight.to(x) if sample_weight.ndim == 2 else sample_weight.to(x)[:, None]
            )
            log_copies = copies.log().clamp_min(MASKED)
            up, down = up + log_copies, down + log_copies
            sample, label = sample * weight, (positive & (copies > 0)).any(0).to(x)
        within_labels = self._contrast(up, down, positive, negative, 0)
        return weighted_mean(within_samples, sample) + weighted_mean(within_labels, label)

    def _contrast(
        self, up: Tensor, down: Tensor, positive: Tensor, negative: Tensor, dim: int
    ) -> Tensor:
        """softplus(T_n lse_neg(x / T_n) + T_p lse_pos(-x / T_p)) from up and down, x / T."""
        return functional.softplus(
            self.negative_temperature * _log_sum(up, negative, dim)
            + self.positive_temperature * _log_sum(down, positive, dim)
        )
