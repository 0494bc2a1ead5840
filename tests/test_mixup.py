"""Mixed rows: what is mixed, what losses make of mixed labels, where nothing is mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch import nn

from sklearn_mlcl import ContrastiveMultiLabelClassifier
from sklearn_mlcl.losses import (
    LOGIT_LOSSES,
    AsymmetricLoss,
    BinaryCrossEntropyLoss,
    FocalLoss,
    JaccardSupConLoss,
    MemoryQueue,
    SupConLoss,
)
from sklearn_mlcl.modules._encoder import linear_head
from sklearn_mlcl.training import ContrastiveObjective, RowTensors, mixed
from sklearn_mlcl.training.objectives import loss_of_rows
from sklearn_mlcl.utils.fit_data import FitData
from tests.small import every_ensemble, small

N_ROWS, N_LABELS = 400, 3


def shares_of(alpha: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Share of the row itself and number of the other one, read off the mixture of unit rows."""
    torch.manual_seed(seed)
    rows = torch.eye(N_ROWS, dtype=torch.float64)
    X, _ = mixed((rows, (torch.zeros(N_ROWS, N_LABELS), None)), alpha)
    own = X.diagonal().numpy()
    other = (X.numpy() - np.diag(own)).argmax(axis=1)
    return own, np.where(own == 1, np.arange(N_ROWS), other)


