"""Predictions in chunks: the same answers, bounded memory, smaller chunks when memory runs out."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.heads import evaluation
from sklearn_mlcl.utils import samples
from sklearn_mlcl.utils.answers import TargetFormat
from sklearn_mlcl.utils.samples import chunk_rows, chunks, map_chunks, stacked
from tests.small import plain, small

every_classifier = pytest.mark.parametrize(
    "estimator",
    [
        small(ContrastiveMultiLabelClassifier),
        small(MultiLabelMLPClassifier, decision="onn"),
        small(MultiLabelMLPClassifier, decision="topk"),
        small(CGMVAEClassifier, neighbor_weight=0.3, net_params__n_predict_samples=2),
        MultiLabelLogisticRegression(),
    ],
    ids=["contrastive", "onn", "topk", "cgmvae", "logistic"],
)


class Encoder(torch.nn.Linear):
    """Notes how many samples it embeds at once outside of training; may be out of memory once."""

    sizes: ClassVar[list[int]] = []
    is_full: ClassVar[bool] = False

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 6)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        if Encoder.is_full:
            Encoder.is_full = False
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if not self.training:
            Encoder.sizes.append(len(X))
        return super().forward(X)


class Full:
    """Runs out of memory, as a GPU does, above so many rows."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, part: slice) -> np.ndarray:
        size = part.stop - part.start
        self.sizes.append(size)
        if size > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return np.arange(part.start, part.stop)[:, None]


def by_chunks(n_samples: int, size: int, compute: Any) -> Any:
    return stacked((made for _, made in map_chunks(n_samples, size, compute)), n_samples)


