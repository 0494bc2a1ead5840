"""What to record about the representation while it is learned."""

from __future__ import annotations

from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor

from sklearn_mlcl.modules import side_by_side
from sklearn_mlcl.representation import alignment, positive_regularization_ratio, uniformity
from sklearn_mlcl.training.objectives import ContrastiveObjective


class RepresentationMonitor(Callback):
    """Record alignment, uniformity and the positive-regularisation ratio of every epoch.

    They are measured on the first training samples in evaluation mode. ``history_`` has them as
    ``alignment``, ``uniformity`` and ``prr``. Alignment and uniformity are those of the embedding.
    The ratio is that of the projections under the contrastive loss, or NaN without one.

    Parameters
    ----------
    n_rows : int, default=512
        Number of samples to measure.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import ContrastiveMultiLabelClassifier
    >>> from sklearn_mlcl.callbacks import RepresentationMonitor
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> clf = ContrastiveMultiLabelClassifier(
    ...     max_epochs=2, callbacks=[RepresentationMonitor()], random_state=0
    ... ).fit(X, Y)
    >>> clf.history_["prr"].shape
    (2,)
    """

    def __init__(self, n_rows: int = 512) -> None:
        self.n_rows = n_rows

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        index = torch.arange(min(self.n_rows, len(dataset_train)), device=dataset_train.device)
        X, (labels, _) = dataset_train.rows(index)
        net.module_.train(False)
        net.criterion_.train(False)
        with torch.no_grad(), net.averaged():
            members = net.module_(X)
            embedding = side_by_side(members)
            net.history.record("alignment", alignment(embedding, labels))
            net.history.record("uniformity", uniformity(embedding))
            net.history.record("prr", _ratio(net.criterion_, members, labels))


def _ratio(objective: Any, embedding: Tensor, labels: Tensor) -> float:
    """The mean of the members; NaN where no contrastive loss of this package is at work."""
    if not isinstance(objective, ContrastiveObjective):
        return float("nan")
    pairs = objective.pairs(embedding, labels)
    ratios = [positive_regularization_ratio(**of_member) for of_member in pairs]
    return sum(ratios) / len(ratios) if ratios else float("nan")
