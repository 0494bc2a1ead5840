"""Signals while a fit or a prediction runs: what their handlers raise reaches the caller."""

from __future__ import annotations

import _thread
import inspect
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Functions that put the state of the process, or of an estimator, in place or back. An exception
#: in the middle of one would leave half of that undone; one in ``__del__`` is lost.
_WHOLE = {"__enter__", "__exit__", "__del__"}
#: Seconds after which a handler is called that had to wait, and seconds it waits for them at most:
#: the end of a ``with`` may wait for others.
_PAUSE, _LONGEST_WAIT = 0.001, 5.0
#: Seconds after which an interrupt should have reached the caller, or somebody who handles it.
_ON_THE_WAY = 0.02


class _Handlers:
    """Stand before the Python handlers of all signals.

    A handler is called at once, unless the main thread is inside a function of ``_WHOLE``: then it
    is called a moment later. What it raises where Python lets no exception pass, as in a callback
    of the garbage collector or of a weak reference, is raised again a moment later. So is a
    ``KeyboardInterrupt`` that is nowhere to be seen: compiled code drops some without a word.

    Parameters
    ----------
    outermost : FrameType or None
        Where to stop looking for such functions: those of the caller do not count.

    Attributes
    ----------
    raised : list of BaseException
        What handlers raised.
    """

    def __init__(self, outermost: FrameType | None) -> None:
        self.raised: list[BaseException] = []
        self._number_of: dict[int, int] = {}  # of the signal, by the identity of what was raised
        self._lost: dict[int, BaseException] = {}
        self._on_the_way: dict[int, BaseException] = {}
        self._looks: set[int] = set()
        self._outermost = outermost
        self._before: dict[int, Callable[[int, Any], Any]] = {}
        self._late: dict[int, float] = {}
        self._lock, self._installed = threading.Lock(), True

    def install(self) -> None:
        """Stand before the handlers."""
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self._before[number] = handler
                signal.signal(number, self.handle)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self.take_lost

    def remove(self) -> None:
        """Put the handlers back, then call those that had to wait."""
        with self._lock:
            self._installed = False
        for number, handler in self._before.items():
            if signal.getsignal(number) == self.handle:  # unless somebody has set another
                signal.signal(number, handler)
        if sys.unraisablehook == self.take_lost:
            sys.unraisablehook = self._hook_before
        self._outermost = None
        dropped = [e for e in self._on_the_way.values() if not _is_behind(e, sys.exc_info()[1])]
        self.call_late()
        if dropped:
            raise dropped[0]

    def call_late(self) -> None:
        """Call the handlers that have to wait."""
        while self._late:
            self._call(self._late.popitem()[0], None)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if number in self._looks:
            self._looks.discard(number)
            self._look(number, frame)
            return
        since = self._late.setdefault(number, time.monotonic())
        if self._must_wait(frame) and time.monotonic() - since < _LONGEST_WAIT:
            self._send_later(number)
            return
        self._late.pop(number, None)
        self._call(number, frame)

    def take_lost(self, unraisable: Any) -> None:
        """Take what was raised where no exception passes: keep it if a handler raised it."""
        error = unraisable.exc_value
        if any(error is known for known in self.raised):
            number = self._number_of[id(error)]
            self._lost[number] = error
            self._late.setdefault(number, time.monotonic())
            self._send_later(number)
        else:
            self._hook_before(unraisable)

    def _call(self, number: int, frame: FrameType | None) -> None:
        if number in self._lost:
            raise self._lost.pop(number)
        try:
            self._before[number](number, frame)
        except BaseException as error:
            self.raised.append(error)
            self._number_of[id(error)] = number
            if isinstance(error, KeyboardInterrupt):
                self._on_the_way[number] = error
                self._look_later(number)
            raise

    def _look(self, number: int, frame: FrameType | None) -> None:
        """Raise an interrupt again unless somebody is handling it."""
        error = self._on_the_way[number]
        handled = _is_behind(error, sys.exc_info()[1])
        self._look_later(number)
        if not (handled or self._must_wait(frame)):
            raise error

    def _look_later(self, number: int) -> None:
        if self._installed:
            _thread.start_new_thread(self._send_look, (number,))

    def _send_look(self, number: int) -> None:
        time.sleep(_ON_THE_WAY)
        with self._lock:
            if self._installed:
                self._looks.add(number)
                self._send(number)

    def _must_wait(self, frame: FrameType | None) -> bool:
        while frame is not None and frame is not self._outermost:
            if frame.f_code.co_name in _WHOLE:
                return True
            frame = frame.f_back
        return False

    def _send_later(self, number: int) -> None:
        if self._installed:
            # Not by threading, whose locks the main thread may hold.
            _thread.start_new_thread(self._send_again, (number,))

    def _send_again(self, number: int) -> None:
        time.sleep(_PAUSE)
        with self._lock:
            if self._installed and number in self._late:
                self._send(number)

    def _send(self, number: int) -> None:
        if signal.getsignal(number) != self.handle:  # somebody has set another
            return
        if hasattr(signal, "pthread_kill"):
            # A signal, and no mere request: it wakes a main thread that waits by now.
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:  # on Windows
            signal.raise_signal(number)


def _is_behind(error: BaseException, handled: BaseException | None) -> bool:
    """Return whether what is being handled is an error, or was raised because of it."""
    links, seen = [handled], set()
    while links:
        link = links.pop()
        if link is error:
            return True
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            links += [link.__cause__, link.__context__]
    return False


class _Process:
    """The handlers in force in this process, which are those of its main thread."""

    handlers: _Handlers | None = None


@contextmanager
def signals_reach_caller() -> Iterator[None]:
    """Let nothing be lost of what handlers of signals raise within the block, and nothing undone.

    Python calls handlers between any two instructions of the main thread. Here they wait while
    that thread is about to enter or to leave a ``with``, five seconds at most. See also
    :func:`is_from_signal`. In other threads, which no signal interrupts, this does nothing.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or _Process.handlers is not None:
        yield
        return
    frame = inspect.currentframe()
    # This generator, contextlib's __enter__, and who entered the block.
    outermost = None if frame is None or frame.f_back is None else frame.f_back.f_back
    handlers = _Handlers(outermost)
    try:
        _Process.handlers = handlers
        handlers.install()
        yield
    finally:
        _Process.handlers = None
        handlers.remove()


def call_waiting_handlers() -> None:
    """Call the handlers of signals that had to wait, before what was done becomes final."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and _Process.handlers is not None:
        _Process.handlers.call_late()


def is_from_signal(error: BaseException) -> bool:
    """Return whether a handler of a signal raised an exception, or what it was raised from.

    A callback may raise ``KeyboardInterrupt`` to end a training, and so does Ctrl-C.
    """
    raised = [] if _Process.handlers is None else _Process.handlers.raised
    return any(_is_behind(known, error) for known in raised)


@contextmanager
def rollback_on_error(estimator: Any) -> Iterator[None]:
    """Put the attributes of an estimator back if the block fails: no half-fitted state."""
    before = dict(vars(estimator))
    try:
        yield
        call_waiting_handlers()
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
