"""Predictions and codes of a classifier with a latent space: means, draws, what draws move."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from scipy.special import logit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.estimators.net import NetClassifier
from sklearn_mlcl.heads.evaluation import Evaluator
from sklearn_mlcl.heads.graph import MeanGraph
from sklearn_mlcl.modules.gmvae import LatentDraw, Posterior
from sklearn_mlcl.utils.fit_data import Features
from sklearn_mlcl.utils.probabilities import clip_open_interval, sigmoid


class LatentCodes(NetClassifier):
    """Base: rows are decoded from the mean of q(z|x), or from draws of it.

    ``net_.module_`` is a :class:`~sklearn_mlcl.modules.GaussianMixtureVAE`. A fit sets
    ``_noise_seed``; the draws have the same noise for every row, so that its answer is its own.
    """

    n_predict_samples: int
    latent_dim: int
    _noise_seed: int
    #: The noise of the draw that is decoded; None decodes the mean.
    _noise: np.ndarray | None = None

    def _blended_logits(self, X: Features, evaluate: Evaluator) -> np.ndarray:
        if self.n_predict_samples == 0:
            return super()._blended_logits(X, evaluate)
        draws = list(self._draws(X, self.n_predict_samples))
        return logit(clip_open_interval(np.mean(draws, axis=0)))

    def _logits_graph(self) -> nn.Module:
        if self.n_predict_samples == 0:
            return super()._logits_graph()
        return MeanGraph(draw._logits_graph() for draw in self._drawn(self.n_predict_samples))

    def _draws(self, X: Features, n_samples: int) -> Iterator[np.ndarray]:
        """Yield the probabilities (n, L) for each of ``n_samples`` codes a row."""
        for drawn in self._drawn(n_samples):
            yield sigmoid(drawn._blended_logits(X, drawn._evaluator(X)))

    def _drawn(self, n_samples: int) -> Iterator[Self]:
        """Yield this classifier with each of ``n_samples`` draws in the place of the mean."""
        noise = np.random.RandomState(self._noise_seed).normal(size=(n_samples, self.latent_dim))
        for vector in noise:
            drawn = copy.copy(self).set_params(n_predict_samples=0)
            drawn._noise = vector
            yield drawn

    def _encoder(self) -> nn.Module:
        if self._noise is None:
            return super()._encoder()
        return LatentDraw(self.net_.module_, torch.from_numpy(self._noise).float())

    def uncertainty(self, X: Any, n_samples: int = 32) -> np.ndarray:
        r"""Return how far each probability moves with the latent code.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to score.
        n_samples : int, default=32
            Number of draws of :math:`q(z|x)`.

        Returns
        -------
        deviation : ndarray of shape (n_samples, n_labels)
            Standard deviation of the probability over the draws, before calibration.

        Raises
        ------
        ValueError
            If ``n_samples`` is less than 2.
        """
        check_is_fitted(self)
        if n_samples < 2:
            raise ValueError(f"n_samples must be at least 2, got {n_samples!r}.")
        X = self._check_features(X, reset=False)
        return np.std(list(self._draws(X, n_samples)), axis=0)

    def sample_latent(
        self, X: Any, n_samples: int | None = None, random_state: Any = None
    ) -> np.ndarray:
        r"""Return latent codes of rows.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to encode.
        n_samples : int or None, default=None
            Number of draws of :math:`q(z|x)` a row; None returns its mean.
        random_state : int, RandomState instance or None, default=None
            Seeds the draws.

        Returns
        -------
        codes : ndarray of shape (n_samples, latent_dim)
            The means; with draws of shape (n_draws, n_samples, latent_dim).
        """
        mean, deviation = self._posterior(X)
        if n_samples is None:
            return mean
        noise = check_random_state(random_state).normal(size=(n_samples, *mean.shape))
        return mean + deviation * noise.astype(mean.dtype)

    def _posterior(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations (n, D) of q(z|x)."""
        check_is_fitted(self)
        X = self._check_features(X, reset=False)
        posterior = Posterior(self.net_.module_)
        mean, log_var = np.split(self._evaluator(X)(posterior, X), 2, axis=1)
        return mean, np.exp(0.5 * log_var)
