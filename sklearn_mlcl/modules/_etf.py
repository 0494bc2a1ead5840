"""A classifier layer whose rows are a fixed simplex ETF."""

from __future__ import annotations

from math import log
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_mlcl.utils.simplex import simplex_etf
from sklearn_mlcl.utils.state import Like, check_tensors


class ETFLinear(nn.Module):
    r"""Linear layer whose weight is a fixed simplex equiangular tight frame.

    Logits :math:`z = s\, E h + b` with E (K, d) the unit rows of `simplex_etf`: a buffer, saved
    with the state but never trained nor decayed. Needs d >= K-1, and features that can point
    anywhere: a bare ReLU before it keeps them from reaching the frame.

    Parameters
    ----------
    in_features : int
        Dimension d of the features, at least K-1.
    out_features : int
        Number of labels K, at least 2.
    bias : bool, default=True
        Whether the layer learns a bias per label.
    scale : float, default=1.0
        Norm s of the rows, or its first value with `learn_scale`.
    learn_scale : bool, default=False
        Learn log s. Useful with losses per label and no feature decay, from ``scale=10``; the
        pick-all-label loss with feature decay sets the feature norm itself.
    random_state : int, RandomState instance or None, default=None
        Seeds the frame; torch's generators are left alone.

    Attributes
    ----------
    etf : Tensor of shape (K, d)
        E, a buffer.
    log_scale : Tensor, scalar
        log s: a buffer, or a parameter with `learn_scale`.
    bias : Parameter of shape (K,) or None

    Raises
    ------
    ValueError
        As `simplex_etf` does.

    References
    ----------
    .. [1] Li, Li, Wang, Qu, "Neural Collapse in Multi-label Learning with Pick-all-label Loss",
       ICML 2024, arXiv 2310.15903.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules._etf import ETFLinear
    >>> layer = ETFLinear(9, 10, random_state=0)
    >>> layer(torch.zeros(2, 9)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 10]), 10)
    """

    etf: Tensor
    log_scale: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        scale: float = 1.0,
        learn_scale: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale!r}.")
        self.in_features, self.out_features = in_features, out_features
        frame = simplex_etf(out_features, in_features, random_state=random_state)
        self.register_buffer("etf", torch.empty(frame.shape).copy_(torch.from_numpy(frame)))
        log_scale = torch.empty(()).fill_(log(scale))
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together."""
        bias = None if self.bias is None else Like((self.out_features,))
        frame = Like((self.out_features, self.in_features))
        check_tensors(self, {"etf": frame, "bias": bias, "log_scale": Like(())})

    @property
    def weight(self) -> Tensor:
        """Rows s E of the classifier, shape (K, d)."""
        return self.log_scale.exp() * self.etf

    def forward(self, features: Tensor) -> Tensor:
        """Logits of the features.

        Parameters
        ----------
        features : Tensor of shape (..., d)

        Returns
        -------
        Tensor of shape (..., K)
        """
        return nn.functional.linear(features, self.weight, self.bias)
