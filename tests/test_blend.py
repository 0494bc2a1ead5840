"""Weights, scale and shift that held-out samples choose; the running average of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from torch import nn

from sklearn_mlcl.heads.held_out import (
    MARGIN,
    PRIOR_INFORMATION,
    SCALES,
    Blend,
    HeldOutParts,
    Judgement,
    choose_blend,
    for_ensemble,
)
from sklearn_mlcl.training.optimizers import WeightAverage

HALF = Blend(0.5, 0.0)
EVEN = np.zeros(3)


def judgement(n: int = 60, n_labels: int = 4, missing: float = 0.2, weighted: bool = True) -> Any:
    rng = np.random.default_rng(0)
    Y = (rng.random((n, n_labels)) < 0.3).astype(float)
    Y[rng.random(Y.shape) < missing] = np.nan
    weight = rng.uniform(0.5, 2, n) if weighted else None
    center = np.linspace(-2, 1, n_labels)
    return Judgement.of(Y, weight, np.arange(n_labels) < n_labels - 1, center)


def log_odds(truth: Judgement, strength: float, noise: float, seed: int = 0) -> np.ndarray:
    """What knows the labels, up to noise."""
    rng = np.random.default_rng(seed)
    return strength * (2 * truth.Y - 1) + noise * rng.normal(size=truth.Y.shape)


# ---------------------------------------------------------------------- scale and shift


def test_what_is_judged() -> None:
    Y = np.array([[0.0, 1.0, np.nan], [1.0, np.nan, 1.0]])
    judged = np.array([True, True, False])
    one = Judgement.of(Y, None, judged, EVEN)
    assert one.weight.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert one.Y.tolist() == [[0, 1, 0], [1, 0, 1]]
    weighted = Judgement.of(Y, np.array([2.0, 3.0]), judged, EVEN)
    assert weighted.weight.tolist() == [[2, 2, 0], [3, 0, 0]]
    of_entries = Judgement.of(Y, np.arange(6.0).reshape(2, 3), judged, EVEN)
    assert of_entries.weight.tolist() == [[0, 1, 0], [3, 0, 0]]
    assert one.informs
    assert not of_entries.informs  # no negative weighs anything
    assert not Judgement.of(Y, None, ~judged, EVEN).informs
    x = np.array([[0.5, -1.0, 9.0], [2.0, 9.0, 9.0]])
    p = 1 / (1 + np.exp(-x))
    expected = -np.array([2 * np.log(1 - p[0, 0]), 2 * np.log(p[0, 1]), 3 * np.log(p[1, 0])])
    assert weighted.log_loss(x) == pytest.approx(expected.sum() / 7)
    assert_allclose(weighted.losses(x), [expected[:2].sum() / 7, expected[2] / 7])


@pytest.mark.parametrize(
    ("strength", "noise"), [(1.0, 2.0), (0.1, 0.1), (30.0, 60.0), (20.0, 1.0), (-2.0, 1.0), (0, 0)]
)
@pytest.mark.parametrize("offset", [0.0, -3.0])
def test_scale_and_shift_have_the_smallest_loss(
    strength: float, noise: float, offset: float
) -> None:
    """A slow search says so; where the best scale is out of bounds, the one at the bound."""
    truth = judgement()
    x = log_odds(truth, strength, noise) + offset
    weight = truth.weight / truth.weight.sum()
    strength = PRIOR_INFORMATION * np.square(weight).sum()

    def objective(ab: np.ndarray) -> float:
        s = ab[0] * (x - truth.center) + truth.center + ab[1]
        losses = weight * (np.logaddexp(0, s) - truth.Y * s)
        return losses.sum() + strength / 2 * ((ab[0] - 1) ** 2 + ab[1] ** 2)

    bounds = [SCALES, (None, None)]
    best = minimize(objective, [1.0, 0.0], bounds=bounds, method="L-BFGS-B", tol=1e-14)
    a, b, loss = truth.scaled(x)
    assert objective(np.array([a, b])) <= best.fun * (1 + 1e-9) + 1e-12
    assert_allclose([a, b], best.x, rtol=1e-3, atol=1e-3)
    calibrated = Blend(0.0, 0.0, a, b).calibrated(x, truth.center)
    assert loss == pytest.approx(truth.log_loss(calibrated))
    assert truth.scaled_losses(x).sum() == pytest.approx(loss)


def test_what_knows_nothing_says_the_frequency() -> None:
    """However noisy a model is, the scale takes it to the center of each label."""
    rng = np.random.default_rng(0)
    frequency = np.array([-3.0, 0.0, 2.0])
    Y = (rng.random((4000, 3)) < 1 / (1 + np.exp(-frequency))).astype(float)
    truth = Judgement.of(Y, None, np.ones(3, dtype=bool), frequency)
    noise = frequency + 3 * rng.normal(size=Y.shape)
    a, b, loss = truth.scaled(noise)
    assert a == SCALES[0]
    assert abs(b) < 0.1
    knows_frequency = truth.log_loss(np.broadcast_to(frequency, Y.shape))
    assert loss == pytest.approx(knows_frequency, rel=0.1)
    # About even odds, the same scale would say one half.
    even = truth._replace(center=np.zeros(3))
    assert even.scaled(noise)[2] > 1.2 * knows_frequency


# ---------------------------------------------------------------------- weights of the parts


def parts_of(truth: Judgement, head: float, neighbors: float, linear: float) -> HeldOutParts:
    """Parts that know the labels to different degrees, each with noise of its own."""
    made = [log_odds(truth, k, 1.0, seed) for seed, k in enumerate((head, neighbors, linear))]
    return HeldOutParts(made[0], 1 / (1 + np.exp(-made[1])), made[2])


def loss_of(truth: Judgement, parts: HeldOutParts, blend: Blend) -> float:
    return truth.scaled(parts.blended(blend))[2]


@pytest.mark.parametrize("strengths", [(0.2, 2.0, 0.2), (0.2, 0.2, 2.0), (2.0, 0.1, 0.1)])
def test_the_part_that_knows_more_gets_the_weight(strengths: Any) -> None:
    truth = judgement(400)
    parts = parts_of(truth, *strengths)
    blend = choose_blend(parts, truth, HALF, None, None, seed=0)
    v, w = blend.neighbor_weight, blend.linear_weight
    shares = ((1 - v) * (1 - w), v * (1 - w), w)
    assert np.argmax(shares) == np.argmax(strengths)
    plain = Blend(v, w)
    assert loss_of(truth, parts, plain) < (1 - MARGIN) * loss_of(truth, parts, HALF)
    assert (blend.scale, blend.shift) == truth.scaled(parts.blended(plain))[:2]


def test_the_usual_weights_stay_within_the_margin() -> None:
    """Parts that are equally good gain less than the margin; no single one beats the blend."""
    truth = judgement(400)
    shared = log_odds(truth, 1.0, 1.0)
    rng = np.random.default_rng(5)
    head, near = (shared + 0.1 * rng.normal(size=shared.shape) for _ in range(2))
    parts = HeldOutParts(head, 1 / (1 + np.exp(-near)), shared)
    losses = [loss_of(truth, parts, Blend(v, w)) for v in (0, 0.25, 0.9) for w in (0, 0.5, 1)]
    assert (1 - MARGIN) * loss_of(truth, parts, HALF) < min(losses) < loss_of(truth, parts, HALF)
    found = choose_blend(parts, truth, HALF, None, None, seed=0)
    assert (found.neighbor_weight, found.linear_weight) == (0.5, 0.0)
    assert (found.scale, found.shift) == truth.scaled(parts.blended(HALF))[:2]


def test_few_samples_prove_little() -> None:
    """A better part gains 7 % on twelve samples, less than two standard errors, and 35 % on 400."""
    for n, linear_weight in ((12, 0.0), (400, 0.5)):
        truth = judgement(n, missing=0.0)
        parts = parts_of(truth, 0.5, 0.5, 0.9)
        gain = loss_of(truth, parts, HALF) - loss_of(truth, parts, Blend(0.5, 0.5))
        assert gain > MARGIN * loss_of(truth, parts, HALF)
        found = choose_blend(parts, truth, HALF, None, None, seed=0)
        assert (found.neighbor_weight, found.linear_weight) == (0.5, linear_weight)


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_part_alone_needs_no_neighbors(seed: int) -> None:
    """All shares of the neighbours say the same then, but for rounding."""
    truth = judgement(400)
    linear = log_odds(truth, 2.0, 1.0, seed).astype(np.float32)
    head, near = np.random.default_rng(seed).normal(size=(2, *linear.shape)).astype(np.float32)
    parts = HeldOutParts(20 * head, 1 / (1 + np.exp(-near)), linear)
    found = choose_blend(parts, truth, HALF, None, None, seed=0)
    assert (found.neighbor_weight, found.linear_weight) == (0.0, 1.0)
    found = choose_blend(parts, truth, Blend(0.25, 0.0), 0.25, None, seed=0)
    assert (found.neighbor_weight, found.linear_weight) == (0.25, 1.0)


@pytest.mark.parametrize("fixed", [(0.4, None), (None, 0.6), (0.4, 0.6)])
def test_numbers_that_are_given_stay(fixed: Any) -> None:
    truth = judgement(400)
    parts = parts_of(truth, 0.2, 2.0, 0.2)
    default = Blend(*(d if f is None else f for d, f in zip((0.5, 0.0), fixed, strict=True)))
    found = choose_blend(parts, truth, default, *fixed, seed=0)
    for number, name in zip(fixed, ("neighbor_weight", "linear_weight"), strict=True):
        assert number is None or getattr(found, name) == number
    # A part that is not there gets nothing.
    alone = HeldOutParts(parts.head)
    assert choose_blend(alone, truth, Blend(0.0, 0.0), None, None, 0).neighbor_weight == 0


def test_nothing_is_chosen_by_labels_of_one_value() -> None:
    truth = judgement(20)
    alike = truth._replace(Y=np.zeros_like(truth.Y))
    assert choose_blend(parts_of(truth, 1, 1, 1), alike, HALF, None, None, seed=0) is HALF


# ---------------------------------------------------------------------- the mean of members


@pytest.mark.parametrize("linear_weight", [0.0, 0.4, 1.0])
def test_the_mean_of_members_takes_a_larger_scale(linear_weight: float) -> None:
    """By the noise that averages out of signal and noise of known size."""
    M, signal, noise = 5, 1.0, 0.8
    rng = np.random.default_rng(0)
    members = signal * rng.normal(size=(20_000, 3)) + noise * rng.normal(size=(M, 20_000, 3))
    members += [-4.0, 0.0, 4.0]  # what labels differ in is no noise
    ratio = (signal**2 + noise**2) / (signal**2 + noise**2 / M)
    share = 1 - linear_weight
    found = for_ensemble(Blend(0.5, linear_weight, scale=0.7, shift=-0.2), members)
    expected = 0.7 * (1 + share * (np.sqrt(ratio) - 1))
    assert found.scale == pytest.approx(expected, rel=0.02)
    assert (found.neighbor_weight, found.linear_weight) == (0.5, linear_weight)
    assert found.shift == -0.2


def test_members_that_agree_keep_their_scale() -> None:
    same = np.tile(np.random.default_rng(0).normal(size=(1, 50, 2)), (4, 1, 1))
    assert for_ensemble(HALF, same).scale == pytest.approx(1)
    assert for_ensemble(HALF, np.zeros((4, 5, 2))).scale == 1


# ---------------------------------------------------------------------- averaged weights


def test_the_average_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2).double(), nn.Linear(2, 2).double()
    second.bias = first.bias  # both have it: it moves once a step
    n_steps = 7
    average = WeightAverage([first, second], n_steps)
    weights = [first.weight, first.bias, second.weight]
    expected = [w.detach().clone() for w in weights]
    for t in range(1, 40):
        for w in weights:
            w.data.add_(torch.randn_like(w))
        average.update()
        decay = min(1 - 1 / (2 * n_steps), (1 + t) / (10 + t))
        expected = [
            decay * e + (1 - decay) * w.detach() for e, w in zip(expected, weights, strict=True)
        ]
        found = average.state()["averages"]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    trained = [w.detach().clone() for w in weights]
    with average.applied():
        torch.testing.assert_close([w.detach() for w in weights], expected)
    torch.testing.assert_close([w.detach() for w in weights], trained, rtol=0, atol=0)
    again = WeightAverage([first, second], n_steps)
    again.put_state(average.state())
    for each in (average, again):
        each.update()
    torch.testing.assert_close(again.state(), average.state(), rtol=0, atol=0)
    average.put()
    averages = average.state()["averages"]
    torch.testing.assert_close([w.detach() for w in weights], averages, rtol=0, atol=0)


def test_weights_come_back_after_an_error() -> None:
    layer = nn.Linear(2, 2)
    average = WeightAverage([layer], 3)
    before = layer.weight.detach().clone()
    layer.weight.data += 1
    with pytest.raises(RuntimeError), average.applied():
        assert torch.equal(layer.weight, before)
        raise RuntimeError
    assert torch.equal(layer.weight, before + 1)
