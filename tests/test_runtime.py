"""Device, threads and random streams of a fit, each put back as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from joblib import Parallel, delayed

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.utils import runtime
from sklearn_mlcl.utils.runtime import (
    generator_on,
    gpu_pays,
    n_threads_for,
    resolve_device,
    seeded,
    standard_normal,
    threads_for,
)
from tests.small import every_net, plain

CPU = torch.device("cpu")
LITTLE, MUCH = 1_000, 10**10


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch with two threads of its own choice."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(runtime, "THREADS_AT_IMPORT", 2)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize(("work", "expected"), [(LITTLE, 1), (MUCH, 2)])
def test_threads_are_few_for_little_work(two_threads: None, work: int, expected: int) -> None:
    with threads_for(work, CPU):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), threads_for(work, CPU):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_threads_that_the_user_chose_stay(two_threads: None) -> None:
    torch.set_num_threads(3)
    assert n_threads_for(LITTLE) == 3
    with threads_for(LITTLE, CPU):
        assert torch.get_num_threads() == 3


def test_as_many_threads_in_a_worker_of_joblib_as_in_a_serial_fit(two_threads: None) -> None:
    """Sums over another number of threads round otherwise."""
    for work in (LITTLE, MUCH):
        in_threads = Parallel(2, backend="threading")(
            delayed(n_threads_for)(work) for _ in range(2)
        )
        assert in_threads == [n_threads_for(work)] * 2


@every_net
def test_default_nets_of_usual_size_run_on_one_thread(
    make: Any, two_threads: None, label_data: Any
) -> None:
    """A machine that other processes keep busy makes each product on two threads wait."""
    net = make(max_epochs=1).fit(*label_data).net_
    assert n_threads_for(128 * net.n_weights / net.n_products) == 1


def counts_beside(work: float) -> list[int]:
    """Return what a new thread counts while this one computes, and what one counts after."""
    with ThreadPoolExecutor(1) as other, ThreadPoolExecutor(1) as later:
        with threads_for(work, CPU):
            during = [torch.get_num_threads(), other.submit(torch.get_num_threads).result()]
        return [*during, torch.get_num_threads(), later.submit(torch.get_num_threads).result()]


def test_a_thread_that_begins_during_a_fit_keeps_the_number_of_the_user(two_threads: None) -> None:
    with ThreadPoolExecutor(1) as pool:  # the process has another thread
        pool.submit(int).result()
        assert counts_beside(LITTLE) == [1, 2, 2, 2]
        # A thread of the user's took another number: threads to come begin with it.
        pool.submit(torch.set_num_threads, 3).result()
        assert counts_beside(LITTLE) == [1, 3, 2, 3]
        pool.submit(torch.set_num_threads, 2).result()


def test_a_fit_runs_on_one_thread_and_leaves_two(two_threads: None, label_data: Any) -> None:
    seen = []

    class Threads(torch.nn.Linear):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            if len(X) > 2:  # not the call that finds the width
                seen.append(torch.get_num_threads())
            return super().forward(X)

    clf = plain(MultiLabelMLPClassifier, module=lambda d: Threads(d, 4)).fit(*label_data)
    clf.predict_proba(label_data[0])
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


def test_seeded_streams_leave_the_global_one_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    draws = []
    for seed in (0, 0, 1):
        with seeded(seed) as streams:
            draws.append((standard_normal(expected), torch.rand(3, generator=streams.on(CPU))))
    with pytest.raises(ZeroDivisionError), seeded(0), seeded(1):
        raise ZeroDivisionError
    assert generator_on(CPU) is None
    assert torch.equal(torch.rand(3), expected)
    for first, again, other in zip(*draws, strict=True):
        assert torch.equal(first, again) and not torch.equal(first, other)


def test_every_thread_has_its_own_streams() -> None:
    with seeded(0), ThreadPoolExecutor(1) as pool:
        assert pool.submit(generator_on, CPU).result() is None
        with seeded(1) as inner:
            assert generator_on(CPU) is inner.on(CPU)


@pytest.mark.parametrize(
    ("multiply_adds", "n_steps", "expected"),
    [
        (3 * 128 * 4 * 95_000, 480, False),  # four members on 1,500 rows: starting costs more
        (3 * 128 * 95_000, 10**6, False),  # one small net: a step costs more
        (3 * 4096 * 140_000, 480, True),
    ],
)
def test_the_gpu_is_taken_where_it_pays(
    multiply_adds: float, n_steps: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu_pays(multiply_adds, n_steps) == expected
    device = resolve_device("auto", multiply_adds, n_steps)
    assert device.type == ("cuda" if expected else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto", multiply_adds, n_steps) == CPU


def test_a_gpu_that_is_in_use_needs_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert not gpu_pays(1e9, 10)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert gpu_pays(1e9, 10)
    assert not gpu_pays(1e6, 10)


def test_a_named_device_is_taken_whatever_the_work() -> None:
    assert resolve_device("cpu", 1e15, 10**6) == resolve_device(CPU, 1e15) == CPU


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("warp", "device='warp' is unknown to torch"),
        (f"cuda:{torch.cuda.device_count()}", r"device='cuda:\d+' is not there: torch sees"),
    ],
)
def test_devices_that_are_not_there(device: str, message: str, label_data: Any) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_device(device)
    with pytest.raises(ValueError, match=message):
        MultiLabelMLPClassifier(device=device).fit(*label_data)
