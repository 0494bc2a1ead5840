"""One fit shared by the processes of a group: gradients, whole fits, CPU time, a lost process.

Each process is started as torchrun would, on this machine.

    python -m benchmarks.bench_parallel [--json FILE] [--threads 1]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import Tensor, nn

from benchmarks._data import UNREGULARISED, label_rows
from benchmarks._report import Bar, report
from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES
from sklearn_mlcl.modules import ProjectionHead
from sklearn_mlcl.persistence import FitCheckpoint
from sklearn_mlcl.training import ContrastiveObjective, LogitObjective
from sklearn_mlcl.training import _parallel as parallel

#: Seconds that processes may take.
PATIENCE = 600
BATCH, LABELS, FEATURES = 2_048, 1_000, 100


# ---------------------------------------------------------------------- processes


def in_processes(count: int, module: str, *args: str, dies: int = -1) -> list[Any]:
    """Run ``python -m module`` in a group of processes; return what each printed last, as JSON.

    The one with the number ``dies`` may be killed; then nothing is returned.
    """
    with tempfile.TemporaryDirectory() as folder:
        address = {"WORLD_SIZE": str(count), "ADDRESS": f"file://{folder}/store"}
        started = [
            subprocess.Popen(
                [sys.executable, "-m", module, *args],
                cwd=Path(__file__).parents[1],
                env={**os.environ, **address, "RANK": str(k), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for k in range(count)
        ]
        ended = [process.communicate(timeout=PATIENCE) for process in started]
    codes = [process.returncode for process in started]
    if dies >= 0:
        if codes[dies] != -signal.SIGKILL or 0 in codes:
            raise RuntimeError(f"expected a lost process, got {codes}: {ended}")
        return []
    if any(codes):
        raise RuntimeError(f"processes ended with status {codes}: {[err for _, err in ended]}")
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def join_group() -> int:
    """Join the group of :func:`in_processes`; return the number of this process."""
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if count > 1:
        dist.init_process_group(
            "gloo", init_method=os.environ["ADDRESS"], rank=number, world_size=count
        )
    return number


# ---------------------------------------------------------------------- gradients


def objectives(n_labels: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield every loss as the objective of an embedding of 6 numbers, in float64."""
    for name, contrastive in CONTRASTIVE_LOSSES.items():
        uses = contrastive.uses_prototypes
        made = ContrastiveObjective(
            contrastive(temperature=0.5),
            ProjectionHead(6, 4),
            nn.Linear(6, n_labels),
            prototypes=torch.randn(n_labels, 4) if uses else None,
            lambda_joint=0.5,
        )
        yield name, made.double()
    for name, logit in LOGIT_LOSSES.items():
        yield name, LogitObjective(nn.Linear(6, n_labels), logit(), feature_decay=0.1).double()


def gradients(
    encoder: nn.Module,
    objective: nn.Module,
    batch: tuple[Tensor, Tensor, Tensor | None],
    processes: parallel.Processes | None,
) -> Tensor:
    """Return all gradients of a batch, by this process or shared."""
    X, labels, weight = batch
    if processes is not None:
        processes.n_samples = len(X)
    own = X if processes is None else X[processes.samples(len(X))]
    if objective.own_labels:
        labels, weight = parallel.own_rows(labels, weight)
    parameters = [*encoder.parameters(), *objective.parameters()]
    for parameter in parameters:
        parameter.grad = None
    value = objective(encoder(own), labels, weight)
    value.backward()
    if processes is not None:
        value = processes.sum_gradients(value, processes.learning(parameters), parameters)
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None] + [value[None]])


def gradient_gap() -> float:
    """Return the largest difference of gradients: every loss, missing labels, weights, few rows."""
    torch.manual_seed(0)
    gap = 0.0
    with parallel.taking_part(True) as processes:
        for n in (13, 3):
            X, labels = torch.randn(n, 5).double(), (torch.rand(n, 7) < 0.4).double()
            missing = labels.masked_fill(torch.rand(n, 7) < 0.2, torch.nan)
            weights = (None, torch.rand(n).double(), torch.rand(n, 7).double())
            for _, objective in objectives(7):
                encoder = nn.Sequential(nn.Linear(5, 6), nn.Tanh()).double()
                for given in (labels.bool(), missing):
                    for weight in weights:
                        batch = (X, given, weight)
                        shared = gradients(encoder, objective, batch, processes)
                        with parallel.alone():
                            alone = gradients(encoder, objective, batch, None)
                        gap = max(gap, float((shared - alone).abs().max()))
    return gap


# ---------------------------------------------------------------------- whole fits


def quiet(make: Any, **changes: Any) -> Any:
    """Return a small estimator whose training draws only the order of the samples."""
    clf = make(max_epochs=4, hidden_layer_sizes=(32,), random_state=0, **UNREGULARISED)
    return clf.set_params(**changes)


def fit_gap(control: bool) -> float:
    """Return the largest difference of probabilities between a shared fit and one alone.

    The control does not average gradients: each process learns from its own samples of a batch.
    """
    X, Y = label_rows(400, 10, 6)
    if control:
        parallel.Processes.add = lambda self, tensor: tensor  # type: ignore[method-assign]
    gap = 0.0
    for make in (MultiLabelMLPClassifier, ContrastiveMultiLabelClassifier):
        shared = quiet(make).fit(X, Y).predict_proba(X)
        alone = quiet(make, net_params__data_parallel=False).fit(X, Y).predict_proba(X)
        gap = max(gap, float(abs(shared - alone).max()))
    return gap


