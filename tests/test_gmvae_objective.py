"""The objective of C-GMVAE against its formula written as loops, and what its options do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from benchmarks.literal_gmvae import literal_loss
from sklearn_mlcl.modules import GaussianMixtureVAE
from sklearn_mlcl.training.variational import VariationalObjective
from tests.test_gmvae import TIGHT, log_mean, loop_terms, normal_kl, normal_log_density, small_model

L, D = 4, 3


def model_of(policy: str = "skip", **options: Any) -> GaussianMixtureVAE:
    bias = torch.linspace(-1, 1, L)
    model = small_model(empty_label_policy=policy, label_bias=bias, **options)
    if policy == "learned":
        assert model.empty_component is not None
        torch.nn.init.normal_(model.empty_component)
    return model


def rows_of(missing: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels with an empty row, weights."""
    rng = np.random.default_rng(0)
    Y = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]], float)
    if missing:
        Y[2, 1] = Y[4, 0] = Y[4, 3] = np.nan
    X, weight = rng.normal(size=(5, 5)), rng.uniform(0.5, 2, size=5)
    return torch.from_numpy(X), torch.from_numpy(Y), torch.from_numpy(weight)


def mean_over(values: dict[int, float], weight: Tensor) -> float:
    total = sum(float(weight[b]) for b in values)
    return sum(float(weight[b]) * v for b, v in values.items()) / total


def loop_objective(
    model: GaussianMixtureVAE, X: Tensor, Y: Tensor, weight: Tensor, seed: int, **options: Any
) -> tuple[float, float, float]:
    """Return cross-entropies, KL and contrastive term by loops over rows and labels."""
    tau, n_draws, policy = options["temperature"], options["n_latent_samples"], options["policy"]
    torch.manual_seed(seed)
    mean, log_var = model.posterior(X)
    draws = [mean + torch.exp(log_var / 2) * torch.randn_like(mean) for _ in range(n_draws)]
    z0 = (mean + torch.exp(log_var / 2) * torch.randn_like(mean)).tolist()
    means, log_vars = (t.tolist() for t in model.label_gaussians(model.label_embeddings))
    if policy == "standard_normal":
        means.append([0.0] * D), log_vars.append([0.0] * D)
    elif policy == "learned":
        assert model.empty_component is not None
        means.append(model.empty_component[0, 0].tolist())
        log_vars.append(model.empty_component[1, 0].tolist())
    priors = {}
    for b, y in enumerate(Y.tolist()):
        P = [c for c in range(L) if y[c] == 1]
        if not P and y == [0.0] * L and policy != "skip":
            P = [L]
        if P:
            priors[b] = P
    zbar = torch.zeros_like(mean)
    for b, P in priors.items():
        for k in range(D):
            zbar[b, k] = sum(means[c][k] for c in P) / len(P)
    kl = {}
    for b, P in priors.items():
        if options["kl_estimator"] == "mc":
            components = [normal_log_density(z0[b], means[c], log_vars[c]) for c in P]
            q = normal_log_density(z0[b], mean[b].tolist(), log_var[b].tolist())
            kl[b] = q - log_mean(components)
        else:
            q_b = mean[b].tolist(), log_var[b].tolist()
            kl[b] = -log_mean([-normal_kl(*q_b, means[c], log_vars[c]) for c in P])
    known = [b for b, y in enumerate(Y.tolist()) if not all(math.isnan(v) for v in y)]
    positive = [b for b, y in enumerate(Y.tolist()) if 1.0 in y]
    bce, anchors = 0.0, []
    for a, z in enumerate([*draws, zbar]):
        s = model.logits(model.decoder(X, z)).tolist()
        terms = {b: loop_terms(s[b], Y[b].tolist(), tau) for b in range(len(Y))}
        rows = known if a < n_draws else list(priors)
        bce += mean_over({b: terms[b][0] for b in rows}, weight)
        if a in (0, n_draws):
            anchors.append(mean_over({b: terms[b][1] for b in positive}, weight))
    return bce, mean_over(kl, weight), sum(anchors) / 2


@pytest.mark.parametrize("policy", ["skip", "standard_normal", "learned"])
@pytest.mark.parametrize("kl_estimator", ["mc", "variational"])
@pytest.mark.parametrize("missing", [False, True])
def test_terms_are_those_of_loops(policy: str, kl_estimator: str, missing: bool) -> None:
    model, (X, Y, weight) = model_of(policy), rows_of(missing)
    options = {"temperature": 0.7, "n_latent_samples": 2, "kl_estimator": kl_estimator}
    objective = VariationalObjective(**options)
    expected = loop_objective(model, X, Y, weight, seed=3, policy=policy, **options)
    torch.manual_seed(3)
    terms, embedding = objective(model, X, Y, weight)
    assert_allclose([t.item() for t in terms], expected, **TIGHT)
    assert_allclose(embedding.norm(dim=1).detach(), 1, **TIGHT)
    boolean = None if missing else Y.bool()
    if boolean is not None:
        torch.manual_seed(3)
        assert_allclose([t.item() for t in objective(model, X, boolean, weight)[0]], expected)


