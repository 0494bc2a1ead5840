"""PickAllLabelLoss against loops, the framework's cross-entropy, and its own theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sklearn_mlcl.losses._pick_all_label import PickAllLabelLoss

NAN = float("nan")


def case(n=12, K=5, seed=0, empty=(3,)):
    rng = np.random.default_rng(seed)
    Y = (rng.random((n, K)) < 0.4).astype(float)
    Y[np.arange(n), rng.integers(0, K, n)] = 1
    Y[list(empty)] = 0
    return torch.tensor(rng.standard_normal((n, K)) * 2), torch.tensor(Y)


def loop_loss(logits, labels, gamma, empty_rows="ignore", smoothing=0.0, weight=None):
    """One row, one label at a time, in plain floats."""
    total = weights = 0.0
    for i, (z, y) in enumerate(zip(logits.tolist(), labels.tolist(), strict=True)):
        seen = [k for k, v in enumerate(y) if v == v]
        target = {k: y[k] for k in seen}
        if empty_rows == "none_class":
            target[len(y)] = float(sum(target.values()) == 0 and len(seen) == len(y))
            seen = [*seen, len(y)]
        elif empty_rows == "uniform" and sum(target.values()) == 0 and len(seen) == len(y):
            target = {k: 1 / len(y) for k in seen}
        m = sum(target.values())
        if m == 0:
            continue
        lse = np.log(sum(np.exp(z[k]) for k in seen))
        target = {k: (1 - smoothing) * t + smoothing * m / len(seen) for k, t in target.items()}
        w = 1.0 if weight is None else float(weight[i])
        total += w * m**-gamma * sum(t * (lse - z[k]) for k, t in target.items())
        weights += w
    return total / weights


@pytest.mark.parametrize(("norm", "gamma"), [("sum", 0), ("mean", 1), (0.5, 0.5)])
@pytest.mark.parametrize("empty_rows", ["ignore", "uniform", "none_class"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_against_the_loop(norm, gamma, empty_rows, smoothing):
    logits, labels = case()
    labels[0, 1], labels[5, 2] = NAN, NAN
    labels[7] = torch.tensor([0, 0, NAN, 0, 0])  # not known to be empty: never used
    labels[8] = NAN
    if empty_rows == "none_class":
        logits = torch.cat([logits, torch.linspace(-1, 1, len(logits))[:, None]], dim=1).double()
    weight = torch.linspace(0.1, 2, len(logits), dtype=torch.float64)
    loss = PickAllLabelLoss(norm, empty_rows, smoothing)
    for w in (None, weight):
        expected = loop_loss(logits, labels, gamma, empty_rows, smoothing, w)
        assert loss(logits, labels, w).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("empty_rows", ["ignore", "uniform"])
def test_gradcheck(empty_rows):
    logits, labels = case(6, 4)
    labels[0, 0] = NAN
    labels[2] = NAN
    loss = PickAllLabelLoss(0.3, empty_rows, 0.05)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_is_the_soft_target_cross_entropy(norm):
    logits, labels = case(empty=())
    target = labels if norm == "sum" else labels / labels.sum(dim=1, keepdim=True)
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(PickAllLabelLoss(norm)(logits, labels), expected)


def test_gradient_is_m_softmax_minus_y():
    logits, labels = case()
    logits.requires_grad_()
    PickAllLabelLoss("sum")(logits, labels).backward()
    m = labels.sum(dim=1, keepdim=True)
    expected = (m * logits.detach().softmax(dim=1) - labels) / (m > 0).sum()
    torch.testing.assert_close(logits.grad, expected)
    assert logits.grad.sum(dim=1).abs().max() < 1e-15
    assert (logits.grad[3] == 0).all()


def test_all_rows_empty_is_zero_with_a_graph():
    logits = torch.randn(3, 4, requires_grad=True)
    value = PickAllLabelLoss()(logits, torch.zeros(3, 4))
    value.backward()
    assert value.item() == 0 and (logits.grad == 0).all()


def test_extreme_logits_and_half_precision():
    logits, labels = case()
    for scale in (1e4, -1e4):
        huge = (logits * scale).float().requires_grad_()
        value = PickAllLabelLoss()(huge, labels)
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(huge.grad).all()
    exact = PickAllLabelLoss()(logits, labels)
    half = PickAllLabelLoss()(logits.bfloat16(), labels)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(exact.item(), rel=1e-2)
    barred = logits.clone()
    barred[labels == 0] = -torch.inf  # a head may rule labels out
    assert torch.isfinite(PickAllLabelLoss()(barred, labels))


@pytest.mark.parametrize("norm", ["sum", "mean", 0.5])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_smallest_loss_is_at_the_logarithms_of_the_targets(norm, smoothing):
    _, labels = case()
    loss = PickAllLabelLoss(norm, "uniform", smoothing)
    m = labels.sum(dim=1, keepdim=True)
    target = torch.where(m > 0, labels, 1 / labels.shape[1])
    target = (1 - smoothing) * target + smoothing * target.mean(dim=1, keepdim=True)
    best = target.clamp(min=1e-300).log()
    mass = m[:, 0].clamp(min=1)
    entropy = torch.xlogy(mass, mass) - torch.xlogy(target, target).sum(dim=1)
    torch.testing.assert_close(loss(best, labels), (mass**-loss.gamma * entropy).mean())
    assert loss(best + torch.randn_like(best).clamp(-1, 1), labels) > loss(best, labels)


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_intercept_only_fit_estimates_what_it_should(norm):
    _, labels = case(200, 4, empty=())
    z = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([z], max_iter=200, tolerance_grad=1e-12, tolerance_change=0)
    loss = PickAllLabelLoss(norm)

    def closure():
        optimizer.zero_grad()
        value = loss(z.expand(len(labels), 4), labels)
        value.backward()
        return value

    optimizer.step(closure)
    m = labels.sum(dim=1, keepdim=True)
    expected = labels.mean(0) / labels.mean(0).sum() if norm == "sum" else (labels / m).mean(0)
    torch.testing.assert_close(z.detach().softmax(0), expected, atol=1e-6, rtol=0)


def test_errors():
    for bad in ({"pal_norm": "max"}, {"pal_norm": 1.5}, {"empty_rows": "drop"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            PickAllLabelLoss(**bad)
    with pytest.raises(ValueError, match="label_smoothing"):
        PickAllLabelLoss(label_smoothing=1.0)
    logits, labels = case()
    with pytest.raises(ValueError, match="1 rows without a positive"):
        PickAllLabelLoss(empty_rows="error")(logits, labels)
    with pytest.raises(ValueError, match="constant 0"):
        PickAllLabelLoss()(logits[:, :1], labels[:, :1])
    with pytest.raises(ValueError, match=r"\(B, L \+ 1\)"):
        PickAllLabelLoss(empty_rows="none_class")(logits, labels)
