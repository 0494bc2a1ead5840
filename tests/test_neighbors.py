"""The neighbours' vote against loops over samples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose

from sklearn_mlcl.heads import predictor
from sklearn_mlcl.heads.evaluation import exportable, outputs
from sklearn_mlcl.heads.predictor import TEMPERATURE, NeighborHead
from sklearn_mlcl.utils.fit_data import FitData, LabelStats


def case(n_neighbors=300, n=70, width=6, n_labels=5):
    rng = np.random.default_rng(0)
    embedding, queries = (rng.normal(size=(k, width)) for k in (n_neighbors, n))
    return embedding, queries, (rng.random((n_neighbors, n_labels)) < 0.3).astype(float)


def vote(embedding, Y, query, weights=None):
    """Return the vote on one query, where NaN has no voice."""
    cosine = embedding @ query / np.linalg.norm(embedding, axis=1) / np.linalg.norm(query)
    kernel = np.exp(cosine / TEMPERATURE)[:, None] * (1 if weights is None else weights)
    return np.nansum(kernel * Y, axis=0) / (kernel * ~np.isnan(Y)).sum(axis=0)


def head_of(embedding, Y, weights=None):
    data = FitData(embedding, Y, weights)
    return NeighborHead(embedding, data.Y, data.sample_weight, LabelStats.of(data))


@pytest.fixture(params=[2048, 64, 1], ids="blocks of {}".format)
def block(request, monkeypatch):
    """Sizes of a block: all samples in one, a last one that is not full, a sample each."""
    monkeypatch.setattr(predictor, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("as_labels", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_vote_of_all_samples(as_labels, dtype, tolerance):
    embedding, queries, Y = case()
    head = head_of(embedding, as_labels(Y))
    expected = [vote(embedding, Y, query) for query in queries]
    found = outputs(head, queries.astype(dtype), device="cpu")
    assert_allclose(found, expected, rtol=0, atol=tolerance)
    one_by_one = [outputs(head, query[None].astype(dtype), device="cpu")[0] for query in queries]
    assert_allclose(found, one_by_one, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("by_label", [False, True])
@pytest.mark.parametrize("kind", ["dense", "missing", "CSR"])
def test_weights_and_missing_labels(kind, by_label, scale):
    """Of weights the scale cancels out; a sample of weight zero and a missing label are silent."""
    embedding, queries, Y = case()
    rng = np.random.default_rng(1)
    weights = scale * rng.random((len(Y), Y.shape[1] if by_label else 1))
    weights[rng.random(weights.shape) < 0.2] = 0.0
    if kind == "missing":
        Y[rng.random(Y.shape) < 0.3] = np.nan
    given = weights if by_label else weights[:, 0]
    head = head_of(embedding, sp.csr_array(Y) if kind == "CSR" else Y, given)
    expected = [vote(embedding, Y, query, weights / scale) for query in queries]
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-7)):
        found = outputs(head, queries.astype(dtype), device="cpu")
        assert_allclose(found, expected, rtol=0, atol=tolerance)
    with torch.no_grad():
        of_graph = exportable(head)(torch.from_numpy(queries).float())
    assert_allclose(of_graph, expected, rtol=0, atol=2e-6)


def test_equal_samples_vote_with_equal_weight():
    embedding, _, Y = case(500)
    embedding[:] = embedding[0]
    found = outputs(head_of(embedding, Y), embedding[:40].astype(np.float32), device="cpu")
    assert_allclose(found, np.tile(Y.mean(axis=0), (40, 1)), rtol=0, atol=1e-6)


def test_priors_where_nobody_knows():
    """A label without weight, one with a single value; an embedding of zeros hears all alike."""
    embedding, queries, Y = case()
    Y[:, 0], weights = 1.0, np.ones_like(Y)
    weights[:, 1] = 0.0
    data = FitData(embedding, Y)
    stats = LabelStats.of(data)
    head = NeighborHead(embedding, Y, weights, stats)
    queries[0] = 0.0
    found = outputs(head, queries, device="cpu")
    prior = 1 / (1 + np.exp(-stats.log_odds))
    assert_allclose(found[:, :2], np.tile(prior[:2], (len(queries), 1)), rtol=1e-12)
    assert_allclose(found[0, 2:], Y.mean(axis=0)[2:], rtol=1e-12)


def test_gradient_of_the_vote():
    embedding, queries, Y = case(40, 3)
    for head in (head_of(embedding, Y), exportable(head_of(embedding, Y))):
        samples = torch.from_numpy(queries).requires_grad_()
        assert torch.autograd.gradcheck(head.double(), samples)
