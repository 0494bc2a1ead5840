"""Files that are damaged, foreign, from the future, or interrupted; and what files may not hold."""

from __future__ import annotations

import copy
import errno
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from skorch.callbacks import LRScheduler

import sklearn_mlcl
from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.losses import JaccardSupConLoss
from sklearn_mlcl.persistence import ModelFileError, _files, _format, save
from tests.persistence._cases import X, Y, cgmvae, contrastive, fitted, mlp


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The heads in a file."""
    fitted("logistic").save(tmp_path / "heads.safetensors")
    return tmp_path / "heads.safetensors"


def parts_of(file: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    with safe_open(file, framework="numpy") as content:
        return content.metadata(), {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118


def test_a_file_is_safetensors_with_its_versions_in_the_header(file: Path) -> None:
    header, arrays = parts_of(file)
    assert header["format"] == "sklearn_mlcl"
    assert header["format_version"] == "1"
    assert header["package_version"] == sklearn_mlcl.__version__
    assert header["class"] == "MultiLabelLogisticRegression"
    assert any(np.array_equal(a, fitted("logistic").coef_) for a in arrays.values())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_short(share: float, file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"heads.safetensors.*(incomplete|damaged)"):
        sklearn_mlcl.load(file)


def test_every_flipped_byte_is_found(file: Path) -> None:
    """None loads as something else; a space of padding more or less is no damage."""
    content = bytearray(file.read_bytes())
    expected = fitted("logistic").coef_
    for i in range(0, len(content), 7):
        damaged = content.copy()
        damaged[i] ^= 0x01
        file.write_bytes(damaged)
        try:
            loaded = sklearn_mlcl.load(file)
        except ValueError as error:
            assert "heads.safetensors" in str(error)
        else:
            assert_array_equal(loaded.coef_, expected)
            assert chr(content[i]) in " \n"


def test_a_swapped_array_is_found(file: Path) -> None:
    header, arrays = parts_of(file)
    name = next(n for n, a in arrays.items() if np.array_equal(a, fitted("logistic").coef_))
    save_file({**arrays, name: arrays[name] * 2}, file, metadata=header)
    with pytest.raises(ValueError, match="does not match its checksum"):
        sklearn_mlcl.load(file)
    arrays.pop(name)
    save_file(arrays, file, metadata=header)
    with pytest.raises(ValueError, match="does not match its checksum"):
        sklearn_mlcl.load(file)


def test_an_edited_header_is_found(file: Path) -> None:
    header, arrays = parts_of(file)
    for name in ("format_version", "package_version", "class", "state"):
        save_file(arrays, file, metadata={**header, name: header[name] + " "})
        with pytest.raises(ValueError, match="does not match its checksum"):
            sklearn_mlcl.load(file)


def test_a_file_of_a_newer_version(file: Path) -> None:
    header, arrays = parts_of(file)
    save_file(arrays, file, metadata={**header, "format_version": "2", "package_version": "9.1"})
    with pytest.raises(
        ValueError, match=r"format version 2, written by sklearn_mlcl 9\.1.*Upgrade"
    ):
        sklearn_mlcl.load(file)


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "other"
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="save\\(\\) did not write it"):
        sklearn_mlcl.load(path)
    path.write_text("not a model")
    with pytest.raises(ValueError, match="not a file of save"):
        sklearn_mlcl.load(path)
    for missing in (tmp_path, tmp_path / "nothing here"):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            sklearn_mlcl.load(missing)


def written(tree: Any, path: Path, root: str = "MultiLabelLogisticRegression") -> Path:
    """Write a file whose checksums are right, whatever the tree says."""
    arrays = {"0": np.zeros(2)} if "'name': '0'" in str(tree) else {}
    _format.write_file(path, _format.Content(root, tree, arrays))
    return path


def node(kind: str, fields: dict[str, Any] | None = None, **header: Any) -> dict[str, Any]:
    """Return a node as a forger would write it."""
    return {"$": kind, "id": 1, "fields": fields or {}, **header}


def identity(fields: dict[str, Any], **buffers: bool) -> dict[str, Any]:
    header = {"class": "Identity", "parameters": [], "modules": []}
    return node("module", fields, **header, training=True, buffers=buffers)


TENSOR = node(
    "tensor",
    {"data": {"$": "array", "id": 2, "name": "0", "axes": [0]}},
    bfloat16=False,
    trained=None,
)
FORGED = [
    (node("object", **{"class": "Popen"}), "names the object 'Popen'"),
    (node("object", **{"class": "Linear"}), "names the object 'Linear'"),
    (node("object", {"C": 1.0}, **{"class": "MultiLabelLogisticRegression"}), "no attribute 'Cs'"),
    (node("module", **{"class": "os.system"}), "names the module 'os.system'"),
    (node("type", text="builtins.eval"), "names the type 'builtins.eval'"),
    (node("device", text="/dev/null"), "makes no sense"),
    (node("pickle", data="gASV"), "kind 'pickle'"),
    (node("array", name="7", axes=[0]), "has no array '7'"),
    (node("reference", id=7), "makes no sense"),
    (
        node(
            "csr",
            {"data": [1.0], "indices": [7], "indptr": [0, 1]},
            container="csr_array",
            shape=[1, 2],
        ),
        "no array is as wide",
    ),
    (identity({"_forward_hooks": 1}), "sets '_forward_hooks' of a module"),
    (identity({"weight": "a text"}, weight=True), "makes no sense"),
    (identity({"no.name": TENSOR}, **{"no.name": True}), "makes no sense"),
    ({"no kind": 1}, "makes no sense"),
    ({"$": "tuple"}, "makes no sense"),
]


@pytest.mark.parametrize(("tree", "message"), FORGED)
def test_only_known_classes_are_made(tree: Any, message: str, tmp_path: Path) -> None:
    path = written(tree, tmp_path / "made")
    with pytest.raises(ValueError, match=f"made.*cannot be loaded.*{message}"):
        sklearn_mlcl.load(path)


def test_an_unknown_class_at_the_root(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names the object 'Mine'"):
        sklearn_mlcl.load(written(1, tmp_path / "made", root="Mine"))


# ---------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_save_leaves_the_old_file(
    step: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted("contrastive").save(file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    fitted("contrastive").save(file)
    assert isinstance(sklearn_mlcl.load(file), ContrastiveMultiLabelClassifier)


def test_what_cannot_be_saved_leaves_the_old_file(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(TypeError):
        with_hook().save(file)
    assert file.read_bytes() == before


def test_others_may_read_the_file_as_the_umask_says(file: Path) -> None:
    plain = file.with_name("plain")
    plain.touch()
    assert file.stat().st_mode == plain.stat().st_mode


def test_a_file_that_is_replaced_keeps_its_mode(file: Path) -> None:
    file.chmod(0o600)
    fitted("logistic").save(file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_and_its_target_is_written(file: Path) -> None:
    folder = file.with_name("elsewhere")
    folder.mkdir()
    for target in (file, folder / "not there yet"):
        link = folder / f"link to {target.name}"
        link.symlink_to(target)
        fitted("nearest prototype").save(link)
        assert link.is_symlink()
        assert isinstance(sklearn_mlcl.load(target), NearestLabelSetClassifier)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "link", Path("/dev/null")):
        with pytest.raises(ValueError, match=f"'{path}' is no regular file"):
            fitted("logistic").save(path)
    with pytest.raises(FileNotFoundError):
        sklearn_mlcl.load(tmp_path / "pipe")


@pytest.mark.parametrize("path", [b"heads", None, 3, io.BytesIO()])
def test_what_is_no_path_is_named(path: Any) -> None:
    clf = fitted("logistic")
    for call in (clf.save, clf.to_onnx, sklearn_mlcl.load, type(clf).load):
        with pytest.raises(TypeError, match=r"'path' parameter of (save|load|to_onnx) must be"):
            call(path)
    with pytest.raises(ValueError, match="The 'optimizer' parameter of save must be"):
        clf.save("heads", optimizer="yes")


def test_folders_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "none" / "heads"
    with pytest.raises(FileNotFoundError, match=rf"no folder '{path.parent}' .*'{path}'"):
        fitted("logistic").save(path)
    with pytest.raises(FileNotFoundError, match=f"'{tmp_path}': it is a folder"):
        sklearn_mlcl.load(tmp_path)

    def refuse(name: str, *given: Any, **named: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path / 'heads'}'"):
        fitted("logistic").save(tmp_path / "heads")


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    fitted("logistic").save(tmp_path / ("n" * 255))


@pytest.mark.skipif(os.name != "posix", reason="a lock shows who is alive")
def test_drafts_of_the_dead_are_removed_and_no_others(file: Path) -> None:
    prefix = _files._draft_prefix(file)
    dead, alive = (file.with_name(f"{prefix}{name}.draft") for name in ("dead", "alive"))
    other = file.with_name(f"{_files._draft_prefix(file.with_name('other'))}dead.draft")
    for draft in (dead, alive, other):
        draft.touch()
    with alive.open() as held:
        assert _files._lock(held.fileno())
        fitted("logistic").save(file)
    assert sorted(file.parent.iterdir()) == sorted([alive, other, file])


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fitted("logistic").save(tmp_path / "nowhere" / "model")


# ---------------------------------------------------------------------- not to be saved


class Encoder(torch.nn.Linear):
    """A user's module."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 3)


