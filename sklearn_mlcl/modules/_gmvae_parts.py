"""Parts of the network of C-GMVAE: layers without normalisation, Gaussian head, decoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.modules._dropout import Dropout
from sklearn_mlcl.modules._encoder import ACTIVATIONS

#: Logarithms of variances are cut to this interval: beyond it float32 loses the densities.
LOG_VAR_BOUNDS = (-10.0, 10.0)


def plain_encoder(
    n_features: int, hidden_layer_sizes: Sequence[int], activation: str, dropout: float
) -> nn.Sequential:
    """Layers of ``Linear -> activation -> Dropout``, without normalisation."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise([n_features, *hidden_layer_sizes]):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation](), Dropout(dropout)]
    return nn.Sequential(*layers)


class GaussianHead(nn.Linear):
    """Map vectors to the mean and the log-variance of a diagonal Gaussian.

    Parameters
    ----------
    n_in : int
        Width of the vectors.
    latent_dim : int
        Dimension D of the Gaussian.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules._gmvae_parts import GaussianHead
    >>> mean, log_var = GaussianHead(8, latent_dim=3)(torch.zeros(2, 8))
    >>> mean.shape, log_var.shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    def __init__(self, n_in: int, latent_dim: int) -> None:
        super().__init__(n_in, 2 * latent_dim)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return mean and log-variance, both of shape (n, D)."""
        mean, log_var = super().forward(hidden).chunk(2, dim=-1)
        return mean, log_var.clamp(*LOG_VAR_BOUNDS)


class Decoder(nn.Module):
    r"""Map latent codes, and the features beside them, to embeddings of unit norm.

    .. math:: g(x, z) = u / \|u\|, \quad
       u = \mathrm{LeakyReLU}\big( C_2 \, a(C_x x + C_z z + c_1) + c_2 \big)

    Parameters
    ----------
    n_features : int
        Width of x; 0 leaves it out.
    latent_dim : int
        Width D of z.
    n_hidden : int
        Width of the hidden layer.
    embedding_dim : int
        Width E of the embedding.
    activation : {"silu", "relu", "gelu", "tanh"}, default="relu"
        The non-linearity a.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules._gmvae_parts import Decoder
    >>> decoder = Decoder(n_features=5, latent_dim=3, n_hidden=16, embedding_dim=8)
    >>> decoder(torch.ones(2, 5), torch.zeros(4, 2, 3)).shape
    torch.Size([4, 2, 8])
    """

    def __init__(
        self,
        n_features: int,
        latent_dim: int,
        n_hidden: int,
        embedding_dim: int,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.from_latent = nn.Linear(latent_dim, n_hidden)
        self.from_features = nn.Linear(n_features, n_hidden, bias=False) if n_features else None
        # One layer in two parts: as wide as both together, which sets the scale of its weights.
        bound = (n_features + latent_dim) ** -0.5
        for parameter in (*self.from_latent.parameters(), *self._feature_parameters()):
            nn.init.uniform_(parameter, -bound, bound)
        self.activation = ACTIVATIONS[activation]()
        self.output = nn.Linear(n_hidden, embedding_dim)

    def _feature_parameters(self) -> list[nn.Parameter]:
        return [] if self.from_features is None else list(self.from_features.parameters())

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return embeddings of shape (..., B, E) for codes (..., B, D) of rows x (B, d)."""
        hidden = self.from_latent(z)
        if self.from_features is not None:
            # x is mapped once, however many codes of a row are decoded.
            hidden = hidden + self.from_features(x)
        u = functional.leaky_relu(self.output(self.activation(hidden)), 0.01)
        return functional.normalize(u, dim=-1)
