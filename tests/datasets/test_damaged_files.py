"""Mutated files, and small files that claim or unpack to too much, for every reader."""

from __future__ import annotations

import io
import itertools
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sklearn_mlcl.datasets import DataFileError, load_arff, load_npz, load_xc
from tests.fuzz_readers import MOST_MIB, READERS, fuzz, peak_mib
from tests.processes import in_process

HEAD = b"@relation 'bomb: -C 1'\n@attribute l {0,1}\n@attribute x "
PLAIN = HEAD + b"numeric\n@data\n"


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_are_read_or_refused(name: str) -> None:
    for number, data, complaint, _ in itertools.islice(fuzz(name, itertools.count()), 300):
        assert not complaint, f"input {number}, {data[:200]!r}: {complaint}"


def _packed(*parts: tuple[bytes, int]) -> bytes:
    """A gzip file of pieces, each so many times, made without ever holding its text."""
    packer = zlib.compressobj(wbits=31)
    text = (packer.compress(piece) for piece, times in parts for _ in range(times))
    return b"".join(text) + packer.flush()


def _npz(**members: list[tuple[bytes, int]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, parts in members.items():
            with archive.open(f"{name}.npy", "w") as member:
                for piece, times in parts:
                    for _ in range(times):
                        member.write(piece)
    return file.getvalue()


def _npy(shape: tuple[int, ...], dtype: str = "|u1", n_mib: int = 0) -> list[tuple[bytes, int]]:
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return [(file.getvalue(), 1), (bytes(2**20), n_mib)]


def _long_header(claimed: int, piece: bytes, times: int) -> list[tuple[bytes, int]]:
    return [(b"\x93NUMPY\x02\x00" + claimed.to_bytes(4, "little"), 1), (piece, times)]


def _bombs() -> tuple[dict[str, bytes], ...]:
    """Small files for the readers of ARFF, packed ARFF, XC, XML and npz."""
    wide = b"{" + b",".join(b"v%d" % k for k in range(20_000)) + b"}\n@data\n"
    nominal = b"".join(b"@attribute x%d {a,b}\n" % k for k in range(999))
    distinct = b"".join(b" %d:1" % k for k in range(200_000))
    arff = {
        "values x rows": HEAD + wide + b"1,?\n" * 5_000,
        "name x values": HEAD + b"real\n@attribute " + b"y" * 10**6 + b" " + wide + b"1,2,v7\n",
        "rows left out": HEAD + b"real\n" + nominal + b"@data\n" + b"{}\n" * 20_000,
        "quotations": HEAD + b"{" + b"''," * 10**6 + b"}\n@data\n",
        "escapes": HEAD.replace(b" x ", b" '" + b"\\a" * 10**6),
        "blanks": HEAD + b" " * 5_000_000,
    }
    packed = {
        "one line": _packed((b" " * 2**20, 64)),
        "rows": _packed((PLAIN, 1), (b"0,1\n" * 2**16, 64)),
        "no rows": _packed((PLAIN, 1), (b"\n" * 2**16, 128)),
    }
    xc = {
        "columns": b"1 1000000000000 2\n0 0:1\n",
        "digits": b"1 %s 2\n" % (b"9" * 5_000),
        "twice": b"1 999999 2\n0" + distinct + b" 199999:1\n",
        "rows": b"1000000000 2 2\n" + b"\n" * 10**5,
    }
    xml = {
        "entities": b"<!DOCTYPE l [<!ENTITY a 'aaaa'>]><labels><label name='&a;'/></labels>",
        "deep": b"<a>" * 10**6,
        "long": b"<labels>" + b"<label name='l'/>" * 300_000,
    }
    one = [*_npy((1, 1)), (b"\1", 1)]
    npz = {
        "zeros": _npz(X=_npy((2**20, 300), n_mib=300), Y=one),
        "labels": _npz(X=_npy((2**20, 1), n_mib=1), Y=_npy((2**20, 30), n_mib=30)),
        "no columns": _npz(X=_npy((2**62, 0)), Y=_npy((2**62, 0))),
        "names": _npz(X=_npy((1, 0)), Y=one, feature_names=_npy((10**12,), "|S0")),
        "long header": _npz(X=_long_header(300 * 2**20, b" " * 2**20, 300), Y=one),
        "deep header": _npz(X=_long_header(9_000, b"-" * 9_000, 1), Y=one),
    }
    return arff, packed, xc, xml, npz


def _all_are_refused(folder: Path) -> None:
    """Read each bomb; runs in a process of its own, which sees how much memory that takes."""
    packed = folder / "bomb.arff.gz"

    def read_packed(data: bytes) -> Any:
        packed.write_bytes(data)
        return load_arff(packed)

    reads: list[Callable[[bytes], Any]] = [
        lambda data: load_arff(io.BytesIO(data)),
        read_packed,
        lambda data: load_xc(io.BytesIO(data)),
        lambda data: load_arff(io.BytesIO(PLAIN), xml=io.BytesIO(data)),
        lambda data: load_npz(io.BytesIO(data)),
    ]
    kinds, before = _bombs(), peak_mib()
    for bombs, read in zip(kinds, reads, strict=True):
        for name, data in bombs.items():
            with pytest.raises(DataFileError):
                read(data)
            assert peak_mib() - before < MOST_MIB, (name, peak_mib() - before)


def test_bombs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    in_process(_all_are_refused, tmp_path)
