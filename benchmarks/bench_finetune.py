"""An epoch of fine-tuning against a hand-written torch loop: CPU time and memory.

Both train the same transformer (4 layers of width 256, dropout 0.1) on token ids, with the same
objective, batches, optimizer, schedule and clipping: 256 texts of 64 tokens, 14 labels, batches of
128. They take turns, one epoch each; a bar is the median of the ratios of CPU time. Memory is what
the training adds to the peak of a process of its own. Last, a batch of 512 texts at once against
the same batch in chunks of 64.

    python -m benchmarks.bench_finetune [--json FILE] [--threads N]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES
from sklearn_mlcl.modules import ProjectionHead
from sklearn_mlcl.modules._encoder import linear_head
from sklearn_mlcl.training import ContrastiveObjective, IndexBatchNet, RowTensors
from sklearn_mlcl.training.optimizers import SCHEDULES
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.runtime import seeded

N_TEXTS, LENGTH, N_WORDS, N_LABELS = 256, 64, 5_000, 14
WIDTH, N_LAYERS, DROPOUT = 256, 4, 0.1
BATCH, REPEATS = 128, 3
LARGE_BATCH, CHUNK = 512, 64
RATES = ENCODER_LR, LEARNING_RATE = 2e-5, 1e-3
LARGEST_NORM = 1.0
TIME_GOAL, MEMORY_GOAL = 1.05, 1.10
CONFIG = {"n": N_TEXTS, "length": LENGTH, "L": N_LABELS, "layers": (WIDTH,) * N_LAYERS}


class Transformer(nn.Module):
    """Token ids to the mean of their last hidden states; 0 is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(N_WORDS, WIDTH, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 4 * WIDTH, dropout=DROPOUT, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, N_LAYERS, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return embeddings (n, WIDTH) of ids (n, LENGTH)."""
        known = ids > 0
        hidden = self.layers(self.words(ids) + self.places, src_key_padding_mask=~known)
        return (hidden * known[..., None]).sum(1) / known.sum(1, keepdim=True)


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids of texts of several lengths, and labels that some words bring."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, N_WORDS, (n, LENGTH))
    ids[np.arange(LENGTH) >= rng.integers(LENGTH // 2, LENGTH + 1, n)[:, None]] = 0
    words = rng.integers(1, N_WORDS, (N_LABELS, N_WORDS // 50))
    return ids, np.stack([np.isin(ids, own).any(axis=1) for own in words], axis=1)


def parts() -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the default objective of ``ContrastiveMultiLabelClassifier``."""
    torch.manual_seed(0)
    objective = ContrastiveObjective(
        CONTRASTIVE_LOSSES["reg"](temperature=0.2, lambda_reg=1.0),
        ProjectionHead(WIDTH, 64),
        linear_head(WIDTH, np.zeros(N_LABELS)),
        prototypes=nn.init.xavier_uniform_(torch.empty(N_LABELS, 64)),
        lambda_joint=2.0,
    )
    return Transformer(), objective


def our_epoch(
    n: int = N_TEXTS, batch_size: int = BATCH, chunk_size: int | None = None
) -> Callable[[], None]:
    """Return a call that trains our net for one epoch."""
    net = IndexBatchNet(
        *parts(),
        lr=LEARNING_RATE,
        encoder_lr=ENCODER_LR,
        grad_clip=LARGEST_NORM,
        weight_decay=0.01,
        batch_size=batch_size,
        chunk_size=chunk_size,
        verbose=0,
    ).initialize()
    rows = RowTensors(FitData(*data(n)), torch.device("cpu"))

    def epoch() -> None:
        with seeded(0) as streams:
            generator = streams.on(torch.device("cpu"))
            net.train_rows(rows, None, max_epochs=1, schedule="one_cycle", generator=generator)

    return epoch


def torch_epoch(n: int = N_TEXTS, batch_size: int = BATCH) -> Callable[[], None]:
    """Return a call that trains for one epoch by the loop that one writes by hand."""
    module, objective = parts()
    ids, labels = (torch.from_numpy(array) for array in data(n))
    groups = [
        {"params": list(module.parameters()), "lr": ENCODER_LR},
        {"params": list(objective.parameters()), "lr": LEARNING_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    trained = [p for group in groups for p in group["params"]]
    n_steps = -(-n // batch_size)

    def epoch() -> None:
        module.train()
        objective.train()
        total = 0.0
        for step, index in enumerate(torch.randperm(n).split(batch_size)):
            factor = SCHEDULES["one_cycle"](step / n_steps, 0)
            for group, rate in zip(optimizer.param_groups, RATES, strict=True):
                group["lr"] = factor * rate
            optimizer.zero_grad()
            loss = objective(module(ids[index]), labels[index], None)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, LARGEST_NORM)
            optimizer.step()
            total += loss.item() * len(index)

    return epoch


def whole_batch() -> Callable[[], None]:
    """Return a call that takes a step on a large batch at once."""
    return our_epoch(LARGE_BATCH, LARGE_BATCH)


def batch_in_chunks() -> Callable[[], None]:
    """Return a call that takes a step on a large batch in chunks."""
    return our_epoch(LARGE_BATCH, LARGE_BATCH, CHUNK)


def _peak(make: Callable[[], Callable[[], None]], n_threads: int) -> float:
    torch.set_num_threads(n_threads)
    epoch = make()
    before = _largest()
    epoch()
    return _largest() - before


def _largest() -> float:
    """Return the peak of this process in MiB; that of ``getrusage`` has its parent's in it."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def peak(make: Callable[[], Callable[[], None]]) -> float:
    """Return the MiB that an epoch adds to the peak of a process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak, make, torch.get_num_threads()).result()


def bars() -> Iterator[Bar]:
    """Yield time and memory of an epoch, then those of a large batch in chunks."""
    calls = {"ours": our_epoch(), "torch": torch_epoch()}
    seconds = interleaved(calls, REPEATS, clock=time.process_time)
    ratio = median_ratio(seconds["ours"], seconds["torch"])
    yield Bar("ours / torch loop, epoch, CPU time", TIME_GOAL, ratio, config=CONFIG)
    ours, by_hand = peak(our_epoch), peak(torch_epoch)
    yield Bar("ours / torch loop, epoch, memory", MEMORY_GOAL, ours / by_hand, config=CONFIG)
    yield Bar("torch loop, memory", None, by_hand, "MiB", config=CONFIG)
    config = {**CONFIG, "n": LARGE_BATCH, "batch": LARGE_BATCH, "chunk": CHUNK}
    whole, chunked = peak(whole_batch), peak(batch_in_chunks)
    yield Bar("batch of 512 at once, memory", None, whole, "MiB", config=config)
    yield Bar("in chunks of 64 / at once, memory", None, chunked / whole, config=config)
    calls = {"at once": whole_batch(), "in chunks": batch_in_chunks()}
    seconds = interleaved(calls, 1, clock=time.process_time)
    ratio = median_ratio(seconds["in chunks"], seconds["at once"])
    yield Bar("in chunks of 64 / at once, CPU time", None, ratio, config=config)


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
