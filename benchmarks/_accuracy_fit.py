"""One row of the accuracy benchmark: thresholds, fit and scores of an estimator on a set."""

from __future__ import annotations

import time
import warnings

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from benchmarks._accuracy_models import MODELS, VARIANTS
from benchmarks._resumable import Row
from benchmarks._scores import DECISION_SCORES
from benchmarks.study_losses import load
from sklearn_mlcl.metrics import average_precision, hamming_accuracy, precision_at_k
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold, cross_val_predict
from sklearn_mlcl.thresholds import tune_thresholds
from sklearn_mlcl.utils.response import label_scores

N_FOLDS = 3
#: Scores of decisions by the objective that their threshold is tuned for.
OBJECTIVES = {**DECISION_SCORES, "accuracy": hamming_accuracy}
ORACLE_THRESHOLDS = np.arange(1, 10) / 10


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


def evaluate(model: BaseEstimator, data: Bunch, seed: int) -> Row:
    """Tune the thresholds on held-out training rows, fit on all of them, score the test rows.

    Parameters
    ----------
    model : classifier
        With ``predict_proba``; fitted anew each time.
    data : Bunch
        X, Y, X_test, Y_test.
    seed : int
        Deals the training rows to the folds of the thresholds.

    Returns
    -------
    row : dict
        Scores, thresholds and seconds.
    """
    start = time.perf_counter()
    folds = MultilabelStratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    thresholds = tuned_thresholds(data.Y, cross_val_predict(model, data.X, data.Y, cv=folds))
    tuned = time.perf_counter()
    model.fit(data.X, data.Y)
    fitted = time.perf_counter()
    test = label_scores(model, data.X_test, data.Y.shape[1], "predict_proba")
    scores = {
        **scores_at(data.Y_test, test, thresholds),
        "map": average_precision(data.Y_test, test),
        "precision_at_1": precision_at_k(data.Y_test, test, k=1),
        **oracle_scores(data.Y_test, test),
    }
    return {
        "status": "ok",
        **{name: round(value, 6) for name, value in scores.items()},
        "thresholds": thresholds,
        "fit_seconds": round(fitted - tuned, 3),
        "threshold_seconds": round(tuned - start, 3),
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


def run_fit(dataset: str, estimator: str, seed: int) -> Row:
    """Evaluate an estimator on a set, on one thread."""
    torch.set_num_threads(1)
    data = loaded(dataset, seed)
    model = {**MODELS, **VARIANTS}[estimator](sp.issparse(data.X), seed)
    with threadpool_limits(1), warnings.catch_warnings():
        # 200 iterations are the protocol; folds of rare labels lack a value, for every estimator.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        warnings.filterwarnings("ignore", message=".*labels? have a single value")
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        return evaluate(model, data, seed)
