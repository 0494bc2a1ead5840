"""From the parameters of an estimator and its rows to a net."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from sklearn_mlcl.modules import (
    FeatureNoise,
    MemberList,
    MLPEncoder,
    ScaledEncoder,
    SelectiveEncoder,
    embedding_width,
)
from sklearn_mlcl.modules._scaling import input_scaler
from sklearn_mlcl.training import IndexBatchNet
from sklearn_mlcl.utils.class_weight import ClassWeights, label_log_odds, row_weights
from sklearn_mlcl.utils.fit_data import Rows, all_known

#: Rows up to which ``max_epochs="auto"`` is AUTO_EPOCHS; beyond, epochs fall as one over the root.
AUTO_ROWS, AUTO_EPOCHS, FEWEST_EPOCHS = 2_000, 40, 8

NO_FACTORS = ClassWeights(np.ones(1), np.ones(1))


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train and who listens; ``chunk`` marks the rows as a part of the data.

    ``context`` is that of scikit-learn's callbacks (None without them), ``given`` what they are
    shown of the arguments of ``fit``, ``factors`` what class weights do to the weights of cells.
    """

    max_epochs: int
    schedule: str
    context: Any = None
    given: dict[str, Any] = field(default_factory=dict)
    chunk: bool = False
    factors: ClassWeights = NO_FACTORS


def layer_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Return the widths of layers, the parameter ``name``, checked."""
    widths = tuple(np.atleast_1d(sizes).tolist())
    if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
        raise ValueError(
            f"{name} must hold one positive integer a layer, at least one; got {sizes!r}."
        )
    return widths


def frequent_features(X: Any, limit: int | None) -> np.ndarray | None:
    """Return the numbers of the features of a CSR X that most rows have; None if all may stay."""
    if limit is None or not sp.issparse(X) or X.shape[1] <= limit:
        return None
    n_rows_with = np.bincount(X.indices, minlength=X.shape[1])
    return np.sort(np.argsort(-n_rows_with, kind="stable")[:limit])


class NetBuilder:
    """Build the encoder and the net of a net-based classifier, and size its training."""

    hidden_layer_sizes: Sequence[int]
    activation: str
    dropout: float
    module: Any
    n_members: int
    feature_noise: float
    mixup: float
    max_sparse_features: int | None
    max_epochs: int | str
    batch_size: int | str
    learning_rate: float
    weight_decay: float
    optimizer: Any
    precision: str
    compile: bool
    callbacks: list[Any] | None
    net_params: dict[str, Any] | None
    verbose: int

    #: The net that is trained.
    _net_class: ClassVar[type[IndexBatchNet]] = IndexBatchNet

    def _make_net(self, rows: Rows) -> IndexBatchNet:
        X, Y, weights = rows
        log_odds, _ = label_log_odds(Y, weights)
        module = self._make_module(rows, log_odds)
        width = embedding_width(module, X.shape[1], self.n_members)
        return self._net_class(
            module,
            self._make_objective(width, log_odds, all_known(Y)),
            optimizer_name=self.optimizer,
            weight_decay=self.weight_decay,
            mixup=self.mixup,
            n_members=self.n_members,
            precision=self.precision,
            compiled=self.compile,
            lr=self.learning_rate,
            batch_size=self._n_batch_rows(X.shape[0]),
            callbacks=self.callbacks,
            verbose=self.verbose,
            **(self.net_params or {}),
        ).initialize()

    def _make_module(self, rows: Rows, log_odds: np.ndarray) -> nn.Module:
        """Return what makes embeddings of rows as they come."""
        X, Y, weights = rows
        kept = frequent_features(X, self.max_sparse_features)
        encoder = self._make_encoder(X.shape[1] if kept is None else len(kept))
        scaler = input_scaler(X, row_weights(Y, weights))
        noise = FeatureNoise(self.feature_noise)
        if kept is None:
            return ScaledEncoder(scaler, encoder, noise)
        return SelectiveEncoder(scaler, encoder, noise, torch.from_numpy(kept))

    @abstractmethod
    def _make_objective(
        self, n_embedding: int, log_odds: np.ndarray, labels_known: bool
    ) -> nn.Module:
        """Return what the net minimises: called with (embedding, labels, sample_weight)."""

    def _adopted(self, net: IndexBatchNet, rows: Rows) -> IndexBatchNet:
        """Return a trained net that goes on under the settings of today."""
        net.adopt(
            precision=self.precision,
            compiled=self.compile,
            lr=self.learning_rate,
            batch_size=self._n_batch_rows(rows[0].shape[0]),
            callbacks=self.callbacks,
            verbose=self.verbose,
        )
        return net

    def _n_batch_rows(self, n_rows: int) -> int:
        """Return ``batch_size``, "auto" resolved: a twelfth to a sixth of the rows, 32 to 128."""
        if self.batch_size != "auto":
            return min(int(self.batch_size), n_rows)
        return min(n_rows, max(32, min(128, 1 << (n_rows // 12).bit_length())))

    def _n_epochs(self, n_rows: int) -> int:
        """Return ``max_epochs``, "auto" resolved: fewer passes over more rows."""
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        share = sqrt(min(1.0, AUTO_ROWS / n_rows))
        return max(FEWEST_EPOCHS, ceil(AUTO_EPOCHS * share))

    def _make_encoder(self, n_features: int) -> nn.Module:
        if self.module is None:
            return MLPEncoder(
                n_features,
                hidden_layer_sizes=layer_sizes("hidden_layer_sizes", self.hidden_layer_sizes),
                activation=self.activation,
                dropout=self.dropout,
                n_members=self.n_members,
            )
        members = [self.module(n_features) for _ in range(self.n_members)]
        for member in members:
            embedding_width(member, n_features)
        return members[0] if self.n_members == 1 else MemberList(members)
