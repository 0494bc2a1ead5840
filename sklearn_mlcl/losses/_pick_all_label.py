"""The pick-all-label loss: softmax cross-entropy summed over the positive labels of a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_mlcl.losses._targets import check_weight, mean_over_known, weighs_cells

NORMS = {"sum": 0.0, "mean": 1.0}
EMPTY_ROWS = ("ignore", "none_class", "uniform", "error")


class PickAllLabelLoss(nn.Module):
    r"""Pick-all-label loss, with a choice of normalisation by the number of labels.

    For logits z and a row with the m positive labels S,

    .. math:: L(z, S) = m^{-\gamma} \sum_{k\in S} \left( \log\sum_j e^{z_j} - z_k \right),

    averaged over the rows that have a positive, by their weights. The gradient in the logits is
    :math:`m^{-\gamma} (m\, \mathrm{softmax}(z) - y)` and the smallest value of a row is
    :math:`m^{1-\gamma} \log m`; `excess` is the loss above it. The softmax is no marginal: under
    gamma = 0 it estimates :math:`\eta_k / \sum_j \eta_j` with :math:`\eta_k = P(y_k = 1|x)`,
    under gamma = 1 :math:`E[y_k / m | x]`.

    Parameters
    ----------
    pal_norm : {"mean", "sum"} or float in [0, 1], default="mean"
        Exponent gamma: "mean" is 1, "sum" (the published loss) is 0.
    empty_rows : {"ignore", "none_class", "uniform", "error"}, default="ignore"
        Rows whose labels are all observed and all 0. "ignore": no part in the loss.
        "none_class": the positive of one more logit; the logits then have K + 1 columns for K
        labels, the last for "no label". "uniform": target 1/K for every label. "error": raise
        (reads one flag back from the device).
    label_smoothing : float in [0, 1), default=0.0
        e in the target (1 - e) y + e m/K, which keeps the mass m of the row.

    Raises
    ------
    ValueError
        In the constructor if an argument is outside its range; in `forward` if shapes disagree,
        there is a single class (the loss would be the constant 0), or ``empty_rows="error"`` and
        the batch has an empty row.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.
    .. [2] Menon, Rawat, Reddi, Kumar, "Multilabel reductions: what is my loss optimising?",
       NeurIPS 2019 (the normalised form).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.losses._pick_all_label import PickAllLabelLoss
    >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    >>> labels = torch.tensor([[1, 0, 0], [0, 1, 1]])
    >>> print(f"{PickAllLabelLoss('sum')(logits, labels).item():.4f}")
    0.9818
    """

    is_mean_over_rows = True

    def __init__(
        self,
        pal_norm: str | float = "mean",
        empty_rows: str = "ignore",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        gamma = NORMS.get(pal_norm, -1.0) if isinstance(pal_norm, str) else float(pal_norm)
        if not 0 <= gamma <= 1:
            raise ValueError(
                f'pal_norm must be "mean", "sum" or a float in [0, 1], got {pal_norm!r}.'
            )
        if empty_rows not in EMPTY_ROWS:
            raise ValueError(f"empty_rows must be one of {EMPTY_ROWS}, got {empty_rows!r}.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}.")
        self.pal_norm = pal_norm
        self.empty_rows = empty_rows
        self.label_smoothing = label_smoothing
        self.gamma = gamma

    def forward(
        self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Weighted mean loss of the rows with a positive; 0 with a live graph if there is none.

        Parameters
        ----------
        logits : Tensor of shape (B, K), or (B, K + 1) with ``empty_rows="none_class"``
            Half precisions are computed in float32.
        labels : Tensor of shape (B, K)
            0, 1 or NaN. A missing label is neither positive nor part of the softmax of its row.
        sample_weight : Tensor of shape (B,) or (B, K), optional
            Non-negative weights of rows, or of the labels of rows: the term of label k in row i
            counts w_ik times, the mean is over rows weighted by the mean of w over their labels,
            and a label of weight 0 counts as missing.

        Returns
        -------
        Tensor, scalar
        """
        target, missing, weight = self._target(logits, labels, sample_weight)
        return self._mean(self._cross_entropy(logits, target, missing), target, weight)

    def excess(self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss above the smallest value these labels allow: 0 is a perfect fit.

        Parameters
        ----------
        logits : Tensor of shape (B, K), or (B, K + 1) with ``empty_rows="none_class"``
            As in `forward`.
        labels : Tensor of shape (B, K)
            As in `forward`.
        sample_weight : Tensor of shape (B,) or (B, K), optional
            As in `forward`.

        Returns
        -------
        Tensor, scalar
            Weighted mean over the rows with a positive.
        """
        target, missing, weight = self._target(logits, labels, sample_weight)
        m = target.sum(dim=1, keepdim=True)
        smallest = (torch.xlogy(target, m) - torch.xlogy(target, target)).sum(dim=1)
        rows = self._cross_entropy(logits, target, missing) - smallest
        return self._mean(rows, target, weight)

    def extra_repr(self) -> str:
        return (
            f"pal_norm={self.pal_norm!r}, empty_rows={self.empty_rows!r}, "
            f"label_smoothing={self.label_smoothing}"
        )

    def _target(
        self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Target mass (B, C) per class, the mask of the missing ones, and the weight of rows."""
        self._check(logits, labels)
        check_weight(sample_weight, *labels.shape)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        labels = labels.to(dtype)
        missing = labels.isnan()
        if weighs_cells(sample_weight):
            missing = missing | (sample_weight == 0)
        y = labels.masked_fill(missing, 0.0)
        # A row with a missing label and no positive is not known to be empty.
        empty = (y.sum(dim=1, keepdim=True) == 0) & ~missing.any(dim=1, keepdim=True)
        if self.empty_rows == "error" and bool(empty.any()):
            raise ValueError(f"labels has {int(empty.sum())} rows without a positive label.")
        if self.empty_rows == "none_class":
            y = torch.cat([y, empty.to(dtype)], dim=1)
            if sample_weight is not None and sample_weight.ndim == 2:
                of_row = mean_over_known(sample_weight, ~missing)
                sample_weight = torch.cat([sample_weight, of_row[:, None]], dim=1)
            missing = torch.cat([missing, torch.zeros_like(empty)], dim=1)
        elif self.empty_rows == "uniform":
            y = y + empty.to(dtype) / y.shape[1]
        target, weight = self._weighted(self._smoothed(y, missing), sample_weight)
        return target, missing, weight

    @staticmethod
    def _weighted(target: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Move the weights of a row's labels into its target, which keeps its mass m."""
        if sample_weight is None or not weighs_cells(sample_weight):
            return target, sample_weight
        weighted = target * sample_weight.to(target.dtype)
        m = target.sum(dim=1)
        row = weighted.sum(dim=1) / torch.where(m > 0, m, 1.0)
        return weighted / torch.where(row > 0, row, 1.0)[:, None], row

    def _smoothed(self, y: Tensor, missing: Tensor) -> Tensor:
        if self.label_smoothing == 0:
            return y
        observed = (~missing).to(y.dtype)
        share = observed / observed.sum(dim=1, keepdim=True).clamp(min=1)
        e = self.label_smoothing
        return (1 - e) * y + e * y.sum(dim=1, keepdim=True) * share

    def _check(self, logits: Tensor, labels: Tensor) -> None:
        n_extra = int(self.empty_rows == "none_class")
        if labels.ndim != 2 or logits.shape != (labels.shape[0], labels.shape[1] + n_extra):
            raise ValueError(
                f"logits must be (B, K{' + 1' if n_extra else ''}) for labels (B, K), got "
                f"{tuple(logits.shape)} and {tuple(labels.shape)}."
            )
        if logits.shape[1] < 2:
            raise ValueError(
                "the pick-all-label loss of one class is the constant 0; use a binary "
                "cross-entropy."
            )

    @staticmethod
    def _cross_entropy(logits: Tensor, target: Tensor, missing: Tensor) -> Tensor:
        """Sum of target * -log softmax over the classes, shape (B,)."""
        # A row with every label missing keeps its logits: a softmax of nothing has NaN gradients.
        masked = missing & ~missing.all(dim=1, keepdim=True)
        log_p = logits.to(target.dtype).masked_fill(masked, -torch.inf).log_softmax(dim=1)
        # where, not a product: 0 * -inf is NaN.
        return -torch.where(target > 0, target * log_p, 0.0).sum(dim=1)

    def _mean(self, rows: Tensor, target: Tensor, sample_weight: Tensor | None) -> Tensor:
        m = target.sum(dim=1)
        kept = (m > 0).to(rows.dtype)
        weight = kept if sample_weight is None else kept * sample_weight.to(rows.dtype)
        total = weight.sum()
        scaled = m.clamp(min=1.0) ** -self.gamma * rows
        return (weight * scaled).sum() / torch.where(total > 0, total, 1.0)