class Told:
    """CPU and wall time of this process in collectives, while they are used as a context."""

    cpu = wall = 0.0

    def __enter__(self) -> None:
        self._begun = time.process_time(), time.perf_counter()

    def __exit__(self, *error: object) -> None:
        cpu, wall = self._begun
        Told.cpu += time.process_time() - cpu
        Told.wall += time.perf_counter() - wall


def cpu_seconds(
    make: Any, n_epochs: int = 2, n_labels: int = LABELS, batch: int = BATCH, width: int = 256
) -> dict[str, float]:
    """Return the CPU time of a fit in this process, the least of three, and what it spends where.

    With two epochs it has eight steps. CPU time in collectives is part of that of the fit.
    """
    X, Y = label_rows(4 * batch, FEATURES, n_labels)
    single = {} if make is CGMVAEClassifier else {"n_estimators": 1, "linear_weight": 0.0}
    clf = make(
        max_epochs=n_epochs,
        batch_size=batch,
        hidden_layer_sizes=(width, width),
        neighbor_weight=0.0,
        validation=None,
        random_state=0,
        **single,
    )
    # What a process does once only: imports of torch, connections.
    clone(clf).fit(X[:batch], Y[:batch])
    parallel._told = Told
    found = []
    for _ in range(3):
        Told.cpu = Told.wall = 0.0
        start = time.process_time()
        clf.fit(X, Y)
        cpu = time.process_time() - start
        found.append({"cpu": cpu, "collectives": Told.cpu, "waiting": Told.wall - Told.cpu})
    return min(found, key=lambda times: times["cpu"])


class Killed(Callback):
    """Kills this process in the third epoch, if it is the one to be killed."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if self.wanted and len(net.history) == 3:
            os.kill(os.getpid(), signal.SIGKILL)


def resumed_fit(folder: str, dies: str) -> list[float]:
    """Return probabilities of a fit whose state is kept; a process may be lost."""
    X, Y = label_rows(300, 10, 6)
    clf = MultiLabelMLPClassifier(
        max_epochs=4,
        hidden_layer_sizes=(32,),
        random_state=0,
        checkpoint=FitCheckpoint(folder, every=1),
        callbacks=[Killed(os.environ["RANK"] == dies)],
    )
    return [float(p) for p in clf.fit(X, Y).predict_proba(X).ravel()]


KINDS: dict[str, Callable[..., Any]] = {
    "gradients": gradient_gap,
    "fit": lambda: fit_gap(control=False),
    "control": lambda: fit_gap(control=True),
    "contrastive": lambda *sizes: cpu_seconds(ContrastiveMultiLabelClassifier, *map(int, sizes)),
    "mlp": lambda *sizes: cpu_seconds(MultiLabelMLPClassifier, *map(int, sizes)),
    "cgmvae": lambda *sizes: cpu_seconds(CGMVAEClassifier, *map(int, sizes)),
    "resume": resumed_fit,
}


def run(kind: str, *args: str) -> None:
    """Do the work of one process and print it."""
    join_group()
    print(json.dumps(KINDS[kind](*args)), flush=True)
    if dist.is_initialized():
        # The control's processes go their own ways.
        with suppress(RuntimeError):
            dist.barrier()
        dist.destroy_process_group()


def restart_gap() -> float:
    """Return the difference of a fit that lost a process and went on, to one left alone."""

    def fitted(folder: str, dies: int) -> list[Any]:
        args = ("benchmarks.bench_parallel", "--kind", "resume", folder, str(dies))
        return in_processes(2, *args, dies=dies)

    gap = 0.0
    with tempfile.TemporaryDirectory() as folder:
        whole = fitted(folder, -1)
        for dies in (0, 1):
            fitted(folder, dies)
            if not list(Path(folder).iterdir()):
                raise RuntimeError("no state was kept")
            again = fitted(folder, -1)
            gap = max(gap, float(np.abs(np.subtract(whole, again)).max()))
    return gap


def bars() -> Iterator[Bar]:
    """Differences to a fit alone, and the CPU time of a process."""

    def measured(count: int, kind: str) -> list[Any]:
        return in_processes(count, "benchmarks.bench_parallel", "--kind", kind)

    for count in (2, 4):
        gap = max(measured(count, "gradients"))
        yield Bar(f"gradients of {count} processes, float64: difference", 1e-10, gap, "")
    yield Bar("whole fit, 2 processes: difference", 1e-5, max(measured(2, "fit")), "")
    control = max(measured(2, "control"))
    yield Bar("the same without sums over processes", 1e-2, control, "", True)
    config = {"n": 4 * BATCH, "d": FEATURES, "L": LABELS, "batch": BATCH, "members": 1}
    for kind in ("contrastive", "mlp", "cgmvae"):
        (one,), two = measured(1, kind), measured(2, kind)
        most = max(two, key=lambda times: times["cpu"])
        cpu = most["cpu"] / one["cpu"]
        yield Bar(f"CPU time of one of 2 processes, {kind}", 0.65, cpu, config=config)
        shares = {"of it in collectives": most["collectives"] / one["cpu"]}
        shares |= {"waiting for the other": most["waiting"] / one["cpu"]}
        for name, share in shares.items():
            yield Bar(f"  {name}", None, share, config=config)
    yield Bar("a process killed, resumed: difference", 0.0, restart_gap(), "")


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--kind"]:
        run(*sys.argv[2:])
    else:
        main()
