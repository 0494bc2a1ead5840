"""Dask: fitted estimators have tokens of their own, and answer on its workers and chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.model_selection import GridSearchCV

from sklearn_mlcl import MultiLabelLogisticRegression, MultiLabelMLPClassifier
from sklearn_mlcl.distributed import fit_label_shards, partial_fit_blocks, predict_proba_blocks
from tests.small import every_classifier, every_net, small

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.Client(processes=False, **options) as client:
        yield client


@every_classifier
def test_other_fits_have_other_tokens_and_answers(make: Any, client: Any, label_data: Any) -> None:
    from dask.base import tokenize

    X, Y = label_data
    unfitted = small(make)
    fits = [clone(unfitted).fit(X, Y), clone(unfitted).fit(X, 1 - Y)]
    tokens = [tokenize(clf) for clf in (unfitted, *fits)]
    assert len(set(tokens)) == 3
    expected = [clf.predict_proba(X) for clf in fits]
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    assert [tokenize(clf) for clf in (unfitted, *fits)] == tokens

    futures = [client.submit(clf.predict_proba, X) for clf in fits]
    assert futures[0].key != futures[1].key
    chunked = da.from_array(X, chunks=(60, -1))
    shape: dict[str, Any] = {"dtype": X.dtype, "chunks": (chunked.chunks[0], (Y.shape[1],))}
    blocks = [chunked.map_blocks(clf.predict_proba, **shape) for clf in fits]
    for answers in (client.gather(futures), client.gather(client.compute(blocks))):
        for answer, right in zip(answers, expected, strict=True):
            assert_allclose(answer, right, rtol=0, atol=1e-7)


@every_net
def test_training_block_by_block(make: Any, client: Any, label_data: Any) -> None:
    X, Y = label_data
    blocks = [da.from_array(a, chunks=(50, -1)) for a in (X, Y)]
    unfitted = small(make)
    found = partial_fit_blocks(unfitted, *blocks).compute()
    expected = clone(unfitted)
    for start in range(0, len(X), 50):
        expected.partial_fit(X[start : start + 50], Y[start : start + 50])
    assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert not hasattr(unfitted, "net_")
    # A fitted one is trained further, and stays as it is.
    further = partial_fit_blocks(found, *blocks).compute()
    assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert further.n_iter_ == 2 * found.n_iter_ == 2 * len(blocks[0].chunks[0])
    answer = predict_proba_blocks(found, blocks[0])
    assert answer.chunks[0] == blocks[0].chunks[0]
    assert_allclose(answer.compute(), expected.predict_proba(X), rtol=0, atol=1e-7)


def test_classes_of_blocks(client: Any, label_data: Any) -> None:
    X, Y = label_data
    y = np.array(["a", "b", "c"])[Y[:, 0] + Y[:, 1]]
    blocks = da.from_array(X, chunks=(50, -1)), da.from_array(y, chunks=50)
    clf = partial_fit_blocks(small(MultiLabelMLPClassifier), *blocks, classes=["a", "b", "c"])
    answer = predict_proba_blocks(clf.compute(), blocks[0])
    assert answer.shape == (len(X), 3)


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_array])
def test_labels_in_shards(storage: Any, client: Any) -> None:
    X, Y = make_multilabel_classification(200, 12, n_classes=9, random_state=1)
    Y[:, 5] = 0  # a label without a positive sample
    weight = np.linspace(0.5, 2, len(X))
    heads = MultiLabelLogisticRegression(C=0.3)
    with pytest.warns(UserWarning, match="2 of 9 labels have a single value.*: 2, 5") as said:
        whole = clone(heads).fit(X, storage(Y), weight)
        shards = fit_label_shards(heads, X, storage(Y), weight, client=client, n_shards=4)
    assert str(said[0].message) == str(said[1].message)
    assert shards.n_labels == 9 and len(shards.shards) == 4
    for k in (1, 3, 9):
        found, expected = shards.predict_topk(X, k), whole.predict_topk(X, k)
        assert_array_equal(found.indices, expected.indices)
        assert_array_equal(found.indptr, expected.indptr)
        assert_allclose(found.data, expected.data, rtol=0, atol=1e-8)
    gathered = shards.gather()
    assert_allclose(gathered.coef_, whole.coef_, rtol=0, atol=1e-8)
    assert sp.issparse(gathered.predict(X)) == sp.issparse(whole.predict(X))
    assert_allclose(gathered.predict_proba(X), whole.predict_proba(X), rtol=0, atol=1e-8)
    with pytest.raises(ValueError, match="k must be an integer from 1 to the 9 labels"):
        shards.predict_topk(X, 10)


def test_names_and_single_labels_in_shards(client: Any, label_data: Any) -> None:
    X, Y = label_data
    names = list("abcde")
    heads = MultiLabelLogisticRegression()
    shards = fit_label_shards(heads, X, pd.DataFrame(Y, columns=names), client=client, n_shards=99)
    gathered, whole = shards.gather(), clone(heads).fit(X, pd.DataFrame(Y, columns=names))
    assert list(gathered.label_names_) == names
    assert_allclose(gathered.coef_, whole.coef_, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "changes", [{"C": "cv"}, {"C": [1.0] * 5}, {"threshold": [0.5] * 5}, {"class_weight": {0: {}}}]
)
def test_shards_need_parameters_for_all_labels(
    changes: dict[str, Any], client: Any, label_data: Any
) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=f"parameters that hold for all labels.* got {name}="):
        fit_label_shards(MultiLabelLogisticRegression(**changes), *label_data, client=client)


@every_net
def test_a_search_on_the_cluster(make: Any, client: Any, label_data: Any) -> None:
    X, Y = label_data
    search = GridSearchCV(small(make), {"learning_rate": [0.01, 0.03]}, cv=2)
    expected = clone(search).fit(X, Y)
    with parallel_config("dask"):
        found = search.fit(X, Y)
    scores = [s.cv_results_["mean_test_score"] for s in (found, expected)]
    assert_array_equal(*scores)
    assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_blocks_of_other_kinds(label_data: Any) -> None:
    X, Y = label_data
    heads = MultiLabelLogisticRegression().fit(X, Y).set_output(predict="pandas")
    whole = (10 * X).astype(int)
    answer = predict_proba_blocks(heads, da.from_array(whole, chunks=(50, -1)))
    computed = answer.compute()
    assert answer.dtype == computed.dtype == np.float64 and isinstance(computed, np.ndarray)
    assert_allclose(computed, heads.predict_proba(whole))
    with pytest.raises(TypeError, match="X must be a dask array, got ndarray"):
        predict_proba_blocks(heads, X)
    with pytest.raises(TypeError, match="y must be a dask array, got ndarray"):
        partial_fit_blocks(small(MultiLabelMLPClassifier), da.from_array(X, chunks=(50, -1)), Y)


def test_blocks_that_a_filter_leaves_empty(label_data: Any) -> None:
    X, Y = label_data
    kept = np.arange(len(X)) >= 100
    blocks = [da.from_array(part, chunks=(50, -1))[kept] for part in (X, Y)]
    clf = partial_fit_blocks(small(MultiLabelMLPClassifier), *blocks).compute()
    by_hand = small(MultiLabelMLPClassifier)
    for rows in (slice(100, 150), slice(150, 200)):
        by_hand.partial_fit(X[rows], Y[rows])
    P = predict_proba_blocks(clf, blocks[0]).compute()
    assert_allclose(P, by_hand.predict_proba(X[kept]), atol=1e-7)
    with pytest.raises(TypeError, match="estimator must have partial_fit"):
        partial_fit_blocks(MultiLabelLogisticRegression(), *blocks)


def test_chunks_that_do_not_fit(label_data: Any) -> None:
    X, Y = label_data
    clf = small(MultiLabelMLPClassifier)
    whole = da.from_array(Y, chunks=(50, -1))
    with pytest.raises(ValueError, match="same chunks of samples"):
        partial_fit_blocks(clf, da.from_array(X, chunks=(40, -1)), whole)
    with pytest.raises(ValueError, match=r"X must not be cut along its columns.* X.rechunk"):
        partial_fit_blocks(clf, da.from_array(X, chunks=(50, 3)), whole)


@every_classifier
def test_dask_arrays_are_not_loaded_without_a_word(make: Any, label_data: Any) -> None:
    X, Y = label_data
    lazy = da.from_array(X, chunks=(50, -1))
    message = r"is a dask Array.*X?y?\.compute\(\).*partial_fit_blocks and predict_proba_blocks"
    with pytest.raises(TypeError, match=f"X {message}"):
        small(make).fit(lazy, Y)
    with pytest.raises(TypeError, match=f"y {message}"):
        small(make).fit(X, da.from_array(Y, chunks=(50, -1)))
    clf = small(make).fit(X, Y)
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(TypeError, match=f"X {message}"):
            getattr(clf, method)(lazy)
