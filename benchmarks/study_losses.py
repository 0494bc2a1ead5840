"""The contrastive family compared: temperature, clamp, positive weighting, little data.

``python -m benchmarks.study_losses`` fits what is missing in the cache (one JSON line a fit),
then writes the tables and pictures that ``doc/losses.rst`` shows; ``--report-only`` only writes.
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
from dataclasses import asdict, dataclass, replace
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
from benchmarks._study_report import (
    clamp_table,
    default_table,
    final_table,
    fraction_table,
    frame_of,
    plot_clamp,
    plot_fractions,
    plot_gain,
    plot_prr,
    plot_temperatures,
    temperature_table,
    weighting_table,
    write,
)
from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.callbacks import RepresentationMonitor
from sklearn_mlcl.datasets import fetch_multilabel
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.recipes import PLAIN

FEW_LABELS = ("emotions", "scene", "yeast", "enron")
MANY_LABELS = ("bibtex", "corel5k")
#: Where the sweep runs every loss at every temperature; what it runs elsewhere, see ``sweep``.
ALL_LOSSES_ON = ("emotions", "scene", "yeast")
TEMPERATURES = (0.05, 0.1, 0.2, 0.5)
CLAMP_TEMPERATURES = (0.1, 0.2)
FRACTIONS = (0.1, 0.25, 0.5, 1.0)
FRACTIONS_MANY_LABELS = (0.1, 0.25, 1.0)
#: Repetitions (sub-sample, hold-out, initialisation) of the sweep and of the final tables.
SEEDS = {
    "sweep": {"emotions": 3, "scene": 1, "yeast": 3, "enron": 1, "bibtex": 1, "corel5k": 1},
    "final": {"emotions": 3, "scene": 3, "yeast": 3, "enron": 3, "bibtex": 1, "corel5k": 1},
}
N_SEEDS = 3
#: What is compared on the test rows: name, recipe, arguments.
FINAL: dict[str, tuple[str, dict[str, Any]]] = {
    "BCE": ("end-to-end", {"loss": "bce"}),
    "ASL": ("end-to-end", {"loss": "asl"}),
    "BCE, heads refitted": ("end-to-end, heads refitted", {"loss": "bce"}),
    "reg, two stages": ("two-stage", {"loss": "reg", "temperature": 0.1, "lambda_reg": 1.0}),
    "reg without clamp, two stages": (
        "two-stage",
        {"loss": "reg", "temperature": 0.1, "lambda_reg": 0.0},
    ),
    "BCE and vote": ("end-to-end, vote", {"loss": "bce"}),
    "reg, estimator's default": (
        "default",
        {"loss": "reg", "temperature": 0.1, "lambda_reg": 0.0},
    ),
}
#: Those that are also trained on a share of the rows.
LIMITED = ("BCE", "ASL", "BCE, heads refitted", "reg, two stages", "reg without clamp, two stages")

#: The two-stage configuration with the best macro-F1 on the hold-out of the same seed.
BEST = "best two stages of the sweep"
#: Pairs whose difference the picture over the number of labels shows.
CLAIM = {
    "clamped, two stages - BCE, heads refitted": ("reg, two stages", "BCE, heads refitted"),
    "plain, two stages - BCE, heads refitted": (
        "reg without clamp, two stages",
        "BCE, heads refitted",
    ),
    "estimator's default - BCE and vote": ("reg, estimator's default", "BCE and vote"),
}
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "study_losses.jsonl"
DOC = ROOT / "doc"

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
    params: dict[str, Any]
    seed: int = 0
    fraction: float = 1.0
    rows: str = "holdout"

    @property
    def key(self) -> str:
        """The same for the same fit in every run."""
        return json.dumps(asdict(self), sort_keys=True)


def _two_stage(**params: Any) -> BaseEstimator:
    """Contrastive encoder, then logistic heads: the loss alone."""
    settings = {
        **PLAIN,
        "lambda_joint": 0.0,
        "neighbor_weight": 0.0,
        "weight_decay": 0.01,
        **params,
    }
    return ContrastiveMultiLabelClassifier(
        **settings, callbacks=[RepresentationMonitor(n_rows=128)]
    )


def _end_to_end(**params: Any) -> BaseEstimator:
    settings = {**PLAIN, "neighbor_weight": 0.0, "weight_decay": 0.01, **params}
    return MultiLabelMLPClassifier(**settings)


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
    bunch = fetch_multilabel(name, download_if_missing=False)
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


def run(fits: Iterable[Fit], cache: Cache, title: str, loader: Loader = load) -> int:
    """Run the fits that the cache lacks, in their order; return how many."""
    missing = {fit.key: fit for fit in fits if fit.key not in cache.rows}
    for fit in track(missing.values(), description=title, disable=not missing):
        thresholds = None
        if fit.rows == "test":
            thresholds = cache.rows[replace(fit, rows="holdout").key]["thresholds"]
        cache.add(run_fit(fit, loader(fit.dataset), thresholds))
    return len(missing)


# ---------------------------------------------------------------------- the plan


def _loss(loss: str, temperature: float, lambda_reg: float, **more: Any) -> dict[str, Any]:
    return {"loss": loss, "temperature": temperature, "lambda_reg": lambda_reg, **more}


def _grid(losses: Iterable[str], temperatures: Iterable[float]) -> Iterator[dict[str, Any]]:
    """Yield every loss with and without the clamp; only "reg" with both at all temperatures."""
    for loss, temperature in product(losses, temperatures):
        published = float(loss == "reg")
        yield _loss(loss, temperature, published)
        if loss == "reg" or temperature in CLAMP_TEMPERATURES:
            yield _loss(loss, temperature, 1 - published)


def sweep(dataset: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the configurations compared on the hold-outs of a set, fewer on the larger sets."""
    reference = ("end-to-end, heads refitted", {"loss": "bce"})
    if dataset in MANY_LABELS:
        grid = [*_grid(("mulsupcon", "reg"), (0.1,)), *(_loss("reg", t, 1.0) for t in (0.05, 0.2))]
        return [reference, *(("two-stage", params) for params in grid)]
    if dataset in ALL_LOSSES_ON:
        grid = [*_grid(CONTRASTIVE_LOSSES, TEMPERATURES)]
        for t in CLAMP_TEMPERATURES:
            grid.append(_loss("mulsupcon", t, 0.0, loss_params={"anchor_weighting": "sample"}))
            grid.extend(_loss("reg", t, 1.0, loss_params={"alpha": a}) for a in (-1.0, 1.0))
    else:
        grid = [*_grid(("jaccard", "mulsupcon", "reg"), TEMPERATURES)]
    default = [_loss("reg", *point) for point in product((0.1, 0.5), (0.0, 1.0))]
    return [
        reference,
        *(("two-stage", params) for params in grid),
        *(("default", params) for params in default),
    ]


