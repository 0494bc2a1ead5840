"""Training of C-GMVAE: its objective, and the net that hands it the model and the samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.losses._inputs import divisor, values_checked, weight_per_sample
from sklearn_mlcl.modules import GaussianMixtureVAE, mixture_kl
from sklearn_mlcl.modules._gaussian_mixture import gaussian_sample, segment_mean
from sklearn_mlcl.training._gmvae_terms import LabelColumns, label_terms
from sklearn_mlcl.training._parallel import equal_share, processes_of_fit, samples_of_batch
from sklearn_mlcl.training.batches import Batch
from sklearn_mlcl.training.net import IndexBatchNet, encoded

#: Draws of a latent code that are decoded in a step, and for a prediction: the tensors of a sample
#: grow with them.
MOST_LATENT_SAMPLES, MOST_PREDICT_SAMPLES = 100, 10_000


class Terms(NamedTuple):
    """Scalars of a batch, each averaged over the samples that have the term."""

    bce: Tensor
    kl: Tensor
    contrastive: Tensor


@dataclass(kw_only=True, eq=False, repr=False)
class VariationalObjective(nn.Module):
    r"""What C-GMVAE minimises, averaged over the samples of a batch.

    .. math::
        \mathcal L = \lambda_{bce} \sum_a \ell_{bce}(e_a) + \lambda_{kl} \max(KL, f)
        + \lambda_{con} \big( \ell_{con}(e_1) + \ell_{con}(e_y) \big) / 2

    :math:`e_1, e_2, \dots` are decoded from draws of :math:`q(z|x)`, :math:`e_y` from the mean of
    the means of the sample's labels. KL is that from :math:`q(z|x)` to the mixture of the Gaussians
    of the sample's labels, f the free bits.

    Parameters
    ----------
    temperature : float, default=1.0
        Divides the logits in the contrastive loss.
    lambda_bce, lambda_kl, lambda_contrastive : float
        Weights of the terms.
    label_branch : bool, default=True
        Whether there is an :math:`e_y`.
    n_latent_samples : int, default=1
        Draws of :math:`q(z|x)` that are decoded.
    kl_estimator : {"mc", "variational"}, default="mc"
        See :func:`sklearn_mlcl.modules.mixture_kl`.
    kl_warmup_epochs : int, default=0
        Epochs over which the weight of the KL rises from 0, linearly.
    free_bits : float, default=0.0
        Nats of KL, in the mean over a batch, that cost nothing.
    n_negatives : int or None, default=None
        Labels without a positive in the batch that are drawn for the sums over labels.
    """

    temperature: float = 1.0
    lambda_bce: float = 0.5
    lambda_kl: float = 1.0
    lambda_contrastive: float = 1.0
    label_branch: bool = True
    n_latent_samples: int = 1
    kl_estimator: str = "mc"
    kl_warmup_epochs: int = 0
    free_bits: float = 0.0
    n_negatives: int | None = None
    #: Whether processes that share a batch need the labels of their own samples only.
    own_labels: ClassVar[bool] = True
    #: Share of the weight of the KL in the current epoch.
    kl_share: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        super().__init__()
        if not 1 <= self.n_latent_samples <= MOST_LATENT_SAMPLES:
            raise ValueError(
                f"n_latent_samples must lie in [1, {MOST_LATENT_SAMPLES}], got "
                f"{self.n_latent_samples!r}."
            )

    def begin_epoch(self, n_epochs_before: int) -> None:
        """Set the share of the KL's weight for an epoch, counted from 0."""
        warm = n_epochs_before >= self.kl_warmup_epochs
        self.kl_share = 1.0 if warm else n_epochs_before / self.kl_warmup_epochs

    def total(self, terms: Terms) -> Tensor:
        """Return the weighted sum of the terms."""
        kl = _at_least(terms.kl, self.free_bits) if self.free_bits > 0 else terms.kl
        value = self.lambda_bce * terms.bce + self.lambda_contrastive * terms.contrastive
        return value + self.kl_share * self.lambda_kl * kl

    def forward(
        self,
        model: GaussianMixtureVAE,
        X: Tensor,
        labels: Tensor,
        sample_weight: Tensor | None,
        precision: str = "float32",
    ) -> tuple[Terms, Tensor]:
        """Return the terms of a batch and the embedding (B, E) of the first draw.

        Where processes share it, X and labels are those of the own samples, and each term is the
        own share.
        """
        columns = LabelColumns.of(labels, self.n_negatives, sample_weight)
        of_samples = weight_per_sample(labels, sample_weight, model.label_embeddings.dtype)
        label_embeddings, bias = model.labels(columns.index)
        prior, members = _prior(model, columns, label_embeddings)
        x = model.scaler(X)
        q: tuple[Tensor, Tensor] = model.to_posterior(encoded(model.encoder, x, precision))
        codes = [gaussian_sample(*q) for _ in range(self.n_latent_samples)]
        if self.label_branch:
            # The mean of the means of each sample's members.
            samples, components = members.nonzero(as_tuple=True)
            codes.append(segment_mean(prior[0][components], samples, len(members)))
        embedding = model.decoder(x, torch.stack(codes))
        bce, contrastive = label_terms(
            functional.linear(embedding, label_embeddings, bias), columns, self.temperature
        )
        kl = mixture_kl(*q, *prior, members, estimator=self.kl_estimator)
        # Each term is a mean over the samples that have it.
        weight = torch.ones_like(kl) if of_samples is None else of_samples.to(kl)
        observed = weight if columns.missing is None else weight * ~columns.missing.all(1)
        with_prior, anchor = weight * members.any(1), weight * columns.has_positive
        of_observed, of_prior, of_anchors = _means([observed, with_prior, anchor])
        draws = bce[: self.n_latent_samples]
        total = torch.stack([of_observed(values) for values in draws]).sum()
        pairs = of_anchors(contrastive[0])
        if self.label_branch:
            total = total + of_prior(bce[-1])
            pairs = (pairs + of_anchors(contrastive[-1])) / 2
        return Terms(total, of_prior(kl), pairs), embedding[0]


