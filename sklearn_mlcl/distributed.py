"""Several machines: blocks of dask arrays, and labels in shards, on a cluster of Dask.

Searches need nothing of this: ``with joblib.parallel_config("dask"): search.fit(X, Y)``. The
functions here need the extra ``cluster``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl.utils._sklearn_compat import validate_parameters
from sklearn_mlcl.utils.answers import TargetFormat, infer_format, set_format
from sklearn_mlcl.utils.extras import import_extra
from sklearn_mlcl.utils.runtime import torch_defaults
from sklearn_mlcl.utils.targets import as_label_matrix, warn_constant_labels
from sklearn_mlcl.utils.topk import check_k, largest_of_rows

__all__ = ["LabelShards", "fit_label_shards", "partial_fit_blocks", "predict_proba_blocks"]

#: Labels of a shard at most, where nobody says how many shards there are.
LABELS_OF_SHARD = 10_000


def partial_fit_blocks(estimator: Any, X: Any, y: Any, **fit_params: Any) -> Any:
    """Train an estimator on one block of a dask array after the other.

    Each block is loaded where it is needed, and no other one. The estimator travels between the
    workers.

    Parameters
    ----------
    estimator : estimator
        An unfitted or fitted estimator with ``partial_fit``. It stays as it is.
    X : dask.array.Array of shape (n_samples, n_features)
        Features, chunked along the samples alone.
    y : dask.array.Array of shape (n_samples, n_labels) or (n_samples,)
        Targets with the same chunks of samples.
    **fit_params : dict
        Arguments of every ``partial_fit``, such as ``classes``.

    Returns
    -------
    fitted : dask.delayed.Delayed
        Its ``compute()`` returns the trained copy. With a ``distributed.Client`` it runs on the
        cluster.

    Raises
    ------
    ValueError
        If the chunks differ, or cut features or labels.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.distributed import (
    ...     partial_fit_blocks,
    ...     predict_proba_blocks,
    ... )
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> X, Y = da.from_array(X, (50, -1)), da.from_array(Y, (50, -1))
    >>> clf = partial_fit_blocks(
    ...     MultiLabelMLPClassifier(random_state=0), X, Y
    ... ).compute()
    >>> probabilities = predict_proba_blocks(clf, X)
    >>> clf.n_iter_, type(probabilities).__name__, probabilities.shape
    (2, 'Array', (100, 5))
    """
    dask = import_extra("dask", "partial_fit_blocks", "cluster")
    if not hasattr(estimator, "partial_fit"):
        raise TypeError(f"estimator must have partial_fit, got {estimator!r}.")
    _check_chunks(X, y)
    step = dask.delayed(_trained_further, pure=False)
    trained = dask.delayed(estimator, pure=False)
    for X_block, y_block in zip(X.to_delayed().ravel(), y.to_delayed().ravel(), strict=True):
        trained = step(trained, X_block, y_block, fit_params)
    return trained


def _trained_further(estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> Any:
    if X.shape[0] == y.shape[0] == 0:  # a filter has taken all samples of the block
        return estimator
    # A copy: workers in threads of one process would train the caller's own.
    return copy.deepcopy(estimator).partial_fit(X, y, **fit_params)


def _check_chunks(X: Any, y: Any) -> None:
    for name, array in {"X": X, "y": y}.items():
        if not hasattr(array, "to_delayed") or not hasattr(array, "chunks"):
            raise TypeError(f"{name} must be a dask array, got {type(array).__name__}.")
    if X.chunks[0] != y.chunks[0]:
        raise ValueError(
            f"X and y must have the same chunks of samples, got {X.chunks[0]} and {y.chunks[0]}: "
            "y.rechunk({0: X.chunks[0]})."
        )
    for name, array in {"X": X, "y": y}.items():
        if any(len(chunks) > 1 for chunks in array.chunks[1:]):
            raise ValueError(
                f"{name} must not be cut along its columns, got the chunks {array.chunks[1]}: "
                f"{name}.rechunk({{1: -1}})."
            )


def predict_proba_blocks(estimator: Any, X: Any) -> Any:
    """Return probabilities of the blocks of a dask array, as one.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator.
    X : dask.array.Array of shape (n_samples, n_features)
        Features, chunked along the samples alone.

    Returns
    -------
    probabilities : dask.array.Array of shape (n_samples, n_labels)
        What ``predict_proba`` returns, computed a block at a time where somebody asks for it.

    Raises
    ------
    ValueError
        If the chunks cut features.

    Examples
    --------
    >>> import dask.array as da
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.distributed import predict_proba_blocks
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> heads = MultiLabelLogisticRegression().fit(X, Y)
    >>> predict_proba_blocks(heads, da.from_array(X, (50, -1))).mean().compute() < 1
    np.True_
    """
    import_extra("dask", "predict_proba_blocks", "cluster")
    _check_chunks(X, X)
    check_is_fitted(estimator)
    dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)
    chunks = (X.chunks[0], (len(estimator.classes_),))
    return X.map_blocks(_probabilities, estimator=estimator, dtype=dtype, chunks=chunks)


def _probabilities(X: np.ndarray, estimator: Any) -> np.ndarray:
    if X.shape[0] == 0:  # a filter has taken all samples of the block
        return np.empty((0, len(estimator.classes_)), X.dtype if X.dtype.kind == "f" else float)
    return np.asarray(estimator.predict_proba(X))  # set_output may ask for frames


# ---------------------------------------------------------------------- labels in shards


class LabelShards:
    """Logistic regressions of very many labels, in shards on the workers of a cluster.

    Made by :func:`fit_label_shards`. The coefficients stay on the workers.

    Parameters
    ----------
    client : distributed.Client
        Where they are.
    shards : sequence of distributed.Future
        Fitted estimators, of neighbouring labels each.
    starts : sequence of int
        The first label of each shard, and the number of all labels.
    target_format : TargetFormat
        How the targets of all labels looked.

    Examples
    --------
    >>> from distributed import Client
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.distributed import fit_label_shards
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> with Client(processes=False, n_workers=1, dashboard_address=None) as client:
    ...     fit_label_shards(
    ...         MultiLabelLogisticRegression(), X, Y, client=client
    ...     ).n_labels
    5
    """

    def __init__(
        self, client: Any, shards: Sequence[Any], starts: Sequence[int], target_format: TargetFormat
    ) -> None:
        self.client, self.shards, self.starts = client, list(shards), list(starts)
        self.target_format = target_format

    @property
    def n_labels(self) -> int:
        """Number of labels."""
        return self.starts[-1]

    def predict_topk(self, X: Any, k: int) -> sp.csr_matrix:
        """Return the k largest probabilities of each sample.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to score.
        k : int
            Labels a sample, from 1 to n_labels.

        Returns
        -------
        probabilities : CSR matrix of shape (n_samples, n_labels)
            As :meth:`sklearn_mlcl.MultiLabelLogisticRegression.predict_topk` returns them. Each
            worker sends k numbers a sample.
        """
        k = check_k(k, self.n_labels)
        parts = self.client.gather(
            self.client.map(_top, self.shards, k=k, X=self.client.scatter(X, hash=False))
        )
        labels = np.hstack(
            [own.indices.reshape(own.shape[0], -1) + start
             for own, start in zip(parts, self.starts, strict=False)]
        )  # fmt: skip
        values = np.hstack([own.data.reshape(own.shape[0], -1) for own in parts])
        best = largest_of_rows(values, k)
        rows = np.arange(len(labels))[:, None]
        columns = labels[rows, best.indices.reshape(-1, k)]
        shape = (len(labels), self.n_labels)
        return sp.csr_matrix((best.data, columns.ravel(), best.indptr), shape=shape)

    def gather(self) -> Any:
        """Return one estimator of all labels, on this machine.

        Returns
        -------
        estimator : MultiLabelLogisticRegression
            With the coefficients of all shards.
        """
        fits = self.client.gather(self.shards)
        whole = clone(fits[0])
        vars(whole).update(vars(fits[0]))
        for name in ("coef_", "intercept_", "C_", "n_iter_"):
            setattr(whole, name, np.concatenate([getattr(fit, name) for fit in fits]))
        set_format(whole, self.target_format)
        return whole


def _top(fitted: Any, X: Any, k: int) -> sp.csr_matrix:
    return fitted.predict_topk(X, min(k, len(fitted.classes_)))


def fit_label_shards(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    client: Any,
    n_shards: int | None = None,
) -> LabelShards:
    """Fit the logistic regressions of very many labels, a shard of them on each worker.

    The regression of a label does not depend on the other labels, so the shards give the same
    solution as one machine.

    Parameters
    ----------
    estimator : MultiLabelLogisticRegression
        An unfitted one, with one number as ``C``, and one ``threshold``.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Features; each worker gets a copy.
    y : {ndarray, CSR matrix} of shape (n_samples, n_labels)
        Indicator matrix.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.
    client : distributed.Client
        The cluster.
    n_shards : int, default=None
        Number of shards; None: one for each thread of the cluster, and no more than 10,000 labels
        in each.

    Returns
    -------
    shards : LabelShards
        Predicts, and gathers the coefficients.

    Raises
    ------
    ValueError
        If a parameter of the estimator differs between labels.

    Examples
    --------
    >>> from distributed import Client
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.distributed import fit_label_shards
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> with Client(processes=False, n_workers=1, dashboard_address=None) as client:
    ...     heads = MultiLabelLogisticRegression(C=0.1)
    ...     shards = fit_label_shards(heads, X, Y, client=client, n_shards=2)
    ...     shards.predict_topk(X, 2).shape, shards.gather().coef_.shape
    ((100, 5), (5, 20))
    """
    import_extra("distributed", "fit_label_shards", "cluster")
    for name in ("C", "threshold", "class_weight"):
        value = getattr(estimator, name)
        if not (value is None or np.ndim(value) == 0) or isinstance(value, dict) or value == "cv":
            raise ValueError(
                f"fit_label_shards needs parameters that hold for all labels: expected one number, "
                f"got {name}={value!r}."
            )
    validate_parameters(estimator)
    if estimator.label_tree is True:
        raise ValueError(
            "fit_label_shards fits a regression for each label, got label_tree=True: expected "
            "'auto' or False."
        )
    Y: Any = as_label_matrix(y, estimator.missing_label)
    if (n_labels := Y.shape[1]) < 2:
        raise ValueError(f"fit_label_shards needs two labels or more, got y of shape {Y.shape}.")
    if n_shards is None:
        n_shards = max(sum(client.nthreads().values()), -(-n_labels // LABELS_OF_SHARD))
    # A matrix of one column would be read as 1-D targets.
    n_shards = min(n_shards, n_labels // 2)
    starts = np.linspace(0, n_labels, n_shards + 1).astype(int).tolist()
    columns = Y.tocsc() if sp.issparse(Y) else Y
    of_shard = clone(estimator).set_params(label_tree=False)
    # A shard solves its labels as one fit of all would.
    of_shard.tol = of_shard._tolerance(X if hasattr(X, "shape") else np.asarray(X), n_labels)
    shared = client.scatter(X, broadcast=True, hash=False)
    fits = []
    for start, end in pairwise(starts):
        own = columns[:, start:end]
        own = own.tocsr() if sp.issparse(own) else own
        fits.append(client.submit(_fitted, clone(of_shard), shared, own, sample_weight, pure=False))
    shards, constant = (client.map(itemgetter(i), fits, pure=False) for i in (0, 1))
    target_format = infer_format(y, None, estimator.missing_label)
    # Workers know the labels of their shards alone.
    warn_constant_labels(np.concatenate(client.gather(constant)), target_format.label_names)
    return LabelShards(client, shards, starts, target_format)


def _fitted(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray]:
    """Return the fitted estimator of a shard, and which of its labels have a single value."""
    with torch_defaults():
        return estimator, estimator._solve(X, y, sample_weight)
