"""Signals: what their handlers raise reaches the caller of a fit, and nothing is left half done."""

from __future__ import annotations

import _thread
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import pytest
import torch
from skorch.callbacks import Callback

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.estimators import base
from sklearn_mlcl.utils.runtime import signals_reach_caller
from tests.fuzz_interrupts import FINE, X, Y, answers, fitted, interrupted, process_state
from tests.small import every_net, small

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="there are no timers with signals on Windows"
)


@pytest.fixture(autouse=True)
def handler_of_python() -> Iterator[None]:
    """A shell that runs the tests in the background lets them ignore SIGINT: here it counts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@every_net
def test_at_random_moments(make: Any) -> None:
    counts = interrupted(make, 10, Random(0))
    assert not counts.keys() - FINE, counts


class InCallback(Callback):
    """Do something in the second epoch."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == 2:
            self.act()


def stop() -> None:
    raise KeyboardInterrupt


def cleaned_up() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("after cleaning up") from error


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    "interrupt",
    [lambda: signal.raise_signal(signal.SIGINT), _thread.interrupt_main, cleaned_up],
    ids=["signal", "interrupt_main", "raised anew"],
)
def test_in_a_callback_it_is_no_stop(
    label_data: Any, interrupt: Callable[[], None], early_stopping: bool
) -> None:
    clf = small(MultiLabelMLPClassifier, early_stopping=early_stopping)
    clf.set_params(callbacks=[InCallback(interrupt)])
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*label_data)
    assert not hasattr(clf, "net_")
    clf.set_params(callbacks=[InCallback(stop)], early_stopping=False)
    assert clf.fit(*label_data).n_iter_ == 2


def test_in_another_thread_a_stop_stays_a_stop(label_data: Any) -> None:
    clf = small(MultiLabelMLPClassifier, callbacks=[InCallback(stop)], early_stopping=False)
    thread = threading.Thread(target=clf.fit, args=label_data)
    thread.start()
    thread.join()
    assert clf.n_iter_ == 2


def test_handlers_of_other_signals(label_data: Any) -> None:
    class OutOfTimeError(Exception):
        pass

    def out_of_time(*_: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGUSR1, out_of_time)
    try:
        act = InCallback(lambda: signal.raise_signal(signal.SIGUSR1))
        with pytest.raises(OutOfTimeError):
            small(MultiLabelMLPClassifier, callbacks=[act]).fit(*label_data)
        assert signal.getsignal(signal.SIGUSR1) is out_of_time
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def interrupted_twice(steps: list[str]) -> Iterator[None]:
    signal.raise_signal(signal.SIGINT)
    steps.append("entered")
    try:
        yield
    finally:
        signal.raise_signal(signal.SIGINT)
        steps.append("left")


def test_what_is_entered_is_left() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), signals_reach_caller(), interrupted_twice(steps):
        signal.pause()
    assert steps == ["entered", "left"]


class Finalised:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def in_finaliser() -> None:
    Finalised()


def in_callback_of_collector() -> None:
    def callback(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def in_callback_of_weak_reference() -> None:
    target = {1}
    reference = weakref.ref(target, lambda _: signal.raise_signal(signal.SIGINT))
    del target
    assert reference() is None


def in_code_that_drops_it() -> None:
    """Stands for compiled code that asks for an attribute and takes any error for a no."""
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("wait", [0.5, 0.0], ids=["within", "at the end"])
@pytest.mark.parametrize(
    "interrupt",
    [in_finaliser, in_callback_of_collector, in_callback_of_weak_reference, in_code_that_drops_it],
)
def test_where_python_lets_no_exception_pass_it_is_not_lost(
    interrupt: Callable[[], None], wait: float
) -> None:
    hook, calls = sys.unraisablehook, []

    def handler(*_: Any) -> None:
        calls.append(1)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)  # handler_of_python puts the one before back

    ends: list[float] = []

    @signals_reach_caller()
    def run() -> None:
        interrupt()
        time.sleep(wait)
        ends.append(wait)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(calls) == 1 and (not ends or wait == 0)
    assert sys.unraisablehook is hook


def test_one_that_is_handled_for_a_while_is_raised_once() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt), signals_reach_caller():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            time.sleep(0.1)
            steps.append("cleaned up")
    assert steps == ["cleaned up"]


def test_other_errors_that_cannot_pass_are_reported_as_ever(monkeypatch: Any) -> None:
    class Fails:
        def __del__(self) -> None:
            raise ValueError("in a finaliser")

    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(str(args.exc_value)))
    with signals_reach_caller():
        Fails()
    assert reported == ["in a finaliser"]


def test_handlers_of_the_caller_are_put_back(label_data: Any) -> None:
    other = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGINT)
        clf = small(MultiLabelMLPClassifier).fit(*label_data)
        assert signal.getsignal(signal.SIGINT) is mine
        # A handler that raises nothing interrupts nothing.
        clf.set_params(callbacks=[InCallback(lambda: signal.raise_signal(signal.SIGINT))])
        assert clf.fit(*label_data).n_iter_ == 3
        # One that is set within the fit stays.
        act = InCallback(lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        clf.set_params(callbacks=[act]).fit(*label_data)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, other)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_of_the_caller_stay(label_data: Any, mode: Any) -> None:
    act = InCallback(lambda: signal.raise_signal(signal.SIGINT))
    with mode():
        before = process_state()
        with pytest.raises(KeyboardInterrupt):
            small(MultiLabelMLPClassifier, callbacks=[act]).fit(*label_data)
        assert process_state() == before


@every_net
def test_after_training_a_warm_start_is_undone_too(make: Any, monkeypatch: Any) -> None:
    """The weights that were trained on are those of the estimator: they must go back as well."""
    clf = fitted(make)
    before = answers(clf)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(base, "_is_finite", lambda *_: signal.raise_signal(signal.SIGINT))
        clf.fit(X, Y)
    assert answers(clf) == before
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(base, "_is_finite", lambda *_: signal.raise_signal(signal.SIGINT))
        clf.partial_fit(X, Y)
    assert answers(clf) == before


def test_a_process_ends_by_sigint_as_any_other() -> None:
    code = """
import os, signal, threading, time
import numpy as np
from sklearn_mlcl import MultiLabelMLPClassifier
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background process ignores
X = np.random.default_rng(0).normal(size=(200, 5))
threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
MultiLabelMLPClassifier(max_epochs=10**6, early_stopping=False).fit(X, (X > 0).astype(int))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert child.returncode in (-signal.SIGINT, 130)
    assert child.stderr.rstrip().endswith("KeyboardInterrupt")
