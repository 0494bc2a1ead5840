"""``to_module``: probabilities as a torch module, for every kind of fitted estimator."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklearn_mlcl import MultiLabelLogisticRegression
from tests.persistence._cases import CASES, X, Y, contrastive, fitted
from tests.small import every_net, small

#: New samples, some far from all training samples.
NEW = (X.mean(axis=0) + 3 * np.random.RandomState(1).normal(size=(33, 6))).astype(np.float32)
WITHOUT = {
    "nearest prototype",
    "nearest prototype, CSR",
    "thresholds by cross-validation",
    "calibrated",
    "vote",
    "pick all, frame",
}


def expected(estimator: Any, samples: np.ndarray) -> np.ndarray:
    names = getattr(estimator, "feature_names_in_", None)
    given = samples if names is None else pd.DataFrame(samples, columns=names)
    return np.asarray(estimator.predict_proba(given))


def answers(estimator: Any, samples: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return estimator.to_module()(torch.from_numpy(samples)).numpy()


@pytest.mark.parametrize("name", sorted(CASES.keys() - WITHOUT))
def test_it_says_what_predict_proba_says(name: str) -> None:
    """In the form of ``predict_proba``: two columns for 1-D binary targets, rows that sum to 1."""
    estimator = fitted(name)
    probabilities = answers(estimator, NEW)
    assert probabilities.dtype == np.float32
    assert_allclose(probabilities, expected(estimator, NEW), rtol=0, atol=1e-5)
    assert (probabilities > 0).all() and (probabilities < 1).all()


@every_net
@pytest.mark.parametrize("head", ["default", "logistic"])
def test_the_predictor_gives_their_log_odds(make: Any, head: str, label_data: Any) -> None:
    """Also where a head of float64 stands on an encoder of float32."""
    X, Y = label_data
    heads = {"head": "logistic"} if head == "logistic" else {}
    wanted = heads | {"neighbor_weight": 0.3, "linear_weight": 0.3}
    known = make().get_params()
    clf = small(make, **{name: value for name, value in wanted.items() if name in known})
    X = X.astype(np.float32)
    with torch.no_grad():
        log_odds = clf.fit(X, Y).predictor_(torch.from_numpy(X))
    assert_allclose(torch.sigmoid(log_odds), clf.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("name", sorted(CASES.keys() - WITHOUT))
def test_gradients_are_those_of_the_probabilities(name: str) -> None:
    """In float64, of every sample by its own features, as central differences have it."""
    module = fitted(name).to_module().double()
    # Bins end at training samples, where probabilities have a kink.
    samples = torch.from_numpy(NEW[:4]).double().requires_grad_()
    direction = torch.from_numpy(np.random.RandomState(0).normal(size=(4, 6)))
    (gradient,) = torch.autograd.grad(module(samples)[:, 0].sum(), samples)
    with torch.no_grad():
        above, below = (module(samples + step * direction)[:, 0] for step in (1e-5, -1e-5))
    slopes = (above - below) / 2e-5
    assert slopes.abs().max() > 1e-6
    assert_allclose((gradient * direction).sum(dim=1), slopes, rtol=1e-3, atol=1e-7)


@every_net
def test_weights_that_are_set_after_the_fit_count(make: Any) -> None:
    clf = small(make, neighbor_weight=0.5, net_params__pseudo_count=1.0).fit(X, Y)
    before = answers(clf, NEW)
    clf.set_params(neighbor_weight=0.1, net_params__pseudo_count=5.0)
    assert_allclose(answers(clf, NEW), clf.predict_proba(NEW), rtol=0, atol=1e-5)
    assert np.abs(answers(clf, NEW) - before).max() > 1e-3


def test_it_has_tensors_of_its_own() -> None:
    clf = copy.deepcopy(fitted("linear part"))
    module, before = clf.to_module(), clf.predict_proba(NEW)
    own = answers(clf, NEW)
    assert not any(part.training for part in module.modules())
    with torch.no_grad():
        for tensor in clf.predictor_.parameters():
            tensor.zero_()
    assert np.abs(clf.predict_proba(NEW) - before).max() > 1e-3
    with torch.no_grad():
        assert_array_equal(module(torch.from_numpy(NEW)).numpy(), own)


def test_what_has_no_module() -> None:
    with pytest.raises(ValueError, match=r"to_module: .* recursion .* variant='observed'"):
        fitted("pick all, frame").to_module()
    for clf in (contrastive(), MultiLabelLogisticRegression()):
        with pytest.raises(NotFittedError):
            clf.to_module()
