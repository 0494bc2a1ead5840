"""The neighbours' vote against loops over samples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose

from sklearn_mlcl.heads.evaluation import outputs
from sklearn_mlcl.heads.neighbors import TEMPERATURE, NeighborHead
from sklearn_mlcl.utils.fit_data import FitData, LabelStats


def case(n_neighbors=300, n=70, width=6, n_labels=5):
    rng = np.random.default_rng(0)
    embedding, queries = (rng.normal(size=(k, width)) for k in (n_neighbors, n))
    return embedding, queries, (rng.random((n_neighbors, n_labels)) < 0.3).astype(float)


def vote(embedding, Y, query):
    cosine = embedding @ query / np.linalg.norm(embedding, axis=1) / np.linalg.norm(query)
    kernel = np.exp(cosine / TEMPERATURE)
    return kernel @ Y / kernel.sum()


@pytest.mark.parametrize("as_labels", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_vote_of_all_samples(as_labels, dtype, tolerance):
    embedding, queries, Y = case()
    data = FitData(embedding, as_labels(Y))
    head = NeighborHead(embedding, data.Y, None, LabelStats.of(data))
    expected = [vote(embedding, Y, query) for query in queries]
    found = outputs(head, queries.astype(dtype), device="cpu")
    assert_allclose(found, expected, rtol=0, atol=tolerance)
    one_by_one = [outputs(head, query[None].astype(dtype), device="cpu")[0] for query in queries]
    assert_allclose(found, one_by_one, rtol=0, atol=tolerance)


def test_gradient_of_the_vote():
    embedding, queries, Y = case(40, 3)
    data = FitData(embedding, Y)
    head = NeighborHead(embedding, Y, None, LabelStats.of(data)).double()
    assert torch.autograd.gradcheck(head, torch.from_numpy(queries).requires_grad_())
