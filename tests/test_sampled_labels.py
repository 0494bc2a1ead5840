"""Very many labels: a batch learns its own labels and some drawn ones, for both losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from sklearn_mlcl import ContrastiveMultiLabelClassifier
from sklearn_mlcl.estimators import contrastive
from sklearn_mlcl.losses import LOGIT_LOSSES, LabelIndices, MSCLoss, RegularizedContrastiveLoss
from sklearn_mlcl.modules._encoder import linear_head
from sklearn_mlcl.training import ContrastiveObjective, RowTensors
from sklearn_mlcl.training.batches import mixed, with_sampled_labels
from sklearn_mlcl.utils.fit_data import FitData
from tests.small import small

B, L, WIDTH = 9, 40, 6


def objective(n_negatives: int | None, n_members: int = 1, **options: Any) -> ContrastiveObjective:
    torch.manual_seed(0)
    shape = (L, WIDTH) if n_members == 1 else (n_members, L, WIDTH)
    settings: dict[str, Any] = {"loss": RegularizedContrastiveLoss(n_negatives=n_negatives)}
    return ContrastiveObjective(
        projection=nn.Identity(),
        head=linear_head(WIDTH, np.full(L, -1.0), n_members),
        prototypes=torch.randn(shape),
        lambda_joint=2.0,
        **settings | options,
    ).double()


def batch(n_members: int = 1, weights: str = "none", missing: bool = False) -> Any:
    g = torch.Generator().manual_seed(1)
    shape = (B, L) if n_members == 1 else (n_members, B, L)
    X = torch.randn(*shape[:-1], WIDTH, generator=g, dtype=torch.float64)
    labels = torch.rand(shape, generator=g) < 0.05
    given: Any = labels
    if missing:
        given = labels.double().masked_fill(torch.rand(shape, generator=g) < 0.1, torch.nan)
    weight = {
        "none": None,
        "sample": torch.rand(shape[:-1], generator=g, dtype=torch.float64),
        "entry": torch.rand(shape, generator=g, dtype=torch.float64),
    }[weights]
    return X, (given, weight)


def value_and_gradients(made: ContrastiveObjective, given: Any) -> list[torch.Tensor]:
    X, (labels, weight) = given
    embedding = X.clone().requires_grad_()
    made.zero_grad()
    value = made(embedding, labels, weight)
    value.backward()
    return [value, embedding.grad, *(p.grad for p in made.parameters())]


@pytest.mark.parametrize("weights", ["none", "sample", "entry"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("joint_loss", ["bce", "asl"])
def test_all_labels_drawn_is_the_full_objective(joint_loss, n_members, missing, weights):
    made = objective(None, n_members, joint_loss=LOGIT_LOSSES[joint_loss]())
    whole = batch(n_members, weights, missing)
    sampled = with_sampled_labels(whole, n_negatives=L)
    for found, expected in zip(
        value_and_gradients(made, sampled), value_and_gradients(made, whole), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_drawn_labels_stand_for_the_others():
    """The joint loss of a sample is an unbiased estimate of that of all labels."""
    made, whole = objective(None, lambda_contrastive=0.0), batch()
    X, (labels, weight) = whole
    expected = made(X, labels, weight)
    torch.manual_seed(0)
    values = [made(X, *with_sampled_labels(whole, n_negatives=8)[1]).detach() for _ in range(2_000)]
    error = torch.stack(values).std() / len(values) ** 0.5
    assert abs(torch.stack(values).mean() - expected) < 4 * error


@pytest.mark.parametrize("n_members", [1, 2])
def test_lists_of_labels_and_indicators_are_the_same(n_members):
    rng = np.random.default_rng(0)
    Y = (rng.random((30, L)) < 0.05).astype(float)
    X = rng.normal(size=(30, WIDTH))
    shape = (B,) if n_members == 1 else (n_members, B)
    index = torch.from_numpy(rng.integers(0, 30, shape))
    batches = []
    for labels in (Y, sp.csr_array(Y)):
        rows = RowTensors(FitData(X, labels), torch.device("cpu"))
        rows.lists_labels = True
        given = rows.rows(index)
        assert isinstance(given[1][0], LabelIndices) == sp.issparse(labels)
        torch.manual_seed(0)
        sampled = with_sampled_labels(given, n_negatives=5, by_member=n_members > 1)
        batches.append(mixed(sampled, alpha=0.5))
    (X_one, (one, _)), (X_two, (two, _)) = batches
    torch.testing.assert_close(X_one, X_two)
    assert one.shape == two.shape == (*shape, L)
    for name in ("values", "active", "drawn"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name))
    assert one.values.shape == (*shape, len(one.columns))


@pytest.mark.parametrize("loss", [RegularizedContrastiveLoss, MSCLoss])
def test_the_loss_takes_the_sample_as_it_would_draw_it(loss):
    X, (labels, _) = batch()
    prototypes = torch.randn(L, WIDTH, dtype=torch.float64)
    torch.manual_seed(3)
    expected = loss(n_negatives=7)(X, labels, prototypes)
    torch.manual_seed(3)
    sampled = with_sampled_labels((X, (labels, None)), n_negatives=7)[1][0]
    torch.testing.assert_close(loss()(X, sampled, prototypes), expected)


def test_auto_draws_from_many_labels(monkeypatch, capsys):
    monkeypatch.setattr(contrastive, "AUTO_LABELS", 10)
    monkeypatch.setattr(contrastive, "AUTO_NEGATIVES", 4)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    for n_labels, expected in ((10, None), (11, 4)):
        Y = sp.csr_array((rng.random((60, n_labels)) < 0.3).astype(int))
        clf = small(ContrastiveMultiLabelClassifier, verbose=1).fit(X, Y)
        assert clf.n_negatives_ == expected
        assert ("loss_params__n_negatives=None" in capsys.readouterr().out) == bool(expected)
    clf.set_params(loss_params__n_negatives=None).fit(X, Y)
    assert clf.n_negatives_ is None


def test_trained_heads_stay_float32():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 5)), (rng.random((60, 4)) < 0.3).astype(int)
    clf = small(ContrastiveMultiLabelClassifier).fit(X, Y)
    assert clf.predictor_.head.weight.dtype == torch.float32
    one_by_one = np.concatenate([clf.predict_proba(row[None]) for row in X])
    np.testing.assert_allclose(clf.predict_proba(X), one_by_one, rtol=0, atol=1e-7)
