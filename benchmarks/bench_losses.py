"""The bars of the contrastive losses: memory, time against the literal formula, 100,000 labels.

Peaks are tallies of the memory events of ``torch.profiler``, which sees every allocation and
release of the CPU allocator: the largest running sum is the peak added by the call, exactly.
Times are minima over repetitions, in one process, so that their ratios mean something.

    python benchmarks/bench_losses.py [--json PATH] [--threads N]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from literal_losses import literal_regularized_loss
from torch.profiler import ProfilerActivity, profile

from sklearn_mlcl.losses import LabelIndices, MSCLoss, PrototypeLoss, RegularizedContrastiveLoss

MIB = 2**20
TILED = 2 * MIB
DENSE = 2**40


@dataclass(frozen=True)
class Bar:
    """One line of the table."""

    bar: str
    goal: float
    measured: float
    unit: str

    def __str__(self) -> str:
        verdict = "ok" if self.measured <= self.goal else "MISSED"
        return f"{self.bar:62s} <= {self.goal:6g} {self.unit:4s} {self.measured:9.3f}  {verdict}"


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


def seconds(call: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


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
    dense, literal = step(256, 500, DENSE), literal_step(256, 500)
    dense()
    literal()
    ratio = seconds(dense, 20) / seconds(literal, 2)
    yield Bar("time, dense / literal three-way tensor, B 256 L 500", 0.25, ratio, "x")
    tiled, dense = step(8192, 1000, 2**24), step(8192, 1000, DENSE)
    ratio = seconds(tiled, 2) / seconds(dense, 2)
    yield Bar("time, tiled / dense, reg alpha 0, B 8192 L 1000", 1.5, ratio, "x")


def many_label_step(name: str) -> Callable[[], None]:
    """A first training step at L 100,000: the optimiser's state is part of the peak."""
    loss = {"reg": RegularizedContrastiveLoss, "msc": MSCLoss, "proto": PrototypeLoss}[name](
        n_negatives=4096
    )
    B, L, d = 512, 100_000, 128
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
        yield Bar(f"peak of a step, {shape}", 1024, peak_bytes(many_label_step(name)) / MIB, "MiB")
        yield Bar(f"time of a step, {shape}", 2, seconds(many_label_step(name), 3), "s")


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the table here")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(machine())
    bars = []
    for bars_of in (memory_bars, time_bars, many_label_bars):
        for bar in bars_of():
            print(bar, flush=True)
            bars.append(bar)
    if arguments.json is not None:
        table = {"machine": machine(), "bars": [asdict(bar) for bar in bars]}
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
