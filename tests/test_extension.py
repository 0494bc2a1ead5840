"""New labels on a fitted classifier: every part of an answer has them, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.torch_version import TorchVersion

from sklearn_mlcl import CGMVAEClassifier, MultiLabelLogisticRegression, MultiLabelMLPClassifier
from sklearn_mlcl.extension import ExtendedClassifier, add_label
from sklearn_mlcl.persistence import load
from sklearn_mlcl.persistence._onnx import FIRST_TORCH
from tests.small import NAMES, every_net, small

FEW = slice(0, 60)


@pytest.fixture
def named(label_data: Any) -> tuple[np.ndarray, pd.DataFrame]:
    X, Y = label_data
    return X, pd.DataFrame(Y, columns=NAMES)


def extended(make: Any, X: Any, Y: pd.DataFrame, **options: Any) -> tuple[Any, ExtendedClassifier]:
    """Return a classifier of four labels, and one that learnt the fifth from few samples."""
    classifier = small(make, **options).fit(X, Y[NAMES[:4]])
    return classifier, add_label(classifier, X[FEW], Y[NAMES[4]][FEW], NAMES[4], C=0.1)


@every_net
def test_all_answers_have_the_new_label(make: Any, named: Any, tmp_path: Path) -> None:
    X, Y = named
    classifier, more = extended(make, X, Y)
    proba = more.predict_proba(X)
    assert_allclose(proba[:, :4], classifier.predict_proba(X), rtol=1e-12)
    by_hand = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8))
    by_hand.fit(classifier.transform(X[FEW]), Y[NAMES[4]][FEW])
    assert_allclose(proba[:, 4], by_hand.predict_proba(classifier.transform(X))[:, 1], atol=1e-4)

    assert list(more.label_names_) == NAMES and list(more.classes_) == list(range(5))
    assert_array_equal(more.threshold_, [classifier.threshold_] * 4 + [0.5])
    assert_array_equal(more.predict(X), proba >= more.threshold_)
    assert_array_equal(more.predict(X)[:, :4], classifier.predict(X))
    assert_array_equal(more.transform(X), classifier.transform(X))
    assert_array_equal(more.predict_topk(X, 5).toarray(), proba)
    assert_allclose(np.log(proba / (1 - proba)), more.decision_function(X), atol=1e-9)
    assert list(more.set_output(predict="pandas").predict(X).columns) == NAMES
    assert more.score(X, Y) == (more.predict(X) == Y).all(axis=1).mean()

    more.set_output(predict="default").save(tmp_path / "more.mlcl")
    again = load(tmp_path / "more.mlcl")
    assert_array_equal(again.predict_proba(X), proba)
    assert_array_equal(again.threshold_, more.threshold_)
    samples = torch.tensor(X, dtype=torch.float32)
    with torch.no_grad():
        assert_allclose(more.to_module()(samples), more.predict_proba(samples.numpy()), atol=1e-5)


@pytest.mark.skipif(
    TorchVersion(torch.__version__) < FIRST_TORCH, reason="torch is too old for the export"
)
def test_the_graph_has_the_new_label(named: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    X, Y = named
    _, more = extended(MultiLabelMLPClassifier, X, Y)
    more.to_onnx(tmp_path / "more.onnx")
    session = runtime.InferenceSession(tmp_path / "more.onnx")
    samples = X.astype("float32")
    (answer,) = session.run(None, {"X": samples})
    assert_allclose(answer, more.predict_proba(samples), atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["label_names"]) == NAMES


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (MultiLabelMLPClassifier, {"loss": "pal", "decision": "onn"}),
        (MultiLabelMLPClassifier, {"decision": "topk"}),
        (CGMVAEClassifier, {"net_params__n_predict_samples": 3}),
        (MultiLabelMLPClassifier, {"threshold": [0.2, 0.3, 0.4, 0.6]}),
    ],
    ids=["label sets", "k best", "draws", "a threshold a label"],
)
def test_other_decisions_and_predictions_stay(make: Any, options: Any, named: Any) -> None:
    X, Y = named
    classifier, more = extended(make, X, Y, **options)
    assert_array_equal(more.predict(X)[:, :4], classifier.predict(X))
    assert_allclose(more.predict_proba(X)[:, :4], classifier.predict_proba(X), rtol=1e-12)
    assert_array_equal(more.predict(X)[:, 4], more.predict_proba(X)[:, 4] >= 0.5)


def test_sparse_samples_and_labels(named: Any) -> None:
    X, Y = sp.csr_matrix(named[0]), sp.csr_matrix(named[1])
    classifier = small(MultiLabelMLPClassifier).fit(X, Y[:, :4])
    more = add_label(classifier, X[FEW], Y[FEW, 4].toarray().ravel(), threshold=0.4)
    predicted = more.predict(X)
    assert sp.issparse(predicted) and predicted.dtype == Y.dtype
    assert_array_equal(predicted.toarray(), more.predict_proba(X) >= more.threshold_)


def test_labels_one_after_the_other_are_those_at_once(named: Any) -> None:
    X, Y = named
    classifier = small(MultiLabelMLPClassifier).fit(X, Y[NAMES[:3]])
    at_once = ExtendedClassifier(classifier, C=0.1).fit(X[FEW], Y[NAMES[3:]][FEW])
    one = add_label(classifier, X[FEW], Y[NAMES[3]][FEW], NAMES[3], C=0.1)
    two = add_label(one, X[FEW], Y[NAMES[4]][FEW], NAMES[4], C=0.1)
    assert_allclose(two.predict_proba(X), at_once.predict_proba(X), atol=1e-6)
    assert list(two.label_names_) == list(at_once.label_names_) == NAMES


def test_missing_and_weightless_samples_do_not_count(named: Any) -> None:
    X, Y = named
    classifier = small(MultiLabelMLPClassifier).fit(X, Y[NAMES[:4]])
    y = Y[NAMES[4]][:90].astype(float).to_numpy()
    hidden = np.where(np.arange(90) < 60, y, np.nan)
    weight = (np.arange(90) < 60).astype(float)
    expected = add_label(classifier, X[FEW], y[FEW], "new", C=0.1).predict_proba(X)
    for labels, weights in ((hidden, None), (y, weight)):
        more = add_label(classifier, X[:90], labels, "new", C=0.1, sample_weight=weights)
        assert_allclose(more.predict_proba(X), expected, atol=1e-4)


def test_what_cannot_be_extended_says_why(named: Any) -> None:
    X, Y = named
    few, y = X[FEW], Y[NAMES[4]][FEW]
    named_net = small(MultiLabelMLPClassifier).fit(X, Y[NAMES[:4]])
    nameless = small(MultiLabelMLPClassifier).fit(X, Y[NAMES[:4]].to_numpy())
    with pytest.raises(ValueError, match="name the new labels too"):
        add_label(named_net, few, y)
    with pytest.raises(ValueError, match="already has labels with the names"):
        add_label(named_net, few, y, NAMES[0])
    with pytest.raises(ValueError, match="have no names, so the new labels"):
        add_label(nameless, few, y, "new")
    with pytest.raises(ValueError, match=r"y must have shape \(n_samples,\)"):
        add_label(nameless, few, Y[FEW])
    with pytest.raises(ValueError, match="20 features"):
        add_label(nameless, few[:, :3], y)
    with pytest.raises(ValueError, match="missing entries only"):
        add_label(nameless, few, np.full(60, np.nan))
    with pytest.raises(TypeError, match=r"got Pipeline\. For a pipeline pass its last step"):
        add_label(make_pipeline(nameless), few, y)
    with pytest.raises(TypeError, match="net-based classifier"):
        add_label(MultiLabelLogisticRegression().fit(X, Y), few, y)
    with pytest.raises(NotFittedError):
        add_label(small(MultiLabelMLPClassifier), few, y)
    with pytest.raises(ValueError, match="fitted on a label matrix"):
        add_label(small(MultiLabelMLPClassifier).fit(few, y), few, y)
    with pytest.warns(UserWarning, match="single value"):
        add_label(nameless, few, 0 * y)
