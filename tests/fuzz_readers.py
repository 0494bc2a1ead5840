"""Mutated data files and files that claim too much, for every reader of `datasets`.

``python -m tests.fuzz_readers`` runs each reader for a share of ``FUZZ_S`` seconds (60), or on
``FUZZ_N`` inputs, in a process of its own. It prints what failed, the peak of memory above that of
the imports, and the longest time. The tests do a short run. An input is made anew from its number.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_mlcl.datasets import DataFileError, load_arff, load_npz, load_xc

MOST_MIB, MOST_SECONDS = 256, 1.0
LONGEST_INPUT = 2**20

ARFF = rb"""% a comment
@relation 'toy: -C 2 -split-percentage 67'

@attribute 'label \'a\'' {0,1}
@attribute b {FALSE, TRUE}
@attribute id string
@attribute colour {red, 'dark, blue', "gr\145en"}
@attribute flag {1,0}
@ATTRIBUTE x	real [0,9]
@attribute y numeric {2}
@data
0,TRUE,'a, b',red,1,1.5,-2e-1
1, ?, c, 'dark, blue', 0, ?, 7, {2.5}
?,FALSE,"d",?,?,1e3,3,  % behind
{0 1, 2 'x', 5 2}
"""
SPARSE = b"""@relation s
@attribute l {0,1}
@attribute m {1,0}
@attribute kind {x,y,z}
@attribute f numeric
@data
{0 1, 2 y}
{}
{1 0,2 'z', 3 1.5}, {3}
1,0,x,4
"""
XML = b"""<?xml version="1.0" encoding="utf-8"?><labels xmlns="http://mulan.sourceforge.net/labels">
<label name="l"><label name="m"></label></label><label name="caf\xc3\xa9 &amp; co"/></labels>"""
XC = b"3 4 3\n0,2 1:0.5 3:1\n 0:2 2:1e-3\n1\n"
WORDS = [
    b"0", b"-1", b"2147483648", b"9" * 25, b"1e999", b"nan", b"?", b"''", b"'", b'"', b"\\", b"{",
    b"}", b",", b"%", b":", b" ", b"\t", b"\n", b"\r", b"\0", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf",
    b"@data", b"@relation", b"@attribute a numeric\n", b"@attribute r relational\n", b"-C", b"date",
    b"<label name='l'/>", b"<!DOCTYPE l>", b"&a;", b"</labels>", b"0:1", b"_", b"\xd9\xa1",
    b"|O", b"<U9", b"|S0", b"<c16", b"(-1, 2)", b"True", b"-" * 3000, b"[" * 300,
]  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few changes: bytes, words, numbers, pieces left out, repeated or moved."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        b = min(b, a + rng.choice([1, 8, 64, 10**6]))
        numbers = list(re.finditer(rb"\d+", data[:4096]))
        number = rng.choice(numbers).span() if numbers else (a, b)
        word, times = rng.choice(WORDS), rng.choice([2, 3, 100, 10**4])
        piece = data[a:b]
        data = rng.choice(
            [
                data[:a] + bytes([rng.randrange(256)]) + data[a + 1 :],
                data[:a] + word + data[a:],
                data[:a] + word + data[b:],
                data[: number[0]] + word + data[number[1] :],
                data[:a] + data[b:],
                data[:a] + piece * min(times, LONGEST_INPUT // (len(piece) + 1)) + data[b:],
                data[:a] + data[b:] + piece,
                data[:a],
            ]
        )[:LONGEST_INPUT]
    return data


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


@cache
def _sets() -> list[dict[str, bytes]]:
    """The arrays of a dense and of a sparse set, as bytes of npy files."""
    X, Y = np.arange(12, dtype=np.float32).reshape(4, 3), np.eye(4, 2, dtype=np.uint8)
    dense = {"X": X, "Y": Y, "label_names": np.array(["a", "b"])}
    dense |= {"feature_names": np.array([b"u", b"v", b"w"])}
    sparse: dict[str, Any] = {}
    for key, M in (("X", sp.csr_matrix(X)), ("Y", sp.csr_matrix(Y))):
        parts = {"data": M.data, "indices": M.indices, "indptr": M.indptr, "shape": M.shape}
        sparse |= {f"{key}_{part}": value for part, value in parts.items()}
    sparse |= {"train_idx": [0, 3], "test_idx": [2], "val_idx": [1]}
    sparse |= {"text_utf8": np.frombuffer(b"ab\xc3\xa9", np.uint8), "text_offsets": [0, 1, 1, 2, 4]}
    return [{name: _npy(array) for name, array in arrays.items()} for arrays in (dense, sparse)]


def _mutated_npz(rng: random.Random) -> bytes:
    """A damaged archive, or a whole one of damaged arrays."""
    members = dict(rng.choice(_sets()))
    if rng.random() < 0.3:
        return mutate(_zip(members), rng)
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice([*members])
        members[name] = rng.choice([mutate(members[name], rng), rng.choice([*members.values()])])
    return _zip(members, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


def _mutated_text(seeds: list[bytes], rng: random.Random) -> bytes:
    return mutate(rng.choice(seeds), rng)


def _mutated_packed(
    pack: Callable[[bytes], bytes], seeds: list[bytes], rng: random.Random
) -> bytes:
    data = rng.choice(seeds)
    return mutate(pack(data), rng) if rng.random() < 0.5 else pack(mutate(data, rng))


def _read_arff(data: bytes) -> Any:
    arguments: list[dict[str, Any]] = [
        {"drop_attributes": ["id"]},
        {"n_labels": 1},
        {"labels": ["l", "m"]},
        {"n_labels": 2, "label_location": "start", "encoding": "latin-1"},
    ]
    return load_arff(io.BytesIO(data), **arguments[sum(data[:64]) % 4])


def _read_packed(suffix: str, read: Callable[..., Any], data: bytes) -> Any:
    path = Path(_folder().name) / f"set{suffix}"
    path.write_bytes(data)
    return read(path)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


#: Makes an input from a generator of random numbers, and reads it.
READERS: dict[str, tuple[Callable[[random.Random], bytes], Callable[[bytes], Any]]] = {
    "arff": (partial(_mutated_text, [ARFF, SPARSE]), _read_arff),
    "arff.gz": (
        partial(_mutated_packed, gzip.compress, [ARFF, SPARSE]),
        partial(_read_packed, ".arff.gz", partial(load_arff, n_labels=2, drop_attributes=["id"])),
    ),
    "xml": (
        partial(_mutated_text, [XML]),
        lambda data: load_arff(io.BytesIO(SPARSE), xml=io.BytesIO(data)),
    ),
    "xc": (partial(_mutated_text, [XC]), lambda data: load_xc(io.BytesIO(data))),
    "xc.bz2": (
        partial(_mutated_packed, bz2.compress, [XC]),
        partial(_read_packed, ".txt.bz2", load_xc),
    ),
    "npz": (_mutated_npz, lambda data: load_npz(io.BytesIO(data))),
}


def check(result: Any) -> None:
    """What was read must be whole."""
    X, Y = result if isinstance(result, tuple) else (result.data, result.target)
    assert X.shape[0] == Y.shape[0] and X.ndim == Y.ndim == 2
    entries = Y.data if sp.issparse(Y) else Y
    assert (np.isnan(entries) | (entries == 0) | (entries == 1)).all()
    if not isinstance(result, tuple):
        assert (len(result.feature_names), len(result.target_names)) == (X.shape[1], Y.shape[1])


def complaint(read: Callable[[], Any]) -> str:
    """Traceback of an error or a warning that is not documented, else nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check(read())
    except DataFileError as error:
        return "" if str(error) and len(str(error)) < 1000 else "no or a long message"
    except BaseException:
        return traceback.format_exc(limit=-3)
    return ""


