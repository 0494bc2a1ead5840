"""ONNX files: the module of an estimator, exported in the main cases."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from torch.torch_version import TorchVersion

from sklearn_mlcl import MultiLabelLogisticRegression, MultiLabelMLPClassifier
from sklearn_mlcl.persistence import _onnx
from tests import test_own_inputs
from tests.persistence._cases import FRAMES, X, Y, cgmvae, contrastive, fitted
from tests.test_to_module import NEW, expected

FILES = {
    "members, neighbours, linear part, CSR, three classes": lambda: contrastive(
        linear_weight=0.4
    ).fit(sp.csr_matrix(X), Y.sum(axis=1).clip(1, 3)),
    "label sets": lambda: fitted("pick all labels"),
    "draws": lambda: cgmvae(net_params__n_predict_samples=2).fit(X, Y),
    "heads, names": lambda: fitted("logistic"),
    "heads, two classes": lambda: MultiLabelLogisticRegression().fit(X, Y[:, 0]),
}


needs_exporter = pytest.mark.skipif(
    TorchVersion(torch.__version__) < _onnx.FIRST_TORCH, reason="torch is too old for the export"
)


@needs_exporter
@pytest.mark.parametrize("name", FILES)
def test_onnxruntime_agrees(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    estimator = FILES[name]()
    estimator.to_onnx(tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["X"]
    assert [node.name for node in session.get_outputs()] == ["probabilities"]
    for rows in (NEW, NEW[:1], NEW[:2]):
        (probabilities,) = session.run(None, {"X": rows})
        assert probabilities.dtype == np.float32
        assert_allclose(probabilities, expected(estimator, rows), rtol=0, atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    if "names" in name:
        assert json.loads(metadata["label_names"]) == list(FRAMES[1])


@needs_exporter
@pytest.mark.parametrize("case", ["ids and mask", "bytes"])
def test_a_module_of_the_users(case: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    module, data = test_own_inputs.CASES[case]
    samples, labels = data()
    changes = {"max_epochs": 1, "n_estimators": 2}
    clf = test_own_inputs.classifier(MultiLabelMLPClassifier, module, **changes)
    clf.fit(samples, labels).to_onnx(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for new in (samples, samples[:1]):
        inputs = {"X": new} if new.dtype.names is None else {n: new[n] for n in new.dtype.names}
        (probabilities,) = session.run(None, {n: a.copy() for n, a in inputs.items()})
        assert_allclose(probabilities, clf.predict_proba(new), rtol=0, atol=1e-5)
    assert torch.backends.mha.get_fastpath_enabled()


class Branches(test_own_inputs.Rows):
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X if X.sum() > 0 else -X)


@needs_exporter
def test_a_module_that_has_no_graph(tmp_path: Path) -> None:
    clf = test_own_inputs.classifier(MultiLabelMLPClassifier, Branches, max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match="to_onnx: torch cannot export the prediction"):
        clf.to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_extras_are_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"to_onnx needs {package},.*sklearn-mlcl\[onnx\]"):
        fitted("logistic").to_onnx(tmp_path / "model.onnx")


def test_a_torch_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(_onnx, "FIRST_TORCH", "99.1")
    with pytest.raises(ImportError, match=r"to_onnx needs torch >= 99\.1, found \d"):
        fitted("logistic").to_onnx(tmp_path / "model.onnx")


def test_what_has_no_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="recursion"):
        fitted("pick all, frame").to_onnx(tmp_path / "model.onnx")
    with pytest.raises(NotFittedError):
        contrastive().to_onnx(tmp_path / "model.onnx")
    monkeypatch.setattr(_onnx, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"GiB of constants.*neighbor_weight=0"):
        fitted("contrastive").to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
