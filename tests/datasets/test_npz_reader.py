"""load_npz: dense and CSR parts, names, splits, texts, and every way a file can be wrong."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from sklearn_mlcl.datasets import DataFileError, load_npz

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.uint8)
SPLIT = {"train_idx": np.array([0, 3]), "test_idx": np.array([2]), "val_idx": np.array([1])}


TEXT = {"X": X, "Y": Y, "t_utf8": np.zeros(3, np.uint8)}


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    file.seek(0)
    return file


def csr_parts(key, matrix):
    M = sp.csr_matrix(matrix)
    parts = {"data": M.data, "indices": M.indices, "indptr": M.indptr, "shape": M.shape}
    return {f"{key}_{part}": np.asarray(value) for part, value in parts.items()}


def test_dense_file_with_all_there_is():
    names = {"label_names": np.array(["a", "b"]), "feature_names": np.array(["u", "v", "w"])}
    bunch = load_npz(npz(X=X, Y=Y, **names, **SPLIT))
    assert_array_equal(bunch.data, X)
    assert bunch.data.dtype == np.float32
    assert_array_equal(bunch.target, Y)
    assert bunch.target.dtype == np.int64
    assert bunch.target_names == ["a", "b"] and bunch.feature_names == ["u", "v", "w"]
    for key, rows in SPLIT.items():
        assert_array_equal(bunch[key], rows)
        assert bunch[key].dtype == np.int64


def test_sparse_file_stays_csr():
    bunch = load_npz(npz(**csr_parts("X", X), **csr_parts("Y", Y)))
    assert isinstance(bunch.data, sp.csr_matrix) and isinstance(bunch.target, sp.csr_matrix)
    assert_array_equal(bunch.data.toarray(), X)
    assert_array_equal(bunch.target.toarray(), Y)
    assert bunch.target.dtype == np.int64
    assert bunch.feature_names == ["x0", "x1", "x2"]
    assert bunch.target_names == ["label0", "label1"]


def test_entries_that_occur_twice_are_summed():
    parts = csr_parts("X", [[3.0, 0], [0, 1]]) | {
        "X_data": [1.0, 2, 1], "X_indices": [0, 0, 1], "X_indptr": [0, 2, 3],
    }  # fmt: skip
    data = load_npz(npz(**parts, Y=Y[:2])).data
    assert data.nnz == 2
    assert_array_equal(data.toarray(), [[3, 0], [0, 1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, bool, np.int64])
def test_sums_of_small_integers_fit(dtype):
    entries = np.array([200, 100, 1]).astype(dtype)
    parts = csr_parts("X", np.eye(2)) | {
        "X_data": entries, "X_indices": [0, 0, 1], "X_indptr": [0, 2, 3],
    }  # fmt: skip
    data = load_npz(npz(**parts, Y=Y[:2])).data
    assert data.dtype == np.int64
    assert_array_equal(data.toarray(), [[int(entries[0]) + int(entries[1]), 0], [0, 1]])


@pytest.mark.parametrize(
    ("entries", "dtype"),
    [([1, 1], np.uint8), ([255, 2], np.uint8), ([1, 1], bool), ([0.5, 0.5], float)],
)
def test_labels_that_occur_twice_are_checked_before_and_after_the_sum(entries, dtype):
    parts = csr_parts("Y", np.eye(1)) | {
        "Y_data": np.array(entries, dtype), "Y_indices": [0, 0], "Y_indptr": [0, 2],
    }  # fmt: skip
    with pytest.raises(DataFileError, match="entries other than 0, 1 and NaN"):
        load_npz(npz(**parts, X=X[:1]))
    parts["Y_data"] = np.array([1, 0], dtype)
    assert load_npz(npz(**parts, X=X[:1])).target.toarray() == [[1]]


def test_missing_labels_stay_nan():
    holes = np.where([[1, 0], [0, 0], [0, 0], [0, 0]], np.nan, Y)
    target = load_npz(npz(X=X, Y=holes)).target
    assert target.dtype == np.float64
    assert_array_equal(target, holes)


@pytest.mark.parametrize(
    ("subset", "rows"), [("train", [0, 3]), ("test", [2]), ("validation", [1])]
)
def test_subset_cuts_matrices_and_texts(subset, rows):
    words = ["äh", "", "x y", "z"]
    offsets = np.cumsum([0] + [len(w.encode()) for w in words])
    text = {"text_utf8": np.frombuffer("".join(words).encode(), np.uint8), "text_offsets": offsets}
    bunch = load_npz(npz(X=X, **csr_parts("Y", Y), **SPLIT, **text), subset=subset)
    assert_array_equal(bunch.data, X[rows])
    assert_array_equal(bunch.target.toarray(), Y[rows])
    assert list(bunch.text) == [words[i] for i in rows]
    assert not {"train_idx", "test_idx", "val_idx"} & set(bunch)


def test_frames():
    pd = pytest.importorskip("pandas")
    bunch = load_npz(npz(X=X, **csr_parts("Y", Y), **SPLIT), subset="train", as_frame=True)
    assert list(bunch.data.index) == [0, 3]
    assert all(isinstance(dtype, pd.SparseDtype) for dtype in bunch.target.dtypes)
    assert_array_equal(bunch.target.to_numpy(), Y[[0, 3]])
    assert list(bunch.target.columns) == ["label0", "label1"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "neither 'Y' nor the CSR parts"),
        ({"Y": Y}, "neither 'X' nor the CSR parts"),
        ({"X": X, "Y": Y[:3]}, "X has 4 rows, Y has 3"),
        ({"X": X, "Y": Y[:, 0]}, "Y must have 2 dimensions"),
        ({"X": X, "Y": Y * 2}, "entries other than 0, 1 and NaN"),
        ({"X": X, "Y": Y, "train_idx": np.array([0, 1])}, "each of the 4 samples exactly once"),
        (
            {"X": X, "Y": Y, "train_idx": np.array([0, 1, 2, 4])},
            "each of the 4 samples exactly once",
        ),
        ({"X": X, "Y": Y, "label_names": np.array(["a"])}, "label_names has 1 entries for 2"),
        ({"X": X, "Y": Y, "train_idx": np.array([0.9, 1, 2, 3])}, "train_idx must hold integers"),
        ({"X": np.array([{}, None]), "Y": Y}, "X must hold real numbers, got object"),
        ({"X": X * 1j, "Y": Y}, "X must hold real numbers, got complex64"),
        ({"X": X, "Y": Y.astype(str)}, "Y must hold real numbers, got <U"),
        ({"X": X, "Y": Y, "label_names": np.array("a")}, "label_names must have 1 dimensions"),
        (csr_parts("X", X) | {"X_shape": [4, 2**33], "Y": Y}, "need more than 134217728 bytes"),
        (csr_parts("X", X) | {"X_shape": [4, 3, 1], "Y": Y}, "X_shape must hold 2 numbers"),
        (csr_parts("X", X) | {"X_indices": np.full(11, 0.9), "Y": Y}, "X_indices must hold int"),
        ({"X": np.zeros((0, 2**40)), "Y": np.zeros((0, 1))}, "need more than 134217728 bytes"),
        ({"X": X, "Y": Y, "t_utf8": np.zeros(3, np.uint8)}, "it holds no 't_offsets'"),
        (TEXT | {"t_offsets": [0, 3, 0, 3, 0]}, "must have 5 entries, from 0 to 3"),
        (TEXT | {"t_offsets": [0, 3, 0, 3, 3]}, "t_offsets must not decrease"),
    ],
)
def test_files_that_disagree_with_themselves(arrays, message):
    with pytest.raises(DataFileError, match=message):
        load_npz(npz(**arrays))


def test_broken_csr_parts():
    parts = csr_parts("X", X) | {"X_indices": np.full(11, 7)}
    with pytest.raises(DataFileError, match="indices must be < 3"):
        load_npz(npz(**parts, Y=Y))


def test_damaged_and_missing_files(tmp_path):
    path = tmp_path / "set.npz"
    whole = npz(X=X, Y=Y).read()
    for damaged in (b"", b"not a zip", whole[:-30], whole[:60] + b"\0" * 40 + whole[100:]):
        path.write_bytes(damaged)
        with pytest.raises(DataFileError, match=r"set\.npz: "):
            load_npz(path)
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(ValueError, match=r"one\.npy: File is not a zip file"):
        load_npz(tmp_path / "one.npy")
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "absent.npz")


def test_what_a_file_claims_is_checked_before_memory_is_taken():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 1000)}
    )
    file = npz(Y=Y)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("X.npy", header.getvalue())
    with pytest.raises(DataFileError, match=r"X claims the shape .* of uint8, but has 0 bytes"):
        load_npz(file)


def test_packings_without_a_bound_are_not_unpacked():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("X.npy", bytes(1000))
    with pytest.raises(DataFileError, match="X is packed by another method"):
        load_npz(file)


def test_max_bytes():
    zeros = {"X": np.zeros((2**17, 129), dtype=np.float64), "Y": np.zeros((2**17, 1), np.uint8)}
    with pytest.raises(DataFileError, match=r"need more than 134217728 bytes .*larger max_bytes"):
        load_npz(npz(**zeros))
    assert load_npz(npz(**zeros), max_bytes=2**28).data.shape == (2**17, 129)
    with pytest.raises(DataFileError, match="need more than 300 bytes"):
        load_npz(npz(X=X, Y=Y), max_bytes=300)


def test_subset_of_a_file_without_split():
    with pytest.raises(ValueError, match="no 'train' samples; it has no split"):
        load_npz(npz(X=X, Y=Y), subset="train")
