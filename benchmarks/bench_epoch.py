"""An epoch of our net against a hand-written torch loop, and against skorch as shipped.

All train the same module on the same loss with the same optimiser and batch size: 10,000 rows,
100 features, 14 labels. They take turns, one epoch each; a bar is the median of the ratios.

    python -m benchmarks.bench_epoch [--json FILE] [--threads N]
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from skorch import NeuralNet
from skorch.dataset import Dataset
from torch import Tensor, nn

from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, BinaryCrossEntropyLoss
from sklearn_mlcl.modules import MLPEncoder, ProjectionHead
from sklearn_mlcl.modules._encoder import linear_head
from sklearn_mlcl.training import ContrastiveObjective, IndexBatchNet, LogitObjective, RowTensors
from sklearn_mlcl.utils.fit_data import FitData

N_ROWS, N_FEATURES, N_LABELS = 10_000, 100, 14
GOALS = {64: 1.10, 256: 1.05, 1024: 1.05}
REPEATS = {64: 9, 256: 15, 1024: 21}
LEARNING_RATE = 1e-3
CONFIG = {
    "n": N_ROWS,
    "d": N_FEATURES,
    "L": N_LABELS,
    "layers": (256, 256),
    "dropout": 0.4,
    "members": 1,
    "optimizer": "fused AdamW",
}
CPU = torch.device("cpu")


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return features and boolean labels that depend on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    scores = X @ rng.normal(size=(N_FEATURES, N_LABELS)) / 10 + rng.normal(size=N_LABELS) - 1
    return X, scores > 0


def bce_objective() -> nn.Module:
    """Return what ``MultiLabelMLPClassifier`` minimises by default."""
    return LogitObjective(linear_head(256, np.zeros(N_LABELS)), BinaryCrossEntropyLoss())


def contrastive_objective() -> nn.Module:
    """Return what ``ContrastiveMultiLabelClassifier`` minimises by default."""
    prototypes = nn.init.xavier_uniform_(torch.empty(N_LABELS, 128))
    loss = CONTRASTIVE_LOSSES["reg"](temperature=0.1, lambda_reg=1.0)
    return ContrastiveObjective(
        loss,
        ProjectionHead(256, 128),
        linear_head(256, np.zeros(N_LABELS)),
        prototypes=prototypes,
        lambda_joint=1.0,
    )


def our_epoch(module: nn.Module, objective: nn.Module, batch_size: int) -> Callable[[], None]:
    """Return a call that trains our net for one epoch."""
    net = IndexBatchNet(
        module, objective, lr=LEARNING_RATE, weight_decay=0.01, batch_size=batch_size, verbose=0
    ).initialize()
    rows = RowTensors(FitData(*data()), CPU)
    generator = torch.Generator().manual_seed(0)

    def epoch() -> None:
        net.train_rows(rows, None, max_epochs=1, schedule="one_cycle", generator=generator)

    return epoch


def torch_epoch(module: nn.Module, objective: nn.Module, batch_size: int) -> Callable[[], None]:
    """Return a call that trains for one epoch by the loop that one writes by hand."""
    X, Y = (torch.from_numpy(array) for array in data())
    parameters = [*module.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True)
    generator = torch.Generator().manual_seed(0)
    losses = []

    def epoch() -> None:
        module.train()
        objective.train()
        total = torch.zeros(())
        for index in torch.randperm(N_ROWS, generator=generator).split(batch_size):
            optimizer.zero_grad()
            loss = objective(module(X[index]), Y[index], None)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
        losses.append(total.item() / N_ROWS)

    return epoch


class Unweighted(nn.Module):
    """An objective under skorch's two-argument signature of a criterion."""

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of a batch."""
        return self.objective(embedding, labels, None)


def skorch_epoch(module: nn.Module, objective: nn.Module, batch_size: int) -> Callable[[], None]:
    """Return a call that trains skorch's own net for one epoch, with its own loader."""
    net = NeuralNet(
        module,
        Unweighted(objective),
        optimizer=torch.optim.AdamW,
        optimizer__fused=True,
        lr=LEARNING_RATE,
        batch_size=batch_size,
        max_epochs=1,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    ).initialize()
    rows = Dataset(*data())
    return lambda: net.partial_fit(rows)


CONTENDERS = {"ours": our_epoch, "torch": torch_epoch, "skorch": skorch_epoch}


def bars() -> Iterator[Bar]:
    """Yield, for each objective and batch size, our ratio and that of skorch as shipped."""
    for name, make_objective in (("bce", bce_objective), ("contrastive", contrastive_objective)):
        for batch_size, goal in GOALS.items():
            torch.manual_seed(0)
            module, objective = MLPEncoder(N_FEATURES, dropout=0.4), make_objective()
            calls = {
                contender: make(copy.deepcopy(module), copy.deepcopy(objective), batch_size)
                for contender, make in CONTENDERS.items()
            }
            seconds = interleaved(calls, REPEATS[batch_size])
            case = f"torch loop, epoch, {name}, batch {batch_size}"
            config = {**CONFIG, "objective": name, "batch": batch_size}
            torch_seconds = seconds["torch"]
            for contender, bar in (("ours", goal), ("skorch", None)):
                ratio = median_ratio(seconds[contender], torch_seconds)
                yield Bar(f"{contender} / {case}", bar, ratio, config=config)
            yield Bar(case, None, statistics.median(torch_seconds), "s", config=config)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
