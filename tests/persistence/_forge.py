"""Forged files: what a stranger can write, with checksums that are right."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from sklearn_mlcl.persistence import _format
from sklearn_mlcl.persistence._registry import _NAMES

CLASSES = [name for names in _NAMES.values() for group in names.values() for name in group.split()]
KINDS = [
    "tuple", "dict", "array", "object", "module", "stateful", "reference", "items", "csr", "tensor",
    "dtype", "device", "type", "float", "random_state", "torch dtype", "custom", "custom encoder",
]  # fmt: skip
INTEGERS = [0, 1, -1, 2, 3, 7, 255, 625, 10**4, 10**6, 10**9, 2**31 - 1, 2**31, 2**63 - 1, 2**63]
REALS = [0.0, -1.0, 1e-300, 1e30, 1e300, 0.5, 3.7, -1e308]
TEXTS = [
    "", "nan", "inf", "-inf", "cuda", "meta", "cpu", "cuda:99", "<U1", "<U250000000", "|O", "<f8",
    "<i8", "mps", "os.system", "0", "1", "999", "torch.float64", "torch.bool", "etf", "tags",
    "cosine", "observed", "threshold", "onn", "topk", "binary", "multiclass", "multilabel", "sgd",
    "adam", "bf16", "threading", "mean", "logistic", "cv", "learned", "one_cycle", "f1_micro",
]  # fmt: skip
DTYPES = ["?", "i1", "u1", "i2", "i4", "i8", "u8", "f2", "f4", "f8"]


def read(path: Path) -> tuple[dict[str, str], Any, dict[str, np.ndarray]]:
    """Return the header of a file, the tree of its state, and its arrays."""
    with safe_open(path, framework="numpy") as file:
        header = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return header, json.loads(header["state"]), arrays


def write(path: Path, header: dict[str, str], tree: Any, arrays: dict[str, np.ndarray]) -> None:
    """Write a file whose checksum is right, whatever is in it."""
    arrays = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    header = {**header, "state": tree if isinstance(tree, str) else json.dumps(tree)}
    path.write_bytes(save(arrays, metadata={**header, "sha256": _format._digest(header, arrays)}))


def forge(path: Path, random: Random) -> None:
    """Change one to three things in a file, and its checksum with them."""
    header, tree, arrays = read(path)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        what = random.random()
        if what < 0.03:
            header["class"] = random.choice(CLASSES)
        elif what < 0.45 and arrays:
            _forge_array(arrays, random)
        else:
            _forge_tree(tree, random)
    write(path, header, tree, arrays)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return each (container, key) of a tree."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            found.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def _forge_tree(tree: Any, random: Random) -> None:
    places = _places(tree)
    container, key = random.choice(places)
    value = container[key]
    if random.random() < 0.15:
        other, other_key = random.choice(places)
        value = json.loads(json.dumps(other[other_key]))  # as it stands, ids and names too
        container[key] = value
    elif random.random() < 0.05:
        del container[key]
    elif isinstance(container, dict) and random.random() < 0.05:
        container[random.choice([*TEXTS, *map(str, container)])] = container.pop(key)
    elif isinstance(value, dict | list) and random.random() < 0.1:
        container[key] = {"$": "reference", "id": random.randrange(200)}
    elif key == "$":
        container[key] = random.choice(KINDS)
    elif isinstance(value, dict):
        container[key] = random.choice([None, [], {}, [value], value.get("fields")])
    elif isinstance(value, list):
        longer = value * random.choice([2, 50])
        container[key] = random.choice([[], value[:-1], value[1:], longer, value[::-1], [value]])
    else:
        container[key] = _other(value, random)


def _other(value: Any, random: Random) -> Any:
    """Return another scalar, mostly of the same type."""
    if random.random() < 0.1:
        return random.choice([None, True, False, *INTEGERS, *REALS, *TEXTS])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice([*INTEGERS, value + 1, value - 1, -value, 2 * value, value * 10**6])
    if isinstance(value, float):
        return random.choice([*REALS, -value, 2 * value, float("nan"), float("inf")])
    if isinstance(value, str):
        return random.choice([*TEXTS, *CLASSES, value + "x", value[:-1], value * 1000])
    return random.choice([*INTEGERS, *REALS, *TEXTS])


def _forge_array(arrays: dict[str, np.ndarray], random: Random) -> None:
    name = random.choice(list(arrays))
    array = arrays[name]
    way = random.randrange(8)
    if way == 0:
        arrays[name] = array.astype(random.choice(DTYPES))
    elif way == 1:
        arrays[name] = array.reshape(random.choice([(-1,), (1, -1), (-1, 1), array.shape[::-1]]))
    elif way == 2:
        arrays[name] = array.reshape(-1)[: random.randrange(max(array.size, 1))]
    elif way == 3:
        times = [random.choice([1, 2, 3]) for _ in array.shape]
        arrays[name] = np.tile(array, times)
    elif way == 4:
        shapes = [(0,), (0, 10**6), (10**9, 0), (1,), (625,), (3, 2), (0, 10**18)]
        shape = random.choice(shapes)
        arrays[name] = np.zeros(shape, dtype=array.dtype)
    elif way == 5:
        arrays[name] = arrays[random.choice(list(arrays))]
    elif way == 6 and array.ndim:
        axis = random.randrange(array.ndim)
        arrays[name] = (
            np.repeat(array, 2, axis)
            if random.random() < 0.5
            else np.delete(array, slice(0, 1), axis)
        )
    elif array.size:
        _forge_values(arrays, name, random)


def _forge_values(arrays: dict[str, np.ndarray], name: str, random: Random) -> None:
    array = arrays[name] = arrays[name].copy()
    flat = array.reshape(-1)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        choice = [0, -1, 1, len(flat), 10**4, 10**9, int(limits.max), int(limits.min)]
        value: Any = max(int(limits.min), min(int(limits.max), random.choice(choice)))
    elif array.dtype.kind == "f":
        value = random.choice([0.0, -1.0, 1e30, float("nan"), float("inf"), 1e-30])
        value = array.dtype.type(value)
    else:
        value = random.random() < 0.5
    where = slice(None) if random.random() < 0.3 else random.randrange(len(flat))
    with np.errstate(all="ignore"):
        flat[where] = value
    arrays[name] = flat.reshape(array.shape)


def mutated(content: bytes, random: Random) -> bytes:
    """Return bytes with a few of them changed, cut, doubled or moved."""
    data = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 8])):
        # The header is where the structure is.
        end = len(data) if random.random() < 0.5 else min(len(data), 4000)
        at = random.randrange(end) if end else 0
        way = random.randrange(6)
        length = random.choice([1, 2, 8, 100, 5000])
        if way <= 1 and data:
            data[at] ^= 1 << random.randrange(8)
        elif way == 2:
            data[at : at + length] = random.randbytes(length)
        elif way == 3:
            del data[at : at + length]
        elif way == 4:
            data[at:at] = data[at : at + length]
        else:
            del data[at:]
    return bytes(data)
