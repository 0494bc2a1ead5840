"""The file: safetensors whose header carries the JSON state, versions and a checksum."""

from __future__ import annotations

import hashlib
import json
import os
import re
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sklearn_mlcl._version import __version__
from sklearn_mlcl.persistence._files import write_whole

#: Raised by one whenever older versions of this package could not read the files of this one.
FORMAT_VERSION = 1
FORMAT = "sklearn_mlcl"
#: Bytes of a header, and bytes of the Python objects that its JSON can make: a few bytes of text
#: make a hundred of a dict. A million names of labels stay below both.
LARGEST_HEADER, LARGEST_TREE = 2**25, 2**27
#: Bytes that each of these signs of a JSON text can make.
_BYTES_OF_SIGNS = {"{": 232, "[": 72, ",": 64}
#: Lists and dicts inside one another.
DEEPEST = 200
#: A text in JSON, matched without a way back, which would take memory for each of its letters.
_TEXTS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


class ModelFileError(ValueError):
    """A file that :func:`sklearn_mlcl.load` refuses; the message names the file and the reason.

    The file is damaged or incomplete, is no file of :meth:`save`, or has a newer version. Or it has
    another class than expected, or content that no estimator of this package has.

    Examples
    --------
    >>> import tempfile
    >>> import sklearn_mlcl
    >>> from sklearn_mlcl.persistence import ModelFileError
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     try:
    ...         sklearn_mlcl.load(file.name)
    ...     except ModelFileError as error:
    ...         print(file.name in str(error))
    True
    """


class Content(NamedTuple):
    """What a file holds: the class at its root, a JSON tree, and the arrays of the tree.

    ``version`` is that of the package that wrote it.
    """

    root: str
    tree: Any
    arrays: dict[str, np.ndarray]
    version: str = __version__


def write_file(path: str | os.PathLike[str], content: Content) -> None:
    """Write a file in one step: an interrupted call leaves the file that was there before.

    Raises
    ------
    ValueError
        If its header would be larger than what is read, or the path is that of no regular file.
    """
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "package_version": __version__,
        "class": content.root,
        "state": json.dumps(content.tree, allow_nan=False, separators=(",", ":")),
    }
    _check_tree(header["state"])
    header["sha256"] = _digest(header, content.arrays)
    data = save(content.arrays, metadata=header)
    _check_header(int.from_bytes(data[:8], "little"))
    write_whole(path, data)


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
        other = ": it is a folder" if Path(path).is_dir() else ""
        raise FileNotFoundError(f"There is no file {str(path)!r}{other}.")
    with open(path, "rb") as start:
        n_bytes = int.from_bytes(start.read(8), "little")
    try:
        _check_header(n_bytes)
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            # A file without arrays has a name for each of none.
            names = list(file.keys()) if header.get("format") == FORMAT else []
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"it is incomplete, damaged, or not a file of save(): {error}") from error
    _check_version(header)
    if header.get("sha256") != _digest(header, arrays):
        raise ValueError("it is damaged: it does not match its checksum")
    _check_tree(header["state"])
    state = json.loads(header["state"])
    return Content(header["class"], state, arrays, header["package_version"])


def _check_header(n_bytes: int) -> None:
    if n_bytes > LARGEST_HEADER:
        raise ValueError(
            f"the header would have {n_bytes:,} bytes, expected at most {LARGEST_HEADER:,}: it "
            "holds parameters and the names of labels and features"
        )


def _check_tree(text: str) -> None:
    """Raise if JSON nests too deep, or describes more than a file of save() ever does."""
    n_bytes = sum(text.count(sign) * cost for sign, cost in _BYTES_OF_SIGNS.items())
    if n_bytes > LARGEST_TREE:
        raise ValueError(
            f"the header describes about {n_bytes:,} bytes of values beside the arrays, expected "
            f"at most {LARGEST_TREE:,}"
        )
    brackets = re.findall(r"[][{}]", _TEXTS.sub("", text))
    depth = max(accumulate((1 if sign in "[{" else -1 for sign in brackets), initial=0))
    if depth > DEEPEST:
        raise ValueError(f"its values nest {depth:,} levels deep, expected at most {DEEPEST}")


def _check_version(header: dict[str, str]) -> None:
    if header.get("format") != FORMAT:
        raise ValueError("it is a safetensors file, but save() did not write it")
    version = header.get("format_version", "")
    if version.isdecimal() and int(version) > FORMAT_VERSION:
        raise ValueError(
            f"it has format version {version}, written by sklearn_mlcl "
            f"{header.get('package_version')}; this is {__version__}, which reads versions up to "
            f"{FORMAT_VERSION}. Upgrade sklearn_mlcl to load it"
        )
