"""The Gaussian-mixture variational autoencoder with contrastive learning, C-GMVAE."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.estimators._docs import fill_shared_parameters
from sklearn_mlcl.estimators._latent import LatentCodes
from sklearn_mlcl.estimators._net_build import TrainingPlan, layer_sizes
from sklearn_mlcl.estimators.net import NetClassifier
from sklearn_mlcl.heads.evaluation import RowEmbedding
from sklearn_mlcl.heads.logistic import fit_embedding_heads
from sklearn_mlcl.modules import FeatureNoise, GaussianMixtureVAE, embedding_width
from sklearn_mlcl.modules._scaling import input_scaler
from sklearn_mlcl.modules.gmvae import EMPTY_LABEL_POLICIES, plain_encoder
from sklearn_mlcl.training import IndexBatchNet
from sklearn_mlcl.training.variational import VariationalNet, VariationalObjective
from sklearn_mlcl.utils._sklearn_compat import Interval, StrOptions
from sklearn_mlcl.utils.class_weight import row_weights
from sklearn_mlcl.utils.fit_data import Rows


@fill_shared_parameters
class CGMVAEClassifier(LatentCodes):
    r"""Gaussian-mixture variational autoencoder with contrastive learning.

    Every label l has a trained embedding :math:`w_l`, of which a label encoder makes a Gaussian
    :math:`\mathcal N(\mu_l, \sigma_l^2)` in a latent space. The labels P(y) of a row give it the
    prior :math:`p(z|y) = \frac{1}{|P(y)|} \sum_{l \in P(y)} \mathcal N(z; \mu_l, \sigma_l^2)`; a
    feature encoder gives it the posterior :math:`q(z|x)`. A decoder g turns latent codes into
    embeddings of unit norm, and the logit of a label is :math:`s_l = w_l \cdot g(x, z) + b_l`.
    Minimised is, in the mean over rows,

    .. math::
        \mathcal L = \lambda_{bce} \sum_a \ell_{bce}(s^{(a)}, y)
        + \lambda_{kl} \, KL\big(q(z|x) \,\|\, p(z|y)\big)
        + \lambda_{con} \, \tfrac12 \sum_{a \in \{1, y\}} \frac{-1}{|P(y)|} \sum_{l \in P(y)}
          \log \frac{e^{s^{(a)}_l / \tau}}{\sum_t e^{s^{(a)}_t / \tau}}

    where :math:`\ell_{bce}` is summed over the labels, and a runs over draws 1, 2, ... of
    :math:`q(z|x)` and over the label branch y, which decodes the mean of the :math:`\mu_l` of the
    row's labels. A row is predicted from the mean of :math:`q(z|x)`.

    With the weights of the release (:data:`sklearn_mlcl.recipes.CGMVAE_PAPER`) all Gaussians fall
    onto one another and the latent code carries nothing. The defaults keep the mixture alive.

    Parameters
    ----------
    temperature : float, default=1.0
        The divisor :math:`\tau` of the logits in the contrastive term.
    lambda_bce : float, default=0.5
        Weight of each cross-entropy.
    lambda_kl : float, default=0.005
        Weight of the divergence; 6 in the release.
    lambda_contrastive : float, default=1.0
        Weight of the contrastive term.
    latent_dim : int, default=64
        Dimension of the latent space.
    embedding_dim : int, default=512
        Dimension of label and feature embeddings.
    label_hidden_layer_sizes : sequence of int, default=(512, 256)
        Widths of the label encoder.
    decoder_hidden : int, default=512
        Width of the decoder.
    layer_norm : bool, default=True
        Normalise the layers of the feature encoder; the release does not.
    scale_input : bool, default=True
        Bring the features to one size first; the release does not.
    n_latent_samples : int, default=1
        Draws of the posterior that are decoded in a training step.
    label_branch : bool, default=True
        Train the decoder on the label means too.
    concat_input : bool, default=False
        Let the decoder see the features beside the latent code, as the release does.
    kl_estimator : {"mc", "variational"}, default="mc"
        One draw, or a closed-form upper bound; see :func:`sklearn_mlcl.modules.mixture_kl`.
    kl_warmup_epochs : int, default=0
        Epochs over which the weight of the divergence rises from 0.
    free_bits : float, default=0.0
        Nats of divergence, in the mean over a batch, that cost nothing.
    n_negatives : int or None, default=None
        Labels absent from a batch that are drawn to stand for all others in the sums over labels,
        for very many labels; None takes all.
    empty_label_policy : {"skip", "standard_normal", "learned"}, default="skip"
        Prior of rows without a label: none (they have their cross-entropy only), the standard
        normal, or a Gaussian of their own.
    label_bias : bool, default=True
        Give each logit a bias that starts at the log-odds of its label.
    n_predict_samples : int, default=0
        Draws of the posterior over which probabilities are averaged; 0 decodes its mean. The draws
        use the same noise for all rows, so that a row's answer is its own.
    head : {"inner_product", "logistic"}, default="inner_product"
        Logits of the model, or of logistic regressions solved on the frozen feature embedding.
    head_C : float, array-like of shape (n_labels,) or "cv", default=0.01
        Inverse regularisation of the logistic heads; "cv" chooses it per label by
        cross-validation on the embedding.
    {shared_parameters}

    Attributes
    ----------
    label_embeddings_ : ndarray of shape (n_labels, embedding_dim)
        The embeddings :math:`w_l`.
    label_means_ : ndarray of shape (n_labels, latent_dim)
        Means of the label Gaussians.
    label_log_vars_ : ndarray of shape (n_labels, latent_dim)
        Logarithms of their variances.
    head_C_ : ndarray of shape (n_labels,)
        The C of each logistic head; only with ``head="logistic"``.
    {shared_attributes}

    See Also
    --------
    ContrastiveMultiLabelClassifier : Contrast between rows rather than rows and labels.
    MultiLabelMLPClassifier : Cross-entropy alone.

    Notes
    -----
    ``schedule="warm_restarts"`` is that of the release: once an epoch along a cosine from
    ``learning_rate`` to a tenth of it, anew after 50 and 150 epochs. ``history_`` has the terms
    ``bce``, ``kl`` (in nats) and ``contrastive`` of every epoch. ``module`` replaces the feature
    encoder in front of the posterior.

    References
    ----------
    .. [1] J. Bai, S. Kong, C. P. Gomes, "Gaussian Mixture Variational Autoencoder with
       Contrastive Learning for Multi-Label Classification", ICML 2022, arXiv:2112.00976.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import CGMVAEClassifier
    >>> X, Y = make_multilabel_classification(n_samples=200, n_classes=3, random_state=0)
    >>> clf = CGMVAEClassifier(max_epochs=5, random_state=0).fit(X, Y)
    >>> clf.predict_proba(X).shape, clf.sample_latent(X).shape, clf.label_similarity().shape
    ((200, 3), (200, 64), (3, 3))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetClassifier._parameter_constraints,
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "lambda_bce": [Interval(Real, 0, None, closed="left")],
        "lambda_kl": [Interval(Real, 0, None, closed="left")],
        "lambda_contrastive": [Interval(Real, 0, None, closed="left")],
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "label_hidden_layer_sizes": ["array-like"],
        "decoder_hidden": [Interval(Integral, 1, None, closed="left")],
        "layer_norm": ["boolean"],
        "scale_input": ["boolean"],
        "n_latent_samples": [Interval(Integral, 1, None, closed="left")],
        "label_branch": ["boolean"],
        "concat_input": ["boolean"],
        "kl_estimator": [StrOptions({"mc", "variational"})],
        "kl_warmup_epochs": [Interval(Integral, 0, None, closed="left")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
        "n_negatives": [Interval(Integral, 1, None, closed="left"), None],
        "empty_label_policy": [StrOptions(set(EMPTY_LABEL_POLICIES))],
        "label_bias": ["boolean"],
        "n_predict_samples": [Interval(Integral, 0, None, closed="left")],
        "head": [StrOptions({"inner_product", "logistic"})],
        "head_C": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"}), "array-like"],
    }

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        lambda_bce: float = 0.5,
        lambda_kl: float = 0.005,
        lambda_contrastive: float = 1.0,
        latent_dim: int = 64,
        embedding_dim: int = 512,
        label_hidden_layer_sizes: Sequence[int] = (512, 256),
        decoder_hidden: int = 512,
        layer_norm: bool = True,
        scale_input: bool = True,
        n_latent_samples: int = 1,
        label_branch: bool = True,
        concat_input: bool = False,
        kl_estimator: str = "mc",
        kl_warmup_epochs: int = 0,
        free_bits: float = 0.0,
        n_negatives: int | None = None,
        empty_label_policy: str = "skip",
        label_bias: bool = True,
        n_predict_samples: int = 0,
        head: str = "inner_product",
        head_C: Any = 0.01,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: str = "silu",
        dropout: float = 0.3,
        feature_noise: float = 0.4,
        module: Any = None,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        optimizer: Any = "adamw",
        schedule: str = "one_cycle",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        neighbor_weight: float = 0.0,
        neighbor_temperature: float = 0.06,
        threshold: Any = 0.5,
        calibration: str | None = None,
        device: Any = "auto",
        precision: str = "float32",
        compile: bool = False,
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        random_state: Any = None,
        missing_label: float = np.nan,
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            module=module,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            optimizer=optimizer,
            schedule=schedule,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            neighbor_weight=neighbor_weight,
            neighbor_temperature=neighbor_temperature,
            threshold=threshold,
            calibration=calibration,
            device=device,
            precision=precision,
            compile=compile,
            callbacks=callbacks,
            net_params=net_params,
            warm_start=warm_start,
            verbose=verbose,
            random_state=random_state,
            missing_label=missing_label,
            class_weight=class_weight,
            feature_noise=feature_noise,
        )
        self.temperature = temperature
        self.lambda_bce = lambda_bce
        self.lambda_kl = lambda_kl
        self.lambda_contrastive = lambda_contrastive
        self.latent_dim = latent_dim
        self.embedding_dim = embedding_dim
        self.label_hidden_layer_sizes = label_hidden_layer_sizes
        self.decoder_hidden = decoder_hidden
        self.layer_norm = layer_norm
        self.scale_input = scale_input
        self.n_latent_samples = n_latent_samples
        self.label_branch = label_branch
        self.concat_input = concat_input
        self.kl_estimator = kl_estimator
        self.kl_warmup_epochs = kl_warmup_epochs
        self.free_bits = free_bits
        self.n_negatives = n_negatives
        self.empty_label_policy = empty_label_policy
        self.label_bias = label_bias
        self.n_predict_samples = n_predict_samples
        self.head = head
        self.head_C = head_C

    # ------------------------------------------------------------------ fit

    _net_class = VariationalNet

    def _make_encoder(self, n_features: int) -> nn.Module:
        if self.module is not None or self.layer_norm:
            return super()._make_encoder(n_features)
        sizes = layer_sizes("hidden_layer_sizes", self.hidden_layer_sizes)
        return plain_encoder(n_features, sizes, self.activation, self.dropout)

    def _make_module(self, rows: Rows, log_odds: np.ndarray) -> GaussianMixtureVAE:
        X, Y, weights = rows
        n_features = X.shape[1]
        scaler = input_scaler(X, row_weights(Y, weights)) if self.scale_input else nn.Identity()
        encoder = self._make_encoder(n_features)
        bias = torch.from_numpy(log_odds.astype(np.float32)) if self.label_bias else None
        return GaussianMixtureVAE(
            nn.Sequential(scaler, FeatureNoise(self.feature_noise)),
            encoder,
            n_features,
            embedding_width(encoder, n_features),
            len(log_odds),
            latent_dim=self.latent_dim,
            embedding_dim=self.embedding_dim,
            label_hidden_layer_sizes=layer_sizes(
                "label_hidden_layer_sizes", self.label_hidden_layer_sizes
            ),
            decoder_hidden=self.decoder_hidden,
            activation=self.activation,
            dropout=self.dropout,
            concat_input=self.concat_input,
            label_bias=bias,
            empty_label_policy=self.empty_label_policy,
        )

    def _make_objective(
        self, n_embedding: int, log_odds: np.ndarray, labels_known: bool
    ) -> nn.Module:
        return VariationalObjective(
            temperature=self.temperature,
            lambda_bce=self.lambda_bce,
            lambda_kl=self.lambda_kl,
            lambda_contrastive=self.lambda_contrastive,
            label_branch=self.label_branch,
            n_latent_samples=self.n_latent_samples,
            kl_estimator=self.kl_estimator,
            kl_warmup_epochs=self.kl_warmup_epochs,
            free_bits=self.free_bits,
            n_negatives=self.n_negatives,
        )

    def _fit_heads(
        self, net: IndexBatchNet, embedding: RowEmbedding, rows: Rows
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.head == "inner_product":
            weight, bias = (_array(t) for t in net.module_.labels())
            return weight, np.zeros(len(weight)) if bias is None else bias
        heads = fit_embedding_heads(embedding.all(), *rows[1:], self.head_C)
        self.head_C_ = heads.C
        return heads.coef, heads.intercept

    def _keep_fit(
        self, net: IndexBatchNet, train: Rows, valid: Rows | None, plan: TrainingPlan, seed: int
    ) -> None:
        self._noise_seed = seed
        super()._keep_fit(net, train, valid, plan, seed)
        model = net.module_.eval()
        with torch.no_grad():
            means, log_vars = model.label_gaussians(model.label_embeddings)
        self.label_embeddings_ = _array(model.label_embeddings)
        self.label_means_, self.label_log_vars_ = _array(means), _array(log_vars)

    def label_similarity(self) -> np.ndarray:
        """Return the cosines of the label embeddings.

        Labels that occur together have similar embeddings; compare with the correlations of the
        columns of Y, as :class:`~sklearn_mlcl.inspection.LabelEmbeddingDisplay` does.

        Returns
        -------
        similarity : ndarray of shape (n_labels, n_labels)
            Symmetric, with a unit diagonal.
        """
        check_is_fitted(self)
        norms = np.linalg.norm(self.label_embeddings_, axis=1, keepdims=True)
        unit = self.label_embeddings_ / np.maximum(norms, np.finfo(np.float64).tiny)
        return unit @ unit.T


def _array(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu().double().numpy()
