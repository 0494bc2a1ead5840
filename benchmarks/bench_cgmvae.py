"""A training step of C-GMVAE against the authors' formulation, and with 100,000 labels.

Run with ``python -m benchmarks.bench_cgmvae [--json FILE] [--threads 2]``. Batches of 128 rows, 500
features, embeddings of 2048, about 6 labels a row. Peaks are tallies of the memory events of
``torch.profiler``, as in ``bench_losses``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from benchmarks._report import Bar, interleaved, median_ratio, report
from benchmarks.bench_losses import MIB, peak_bytes
from benchmarks.literal_gmvae import broadcast_log_density, literal_loss
from sklearn_mlcl.modules import GaussianMixtureVAE, MLPEncoder, mixture_log_density
from sklearn_mlcl.training.variational import VariationalObjective

B, N_FEATURES, LATENT, EMBEDDING = 128, 500, 64, 2048


def labels_of(L: int, per_row: int) -> Tensor:
    """Labels (B, L), drawn with a mean of about ``per_row`` a row, none without."""
    Y = torch.rand(B, L) < per_row / L
    Y[torch.arange(B), torch.randint(L, (B,))] = True
    return Y


def model_of(L: int, embedding_dim: int, concat_input: bool) -> GaussianMixtureVAE:
    """A model of the size of the release."""
    encoder = MLPEncoder(N_FEATURES, hidden_layer_sizes=(256, 512, 256), activation="relu")
    return GaussianMixtureVAE(
        torch.nn.Identity(), encoder, N_FEATURES, 256, L, latent_dim=LATENT,
        embedding_dim=embedding_dim, dropout=0.5, concat_input=concat_input,
    )  # fmt: skip


def steps(L: int) -> dict[str, Callable[[], None]]:
    """Return forward and backward of the same model in both formulations."""
    torch.manual_seed(0)
    model, X, Y = model_of(L, EMBEDDING, True), torch.randn(B, N_FEATURES), labels_of(L, 6)
    objective = VariationalObjective(lambda_kl=6.0, n_latent_samples=2)
    numbers = Y.float()

    def ours() -> None:
        model.zero_grad()
        objective.total(objective(model, X, Y, None)[0]).backward()

    def authors() -> None:
        model.zero_grad()
        literal_loss(model, X, numbers).backward()

    return {"ours": ours, "authors": authors}


def mixtures(L: int) -> dict[str, Callable[[], None]]:
    """Return forward and backward of the mixture's log density alone, in both formulations."""
    torch.manual_seed(0)
    Y, z = labels_of(L, 6), torch.randn(B, LATENT, requires_grad=True)
    means, log_vars = (torch.randn(L, LATENT, requires_grad=True) for _ in range(2))
    leaves, numbers = (z, means, log_vars), Y.float()

    def ours() -> None:
        torch.autograd.grad(mixture_log_density(z, means, log_vars, Y).sum(), leaves)

    def authors() -> None:
        density = broadcast_log_density(z, means, torch.exp(log_vars), numbers)
        torch.autograd.grad(density.sum(), leaves)

    return {"ours": ours, "authors": authors}


def ratio_bars() -> Iterator[Bar]:
    """Yield how much faster and smaller we are."""
    for L, goal, repeats in ((983, 2.5, 9), (4000, 8, 5)):
        seconds = interleaved(steps(L), repeats)
        ratio = median_ratio(seconds["authors"], seconds["ours"])
        yield Bar(f"step, authors / ours, B 128 E 2048 L {L}", goal, ratio, at_least=True)
        yield Bar(f"step, ours, B 128 E 2048 L {L}", None, min(seconds["ours"]), "s")
    calls = mixtures(4000)
    seconds = interleaved(calls, 9)
    ratio = median_ratio(seconds["authors"], seconds["ours"])
    yield Bar("mixture term, authors / ours, L 4000", 50, ratio, at_least=True)
    peaks = {name: peak_bytes(call) for name, call in calls.items()}
    share = peaks["ours"] / peaks["authors"]
    yield Bar("mixture term, memory added, ours / authors, L 4000", 0.05, share)


def many_labels() -> Callable[[], None]:
    """Return a call that builds a model for 100,000 labels and trains it for two steps."""
    L = 100_000
    torch.manual_seed(0)
    Y = torch.zeros(B, L, dtype=torch.bool)
    Y[torch.arange(B).repeat_interleave(5), torch.randint(L, (5 * B,))] = True
    X = torch.randn(B, N_FEATURES)

    def run() -> None:
        step = many_label_step(X, Y)
        step()
        step()

    return run


def many_label_step(X: Tensor, Y: Tensor) -> Callable[[], None]:
    """Return a training step, optimiser included, with sampled negatives."""
    model = model_of(Y.shape[1], 256, False)
    objective = VariationalObjective(n_negatives=4096)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        objective.total(objective(model, X, Y, None)[0]).backward()
        optimizer.step()

    return step


def many_label_bars() -> Iterator[Bar]:
    """Yield memory and time with 100,000 labels."""
    case = "L 100,000 B 128 E 256, 5 labels a row, 4,096 negatives"
    peak = peak_bytes(many_labels()) / MIB
    yield Bar(f"peak, model and optimiser included, {case}", 1.2 * 1024, peak, "MiB")
    Y = torch.zeros(B, 100_000, dtype=torch.bool)
    Y[torch.arange(B).repeat_interleave(5), torch.randint(100_000, (5 * B,))] = True
    step = many_label_step(torch.randn(B, N_FEATURES), Y)
    yield Bar(f"step, {case}", 2, min(interleaved({"ours": step}, 3)["ours"]), "s")


def bars() -> Iterator[Bar]:
    """All bars."""
    yield from ratio_bars()
    yield from many_label_bars()


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
