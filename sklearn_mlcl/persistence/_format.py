"""The file: safetensors whose header carries the JSON state, versions and checksums."""

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
_CHECKED = ("format_version", "package_version", "class", "state", "tensors")


class Content(NamedTuple):
    """What a file holds: the class at its root, a JSON tree, and the arrays of the tree."""

    root: str
    tree: Any
    arrays: dict[str, np.ndarray]


def write_file(path: str | os.PathLike[str], content: Content) -> None:
    """Write a file: it is there whole, or what was there before is left as it was."""
    write_whole(path, save(content.arrays, metadata=_header(content)))


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
    _flush_folder(path.parent)


def _header(content: Content) -> dict[str, str]:
    header = {
        "format_version": str(FORMAT_VERSION),
        "package_version": __version__,
        "class": content.root,
        "state": json.dumps(content.tree, allow_nan=False, separators=(",", ":")),
        "tensors": json.dumps({name: _digest(a) for name, a in content.arrays.items()}),
    }
    return {"format": FORMAT, **header, "sha256": _digest_of_header(header)}


def _digest(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _digest_of_header(header: dict[str, str]) -> str:
    return hashlib.sha256("\0".join(header[name] for name in _CHECKED).encode()).hexdigest()


def _flush_folder(folder: Path) -> None:
    """Wait until the entries of a folder are on the disk, where folders can be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
            header = _checked(file.metadata() or {}, path)
            # A file without arrays has a name for each of none.
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{str(path)!r} is cut short, damaged, or no file of save(): {error}"
        ) from error
    _check_arrays(arrays, json.loads(header["tensors"]), path)
    return Content(header["class"], json.loads(header["state"]), arrays)


def _checked(header: dict[str, str], path: Any) -> dict[str, str]:
    if header.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} is a safetensors file, but none that save() wrote.")
    version = header.get("format_version", "")
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise ValueError(
            f"{str(path)!r} has format version {version}, written by sklearn_mlcl "
            f"{header.get('package_version')}; this is {__version__}, which reads versions up to "
            f"{FORMAT_VERSION}. Upgrade sklearn_mlcl to load it."
        )
    whole = all(name in header for name in _CHECKED)
    if not whole or header.get("sha256") != _digest_of_header(header):
        raise ValueError(f"{str(path)!r} is damaged: its header does not match its checksum.")
    return header


def _check_arrays(arrays: dict[str, np.ndarray], digests: dict[str, str], path: Any) -> None:
    if arrays.keys() != digests.keys():
        raise ValueError(f"{str(path)!r} is damaged: arrays are missing or added.")
    for name, array in arrays.items():
        if _digest(array) != digests[name]:
            raise ValueError(f"{str(path)!r} is damaged: array {name} fails its checksum.")
