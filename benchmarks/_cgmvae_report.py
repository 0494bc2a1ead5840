"""The tables of the study of C-GMVAE."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

SCORES = {"f1_samples": "example-F1", "f1_micro": "micro-F1", "f1_macro": "macro-F1"}
Rows = list[dict[str, Any]]


def chosen(rows: Rows, **fields: Any) -> Rows:
    """Return the rows with these values, by seed."""
    found = [row for row in rows if all(row[name] == value for name, value in fields.items())]
    return sorted(found, key=lambda row: row["seed"])


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean, and the standard deviation over splits where there are several."""
    spread = f" ({np.std(values, ddof=1):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def paired_interval(gains: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired differences, by Student's t."""
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return gains.mean() - half, gains.mean() + half


def paired_table(rows: Rows, reference: str) -> Iterable[list[str]]:
    """Yield a reference and the defaults on the same splits, by set and score."""
    yield ["set", "splits", "score", reference, "defaults", "gain", "95 % interval"]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        by_model = {
            model: {
                row["seed"]: row for row in chosen(rows, dataset=dataset, model=model, fraction=1.0)
            }
            for model in (reference, "defaults")
        }
        seeds = sorted(by_model[reference].keys() & by_model["defaults"].keys())
        if len(seeds) < 4:
            continue
        for score, title in SCORES.items():
            theirs, ours = (
                np.array([by_model[model][seed][score] for seed in seeds]) for model in by_model
            )
            low, high = paired_interval(ours - theirs)
            yield [
                dataset, str(len(seeds)), title, mean_and_spread(theirs), mean_and_spread(ours),
                f"{(ours - theirs).mean():+.3f}", f"{low:+.3f} to {high:+.3f}",
            ]  # fmt: skip


def mixture_table(rows: Rows) -> Iterable[list[str]]:
    """Yield what is alive of the mixture, by set and model."""
    yield [
        "set", "model", "KL, nats", "separation", "macro-F1 lost by permuted codes",
        "cosines and correlations",
    ]  # fmt: skip
    wanted = ("recipe", "defaults", "with the skip connection", "KL weight of the release", "no KL")
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for model in wanted:
            found = chosen(rows, dataset=dataset, model=model, fraction=1.0)
            if found:
                yield [dataset, model, *(
                    f"{np.mean([row[name] for row in found]):.{digits}f}"
                    for name, digits in (("kl", 2), ("separation", 3),
                                         ("f1_macro_permuted_cost", 3), ("label_agreement", 2))
                )]  # fmt: skip


def ablation_table(rows: Rows, models: Sequence[str]) -> Iterable[list[str]]:
    """Yield macro- and micro-F1 of what is left without a part, sets side by side."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    titles = ("f1_micro", "f1_macro")
    yield ["model", *(f"{dataset} {SCORES[s]}" for dataset in datasets for s in titles)]
    ours = {
        dataset: {row["seed"] for row in chosen(rows, dataset=dataset, model="no KL", fraction=1.0)}
        for dataset in datasets
    }
    for model in ("defaults", *models):
        cells = []
        for dataset in datasets:
            found = chosen(rows, dataset=dataset, model=model, fraction=1.0)
            found = [row for row in found if row["seed"] in ours[dataset]]
            for score in titles:
                cells.append(mean_and_spread([r[score] for r in found]) if found else "")
        yield [model, *cells]


def half_table(rows: Rows) -> Iterable[list[str]]:
    """Yield the scores on half of the training rows and on all of them."""
    yield ["set", "model", "score", "half of the rows", "all rows"]
    halves = [row for row in rows if row["fraction"] == 0.5]
    for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in halves):
        for score, title in SCORES.items():
            half = chosen(halves, dataset=dataset, model=model)
            seeds = {row["seed"] for row in half}
            whole = chosen(rows, dataset=dataset, model=model, fraction=1.0)
            whole = [row for row in whole if row["seed"] in seeds]
            cells = [mean_and_spread([r[score] for r in part]) for part in (half, whole) if part]
            yield [dataset, model, title, *cells]


def write_report(rows: Rows, models: Sequence[str], folder: Path) -> None:
    """Write one file a table, and print them."""
    tables = {
        "paired": paired_table(rows, "recipe"),
        "skip": paired_table(rows, "with the skip connection"),
        "mixture": mixture_table(rows),
        "ablations": ablation_table(rows, models),
        "half": half_table(rows),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in tables.items():
        with (folder / f"study_cgmvae_{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for line in lines:
                writer.writerow(line)
                print(" | ".join(line))
        print()
