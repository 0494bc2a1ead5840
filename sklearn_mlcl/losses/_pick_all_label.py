"""The pick-all-label loss: softmax cross-entropy summed over the positive labels of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sklearn_mlcl.losses._inputs import (
    check_labels,
    check_parameters,
    check_sample_weight,
    check_tensor,
    mean_entry_weight,
    missing_entries,
)
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.parameters import Interval


@dataclass(eq=False, repr=False)
class PickAllLabelLoss(nn.Module):
    r"""Pick-all-label loss, with a choice of normalisation by the number of labels.

    For logits z and a sample with the m positive labels S,

    .. math:: \ell(z, S) = m^{-\gamma} \sum_{k\in S} \left( \log\sum_j e^{z_j} - z_k \right),

    averaged over the samples with a positive, by their weights.  The gradient in the logits is
    :math:`m^{-\gamma} (m\, \mathrm{softmax}(z) - y)`.  The smallest value for a sample is
    :math:`m^{1-\gamma} \log m`; `excess` is the loss above it.  The softmax is no marginal: with
    gamma = 0 it estimates :math:`\eta_k / \sum_j \eta_j` with :math:`\eta_k = P(y_k = 1|x)`,
    with gamma = 1 :math:`E[y_k / m | x]`.

    Parameters
    ----------
    pal_norm : {"mean", "sum"} or float in [0, 1], default="mean"
        Exponent gamma: "mean" is 1, "sum" (the published loss) is 0.
    empty_rows : {"ignore", "none_class", "uniform", "error"}, default="ignore"
        How to treat samples whose labels are all 0 and none missing. "ignore": the loss ignores
        them. "none_class": they are positives of one more class, and the logits have L + 1 columns,
        the last for "no label". "uniform": their target is 1/L for every label. "error": raise an
        error (this reads one flag back from the device).
    label_smoothing : float in [0, 1), default=0.0
        e in the target (1 - e) y + e m/L, which keeps the mass m of the sample.

    Raises
    ------
    ValueError
        In the constructor, if an argument is outside its range. In `forward`, if shapes disagree or
        there is a single class (the loss would be the constant 0). Also with ``empty_rows="error"``
        if the batch has an empty row.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.
    .. [2] Menon, Rawat, Reddi, Kumar, "Multilabel reductions: what is my loss optimising?",
       NeurIPS 2019 (the normalised form).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses import PickAllLabelLoss
    >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    >>> labels = torch.tensor([[1, 0, 0], [0, 1, 1]])
    >>> print(f"{PickAllLabelLoss('sum')(logits, labels).item():.4f}")
    0.9818
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "pal_norm": [StrOptions({"mean", "sum"}), Interval(Real, 0, 1, closed="both")],
        "empty_rows": [StrOptions({"ignore", "none_class", "uniform", "error"})],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    pal_norm: str | float = "mean"
    empty_rows: str = "ignore"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()
        check_parameters(self, vars(self))

    @property
    def gamma(self) -> float:
        """The exponent of ``pal_norm``."""
        names = {"sum": 0.0, "mean": 1.0}
        return names[self.pal_norm] if isinstance(self.pal_norm, str) else self.pal_norm

    def forward(
        self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Weighted mean loss of the samples with a positive; 0 with a live graph if there is none.

        Parameters
        ----------
        logits : Tensor of shape (B, L), or (B, L + 1) with ``empty_rows="none_class"``
            Half precisions are computed in float32.
        labels : Tensor of shape (B, L)
            0, 1 or NaN.  A missing label is neither positive nor part of the softmax of its sample.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            Non-negative weights of samples, or of entries. The term of label k in sample i counts
            w_ik times. In the mean, a sample is weighted by the mean of w over its labels. A label
            of weight 0 counts as missing.

        Returns
        -------
        Tensor, scalar
        """
        self._check(logits, labels, sample_weight)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        target, missing, weight = self._target(labels, sample_weight, dtype)
        m = target.sum(1)
        if weight is not None:
            target = target * weight
        # If every label is missing the logits stay: a softmax of nothing has NaN gradients.
        masked = missing & ~missing.all(1, keepdim=True)
        log_p = logits.to(dtype).masked_fill(masked, -torch.inf).log_softmax(1)
        # where, not a product: 0 * -inf is NaN.
        losses = -torch.where(target > 0, target * log_p, 0.0).sum(1)
        total = _mean_over_labels(target, m).sum()
        m = m.clamp_min(1.0)  # 0 or at least 1
        return (losses * m**-self.gamma).sum() / torch.where(total > 0, total, 1.0)

    def total_weight(self, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """What the mean is divided by: the weights of the samples with a positive.

        Parameters
        ----------
        labels, sample_weight
            As in ``forward``.

        Returns
        -------
        Tensor
            A scalar, in float64.
        """
        target, _, weight = self._target(labels, sample_weight, torch.float64)
        weighted = target if weight is None else target * weight
        return _mean_over_labels(weighted, target.sum(1)).sum()

    def excess(self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss above the smallest value these labels allow: 0 is a perfect fit.

        Parameters
        ----------
        logits : Tensor of shape (B, L), or (B, L + 1) with ``empty_rows="none_class"``
            As in `forward`.
        labels : Tensor of shape (B, L)
            As in `forward`.
        sample_weight : Tensor of shape (B,) or (B, L), optional
            As in `forward`.

        Returns
        -------
        Tensor, scalar
            Weighted mean over the samples with a positive.
        """
        value = self(logits, labels, sample_weight)
        target, _, weight = self._target(labels, sample_weight, value.dtype)
        best = target if weight is None else target * weight
        return value - self(best.log(), labels, sample_weight)

    def _check(self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None) -> None:
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
            raise TypeError(f"logits must be a floating tensor, got {kind}")
        check_tensor(labels, "labels")
        n_extra = int(self.empty_rows == "none_class")
        if labels.ndim != 2 or logits.shape != (labels.shape[0], labels.shape[1] + n_extra):
            raise ValueError(
                f"logits must be (B, L{' + 1' if n_extra else ''}) for labels (B, L), got "
                f"{tuple(logits.shape)} and {tuple(labels.shape)}."
            )
        if logits.shape[1] < 2:
            raise ValueError(
                "the pick-all-label loss of one class is the constant 0; use a binary "
                "cross-entropy."
            )
        check_labels(labels)
        check_sample_weight(sample_weight, tuple(labels.shape))

    def _target(
        self, labels: Tensor, sample_weight: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Target of each class, mask of the missing ones, weight; each (B, C) or to broadcast."""
        y = labels.to(dtype)
        missing = missing_entries(y, sample_weight)
        assert missing is not None
        y = y.masked_fill(missing, 0.0)
        weight = None if sample_weight is None else sample_weight.to(dtype)
        if weight is not None and weight.ndim == 1:
            weight = weight[:, None]
        # A sample without a positive may have one among its missing labels: it is not empty.
        empty = (y.sum(1, keepdim=True) == 0) & ~missing.any(1, keepdim=True)
        if self.empty_rows == "error" and bool(empty.any()):
            raise ValueError(f"labels has {int(empty.sum())} rows without a positive label.")
        if self.empty_rows == "none_class":
            y = torch.cat([y, empty.to(dtype)], dim=1)
            if weight is not None and weight.shape[1] > 1:
                of_sample = mean_entry_weight(weight, missing)[:, None]
                weight = torch.cat([weight, of_sample], dim=1)
            missing = torch.cat([missing, torch.zeros_like(empty)], dim=1)
        elif self.empty_rows == "uniform":
            y = y + empty.to(dtype) / y.shape[1]
        if self.label_smoothing > 0:
            share = (~missing).to(y) / (~missing).sum(1, keepdim=True).clamp_min(1)
            y = torch.lerp(y, y.sum(1, keepdim=True) * share, self.label_smoothing)
        return y, missing, weight


def _mean_over_labels(weights: Tensor, n_labels: Tensor) -> Tensor:
    """Mean weight (n,) over the labels of each sample; 0 for one without."""
    return weights.sum(1) / n_labels.clamp_min(1.0)
