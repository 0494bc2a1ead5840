"""A fit of 100,000 rows on a GPU, and members in a stack there; nothing without a GPU.

python -m benchmarks.bench_gpu [--json FILE]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import torch

from benchmarks._data import SINGLE, label_rows
from benchmarks._report import Bar, interleaved, median_ratio, report
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier

ROWS = {"n": 100_000, "d": 128, "L": 100}
TRAINING = {"max_epochs": 20, "batch_size": 4096}
MEMBERS = 8
PROJECTION = 128
SIZE = 8192


def products_a_second() -> float:
    """Return the multiply-adds a second of a large float32 product: the limit of the device."""
    a = torch.randn(SIZE, SIZE, device="cuda")
    a @ a
    torch.cuda.synchronize()
    start = perf_counter()
    for _ in range(10):
        a @ a
    torch.cuda.synchronize()
    return 10 * SIZE**3 / (perf_counter() - start)


def fit_bars() -> Iterator[Bar]:
    """Seconds of the fit, and how much of the device its products use."""
    X, Y = label_rows(**ROWS)
    clf = ContrastiveMultiLabelClassifier(
        **SINGLE, **TRAINING, device="cuda", net_params={"projection_dim": PROJECTION}
    )
    seconds = min(interleaved({"fit": lambda: clf.fit(X, Y)}, 2)["fit"])
    config = {**ROWS, **SINGLE, **TRAINING, "device": torch.cuda.get_device_name()}
    yield Bar("GPU: contrastive fit", 10, seconds, "s", config=config)
    products = 3 * clf.net_.n_weights * ROWS["n"] * TRAINING["max_epochs"]
    # Similarities of a batch with itself and the prototypes, and twice that for the gradient.
    candidates = TRAINING["batch_size"] + ROWS["L"]
    products += 3 * PROJECTION * candidates * ROWS["n"] * TRAINING["max_epochs"]
    share = products / seconds / products_a_second()
    yield Bar("GPU: share of the matrix-product limit", None, share, "", True, config)


def member_bars() -> Iterator[Bar]:
    """Eight members in one stack against eight fits."""
    rows, training = {"n": 20_000, "d": 100, "L": 14}, {"max_epochs": 5, "batch_size": 256}
    X, Y = label_rows(**rows)
    options = {**SINGLE, **training, "device": "cuda"}
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
    config = {**rows, **options, "n_estimators": MEMBERS, "device": torch.cuda.get_device_name()}
    yield Bar(f"GPU: {MEMBERS} fits / {MEMBERS} members in a stack", 4, ratio, "x", True, config)


def bars() -> Iterator[Bar]:
    """All bars, or a word about what is missing."""
    if not torch.cuda.is_available():
        print("torch sees no GPU: its bars are not measured")
        return
    yield from fit_bars()
    yield from member_bars()


def main(argv: Sequence[str] | None = None) -> list[Bar]:
    """Measure, print, and write the table where ``--json`` says."""
    return report(bars, __doc__ or "", argv, threads=1)


if __name__ == "__main__":
    main()
