"""The contrastive losses: memory, time against the literal formula, 100,000 labels.

Run with ``python -m benchmarks.bench_losses [--json FILE] [--threads 2]``.  Peaks are tallies of
the memory events of ``torch.profiler``, which sees every allocation and release of the CPU
allocator: the largest running sum is the peak added by the call, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks._report import Bar, interleaved, median_ratio, report
from benchmarks.literal_losses import literal_regularized_loss
from sklearn_mlcl.losses import LabelIndices, MSCLoss, PrototypeLoss, RegularizedContrastiveLoss

MIB = 2**20
TILED = 2 * MIB
DENSE = 2**40


def peak_bytes(call: Callable[[], object]) -> int:
    """Largest running sum of what the call allocates and releases."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    results = recorded.profiler.kineto_results
    events = [e for e in results.events() if e.name() == "[memory]"]
    running = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        running += event.nbytes()
        peak = max(peak, running)
    return peak


def problem(B: int, L: int, d: int = 128) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(B, d, generator=generator, requires_grad=True)
    p = torch.randn(L, d, generator=generator, requires_grad=True)
    return z, torch.rand(B, L, generator=generator) < 5 / L, p


def step(B: int, L: int, memory_budget: int) -> Callable[[], None]:
    """Forward and backward of the regularised loss, alpha 0; the gradients are let go."""
    loss = RegularizedContrastiveLoss(memory_budget=memory_budget)
    z, Y, p = problem(B, L)

    def run() -> None:
        loss(z, Y, p).backward()
        z.grad = p.grad = None

    return run


def literal_step(B: int, L: int) -> Callable[[], None]:
    z, Y, p = problem(B, L)

    def run() -> None:
        literal_regularized_loss(z, Y, p, alpha=0.0, temperature=0.1)[1].backward()
        z.grad = p.grad = None

    return run


def memory_bars() -> Iterator[Bar]:
    for name, B, L, budget, goal in (
        ("dense", 256, 500, DENSE, 40),
        ("tiled", 256, 500, TILED, 15),
        ("tiled", 8192, 1000, 2**24, 140),
    ):
        run = step(B, L, budget)
        run()
        yield Bar(f"peak, reg alpha 0, {name}, B {B} L {L}", goal, peak_bytes(run) / MIB, "MiB")


def time_bars() -> Iterator[Bar]:
    for bar, goal, repeats, calls in (
        (
            "time, dense / literal three-way tensor, B 256 L 500",
            0.25,
            3,
            {"ours": step(256, 500, DENSE), "reference": literal_step(256, 500)},
        ),
        (
            "time, tiled / dense, reg alpha 0, B 8192 L 1000",
            1.5,
            3,
            {"ours": step(8192, 1000, 2**24), "reference": step(8192, 1000, DENSE)},
        ),
    ):
        seconds = interleaved(calls, repeats)
        yield Bar(bar, goal, median_ratio(seconds["ours"], seconds["reference"]))


def many_label_step(name: str) -> Callable[[], None]:
    """A first training step at L 100,000: the optimiser's state is part of the peak."""
    loss = {"reg": RegularizedContrastiveLoss, "msc": MSCLoss, "proto": PrototypeLoss}[name](
        n_negatives=4096
    )
    B, L, d = 512, 100_000, 128
    torch.manual_seed(0)
    rows = torch.stack([torch.randperm(L)[:5] for _ in range(B)])
    labels = LabelIndices(rows.flatten(), torch.arange(0, 5 * B + 1, 5), L)
    x, encoder = torch.randn(B, d), torch.nn.Linear(d, d)
    prototypes = torch.nn.Parameter(torch.randn(L, d))
    optimizer = torch.optim.AdamW([*encoder.parameters(), prototypes], lr=1e-3)

    def run() -> None:
        optimizer.zero_grad()
        loss(encoder(x), labels, prototypes).backward()
        optimizer.step()

    return run


def many_label_bars() -> Iterator[Bar]:
    for name in ("reg", "msc", "proto"):
        shape = f"{name}, L 100,000 B 512 d 128"
        peak = peak_bytes(many_label_step(name)) / MIB
        yield Bar(f"peak of a step, {shape}", 1024, peak, "MiB")
        seconds = interleaved({name: many_label_step(name)}, 3)[name]
        yield Bar(f"time of a step, {shape}", 2, min(seconds), "s")


def bars() -> Iterator[Bar]:
    """All bars."""
    yield from memory_bars()
    yield from time_bars()
    yield from many_label_bars()


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=2)


if __name__ == "__main__":
    main()
