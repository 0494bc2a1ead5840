"""Opening text files and streams alike, packed or not."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import IO, Any

OPENERS = {".gz": gzip.open, ".bz2": bz2.open}


def name_of(source: Any) -> str:
    """Name of a path or file object for messages."""
    return str(getattr(source, "name", source if isinstance(source, str | PathLike) else "input"))


@contextmanager
def open_text(source: str | PathLike[str] | IO[Any]) -> Iterator[IO[str]]:
    """Text of a path (`.gz` and `.bz2` are unpacked), or of a file object, which stays open."""
    if isinstance(source, str | PathLike):
        path = fspath(source)
        opener: Any = next((o for end, o in OPENERS.items() if path.endswith(end)), open)
        with opener(path, "rt", encoding="utf-8") as file:
            yield file
    elif isinstance(source, io.TextIOBase):
        yield source
    elif hasattr(source, "read"):
        text = io.TextIOWrapper(source, encoding="utf-8")
        try:
            yield text
        finally:
            text.detach()
    else:
        raise TypeError(f"Expected a path or a file object, got {type(source).__name__}.")
