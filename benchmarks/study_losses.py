"""The contrastive family compared: temperature, clamp, positive weighting, little data.

``python -m benchmarks.study_losses`` fits what is missing in the cache (one JSON line a fit),
then writes the tables and pictures that ``doc/losses.rst`` shows; ``--parts report`` only writes.
The sets are looked for in the directory that the environment variable SKLEARN_MLCL_DATA names.

Hyper-parameters are compared on a hold-out of the training rows. The test rows are predicted only
by the fits of the ``final`` part, with thresholds from the hold-out of the same configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from rich.progress import track
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from benchmarks._scores import best_common_thresholds, scores
from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.datasets import fetch_multilabel
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.training import RepresentationMonitor

FEW_LABELS = ("emotions", "scene", "yeast", "enron")
MANY_LABELS = ("bibtex", "corel5k")
TEMPERATURES = (0.05, 0.1, 0.2, 0.5)
FRACTIONS = (0.1, 0.25, 0.5, 1.0)
#: Repetitions (hold-out and initialisation) of the sweep and of the final tables.
SEEDS = {
    "sweep": {"emotions": 3, "scene": 1, "yeast": 1, "enron": 1, "bibtex": 1, "corel5k": 1},
    "final": {"emotions": 3, "scene": 3, "yeast": 3, "enron": 3, "bibtex": 1, "corel5k": 1},
}
#: Losses of the sweep on the sets with many labels, where a fit takes ten times as long.
FEWER_LOSSES = ("any", "jaccard", "mulsupcon", "proto", "msc", "reg")

Loader = Callable[[str], Bunch]


# ---------------------------------------------------------------------- one fit


@dataclass(frozen=True)
class Fit:
    """What one row of the cache was fitted on and with.

    Parameters
    ----------
    dataset : str
        Name of the set.
    recipe : str
        A key of :data:`RECIPES`.
    params : dict
        Arguments of the recipe.
    seed : int
        Seeds the sub-sample, the hold-out and the estimator.
    fraction : float
        Share of the training rows, stratified.
    rows : {"holdout", "test"}
        Fitted on three quarters of those rows and scored on the rest, or fitted on all of them
        and scored on the test rows.
    """

    dataset: str
    recipe: str
    params: dict[str, Any] = field(hash=False)
    seed: int = 0
    fraction: float = 1.0
    rows: str = "holdout"

    @property
    def key(self) -> str:
        """The same for the same fit in every run."""
        return json.dumps(asdict(self), sort_keys=True)


def _two_stage(**params: Any) -> BaseEstimator:
    """Contrastive encoder, then logistic heads: the loss alone."""
    return ContrastiveMultiLabelClassifier(
        lambda_bce=0.0, neighbor_weight=0.0, callbacks=[RepresentationMonitor(n_rows=128)], **params
    )


def _end_to_end(**params: Any) -> BaseEstimator:
    return MultiLabelMLPClassifier(neighbor_weight=0.0, **params)


def _refitted_heads(**params: Any) -> BaseEstimator:
    """The two stages with an encoder trained end to end: the same heads on its embedding."""
    heads = MultiLabelLogisticRegression(C=0.01, tol=1e-6)
    return make_pipeline(_end_to_end(**params), StandardScaler(), heads)


RECIPES: dict[str, Callable[..., BaseEstimator]] = {
    "two-stage": _two_stage,
    "default": ContrastiveMultiLabelClassifier,
    "end-to-end": _end_to_end,
    "end-to-end, heads refitted": _refitted_heads,
    "end-to-end, vote": MultiLabelMLPClassifier,
}


@lru_cache(maxsize=1)
def load(name: str) -> Bunch:
    """Return the training and test rows of a set, labels dense."""
    bunch = fetch_multilabel(name)
    Y = bunch.target.toarray() if sp.issparse(bunch.target) else bunch.target
    Y = Y.astype(np.int64)
    train, test = bunch.train_idx, bunch.test_idx
    return Bunch(X=bunch.data[train], Y=Y[train], X_test=bunch.data[test], Y_test=Y[test])


def split_rows(fit: Fit, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the training rows to fit on and those held out; none of these for ``"test"``."""
    rows = np.arange(len(Y))
    if fit.fraction < 1:
        rows = rows[_stratified(Y, fit.seed, train_size=fit.fraction)[0]]
    if fit.rows == "test":
        return rows, rows[:0]
    fitted, held_out = _stratified(Y[rows], fit.seed, test_size=0.25)
    return rows[fitted], rows[held_out]


