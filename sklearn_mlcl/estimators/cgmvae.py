"""The Gaussian-mixture variational autoencoder with contrastive learning, C-GMVAE."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.estimators.contrastive import HEAD_C
from sklearn_mlcl.estimators.encoders import encoder_of, layer_sizes, probe_of, scaler_of
from sklearn_mlcl.estimators.net import ENCODING_READS, NetClassifier
from sklearn_mlcl.estimators.task import Specification, Task
from sklearn_mlcl.heads.evaluation import outputs
from sklearn_mlcl.heads.predictor import AffineHead, DrawnPredictor, Predictor
from sklearn_mlcl.modules import FeatureNoise, GaussianMixtureVAE, embedding_width
from sklearn_mlcl.modules.gmvae import EMPTY_LABEL_POLICIES, Posterior, plain_encoder
from sklearn_mlcl.training import IndexBatchNet
from sklearn_mlcl.training.variational import (
    MOST_LATENT_SAMPLES,
    MOST_PREDICT_SAMPLES,
    VariationalNet,
    VariationalObjective,
)
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.parameters import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    COUNT,
    Interval,
    check_arguments,
    check_some,
    named_in_errors,
    options,
    options_of,
    param,
    setting,
)
from sklearn_mlcl.utils.runtime import torch_defaults
from sklearn_mlcl.utils.samples import check_features, is_table


@named_in_errors
class CGMVAEClassifier(NetClassifier):
    r"""Gaussian-mixture variational autoencoder with contrastive learning.

    Each label l has a trained embedding :math:`w_l`. A label encoder maps it to a Gaussian
    :math:`\mathcal N(\mu_l, \sigma_l^2)` in a latent space. The labels P(y) of a sample define its
    prior :math:`p(z|y) = \frac{1}{|P(y)|} \sum_{l \in P(y)} \mathcal N(z; \mu_l, \sigma_l^2)`. A
    feature encoder gives the posterior :math:`q(z|x)`. A decoder g maps latent codes to embeddings
    of unit norm, and the logit of a label is :math:`s_l = w_l \cdot g(x, z) + b_l`. The objective
    is the mean over samples of

    .. math::
        \mathcal L = \lambda_{bce} \sum_a \ell_{bce}(s^{(a)}, y)
        + \lambda_{kl} \, KL\big(q(z|x) \,\|\, p(z|y)\big)
        + \lambda_{con} \, \tfrac12 \sum_{a \in \{1, y\}} \frac{-1}{|P(y)|} \sum_{l \in P(y)}
          \log \frac{e^{s^{(a)}_l / \tau}}{\sum_t e^{s^{(a)}_t / \tau}}

    where :math:`\ell_{bce}` is summed over the labels. The index a runs over draws 1, 2, ... of
    :math:`q(z|x)` and over the label branch y. This branch decodes the mean of the :math:`\mu_l` of
    the labels of the sample. A prediction decodes the mean of :math:`q(z|x)`.

    With the weights of the release (:data:`sklearn_mlcl.recipes.CGMVAE_PAPER`) all Gaussians become
    equal, and the latent code has no information. The defaults prevent this.

    Parameters
    ----------
    temperature : float
        The divisor :math:`\tau` of the logits in the contrastive term.
    lambda_bce : float
        Weight of each cross-entropy.
    lambda_kl : float
        Weight of the divergence; 6 in the release.
    lambda_contrastive : float
        Weight of the contrastive term.

    Other Parameters
    ----------------
    loss_params : dict or None
        Rare settings of the objective, by key; in a grid ``loss_params__free_bits``.

        - ``empty_label_policy`` : {"skip", "standard_normal", "learned"}
          Prior of samples without a label. With "skip" they have no prior, and only the
          cross-entropy uses them. The others are the standard normal, and a Gaussian of their own.
        - ``free_bits`` : float
          Nats of divergence that are not penalised, in the mean over a batch.
        - ``kl_estimator`` : {"mc", "variational"}
          One draw, or a closed-form upper bound; see :func:`sklearn_mlcl.modules.mixture_kl`.
        - ``kl_warmup_epochs`` : int
          Epochs over which the weight of the divergence rises from 0.
        - ``label_branch`` : bool
          Train the decoder on the label means too.
        - ``n_latent_samples`` : int
          Draws of the posterior that are decoded in a training step, 100 at most.
        - ``n_negatives`` : int or None
          Number of labels drawn from those absent from a batch, for very many labels. They
          represent all absent labels in the sums over labels. None uses all.
    head : {"inner_product", "logistic"}
        Head that predicts: the model, or logistic regressions on the frozen feature embedding.
    net_params : dict or None
        - ``concat_input`` : bool
          Let the decoder see the features beside the latent code, as the release does.
        - ``decoder_hidden`` : int
          Width of the decoder.
        - ``embedding_dim`` : int
          Dimension of label and feature embeddings.
        - ``label_bias`` : bool
          Give each logit a bias that starts at the log-odds of its label.
        - ``label_hidden_layer_sizes`` : sequence of int
          Widths of the label encoder.
        - ``latent_dim`` : int
          Dimension of the latent space.
        - ``layer_norm`` : bool
          Normalise the layers of the feature encoder; the release does not.
        - ``n_predict_samples`` : int
          Draws of the posterior over which probabilities are averaged, 10,000 at most; 0 decodes
          its mean. The draws use the same noise for all samples, so that an answer does not
          depend on the other samples.

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
    ContrastiveMultiLabelClassifier : Contrast between samples rather than samples and labels.
    MultiLabelMLPClassifier : Cross-entropy alone.

    Notes
    -----
    ``net_params={"schedule": "warm_restarts"}`` is the schedule of the release. The rate follows a
    cosine from ``learning_rate`` to a tenth of it, and restarts after 50 and 150 epochs.
    ``history_`` has the terms ``bce``, ``kl`` (in nats) and ``contrastive`` of every epoch.
    ``module`` replaces the feature encoder. With ``scale_input=False`` samples may be of any kind,
    if ``concat_input`` is False.

    References
    ----------
    .. [1] J. Bai, S. Kong, C. P. Gomes, "Gaussian Mixture Variational Autoencoder with
       Contrastive Learning for Multi-Label Classification", ICML 2022, arXiv:2112.00976.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import CGMVAEClassifier
    >>> X, Y = make_multilabel_classification(
    ...     n_samples=200, n_classes=3, random_state=0
    ... )
    >>> clf = CGMVAEClassifier(max_epochs=5, random_state=0).fit(X, Y)
    >>> (
    ...     clf.predict_proba(X).shape,
    ...     clf.sample_latent(X).shape,
    ...     clf.label_similarity().shape,
    ... )
    ((200, 3), (200, 64), (3, 3))
    """

    temperature: float = param(1.0, ABOVE_0)
    lambda_bce: float = param(0.5, AT_LEAST_0)
    lambda_kl: float = param(0.005, AT_LEAST_0)
    lambda_contrastive: float = param(1.0, AT_LEAST_0)
    head_C: Any = HEAD_C
    loss_params: dict[str, Any] | None = options(
        n_latent_samples=param(1, Interval(Integral, 1, MOST_LATENT_SAMPLES, closed="both")),
        label_branch=param(True, "boolean"),
        kl_estimator=param("mc", StrOptions({"mc", "variational"})),
        kl_warmup_epochs=param(0, COUNT),
        free_bits=param(0.0, AT_LEAST_0),
        n_negatives=param(None, AT_LEAST_1, None),
        empty_label_policy=param("skip", StrOptions(set(EMPTY_LABEL_POLICIES))),
    )
    head: str = param("inner_product", StrOptions({"inner_product", "logistic"}))
    dropout: float = param(0.3)
    feature_noise: float = param(0.4)
    weight_decay: float = param(0.01)
    neighbor_weight: float = param(0.0)
    net_params: dict[str, Any] | None = options(
        latent_dim=param(64, AT_LEAST_1),
        embedding_dim=param(512, AT_LEAST_1),
        label_hidden_layer_sizes=param((512, 256), "array-like"),
        decoder_hidden=param(512, AT_LEAST_1),
        layer_norm=param(True, "boolean"),
        concat_input=param(False, "boolean"),
        label_bias=param(True, "boolean"),
        n_predict_samples=param(0, Interval(Integral, 0, MOST_PREDICT_SAMPLES, closed="both")),
    )

    def _specification(self) -> Specification:
        trained_head = None if self.head == "logistic" else _inner_products
        return Specification(_modules, trained_head, net_class=VariationalNet)

    # ------------------------------------------------------------------ labels

    @property
    def label_embeddings_(self) -> np.ndarray:
        """The embeddings of the labels, (n_labels, embedding_dim)."""
        return _array(self.net_.module_.label_embeddings)

    @property
    def label_means_(self) -> np.ndarray:
        """Means of the label Gaussians, (n_labels, latent_dim)."""
        return self._label_gaussians()[0]

    @property
    def label_log_vars_(self) -> np.ndarray:
        """Logarithms of the variances of the label Gaussians, (n_labels, latent_dim)."""
        return self._label_gaussians()[1]

    def _label_gaussians(self) -> tuple[np.ndarray, np.ndarray]:
        with torch_defaults(), torch.no_grad():
            model = copy.deepcopy(self.net_.module_).eval()
            means, log_vars = model.label_gaussians(model.label_embeddings)
        return _array(means), _array(log_vars)

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
        embeddings = self.label_embeddings_
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        unit = embeddings / np.maximum(norms, np.finfo(np.float64).tiny)
        return unit @ unit.T

    # ------------------------------------------------------------------ latent codes

    def _module(self) -> nn.Module:
        predictor = self._current_predictor()
        n_draws = setting(self, "n_predict_samples")
        return self._drawn(predictor, n_draws) if n_draws > 0 else predictor

    def _drawn(self, predictor: Predictor, n_draws: int) -> DrawnPredictor:
        size = (n_draws, self.net_.module_.latent_dim)
        noise = np.random.RandomState(self._noise_seed).normal(size=size)
        return DrawnPredictor(predictor, noise)

    def uncertainty(self, X: Any, n_samples: int = 32) -> np.ndarray:
        r"""Return how far each probability moves with the latent code.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to score.
        n_samples : int, default=32
            Number of draws of :math:`q(z|x)`, from 2 to 10,000.

        Returns
        -------
        deviation : ndarray of shape (n_samples, n_labels)
            Standard deviation of the probability over the draws.

        Raises
        ------
        ValueError
            If ``n_samples`` is none of these.
        """
        check_is_fitted(self)
        n_samples = _checked_draws(n_samples, "uncertainty", least=2)
        X, predictor = check_features(self, X, reset=False), self._current_predictor()
        options = self._inference
        options["entries"] *= n_samples
        return outputs(self._drawn(predictor, n_samples), X, deviation=True, **options)

    def sample_latent(
        self, X: Any, n_samples: int | None = None, random_state: Any = None
    ) -> np.ndarray:
        r"""Return latent codes of samples.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to encode.
        n_samples : int or None, default=None
            Number of draws of :math:`q(z|x)` a sample, 10,000 at most; None returns its mean.
        random_state : int, RandomState instance or None, default=None
            Seeds the draws.

        Returns
        -------
        codes : ndarray of shape (n_samples, latent_dim)
            The means; with draws of shape (n_draws, n_samples, latent_dim).
        """
        check_is_fitted(self)
        check_some(self, ENCODING_READS)
        X = check_features(self, X, reset=False)
        posterior = outputs(Posterior(self.net_.module_), X, **self._inference)
        mean, log_var = np.split(posterior, 2, axis=1)
        if n_samples is None:
            return mean
        n_samples = _checked_draws(n_samples, "sample_latent", least=1)
        noise = check_random_state(random_state).normal(size=(n_samples, *mean.shape))
        return mean + np.exp(0.5 * log_var) * noise.astype(mean.dtype)


def _checked_draws(n_samples: Any, caller: str, least: int) -> int:
    bounds = Interval(Integral, least, MOST_PREDICT_SAMPLES, closed="both")
    check_arguments(caller, n_samples=(n_samples, bounds))
    return int(n_samples)


def _array(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu().double().numpy()


def _modules(clf: CGMVAEClassifier, task: Task) -> tuple[nn.Module, nn.Module]:
    """Return the model, which makes embeddings, and the objective."""
    data = task.train
    probe = probe_of(clf, data)
    scaler: nn.Module = nn.Identity()
    if isinstance(probe, int):
        noise = FeatureNoise(float(clf.feature_noise))
        scaler = nn.Sequential(scaler_of(task), noise)
    elif setting(clf, "concat_input") and not is_table(data.X):
        raise ValueError(
            "net_params__concat_input=True needs floats of shape (n_samples, n_features), got X of "
            f"dtype {data.X.dtype} and shape {data.X.shape}."
        )
    encoder = _encoder(clf, clf.n_features_in_, probe)
    bias = None
    if setting(clf, "label_bias"):
        bias = torch.from_numpy(task.stats.log_odds.astype(np.float32))
    model = GaussianMixtureVAE(
        scaler,
        encoder,
        data.n_features,
        embedding_width(encoder, probe),
        data.n_labels,
        latent_dim=setting(clf, "latent_dim"),
        embedding_dim=setting(clf, "embedding_dim"),
        label_hidden_layer_sizes=layer_sizes(
            "label_hidden_layer_sizes", setting(clf, "label_hidden_layer_sizes")
        ),
        decoder_hidden=setting(clf, "decoder_hidden"),
        activation=clf.activation,
        dropout=float(clf.dropout),
        concat_input=setting(clf, "concat_input"),
        label_bias=bias,
        empty_label_policy=setting(clf, "empty_label_policy"),
    )
    terms = options_of(clf, "loss_params")
    del terms["empty_label_policy"]
    return model, VariationalObjective(
        temperature=float(clf.temperature),
        lambda_bce=float(clf.lambda_bce),
        lambda_kl=float(clf.lambda_kl),
        lambda_contrastive=float(clf.lambda_contrastive),
        **terms,
    )


def _encoder(clf: CGMVAEClassifier, n_features: int, probe: Any) -> nn.Module:
    if clf.module is not None or setting(clf, "layer_norm"):
        return encoder_of(clf, n_features, probe)
    sizes = layer_sizes("hidden_layer_sizes", clf.hidden_layer_sizes)
    return plain_encoder(n_features, sizes, clf.activation, float(clf.dropout))


def _inner_products(net: IndexBatchNet, n_labels: int) -> AffineHead:
    """Return the head that the model is: inner products with the embeddings of the labels."""
    weight, bias = map(_array, net.module_.labels())
    return AffineHead(weight, np.zeros(n_labels) if bias is None else bias)
