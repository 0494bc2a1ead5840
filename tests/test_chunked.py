"""Large batches in chunks: gradients of the whole batch, draws that repeat, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor, nn

import sklearn_mlcl
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES
from sklearn_mlcl.modules import pack_inputs
from sklearn_mlcl.training._parallel import check_module
from sklearn_mlcl.utils.runtime import seeded
from tests.small import every_ensemble, plain, small

N, N_LABELS, CHUNK = 512, 6, 64
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 8))
Y = (X @ RNG.normal(size=(8, N_LABELS)) + RNG.normal(size=(N, N_LABELS)) > 0.5).astype(int)
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-10}


def batch_of(net: Any, labels: Any, n_members: int, X: Any = X) -> Any:
    """All samples as one batch, in float64; for several members, in an order for each."""
    inputs, values = torch.from_numpy(X), torch.from_numpy(labels)
    values = values if values.is_floating_point() else values.bool()
    weight = torch.from_numpy(RNG.random(N))
    if n_members > 1:
        orders = torch.stack([torch.arange(N).roll(m) for m in range(n_members)])
        return inputs[orders], (values[orders], weight[orders])
    return inputs, (values, weight)


def gradients(net: Any, batch: Any, chunk_size: int | None, n_steps: int = 2) -> list[Tensor]:
    """Gradients of the last of some steps from the same weights, in float64."""
    net.module_.double().train(), net.criterion_.double().train()
    net.chunk_size, net._steps_done, net.schedule_ = chunk_size, 0, "constant"
    net.initialize_optimizer()
    for group in net.optimizer_.param_groups:
        group["lr"] = 0.0
    with seeded(0):
        for _ in range(n_steps):
            net.train_step(batch)
    return [p.grad for _, p in net.get_all_learnable_params() if p.grad is not None]


def assert_exact(clf: Any, labels: Any = Y, n_members: int = 1) -> None:
    clf.set_params(max_epochs=1, n_estimators=n_members, dropout=0.0, feature_noise=0.0)
    net = clf.fit(X, labels).net_
    batch = batch_of(net, labels, n_members)
    queue = getattr(net.criterion_, "queue", None)
    kept = None if queue is None else {n: b.clone() for n, b in queue.named_buffers()}
    whole = [g.clone() for g in gradients(net, batch, None)]
    if queue is not None:
        for name, buffer in queue.named_buffers():
            buffer.copy_(kept[name])
    parts = gradients(net, batch, CHUNK)
    assert len(whole) == len(parts) > 4
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, **EXACT)
    assert max(float(g.abs().max()) for g in whole) > 1e-4


@pytest.mark.parametrize("loss", sorted(CONTRASTIVE_LOSSES))
@pytest.mark.parametrize("n_members", [1, 3])
def test_every_contrastive_loss_with_a_joint_head(loss: str, n_members: int) -> None:
    assert_exact(plain(ContrastiveMultiLabelClassifier, loss=loss), n_members=n_members)


@pytest.mark.parametrize("loss", sorted(LOGIT_LOSSES))
def test_every_loss_on_logits(loss: str) -> None:
    assert_exact(plain(MultiLabelMLPClassifier, loss=loss))


@pytest.mark.parametrize(
    "changes",
    [
        {"lambda_joint": 0.0},
        {"lambda_contrastive": 0.0},
        {"loss_params__queue_size": 100, "loss": "mulsupcon"},
        {"loss_params__n_negatives": 1},
        {"loss_params__joint_loss": "asl"},
        {"net_params__projection_dim": None},
    ],
)
@pytest.mark.parametrize("n_members", [1, 2])
def test_other_objectives(changes: dict[str, Any], n_members: int) -> None:
    assert_exact(plain(ContrastiveMultiLabelClassifier, **changes), n_members=n_members)


def test_missing_labels() -> None:
    partly = np.where(RNG.random(Y.shape) < 0.2, np.nan, Y)
    for make in (ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier):
        assert_exact(plain(make), partly, n_members=2)


# ---------------------------------------------------------------------- draws


class Noisy(nn.Module):
    """Draws in three ways."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(n_features, 8), nn.Dropout(0.3)

    def forward(self, X: Tensor) -> Tensor:
        hidden = self.dropout(self.linear(X + 0.1 * torch.randn_like(X)))
        return hidden * torch.rand(len(X), 1, dtype=X.dtype, device=X.device)


