"""What a net minimises: losses with the parameters that only training needs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_mlcl.losses import BinaryCrossEntropyLoss


class LinearHead(nn.Linear):
    """One logit per label, with biases that start at the log-odds of the labels.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding.
    log_odds : ndarray of shape (L,)
        Log-odds of each label in the training rows.
    """

    def __init__(self, n_embedding: int, log_odds: np.ndarray) -> None:
        super().__init__(n_embedding, len(log_odds))
        with torch.no_grad():
            self.bias.copy_(torch.as_tensor(log_odds))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients (L, h) and intercepts (L,) in float64."""
        weight, bias = self.weight.detach().cpu(), self.bias.detach().cpu()
        return weight.double().numpy(), bias.double().numpy()


class LogitObjective(nn.Module):
    """A loss on the logits of a linear head, trained with the encoder.

    Parameters
    ----------
    head : LinearHead
        Maps embeddings to logits.
    loss : torch.nn.Module
        ``loss(logits, labels, sample_weight)``.
    """

    def __init__(self, head: LinearHead, loss: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.loss = loss

    def forward(self, embedding: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the scalar loss of a batch."""
        return self.loss(self.head(embedding), labels, sample_weight)


class ContrastiveObjective(nn.Module):
    r"""A contrastive loss on projections, plus cross-entropy on a linear head.

    .. math:: \mathcal{L} = \mathcal{L}_{con}(g(h), Y, P) + \lambda_{bce} \mathcal{L}_{bce}(Wh + b, Y)

    Parameters
    ----------
    loss : torch.nn.Module
        ``loss(projections, labels, prototypes=, sample_weight=)``.
    projection : torch.nn.Module
        The projection head g, maps embeddings h to projections.
    prototypes : Tensor of shape (L, p) or None
        Start of the trainable prototypes P.
    head : LinearHead
        Trained only if ``lambda_bce > 0``.
    lambda_bce : float
        Weight of the cross-entropy term.
    """

    def __init__(
        self,
        loss: nn.Module,
        projection: nn.Module,
        prototypes: Tensor | None,
        head: LinearHead,
        lambda_bce: float,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.projection = projection
        self.prototypes = None if prototypes is None else nn.Parameter(prototypes)
        self.lambda_bce = lambda_bce
        if lambda_bce > 0:
            self.head = head
            self.cross_entropy = BinaryCrossEntropyLoss()

    def forward(self, embedding: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        """Return the scalar loss of a batch."""
        value = self.loss(
            self.projection(embedding),
            labels,
            prototypes=self.prototypes,
            sample_weight=sample_weight,
        )
        if self.lambda_bce > 0:
            logits = self.head(embedding)
            value = value + self.lambda_bce * self.cross_entropy(logits, labels, sample_weight)
        return value
