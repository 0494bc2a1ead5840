"""The network of C-GMVAE: feature encoder, label encoder, decoder, label embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.modules._encoder import ACTIVATIONS, Dropout

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
    >>> from sklearn_mlcl.modules.gmvae import GaussianHead
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
    >>> from sklearn_mlcl.modules.gmvae import Decoder
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
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        self.activation = ACTIVATIONS[activation]()
        self.output = nn.Linear(n_hidden, embedding_dim)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return embeddings of shape (..., B, E) for codes (..., B, D) of rows x (B, d)."""
        hidden = self.from_latent(z)
        if self.from_features is not None:
            # x is mapped once, however many codes of a row are decoded.
            hidden = hidden + self.from_features(x)
        u = functional.leaky_relu(self.output(self.activation(hidden)), 0.01)
        return functional.normalize(u, dim=-1)


EMPTY_LABEL_POLICIES = ("skip", "standard_normal", "learned")


class GaussianMixtureVAE(nn.Module):
    r"""Features and labels as Gaussians in one latent space, decoded to one embedding space.

    Rows have the posterior :math:`q(z|x) = \mathcal N(\mu_x, \sigma_x^2)` of a feature encoder,
    labels the Gaussians :math:`\mathcal N(\mu_l, \sigma_l^2)` that a label encoder makes of their
    trained embeddings :math:`w_l`. The logit of a label is
    :math:`w_l \cdot g(x, z) + b_l`, with :math:`z = \mu_x` in :meth:`forward`.

    Parameters
    ----------
    scaler : torch.nn.Module
        Applied to the rows first.
    encoder : torch.nn.Module
        Takes scaled rows (n, d) to vectors (n, n_hidden).
    n_features : int
        Width d of the rows.
    n_hidden : int
        Width of what ``encoder`` returns.
    n_labels : int
        Number L of labels.
    latent_dim : int, default=64
        Dimension D of the latent space.
    embedding_dim : int, default=512
        Dimension E of the label and feature embeddings.
    label_hidden_layer_sizes : sequence of int, default=(512, 256)
        Widths of the label encoder.
    decoder_hidden : int, default=512
        Width of the decoder.
    activation : {"silu", "relu", "gelu", "tanh"}, default="relu"
        Non-linearity of label encoder and decoder.
    dropout : float, default=0.0
        Share of units zeroed in the label encoder while training.
    concat_input : bool, default=True
        Let the decoder see x beside z.
    label_bias : Tensor of shape (L,) or None, default=None
        Where the bias of each logit starts; None has no biases.
    empty_label_policy : {"skip", "standard_normal", "learned"}, default="skip"
        Prior of rows without a label: none, :math:`\mathcal N(0, I)`, or a Gaussian of their own.

    References
    ----------
    .. [1] J. Bai, S. Kong, C. P. Gomes, "Gaussian Mixture Variational Autoencoder with
       Contrastive Learning for Multi-Label Classification", ICML 2022.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import GaussianMixtureVAE, MLPEncoder
    >>> encoder = MLPEncoder(5, hidden_layer_sizes=(16,))
    >>> model = GaussianMixtureVAE(torch.nn.Identity(), encoder, 5, 16, n_labels=4)
    >>> embedding = model(torch.zeros(2, 5))
    >>> embedding.shape, model.logits(embedding).shape
    (torch.Size([2, 512]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        scaler: nn.Module,
        encoder: nn.Module,
        n_features: int,
        n_hidden: int,
        n_labels: int,
        *,
        latent_dim: int = 64,
        embedding_dim: int = 512,
        label_hidden_layer_sizes: Sequence[int] = (512, 256),
        decoder_hidden: int = 512,
        activation: str = "relu",
        dropout: float = 0.0,
        concat_input: bool = True,
        label_bias: Tensor | None = None,
        empty_label_policy: str = "skip",
    ) -> None:
        super().__init__()
        self.n_features, self.n_hidden, self.n_labels = n_features, n_hidden, n_labels
        self.latent_dim, self.embedding_dim = latent_dim, embedding_dim
        self.label_hidden_layer_sizes = tuple(label_hidden_layer_sizes)
        self.decoder_hidden, self.activation, self.dropout = decoder_hidden, activation, dropout
        self.concat_input, self.empty_label_policy = concat_input, empty_label_policy
        self.scaler = scaler
        self.encoder = encoder
        self.to_posterior = GaussianHead(n_hidden, latent_dim)
        self.decoder = Decoder(
            n_features if concat_input else 0, latent_dim, decoder_hidden, embedding_dim, activation
        )
        self.label_embeddings = nn.Parameter(torch.empty(n_labels, embedding_dim))
        self.label_offset = nn.Parameter(torch.empty(embedding_dim))
        for parameter in (self.label_embeddings, self.label_offset):
            nn.init.uniform_(parameter, -(n_labels**-0.5), n_labels**-0.5)
        self.label_encoder = nn.Sequential(
            ACTIVATIONS[activation](),
            Dropout(dropout),
            plain_encoder(embedding_dim, label_hidden_layer_sizes, activation, dropout),
        )
        self.to_label_gaussian = GaussianHead(
            [embedding_dim, *label_hidden_layer_sizes][-1], latent_dim
        )
        self.label_bias = None if label_bias is None else nn.Parameter(label_bias)
        self._set_empty_component(empty_label_policy, latent_dim)

    def _set_empty_component(self, policy: str, latent_dim: int) -> None:
        """Mean and log-variance of the prior of rows without a label, or None."""
        if policy not in EMPTY_LABEL_POLICIES:
            raise ValueError(
                f"empty_label_policy must be one of {EMPTY_LABEL_POLICIES}, got {policy!r}."
            )
        zeros = torch.zeros(2, 1, latent_dim)
        if policy == "learned":
            self.empty_component: Tensor | None = nn.Parameter(zeros)
        else:
            self.register_buffer("empty_component", zeros if policy != "skip" else None)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Gaussians q(z|x).

        Parameters
        ----------
        x : Tensor of shape (n, d)
            Scaled rows.

        Returns
        -------
        mean : Tensor of shape (n, D)
            Their means.
        log_variance : Tensor of shape (n, D)
            Their log-variances.
        """
        return self.to_posterior(self.encoder(x))

    def labels(self, index: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return what a label brings to its logit.

        Parameters
        ----------
        index : Tensor of shape (U,), int64, default=None
            The labels; None stands for all of them.

        Returns
        -------
        embeddings : Tensor of shape (U, E)
            Their embeddings.
        biases : Tensor of shape (U,) or None
            Their biases, if the model has any.
        """
        if index is None:
            return self.label_embeddings, self.label_bias
        bias = None if self.label_bias is None else self.label_bias.index_select(0, index)
        return self.label_embeddings.index_select(0, index), bias

    def label_gaussians(self, label_embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Gaussians of labels.

        Parameters
        ----------
        label_embeddings : Tensor of shape (U, E)
            Embeddings of the labels.

        Returns
        -------
        mean : Tensor of shape (U, D)
            Their means.
        log_variance : Tensor of shape (U, D)
            Their log-variances.
        """
        return self.to_label_gaussian(self.label_encoder(label_embeddings + self.label_offset))

    def logits(self, embedding: Tensor) -> Tensor:
        """Return the logits of all labels.

        Parameters
        ----------
        embedding : Tensor of shape (..., E)
            Embeddings of rows.

        Returns
        -------
        Tensor of shape (..., L)
            Their logits.
        """
        return functional.linear(embedding, *self.labels())

    def forward(self, X: Tensor) -> Tensor:
        """Return the embeddings (n, E) of rows (n, d), decoded from the means of q(z|x)."""
        x = self.scaler(X)
        return self.decoder(x, self.posterior(x)[0])


class Posterior(nn.Module):
    """A model that returns mean and log-variance of q(z|x) side by side, of shape (n, 2 D).

    Parameters
    ----------
    model : GaussianMixtureVAE
        The model.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import GaussianMixtureVAE, MLPEncoder
    >>> from sklearn_mlcl.modules.gmvae import Posterior
    >>> encoder = MLPEncoder(5, hidden_layer_sizes=(16,))
    >>> model = GaussianMixtureVAE(torch.nn.Identity(), encoder, 5, 16, n_labels=4)
    >>> Posterior(model)(torch.zeros(2, 5)).shape
    torch.Size([2, 128])
    """

    def __init__(self, model: GaussianMixtureVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, X: Tensor) -> Tensor:
        """Return means and log-variances of rows (n, d)."""
        return torch.cat(self.model.posterior(self.model.scaler(X)), dim=-1)
