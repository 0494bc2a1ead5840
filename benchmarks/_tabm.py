"""TabM (package ``tabm``) as a classifier of label matrices, with early stopping.

The net and its defaults are the package's; optimizer and patience are those of its paper
(Gorishniy, Kotelnikov and Babenko, ICLR 2025). Needs the extra ``bench``.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from sklearn_mlcl.metrics import multilabel_log_loss
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit

#: Samples that are predicted at a time: the net keeps k activations of each.
CHUNK = 1024


class TabMClassifier(ClassifierMixin, BaseEstimator):
    """TabM with k predictions for each sample, trained by the mean of their cross-entropies.

    Parameters
    ----------
    k : int, default=32
        Predictions that share the weights; the probability is their mean.
    n_blocks, d_block, dropout : default=3, 512, 0.1
        Of the net, the defaults of the package.
    learning_rate, weight_decay : float, default=2e-3, 3e-4
        Of AdamW.
    batch_size : int, default=256
        Samples a step, the same for all k.
    max_epochs : int, default=1000
        The most epochs.
    patience : int, default=16
        Epochs without a lower log loss on the held-out samples before training stops. The weights
        of the best epoch are kept.
    validation_fraction : float, default=0.2
        Share of the samples that is held out, stratified.
    random_state : int, default=0
        Seed of split, weights and batches.
    """

    def __init__(
        self,
        k: int = 32,
        n_blocks: int = 3,
        d_block: int = 512,
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        weight_decay: float = 3e-4,
        batch_size: int = 256,
        max_epochs: int = 1000,
        patience: int = 16,
        validation_fraction: float = 0.2,
        random_state: int = 0,
    ) -> None:
        self.k = k
        self.n_blocks = n_blocks
        self.d_block = d_block
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: Any, Y: np.ndarray) -> Self:
        """Train until the held-out log loss stops falling."""
        from tabm import TabM

        splitter = MultilabelStratifiedShuffleSplit(
            1, test_size=self.validation_fraction, random_state=self.random_state
        )
        train, held_out = next(splitter.split(X, Y))
        self.classes_ = np.arange(Y.shape[1])
        self.n_features_in_ = X.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.net_ = TabM.make(
                n_num_features=X.shape[1],
                d_out=Y.shape[1],
                k=self.k,
                n_blocks=self.n_blocks,
                d_block=self.d_block,
                dropout=self.dropout,
            )
            self._train(_tensor(X[train]), _tensor(Y[train]), X[held_out], Y[held_out])
        return self

    def _train(self, X: Tensor, Y: Tensor, X_val: Any, Y_val: np.ndarray) -> None:
        optimizer = torch.optim.AdamW(
            self.net_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        lowest, best, since = np.inf, self.net_.state_dict(), 0
        for _ in range(self.max_epochs):
            self.net_.train()
            for rows in torch.randperm(len(X)).split(self.batch_size):
                logits = self.net_(X[rows])  # (samples, k, labels)
                targets = Y[rows, None].expand_as(logits)
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(logits, targets).backward()
                optimizer.step()
            loss = multilabel_log_loss(Y_val, self.predict_proba(X_val))
            since = 0 if loss < lowest else since + 1
            if since == 0:
                lowest, best = loss, copy.deepcopy(self.net_.state_dict())
            elif since == self.patience:
                break
        self.net_.load_state_dict(best)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean of the k probabilities, shape (n, L)."""
        self.net_.eval()
        with torch.inference_mode():
            parts = [self.net_(x).sigmoid().mean(1) for x in _tensor(X).split(CHUNK)]
        return torch.cat(parts).numpy().astype(np.float64)


def _tensor(rows: Any) -> Tensor:
    """Return a matrix, sparse or not, as a dense float32 tensor."""
    dense = rows.toarray() if sp.issparse(rows) else rows
    return torch.as_tensor(np.asarray(dense), dtype=torch.float32)
