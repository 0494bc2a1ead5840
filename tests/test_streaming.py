"""Memory maps and CSR are read a batch at a time, and answer as the same rows in memory do."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl.modules import _scaling
from sklearn_mlcl.training import IndexBatches, RowTensors
from sklearn_mlcl.utils import fit_data, samples
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.samples import MemmapView, as_memmap_view, is_mapped, take_rows
from tests.small import every_net, small

CPU = torch.device("cpu")


def on_disk(X: np.ndarray, folder: Path, mode: str = "r") -> np.ndarray:
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode=mode)


@pytest.fixture
def never_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small memory maps stay on disk too."""
    monkeypatch.setattr(samples, "READ_AT_ONCE", 0)


class CountedRows(MemmapView):
    """Note how many rows are read at once."""

    largest = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        rows = super().__getitem__(key)
        CountedRows.largest = max(CountedRows.largest, len(rows))
        return rows


# ---------------------------------------------------------------------- rows


def test_memory_maps_are_known_through_views(tmp_path: Path) -> None:
    mapped = on_disk(np.zeros((4, 3), dtype=np.float32), tmp_path)
    assert is_mapped(mapped) and is_mapped(np.asarray(mapped)) and is_mapped(mapped[1:, :2].T)
    assert not is_mapped(np.zeros(3)) and not is_mapped(np.array(mapped)) and not is_mapped([1])


def test_small_memory_maps_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = on_disk(np.zeros((4, 3), dtype=np.float32), tmp_path)
    assert as_memmap_view(mapped) is mapped
    monkeypatch.setattr(samples, "READ_AT_ONCE", 47)
    assert isinstance(as_memmap_view(mapped), MemmapView)
    assert isinstance(as_memmap_view(np.zeros((4, 3))), np.ndarray)


def test_mapped_rows_are_the_rows(tmp_path: Path) -> None:
    X = np.arange(30.0).reshape(10, 3)
    rows = MemmapView(on_disk(X, tmp_path))
    mask = np.arange(10) % 3 == 0
    chosen, again = rows.take(np.array([7, 1, 4])), rows.take(mask).take(np.array([2, 0]))
    assert chosen.shape == (3, 3) and len(again) == 2 and chosen.dtype == X.dtype
    assert_array_equal(chosen[np.array([1, 2])], X[[1, 4]])
    assert_array_equal(chosen[:2], X[[7, 1]])
    assert_array_equal(again[:], X[mask][[2, 0]])
    assert_array_equal(take_rows(X, mask), X[mask])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_mapped_batches_equal_those_in_memory(dtype: Any, mode: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(23, 7)).astype(dtype), rng.random((23, 3)) < 0.4
    weight = rng.random(23)
    in_memory = RowTensors(FitData(X, Y.astype(float), weight), CPU)
    mapped = MemmapView(on_disk(X, tmp_path, mode))
    streamed = RowTensors(FitData(mapped, Y.astype(float), weight), CPU)
    assert streamed.streams and not in_memory.streams
    for seed in (None, 0):
        batches = [
            list(IndexBatches(rows, 5, None if seed is None else torch.Generator().manual_seed(0)))
            for rows in (in_memory, streamed)
        ]
        assert len(batches[0]) == len(batches[1]) == 5
        for (x, (y, w)), (x_streamed, (y_streamed, w_streamed)) in zip(*batches, strict=True):
            assert x_streamed.dtype == torch.float32
            assert torch.equal(x, x_streamed) and torch.equal(y, y_streamed)
            assert torch.equal(w, w_streamed)


def test_the_next_batch_is_gathered_meanwhile_by_one_thread(tmp_path: Path) -> None:
    gatherers = set()

    class Watched(MemmapView):
        def __getitem__(self, key: Any) -> np.ndarray:
            gatherers.add(threading.current_thread().name)
            self.asked = getattr(self, "asked", 0) + 1
            return super().__getitem__(key)

    X = Watched(on_disk(np.zeros((40, 2), dtype=np.float32), tmp_path))
    iterator = iter(IndexBatches(RowTensors(FitData(X, np.zeros((40, 1))), CPU), 10))
    next(iterator)
    for _ in range(200):  # the second batch comes without being asked for
        if X.asked == 2:
            break
        threading.Event().wait(0.05)
    assert X.asked == 2 and gatherers == {"batches_0"}
    iterator.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_an_error_while_gathering_reaches_the_caller(tmp_path: Path) -> None:
    class Broken(MemmapView):
        def __getitem__(self, key: Any) -> np.ndarray:
            raise OSError("the disk is gone")

    X = Broken(on_disk(np.zeros((4, 2), dtype=np.float32), tmp_path))
    with pytest.raises(OSError, match="the disk is gone"):
        list(IndexBatches(RowTensors(FitData(X, np.zeros((4, 1))), CPU), 2))


# ---------------------------------------------------------------------- fits


@every_net
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fit_on_a_memory_map_is_that_on_the_array(
    make: Any, dtype: Any, label_data: Any, tmp_path: Path, never_at_once: None
) -> None:
    X, Y = label_data[0].astype(dtype), label_data[1]
    mapped = on_disk(X, tmp_path)
    weight = np.arange(len(X)) % 5 / 2.0  # some rows of weight zero
    options = {"early_stopping": True, "threshold": "f1_micro", "neighbor_weight": 0.5}
    expected = small(make, **options).fit(X, Y, sample_weight=weight)
    found = small(make, **options).fit(mapped, Y, sample_weight=weight)
    assert found.history_["train_loss"].tolist() == expected.history_["train_loss"].tolist()
    assert_array_equal(found.predict_proba(mapped), expected.predict_proba(X))
    assert found.threshold_ == expected.threshold_


@every_net
def test_a_fit_reads_few_rows_at_once(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches, and blocks for the scaler, the heads and the neighbours; never all the rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5)).astype(np.float32)
    X[:, 4] = X[:, 4] > 1  # a column whose quartiles coincide: scaled by blocks
    Y = X[:, :3] > 0
    CountedRows.largest = 0
    monkeypatch.setattr(fit_data, "as_memmap_view", CountedRows)
    monkeypatch.setattr(CountedRows, "take", lambda self, rows: CountedRows(self.array, rows))
    monkeypatch.setattr(_scaling, "QUARTILE_ROWS", 50)
    monkeypatch.setattr(fit_data, "MAX_SAMPLES", 50)
    monkeypatch.setattr(samples, "CHUNK_ROWS", 64)
    monkeypatch.setattr(samples.chunks, "__defaults__", (64,))
    small(make, batch_size=32).fit(on_disk(X, tmp_path), Y.astype(float))
    assert 0 < CountedRows.largest <= 64


@every_net
def test_csr_is_never_dense_as_a_whole(
    make: Any, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, Y = label_data
    X = sp.csr_matrix(np.where(X > 0, X, 0))
    expected = small(make, batch_size=32).fit(X, Y).predict_proba(X[:60])
    largest = 0
    to_dense = sp.csr_array.toarray

    def toarray(self: Any, *args: Any, **options: Any) -> np.ndarray:
        nonlocal largest
        if self.shape[1] == X.shape[1]:
            largest = max(largest, self.shape[0])
        return to_dense(self, *args, **options)

    monkeypatch.setattr(samples, "CHUNK_ROWS", 64)
    for kind in (sp.csr_array, sp.csr_matrix):
        monkeypatch.setattr(kind, "toarray", toarray)
    clf = small(make, batch_size=32).fit(X, sp.csr_matrix(Y))
    assert_allclose(clf.predict_proba(X[:60]), expected, rtol=1e-5)
    clf.predict_proba(X)
    assert 0 < largest <= 64
