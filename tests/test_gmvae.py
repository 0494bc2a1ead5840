"""The mixture, the model and the objective of C-GMVAE against formulas written as loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor

from sklearn_mlcl.modules import (
    GaussianMixtureVAE,
    MLPEncoder,
    gaussian_kl,
    mixture_kl,
    mixture_kl_bounds,
    mixture_log_density,
)
from sklearn_mlcl.training._gmvae_terms import LabelColumns, label_terms

TIGHT = {"rtol": 1e-8, "atol": 1e-8}


def mixtures(seed: int, B: int = 6, K: int = 5, D: int = 4) -> tuple[Tensor, ...]:
    """Posteriors, Gaussians and members; row 1 has a single member, row 0 has none."""
    rng = np.random.default_rng(seed)
    q = torch.from_numpy(rng.normal(size=(2, B, D)))
    p = torch.from_numpy(rng.normal(size=(2, K, D)))
    members = rng.random((B, K)) < 0.5
    members[0], members[1] = False, np.arange(K) == 2
    return *q, *p, torch.from_numpy(members)


def normal_log_density(z: Any, mean: Any, log_var: Any) -> float:
    """Without the constant, as the model has it."""
    total = 0.0
    for k in range(len(z)):
        total -= 0.5 * (log_var[k] + (z[k] - mean[k]) ** 2 / math.exp(log_var[k]))
    return total


def normal_kl(mean: Any, log_var: Any, other_mean: Any, other_log_var: Any) -> float:
    total = 0.0
    for m, v, om, ov in zip(mean, log_var, other_mean, other_log_var, strict=True):
        total += 0.5 * (ov - v + (math.exp(v) + (m - om) ** 2) / math.exp(ov) - 1)
    return total


def log_mean(terms: list[float]) -> float:
    return math.log(sum(math.exp(term) for term in terms) / len(terms))


# ---------------------------------------------------------------------- the mixture


@pytest.mark.parametrize("seed", range(3))
def test_mixture_density_and_bounds_are_those_of_loops(seed: int) -> None:
    mean, log_var, means, log_vars, members = mixtures(seed)
    z = mean + 0.3
    density = mixture_log_density(z, means, log_vars, members)
    bounds = torch.stack(mixture_kl_bounds(mean, log_var, means, log_vars, members))
    assert not density[0] and not bounds[:, 0].any()
    for b in range(1, len(z)):
        P = members[b].nonzero().ravel().tolist()
        if not P:
            continue
        args = [(means[k].tolist(), log_vars[k].tolist()) for k in P]
        expected = log_mean([normal_log_density(z[b].tolist(), *arg) for arg in args])
        assert_allclose(density[b], expected, **TIGHT)
        kl = [normal_kl(mean[b].tolist(), log_var[b].tolist(), *arg) for arg in args]
        entropy = sum(0.5 * (v + 1) for v in log_var[b].tolist())
        overlaps = [
            normal_log_density(
                mean[b].tolist(),
                m,
                [math.log(math.exp(s) + math.exp(v)) for s, v in zip(log_var[b], lv, strict=True)],
            )
            for m, lv in args
        ]
        lower = -entropy - log_mean(overlaps)
        expected_bounds = [lower, -log_mean([-k for k in kl]), sum(kl) / len(kl)]
        assert_allclose(bounds[:, b], expected_bounds, **TIGHT)


def test_one_label_a_row_is_the_divergence_of_gaussians() -> None:
    mean, log_var, means, log_vars, _ = mixtures(4)
    owner = torch.tensor([0, 1, 2, 3, 4, 0])
    members = torch.nn.functional.one_hot(owner).bool()
    exact = gaussian_kl(mean, log_var, means[owner], log_vars[owner])
    _, variational, jensen = mixture_kl_bounds(mean, log_var, means, log_vars, members)
    assert_allclose(variational, exact, **TIGHT)
    assert_allclose(jensen, exact, **TIGHT)
    torch.manual_seed(0)
    many = [t.repeat(20_000, 1) for t in (mean[:1], log_var[:1])]
    draws = mixture_kl(*many, means, log_vars, members[:1].repeat(20_000, 1))
    assert abs(draws.mean() - exact[0]) < 4 * draws.std() / len(draws) ** 0.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.05, 3.0))
def test_bounds_are_ordered_about_the_divergence(seed: int, scale: float) -> None:
    mean, log_var, means, log_vars, members = (
        t if t.dtype == torch.bool else scale * t for t in mixtures(seed)
    )
    lower, variational, jensen = mixture_kl_bounds(mean, log_var, means, log_vars, members)
    assert (lower <= variational + 1e-9).all() and (variational <= jensen + 1e-9).all()
    assert (variational >= -1e-9).all()
    torch.manual_seed(seed)
    n = 4000
    row = [mean[1:2].repeat(n, 1), log_var[1:2].repeat(n, 1)]
    draws = mixture_kl(*row, means, log_vars, members[1:2].repeat(n, 1))
    slack = 6 * draws.std() / n**0.5
    assert lower[1] - slack <= draws.mean() <= variational[1] + slack


@pytest.mark.parametrize("estimator", ["mc", "variational"])
def test_components_that_are_not_members_get_no_gradient(estimator: str) -> None:
    """Not even where a member is so far away that its density underflows."""
    mean, log_var, means, log_vars, _ = mixtures(5, B=2, K=3)
    means = means + torch.tensor([[2000.0], [0.0], [0.0]])
    members = torch.tensor([[True, False, False], [True, True, False]])
    p = [t.clone().requires_grad_() for t in (means, log_vars)]
    kl = mixture_kl(mean, log_var, *p, members, estimator=estimator)
    assert torch.isfinite(kl).all() and kl[0] > 1e5
    for gradient in torch.autograd.grad(kl[0], p):
        assert gradient[0].abs().sum() > 0 and not gradient[1:].any()


def test_unknown_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match='"mc" or "variational", got \'exact\''):
        mixture_kl(*mixtures(0), estimator="exact")


# ---------------------------------------------------------------------- terms on logits


def labels_of(seed: int, B: int = 6, L: int = 7, missing: float = 0.0) -> Tensor:
    rng = np.random.default_rng(seed)
    Y = (rng.random((B, L)) < 0.4).astype(float)
    Y[0], Y[1:, 1] = 0, 1
    Y[rng.random((B, L)) < missing] = np.nan
    return torch.from_numpy(Y)


def loop_terms(s: Any, y: Any, tau: float) -> tuple[float, float]:
    """Cross-entropy and contrastive loss of one row, NaN labels left out."""
    known = [c for c in range(len(s)) if not math.isnan(y[c])]
    P = [c for c in known if y[c] == 1]
    bce = 0.0
    for c in known:
        p = 1 / (1 + math.exp(-s[c]))
        bce -= math.log(p) if y[c] == 1 else math.log(1 - p)
    if not P:
        return bce, 0.0
    denominator = sum(math.exp(s[c] / tau) for c in known)
    return bce, -sum(math.log(math.exp(s[c] / tau) / denominator) for c in P) / len(P)


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_terms_are_those_of_loops(temperature: float, missing: float) -> None:
    Y = labels_of(0, missing=missing)
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(2, *Y.shape)))
    found = label_terms(logits, LabelColumns.of(Y), temperature)
    for a in range(2):
        for b in range(len(Y)):
            expected = loop_terms(logits[a, b].tolist(), Y[b].tolist(), temperature)
            assert_allclose([t[a, b] for t in found], expected, **TIGHT)


@pytest.mark.parametrize("size", [16.7, 200.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_logits_are_finite(size: float, dtype: torch.dtype) -> None:
    """Right or wrong: no 0 log 0, and an error as large as the logit."""
    Y = labels_of(3, missing=0.2)
    sign = torch.where(Y == 1, 1.0, -1.0).to(dtype)
    for direction in (1, -1):
        logits = (direction * size * sign)[None].requires_grad_()
        terms = label_terms(logits, LabelColumns.of(Y), 0.1)
        (gradient,) = torch.autograd.grad(sum(t.sum() for t in terms), logits)
        assert all(torch.isfinite(t).all() for t in (*terms, gradient))
        wrong = size * (~Y.isnan()).sum(1) if direction < 0 else torch.zeros(len(Y))
        assert_allclose(terms[0][0].detach(), wrong, atol=1e-4, rtol=1e-6)


def test_a_row_of_missing_labels_and_a_single_label_are_finite() -> None:
    Y = torch.tensor([[np.nan, np.nan], [1.0, np.nan], [0.0, 0.0]])
    logits = torch.randn(1, 3, 2, requires_grad=True)
    terms = label_terms(logits, LabelColumns.of(Y), 1.0)
    (gradient,) = torch.autograd.grad(sum(t.sum() for t in terms), logits)
    assert torch.isfinite(gradient).all() and not gradient[0, 0].any()
    one = label_terms(torch.randn(1, 4, 1), LabelColumns.of(torch.ones(4, 1)), 1.0)
    assert not one[1].any()


def test_sampled_negatives_estimate_the_full_sums() -> None:
    """Cross-entropy without bias; the drawn labels stand for all that are not active."""
    torch.manual_seed(0)
    Y = torch.zeros(3, 50, dtype=torch.bool)
    Y[0, 3] = Y[0, 7] = Y[1, 7] = True
    logits = torch.randn(1, 3, 50, dtype=torch.float64)
    full = label_terms(logits, LabelColumns.of(Y), 1.0)
    draws = []
    for _ in range(400):
        columns = LabelColumns.of(Y, n_negatives=12)
        assert columns.index is not None and columns.weight is not None
        assert columns.index[:2].tolist() == [3, 7] and columns.weight.sum() == 50
        assert columns.positive.sum() == 3 and columns.empty.tolist() == [False, False, True]
        draws.append(label_terms(logits[..., columns.index], columns, 1.0)[0])
    spread = torch.stack(draws)
    assert_allclose(spread.mean(0), full[0], rtol=0, atol=4 * float(spread.std(0).max()) / 20)


def test_enough_negatives_are_all_labels() -> None:
    columns = LabelColumns.of(labels_of(0), n_negatives=100)
    assert columns.index is None and columns.weight is None


# ---------------------------------------------------------------------- the model


def small_model(n_labels: int = 4, **options: Any) -> GaussianMixtureVAE:
    """Return a model of 5 features and 3 latent dimensions."""
    torch.manual_seed(0)
    encoder = MLPEncoder(5, hidden_layer_sizes=(8,))
    return GaussianMixtureVAE(
        torch.nn.Identity(), encoder, 5, 8, n_labels, latent_dim=3, embedding_dim=6,
        decoder_hidden=7, label_hidden_layer_sizes=(9, 8), **options,
    ).double()  # fmt: skip


def test_decoder_is_one_layer_on_features_and_code_side_by_side() -> None:
    model = small_model()
    x, z = torch.randn(2, 5).double(), torch.randn(2, 3).double()
    decoder = model.decoder
    assert decoder.from_features is not None
    joint = torch.cat([decoder.from_features.weight, decoder.from_latent.weight], dim=1)
    hidden = torch.relu(torch.cat([x, z], dim=1) @ joint.T + decoder.from_latent.bias)
    u = torch.nn.functional.leaky_relu(decoder.output(hidden), 0.01)
    expected = u / u.norm(dim=1, keepdim=True)
    assert_allclose(decoder(x, z).detach(), expected.detach(), **TIGHT)
    assert (joint.abs() <= (5 + 3) ** -0.5).all()


def test_label_encoder_starts_at_the_embeddings() -> None:
    model = small_model().eval()
    index = torch.tensor([3, 1])
    embeddings, _ = model.labels(index)
    means, log_vars = model.label_gaussians(embeddings)
    first, second = model.label_encoder[2][0], model.label_encoder[2][3]
    h = torch.relu(model.label_embeddings[index] + model.label_offset)
    h = torch.relu(second(torch.relu(first(h))))
    both = h @ model.to_label_gaussian.weight.T + model.to_label_gaussian.bias
    assert_allclose(torch.cat([means, log_vars], 1).detach(), both.detach(), **TIGHT)


def test_without_the_skip_connection_only_the_code_is_decoded() -> None:
    model = small_model(concat_input=False)
    z = torch.randn(2, 3).double()
    x = torch.randn(2, 5).double()
    assert torch.equal(model.decoder(x, z), model.decoder(x + 1, z))


@pytest.mark.parametrize("size", [-200.0, 200.0])
def test_extreme_log_variances_are_cut(size: float) -> None:
    model = small_model().float()
    with torch.no_grad():
        model.to_posterior.bias[3:] = size
        model.to_label_gaussian.bias[3:] = -size
    q, p = model.posterior(torch.randn(6, 5)), model.label_gaussians(model.label_embeddings)
    for estimator in ("mc", "variational"):
        kl = mixture_kl(*q, *p, labels_of(0, L=4).bool(), estimator=estimator)
        gradients = torch.autograd.grad(kl.sum(), model.parameters(), allow_unused=True,
                                        retain_graph=True)  # fmt: skip
        assert torch.isfinite(kl).all()
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"empty_label_policy must be one of .* got 'drop'"):
        small_model(empty_label_policy="drop")
