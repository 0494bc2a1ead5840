"""Tables and pictures of the study of contrastive losses, from the rows of its cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

#: Two figures within this distance are a tie.
TIE = 0.005
SHOWN = {"map": "mAP", "f1_macro_tuned": "macro-F1"}
ALL_SCORES = ["map", "f1_samples", "f1_micro", "f1_macro"]
TUNED = ["f1_samples_tuned", "f1_micro_tuned", "f1_macro_tuned"]
COLUMN_NAMES = {
    "dataset": "set", "model": "model", "map": "mAP", "f1_samples": "example-F1, 0.5",
    "f1_micro": "micro-F1, 0.5", "f1_macro": "macro-F1, 0.5", "f1_samples_tuned": "example-F1",
    "f1_micro_tuned": "micro-F1", "f1_macro_tuned": "macro-F1",
}  # fmt: skip
PARAMETERS = ("loss", "temperature", "lambda_reg", "alpha", "anchor_weighting")
CONFIGURATION = ["dataset", "recipe", *PARAMETERS]
COLOURS = ("#2e4057", "#edae49", "#66a182", "#d1495b", "#8d6cab", "#7f7f7f")
PAIR_COLOURS = ("#d1495b", "#8d6cab", "#2e4057")


def frame_of(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one line a fit, the parameters as columns; NaN for one that was not given."""
    flat = []
    for row in rows:
        params = {**row["params"], **row["params"].get("loss_params", {})}
        flat.append({**row, **{name: params.get(name) for name in PARAMETERS}})
    frame = pd.DataFrame(flat).drop(columns=["params"])
    return frame.astype({"temperature": float, "lambda_reg": float, "alpha": float})


def seed_means(frame: pd.DataFrame, by: Sequence[str] = CONFIGURATION) -> pd.DataFrame:
    """Return the mean of every score over the seeds of a configuration."""
    return frame.groupby(list(by), dropna=False, as_index=False)[ALL_SCORES + TUNED].mean()


def _sweep(frame: pd.DataFrame, recipe: str = "two-stage") -> pd.DataFrame:
    """Hold-out scores of a recipe, the variants with ``alpha`` or ``anchor_weighting`` included."""
    holdout = frame[(frame["rows"] == "holdout") & (frame["fraction"] == 1)]
    return seed_means(holdout[holdout["recipe"] == recipe])


