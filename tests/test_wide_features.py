"""Wide CSR features: the encoder sees those that most rows have, the regressions see all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier, load
from sklearn_mlcl.estimators import encoders
from sklearn_mlcl.estimators.encoders import frequent_features
from sklearn_mlcl.training import RowTensors
from sklearn_mlcl.utils.fit_data import FitData
from tests.small import every_ensemble, small

N_ROWS, N_WORDS, N_KEPT = 80, 30, 12


@pytest.fixture(autouse=True)
def few_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "MAX_SPARSE_FEATURES", N_KEPT)


@pytest.fixture(scope="module")
def words() -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts of words of falling frequency in shuffled columns, and labels that hang on them."""
    rng = np.random.default_rng(0)
    shares = rng.permutation(np.linspace(0.6, 0.02, N_WORDS))
    X = (rng.random((N_ROWS, N_WORDS)) < shares) * rng.integers(1, 4, (N_ROWS, N_WORDS))
    Y = (X @ rng.normal(size=(N_WORDS, 3)) > 0).astype(int)
    return sp.csr_matrix(X.astype(np.float32)), Y


def test_the_most_frequent_are_kept_in_order(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = words
    kept = frequent_features(X)
    counts = (X.toarray() > 0).sum(0)
    assert_array_equal(kept, np.sort(kept))
    assert counts[kept].min() >= np.delete(counts, kept).max()
    assert len(kept) == N_KEPT
    assert frequent_features(X.toarray()) is None
    monkeypatch.setattr(encoders, "MAX_SPARSE_FEATURES", N_WORDS)
    assert frequent_features(X) is None


@every_ensemble
def test_the_encoder_sees_only_these(make: Any, words: Any) -> None:
    X, Y = words
    clf = small(make).fit(X, Y)
    dropped = np.setdiff1d(np.arange(N_WORDS), frequent_features(X))
    other = X.tolil()
    other[:, dropped] = 0
    assert_array_equal(clf.transform(other.tocsr()), clf.transform(X))
    assert not np.allclose(clf.predict_proba(other.tocsr()), clf.predict_proba(X))
    clf.set_params(linear_weight=0)
    assert_allclose(clf.predict_proba(other.tocsr()), clf.predict_proba(X), rtol=1e-6)


@every_ensemble
def test_the_first_layer_is_as_narrow(make: Any, words: Any) -> None:
    clf = small(make).fit(*words)
    first = next(clf.net_.module_.encoder.parameters())
    assert first.shape == (2, N_KEPT, 16)


def test_dense_samples_keep_all(words: Any) -> None:
    X, Y = words
    clf = small(MultiLabelMLPClassifier, net_params__n_bins=0).fit(X.toarray(), Y)
    assert next(clf.net_.module_.encoder.parameters()).shape == (2, N_WORDS, 16)


def test_saved_and_loaded(words: Any, tmp_path: Path) -> None:
    X, Y = words
    clf = small(ContrastiveMultiLabelClassifier).fit(X, Y)
    clf.save(tmp_path / "words.mlcl")
    assert_array_equal(load(tmp_path / "words.mlcl").predict_proba(X), clf.predict_proba(X))


def test_further_rows_meet_the_features_of_the_first(words: Any) -> None:
    X, Y = words
    clf = small(MultiLabelMLPClassifier).partial_fit(X[:40], Y[:40])
    index = clf.net_.module_.index.numpy().copy()
    assert_array_equal(index, frequent_features(X[:40]))
    clf.partial_fit(X[40:], Y[40:])
    assert_array_equal(clf.net_.module_.index.numpy(), index)


@every_ensemble
def test_batches_have_only_these(make: Any, words: Any) -> None:
    """Columns are chosen before a batch is dense; gradients are those of all features."""
    X, Y = words
    clf = small(make).fit(X, Y)
    net = clf.net_
    data = FitData(X, Y.astype(float))
    narrow, wide = (
        RowTensors(data, torch.device("cpu"), columns=columns)
        for columns in (net.module_.columns, None)
    )
    gradients = []
    for rows, width in ((narrow, N_KEPT), (wide, N_WORDS)):
        features, _ = rows.rows(torch.arange(20))
        assert features.shape == (20, width)
        net.module_.zero_grad()
        net.module_.eval()(features).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.module_.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@every_ensemble
@pytest.mark.parametrize("linear_weight", [0, 0.5])
def test_csr_and_dense_samples_get_the_same(make: Any, linear_weight: float, words: Any) -> None:
    X, Y = words
    clf = small(make, linear_weight=linear_weight, neighbor_weight=0.3).fit(X, Y)
    assert_allclose(clf.predict_proba(X), clf.predict_proba(X.toarray()), rtol=1e-5)
    assert_allclose(clf.transform(X), clf.transform(X.toarray()), rtol=1e-5, atol=1e-6)
