"""Files that are written in one step: whole, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from sklearn_mlcl.utils.parameters import check_arguments

try:
    import fcntl
except ImportError:  # Windows, where no open file can be removed: no lock is needed
    fcntl = None  # type: ignore[assignment]


def check_path(path: Any, caller: str) -> None:
    """Raise unless a path is a text or path-like."""
    check_arguments(caller, path=(path, str, os.PathLike))


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file in one step.

    A file that is replaced keeps its mode, a symbolic link stays one, and drafts that killed calls
    left of this file are removed.

    Raises
    ------
    ValueError
        If there is something that is no regular file: a folder, a device, a pipe.
    FileNotFoundError
        If the folder is not there.
    """
    target = Path(os.path.realpath(path))
    mode = _mode_of(target, path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(target.parent)!r} to write {str(path)!r} in."
        )
    _remove_dead_drafts(target)
    with _draft_of(target, 0o666 if mode is None else mode) as (draft, file):
        file.write(data)
        file.flush()
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), mode)  # what the umask took away
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()
        os.replace(draft, target)
    if os.name == "posix":
        # The new name of the file is on the disk only once its folder is.
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_whole(path: str | os.PathLike[str]) -> None:
    """Remove a file of :func:`write_whole`, if it is there, and drafts of it."""
    target = Path(os.path.realpath(path))
    target.unlink(missing_ok=True)
    _remove_dead_drafts(target)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the name of a file within the block; yield False if another thread or process does.

    A process that dies holds nothing. On a system or a disk without locks every name is free.
    """
    lock = path.with_name(f"{path.name}.lock")
    while True:
        with open(lock, "ab") as file:
            held = _lock(file.fileno()) is not False
            if held and not _is_at(file, lock):
                continue  # the last holder removed it between the two calls
            try:
                yield held
            finally:
                if held and fcntl is not None:
                    lock.unlink(missing_ok=True)
        break
    if fcntl is None:
        with suppress(PermissionError):  # another has it open
            lock.unlink(missing_ok=True)


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one that has a name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _mode_of(target: Path, path: str | os.PathLike[str]) -> int | None:
    """Return the mode of the file that is to be replaced; None if there is none."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{str(path)!r} is no regular file: give the name of a file.")
    return stat.S_IMODE(mode)


def _draft_prefix(target: Path) -> str:
    # A digest: the name of a draft must not be too long where that of the file is not.
    return f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}."


@contextmanager
def _draft_of(target: Path, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
    """Open an empty file beside the target, locked as long as this process works on it."""
    while True:
        draft = target.with_name(f"{_draft_prefix(target)}{uuid.uuid4().hex}.draft")
        try:
            file = open(draft, "xb", opener=partial(os.open, mode=mode))  # noqa: SIM115
        except OSError as error:  # it names the draft, of which the caller knows nothing
            raise OSError(error.errno, error.strerror, str(target)) from error
        # Between the two calls another process may have taken it for one that was left behind.
        if _lock(file.fileno()) is not False and draft.exists():
            break
        file.close()
    try:
        yield draft, file
    finally:
        file.close()
        draft.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed, or its process dies.

    False if another has the lock, None if the system or the disk has no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_dead_drafts(target: Path) -> None:
    """Remove drafts of this file whose processes were killed: nobody has their locks."""
    for draft in target.parent.glob(f"{_draft_prefix(target)}*.draft"):
        # Gone by now, that of another user or, on Windows, being written.
        with suppress(FileNotFoundError, PermissionError):
            if fcntl is None:
                draft.unlink()
                continue
            descriptor = os.open(draft, os.O_RDONLY | os.O_NONBLOCK)
            try:
                if _lock(descriptor):
                    draft.unlink()
            finally:
                os.close(descriptor)