def _plain_grid(sweep: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    plain = sweep["alpha"].isna() & sweep["anchor_weighting"].isna()
    return sweep[plain & sweep["dataset"].isin(datasets)]


# ---------------------------------------------------------------------- tables


def temperature_table(frame: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    """Return mean scores over the sets, for each loss and clamp run at all temperatures."""
    grid = _plain_grid(_sweep(frame), datasets)
    tables = [
        grid.pivot_table(score, ["loss", "lambda_reg"], "temperature").add_prefix(f"{name}, ")
        for score, name in SHOWN.items()
    ]
    return pd.concat(tables, axis=1).dropna()


def default_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return hold-out scores of the estimator's own recipe, a column for each set."""
    sweep, index = _sweep(frame, "default"), ["temperature", "lambda_reg"]
    tables = [
        sweep.pivot_table(score, index, "dataset", sort=False).add_prefix(f"{name} ")
        for score, name in SHOWN.items()
    ]
    return pd.concat(tables, axis=1)


def clamp_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what the clamp adds to each loss, over all pairs of fits that differ in it alone."""
    grid = _plain_grid(_sweep(frame), frame["dataset"].unique())
    index = ["loss", "dataset", "temperature"]
    found = {}
    for score, name in SHOWN.items():
        pairs = grid.pivot_table(score, index, "lambda_reg")
        gain = (pairs[1.0] - pairs[0.0]).dropna().groupby("loss")
        found[f"{name} gain"] = gain.mean()
        found[f"{name} better/tie/worse"] = gain.apply(_wins)
    found["pairs"] = gain.size()
    return pd.DataFrame(found)


def _wins(gain: pd.Series) -> str:
    better, worse = int((gain > TIE).sum()), int((gain < -TIE).sum())
    return f"{better}/{len(gain) - better - worse}/{worse}"


def weighting_table(
    frame: pd.DataFrame, datasets: Sequence[str], temperatures: Sequence[float] = (0.1, 0.2)
) -> pd.DataFrame:
    """Return each positive weighting, plain ("reg" also clamped), mean over the temperatures."""
    sweep = _sweep(frame)
    sweep = sweep[sweep["dataset"].isin(datasets) & sweep["temperature"].isin(temperatures)]
    shown = (sweep["lambda_reg"] == 0) | (sweep["loss"] == "reg")
    sweep = sweep[shown].assign(weighting=lambda table: table.apply(_weighting, axis=1))
    reference = _sweep(frame, "end-to-end, heads refitted").assign(weighting="none: BCE encoder")
    both = pd.concat([sweep, reference[reference["dataset"].isin(datasets)]])
    tables = []
    for score, name in SHOWN.items():
        table = both.pivot_table(score, "weighting", "dataset")[list(datasets)]
        table["mean"] = table.mean(axis=1)
        tables.append(table.add_prefix(f"{name} "))
    return pd.concat(tables, axis=1).sort_values("mAP mean", ascending=False)


def _weighting(row: pd.Series) -> str:
    alpha = "" if pd.isna(row["alpha"]) else f", alpha {row['alpha']:g}"
    by_row = ", by row" if row["anchor_weighting"] == "sample" else ""
    clamped = ", clamped" if row["lambda_reg"] else ""
    return row["loss"] + alpha + by_row + clamped


def final_table(test: pd.DataFrame) -> pd.DataFrame:
    """Return test scores at the full training set: mean over seeds, spread of the macro-F1."""
    groups = test[test["fraction"] == 1].groupby(["dataset", "model"], sort=False)
    table = groups[ALL_SCORES + TUNED].mean()
    table["macro-F1 sd"] = groups["f1_macro_tuned"].std()
    table["seeds"] = groups.size()
    return table.reset_index().rename(columns=COLUMN_NAMES)


def fraction_table(test: pd.DataFrame, score: str = "f1_macro_tuned") -> pd.DataFrame:
    """Return a test score by the share of the training rows, mean over seeds."""
    table = test.pivot_table(score, ["dataset", "model"], "fraction", sort=False)
    return table[sorted(table)].dropna(thresh=2)


# ---------------------------------------------------------------------- pictures


def plot_temperatures(table: pd.DataFrame) -> Figure:
    """Draw both scores of the temperature table as a map, a row for each loss and clamp."""
    names = [f"{loss}{', clamped' if clamp else ''}" for loss, clamp in table.index]
    scores = list(SHOWN.values())
    figure, axes = plt.subplots(1, 2, figsize=(8, 5.6), sharey=True, layout="constrained")
    for axis, score in zip(axes, scores, strict=True):
        values = table.filter(regex=f"^{score}, ").to_numpy()
        axis.imshow(values, aspect="auto", cmap="Blues", vmin=values.min() - 0.01)
        middle = (values.min() + values.max()) / 2
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if value > middle else "black"
            axis.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour, size=8)
        temperatures = [name.rpartition(" ")[2] for name in table.filter(regex=f"^{score}, ")]
        axis.set_xticks(range(len(temperatures)), temperatures)
        axis.set(xlabel="temperature", title=score)
        axis.set_yticks(range(len(names)), names)
        axis.tick_params(length=0)
    return figure


def plot_clamp(frame: pd.DataFrame) -> Figure:
    """Draw what the clamp adds: one point a set and temperature, a bar at the mean."""
    grid = _plain_grid(_sweep(frame), frame["dataset"].unique())
    datasets = list(dict.fromkeys(frame["dataset"]))
    losses = sorted(grid["loss"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharey=True, layout="constrained")
    for axis, (score, name) in zip(axes, SHOWN.items(), strict=True):
        pairs = grid.pivot_table(score, ["loss", "dataset", "temperature"], "lambda_reg")
        gain = (pairs[1.0] - pairs[0.0]).dropna()
        axis.axvspan(-TIE, TIE, color="#eeeeee", zorder=0)
        axis.axvline(0, color="black", linewidth=0.8)
        for dataset, colour in zip(datasets, COLOURS, strict=False):
            of_set = gain[gain.index.get_level_values("dataset") == dataset]
            heights = [losses.index(loss) for loss in of_set.index.get_level_values("loss")]
            axis.scatter(of_set, heights, 16, colour, linewidths=0, label=dataset, zorder=2)
        means = gain.groupby("loss").mean()
        axis.scatter(means, [losses.index(loss) for loss in means.index], 160, "k", marker="|")
        axis.set(xlabel=f"{name} with the clamp, minus without")
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(losses)), losses)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
    return figure


def plot_prr(frame: pd.DataFrame, datasets: Sequence[str], loss: str = "reg") -> Figure:
    """Draw the ratio over the epochs, one panel a set, one colour a temperature."""
    rows = frame[(frame["recipe"] == "two-stage") & (frame["rows"] == "holdout")]
    rows = rows[(rows["loss"] == loss) & rows["alpha"].isna() & (rows["seed"] == 0)]
    temperatures = sorted(rows["temperature"].unique())
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(temperatures)))
    size = (2.3 * len(datasets), 3.2)
    figure, panels = plt.subplots(
        1, len(datasets), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    axes = panels[0]
    for axis, dataset in zip(axes, datasets, strict=True):
        for row in rows[rows["dataset"] == dataset].itertuples():
            axis.plot(
                range(1, len(row.prr) + 1),
                row.prr,
                "-" if row.lambda_reg else "--",
                color=colours[temperatures.index(row.temperature)],
                linewidth=1.4,
                label=f"{row.temperature:g}" if row.lambda_reg else None,
            )
        axis.set(title=dataset, xlabel="epoch")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="share of positives that repel", ylim=(0, None))
    title = "temperature; solid: clamped, dashed: plain"
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=4, frameon=False)
    return figure


def plot_fractions(table: pd.DataFrame) -> Figure:
    """Draw the score over the share of the training rows, one panel a set."""
    datasets = list(dict.fromkeys(table.index.get_level_values("dataset")))
    figure, axes = plt.subplots(2, -(-len(datasets) // 2), figsize=(8.4, 5.2), layout="constrained")
    for axis in axes.flat[len(datasets) :]:
        axis.set_axis_off()
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        lines = table.loc[dataset].iterrows()
        for (model, values), colour in zip(lines, COLOURS, strict=False):
            shown = values.dropna()
            axis.plot(shown.index * 100, shown, "o-", color=colour, label=model, ms=3, lw=1.4)
        axis.set_xscale("log")
        axis.set_xticks([10, 25, 50, 100], ["10", "25", "50", "100"])
        axis.minorticks_off()
        axis.set_title(dataset, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("share of the training rows, %", fontsize=10)
    figure.supylabel("macro-F1, test rows", fontsize=10)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def plot_gain(final: pd.DataFrame, n_labels: dict[str, int], pairs: dict[str, tuple]) -> Figure:
    """Draw the difference in macro-F1 between pairs of models over the number of labels."""
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    scores = final.pivot_table("macro-F1", "set", "model")
    datasets = sorted(scores.index, key=n_labels.get)
    for colour, (name, (contrastive, reference)) in zip(PAIR_COLOURS, pairs.items(), strict=False):
        gain = (scores[contrastive] - scores[reference])[datasets]
        axis.plot(range(len(datasets)), gain, "o:", color=colour, label=name, linewidth=0.8)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.axhspan(-TIE, TIE, color="#eeeeee", zorder=0)
    axis.set_xticks(range(len(datasets)), [f"{d}\n{n_labels[d]} labels" for d in datasets])
    axis.set(ylabel="difference in macro-F1, test rows")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", frameon=False)
    return figure


def write(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure], data: Path, static: Path
) -> None:
    """Write the tables as CSV and the pictures as PNG, under the name of the study."""
    for directory in (data, static):
        directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        text = table.to_csv(float_format="%.3f", index=table.index.names != [None])
        (data / f"study_losses_{name}.csv").write_text(text)
    for name, figure in figures.items():
        figure.savefig(static / f"study_losses_{name}.png", dpi=120)
        plt.close(figure)
