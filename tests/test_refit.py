"""Logistic heads on the trained embedding, blended into the head that was trained with it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import sklearn_mlcl
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.estimators.encoders import joint_head
from sklearn_mlcl.heads import refit
from sklearn_mlcl.heads.held_out import Judgement
from sklearn_mlcl.heads.logistic import EmbeddedSamples, embedding_path, fit_embedding_heads
from sklearn_mlcl.heads.predictor import AffineHead
from tests.small import every_ensemble, small

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6)).astype(np.float32)
Y = (X[:, :3] + RNG.normal(size=(240, 3)) > 0.3).astype(int)


class Own(nn.Module):
    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, 8)

    def forward(self, X: Tensor) -> Tensor:
        return torch.relu(self.linear(X))


def classifier(make: Any, **changes: Any) -> Any:
    own = {"module": Own, "scale_input": False, "n_estimators": 1, "learning_rate": 0.01}
    return small(make, **own | changes)


def head_of(clf: Any) -> tuple[np.ndarray, np.ndarray]:
    head = clf.predictor_.head
    return head.weight.numpy(), head.bias.numpy()


# ---------------------------------------------------------------------- the heads


def test_a_path_has_the_heads_of_each_c() -> None:
    weight = RNG.random(240)
    parts = [EmbeddedSamples(X, Y, None), EmbeddedSamples(X[:100], Y[:100], weight[:100])]
    for C, (coef, intercept) in zip(refit.CS, embedding_path(parts, refit.CS, 1e-10), strict=True):
        for m, part in enumerate(parts):
            alone = fit_embedding_heads(*part, C)
            assert_allclose(coef[m], alone[0], atol=1e-5)
            assert_allclose(intercept[m], alone[1], atol=1e-5)


@pytest.mark.parametrize("n_members", [1, 3])
def test_the_blend_has_the_log_odds_of_both(n_members: int) -> None:
    coef = RNG.normal(size=(2, n_members, 3, 6)).astype(np.float32)
    intercept = RNG.normal(size=(2, n_members, 3)).astype(np.float32)
    one, other = (AffineHead(*arrays) for arrays in zip(coef, intercept, strict=True))
    both = refit._blended(one, other, 0.25)
    embedding = torch.from_numpy(RNG.normal(size=(5, 6 * n_members)).astype(np.float32))
    for said in (lambda head: head(embedding), lambda head: head.by_member(embedding)):
        assert_allclose(said(both), 0.75 * said(one) + 0.25 * said(other), atol=1e-5)


def says(embedding: np.ndarray) -> Any:
    """What a head says of embeddings."""
    return lambda head: head(torch.from_numpy(embedding).to(head.weight)).numpy()


def chosen(trained: AffineHead) -> refit.RefittedHead:
    """What is chosen for a trained head, on the second half of the samples."""
    judgement = Judgement.of(Y[120:].astype(float), None, np.ones(3, dtype=bool), np.zeros(3))
    part = EmbeddedSamples(X[:120], Y[:120], None)
    with torch.no_grad():
        return refit.refitted(trained, [part], says(X[120:]), judgement)


def test_the_share_is_half_unless_another_one_is_clearly_better() -> None:
    *good, _ = fit_embedding_heads(X[:120], Y[:120], None, 0.1)
    as_good = chosen(AffineHead(*map(np.float32, good)))
    assert as_good.share == 0.5
    worthless = chosen(AffineHead(RNG.normal(size=(3, 6)).astype(np.float32), np.zeros(3)))
    assert worthless.share >= 0.75


def test_c_has_the_smallest_held_out_loss() -> None:
    """Of the blend of halves, here with a head that says nothing."""
    zero = AffineHead(np.zeros((3, 6), dtype=np.float32), np.zeros(3))
    judgement = Judgement.of(Y[120:].astype(float), None, np.ones(3, dtype=bool), np.zeros(3))
    losses = []
    for C in refit.CS:
        coef, intercept, _ = fit_embedding_heads(X[:120], Y[:120], None, C)
        log_odds = (X[120:] @ coef.T + intercept) / 2
        losses.append(judgement.scaled(log_odds)[2])
    assert refit.CS.index(chosen(zero).C) == int(np.argmin(losses))


# ---------------------------------------------------------------------- the estimators


@every_ensemble
def test_a_module_gets_refitted_heads(make: Any) -> None:
    """The head is the blend of the trained one and of logistic ones on its embedding."""
    clf = classifier(make).fit(X, Y)
    assert clf.refit_weight_ in refit.SHARES
    assert clf.head_C_.shape == (3,) and clf.head_C_[0] in refit.CS
    (held_out,) = np.nonzero(np.isfinite(clf.oof_proba_[:, 0]))
    learnt = np.setdiff1d(np.arange(240), held_out)
    embedding = clf.transform(X)[learnt]
    scaler = StandardScaler().fit(embedding)
    heads = sklearn_mlcl.MultiLabelLogisticRegression(C=clf.head_C_[0])
    heads.fit(scaler.transform(embedding), Y[learnt])
    logits = heads.decision_function(scaler.transform(clf.transform(X)))
    with torch.no_grad():
        trained = joint_head(clf.net_, 3)(torch.from_numpy(clf.transform(X))).numpy()
    weight, bias = head_of(clf)
    w = clf.refit_weight_
    expected = (1 - w) * trained + w * logits
    assert_allclose(clf.transform(X) @ weight.T + bias, expected, atol=0.02)


@every_ensemble
def test_who_gets_them(make: Any) -> None:
    tables = small(make).fit(X, Y)
    assert not hasattr(tables, "refit_weight_") and not hasattr(tables, "head_C_")
    asked = small(make, n_estimators=4, net_params__refit_head=True).fit(X, Y)
    assert asked.refit_weight_ in refit.SHARES and asked.uncertainty(X).shape == Y.shape
    for changes in ({"net_params__refit_head": False}, {"validation": None}):
        without = classifier(make, **changes).fit(X, Y)
        weight, bias = head_of(without)
        trained = joint_head(without.net_, 3)
        assert_array_equal(trained.weight.numpy(), weight)
        assert_array_equal(trained.bias.numpy(), bias)
        assert not hasattr(without, "refit_weight_")


def test_a_head_that_is_named_stands_alone() -> None:
    make = ContrastiveMultiLabelClassifier
    assert not hasattr(classifier(make, head="joint").fit(X, Y), "refit_weight_")
    assert not hasattr(classifier(make, head="logistic").fit(X, Y), "refit_weight_")
    both = classifier(make, head="joint", net_params__refit_head=True).fit(X, Y)
    assert hasattr(both, "refit_weight_")


def test_decoders_keep_their_heads() -> None:
    for changes in ({"loss": "pal"}, {"classifier": "etf"}):
        clf = classifier(MultiLabelMLPClassifier, **changes, net_params__refit_head=True)
        assert not hasattr(clf.fit(X, Y), "refit_weight_")


@every_ensemble
@pytest.mark.parametrize("n_estimators", [1, 4])
def test_they_are_kept_and_gone_when_training_goes_on(
    make: Any, n_estimators: int, tmp_path: Path
) -> None:
    clf = classifier(make, n_estimators=n_estimators).fit(X, Y)
    answer = clf.predict_proba(X)
    clf.save(tmp_path / "model")
    for twin in (
        sklearn_mlcl.load(tmp_path / "model", module=Own),
        pickle.loads(pickle.dumps(clf)),
        copy.deepcopy(clf),
    ):
        assert_array_equal(twin.predict_proba(X), answer)
        assert twin.refit_weight_ == clf.refit_weight_
        # A file knows nothing of the samples that were held out: the choice stays.
        again = twin.set_params(warm_start=True).fit(X, Y)
        assert again.refit_weight_ in refit.SHARES and again.head_C_[0] in refit.CS
        other = again.fit(X[:200], Y[:200])
        assert other.refit_weight_ == again.refit_weight_
        assert not hasattr(twin.partial_fit(X, Y), "refit_weight_")


@every_ensemble
def test_missing_labels_weights_and_constant_labels(make: Any) -> None:
    partly = np.where(RNG.random(Y.shape) < 0.2, np.nan, Y)
    partly[:, 2] = 0
    with pytest.warns(UserWarning, match="single value"):
        clf = classifier(make).fit(X, partly, sample_weight=RNG.random(240))
    assert np.isfinite(clf.predict_proba(X)).all()
    assert np.ptp(clf.predict_proba(X)[:, 2]) < 1e-6
