"""What a trained net leaves behind, and the predictions made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import logit
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.calibration import LabelCalibration, fit_calibration
from sklearn_mlcl.estimators._net_build import TrainingPlan
from sklearn_mlcl.estimators.base import MultiLabelClassifier
from sklearn_mlcl.heads.decision import HeldOut, common_threshold
from sklearn_mlcl.heads.evaluation import Evaluator, RowEmbedding, widest
from sklearn_mlcl.heads.graph import AffineGraph, BlendGraph, ProbabilityGraph, VoteGraph
from sklearn_mlcl.heads.label_prior import RareLabels, label_counts
from sklearn_mlcl.heads.linear import AUTO_WEIGHT, auto_weight, fit_linear
from sklearn_mlcl.heads.neighbors import NeighborVote, thinned
from sklearn_mlcl.persistence._onnx import OnnxExport
from sklearn_mlcl.training import IndexBatchNet
from sklearn_mlcl.utils.chunking import CHUNK_ROWS, by_chunks, chunk_rows
from sklearn_mlcl.utils.fit_data import Features, Rows
from sklearn_mlcl.utils.probabilities import clip_open_interval, sigmoid
from sklearn_mlcl.utils.runtime import resolve_device
from sklearn_mlcl.utils.set_output import EmbeddingFrames


class NetPredictor(
    OnnxExport, ClassNamePrefixFeaturesOutMixin, EmbeddingFrames, MultiLabelClassifier
):
    """Keep heads, neighbours and decisions of an embedding, and predict by them."""

    neighbor_weight: float
    neighbor_temperature: float
    linear_weight: float | str
    linear_C: float | str  # noqa: N815 - named as its parameter
    threshold: Any
    calibration: str | None
    device: Any
    net_: IndexBatchNet
    #: That of C-GMVAE, and of files older than the parameter.
    prior_count: float = 0.0
    label_counts_: np.ndarray

    # ------------------------------------------------------------------ keeping

    def _keep_decisions(self, embedding: RowEmbedding, train: Rows, valid: Rows | None) -> None:
        """Tune on held-out rows what turns probabilities into labels."""
        self.calibration_: LabelCalibration | None = None
        self.threshold_ = self.threshold
        if valid is None:
            return
        if self.calibration is not None:
            X, Y, weights = valid
            self.calibration_ = fit_calibration(
                Y, self._logits(X), method=self.calibration, sample_weight=weights
            )
        if isinstance(self.threshold, str):
            self.threshold_ = common_threshold(self._held_out(valid), self.threshold)

    def _held_out(self, valid: Rows) -> HeldOut:
        X, Y, weights = valid
        return HeldOut(self._embed(X), Y, sigmoid(self._logits(X)), weights)

    def _keep_heads(
        self,
        coef: np.ndarray,
        intercept: np.ndarray,
        log_odds: np.ndarray,
        constant: np.ndarray,
        plan: TrainingPlan,
    ) -> None:
        """Store the heads; a label with a single value gets its log-odds, or keeps its head."""
        kept = (0.0, log_odds[constant])
        if plan.chunk and hasattr(self, "coef_"):
            kept = (self.coef_[constant], self.intercept_[constant])
        coef[constant], intercept[constant] = kept
        self.coef_: np.ndarray = coef
        self.intercept_: np.ndarray = intercept

    def _keep_neighbors(
        self,
        embedding: RowEmbedding,
        rows: Rows,
        prior: np.ndarray,
        constant: np.ndarray,
        random_state: np.random.RandomState,
    ) -> None:
        X, Y, weights = rows
        if self.neighbor_weight == 0:
            self.neighbors_ = None
            return
        kept = thinned(X.shape[0], random_state)
        weights = None if weights is None else weights[kept]
        self.neighbors_ = NeighborVote.of(embedding.of(kept), Y[kept], weights, prior, constant)

    def _keep_counts(self, rows: Rows, plan: TrainingPlan) -> None:
        """Count the rows of each label; those of chunks add up."""
        counts = label_counts(*rows[1:])
        self.label_counts_ = counts + (self._counted() if plan.chunk else 0)

    def _counted(self) -> np.ndarray:
        """Return the rows counted so far; none before a first chunk and in files older than it."""
        return getattr(self, "label_counts_", np.zeros((2, 1)))

    def _keep_linear(self, module: Any, rows: Rows, random_state: np.random.RandomState) -> None:
        """Fit the logistic regressions behind the input scaling of ``module``."""
        X, Y, weights = rows
        share = self.linear_weight
        if share == "auto":
            share = auto_weight(X, Y.shape[1])
        self.linear_: nn.Module | None = None
        if share != 0:
            self.linear_ = fit_linear(X, Y, weights, module.scaler, self.linear_C, random_state)

    # ------------------------------------------------------------------ predictions

    def transform(self, X: Any) -> np.ndarray:
        """Return the embedding of each row: what the heads see.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to embed.

        Returns
        -------
        embedding : ndarray of shape (n_samples, n_embedding)
            In the dtype of X.
        """
        check_is_fitted(self)
        return self._embed(self._check_features(X, reset=False))

    def _embed(self, X: Features) -> np.ndarray:
        return self._evaluator(X)(self._encoder(), X)

    def _encoder(self) -> nn.Module:
        return self.net_.module_

    def _evaluator(self, X: Features) -> Evaluator:
        """Return what evaluates modules on such rows, in their dtype."""
        dtype = torch.float64 if X.dtype == np.float64 else torch.float32
        work = min(X.shape[0], CHUNK_ROWS) * self.net_.n_weights
        return Evaluator(resolve_device(self.device, work), dtype, work)

    def _logits(self, X: Features) -> np.ndarray:
        """Return logits, of so many rows at a time that their embeddings fit into memory."""
        evaluate = self._evaluator(X)

        def logits(part: slice) -> np.ndarray:
            return self._calibrated_logits(X[part], evaluate)

        return by_chunks(X.shape[0], self._chunk_rows(X.shape[1]), logits)

    def _chunk_rows(self, n_features: int) -> int:
        n_labels, width = self.coef_.shape
        return chunk_rows(n_features + 2 * width + widest(self.net_.module_) + 4 * n_labels)

    def _calibrated_logits(self, X: Features, evaluate: Evaluator) -> np.ndarray:
        logits = self._blended_logits(X, evaluate)
        return logits if self.calibration_ is None else self.calibration_.logits(logits)

    def _blended_logits(self, X: Features, evaluate: Evaluator) -> np.ndarray:
        logits = self._embedding_logits(evaluate(self._encoder(), X))
        linear, share = self._linear_part()
        rare = RareLabels.of(self._counted(), self.prior_count, share)
        if linear is not None:
            logits = rare.blended(logits, evaluate(linear, X), share)
        return logits + rare.shift.astype(logits.dtype)

    def _embedding_logits(self, embedding: np.ndarray) -> np.ndarray:
        """Return the logits of the heads, blended with the vote as probabilities are."""
        logits = self._head_logits(embedding)
        vote = self._vote()
        if vote is None:
            return logits
        device = resolve_device(self.device, len(embedding) * vote.embedding.size)
        votes = vote.probabilities(embedding, self.neighbor_temperature, device)
        heads = sigmoid(logits)
        return logit(clip_open_interval(heads + self.neighbor_weight * (votes - heads)))

    def _vote(self) -> NeighborVote | None:
        """Return the neighbours, or None where they have no say."""
        if self.neighbor_weight > 0 and self.neighbors_ is None:
            raise ValueError(
                f"neighbor_weight={self.neighbor_weight} needs the training rows, but the fit with "
                "neighbor_weight=0 kept none; fit again."
            )
        return self.neighbors_ if self.neighbor_weight > 0 else None

    def _linear_part(self) -> tuple[nn.Module | None, float]:
        """Return the logistic regressions on the features, None without, and their share."""
        if isinstance(self.linear_weight, str):
            return self.linear_, AUTO_WEIGHT
        if self.linear_weight > 0 and self.linear_ is None:
            raise ValueError(
                f"linear_weight={self.linear_weight} needs the logistic regressions on the "
                "features, but the fit made none; fit again."
            )
        return (self.linear_ if self.linear_weight > 0 else None), self.linear_weight

    def _head_logits(self, embedding: np.ndarray) -> np.ndarray:
        # By torch: the threads of NumPy's products would spin beside those of the next chunk.
        rows = torch.from_numpy(embedding)
        coef, intercept = (torch.from_numpy(a).to(rows) for a in (self.coef_, self.intercept_))
        return torch.addmm(intercept, rows, coef.T).numpy()

    # ------------------------------------------------------------------ the same as a graph

    def _probability_graph(self) -> nn.Module:
        return ProbabilityGraph(self._logits_graph(), self._format.kind, self.calibration_)

    def _logits_graph(self) -> nn.Module:
        vote, (linear, share) = self._vote(), self._linear_part()
        return BlendGraph(
            self._encoder(),
            self._head_graph(),
            None if vote is None else VoteGraph(vote, self.neighbor_temperature),
            self.neighbor_weight,
            linear,
            share,
            RareLabels.of(self._counted(), self.prior_count, share),
        )

    def _head_graph(self) -> nn.Module:
        return AffineGraph(self.coef_, self.intercept_)

    @property
    def _n_features_out(self) -> int:
        return self.coef_.shape[1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