def test_it_is_what_the_authors_formulation_computes() -> None:
    """Broadcast mixture, identity lookup, sigmoids and logarithms: the same value and gradient."""
    model = small_model().float()
    X, Y, _ = rows_of()
    X, Y = X.float(), Y.clone().float()
    Y[1, 2] = 1  # a row without labels makes it NaN
    objective = VariationalObjective(lambda_bce=0.5, lambda_kl=6.0, n_latent_samples=2)
    values, gradients = [], []
    for loss in (
        lambda: objective.total(objective(model, X, Y, None)[0]),
        lambda: literal_loss(model, X, Y),
    ):
        torch.manual_seed(5)
        values.append(loss())
        gradients.append(torch.autograd.grad(values[-1], model.parameters()))
    assert_allclose(values[0].item(), values[1].item(), rtol=1e-5)
    for ours, theirs in zip(*gradients, strict=True):
        assert_allclose(ours, theirs, atol=2e-5, rtol=1e-4)


def test_weights_count_rows() -> None:
    """A weight of two is a row twice, where nothing is drawn."""
    model, (X, Y, _) = model_of(), rows_of()
    with torch.no_grad():  # no variance, no draws
        model.to_posterior.weight[D:], model.to_posterior.bias[D:] = 0, -1000
    objective = VariationalObjective(kl_estimator="variational")
    weight = torch.tensor([2.0, 1.0, 1.0, 2.0, 1.0]).double()
    twice = torch.tensor([0, 0, 1, 2, 3, 3, 4])
    by_weight = objective(model, X, Y, weight)[0]
    by_rows = objective(model, X[twice], Y[twice], None)[0]
    # Log-variances are cut at -10, so a draw still moves a code by e^-5.
    assert_allclose(by_weight.kl.item(), by_rows.kl.item(), **TIGHT)
    assert_allclose([t.item() for t in by_weight], [t.item() for t in by_rows], rtol=0.02)


@pytest.mark.parametrize("label_branch", [True, False])
def test_all_rows_without_labels_are_finite(label_branch: bool) -> None:
    model, (X, Y, _) = model_of(), rows_of()
    objective = VariationalObjective(label_branch=label_branch)
    for labels in (torch.zeros_like(Y), torch.full_like(Y, torch.nan), torch.zeros_like(Y).bool()):
        terms, _ = objective(model, X, labels, None)
        gradients = torch.autograd.grad(
            objective.total(terms), model.parameters(), allow_unused=True
        )
        assert all(torch.isfinite(t) for t in terms)
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)
        assert terms.kl == terms.contrastive == 0
        assert (terms.bce > 0) != bool(labels.isnan().any())


def test_one_label_has_no_contrast() -> None:
    X, Y, _ = rows_of()
    terms, _ = VariationalObjective()(small_model(n_labels=1), X, Y[:, :1], None)
    assert terms.contrastive == 0 and torch.isfinite(torch.stack(terms)).all()


def test_label_branch_reaches_only_labels_at_hand() -> None:
    """The label encoder runs on the labels of the batch; others have no gradient from the KL."""
    model, (X, Y, _) = model_of(activation="silu"), rows_of()
    Y = Y.clone()
    Y[:, 2] = 0
    objective = VariationalObjective(lambda_bce=0.0, lambda_contrastive=0.0)
    objective.total(objective(model, X, Y, None)[0]).backward()
    gradient = model.label_embeddings.grad
    assert gradient is not None
    assert gradient[[0, 1, 3]].abs().sum(1).min() > 0 and not gradient[2].any()


def test_free_bits_stop_the_pull() -> None:
    model, (X, Y, _) = model_of(), rows_of()
    terms, _ = VariationalObjective()(model, X, Y, None)
    kl = terms.kl.item()
    assert kl > 0
    for bits, pull in ((kl / 2, 1.0), (2 * kl, 0.0)):
        objective = VariationalObjective(lambda_bce=0, lambda_contrastive=0, free_bits=bits)
        (gradient,) = torch.autograd.grad(objective.total(terms), terms.kl, retain_graph=True)
        assert gradient == pull


def test_the_weight_of_the_kl_rises() -> None:
    objective = VariationalObjective(lambda_kl=2.0, kl_warmup_epochs=4)
    shares = []
    for epoch in range(6):
        objective.begin_epoch(epoch)
        shares.append(objective.kl_share)
    assert shares == [0, 0.25, 0.5, 0.75, 1, 1]


def test_sampled_labels_leave_the_kl_as_it_is() -> None:
    model, (X, Y, _) = model_of(), rows_of()
    Y = Y.clone()
    Y[:, 2] = 0
    values = []
    for n_negatives in (None, 1, 50):
        objective = VariationalObjective(n_negatives=n_negatives, kl_estimator="variational")
        torch.manual_seed(0)
        values.append(objective(model, X, Y, None)[0])
    assert_allclose(values[0].kl.item(), values[1].kl.item(), **TIGHT)
    # One label is absent and one is drawn: nothing is left to chance.
    assert_allclose([t.item() for t in values[0]], [t.item() for t in values[2]], **TIGHT)