def stacked(n_features: int) -> torch.nn.Module:
    """A user's function that makes modules."""
    return torch.nn.Sequential(torch.nn.Linear(n_features, 5), torch.nn.ReLU(), Encoder(5))


class Loss(JaccardSupConLoss):
    """A user's loss."""


class Mine(ContrastiveMultiLabelClassifier):
    """A user's estimator."""


def with_module(**changes: Any) -> Any:
    return contrastive(module=Encoder, **changes).fit(X, Y)


def test_a_module_of_the_users_comes_from_the_user(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for estimator in (
        with_module(),
        with_module(n_estimators=1),
        cgmvae(module=Encoder).fit(X, Y),
        contrastive(module=lambda n_features: Encoder(n_features)).fit(X, Y),
        mlp(module=stacked, net_params__feature_dim=3).fit(X, Y),
    ):
        estimator.save(path, optimizer=True)
        with pytest.raises(ModelFileError, match=r"module=tests\..*test_files\..*load\("):
            sklearn_mlcl.load(path)
        module = Encoder if estimator.module is not stacked else stacked
        loaded = sklearn_mlcl.load(path, module=module)
        assert loaded.module is module
        for method in ("predict_proba", "transform"):
            assert_array_equal(getattr(loaded, method)(X), getattr(estimator, method)(X))
        assert_array_equal(
            loaded.partial_fit(X, Y).predict_proba(X), estimator.partial_fit(X, Y).predict_proba(X)
        )


class Wider(torch.nn.Linear):
    """Another module than the one that was fitted."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 4)


class Double(Encoder):
    """The same in another dtype."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.double()


@pytest.mark.parametrize("module", [Wider, Double, torch.nn.Identity])
def test_another_module_than_the_one_fitted(module: Any, tmp_path: Path) -> None:
    with_module().save(tmp_path / "model")
    with pytest.raises(ModelFileError, match=r"module(\.weight is|=torch).*"):
        ContrastiveMultiLabelClassifier.load(tmp_path / "model", module=module)


def test_a_module_for_a_file_that_needs_none(file: Path) -> None:
    with pytest.raises(ModelFileError, match="names no module of the user"):
        sklearn_mlcl.load(file, module=Encoder)


def test_no_file_is_written_that_could_not_be_read(file: Path) -> None:
    """Neither with a parameter that ``fit`` refuses, nor with modules that were changed."""
    with pytest.raises(ValueError, match="'max_iter' parameter"):
        copy.copy(fitted("logistic")).set_params(max_iter=-1).save(file)
    changed = copy.deepcopy(fitted("contrastive"))
    layer = changed.net_.module_.encoder[0]
    layer.weight = torch.nn.Parameter(layer.weight.detach().double())
    with pytest.raises(ValueError, match=r"StackedLinear\.weight is torch\.float64"):
        changed.save(file)


def with_hook() -> Any:
    estimator = contrastive().fit(X, Y)
    estimator.net_.module_.register_forward_hook(lambda *args: None)
    return estimator


CANNOT = {
    "loss": lambda: contrastive(loss=Loss()).fit(X, Y),
    r"callbacks\[0\]": lambda: contrastive(
        net_params__schedule="constant", callbacks=[LRScheduler("StepLR", step_size=1)]
    ).fit(X, Y),
    "estimator holds": lambda: Mine(max_epochs=1, hidden_layer_sizes=(4,)).fit(X, Y),
    "_forward_hooks": with_hook,
    r"estimator holds sklearn\.multiclass\.OneVsRestClassifier": lambda: (
        MultiLabelThresholdClassifierCV(OneVsRestClassifier(LogisticRegression()), cv=2).fit(X, Y)
    ),
    r"label_names_|_format": lambda: MultiLabelLogisticRegression().fit(X, odd_names()),
}


def odd_names() -> Any:
    import pandas as pd

    return pd.DataFrame(Y, columns=pd.date_range("2020", periods=4))


@pytest.mark.parametrize("where", CANNOT)
def test_what_cannot_be_saved_is_named(where: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"{where}.*cannot be saved.*[Pp]ickle"):
        CANNOT[where]().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_detached_callbacks_are_no_hindrance(tmp_path: Path) -> None:
    estimator = CANNOT[r"callbacks\[0\]"]().set_params(callbacks=None)
    estimator.save(tmp_path / "model")
    assert sklearn_mlcl.load(tmp_path / "model").partial_fit(X, Y).n_iter_ == 3


def test_what_is_not_fitted(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        contrastive().save(tmp_path / "model")
    with pytest.raises(TypeError, match="LogisticRegression, which cannot be saved"):
        save(LogisticRegression(), tmp_path / "model")
