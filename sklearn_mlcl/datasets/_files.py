"""Opening data files: packed ones, their lines, a budget of memory, and the one kind of error."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral
from os import PathLike
from pathlib import PurePath
from typing import IO, Any

from sklearn.utils import check_scalar

Source = str | PathLike[str] | IO[Any]
UNPACKERS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": lambda raw: bz2.BZ2File(raw),
}
DAMAGE = (ValueError, EOFError, ArithmeticError, zlib.error, OSError)
LONGEST_MESSAGE = 400
ESCAPED_BYTE = re.compile("[\ud800-\udfff]")


class DataFileError(ValueError):
    """A data file that cannot be read.

    It is damaged, of another format, not what the arguments say, or larger than `max_bytes` allows.

    Parameters
    ----------
    reason : str
        What is wrong.
    path : str, default="input"
        Name of the file.
    line : int, default=None
        Number of the line, from 1 on, if the file is text and the error is in a line.

    Attributes
    ----------
    reason, path, line : str, str, int or None
        The parameters.

    Examples
    --------
    >>> import io
    >>> from sklearn_mlcl.datasets import DataFileError, load_xc
    >>> try:
    ...     load_xc(io.StringIO("1 3 2\\n0 7:1\\n"))
    ... except DataFileError as error:
    ...     print(error)
    input, line 2: feature numbers must be in 0..2, got 7
    """

    def __init__(self, reason: str, path: str = "input", line: int | None = None) -> None:
        super().__init__(reason, path, line)
        self.reason, self.path, self.line = reason, path, line

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}, line {self.line}"
        return f"{where}: {self.reason}"


class Budget:
    """Memory that the data of one file may take.

    Without `max_bytes` it grows with the file: a small file cannot take much, whatever it claims.

    Parameters
    ----------
    max_bytes : int or None
        As the readers take it.
    """

    LEAST = 2**27
    TIMES = 16

    def __init__(self, max_bytes: int | None) -> None:
        if max_bytes is not None:
            check_scalar(max_bytes, "max_bytes", Integral, min_val=1)
        self.max_bytes = max_bytes
        self.n_read = 0  # bytes of the file, packed ones if it is packed
        self.n_taken = 0

    @property
    def limit(self) -> int:
        return self.max_bytes or max(self.LEAST, self.TIMES * self.n_read)

    @property
    def longest_line(self) -> int:
        """Many short words of a line take some 20 times its length."""
        return max(self.limit // 32, 1)

    def take(self, n_bytes: int) -> None:
        """Count memory before it is taken."""
        self.n_taken += int(n_bytes)
        if self.n_taken > self.limit:
            raise ValueError(
                f"the data need more than {self.limit} bytes of memory; if you trust the file, "
                "pass a larger max_bytes"
            )


def name_of(source: Any) -> str:
    """Name of a path or file object for messages."""
    if isinstance(source, str | PathLike):
        return str(source)
    return str(getattr(source, "name", "input"))


@contextmanager
def naming(
    source: Any,
    line: Callable[[], int | None] = lambda: None,
    damage: type[Exception] | tuple[type[Exception], ...] = DAMAGE,
) -> Iterator[None]:
    """Turn what the code inside raises about the content of a file into `DataFileError`.

    Errors of the disk or the connection stay what they are. A seek to a place that the file
    claims and that cannot be is an error of the file.
    """
    try:
        yield
    except DataFileError:
        raise
    except damage as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = (str(error) or type(error).__name__).rstrip(".")
        if len(reason) > LONGEST_MESSAGE:
            reason = f"{reason[:LONGEST_MESSAGE]} ..."
        raise DataFileError(reason, name_of(source), line()) from error


@contextmanager
def open_source(
    source: Source, *, unpack: bool = True
) -> Iterator[tuple[IO[Any], IO[bytes] | None]]:
    """File of a path, or the file object, which stays open; and the packed file beneath."""
    if isinstance(source, str | PathLike):
        unpacker = UNPACKERS.get(PurePath(source).suffix.lower()) if unpack else None
        with open(source, "rb") as raw:
            if unpacker is None:
                yield raw, None
            else:
                with unpacker(raw) as file:
                    yield file, raw
    elif hasattr(source, "read"):
        yield source, None
    else:
        raise TypeError(f"Expected a path or a file object, got {type(source).__name__}.")


@contextmanager
def _as_text(file: IO[Any], encoding: str) -> Iterator[IO[str]]:
    if isinstance(file.read(0), str):
        yield file
        return
    # Wrong bytes pass as surrogates, so that the error comes with their line.
    text = io.TextIOWrapper(file, encoding, errors="surrogateescape")
    try:
        yield text
    finally:
        text.detach()


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ValueError(f"encoding must be one of text, such as 'latin-1': {error}.") from error


def _check_unpacked(n_characters: int, n_lines: int, n_packed: int) -> None:
    """Short lines count as longer, by the time that they take."""
    if n_characters + 16 * n_lines > max(2**22, 200 * n_packed):
        raise ValueError(
            "it unpacks to more than 200 times its size; if you trust the file, pass max_bytes"
        )


@contextmanager
def open_lines(source: Source, budget: Budget, encoding: str = "utf-8") -> Iterator[Iterator[str]]:
    """Lines of a text file; errors of the code that reads them get the number of the line."""
    _check_encoding(encoding)
    number = 0

    def lines(text: IO[str], raw: IO[bytes] | None) -> Iterator[str]:
        nonlocal number
        n_text = 0
        while line := text.readline(longest := budget.longest_line):
            number += 1
            n_text += len(line)
            budget.n_read = n_text if raw is None else raw.tell()
            if len(line) == longest and line[-1] != "\n":
                raise ValueError(
                    f"the line is longer than {longest} characters; if you trust the file, pass "
                    "a larger max_bytes"
                )
            if raw is not None and budget.max_bytes is None:
                _check_unpacked(n_text, number, budget.n_read)
            if not line.isascii() and ESCAPED_BYTE.search(line):
                raise ValueError(f"it is not {encoding}; pass its encoding, for instance 'latin-1'")
            yield line.removeprefix("\ufeff") if number == 1 else line

    with (
        open_source(source) as (file, raw),
        naming(source, lambda: max(number, 1)),
        _as_text(file, encoding) as text,
    ):
        yield lines(text, raw)
