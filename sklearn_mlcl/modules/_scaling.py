"""Standardisation as the first layer, so that an encoder sees features of one size."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InputScaler(nn.Module):
    """Subtract a fixed mean and multiply by a fixed factor, feature by feature.

    Parameters
    ----------
    shift : Tensor of shape (n_features,)
        What is subtracted; zeros for sparse input, which stays uncentred.
    factor : Tensor of shape (n_features,)
        What the difference is multiplied by.
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, shift: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("factor", factor)

    def forward(self, X: Tensor) -> Tensor:
        """Return the scaled rows, of the shape of ``X``."""
        # Difference first: shift * factor would cancel badly for a mean far from zero.
        return (X - self.shift) * self.factor


class ScaledEncoder(nn.Module):
    """An encoder behind an :class:`InputScaler`.

    Parameters
    ----------
    scaler : InputScaler
        The first layer.
    encoder : torch.nn.Module
        Takes (n, n_features), returns embeddings of shape (n, n_embedding).
    """

    def __init__(self, scaler: InputScaler, encoder: nn.Module) -> None:
        super().__init__()
        self.scaler = scaler
        self.encoder = encoder

    def forward(self, X: Tensor) -> Tensor:
        """Return the embeddings of the rows of ``X``."""
        return self.encoder(self.scaler(X))

    def n_outputs(self, n_features: int) -> int:
        """Return the width of the embedding, found by embedding two rows of zeros."""
        training = self.training
        self.eval()
        with torch.no_grad():
            embedding = self(torch.zeros(2, n_features))
        self.train(training)
        if not isinstance(embedding, Tensor) or embedding.shape[:-1] != (2,):
            shape = tuple(getattr(embedding, "shape", ()))
            raise ValueError(
                "module must map rows of shape (n, n_features) to embeddings of shape "
                f"(n, n_embedding); for 2 rows it returned {type(embedding).__name__} of shape "
                f"{shape}."
            )
        return embedding.shape[1]
