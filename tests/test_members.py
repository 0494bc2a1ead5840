"""An ensemble in one set of tensors: layers, training steps and answers of each member."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES, MemoryQueue
from sklearn_mlcl.modules import (
    Dropout,
    MemberList,
    MLPEncoder,
    ProjectionHead,
    SharedDropout,
    StackedLayerNorm,
    StackedLinear,
    embedding_width,
    linear,
    side_by_side,
)
from sklearn_mlcl.modules._encoder import (
    etf_head,
    head_arrays,
    linear_head,
)
from sklearn_mlcl.training import ContrastiveObjective, IndexBatchNet, LogitObjective
from sklearn_mlcl.training.objectives import loss_of_rows
from sklearn_mlcl.training.optimizers import parameter_groups

M, N_ROWS, N_FEATURES, N_LABELS, WIDTH = 3, 12, 6, 4, 8
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}
LOG_ODDS = np.array([0.3, -1.0, 0.0, 2.0])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def copy_member(stacked: nn.Module, m: int, single: nn.Module) -> nn.Module:
    """Give a net of the same build, without members, the weights of member m."""
    pairs = zip(stacked.modules(), single.modules(), strict=True)
    with torch.no_grad():
        for ours, theirs in pairs:
            if isinstance(ours, StackedLinear):
                theirs.weight.copy_(ours.weight[m].T)
                theirs.bias.copy_(ours.bias.view(M, -1)[m])
            elif isinstance(ours, StackedLayerNorm):
                theirs.weight.copy_(ours.gain.view(M, -1)[m])
                theirs.bias.copy_(ours.shift.view(M, -1)[m])
            elif isinstance(ours, ContrastiveObjective) and ours.prototypes is not None:
                theirs.prototypes.copy_(ours.prototypes[m])
    return single


def values_of(
    stacked: nn.Module, m: int, single: nn.Module, of: Any
) -> list[tuple[Tensor, Tensor]]:
    """What ``of`` reads of the parameters of member m, next to that of the net alone."""
    pairs = []
    for ours, theirs in zip(stacked.modules(), single.modules(), strict=True):
        if isinstance(ours, StackedLinear):
            pairs.append((of(ours.weight)[m].T, of(theirs.weight)))
            pairs.append((of(ours.bias).view(M, -1)[m], of(theirs.bias)))
        elif isinstance(ours, StackedLayerNorm):
            pairs.append((of(ours.gain).view(M, -1)[m], of(theirs.weight)))
            pairs.append((of(ours.shift).view(M, -1)[m], of(theirs.bias)))
        elif isinstance(ours, ContrastiveObjective) and ours.prototypes is not None:
            pairs.append((of(ours.prototypes)[m], of(theirs.prototypes)))
    return pairs


def gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


# ---------------------------------------------------------------------- layers


@pytest.mark.parametrize("shared", [True, False])
def test_stacked_linear_is_linear_layers(shared: bool) -> None:
    stacked = StackedLinear(M, N_FEATURES, WIDTH).double()
    X = torch.randn(*(() if shared else (M,)), N_ROWS, N_FEATURES, dtype=torch.float64)
    X.requires_grad_()
    found = stacked(X)
    slopes = torch.randn_like(found)
    (found * slopes).sum().backward()
    expected = torch.zeros_like(X)
    for m in range(M):
        single = copy_member(stacked, m, nn.Linear(N_FEATURES, WIDTH).double())
        rows = (X if shared else X[m]).detach().requires_grad_()
        out = single(rows)
        (out * slopes[m]).sum().backward()
        torch.testing.assert_close(found[m], out, **EXACT)
        for ours, theirs in values_of(stacked, m, single, gradient):
            torch.testing.assert_close(ours, theirs, **EXACT)
        (expected if shared else expected[m]).add_(rows.grad)
    torch.testing.assert_close(X.grad, expected, **EXACT)


def test_stacked_layer_norm_is_layer_norms() -> None:
    stacked = StackedLayerNorm(M, WIDTH).double()
    for parameter in stacked.parameters():
        nn.init.normal_(parameter)
    X = torch.randn(M, N_ROWS, WIDTH, dtype=torch.float64)
    found = stacked(X)
    slopes = torch.randn_like(found)
    (found * slopes).sum().backward()
    for m in range(M):
        single = copy_member(stacked, m, nn.LayerNorm(WIDTH).double())
        out = single(X[m])
        (out * slopes[m]).sum().backward()
        torch.testing.assert_close(found[m], out, **EXACT)
        for ours, theirs in values_of(stacked, m, single, gradient):
            torch.testing.assert_close(ours, theirs, **EXACT)


def test_members_start_as_linear_layers_do_and_apart() -> None:
    stacked, single = StackedLinear(M, 100, 300), nn.Linear(100, 300)
    for ours, theirs in ((stacked.weight, single.weight), (stacked.bias, single.bias)):
        assert ours.abs().max() <= 0.1
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.1)
    correlation = torch.corrcoef(stacked.weight.flatten(1))
    assert correlation.fill_diagonal_(0).abs().max() < 0.05


def test_shared_dropout() -> None:
    """The same units for all members, those that stay grown by as much as leaves the mean."""
    layer = SharedDropout(0.3)
    X = torch.randn(M, 200, 50)
    factors = layer(torch.ones_like(X))
    assert torch.equal(copy.deepcopy(layer).eval()(X), X)
    assert torch.equal(factors[0], factors[1]) and torch.equal(factors[0], factors[2])
    assert_allclose(factors.unique().tolist(), [0, 1 / 0.7], rtol=1e-6)
    assert (factors == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert not torch.equal(factors[0, 0], factors[0, 1]), "each row has units of its own"
    torch.manual_seed(1)
    dropped = layer(X)
    torch.manual_seed(1)
    assert torch.equal(dropped, X * layer(torch.ones_like(X)))


def test_member_list() -> None:
    members = [nn.Linear(N_FEATURES, 2) for _ in range(M)]
    X = torch.randn(5, N_FEATURES)
    found = MemberList(members)(X)
    assert torch.equal(found, torch.stack([member(X) for member in members]))
    assert len(list(MemberList(members).parameters())) == 2 * M


def test_side_by_side() -> None:
    embedding = torch.randn(M, 5, 2)
    assert torch.equal(side_by_side(embedding), torch.cat(list(embedding), dim=1))
    assert torch.equal(side_by_side(embedding[0]), embedding[0])


@pytest.mark.parametrize("activation", ["silu", "tanh"])
def test_an_encoder_of_members_is_encoders(activation: str) -> None:
    options = {"hidden_layer_sizes": (7, WIDTH), "activation": activation, "dropout": 0.3}
    stacked = MLPEncoder(N_FEATURES, **options, n_members=M).double().eval()
    head = ProjectionHead(WIDTH, 5, activation, n_members=M).double()
    X = torch.randn(N_ROWS, N_FEATURES, dtype=torch.float64)
    for m in range(M):
        single = copy_member(stacked, m, MLPEncoder(N_FEATURES, **options).double().eval())
        torch.testing.assert_close(stacked(X)[m], single(X), **EXACT)
        single_head = copy_member(head, m, ProjectionHead(WIDTH, 5, activation).double())
        torch.testing.assert_close(head(stacked(X))[m], single_head(single(X)), **EXACT)
    stacked.float()
    assert embedding_width(stacked, N_FEATURES, M) == WIDTH
    with pytest.raises(ValueError, match=r"module must map .* of shape \(3, 2, 8\)"):
        embedding_width(stacked, N_FEATURES)


def test_one_member_is_a_plain_net() -> None:
    encoder = nn.Sequential(MLPEncoder(N_FEATURES, (WIDTH,), dropout=0.1), ProjectionHead(WIDTH, 2))
    kinds = {type(module) for module in encoder.modules()}
    assert {nn.Linear, nn.LayerNorm, Dropout} <= kinds
    assert not kinds & {StackedLinear, StackedLayerNorm, SharedDropout}
    assert isinstance(linear(2, 3, 1), nn.Linear)


def test_decay_spares_the_biases_and_gains_of_members() -> None:
    encoder = MLPEncoder(N_FEATURES, (WIDTH, WIDTH), n_members=M)
    parts = nn.ModuleList([encoder, linear_head(WIDTH, LOG_ODDS, M)])
    decayed, spared = parameter_groups(parts.parameters(), 0.1)
    names = {id(parameter): name for name, parameter in parts.named_parameters()}
    kinds = [{names[id(p)].split(".")[-1] for p in group["params"]} for group in (decayed, spared)]
    assert kinds == [{"weight"}, {"bias", "gain", "shift"}]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)


# ---------------------------------------------------------------------- heads


@pytest.mark.parametrize(("n_members", "kind"), [(1, nn.Linear), (M, StackedLinear)])
def test_a_head_starts_at_the_log_odds(n_members: int, kind: type) -> None:
    head = linear_head(WIDTH, LOG_ODDS, n_members)
    logits = head(torch.zeros(*(() if n_members == 1 else (M,)), 2, WIDTH))
    assert type(head) is kind
    assert_allclose(logits.detach(), np.broadcast_to(LOG_ODDS, logits.shape), rtol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "etf"])
def test_arrays_of_heads_give_the_logits_of_each_member(kind: str) -> None:
    if kind == "linear":
        head = linear_head(WIDTH, LOG_ODDS, M).double()
        nn.init.normal_(head.bias)
    else:
        head = etf_head(WIDTH, LOG_ODDS, learn_scale=True).double()
    embedding = torch.randn(M, N_ROWS, WIDTH, dtype=torch.float64)
    coef, intercept = head_arrays(head, M)
    assert coef.shape == (M, N_LABELS, WIDTH) and intercept.shape == (M, N_LABELS)
    found = embedding.numpy() @ coef.swapaxes(1, 2) + intercept[:, None]
    assert_allclose(found, head(embedding).detach(), rtol=1e-12, atol=1e-12)


class SpreadOfBatch(nn.Module):
    """A loss from elsewhere that is no mean over rows."""

    def forward(self, logits: Tensor, labels: Tensor, sample_weight: Tensor | None) -> Tensor:
        weight = 1.0 if sample_weight is None else sample_weight[:, None]
        return (weight * (logits - labels.to(logits).nan_to_num(nan=0.0))).var()


LOSSES_ON_LOGITS = {
    **{name: build() for name, build in LOGIT_LOSSES.items()},
    "own": SpreadOfBatch(),
}


@pytest.mark.parametrize("loss", LOSSES_ON_LOGITS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_loss_of_members_is_the_mean_of_their_losses(
    loss: str, weighted: bool, missing: float
) -> None:
    logits = torch.randn(M, N_ROWS, N_LABELS, dtype=torch.float64)
    labels = (torch.rand(N_ROWS, N_LABELS) < 0.4).double()
    labels[torch.rand(labels.shape) < missing] = torch.nan
    weight = torch.rand(N_ROWS, dtype=torch.float64) if weighted else None
    module = LOSSES_ON_LOGITS[loss]
    found = loss_of_rows(module, logits, labels, weight)
    expected = torch.stack([module(rows, labels, weight) for rows in logits]).mean()
    torch.testing.assert_close(found, expected, **EXACT)


# ---------------------------------------------------------------------- training


class OwnContrastive(nn.Module):
    """A contrastive loss from elsewhere: knows rows of one member, and of prototypes."""

    def forward(
        self, projection: Tensor, labels: Tensor, *, prototypes: Tensor, **terms: Any
    ) -> Any:
        assert projection.ndim == prototypes.ndim == 2
        rows = (projection @ prototypes.T - 2.0 * labels).square().mean(1)
        return (rows * terms["sample_weight"]).sum() if "sample_weight" in terms else rows.mean()


def logit_objective(loss: str) -> Any:
    def build(n_members: int) -> nn.Module:
        head = linear_head(WIDTH, LOG_ODDS, n_members)
        return LogitObjective(head, copy.deepcopy(LOSSES_ON_LOGITS[loss]), feature_decay=0.1)

    return build


def contrastive_objective(loss: str, queue_size: int = 0, **options: Any) -> Any:
    def build(n_members: int) -> nn.Module:
        members = () if n_members == 1 else (n_members,)
        made = OwnContrastive() if loss == "own" else CONTRASTIVE_LOSSES[loss](lambda_reg=0.7)
        prototypes = nn.init.normal_(torch.empty(*members, N_LABELS, 5))
        queue = MemoryQueue(
            max(queue_size, 1), 5, N_LABELS, dtype=torch.float64, n_members=n_members
        )
        objective = ContrastiveObjective(
            made,
            ProjectionHead(WIDTH, 5, n_members=n_members),
            linear_head(WIDTH, LOG_ODDS, n_members),
            prototypes=prototypes if getattr(made, "uses_prototypes", True) else None,
            queue=queue if queue_size else None,
            **{"lambda_joint": 0.5, **options},
        )
        objective.labels_known = True
        return objective

    return build


OBJECTIVES = {
    **{loss: logit_objective(loss) for loss in LOSSES_ON_LOGITS},
    "reg": contrastive_objective("reg"),
    "msc with a queue": contrastive_objective("msc", queue_size=20),
    "any, pairs alone": contrastive_objective("any", lambda_joint=0.0),
    "reg, head alone": contrastive_objective("reg", lambda_contrastive=0.0),
    "a contrastive loss of the user": contrastive_objective("own"),
}


def net_of(make_objective: Any, n_members: int, mixup: float) -> IndexBatchNet:
    net = IndexBatchNet(
        MLPEncoder(N_FEATURES, (7, WIDTH), n_members=n_members).double(),
        make_objective(n_members).double(),
        weight_decay=0.1,
        mixup=mixup,
        n_members=n_members,
        lr=0.01,
        verbose=0,
    ).initialize()
    net.schedule_, net._steps_done = "constant", 0
    net._set_training(True)
    return net


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("mixup", [0.0, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("samples", ["shared", "own", "own, some labels missing"])
def test_each_member_learns_what_it_would_alone(
    objective: str, mixup: float, weighted: bool, samples: str
) -> None:
    """Two steps: the gradient of each, and the weights that decay and optimiser leave."""
    missing = "missing" in samples
    if missing and objective in ("a contrastive loss of the user", "msc with a queue"):
        pytest.skip("this loss, or the queue of it, takes no missing labels")
    together = net_of(OBJECTIVES[objective], M, mixup)
    alone = [net_of(OBJECTIVES[objective], 1, mixup) for _ in range(M)]
    for m, net in enumerate(alone):
        for part in ("module_", "criterion_"):
            copy_member(getattr(together, part), m, getattr(net, part))
    for net in (together, *alone):
        net.criterion_.labels_known = not missing
    for step in range(2):
        shape = (N_ROWS,) if samples == "shared" else (M, N_ROWS)
        X = torch.randn(*shape, N_FEATURES, dtype=torch.float64)
        labels = X[..., :N_LABELS] + 0.3 * torch.randn(*shape, N_LABELS) > 0
        if missing:
            labels = labels.double().masked_fill(torch.rand(labels.shape) < 0.3, torch.nan)
        weight = torch.rand(shape, dtype=torch.float64) if weighted else None
        batch = X, (labels, weight)
        losses = []
        for m, net in enumerate((together, *alone), start=-1):
            torch.manual_seed(step)  # of the draws of mixup
            own = batch
            if m >= 0 and samples != "shared":
                own = X[m], (labels[m], None if weight is None else weight[m])
            losses.append(net.train_step(own)["loss"])
        assert_allclose(losses[0], torch.stack(losses[1:]).mean(), **EXACT)
        for m, net in enumerate(alone):
            for part in ("module_", "criterion_"):
                modules = getattr(together, part), m, getattr(net, part)
                for ours, theirs in values_of(*modules, gradient):
                    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)
                for ours, theirs in values_of(*modules, lambda parameter: parameter):
                    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    assert max(p.grad.abs().max() for p in together.module_.parameters()) > 1e-4


def test_members_end_apart() -> None:
    """No member is a copy of another, at the start or after a step."""
    net = net_of(OBJECTIVES["reg"], M, 0.0)
    X = torch.randn(N_ROWS, N_FEATURES, dtype=torch.float64)
    for _ in range(2):
        embedding = net.module_(X)
        assert (embedding[0] - embedding[1]).abs().max() > 0.1
        net.train_step((X, (X[:, :N_LABELS] > 0, None)))