# ---------------------------------------------------------------------- the mixture


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 5.0])
def test_a_row_keeps_the_larger_share(alpha: float) -> None:
    """max(s, 1 - s) of s from the beta distribution; for alpha=1 uniform above one half."""
    own = np.concatenate([shares_of(alpha, seed)[0] for seed in range(10)])
    assert (own >= 0.5).all() and (own <= 1).all()
    drawn = np.random.default_rng(0).beta(alpha, alpha, size=100_000)
    expected = np.quantile(np.maximum(drawn, 1 - drawn), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert_allclose(np.quantile(own, [0.1, 0.3, 0.5, 0.7, 0.9]), expected, atol=0.03)


def test_every_row_is_the_other_row_once() -> None:
    own, other = shares_of(1.0)
    assert_array_equal(np.sort(other), np.arange(N_ROWS))
    assert (other != np.arange(N_ROWS)).mean() > 0.95
    assert len(np.unique(own)) > 0.95 * N_ROWS, "a share of its own for each row"


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_features_and_labels_are_mixed_alike(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    labels = (torch.rand(N_ROWS, N_LABELS) < 0.5).to(dtype)
    rows = torch.eye(N_ROWS)
    X, (Y, weight) = mixed((rows, (labels, None)), 1.0)
    assert Y.dtype == X.dtype == torch.float32
    # Floats may hold NaN: each entry then has a weight, its known share.
    assert weight is None if dtype == torch.bool else (weight == 1).all()
    assert_allclose(Y, X @ labels.float(), atol=1e-6)
    assert ((Y >= 0) & (Y <= 1)).all() and ((Y > 0) & (Y < 1)).any()


@pytest.mark.parametrize("of_entries", [False, True])
def test_weights_are_mixed_and_the_batch_stays_as_it_was(of_entries: bool) -> None:
    torch.manual_seed(0)
    X, Y = torch.eye(9), torch.rand(9, N_LABELS) < 0.5
    weight = torch.rand(9, N_LABELS) if of_entries else torch.rand(9)
    before = X.clone(), Y.clone(), weight.clone()
    shares, (labels, w) = mixed((X, (Y, weight)), 1.0)
    assert_allclose(w, shares @ weight, rtol=1e-5)
    w, weight = (a if of_entries else a[:, None] for a in (w, weight))
    assert_allclose(w * labels, shares @ (weight * Y), rtol=1e-4, atol=1e-6)
    assert all(map(torch.equal, (X, Y, weight if of_entries else weight[:, 0]), before))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_missing_label_has_no_part_in_the_mixture(weighted: bool) -> None:
    """The loss of a mixed entry is the mixture of the losses of its known labels."""
    torch.manual_seed(0)
    labels = (torch.rand(N_ROWS, N_LABELS) < 0.5).float()
    missing = torch.rand(N_ROWS, N_LABELS) < 0.4
    labels[missing] = torch.nan
    weight = torch.rand(N_ROWS) if weighted else None
    shares, (Y, w) = mixed((torch.eye(N_ROWS), (labels, weight)), 1.0)
    of_entries = (~missing).float() * (1.0 if weight is None else weight[:, None])
    assert_allclose(w, shares @ of_entries, rtol=1e-5)
    assert_array_equal(Y.isnan(), shares @ of_entries == 0)
    assert_allclose(
        (w * Y).nan_to_num(nan=0.0), shares @ (of_entries * labels.nan_to_num(nan=0.0)), atol=1e-6
    )
    alone = (shares > 0).float() @ (~missing).float() == 1
    assert set(Y[alone].unique().tolist()) == {0.0, 1.0}


def test_torch_decides_the_draws() -> None:
    first, again, other = (shares_of(1.0, seed)[0] for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


# ---------------------------------------------------------------------- losses on mixed labels


@pytest.mark.parametrize(
    "loss",
    [
        BinaryCrossEntropyLoss(),
        FocalLoss(1.5),
        AsymmetricLoss(),
        AsymmetricLoss(1.0, 0.0, 0.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_elementwise_losses_are_linear_in_the_labels(loss: nn.Module, weighted: bool) -> None:
    """The loss of a mixture is the mixture of the losses, entry by entry and in all gradients."""
    torch.manual_seed(0)
    logits = torch.randn(8, N_LABELS, dtype=torch.float64, requires_grad=True)
    first, second = (torch.rand(2, 8, N_LABELS) < 0.5).double()
    missing = torch.rand(8, N_LABELS) < 0.2
    first, second = (y.masked_fill(missing, torch.nan) for y in (first, second))
    weight = torch.rand(8, dtype=torch.float64) if weighted else None
    for share in (0.0, 0.3, 0.5, 1.0):
        found = loss(logits, share * first + (1 - share) * second, weight)
        expected = share * loss(logits, first, weight) + (1 - share) * loss(logits, second, weight)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
        gradients = [torch.autograd.grad(value, logits)[0] for value in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


class Strict(nn.Module):
    """A loss from elsewhere that takes yes, no and missing alone."""

    def forward(self, logits: Any, labels: Any, sample_weight: Any) -> Any:
        assert ((labels == 0) | (labels == 1) | labels.isnan()).all()
        return (logits * labels.nan_to_num(nan=0.0)).mean()


@pytest.mark.parametrize("loss", [*LOGIT_LOSSES, Strict()], ids=str)
def test_who_gets_mixed_labels(loss: Any) -> None:
    """The losses that are linear in them; all others the labels of the larger share."""
    torch.manual_seed(0)
    logits = torch.randn(10, N_LABELS, dtype=torch.float64)
    dominant = (torch.rand(10, N_LABELS) < 0.5).double()
    labels = torch.where(torch.rand(10, N_LABELS) < 0.5, dominant, 0.7 * dominant + 0.3 * 0.5)
    labels[3, 1] = dominant[3, 1] = torch.nan
    as_is = loss in ("bce", "asl", "focal")
    loss = LOGIT_LOSSES[loss]() if isinstance(loss, str) else loss
    found = loss_of_rows(loss, logits, labels, None)
    assert found == loss(logits, labels if as_is else dominant, None)
    if as_is:
        assert found != loss(logits, dominant, None)


@pytest.mark.parametrize("known", [False, True])
def test_pairs_are_those_of_the_larger_shares(known: bool) -> None:
    """Mixed rows attract by the labels of the rows that dominate them, also in the queue."""
    torch.manual_seed(0)
    labels = torch.rand(12, N_LABELS) < 0.5
    weaker = labels[torch.randperm(12)].float()
    embedding = torch.randn(12, 4, dtype=torch.float64)
    soft, hard = 0.6 * labels.float() + 0.4 * weaker, labels if known else labels.float()
    if not known:
        soft[2, 1] = hard[2, 1] = torch.nan
    dtype = torch.bool if known else torch.float32
    values, kept = [], []
    for given in (soft, hard):
        objective = ContrastiveObjective(
            SupConLoss(),
            nn.Identity(),
            linear_head(4, np.zeros(N_LABELS)),
            queue=MemoryQueue(20, 4, N_LABELS, dtype=torch.float64, label_dtype=dtype),
        )
        objective.labels_known = known
        values += [objective(embedding, given, None), objective(embedding, given, None)]
        kept.append(objective.queue.labels)
    assert values[0] == values[2] and values[1] == values[3]
    assert torch.equal(kept[0].nan_to_num(nan=2.0), kept[1].nan_to_num(nan=2.0))
    assert SupConLoss()(embedding, labels) != SupConLoss()(embedding, weaker)


def test_missing_labels_of_validation_rows_stay_missing() -> None:
    """Also where every label of the training rows is known."""
    torch.manual_seed(0)
    labels = (torch.rand(12, N_LABELS) < 0.5).float()
    labels[::3, 1] = torch.nan
    embedding = torch.randn(12, 4)
    objective = ContrastiveObjective(
        JaccardSupConLoss(), nn.Identity(), linear_head(4, np.zeros(3))
    ).eval()
    objective.labels_known = True
    found = objective(embedding, labels, None)
    assert found == objective.loss(embedding, labels)
    assert found != objective.loss(embedding, labels.nan_to_num(nan=0.0))


def test_missing_labels_of_a_later_chunk_stay_missing(label_data: Any) -> None:
    """Whether labels are known is asked of the rows at hand, at each call."""
    X, Y = label_data
    hidden = np.where(np.random.default_rng(0).random(Y.shape) < 0.4, np.nan, Y)
    # Steps too short to move a weight: the loss of the second call is that of its labels, and
    # the second call draws the same whatever the first one saw.
    still = small(
        ContrastiveMultiLabelClassifier, loss="jaccard", lambda_joint=0, learning_rate=1e-12,
        batch_size=len(X), feature_noise=0, dropout=0, net_params__mixup=0.5,
    )  # fmt: skip
    clf = clone(still).partial_fit(X, Y)
    assert clf.net_.criterion_.labels_known
    clf.partial_fit(X, hidden)
    assert not clf.net_.criterion_.labels_known
    from_the_start = clone(still).partial_fit(X, hidden).partial_fit(X, hidden)
    as_no = clone(still).partial_fit(X, Y).partial_fit(X, np.nan_to_num(hidden))
    expected = from_the_start.history_["train_loss"][1]
    assert clf.history_["train_loss"][1] == pytest.approx(expected, rel=1e-6)
    assert abs(as_no.history_["train_loss"][1] - expected) > 1e-3 * expected
    assert clf.partial_fit(X, Y).net_.criterion_.labels_known


# ---------------------------------------------------------------------- in an estimator


@every_ensemble
def test_held_out_samples_are_not_mixed(make: Any, label_data: Any) -> None:
    """The same validation loss in every epoch of a training that moves no weight."""
    still = small(
        make, learning_rate=1e-12, weight_decay=0, early_stopping=True, net_params__mixup=1.0
    )
    losses = still.fit(*label_data).history_["valid_loss"]
    assert_allclose(losses, losses[0], rtol=1e-5)
    unmixed = still.set_params(net_params__mixup=0.0).fit(*label_data).history_["valid_loss"]
    assert_allclose(unmixed, losses, rtol=1e-5)


@every_ensemble
def test_a_step_learns_from_the_mixed_batch(make: Any, label_data: Any) -> None:
    net = small(make, net_params__mixup=0.7).fit(*label_data).net_
    batch = RowTensors(FitData(*label_data), torch.device("cpu")).rows(torch.arange(32))
    net.module_.train(), net.criterion_.train()
    torch.manual_seed(5)
    expected = net._forward(mixed(batch, 0.7))["loss"]
    torch.manual_seed(5)
    assert net.train_step(batch)["loss"] == expected