def sweep_fits(dataset: str, seed: int) -> Iterator[Fit]:
    """Yield the fits of the sweep of a set."""
    if seed < SEEDS["sweep"][dataset]:
        yield from (Fit(dataset, *configuration, seed=seed) for configuration in sweep(dataset))


def final_models(dataset: str, seed: int, cache: Cache) -> dict[str, Fit]:
    """Return what is fitted on all training rows and scored on the test rows, by name."""
    if seed >= SEEDS["final"][dataset]:
        return {}
    models = dict(FINAL)
    if seed < SEEDS["sweep"][dataset] and dataset in FEW_LABELS:
        models[BEST] = "two-stage", chosen(dataset, seed, cache)
    return {name: Fit(dataset, *model, seed, rows="test") for name, model in models.items()}


def fractions_of(name: str, dataset: str) -> tuple[float, ...]:
    """Return the shares of the training rows that a model is fitted on."""
    if name not in LIMITED:
        return (1.0,)
    return FRACTIONS if dataset in FEW_LABELS else FRACTIONS_MANY_LABELS


def final_fits(dataset: str, seed: int, cache: Cache) -> Iterator[Fit]:
    """Yield the fits scored on the test rows, each after the hold-out of its thresholds."""
    for name, full in final_models(dataset, seed, cache).items():
        for fraction in fractions_of(name, dataset):
            fit = replace(full, fraction=fraction)
            yield from (replace(fit, rows="holdout"), fit)