def _means(weights: list[Tensor]) -> list[Callable[[Tensor], Tensor]]:
    """Return functions that take the weighted mean over the samples of a batch, or its own share.

    The sums of all weights are found at once.
    """
    totals = torch.stack(weights).sum(1)
    if (processes := processes_of_fit()) is not None:
        totals = processes.add(totals)
    totals = divisor(totals)

    def mean(weight: Tensor, total: Tensor, values: Tensor) -> Tensor:
        return (values * weight).sum() / total

    return [partial(mean, *each) for each in zip(weights, totals, strict=True)]


def _at_least(mean: Tensor, bound: float) -> Tensor:
    """Return a mean, or a bound below it; where processes share it, the own share."""
    processes = processes_of_fit()
    if processes is None:
        return mean.clamp_min(bound)
    whole = processes.add(mean.detach().clone())
    return torch.where(whole >= bound, mean, equal_share(torch.full_like(mean, bound)))


def _prior(
    model: GaussianMixtureVAE, columns: LabelColumns, label_embeddings: Tensor
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Gaussians (K, D) of the labels at hand, and which (B, K) make up the prior of each sample."""
    embeddings, members = label_embeddings, columns.members()
    if len(columns.active) < len(embeddings):
        embeddings = embeddings.index_select(0, columns.active)
    means, log_vars = model.label_gaussians(embeddings)
    if model.empty_component is not None:
        means = torch.cat([means, model.empty_component[0]])
        log_vars = torch.cat([log_vars, model.empty_component[1]])
        members = torch.cat([members, columns.empty[:, None]], dim=1)
    return (means, log_vars), members


class VariationalNet(IndexBatchNet):
    """The net of C-GMVAE: its module is the model, its criterion a :class:`VariationalObjective`.

    The history has the terms of the objective beside the loss: ``bce``, ``kl`` and
    ``contrastive``, means over the training samples.
    """

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the weight of the KL, which depends on the epoch."""
        super().on_epoch_begin(net, **kwargs)
        self.criterion_.begin_epoch(len(self.history) - 1)
        self._sums: Any = 0.0
        self._n_rows = 0

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the terms of the objective."""
        super().on_epoch_end(net, **kwargs)
        if (processes := processes_of_fit()) is not None:
            self._sums = processes.add(self._sums)
        for name, value in zip(Terms._fields, (self._sums / self._n_rows).tolist(), strict=True):
            self.history.record(name, value)

    @property
    def encoder_(self) -> nn.Module:
        """The part of the model that ``precision`` and ``compiled`` are about."""
        return self.module_.encoder

    def _log_odds(self, embedding: Tensor) -> Tensor:
        weight, bias = self.module_.labels()
        return functional.linear(embedding, weight, bias)

    @values_checked()
    def _forward(self, batch: Batch) -> dict[str, Tensor]:
        X, (labels, sample_weight) = batch
        with self._own_draws():
            terms, embedding = self.criterion_(
                self.module_, X, labels, sample_weight, self.precision
            )
        if self.criterion_.training:
            rows = samples_of_batch(labels)
            self._sums = self._sums + rows * torch.stack(terms).detach()
            self._n_rows += rows
        return {"loss": self.criterion_.total(terms), "y_pred": embedding}
