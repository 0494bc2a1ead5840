"""Work that is killed and taken up again: rows in a file that only grows, each within a budget."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import signal
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.progress import track

Row = dict[str, Any]


class RowFile:
    """Rows that are done, one JSON object a line, in a file that only grows.

    A row is in the file once its newline is. A last line without one was torn by a kill: it is
    cut off here, so that its fit counts as missing and the next row starts a line of its own.

    Parameters
    ----------
    path : Path
        The file; made with its directory at the first row.
    key : sequence of str
        Fields that tell one row from another; of two rows with one key the later counts.

    Attributes
    ----------
    rows : dict
        The rows by key.
    """

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        self.path, self._key = path, tuple(key)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        self.rows = {self.key_of(row): row for row in map(json.loads, whole.splitlines())}

    def key_of(self, row: Row) -> tuple[Hashable, ...]:
        """Return the key of a row."""
        return tuple(row[name] for name in self._key)

    def add(self, row: Row) -> None:
        """Keep a row: in the file with one write, on the disk before it counts."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(row) + "\n").encode())
            os.fsync(file.fileno())
        self.rows[self.key_of(row)] = row


def run_missing(
    tasks: Iterable[Row],
    done: RowFile,
    work: Callable[[Row], Row],
    *,
    jobs: int = 1,
    is_done: Callable[[Row], bool] = lambda row: True,
    title: str = "fits",
) -> int:
    """Do the tasks that the file lacks and keep their rows; return how many were done.

    Parameters
    ----------
    tasks : iterable of dict
        Each with the key fields of its row.
    done : RowFile
        Where the rows are kept.
    work : callable
        Makes the row of a task, key fields included; kept as soon as it is made.
    jobs : int, default=1
        Tasks at the same time, each in a thread: heavy work belongs in a process of its own.
    is_done : callable, default=any row will do
        Whether a row that is in the file stands for its task.
    title : str, default="fits"
        Beside the progress bar.

    Raises
    ------
    ExceptionGroup
        With the errors of the tasks that failed, after all others are done and kept.
    """
    keyed = {done.key_of(task): task for task in tasks}
    missing = [
        task for key, task in keyed.items() if key not in done.rows or not is_done(done.rows[key])
    ]
    errors: list[Exception] = []
    lock = threading.Lock()

    def do(task: Row) -> None:
        row = work(task)
        with lock:
            done.add(row)

    pool = ThreadPoolExecutor(jobs)
    try:
        running = [pool.submit(do, task) for task in missing]
        for future in track(as_completed(running), title, len(missing), disable=not missing):
            try:
                future.result()
            except Exception as error:
                errors.append(error)
    finally:
        pool.shutdown(cancel_futures=True)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(missing)} {title} failed.", errors)
    return len(missing)


@contextmanager
def processor_seconds(limit: float) -> Iterator[None]:
    """End the process if what stands inside uses more processor time, threads added up.

    The system ends it, also inside native code that does not return to Python. Waiting for a
    processor that others use costs nothing. :func:`within_budget` raises a ``TimeoutError`` then.
    """
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class KilledError(RuntimeError):
    """The process of some work was killed from outside, as it is where memory runs out."""


def within_budget(work: Callable[..., Any], *args: Any, seconds: float | None = None) -> Any:
    """Return ``work(*args)`` computed in a process of its own.

    Parameters
    ----------
    work : callable
        Of a module's top level, as are its arguments and what it returns.
    seconds : float or None, default=None
        After so much wall time the process is killed; None: never.

    Raises
    ------
    TimeoutError
        If it was, or if the work used more than its :func:`processor_seconds`.
    KilledError
        If something else killed it.
    RuntimeError
        If the work raised, with its traceback, or the process died otherwise.
    """
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work, args), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise TimeoutError(f"{work.__name__} took more than {seconds:g} s.")
        answer, error = receiver.recv()
    except EOFError:
        process.join()
        if process.exitcode == -signal.SIGPROF:
            raise TimeoutError(f"{work.__name__} used more than its processor time.") from None
        kind = KilledError if process.exitcode == -signal.SIGKILL else RuntimeError
        raise kind(
            f"The process of {work.__name__}{args} died with exit code {process.exitcode}."
        ) from None
    finally:
        process.kill()
        process.join()
    if error is not None:
        raise RuntimeError(f"{work.__name__}{args} failed:\n{error}")
    return answer


def _context() -> Any:
    """Forks of a server that has the imports done and no threads; spawned where there is none."""
    method = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"
    return mp.get_context(method)


def preload(*modules: str) -> None:
    """Name the modules that the server of :func:`within_budget` imports once for all."""
    if "forkserver" in mp.get_all_start_methods():
        mp.get_context("forkserver").set_forkserver_preload(list(modules))


def _send(sender: Connection, work: Callable[..., Any], args: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    message: tuple[Any, str | None]
    try:
        message = (work(*args), None)
    except Exception:
        message = (None, traceback.format_exc())
    sender.send(message)
    sender.close()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, killed or not."""
    parent = mp.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
