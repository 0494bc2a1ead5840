"""Fits, members in a stack, wide labels and predictions on a GPU; nothing without a GPU.

python -m benchmarks.bench_gpu [--json FILE] [--dry-run]

``--dry-run`` runs every bar in tiny sizes, on the CPU: its figures say nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks._data import SINGLE, label_rows
from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier

MEMBERS = 8
PROJECTION = 128
LABELS_OF_A_ROW = 5
MIB = 2**20
#: Rows, features and labels, training, and the size of the product, of a full and of a dry run.
FULL: dict[str, Any] = {
    "fit": ({"n": 100_000, "d": 128, "L": 100}, {"max_epochs": 20, "batch_size": 4096}),
    "wide": ({"n": 100_000, "d": 128, "L": 100}, {"max_epochs": 3, "batch_size": 4096}),
    "layers": (4096, 4096),
    "members": ({"n": 20_000, "d": 100, "L": 14}, {"max_epochs": 5, "batch_size": 256}),
    "default": {"n": 50_000, "d": 100, "L": 50},
    "labels": ({"n": 16_384, "d": 100, "L": 16_000}, {"max_epochs": 2, "batch_size": 128}),
    "product": 8192,
}
TINY: dict[str, Any] = {
    "fit": ({"n": 200, "d": 4, "L": 5}, {"max_epochs": 1, "batch_size": 32}),
    "wide": ({"n": 200, "d": 4, "L": 5}, {"max_epochs": 1, "batch_size": 32}),
    "layers": (16,),
    "members": ({"n": 200, "d": 4, "L": 5}, {"max_epochs": 1, "batch_size": 32}),
    "default": {"n": 200, "d": 4, "L": 5},
    "labels": ({"n": 200, "d": 4, "L": 40}, {"max_epochs": 1, "batch_size": 32}),
    "product": 64,
}


class Device:
    """Where the bars run: a GPU, or the CPU in a dry run."""

    def __init__(self, dry_run: bool) -> None:
        self.name = "cpu" if dry_run else "cuda"
        self.config = {"device": "CPU, dry run" if dry_run else torch.cuda.get_device_name()}

    def wait(self) -> None:
        """Return once all that was asked of the device is done."""
        if self.name == "cuda":
            torch.cuda.synchronize()

    def peak(self, call: Callable[[], object]) -> float:
        """Return the MiB that tensors take at most while a call runs; 0 on the CPU."""
        if self.name == "cpu":
            call()
            return 0.0
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() / MIB

    def products_a_second(self, size: int) -> float:
        """Return the multiply-adds a second of a large float32 product: the limit."""
        a = torch.randn(size, size, device=self.name)
        a @ a
        self.wait()
        start = perf_counter()
        for _ in range(10):
            a @ a
        self.wait()
        return 10 * size**3 / (perf_counter() - start)


def fit_bars(sizes: dict[str, Any], device: Device) -> Iterator[Bar]:
    """Seconds of the fit, and how much of the device its products use."""
    rows, training = sizes["fit"]
    X, Y = label_rows(**rows)
    clf = ContrastiveMultiLabelClassifier(
        **SINGLE, **training, device=device.name, net_params={"projection_dim": PROJECTION}
    )
    seconds = min(interleaved({"fit": lambda: clf.fit(X, Y)}, 2)["fit"])
    config = {**rows, **SINGLE, **training, **device.config}
    yield Bar("GPU: contrastive fit", 10, seconds, "s", config=config)
    products = 3 * clf.net_.n_weights * rows["n"] * training["max_epochs"]
    # Similarities of a batch with itself and the prototypes, and twice that for the gradient.
    candidates = training["batch_size"] + rows["L"]
    products += 3 * PROJECTION * candidates * rows["n"] * training["max_epochs"]
    share = products / seconds / device.products_a_second(sizes["product"])
    yield Bar("GPU: share of the matrix-product limit", None, share, "", True, config)


def precision_bars(sizes: dict[str, Any], device: Device) -> Iterator[Bar]:
    """Wide layers in float32 against bfloat16."""
    rows, training = sizes["wide"]
    X, Y = label_rows(**rows)
    options = {**SINGLE, **training, "hidden_layer_sizes": sizes["layers"], "device": device.name}
    calls: dict[str, Callable[[], object]] = {}
    for precision in ("float32", "bf16"):
        net = MultiLabelMLPClassifier(**options, net_params={"precision": precision})
        calls[precision] = partial(net.fit, X, Y)
    seconds = interleaved(calls, 2)
    ratio = median_ratio(seconds["float32"], seconds["bf16"])
    config = {**rows, **options, **device.config}
    yield Bar("GPU: wide fit, float32 / bf16", None, ratio, "x", True, config)


def member_bars(sizes: dict[str, Any], device: Device) -> Iterator[Bar]:
    """Eight members in one stack against eight fits."""
    rows, training = sizes["members"]
    X, Y = label_rows(**rows)
    options = {**SINGLE, **training, "device": device.name}
    stack = MultiLabelMLPClassifier(**{**options, "n_estimators": MEMBERS})
    single = MultiLabelMLPClassifier(**options)

    def one_by_one() -> None:
        for _ in range(MEMBERS):
            single.fit(X, Y)

    calls: dict[str, Callable[[], object]] = {
        "stack": lambda: stack.fit(X, Y),
        "apart": one_by_one,
    }
    seconds = interleaved(calls, 3)
    ratio = median_ratio(seconds["apart"], seconds["stack"])
    config = {**rows, **options, "n_estimators": MEMBERS, **device.config}
    yield Bar(f"GPU: {MEMBERS} fits / {MEMBERS} members in a stack", 4, ratio, "x", True, config)


def default_bars(sizes: dict[str, Any], device: Device) -> Iterator[Bar]:
    """A fit by default, its memory, and predictions with all of its parts."""
    rows = sizes["default"]
    X, Y = label_rows(**rows)
    clf = ContrastiveMultiLabelClassifier(device=device.name, random_state=0)
    config = {**rows, **device.config}
    start = perf_counter()
    peak = device.peak(lambda: clf.fit(X, Y))
    yield Bar("GPU: default fit", None, perf_counter() - start, "s", config=config)
    yield Bar("GPU: memory of the default fit", None, peak, "MiB", config=config)
    seconds = min(interleaved({"predict": lambda: clf.predict_proba(X)}, 2)["predict"])
    yield Bar("GPU: predict_proba, a row", None, 1e6 * seconds / len(X), "us", config=config)


def label_bars(sizes: dict[str, Any], device: Device) -> Iterator[Bar]:
    """A step with very many labels, of which a batch draws some."""
    rows, training = sizes["labels"]
    X, _ = label_rows(rows["n"], rows["d"], 1)
    drawn = np.random.default_rng(0).integers(0, rows["L"], (rows["n"], LABELS_OF_A_ROW))
    Y = sp.lil_array((rows["n"], rows["L"]), dtype=np.uint8)
    Y[np.arange(rows["n"])[:, None], drawn] = 1
    net_params = {"schedule": "constant"}
    clf = ContrastiveMultiLabelClassifier(
        **SINGLE, **training, device=device.name, net_params=net_params
    )
    clf.fit(X, Y.tocsr())
    seconds = float(clf.history_["dur"].min())
    n_steps = -(-rows["n"] // training["batch_size"])
    config = {**rows, **training, **device.config}
    yield Bar("GPU: step of very many labels", None, 1e3 * seconds / n_steps, "ms", config=config)


#: What is measured, in this order; the bars with a goal first.
PARTS = (fit_bars, member_bars, default_bars, precision_bars, label_bars)


def bars(dry_run: bool = False, seconds: float = float("inf")) -> Iterator[Bar]:
    """All bars, or a word about what is missing.

    Parameters
    ----------
    dry_run : bool, default=False
        Whether to run in tiny sizes on the CPU.
    seconds : float, default=inf
        No part begins later; those that do not are named.
    """
    if not dry_run and not torch.cuda.is_available():
        print("torch sees no GPU: its bars are not measured")
        return
    sizes, device, start = TINY if dry_run else FULL, Device(dry_run), perf_counter()
    for part in PARTS:
        if perf_counter() - start > seconds:
            print(f"{seconds:.0f} s are over: {part.__name__} is not measured")
            continue
        for bar in part(sizes, device):
            yield replace(bar, goal=None) if dry_run else bar


def main(argv: Sequence[str] | None = None, seconds: float = float("inf")) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--dry-run", action="store_true")
    options, others = parser.parse_known_args(argv)
    return report(partial(bars, options.dry_run, seconds), __doc__ or "", others, threads=1)


if __name__ == "__main__":
    main()
