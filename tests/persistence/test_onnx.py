"""Probabilities as a graph: the torch module in every case, the exported file in the main ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from sklearn_mlcl.heads.graph import PortableScaler

from sklearn_mlcl import MultiLabelLogisticRegression
from sklearn_mlcl.modules import InputScaler
from sklearn_mlcl.persistence import _onnx
from tests.persistence._cases import CASES, X, Y, cgmvae, contrastive, fitted, mlp

#: New rows, some far from all training rows.
ROWS = (X.mean(axis=0) + 3 * np.random.RandomState(1).normal(size=(33, 6))).astype(np.float32)
WITHOUT = {"nearest prototype", "nearest prototype, CSR", "thresholds by cross-validation",
           "calibrated", "pick all, frame"}  # fmt: skip


def expected(estimator: Any, rows: np.ndarray) -> np.ndarray:
    if hasattr(estimator, "feature_names_in_"):
        return np.asarray(
            estimator.predict_proba(pd.DataFrame(rows, columns=estimator.feature_names_in_))
        )
    return estimator.predict_proba(rows)


@pytest.mark.parametrize("name", sorted(CASES.keys() - WITHOUT))
def test_the_graph_says_what_predict_proba_says(name: str) -> None:
    estimator = fitted(name)
    with torch.no_grad():
        probabilities = estimator._probability_graph().eval()(torch.from_numpy(ROWS)).numpy()
    assert_allclose(probabilities, expected(estimator, ROWS), rtol=0, atol=1e-5)
    assert (probabilities > 0).all() and (probabilities < 1).all()


def observed_sets() -> Any:
    return mlp(loss="pal", onn_variant="observed", n_members=1).fit(X, Y)


def test_listed_label_sets_without_tags() -> None:
    estimator = observed_sets()
    with torch.no_grad():
        probabilities = estimator._probability_graph().eval()(torch.from_numpy(ROWS)).numpy()
    assert_allclose(probabilities, estimator.predict_proba(ROWS), rtol=0, atol=1e-5)


def test_the_scaler_for_outliers_and_beyond() -> None:
    scaler = InputScaler(torch.tensor([1.0]), torch.tensor([2.0]), 4.0)
    values = torch.tensor([[0.0], [1.0], [-3.0], [50.0], [1e30], [-3e38]])
    assert_allclose(PortableScaler(scaler)(values), scaler(values), rtol=1e-6)


FILES = {
    "members, vote, names, calibration": lambda: contrastive(calibration="platt").fit(
        pd.DataFrame(X, columns=list("abcdef")), pd.DataFrame(Y, columns=list("wxyz"))
    ),
    "CSR labels, three classes": lambda: fitted("three classes"),
    "label sets": lambda: fitted("pick all labels"),
    "draws": lambda: cgmvae(n_predict_samples=2).fit(X, Y),
    "heads, two classes": lambda: MultiLabelLogisticRegression().fit(X, Y[:, 0]),
}


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
    for rows in (ROWS, ROWS[:1], ROWS[:2]):
        (probabilities,) = session.run(None, {"X": rows})
        assert probabilities.dtype == np.float32
        assert_allclose(probabilities, expected(estimator, rows), rtol=0, atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    if "names" in name:
        assert json.loads(metadata["label_names"]) == list("wxyz")


def test_export_leaves_the_estimator_as_it_was(tmp_path: Path) -> None:
    estimator = fitted("contrastive")
    before, training = estimator.predict_proba(X), estimator.net_.module_.training
    estimator._probability_graph()
    assert estimator.net_.module_.training == training
    assert (estimator.predict_proba(X) == before).all()
    assert any(isinstance(m, InputScaler) for m in estimator.net_.module_.modules())


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_extras_are_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"to_onnx needs.*'{package}'.*sklearn-mlcl\[onnx\]"):
        fitted("logistic").to_onnx(tmp_path / "model.onnx")


def test_what_has_no_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"to_onnx.*recursion.*onn_variant='tags'"):
        fitted("pick all, frame").to_onnx(tmp_path / "model.onnx")
    with pytest.raises(NotFittedError):
        contrastive().to_onnx(tmp_path / "model.onnx")
    monkeypatch.setattr(_onnx, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"GiB of constants.*neighbor_weight=0"):
        fitted("contrastive").to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
