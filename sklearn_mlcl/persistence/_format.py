"""The file: safetensors whose header carries the JSON state, versions and a checksum."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sklearn_mlcl._version import __version__

#: Raised by one whenever older versions of this package could not read the files of this one.
FORMAT_VERSION = 1
FORMAT = "sklearn_mlcl"


class Content(NamedTuple):
    """What a file holds: the class at its root, a JSON tree, and the arrays of the tree."""

    root: str
    tree: Any
    arrays: dict[str, np.ndarray]


def write_file(path: str | os.PathLike[str], content: Content) -> None:
    """Write a file in one step: an interrupted call leaves the file that was there before."""
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "package_version": __version__,
        "class": content.root,
        "state": json.dumps(content.tree, allow_nan=False, separators=(",", ":")),
    }
    header["sha256"] = _digest(header, content.arrays)
    write_whole(path, save(content.arrays, metadata=header))


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file in one step."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    if os.name == "posix":
        # The new name of the file is on the disk only once its folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _digest(header: dict[str, str], arrays: dict[str, np.ndarray]) -> str:
    signed = [f"{name}={value}" for name, value in sorted(header.items()) if name != "sha256"]
    digest = hashlib.sha256("\0".join(signed).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_file(path: str | os.PathLike[str]) -> Content:
    """Read a file and check that it is whole.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the file is not of this format, of a newer version of it, or damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            _check_version(header, path)
            # A file without arrays has a name for each of none.
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{str(path)!r} is cut short, damaged, or no file of save(): {error}"
        ) from error
    if header.get("sha256") != _digest(header, arrays):
        raise ValueError(f"{str(path)!r} is damaged: it does not match its checksum.")
    return Content(header["class"], json.loads(header["state"]), arrays)


def _check_version(header: dict[str, str], path: Any) -> None:
    if header.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} is a safetensors file, but none that save() wrote.")
    version = header.get("format_version", "")
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise ValueError(
            f"{str(path)!r} has format version {version}, written by sklearn_mlcl "
            f"{header.get('package_version')}; this is {__version__}, which reads versions up to "
            f"{FORMAT_VERSION}. Upgrade sklearn_mlcl to load it."
        )