def peak_mib() -> float:
    """Most memory that this process ever took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def fuzz(name: str, numbers: Iterator[int]) -> Iterator[tuple[int, bytes, str, float]]:
    """Number, input, complaint and seconds of each mutated input of a reader."""
    make, read = READERS[name]
    for number in numbers:
        data = make(random.Random(number))
        start = time.process_time()
        text = complaint(partial(read, data))
        yield number, data, text, time.process_time() - start


def _run_one(name: str, n: int, seconds: float) -> bool:
    before, end, longest, n_done, n_bad = peak_mib(), time.monotonic() + seconds, (0.0, -1), 0, 0
    for number, data, text, duration in fuzz(name, iter(range(n))):
        n_done, longest = n_done + 1, max(longest, (duration, number))
        if text:
            n_bad += 1
            if n_bad <= 5:
                print(f"{name}, input {number}, {data[:200]!r}:\n{text}", flush=True)
        if time.monotonic() > end:
            break
    peak = peak_mib() - before
    print(
        f"{name}: {n_done} inputs, {n_bad} undocumented, peak {peak:.0f} MiB, longest "
        f"{longest[0]:.2f} s (input {longest[1]})",
        flush=True,
    )
    return not n_bad and peak <= MOST_MIB and longest[0] <= MOST_SECONDS


def main() -> int:
    """Run one reader here, or each in a process of its own; 0 if all are within the limits."""
    if sys.argv[1:]:
        name, n, seconds = sys.argv[1:]
        return int(not _run_one(name, int(n), float(seconds)))
    n = os.environ.get("FUZZ_N", str(10**9))
    seconds = "inf" if "FUZZ_N" in os.environ else os.environ.get("FUZZ_S", "60")
    share = str(float(seconds) / len(READERS))
    command = [sys.executable, "-m", "tests.fuzz_readers"]
    return max([subprocess.run([*command, name, n, share]).returncode for name in READERS])


if __name__ == "__main__":
    sys.exit(main())
