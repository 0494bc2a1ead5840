"""CPU and GPU agree: every loss, solver and estimator, and pickles from one on the other."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.metrics import average_precision_score

from sklearn_mlcl import CGMVAEClassifier, ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES
from sklearn_mlcl.modules import Dropout
from sklearn_mlcl.solvers import fit_logistic

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no CUDA device on this machine"
)

N_ROWS, WIDTH, N_LABELS = 48, 16, 7
ESTIMATORS = {
    "contrastive": (ContrastiveMultiLabelClassifier, {}),
    "contrastive, one member, logistic heads": (
        ContrastiveMultiLabelClassifier,
        {"n_estimators": 1, "lambda_joint": 0.0, "neighbor_weight": 0.0},
    ),
    "contrastive, queue and negatives": (
        ContrastiveMultiLabelClassifier,
        {"loss": "any", "loss_params": {"queue_size": 128}},
    ),
    "mlp": (MultiLabelMLPClassifier, {}),
    "mlp, fixed frame": (MultiLabelMLPClassifier, {"classifier": "etf", "n_estimators": 1}),
    "cgmvae": (CGMVAEClassifier, {}),
}


def gradients(module: torch.nn.Module, device: str, *tensors: Any, **more: Any) -> list[Any]:
    """Return the loss and its gradients in the first tensor and in prototypes, on the CPU."""
    leaves = [tensors[0].detach().to(device).requires_grad_()]
    more = {name: tensor.detach().to(device) for name, tensor in more.items()}
    leaves += [tensor.requires_grad_() for name, tensor in more.items() if name == "prototypes"]
    loss = module.to(device)(leaves[0], *(t.to(device) for t in tensors[1:]), **more)
    loss.backward()
    return [loss.item(), *(leaf.grad.cpu() for leaf in leaves)]


def labels(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    Y = torch.rand(N_ROWS, N_LABELS, generator=generator) < 0.3
    if kind == "known":
        return Y
    missing = torch.rand(N_ROWS, N_LABELS, generator=generator) < 0.1
    return Y.float().masked_fill(missing, torch.nan)


@pytest.mark.parametrize("kind", ["known", "missing"])
@pytest.mark.parametrize("name", CONTRASTIVE_LOSSES)
def test_contrastive_losses_agree(name: str, kind: str) -> None:
    torch.manual_seed(0)
    loss, more = CONTRASTIVE_LOSSES[name](temperature=0.2), {}
    if loss.uses_prototypes:
        more["prototypes"] = torch.randn(N_LABELS, WIDTH)
    rows = torch.randn(N_ROWS, WIDTH)
    on_cpu, on_gpu = (gradients(loss, d, rows, labels(kind), **more) for d in ("cpu", "cuda"))
    for found, expected in zip(on_gpu, on_cpu, strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["known", "missing"])
@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_logit_losses_agree(name: str, kind: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(N_ROWS, N_LABELS)
    on_cpu, on_gpu = (
        gradients(LOGIT_LOSSES[name](), d, logits, labels(kind)) for d in ("cpu", "cuda")
    )
    for found, expected in zip(on_gpu, on_cpu, strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_solvers_agree() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 20))
    Y = (X[:, :5] + rng.normal(size=(300, 5)) > 0).astype(int)
    on_cpu, on_gpu = (fit_logistic(torch.from_numpy(X).to(device), Y) for device in ("cpu", "cuda"))
    assert_allclose(on_gpu.coef.cpu(), on_cpu.coef, rtol=1e-4, atol=1e-4)
    assert_allclose(on_gpu.intercept.cpu(), on_cpu.intercept, rtol=1e-4, atol=1e-4)


def score(clf: Any, X: np.ndarray, Y: np.ndarray) -> float:
    return float(average_precision_score(Y, clf.predict_proba(X), average="macro"))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fits_agree_within_the_spread_of_seeds(name: str, label_data: Any) -> None:
    """The figure of the GPU lies where other seeds put that of the CPU, and a little beyond."""
    X, Y = label_data
    make, options = ESTIMATORS[name]

    def scores(device: str) -> np.ndarray:
        fits = [
            make(**{"max_epochs": 10, **options}, device=device, random_state=seed)
            for seed in range(4)
        ]
        return np.array([score(fit.fit(X[:140], Y[:140]), X[140:], Y[140:]) for fit in fits])

    on_cpu, on_gpu = scores("cpu"), scores("cuda")
    assert abs(on_gpu.mean() - on_cpu.mean()) <= 3 * on_cpu.std(ddof=1) + 0.01


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("trained", "used"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_pickles_from_one_device_load_on_the_other(
    name: str, trained: str, used: str, label_data: Any
) -> None:
    X, Y = label_data
    make, options = ESTIMATORS[name]
    clf = make(**{"max_epochs": 2, **options}, device=trained, random_state=0).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf)).set_params(device=used)
    assert all(p.device.type == "cpu" for p in again.net_.module_.parameters())
    assert_allclose(again.predict_proba(X), clf.predict_proba(X), rtol=1e-4, atol=1e-5)
    assert again.set_params(warm_start=True).fit(X, Y).n_iter_ == 4


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_fit_leaves_the_streams_of_the_gpu(precision: str, label_data: Any) -> None:
    torch.cuda.manual_seed(3)
    expected = torch.rand(4, device="cuda")
    torch.cuda.manual_seed(3)
    clf = MultiLabelMLPClassifier(
        max_epochs=1, device="cuda", random_state=0, net_params={"precision": precision}
    )
    first = clf.fit(*label_data).predict_proba(label_data[0])
    assert torch.equal(torch.rand(4, device="cuda"), expected)
    assert_allclose(clf.fit(*label_data).predict_proba(label_data[0]), first, atol=1e-5)


def test_rows_that_do_not_fit_on_the_device_are_streamed(
    label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn_mlcl.training import batches

    X, Y = label_data
    clf = MultiLabelMLPClassifier(max_epochs=2, device="cuda", random_state=0)
    expected = clf.fit(X, Y).predict_proba(X)
    monkeypatch.setattr(batches, "DEVICE_SHARE", 0.0)
    assert_allclose(clf.fit(X, Y).predict_proba(X), expected, rtol=1e-4, atol=1e-5)


def test_dropout_on_the_gpu_keeps_the_mean() -> None:
    out = Dropout(0.3)(torch.ones(1000, 1000, device="cuda"))
    assert out.mean().item() == pytest.approx(1.0, abs=0.01)
    assert_allclose(out.unique().cpu(), [0, 1 / 0.7], rtol=1e-6)
