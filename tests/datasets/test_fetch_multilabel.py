"""fetch_multilabel: local files first, then OpenML (mocked), else an error that tells both ways."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.utils import Bunch

from sklearn_mlcl.datasets import _fetch as _openml
from sklearn_mlcl.datasets import fetch_multilabel
from sklearn_mlcl.datasets._npz import DATA_ENV, local_data_home

needs_data = pytest.mark.skipif(
    local_data_home() is None,
    reason=f"set {DATA_ENV} to the folder of the real .npz sets to run this",
)
real_data_home = local_data_home()


def openml_labels(Y):
    return np.where(Y == 1, "TRUE", "FALSE").astype(object)


@pytest.fixture(autouse=True)
def no_data_home(monkeypatch):
    monkeypatch.delenv(DATA_ENV, raising=False)


@pytest.fixture
def openml(monkeypatch):
    """A stand-in for fetch_openml; the calls it saw and the set it gives."""
    rng = np.random.default_rng(0)
    Y = (rng.uniform(size=(90, 6)) < 0.3).astype(np.int64)
    answer = Bunch(
        data=rng.normal(size=(90, 4)),
        target=openml_labels(Y),
        feature_names=["a", "b", "c", "d"],
        target_names=[f"t{i}" for i in range(6)],
        DESCR="Described by OpenML.",
    )
    seen = Bunch(calls=[], answer=answer, Y=Y)

    def fetch_openml(**arguments):
        seen.calls.append(arguments)
        if isinstance(seen.answer, Exception):
            raise seen.answer
        return seen.answer

    monkeypatch.setattr(_openml, "fetch_openml", fetch_openml)
    return seen


@pytest.fixture
def folder(tmp_path):
    X, Y = np.eye(6, dtype=np.float32), np.array([[1, 0], [0, 1]] * 3, dtype=np.uint8)
    train, test = np.arange(4), np.arange(4, 6)
    np.savez(tmp_path / "yeast.npz", X=X, Y=Y, train_idx=train, test_idx=test)
    np.savez(tmp_path / "own.npz", X=X, Y=Y)
    return tmp_path


@pytest.mark.parametrize("by_environment", [False, True])
def test_local_file_comes_first(folder, openml, monkeypatch, by_environment):
    if by_environment:
        monkeypatch.setenv(DATA_ENV, str(folder))
    bunch = fetch_multilabel("yeast", data_home=None if by_environment else folder)
    assert not openml.calls
    assert bunch.data.shape == (6, 6) and bunch.target.dtype == np.int64
    assert_array_equal(bunch.test_idx, [4, 5])
    assert bunch.split == "as stored in the file"
    assert bunch.split in bunch.DESCR
    X, Y = fetch_multilabel("yeast", data_home=folder, subset="test", return_X_y=True)
    assert_array_equal(X, np.eye(6)[4:])
    assert_array_equal(Y, [[1, 0], [0, 1]])


def test_argument_beats_environment(folder, tmp_path_factory, monkeypatch, openml):
    monkeypatch.setenv(DATA_ENV, str(tmp_path_factory.mktemp("other")))
    assert fetch_multilabel("yeast", data_home=folder).data.shape == (6, 6)
    assert not openml.calls


def test_local_file_without_split_gets_one(folder):
    bunch = fetch_multilabel("own", data_home=folder)
    assert bunch.split.startswith("made by fetch_multilabel")
    assert_array_equal(bunch.target[bunch.test_idx].sum(axis=0), [1, 1])


@pytest.mark.parametrize(
    "spell",
    [
        openml_labels,
        lambda Y: np.where(Y == 1, "1", "0").astype(object),
        lambda Y: Y.astype(np.float64),
        lambda Y: Y == 1,
    ],
    ids=["TRUE/FALSE", "1/0 strings", "floats", "booleans"],
)
def test_openml_labels_however_spelled(openml, spell):
    openml.answer.target = spell(openml.Y)
    bunch = fetch_multilabel("emotions")
    call = {"data_id": 40589, "as_frame": False, "data_home": None, "parser": "liac-arff"}
    assert openml.calls == [call]
    assert_array_equal(bunch.target, openml.Y)
    assert bunch.target.dtype == np.int64 and bunch.data.dtype == np.float32
    assert bunch.target_names == openml.answer.target_names


def test_openml_split_is_stratified_said_and_constant(openml):
    bunch = fetch_multilabel("yeast")
    assert openml.calls[0]["data_id"] == 40597
    rows = np.concatenate([bunch.train_idx, bunch.test_idx])
    assert_array_equal(np.sort(rows), np.arange(90))
    expected = openml.Y.sum(axis=0) / 3
    assert np.abs(openml.Y[bunch.test_idx].sum(axis=0) - expected).max() <= 2
    assert "made by fetch_multilabel" in bunch.split
    assert "Described by OpenML." in bunch.DESCR and bunch.split in bunch.DESCR
    assert_array_equal(fetch_multilabel("yeast").test_idx, bunch.test_idx)
    _, Y = fetch_multilabel("yeast", subset="train", return_X_y=True)
    assert_array_equal(Y, openml.Y[bunch.train_idx])


def test_data_home_without_the_file_is_the_cache(openml, tmp_path):
    fetch_multilabel("scene", data_home=tmp_path)
    assert openml.calls[0]["data_home"] == str(tmp_path)


def test_frames_have_names(openml):
    X, Y = fetch_multilabel("scene", return_X_y=True, as_frame=True)
    assert list(X.columns) == ["a", "b", "c", "d"]
    assert list(Y.columns) == [f"t{i}" for i in range(6)]
    assert_array_equal(Y.to_numpy(), openml.Y)


def test_unknown_name_tells_both_ways(openml, tmp_path):
    with pytest.raises(ValueError, match=r"(?s)the name 'nowhere'.*nowhere\.npz.*OpenML has"):
        fetch_multilabel("nowhere", data_home=tmp_path)
    assert not openml.calls


def test_no_download(openml):
    with pytest.raises(OSError, match=r"(?s)download_if_missing is False.*yeast\.npz.*OpenML has"):
        fetch_multilabel("yeast", download_if_missing=False)
    assert not openml.calls


def test_failing_download_tells_both_ways(openml):
    openml.answer = URLError("no network")
    with pytest.raises(OSError, match=r"(?s)could not be read.*no network.*yeast\.npz"):
        fetch_multilabel("yeast")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.array(["TRUE", "FALSE"] * 45, dtype=object), "one target column"),
        (np.full((90, 6), "maybe", dtype=object), "a label entry is 'maybe'"),
    ],
)
def test_openml_set_of_another_form(openml, target, message):
    openml.answer.target = target
    with pytest.raises(ValueError, match=rf"OpenML data set 40597 \(yeast\).*{message}"):
        fetch_multilabel("yeast")


@pytest.mark.parametrize("name", ["", "../yeast", "a/b", None])
def test_names_are_plain(name):
    with pytest.raises(ValueError, match="name must be the plain name"):
        fetch_multilabel(name)


def test_damaged_local_file_is_no_reason_to_download(folder, openml):
    (folder / "yeast.npz").write_bytes(b"PK broken")
    with pytest.raises(ValueError, match=r"yeast\.npz: File is not a zip file"):
        fetch_multilabel("yeast", data_home=folder)
    assert not openml.calls


@needs_data
@pytest.mark.parametrize(
    ("name", "shape", "n_labels", "n_train", "sparse"),
    [
        ("yeast", (2417, 103), 14, 1500, (False, False)),
        ("scene", (2407, 294), 6, 1211, (False, False)),
        ("enron", (1702, 1001), 53, 1123, (True, True)),
        ("sider", (1427, 1024), 27, 943, (True, False)),
    ],
)
def test_real_sets(name, shape, n_labels, n_train, sparse):
    bunch = fetch_multilabel(name, data_home=real_data_home)
    assert bunch.data.shape == shape
    assert bunch.target.shape == (shape[0], n_labels)
    assert len(bunch.train_idx) == n_train
    assert (sp.issparse(bunch.data), sp.issparse(bunch.target)) == sparse
    assert bunch.target.dtype == np.int64


@needs_data
def test_every_real_file_can_be_read():
    names = [Path(file).stem for file in os.listdir(real_data_home) if file.endswith(".npz")]
    assert names
    for name in names:
        bunch = fetch_multilabel(name, data_home=real_data_home)
        assert len(bunch.train_idx) + len(bunch.test_idx) <= bunch.data.shape[0]
        assert len(bunch.target_names) == bunch.target.shape[1]
