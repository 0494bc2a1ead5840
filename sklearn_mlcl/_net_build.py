"""From the parameters of an estimator and its rows to a net."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

import numpy as np
import scipy.sparse as sp
from torch import nn

from sklearn_mlcl._embedding import input_scaler, label_log_odds
from sklearn_mlcl.modules import (
    FeatureNoise,
    MemberList,
    MLPEncoder,
    ScaledEncoder,
    embedding_width,
)
from sklearn_mlcl.training import IndexBatchNet

#: Rows up to which ``max_epochs="auto"`` is AUTO_EPOCHS; beyond, epochs fall as one over the root.
AUTO_ROWS, AUTO_EPOCHS, FEWEST_EPOCHS = 2_000, 40, 8


def all_known(Y: Any) -> bool:
    """Return whether no label is NaN."""
    return sp.issparse(Y) or not np.isnan(Y).any()


class NetBuilder:
    """Build the encoder and the net of a net-based classifier, and size its training."""

    hidden_layer_sizes: Sequence[int]
    activation: str
    dropout: float
    module: Any
    n_members: int
    feature_noise: float
    mixup: float
    max_epochs: int | str
    batch_size: int | str
    learning_rate: float
    weight_decay: float
    optimizer: Any
    callbacks: list | None
    net_params: dict | None
    verbose: int

    def _make_net(self, rows: Any) -> IndexBatchNet:
        X, Y, weights = rows
        log_odds, _ = label_log_odds(Y, weights)
        encoder = ScaledEncoder(
            input_scaler(X, weights),
            self._make_encoder(X.shape[1]),
            FeatureNoise(self.feature_noise),
        )
        width = embedding_width(encoder, X.shape[1], self.n_members)
        return IndexBatchNet(
            encoder,
            self._make_objective(width, log_odds, all_known(Y)),
            optimizer_name=self.optimizer,
            weight_decay=self.weight_decay,
            mixup=self.mixup,
            n_members=self.n_members,
            lr=self.learning_rate,
            batch_size=self._n_batch_rows(X.shape[0]),
            callbacks=self.callbacks,
            verbose=self.verbose,
            **(self.net_params or {}),
        ).initialize()

    def _make_objective(
        self, n_embedding: int, log_odds: np.ndarray, labels_known: bool
    ) -> nn.Module:
        raise TypeError(f"{type(self).__name__} states no objective.")

    def _adopted(self, net: IndexBatchNet, rows: Any) -> IndexBatchNet:
        """Return a trained net that goes on under the settings of today."""
        net.adopt(
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
                hidden_layer_sizes=self._hidden_layer_sizes(),
                activation=self.activation,
                dropout=self.dropout,
                n_members=self.n_members,
            )
        members = [self.module(n_features) for _ in range(self.n_members)]
        for member in members:
            embedding_width(member, n_features)
        return members[0] if self.n_members == 1 else MemberList(members)

    def _hidden_layer_sizes(self) -> tuple[int, ...]:
        sizes = tuple(np.atleast_1d(self.hidden_layer_sizes).tolist())
        if not sizes or any(not isinstance(size, int) or size < 1 for size in sizes):
            raise ValueError(
                "hidden_layer_sizes must hold one positive integer a layer, at least one; got "
                f"{self.hidden_layer_sizes!r}."
            )
        return sizes