def _stratified(Y: np.ndarray, seed: int, **size: float) -> tuple[np.ndarray, np.ndarray]:
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, random_state=seed, **size)
    return next(splitter.split(np.zeros((len(Y), 1)), Y))


def run_fit(fit: Fit, data: Bunch, thresholds: dict[str, float] | None) -> dict[str, Any]:
    """Fit, predict, score; the thresholds are tuned here on a hold-out, and given for a test."""
    train, held_out = split_rows(fit, data.Y)
    model = RECIPES[fit.recipe](**fit.params)
    model.set_params(**{_seed_parameter(model): fit.seed})
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*labels have a single value")
        model.fit(data.X[train], data.Y[train])
    seconds = time.perf_counter() - start
    on_test = fit.rows == "test"
    X, Y = (data.X_test, data.Y_test) if on_test else (data.X[held_out], data.Y[held_out])
    probabilities = model.predict_proba(X)
    if thresholds is None:
        thresholds = best_common_thresholds(Y, probabilities)
    prr = getattr(model, "history_", {}).get("prr", np.empty(0))
    return {
        **asdict(fit),
        "n_fitted": len(train),
        "fit_seconds": round(seconds, 3),
        "thresholds": thresholds,
        "prr": [round(float(value), 4) for value in prr],
        **{name: round(value, 6) for name, value in scores(Y, probabilities, thresholds).items()},
    }


def _seed_parameter(model: BaseEstimator) -> str:
    return next(name for name in model.get_params() if name.endswith("random_state"))


# ---------------------------------------------------------------------- the cache


class Cache:
    """The rows of the fits that are done, in a file of JSON lines that only grows.

    Parameters
    ----------
    path : Path
        The file; made with its directory at the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = {fit_of(row).key: row for row in map(json.loads, lines)}

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, in the file first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[fit_of(row).key] = row


def fit_of(row: dict[str, Any]) -> Fit:
    """Return what a row of the cache was fitted on and with."""
    return Fit(**{name: row[name] for name in Fit.__dataclass_fields__})


def run(fits: Iterable[Fit], cache: Cache, loader: Loader = load) -> int:
    """Run the fits that the cache lacks, hold-outs before the tests; return how many."""
    missing = {fit.key: fit for fit in fits if fit.key not in cache.rows}
    for fit in track(missing.values(), description=f"{len(missing)} fits"):
        thresholds = None
        if fit.rows == "test":
            thresholds = cache.rows[replace(fit, rows="holdout").key]["thresholds"]
        cache.add(run_fit(fit, loader(fit.dataset), thresholds))
    return len(missing)


# ---------------------------------------------------------------------- the plan


def sweep(dataset: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the configurations compared on the hold-outs of a set."""
    many = dataset in MANY_LABELS
    losses = FEWER_LOSSES if many else tuple(CONTRASTIVE_LOSSES)
    temperatures = (0.1,) if many else TEMPERATURES
    grid = [_loss(*point) for point in product(losses, temperatures, (0.0, 1.0))]
    if many:
        grid += [_loss("reg", t, 1.0) for t in TEMPERATURES if t != 0.1]
    else:
        grid += [_loss("mulsupcon", t, 0.0, anchor_weighting="sample") for t in (0.1, 0.2)]
        grid += [_loss("reg", t, 1.0, alpha=a) for t in (0.1, 0.2) for a in (-1.0, 1.0)]
    default = [] if many else [_loss("reg", *point) for point in product((0.1, 0.5), (0.0, 1.0))]
    references = [("end-to-end, heads refitted", {"loss": "bce"})]
    return [*references, *(("two-stage", p) for p in grid), *(("default", p) for p in default)]


def _loss(loss: str, temperature: float, lambda_reg: float, **more: Any) -> dict[str, Any]:
    return {"loss": loss, "temperature": temperature, "lambda_reg": lambda_reg, **more}


def sweep_fits(datasets: Sequence[str]) -> Iterator[Fit]:
    """Yield the fits of the sweep, one seed of all sets after the other."""
    for seed in range(max(SEEDS["sweep"].values())):
        for dataset in datasets:
            if seed < SEEDS["sweep"][dataset]:
                yield from (Fit(dataset, *one, seed=seed) for one in sweep(dataset))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/study_losses.jsonl"))
    parser.add_argument("--datasets", nargs="*", default=[*FEW_LABELS, *MANY_LABELS])
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        run(sweep_fits(options.datasets), Cache(options.out))


if __name__ == "__main__":
    main()
