"""The encoder trained end to end: the reference for contrastive training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import nn

from sklearn_mlcl._compat import StrOptions
from sklearn_mlcl._net_base import NetClassifier, Rows
from sklearn_mlcl._shared_docs import fill_shared_parameters
from sklearn_mlcl.losses import LOGIT_LOSSES
from sklearn_mlcl.training import IndexBatchNet, LinearHead, LogitObjective


@fill_shared_parameters
class MultiLabelMLPClassifier(NetClassifier):
    r"""Multi-layer perceptron with one logit per label, trained end to end.

    Minimises over the encoder :math:`h` and a linear head :math:`(W, b)`

    .. math:: \frac{1}{n} \sum_i \ell(W h(x_i) + b, \; y_i)

    with :math:`\ell` the binary cross-entropy of all labels, or another loss on logits. Encoder,
    optimiser, schedule and early stopping are those of
    :class:`~sklearn_mlcl.ContrastiveMultiLabelClassifier`: what the two differ in is the
    objective alone.

    Parameters
    ----------
    loss : {loss_names} or torch.nn.Module, default="bce"
        Loss on the logits: binary cross-entropy, the asymmetric loss, the focal loss, ZLPR, or
        the two-way loss; see :mod:`sklearn_mlcl.losses`. A module of your own is called as
        ``loss(logits, labels, sample_weight)``.
    {shared_parameters}

    Attributes
    ----------
    {shared_attributes}

    See Also
    --------
    ContrastiveMultiLabelClassifier : The same encoder under a contrastive loss.
    MultiLabelLogisticRegression : The heads alone.

    References
    ----------
    .. [1] A. Audibert, A. Gauffre, M.-R. Amini, "Multi-Label Contrastive Learning: A
       Comprehensive Study", arXiv:2412.00101, 2024.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> X, Y = make_multilabel_classification(n_samples=200, n_classes=3, random_state=0)
    >>> mlp = MultiLabelMLPClassifier(max_epochs=5, random_state=0).fit(X, Y)
    >>> mlp.predict_proba(X).shape
    (200, 3)
    """

    _parameter_constraints: ClassVar[dict] = {
        **NetClassifier._parameter_constraints,
        "loss": [StrOptions(set(LOGIT_LOSSES)), nn.Module],
    }

    def __init__(
        self,
        *,
        loss: str | nn.Module = "bce",
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: str = "silu",
        dropout: float = 0.4,
        module: Any = None,
        max_epochs: int = 30,
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        optimizer: Any = "adamw",
        schedule: str = "one_cycle",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        neighbor_weight: float = 0.8,
        neighbor_temperature: float = 0.05,
        threshold: Any = 0.5,
        device: Any = "auto",
        callbacks: list | None = None,
        net_params: dict | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        random_state: Any = None,
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
            device=device,
            callbacks=callbacks,
            net_params=net_params,
            warm_start=warm_start,
            verbose=verbose,
            random_state=random_state,
        )
        self.loss = loss

    def _make_objective(
        self, n_embedding: int, log_odds: np.ndarray, labels_known: bool
    ) -> nn.Module:
        if isinstance(self.loss, nn.Module):
            loss = copy.deepcopy(self.loss)
        else:
            loss = LOGIT_LOSSES[self.loss]()
        return LogitObjective(LinearHead(n_embedding, log_odds), loss)

    def _fit_heads(
        self, net: IndexBatchNet, embedding: np.ndarray, rows: Rows
    ) -> tuple[np.ndarray, np.ndarray]:
        return net.criterion_.head.arrays()
