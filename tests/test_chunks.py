"""Predictions in chunks: the same answers, bounded memory, smaller chunks when memory runs out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.heads import evaluation as _embedding
from sklearn_mlcl.heads import neighbors as _neighbors
from sklearn_mlcl.heads.evaluation import Evaluator
from sklearn_mlcl.utils import chunking as _chunks
from sklearn_mlcl.utils.chunking import by_chunks, chunk_rows, chunks

TINY: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
EVERY = [
    ContrastiveMultiLabelClassifier(**TINY),
    MultiLabelMLPClassifier(**TINY, decision="onn"),
    CGMVAEClassifier(**TINY, neighbor_weight=0.3, net_params={"n_predict_samples": 2}),
    MultiLabelLogisticRegression(),
]

every_classifier = pytest.mark.parametrize("estimator", EVERY, ids=lambda e: type(e).__name__)


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


def test_chunks_cover_the_rows() -> None:
    assert [(part.start, part.stop) for part in chunks(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert chunk_rows(1) == _chunks.CHUNK_ROWS
    assert chunk_rows(_chunks.CHUNK_ENTRIES // 10) == 10
    assert chunk_rows(_chunks.CHUNK_ENTRIES * 10) == 1
    for size in (1, 3, 7, 100):
        assert_array_equal(by_chunks(7, size, Full(100)).ravel(), np.arange(7))


def test_chunks_shrink_when_memory_runs_out_and_stay_small() -> None:
    device = Full(room=3)
    with pytest.warns(RuntimeWarning, match="ran out of memory at") as record:
        answer = by_chunks(21, 10, device)
    assert [str(w.message).split(" at ", 1)[1] for w in record] == [
        "10 rows at once; going on with 5.",
        "5 rows at once; going on with 2.",
    ]
    assert_array_equal(answer.ravel(), np.arange(21))
    assert device.sizes == [10, 5, *[2] * 10, 1]


def test_a_row_that_does_not_fit_is_an_error() -> None:
    with (
        pytest.warns(RuntimeWarning, match="going on with 1"),
        pytest.raises(torch.OutOfMemoryError),
    ):
        by_chunks(5, 2, Full(room=0))


def test_a_prediction_goes_on_in_smaller_chunks(label_data: Any) -> None:
    """The mechanism, on the CPU: a module that runs out of memory once."""

    class Encoder(torch.nn.Linear):
        is_full = False

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            if Encoder.is_full:
                Encoder.is_full = False
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(X)

    X, Y = label_data
    clf = MultiLabelMLPClassifier(
        module=lambda d: Encoder(d, 6), n_estimators=1, max_epochs=1, random_state=0
    ).fit(X, Y)
    expected = clf.predict_proba(X)
    for method in ("predict_proba", "transform"):
        whole = getattr(clf, method)(X)
        Encoder.is_full = True
        with pytest.warns(RuntimeWarning, match="going on with 100"):
            assert_allclose(getattr(clf, method)(X), whole, rtol=1e-6)
    assert_allclose(clf.predict_proba(X), expected, rtol=1e-12)


@every_classifier
def test_chunks_change_nothing(
    estimator: Any, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = label_data
    estimator.fit(X, Y)
    answers = [estimator.predict_proba(X), estimator.predict(X), estimator.decision_function(X)]
    monkeypatch.setattr(_chunks, "CHUNK_ROWS", 17)
    monkeypatch.setattr(_neighbors, "BLOCK_ENTRIES", 3 * len(X))
    for method, whole in zip(
        ("predict_proba", "predict", "decision_function"), answers, strict=True
    ):
        assert_allclose(getattr(estimator, method)(X), whole, rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------------- the k best


@every_classifier
@pytest.mark.parametrize("k", [1, 3, 5])
def test_topk_is_the_largest_probabilities(
    estimator: Any, k: int, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = label_data
    estimator.fit(X, Y)
    monkeypatch.setattr(_chunks, "CHUNK_ROWS", 37)
    found, probabilities = estimator.predict_topk(X, k), estimator.predict_proba(X)
    assert isinstance(found, sp.csr_matrix) and found.shape == Y.shape
    assert found.dtype == probabilities.dtype and found.has_sorted_indices
    assert_array_equal(np.diff(found.indptr), k)
    for i in range(len(X)):
        row = found[[i]]
        assert_allclose(row.data, probabilities[i, row.indices], rtol=1e-9)
        assert_allclose(np.sort(row.data), np.sort(probabilities[i])[-k:], rtol=1e-9)


def test_topk_has_never_all_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 4)), rng.random((60, 40)) < 0.3
    clf = MultiLabelMLPClassifier(**TINY).fit(X, Y)
    whole = clf.predict_topk(X, 2)
    shapes = []
    blended = clf._blended_logits

    def counted(x: np.ndarray, evaluate: Evaluator) -> np.ndarray:
        shapes.append(len(x))
        return blended(x, evaluate)

    monkeypatch.setattr(_chunks, "CHUNK_ENTRIES", 8 * 40 * 7)
    monkeypatch.setattr(clf, "_blended_logits", counted)
    parts = clf.predict_topk(X, 2)
    assert sum(shapes) == 60 and max(shapes) <= 7
    assert_array_equal(parts.indices, whole.indices)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_modules_are_made_ready_once_for_all_chunks(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype(dtype)
    clf = MultiLabelMLPClassifier(**TINY).fit(X, rng.random((60, 5)) < 0.3)
    whole = clf.predict_proba(X)
    made = []
    cast = _embedding._cast
    monkeypatch.setattr(_embedding, "_cast", lambda *given: made.append(given) or cast(*given))
    monkeypatch.setattr(_chunks, "CHUNK_ROWS", 7)
    assert_allclose(clf.predict_proba(X), whole, rtol=1e-5)
    (given,) = made
    assert given == (clf.net_.module_, torch.device("cpu"), torch.from_numpy(X).dtype)


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
