"""One row of the accuracy benchmark: thresholds, fit and scores of an estimator on a set."""

from __future__ import annotations

import time
import warnings

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from benchmarks._accuracy_models import MODELS, VARIANTS
from benchmarks._resumable import Row, processor_seconds
from benchmarks._scores import DECISION_SCORES
from benchmarks.study_losses import load
from sklearn_mlcl.metrics import (
    average_precision,
    f1_micro,
    hamming_accuracy,
    multilabel_log_loss,
    precision_at_k,
)
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.thresholds import tune_thresholds
from sklearn_mlcl.utils.response import label_scores

N_FOLDS = 3
#: Scores of decisions by the objective that their threshold is tuned for.
OBJECTIVES = {**DECISION_SCORES, "accuracy": hamming_accuracy}
ORACLE_THRESHOLDS = np.arange(1, 10) / 10
#: Processor seconds of one fit.
FIT_SECONDS = 900.0
N_RESAMPLES = 1000
LEVEL = 0.9


def tuned_thresholds(Y: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return for every objective the one threshold for all labels that makes it largest."""
    return {
        name: float(tune_thresholds(Y, probabilities, objective=name, per_label=False)[0])
        for name in OBJECTIVES
    }


def scores_at(
    Y: np.ndarray, probabilities: np.ndarray, thresholds: dict[str, float]
) -> dict[str, float]:
    """Return every score of decisions at its own threshold."""
    return {
        name: score(Y, (probabilities >= thresholds[name]).astype(int))
        for name, score in OBJECTIVES.items()
    }


def oracle_scores(Y: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return every score at the best of nine thresholds on the very rows it is measured on."""
    at = [scores_at(Y, probabilities, dict.fromkeys(OBJECTIVES, t)) for t in ORACLE_THRESHOLDS]
    return {f"{name}_oracle": max(scores[name] for scores in at) for name in OBJECTIVES}


def fit_within(model: BaseEstimator, X: np.ndarray, Y: np.ndarray, seconds: float) -> BaseEstimator:
    """Fit, within so many processor seconds or the process ends."""
    with processor_seconds(seconds):
        return model.fit(X, Y)


def micro_f1_interval(
    Y: np.ndarray, decisions: np.ndarray, seed: int, level: float = LEVEL
) -> tuple[float, float]:
    """Return the bootstrap interval of micro-F1: samples drawn with replacement."""
    hits = (Y * decisions).sum(axis=1)
    sizes = Y.sum(axis=1) + decisions.sum(axis=1)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(Y), size=len(Y)) for _ in range(N_RESAMPLES))
    scores = [2 * hits[draw].sum() / max(sizes[draw].sum(), 1) for draw in draws]
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def own_estimate(model: BaseEstimator, data: Bunch, seed: int) -> dict[str, float]:
    """Return the micro-F1 that a fit expects of its decisions, and what the test samples say.

    Nothing of an estimator that has no ``validation_scores_``.
    """
    estimate = getattr(model, "validation_scores_", {}).get("f1_micro")
    if estimate is None:
        return {}
    decisions = np.asarray(model.predict(data.X_test))
    low, high = micro_f1_interval(data.Y_test, decisions, seed)
    return {
        "estimate": float(estimate),
        "estimated": f1_micro(data.Y_test, decisions),
        "estimated_low": low,
        "estimated_high": high,
    }


def evaluate(model: BaseEstimator, data: Bunch, seed: int, fit_seconds: float = FIT_SECONDS) -> Row:
    """Fit on the training rows, tune the thresholds on held-out ones, score the test rows.

    A fit that has out-of-fold probabilities of its own, ``oof_proba_``, gives the held-out ones.
    All others are fitted three times more.

    Parameters
    ----------
    model : classifier
        With ``predict_proba``; fitted anew each time.
    data : Bunch
        X, Y, X_test, Y_test.
    seed : int
        Deals the training rows to the folds of the thresholds.
    fit_seconds : float, default=900
        Processor seconds that each fit may use; the process ends at more.

    Returns
    -------
    row : dict
        Scores, thresholds and processor seconds.
    """
    start = time.process_time()
    fit_within(model, data.X, data.Y, fit_seconds)
    ended = time.process_time()
    held_out = getattr(model, "oof_proba_", None)
    if held_out is None:
        held_out = np.empty(data.Y.shape)
        folds = MultilabelStratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
        for train, rest in folds.split(data.X, data.Y):
            fitted = fit_within(clone(model), data.X[train], data.Y[train], fit_seconds)
            held_out[rest] = label_scores(fitted, data.X[rest], data.Y.shape[1], "predict_proba")
    rows = ~np.isnan(held_out).any(axis=1)
    thresholds = tuned_thresholds(data.Y[rows], held_out[rows])
    tuned = time.process_time()
    test = label_scores(model, data.X_test, data.Y.shape[1], "predict_proba")
    scores = {
        **scores_at(data.Y_test, test, thresholds),
        "map": average_precision(data.Y_test, test),
        "precision_at_1": precision_at_k(data.Y_test, test, k=1),
        # Clipped at the resolution of float32 for all: else a zero costs a forest twice as much.
        "log_loss": multilabel_log_loss(data.Y_test, test.astype(np.float32)),
        **oracle_scores(data.Y_test, test),
        **own_estimate(model, data, seed),
    }
    return {
        "status": "ok",
        **{name: round(value, 6) for name, value in scores.items()},
        "thresholds": thresholds,
        "fit_seconds": round(ended - start, 3),
        "threshold_seconds": round(tuned - ended, 3),
    }


def loaded(dataset: str, seed: int) -> Bunch:
    """Return a set.

    Of "<set>/4" a quarter of the training rows, dealt by the seed; "<set>/lsa" is a set of words
    with each row as a short dense vector.
    """
    name, _, change = dataset.partition("/")
    data = load(name)
    if change == "lsa":
        return as_embeddings(data)
    if change:
        folds = MultilabelStratifiedKFold(int(change), shuffle=True, random_state=seed)
        rows = next(folds.split(data.X, data.Y))[1]
        data.X, data.Y = data.X[rows], data.Y[rows]
    return data


def as_embeddings(data: Bunch, width: int = 128) -> Bunch:
    """Return a set with unit vectors of latent semantics in place of words.

    What weighs the words and projects them is fitted on the training rows, without labels.
    """
    model = make_pipeline(
        TfidfTransformer(sublinear_tf=True), TruncatedSVD(width, random_state=0), Normalizer()
    )
    X = model.fit_transform(data.X).astype(np.float32)
    return Bunch(
        X=X, Y=data.Y, X_test=model.transform(data.X_test).astype(X.dtype), Y_test=data.Y_test
    )


def run_fit(dataset: str, estimator: str, seed: int, fit_seconds: float) -> Row:
    """Evaluate an estimator on a set, on one thread, each fit within its processor seconds."""
    torch.set_num_threads(1)
    data = loaded(dataset, seed)
    model = {**MODELS, **VARIANTS}[estimator](sp.issparse(data.X), seed)
    with threadpool_limits(1), warnings.catch_warnings():
        # 200 iterations are the protocol; folds of rare labels lack a value, for every estimator.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        warnings.filterwarnings("ignore", message=".*labels? have a single value")
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        return evaluate(model, data, seed, fit_seconds)