@pytest.mark.parametrize("module", [None, Noisy])
def test_both_passes_draw_the_same(module: Any) -> None:
    """The gradient is that of a graph through all chunks, with the same draws."""
    clf = plain(ContrastiveMultiLabelClassifier, module=module, dropout=0.3, feature_noise=0.5)
    net = clf.set_params(max_epochs=1).fit(X, Y).net_
    net._redirects = True
    batch = batch_of(net, Y, 1)
    parts = [g.clone() for g in gradients(net, batch, CHUNK, n_steps=1)]
    encode, net._encoded = net._encoded, None
    inputs, (labels, weight) = batch
    net.optimizer_.zero_grad()
    with seeded(0), sklearn_mlcl.training.net.private_draws():
        embedding = torch.cat([encode(chunk) for chunk in inputs.split(CHUNK)])
        net.criterion_(embedding, labels, weight).backward()
    whole = [p.grad for _, p in net.get_all_learnable_params() if p.grad is not None]
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@every_ensemble
def test_a_fit_goes_on_drawing_behind_what_it_drew(make: Any) -> None:
    """The second pass takes nothing from the stream: noise differs from step to step."""
    drawn: list[tuple[float, ...]] = []

    class Sees(Noisy):
        def forward(self, X: Tensor) -> Tensor:
            if len(X) == CHUNK:
                drawn.append(tuple(torch.rand(3).tolist()))
            return super().forward(X)

    clf = plain(make, module=Sees, scale_input=False, max_epochs=1, batch_size=N // 2)
    clf.set_params(net_params__chunk_size=CHUNK, neighbor_weight=0.0).fit(X, Y)
    n = N // 2 // CHUNK
    first, second = drawn[:n], drawn[n : 2 * n]
    assert first == second and len(set(first)) == n
    later = drawn[2 * n + 1 : 3 * n + 1]  # one try of copies lies between
    assert not set(first) & set(later)


# ---------------------------------------------------------------------- whole fits


@every_ensemble
@pytest.mark.parametrize("n_estimators", [1, 2, 4])
def test_a_fit_in_chunks_is_that_of_the_batch(make: Any, n_estimators: int) -> None:
    changes = {"dropout": 0.0, "feature_noise": 0.0, "batch_size": 256, "max_epochs": 4}
    clf = small(make, n_estimators=n_estimators, **changes)
    whole = clf.fit(X, Y).predict_proba(X)
    parts = clf.set_params(net_params__chunk_size=50).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(parts, whole, atol=1e-3)
    assert_array_equal(clf.fit(X, Y).predict_proba(X), parts)


def test_several_arrays() -> None:
    class Both(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 4)

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
            sizes.append(len(inputs["X"]))
            return super().forward(inputs["X"]) * inputs["known"]

    sizes: list[int] = []
    packed = pack_inputs(X=X.astype(np.float32), known=np.ones((N, 1), dtype=bool))
    clf = plain(ContrastiveMultiLabelClassifier, module=Both, scale_input=False, max_epochs=1)
    clf.set_params(batch_size=N, net_params__chunk_size=200).fit(packed, Y)
    assert sizes[2:8] == [200, 200, 112] * 2  # two probes of the width come first


# ---------------------------------------------------------------------- what is refused


class Normalised(nn.Module):
    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 4), nn.BatchNorm1d(4))

    def forward(self, X: Tensor) -> Tensor:
        return self.layers(X)


class Frozen(Normalised):
    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.layers[1].eval()
        return self


class Centred(nn.Linear):
    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 4)

    def forward(self, X: Tensor) -> Tensor:
        return super().forward(X) - super().forward(X).mean(0)


class Elsewhere(Centred):
    def forward(self, X: Tensor) -> Tensor:
        return nn.Linear.forward(self, X) + float(RNG.random())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Normalised, r"chunk_size.*layer 'layers.1' \(BatchNorm1d\).*LayerNorm"),
        (Centred, "chunk_size.*depends on the others of the batch"),
        (Elsewhere, "chunk_size.*draws from generators that are not torch's"),
    ],
)
def test_what_needs_the_whole_batch(module: Any, message: str) -> None:
    clf = plain(MultiLabelMLPClassifier, module=module, scale_input=False, batch_size=256)
    clf.set_params(max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match=message):
        clf.set_params(net_params__chunk_size=CHUNK).fit(X, Y)


def test_batch_norm_that_is_frozen() -> None:
    clf = plain(MultiLabelMLPClassifier, module=Frozen, scale_input=False, batch_size=256)
    clf.set_params(max_epochs=2)
    expected = clf.fit(X, Y).predict_proba(X)
    parts = clf.set_params(net_params__chunk_size=CHUNK).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(parts, expected, atol=1e-4)
    check_module(clf.net_.module_)  # processes that share a fit take it too
