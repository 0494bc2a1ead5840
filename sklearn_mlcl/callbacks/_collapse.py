"""What to record about neural collapse while a net is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import Callback

from sklearn_mlcl.collapse import CollapseReport, neural_collapse_metrics
from sklearn_mlcl.collapse._metrics import stratified
from sklearn_mlcl.modules import side_by_side
from sklearn_mlcl.modules._encoder import head_arrays
from sklearn_mlcl.training.batches import RowTensors
from sklearn_mlcl.training.objectives import LogitObjective

#: Families of values that `neural_collapse_metrics` has; "x" stands for ``x`` and ``x_m{m}``.
FAMILIES = (
    "tag_r2", "phi_rmse", "phi_corr", "ncm", "ncm_deg", "ncm_chance_deg", "alpha", "nc1",
    "nc1_trace", "nc1_code", "nc2_h", "nc2_w", "nc2_w_raw", "nc2_w_excess", "nc3", "nc4",
    "tag_norm_cv", "tag_cos_mean", "tag_cos_std", "w_norm_cv", "tag_w_cos",
)  # fmt: skip
#: Rows that are embedded at once.
BLOCK = 1024


class NeuralCollapseMonitor(Callback):
    """Record how far the embedding of the training samples has collapsed.

    The samples are drawn when training begins, stratified by their numbers of labels, and stay the
    same. They are embedded in evaluation mode without gradients. The history gets
    :func:`~sklearn_mlcl.collapse.neural_collapse_metrics` of the embedding. Heads that are trained
    on logits take part with their weights. The monitor does not change the training, to the bit.

    Parameters
    ----------
    every : int, default=1
        Number of epochs between measurements. The first and the last epoch of a training are always
        measured. Other epochs have NaN, so all columns have one entry per epoch.
    n_rows : int, default=2000
        Number of samples to measure.
    metrics : sequence of str, default=("tag_r2", "phi_rmse", "ncm", "nc1_trace", "nc2_h", \
            "nc2_w", "nc3", "alpha")
        Values to record, by the names of `neural_collapse_metrics`. Some depend on the number of
        labels m. Of these, "nc1_trace" means ``nc1_trace_m1``, ``nc1_trace_m2``, and so on.
    keep_reports : bool, default=False
        Keep the report of every measurement with its arrays, not only the last one.
    random_state : int, RandomState instance or None, default=0
        Draws the rows.

    Attributes
    ----------
    reports_ : dict of int to CollapseReport
        Reports by epoch, counted from 1.

    Raises
    ------
    ValueError
        When training begins: if an argument is outside its range, or all rows have no label,
        all labels or an unknown one.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.callbacks import NeuralCollapseMonitor
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> clf = MultiLabelMLPClassifier(
    ...     max_epochs=4, callbacks=[NeuralCollapseMonitor(every=2)], random_state=0
    ... ).fit(X, Y)
    >>> import numpy as np
    >>> np.isnan(clf.history_["tag_r2"])
    array([False,  True, False, False])
    """

    def __init__(
        self,
        every: int = 1,
        n_rows: int = 2000,
        metrics: Sequence[str] = (
            "tag_r2", "phi_rmse", "ncm", "nc1_trace", "nc2_h", "nc2_w", "nc3", "alpha",
        ),
        keep_reports: bool = False,
        random_state: Any = 0,
    ) -> None:  # fmt: skip
        self.every = every
        self.n_rows = n_rows
        self.metrics = metrics
        self.keep_reports = keep_reports
        self.random_state = random_state

    # skorch takes every attribute without a trailing underscore for a parameter.

    def initialize(self) -> NeuralCollapseMonitor:
        self.reports_: dict[int, CollapseReport] = {}
        self.names_: list[str] = []
        return self

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        self._check_arguments()
        Y = X.Y.cpu().numpy() if isinstance(X.Y, torch.Tensor) else X.Y
        rows = _stratified_rows(Y, self.n_rows, check_random_state(self.random_state))
        self.rows_, self.Y_ = torch.from_numpy(rows).to(X.device), Y[rows].astype(np.float32)
        self.epochs_before_ = len(net.history)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        if (len(net.history) - self.epochs_before_ - 1) % self.every == 0:
            self._measure(net, dataset_train)
            return
        for name in self.names_:
            net.history.record(name, float("nan"))

    def on_train_end(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        if len(net.history) > self.epochs_before_ and len(net.history) not in self.reports_:
            self._measure(net, X)
        # The rows have done their work; a pickle of the estimator shall not carry them.
        del self.rows_, self.Y_

    def _check_arguments(self) -> None:
        for name in ("every", "n_rows"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
        unknown = [name for name in self.metrics if name not in FAMILIES]
        if unknown:
            raise ValueError(f"metrics must be of {FAMILIES}, got {unknown}.")

    def _measure(self, net: Any, rows: RowTensors) -> None:
        with net.averaged():
            embedding = _embed(net.module_, rows, self.rows_)
            weight, bias = _logit_head(net, self.Y_.shape[1])
        report = neural_collapse_metrics(embedding, self.Y_, weight, bias, max_rows=None)
        if not self.keep_reports:
            self.reports_.clear()
        self.reports_[len(net.history)] = report
        self.names_ = [name for name in report if re.sub(r"_m\d+$", "", name) in self.metrics]
        for name in self.names_:
            net.history.record(name, report[name])


def _stratified_rows(
    Y: np.ndarray | sp.csr_array, n_rows: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Sorted numbers of rows without unknown labels, evenly spaced along the number of labels."""
    sizes = np.asarray(Y.sum(axis=1)).ravel()  # NaN where a label is unknown
    known = np.flatnonzero(~np.isnan(sizes))
    if not ((sizes[known] > 0) & (sizes[known] < Y.shape[1])).any():
        raise ValueError(
            "NeuralCollapseMonitor needs samples that have some of the labels, but not all, and no "
            f"missing label; there is none among {Y.shape[0]} samples with {Y.shape[1]} labels."
        )
    return np.sort(known[stratified(sizes[known], min(n_rows, len(known)), random_state)])


def _embed(module: torch.nn.Module, rows: RowTensors, index: torch.Tensor) -> np.ndarray:
    training = module.training
    module.eval()
    with torch.no_grad():
        blocks = [
            side_by_side(module(rows.rows(part)[0])).double().cpu() for part in index.split(BLOCK)
        ]
    module.train(training)
    return torch.cat(blocks).numpy()


def _logit_head(net: Any, n_labels: int) -> tuple[Any, Any]:
    """Weights (L, M * h) of the labels in a head that the loss on logits trains, else None."""
    if not isinstance(net.criterion_, LogitObjective):
        return None, None
    weight, bias = head_arrays(net.criterion_.head, net.n_members)
    # The mean of the members, as predictions are.
    weight, bias = np.concatenate(list(weight), axis=1) / len(weight), bias.mean(axis=0)
    return weight[:n_labels], bias[:n_labels]