def test_chunks_cover_the_rows() -> None:
    assert [(part.start, part.stop) for part in chunks(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert chunk_rows(1) == samples.CHUNK_ROWS
    assert chunk_rows(samples.CHUNK_ENTRIES // 10) == 10
    assert chunk_rows(samples.CHUNK_ENTRIES * 10) == 1
    for size in (1, 3, 7, 100):
        assert_array_equal(by_chunks(7, size, Full(100)).ravel(), np.arange(7))


def test_chunks_shrink_when_memory_runs_out_and_stay_small() -> None:
    device = Full(room=3)
    with pytest.warns(RuntimeWarning, match="ran out of memory with") as record:
        answer = by_chunks(21, 10, device)
    assert [str(w.message).split(" with ", 1)[1] for w in record] == [
        "10 samples at once; continuing with 5.",
        "5 samples at once; continuing with 2.",
    ]
    assert_array_equal(answer.ravel(), np.arange(21))
    assert device.sizes == [10, 5, *[2] * 10, 1]


def test_a_row_that_does_not_fit_is_an_error() -> None:
    with (
        pytest.warns(RuntimeWarning, match="continuing with 1"),
        pytest.raises(torch.OutOfMemoryError),
    ):
        by_chunks(5, 2, Full(room=0))


def test_a_prediction_goes_on_in_smaller_chunks(label_data: Any) -> None:
    """The mechanism, on the CPU: a module that runs out of memory once."""
    X, Y = label_data
    clf = plain(MultiLabelMLPClassifier, module=Encoder).fit(X, Y)
    for method in ("predict_proba", "transform"):
        whole = getattr(clf, method)(X)
        Encoder.is_full = True
        with pytest.warns(RuntimeWarning, match="continuing with 100"):
            assert_allclose(getattr(clf, method)(X), whole, rtol=1e-6)
        assert_allclose(getattr(clf, method)(X), whole, rtol=1e-12)


@every_classifier
def test_chunks_change_nothing(
    estimator: Any, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = label_data
    clf = clone(estimator).fit(X, Y)
    methods = ("predict_proba", "predict", "decision_function")
    answers = [getattr(clf, method)(X) for method in methods]
    monkeypatch.setattr(samples, "CHUNK_ROWS", 17)
    monkeypatch.setattr(evaluation, "SIMILARITY_ENTRIES", 3 * len(X))
    for method, whole in zip(methods, answers, strict=True):
        assert_allclose(getattr(clf, method)(X), whole, rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------------- once a chunk

CHOOSING = [
    (ContrastiveMultiLabelClassifier, {"threshold": "f1_micro"}),
    (MultiLabelMLPClassifier, {"decision": "onn"}),
    (MultiLabelMLPClassifier, {"decision": "topk"}),
    (MultiLabelMLPClassifier, {"decision": "auto"}),
    (MultiLabelMLPClassifier, {"loss": "pal"}),
    (CGMVAEClassifier, {"threshold": "f1_micro"}),
]


@pytest.mark.parametrize(("make", "options"), CHOOSING)
def test_every_sample_is_embedded_once(
    make: Any, options: dict[str, Any], label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a fit for all that it makes and chooses, and by every prediction."""
    X, Y = label_data
    sizes = {"max_epochs": 1, "batch_size": 64, "validation": 0.2, "neighbor_weight": 0.5}
    sizes["early_stopping"] = False
    clf = plain(make, module=Encoder, **sizes, **options)
    Encoder.sizes.clear()
    clf.fit(X, Y)
    to_check, loss_of_the_epoch, to_choose, to_fit = 29, 40, 40, 160
    of_widths = 2
    found = sorted(size for size in Encoder.sizes if size > of_widths)
    assert found == [to_check, loss_of_the_epoch, to_choose, to_fit]
    monkeypatch.setattr(samples, "CHUNK_ROWS", 64)
    methods = ("predict", "predict_proba", "decision_function", "transform")
    for predict in (partial(clf.predict_topk, k=2), *(getattr(clf, name) for name in methods)):
        Encoder.sizes.clear()
        predict(X)
        assert Encoder.sizes == [64, 64, 64, 8], predict


# ---------------------------------------------------------------------- the k best


@every_classifier
@pytest.mark.parametrize("k", [1, 3, 5])
def test_topk_is_the_largest_probabilities(
    estimator: Any, k: int, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = label_data
    clf = clone(estimator).fit(X, Y)
    monkeypatch.setattr(samples, "CHUNK_ROWS", 37)
    found, probabilities = clf.predict_topk(X, k), clf.predict_proba(X)
    assert isinstance(found, sp.csr_matrix) and found.shape == Y.shape
    assert found.dtype == probabilities.dtype and found.has_sorted_indices
    assert_array_equal(np.diff(found.indptr), k)
    for i in range(len(X)):
        row = found[[i]]
        assert_allclose(row.data, probabilities[i, row.indices], rtol=1e-9)
        assert_allclose(np.sort(row.data), np.sort(probabilities[i])[-k:], rtol=1e-9)


def test_topk_has_never_all_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are so small that the probabilities of their samples fit into CHUNK_ENTRIES."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 4)), rng.random((60, 40)) < 0.3
    clf = plain(MultiLabelMLPClassifier, module=Encoder).fit(X, Y)
    whole = clf.predict_topk(X, 2)
    monkeypatch.setattr(samples, "CHUNK_ENTRIES", 7 * 40)
    Encoder.sizes.clear()
    parts = clf.predict_topk(X, 2)
    assert sum(Encoder.sizes) == 60 and max(Encoder.sizes) <= 7
    assert_array_equal(parts.indices, whole.indices)


@every_classifier
def test_sparse_predictions_have_never_all_probabilities(
    estimator: Any, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = label_data
    clf = clone(estimator).fit(X, sp.csr_array(Y))
    whole, sizes = clf.predict(X).toarray(), []
    made = TargetFormat.predictions
    monkeypatch.setattr(
        TargetFormat, "predictions", lambda self, p, cut: sizes.append(len(p)) or made(self, p, cut)
    )
    monkeypatch.setattr(samples, "CHUNK_ROWS", 37)
    found = clf.predict(X)
    assert sp.issparse(found) and found.dtype == Y.dtype
    assert max(sizes, default=0) <= 37
    assert_array_equal(found.toarray(), whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_modules_are_made_ready_once_for_all_chunks(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype(dtype)
    clf = plain(MultiLabelMLPClassifier).fit(X, rng.random((60, 5)) < 0.3)
    whole = clf.predict_proba(X)
    made = []
    placed = evaluation.placed
    monkeypatch.setattr(evaluation, "placed", lambda *a: made.append(a[1:]) or placed(*a))
    monkeypatch.setattr(samples, "CHUNK_ROWS", 7)
    assert_allclose(clf.predict_proba(X), whole, rtol=1e-5)
    assert made == [(torch.device("cpu"), torch.from_numpy(X).dtype)]


@pytest.mark.parametrize("k", [0, 6, 2.0, True, None])
def test_topk_checks_k(k: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = MultiLabelLogisticRegression().fit(X, Y)
    with pytest.raises(ValueError, match="k must be an integer from 1 to the 5 labels, got"):
        clf.predict_topk(X, k)


def test_topk_needs_a_label_matrix(label_data: Any) -> None:
    X, Y = label_data
    clf = MultiLabelLogisticRegression().fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="label matrix; this one was fitted on binary targets"):
        clf.predict_topk(X, 1)


@every_classifier
def test_samples_in_reverse_order_are_read_as_they_lie(estimator: Any, label_data: Any) -> None:
    """NumPy reverses by a negative stride, which torch does not have."""
    X, Y = label_data
    clf = clone(estimator).fit(X[::-1], Y[::-1])
    whole = clf.predict_proba(X)
    assert_allclose(clf.predict_proba(X[::-1])[::-1], whole, atol=1e-7)
    assert_allclose(clf.predict_proba(X[:, ::-1][:, ::-1]), whole, atol=1e-7)