def chosen(dataset: str, seed: int, cache: Cache) -> dict[str, Any]:
    """Return the two-stage configuration with the best macro-F1 on the hold-out of the seed."""
    fits = [fit for fit in sweep_fits(dataset, seed) if fit.recipe == "two-stage"]
    return max(fits, key=lambda fit: cache.rows[fit.key]["f1_macro_tuned"]).params


# ---------------------------------------------------------------------- the report


def final_rows(datasets: Iterable[str], cache: Cache) -> Iterator[dict[str, Any]]:
    """Yield the rows scored on the test rows under the names of their models."""
    for dataset, seed in product(datasets, range(N_SEEDS)):
        for name, full in final_models(dataset, seed, cache).items():
            fits = [replace(full, fraction=share) for share in fractions_of(name, dataset)]
            yield from ({**cache.rows[fit.key], "model": name} for fit in fits)


def report(datasets: Sequence[str], cache: Cache, doc: Path) -> None:
    """Write the tables and pictures from the rows of the plan, all of which must be there."""
    few = [name for name in ALL_LOSSES_ON if name in datasets]
    stages = product(datasets, range(N_SEEDS))
    keys = (fit.key for name, seed in stages for fit in sweep_fits(name, seed))
    sweep_frame = frame_of([cache.rows[key] for key in keys])
    test = frame_of(list(final_rows(datasets, cache)))
    fractions = fraction_table(test)
    n_labels = {name: load(name).Y.shape[1] for name in datasets}
    tables = {
        "temperature": temperature_table(sweep_frame, few),
        "default": default_table(sweep_frame),
        "clamp": clamp_table(sweep_frame),
        "weighting": weighting_table(sweep_frame, few, CLAMP_TEMPERATURES),
        "final": final_table(test),
        "fractions": fractions.rename(columns="{:.0%}".format),
    }
    figures = {
        "temperature": plot_temperatures(tables["temperature"]),
        "clamp": plot_clamp(sweep_frame),
        "prr": plot_prr(sweep_frame, [name for name in FEW_LABELS if name in datasets]),
        "fractions": plot_fractions(fractions),
        "labels": plot_gain(tables["final"], n_labels, CLAIM),
    }
    write(tables, figures, doc / "_data", doc / "_static")


def found(names: Iterable[str]) -> list[str]:
    """Return the sets whose file is there, and say which are skipped."""
    home = os.environ.get("SKLEARN_MLCL_DATA")
    if home is None:
        raise SystemExit("SKLEARN_MLCL_DATA must name the directory with the sets.")
    here = [name for name in names if (Path(home) / f"{name.partition('/')[0]}.npz").is_file()]
    for name in sorted(set(names) - set(here)):
        print(f"skipping {name}: there is no {name}.npz in SKLEARN_MLCL_DATA")
    return here


def run_all(datasets: Sequence[str], cache: Cache, loader: Loader = load) -> None:
    """Run what is missing, a seed of all sets after the other."""
    for seed, dataset in product(range(N_SEEDS), datasets):
        title = f"{dataset}, seed {seed}"
        run(sweep_fits(dataset, seed), cache, f"{title}, sweep", loader)
        run(final_fits(dataset, seed, cache), cache, f"{title}, final", loader)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit what is missing, then write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--datasets", nargs="+", default=[*FEW_LABELS, *MANY_LABELS])
    parser.add_argument("--doc", type=Path, default=DOC, help="where the report is written")
    parser.add_argument("--report-only", action="store_true", help="fit nothing")
    options = parser.parse_args(argv)
    datasets, cache = found(options.datasets), Cache(options.out)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if not options.report_only:
            run_all(datasets, cache)
    if set(datasets) & set(ALL_LOSSES_ON):
        report(datasets, cache, options.doc)
    else:
        print(f"no report without one of {', '.join(ALL_LOSSES_ON)}")


if __name__ == "__main__":
    main()
