"""
Quickstart: search, compare, plot
=================================

This example fits a pipeline with the contrastive classifier and searches its temperature and loss
weights. It compares the result with other classifiers in a table, and draws two figures.

The data are composed handwritten digits, embedded in the package. From the command line any other
data set works too, for instance ``python examples/plot_quickstart.py yeast``.
:func:`~sklearn_mlcl.datasets.fetch_multilabel` lists the names.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.sparse as sp
from matplotlib.figure import Figure
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from sklearn_mlcl import ContrastiveMultiLabelClassifier
from sklearn_mlcl.datasets import fetch_multilabel, make_multilabel_digits
from sklearn_mlcl.metrics import (
    average_precision,
    f1_macro,
    f1_micro,
    f1_samples,
    get_scorer,
)
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.thresholds import tune_thresholds

OURS = "contrastive"
RED, BLUE, QUIET = "#d1495b", "#2e4057", "#c9ccd1"
FOLDS = MultilabelStratifiedKFold(3, shuffle=True, random_state=0)

# %%
# The data
# --------
# Every data set has a train-test split. The training samples choose parameters and thresholds. The
# test samples are used once, for the table and the figures.


def load(name: str) -> Bunch:
    """Return the training and test samples of a data set, with dense labels."""
    bunch = (
        make_multilabel_digits() if name == "digits" else fetch_multilabel(name)
    )
    Y = bunch.target.toarray() if sp.issparse(bunch.target) else bunch.target
    train, test = bunch.train_idx, bunch.test_idx
    return Bunch(
        X_train=bunch.data[train],
        Y_train=Y[train],
        X_test=bunch.data[test],
        Y_test=Y[test],
        label_names=np.array(bunch.target_names),
    )


# %%
# The models
# ----------
# Two models are searched on the same folds by macro-F1: ours over ``temperature`` and
# ``lambda_joint``, and logistic regression over ``C``. Sparse features are not scaled. Ours has two
# nets instead of four, so the search takes half the time.


def searched(
    classifier: Any, grid: dict[str, list], sparse: bool, n_jobs: int
) -> GridSearchCV:
    """Return a grid search over a scaled classifier."""
    scale = "passthrough" if sparse else StandardScaler()
    pipeline = Pipeline([("scale", scale), ("classify", classifier)])
    grid = {f"classify__{name}": values for name, values in grid.items()}
    return GridSearchCV(
        pipeline, grid, cv=FOLDS, scoring=get_scorer("f1_macro"), n_jobs=n_jobs
    )


def show_progress(search: GridSearchCV) -> GridSearchCV:
    """Show a progress bar (scikit-learn 1.9, rich), else a line per fit."""
    try:
        from sklearn.callback import ProgressBar

        return search.set_callbacks(ProgressBar(max_propagation_depth=0))
    except ImportError:
        return search.set_params(verbose=2)


def make_models(
    sparse: bool, *, n_trees: int = 300, n_jobs: int = 2, **net_arguments: Any
) -> dict[str, Any]:
    """Return the contrastive classifier and its peers, unfitted, by name."""
    arguments = {
        "n_estimators": 2,
        "threshold": "f1_macro",
        "random_state": 0,
        **net_arguments,
    }
    ours = ContrastiveMultiLabelClassifier(**arguments)
    ours_grid = {"temperature": [0.1, 0.5], "lambda_joint": [0.2, 2.0]}
    logistic = OneVsRestClassifier(LogisticRegression(max_iter=1000))
    logistic_grid = {"estimator__C": [0.001, 0.01, 0.1, 1.0, 10.0]}
    return {
        OURS: show_progress(searched(ours, ours_grid, sparse, n_jobs)),
        "logistic regression": searched(
            logistic, logistic_grid, sparse, n_jobs
        ),
        "random forest": RandomForestClassifier(
            n_trees, random_state=0, n_jobs=n_jobs
        ),
        "extra trees": ExtraTreesClassifier(
            n_trees, random_state=0, n_jobs=n_jobs
        ),
    }


# %%
# Fit and tune one model
# ----------------------
# Each model predicts at a threshold of 0.5, and at one tuned threshold. The tuned threshold has the best
# macro-F1 on held-out probabilities of training samples. Ours holds out samples within its fit
# (``threshold="f1_macro"``). For the others, extra fits on folds give these probabilities.


@dataclass
class Result:
    """Probabilities of one model for the test samples, and its times."""

    model: Any
    probabilities: np.ndarray
    threshold: float
    fit_seconds: float
    tuning_seconds: float


def label_probabilities(answer: Any, Y_train: np.ndarray) -> np.ndarray:
    """Return an (n, L) matrix; forests answer with a list over labels."""
    if not isinstance(answer, list):
        return answer
    constant = Y_train.min(axis=0) == Y_train.max(axis=0)
    return np.column_stack(
        [
            np.full(len(columns), Y_train[0, label])
            if constant[label]
            else columns[:, 1]
            for label, columns in enumerate(answer)
        ]
    )


def evaluate(model: Any, data: Bunch, *, n_jobs: int = 2) -> Result:
    """Fit, tune the threshold on training samples, predict the test samples."""
    start = time.perf_counter()
    model.fit(data.X_train, data.Y_train)
    fitted = time.perf_counter()
    answer = label_probabilities(model.predict_proba(data.X_test), data.Y_train)
    chosen = getattr(model, "best_estimator_", model)
    classifier = chosen[-1] if isinstance(chosen, Pipeline) else chosen
    threshold = getattr(classifier, "threshold_", None)
    if threshold is None:
        held_out = cross_val_predict(
            chosen,
            data.X_train,
            data.Y_train,
            cv=FOLDS,
            method="predict_proba",
            n_jobs=n_jobs,
        )
        held_out = label_probabilities(held_out, data.Y_train)
        tuned = tune_thresholds(
            data.Y_train, held_out, objective="f1_macro", per_label=False
        )
        threshold = tuned[0]
    # The fit time of a search is that of its last fit; the rest is tuning.
    fit_seconds = getattr(model, "refit_time_", fitted - start)
    return Result(
        model,
        answer,
        threshold,
        fit_seconds,
        time.perf_counter() - start - fit_seconds,
    )


def table(results: dict[str, Result], Y: np.ndarray) -> pd.DataFrame:
    """Return the scores of every model at 0.5 and at its tuned threshold."""
    rows = {}
    for kind in ("0.5", "tuned"):
        for name, result in results.items():
            threshold = 0.5 if kind == "0.5" else result.threshold
            decided = (result.probabilities >= threshold).astype(int)
            rows[f"threshold {kind}", name] = {
                "threshold": threshold,
                "example-F1": f1_samples(Y, decided),
                "micro-F1": f1_micro(Y, decided),
                "macro-F1": f1_macro(Y, decided),
                "mAP": average_precision(Y, result.probabilities),
                "fit s": result.fit_seconds,
                "tuning s": result.tuning_seconds,
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def markdown(scores: pd.DataFrame) -> str:
    """Return the table as Markdown."""
    head = ["threshold", "model", *scores.columns[1:]]
    lines = [head, ["---"] * len(head)]
    for (kind, name), values in scores.drop(columns="threshold").iterrows():
        numbers = [
            f"{value:.{1 if unit.endswith(' s') else 3}f}"
            for unit, value in values.items()
        ]
        lines.append([kind.removeprefix("threshold "), name, *numbers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# %%
# The embedding
# -------------
# A t-SNE map of the test samples by the cosine of their embeddings, one panel for each of the most
# frequent labels. If the samples with a label are close together, the label is easy to predict.


def plot_embedding(
    result: Result, data: Bunch, *, max_samples: int = 1500
) -> Figure:
    """Draw the map of the test samples, one panel for each of ten labels."""
    Y = data.Y_test[:max_samples]
    embedding = result.model.best_estimator_.transform(
        data.X_test[:max_samples]
    )
    # Several threads make so small a map slower, most of all on a busy machine.
    with threadpool_limits(1):
        x, y = (
            TSNE(metric="cosine", init="pca", random_state=0)
            .fit_transform(embedding)
            .T
        )
    frequent = np.sort(
        np.argsort(-data.Y_train.sum(axis=0), kind="stable")[:10]
    )
    n_columns = -(-len(frequent) // 2)
    size = (2.2 * n_columns, 5.2)
    figure, axes = plt.subplots(
        2, n_columns, figsize=size, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, label in zip(axes.flat, frequent, strict=False):
        positive = Y[:, label] == 1
        axis.scatter(x[~positive], y[~positive], s=5, color=QUIET, linewidths=0)
        axis.scatter(x[positive], y[positive], s=7, color=RED, linewidths=0)
        axis.set_title(
            f"{data.label_names[label]} ({positive.mean():.0%})", fontsize=10
        )
    figure.suptitle(
        "Test samples in the embedding; "
        "red: samples with the label (their share)"
    )
    return figure


# %%
# Label by label
# --------------
# The average precision of our model and of the other model with the best mean, sorted.


def plot_average_precision(results: dict[str, Result], data: Bunch) -> Figure:
    """Draw both average precisions of every label that test samples have."""
    seen = data.Y_test.any(axis=0)
    Y, names = data.Y_test[:, seen], data.label_names[seen]
    precision = {
        name: average_precision(Y, result.probabilities[:, seen], average=None)
        for name, result in results.items()
    }
    best = max(
        precision.keys() - {OURS}, key=lambda peer: precision[peer].mean()
    )
    order = np.argsort(precision[OURS])
    ours, theirs = precision[OURS][order], precision[best][order]
    height = np.arange(len(order))
    few = len(order) <= 60
    dots = {"s": 36 if few else 10, "linewidths": 0, "clip_on": False}
    figure, axis = plt.subplots(
        figsize=(7, np.clip(1.4 + 0.25 * len(order), 3, 11)),
        layout="constrained",
    )
    axis.hlines(
        height,
        ours,
        theirs,
        color=QUIET,
        linewidth=1.5 if few else 0.8,
        zorder=1,
    )
    axis.scatter(theirs, height, color=BLUE, label=legend(best, theirs), **dots)
    axis.scatter(ours, height, color=RED, label=legend(OURS, ours), **dots)
    axis.set_yticks(*((height, names[order]) if few else ([],)))
    lowest = np.floor(20 * min(ours.min(), theirs.min())) / 20
    axis.set(xlim=(lowest, 1), ylim=(-0.7, len(order) - 0.3))
    axis.set_xlabel("average precision, test samples")
    axis.set_ylabel("" if few else f"{len(order)} labels, in the order of ours")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def legend(name: str, precision: np.ndarray) -> str:
    """Return the name of a model with its mean average precision."""
    return f"{name} (mean {precision.mean():.3f})"


# %%
# Run the comparison
# ------------------


def main(name: str, output: Path = Path("quickstart_output")) -> None:
    """Compare the models on a data set, print the table, save the figures."""
    start = time.perf_counter()
    data = load(name)
    print(
        f"{name}: {len(data.Y_train)} training samples, "
        f"{len(data.Y_test)} test samples, "
        f"{data.X_train.shape[1]} features, {data.Y_train.shape[1]} labels"
    )
    results = {}
    for model_name, model in make_models(sp.issparse(data.X_train)).items():
        print(f"fitting: {model_name}", flush=True)
        results[model_name] = evaluate(model, data)
    print(f"chosen: {results[OURS].model.best_params_}\n")
    print(markdown(table(results, data.Y_test)))
    tuned = {
        name: f"{result.threshold:.2f}" for name, result in results.items()
    }
    print(
        "\ntuned thresholds:\n"
        + "\n".join(f"{name} {cut}" for name, cut in tuned.items())
    )
    output.mkdir(exist_ok=True)
    figures = {
        "embedding": plot_embedding(results[OURS], data),
        "average_precision": plot_average_precision(results, data),
    }
    for kind, figure in figures.items():
        path = output / f"{name}_{kind}.png"
        figure.savefig(path, dpi=150)
        print(f"saved {path}")
    print(f"{time.perf_counter() - start:.0f} seconds in all")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "digits")
