"""Dask: fitted estimators have tokens of their own, and answer on its workers and chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from tests.small import every_classifier, small

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
