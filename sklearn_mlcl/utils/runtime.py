"""Device, modes, threads, generators and signals of a fit or a prediction.

The process is left as found.
"""

from __future__ import annotations

import _thread
import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import FrameType
from typing import Any

import torch
from torch import Tensor

#: With fewer multiply-adds in one product of a batch, a second thread costs more than it saves: the
#: product ends before a thread has woken up. On a busy machine every product waits for the threads,
#: so a net of many small ones (C-GMVAE) loses most.
SINGLE_THREAD_WORK = 30_000_000
#: What torch chose by itself. Another number at the time of a fit is the user's choice.
THREADS_AT_IMPORT = torch.get_num_threads()
#: Devices on which the user may have turned ``torch.autocast`` on.
AUTOCAST_KINDS = ("cpu", "cuda", "mps", "xpu")

# What ``device="auto"`` assumes: orders of magnitude for one CPU and one recent GPU, not measured.
#: Multiply-adds a second on the CPU, on the GPU.
CPU_RATE, GPU_RATE = 5e10, 5e12
#: Seconds that a process waits for the first result of a GPU, and that the kernels of one step
#: take to start.
GPU_START, GPU_STEP = 2.0, 1e-3


def resolve_device(
    device: str | torch.device, multiply_adds: float = 0.0, n_steps: int = 1
) -> torch.device:
    """Turn ``"auto"`` into a device, and check that a named device exists.

    Parameters
    ----------
    device : str or torch.device
        "auto" is the GPU where :func:`gpu_pays` for the work, else the CPU.
    multiply_adds : float
        Of one step.
    n_steps : int
        Steps in a row.

    Raises
    ------
    ValueError
        If torch does not know the device, or a CUDA device is asked for that it does not see.
    """
    if device == "auto":
        pays = torch.cuda.is_available() and gpu_pays(multiply_adds, n_steps)
        return torch.device("cuda" if pays else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is unknown to torch: {error}") from error
    n_devices = torch.cuda.device_count()
    if resolved.type == "cuda" and (resolved.index or 0) >= n_devices:
        raise ValueError(f"device={device!r} is not there: torch sees {n_devices} CUDA devices.")
    return resolved


def gpu_pays(multiply_adds: float, n_steps: int) -> bool:
    """Estimate whether a GPU runs ``n_steps`` steps of so many multiply-adds faster than the CPU.

    A step takes multiply_adds / CPU_RATE seconds on the CPU, and GPU_STEP + multiply_adds /
    GPU_RATE on the GPU, which takes GPU_START seconds more if the process has not used it yet.
    """
    start = 0.0 if torch.cuda.is_initialized() else GPU_START
    on_gpu = start + n_steps * (GPU_STEP + multiply_adds / GPU_RATE)
    return on_gpu < n_steps * multiply_adds / CPU_RATE


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Compute as torch does by default, whatever modes of torch the caller is in.

    Gradients are on, ``autocast`` is off, tensors are made on the CPU. After a fork, work runs on
    one thread: torch's pool of threads does not survive it, and waits for ever.
    """
    with ExitStack() as stack:
        # Also where they are on already: this is cheaper than to ask. It turns gradients on too.
        stack.enter_context(torch.inference_mode(False))
        for kind in AUTOCAST_KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if _Process.forked:
            stack.enter_context(n_threads_set(1))
        else:
            thread_count()
        yield


# ---------------------------------------------------------------------- threads


class _Process:
    """What is known of threads in this process.

    Attributes
    ----------
    lock : threading.Lock
        Held while the number for threads to come is not what the user set.
    forked : bool
        Whether the process is a fork of one that had imported torch.
    """

    lock = threading.Lock()
    forked = False


def _after_fork() -> None:
    _Process.lock, _Process.forked = threading.Lock(), True


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def thread_count() -> int:
    """Return the number of threads that torch computes with in the calling thread.

    A thread takes its number when it first asks torch; this function makes sure that it gets the
    user's.
    """
    with _Process.lock:
        return torch.get_num_threads()


def n_threads_for(work: float) -> int:
    """Return how many threads to compute with: never more than torch has now.

    It follows from the work and from what the user set, and not from what else runs: sums over
    another number of threads round otherwise, so fits in threads would differ from serial ones.
    The number stays if the user chose it by ``torch.set_num_threads``. It is one where the products
    are small, and after a fork.

    Parameters
    ----------
    work : float
        Multiply-adds of a product of one batch, the mean over the products of the forward pass.
    """
    if _Process.forked:
        return 1
    n_threads = thread_count()
    small = n_threads == THREADS_AT_IMPORT and work < SINGLE_THREAD_WORK
    return 1 if small else n_threads


@contextmanager
def threads_for(work: float, device: torch.device) -> Iterator[None]:
    """Use :func:`n_threads_for` threads for products on the CPU, then the number from before."""
    with nullcontext() if device.type != "cpu" else n_threads_set(n_threads_for(work)):
        yield


@contextmanager
def n_threads_set(n_threads: int) -> Iterator[None]:
    """Use so many threads for what the calling thread computes, then the number from before."""
    before = later = thread_count()
    try:
        if n_threads != before:
            later = _set_for_this_thread(n_threads)
        yield
    finally:
        with _Process.lock:
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)
                if later != before:
                    _in_new_thread(torch.set_num_threads, later)


def _set_for_this_thread(n_threads: int) -> int:
    """Set the number for the calling thread, and return that for threads to come.

    ``torch.set_num_threads`` sets both. A thread that starts now puts the second back: others may
    begin to compute during this fit, and keep the number that they begin with.
    """
    with _Process.lock:
        if threading.active_count() == 1:
            later = torch.get_num_threads()
            torch.set_num_threads(n_threads)
            return later
        known, changed, counts = threading.Event(), threading.Event(), []

        def put_back() -> None:
            counts.append(torch.get_num_threads())
            known.set()
            changed.wait()
            torch.set_num_threads(counts[0])

        helper = threading.Thread(target=put_back, daemon=True)
        helper.start()
        try:
            known.wait()
            torch.set_num_threads(n_threads)
        finally:
            changed.set()
            helper.join()
        return counts[0]


def _in_new_thread(function: Callable[[int], None], argument: int) -> None:
    thread = threading.Thread(target=function, args=(argument,), daemon=True)
    thread.start()
    thread.join()


# ---------------------------------------------------------------------- generators


class Streams:
    """The generators of one fit, one for each device that it draws on.

    Parameters
    ----------
    seed : int
        Seeds each of them.

    Attributes
    ----------
    generators : dict of torch.device to torch.Generator
        Those that were drawn from so far.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator of a device."""
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]

    def state(self) -> dict[str, Tensor]:
        """Return where the generators stand, by device."""
        return {str(device): g.get_state() for device, g in self.generators.items()}

    def put_state(self, state: dict[str, Tensor]) -> None:
        """Let the generators stand where they stood."""
        for device, where in state.items():
            self.on(torch.device(device)).set_state(where)


class _OfThread(threading.local):
    """The streams of the fit that runs in a thread."""

    streams: Streams | None = None


_OF_THREAD = _OfThread()


@contextmanager
def seeded(seed: int) -> Iterator[Streams]:
    """Let layers and losses draw from generators of this fit, within the block and this thread.

    Torch's global generators are neither read nor moved.

    Parameters
    ----------
    seed : int
        Seeds the generators.

    Yields
    ------
    streams : Streams
        The generators.
    """
    outer, _OF_THREAD.streams = _OF_THREAD.streams, Streams(seed)
    try:
        yield _OF_THREAD.streams
    finally:
        _OF_THREAD.streams = outer


def streams_of_fit() -> Streams:
    """Return the generators of the fit that runs in this thread."""
    assert _OF_THREAD.streams is not None, "no fit runs in this thread"
    return _OF_THREAD.streams


def generator_on(device: torch.device) -> torch.Generator | None:
    """Return the generator to draw from: that of the fit, or None for torch's global one."""
    streams = _OF_THREAD.streams
    return None if streams is None else streams.on(device)


def standard_normal(like: Tensor) -> Tensor:
    """Return standard normal draws of the shape, dtype and device of a tensor."""
    return torch.randn(
        like.shape, generator=generator_on(like.device), dtype=like.dtype, device=like.device
    )


#: Held while the global generators are those of a fit.
_GLOBAL = threading.Lock()


@contextmanager
def seeded_global(device: torch.device, wanted: bool) -> Iterator[None]:
    """Seed torch's global generators from that of the fit, and put them back.

    For modules from elsewhere that are compiled: nothing can redirect their draws. One fit at a
    time does so. Other threads must not draw from the global generators meanwhile.

    Parameters
    ----------
    device : torch.device
        Where the fit computes.
    wanted : bool
        Whether to do anything.
    """
    if not wanted:
        yield
        return
    seed = int(torch.randint(2**63 - 1, (), generator=generator_on(torch.device("cpu"))))
    on_gpu = device.type == "cuda"
    with _GLOBAL, torch.random.fork_rng(devices=[device] if on_gpu else []):
        seed_global(device, seed)
        yield


def seed_global(device: torch.device, seed: int) -> None:
    """Seed torch's global generators of the CPU and of a device.

    ``torch.manual_seed`` would seed the streams of all GPUs for good.
    """
    torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


# ---------------------------------------------------------------------- signals

_SIGNALS = signal.valid_signals()
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
        for number in _SIGNALS:
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


class _InForce:
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
    if not in_main or _InForce.handlers is not None:
        yield
        return
    frame = inspect.currentframe()
    # This generator, contextlib's __enter__, and who entered the block.
    outermost = None if frame is None or frame.f_back is None else frame.f_back.f_back
    handlers = _Handlers(outermost)
    try:
        _InForce.handlers = handlers
        handlers.install()
        yield
    finally:
        _InForce.handlers = None
        handlers.remove()


def call_waiting_handlers() -> None:
    """Call the handlers of signals that had to wait, before what was done becomes final."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and _InForce.handlers is not None:
        _InForce.handlers.call_late()


def is_from_signal(error: BaseException) -> bool:
    """Return whether a handler of a signal raised an exception, or what it was raised from.

    A callback may raise ``KeyboardInterrupt`` to end a training, and so does Ctrl-C.
    """
    raised = [] if _InForce.handlers is None else _InForce.handlers.raised
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
