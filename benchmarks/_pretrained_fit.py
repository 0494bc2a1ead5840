"""One cell of the study of pretrained encoders: an encoder, its own head, heads refitted.

Every loss is treated alike. Rows that the encoder does not learn from choose one C for all labels,
on a path, by their log loss, and one threshold for each score. 15 % of the rows are held out, and
the encoder of the others predicts. Of up to 300 rows with frozen embeddings, three folds hold out
all, and an encoder of all predicts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils import Bunch

from benchmarks._pretrained_data import MiniLM
from benchmarks._resumable import Row
from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    recipes,
)
from sklearn_mlcl.metrics import average_precision, f1_macro, f1_micro, f1_samples
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)
from sklearn_mlcl.solvers import select_C
from sklearn_mlcl.thresholds import tune_thresholds

F1 = {"f1_micro": f1_micro, "f1_macro": f1_macro, "f1_samples": f1_samples}
#: The path of C of the heads.
CS = tuple(10.0 ** (power / 2) for power in range(-7, 1))
FEW_ROWS, N_FOLDS, HELD_OUT = 300, 3, 0.15
#: Nearest training samples that a test sample asks for its labels, and the scale of their votes.
N_NEIGHBORS, VOTE_TEMPERATURE = 20, 0.1
#: Labels that no encoder was trained on, the next in frequency, and the share of all training rows
#: that shows them.
N_NEW_LABELS, NEW_SHARE = 20, 0.1
#: What a fit of the study does not choose: all is chosen here, by the same rule for every loss.
FIXED: dict[str, Any] = {
    "threshold": 0.5,
    "validation": None,
    "early_stopping": False,
    "neighbor_weight": 0.0,
}

Parameters = dict[str, Any]

#: What differs between the losses. The contrastive ones alone have the settings of their papers.
METHODS: dict[str, tuple[type[BaseEstimator], Parameters]] = {
    "BCE": (MultiLabelMLPClassifier, {"loss": "bce"}),
    "ASL": (MultiLabelMLPClassifier, {"loss": "asl"}),
    "L_REG": (
        ContrastiveMultiLabelClassifier,
        {"loss": "reg", "temperature": 0.1, "lambda_joint": 0.0},
    ),
    "MSC": (
        ContrastiveMultiLabelClassifier,
        {"loss": "msc", "temperature": 0.1, "lambda_reg": 0.0, "lambda_joint": 0.0},
    ),
    "L_REG + BCE": (ContrastiveMultiLabelClassifier, {"loss": "reg"}),
    "L_REG + ASL": (
        ContrastiveMultiLabelClassifier,
        {"loss": "reg", "loss_params": {"joint_loss": "asl"}},
    ),
}
#: References: heads on frozen embeddings without a net between, and what users have, with all that
#: a fit chooses: our default on frozen embeddings, and the recipe for fine-tuning.
NO_NET, DEFAULT, RECIPE = "no net", "default", "recipe"
REFERENCES = {"frozen": (DEFAULT, NO_NET), "fine-tuned": (RECIPE,)}


class Heads(NamedTuple):
    """Logistic heads on standardised embeddings."""

    scaler: StandardScaler
    heads: MultiLabelLogisticRegression

    @classmethod
    def fitted(cls, E: np.ndarray, Y: np.ndarray, C: float) -> Heads:
        """Fit one C for all labels."""
        scaler = StandardScaler().fit(E)
        heads = MultiLabelLogisticRegression(C=C, tol=1e-6).fit(scaler.transform(E), Y)
        return cls(scaler, heads)

    def predict_proba(self, E: np.ndarray) -> np.ndarray:
        """Return probabilities (n, L)."""
        return self.heads.predict_proba(self.scaler.transform(E))


class NoNet:
    """An encoder that leaves samples as they are."""

    def fit(self, X: np.ndarray, Y: np.ndarray) -> NoNet:
        """Learn nothing."""
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the samples."""
        return X


def encoder_of(method: str, mode: str, seed: int) -> Any:
    """Return an estimator that is to be fitted; its heads and choices are not used."""
    if method == NO_NET:
        return NoNet()
    estimator, parameters = METHODS[method]
    recipe = {**(recipes.PLAIN if mode == "frozen" else fine_tuning()), **FIXED}
    allowed = estimator().get_params()
    recipe = {name: value for name, value in recipe.items() if name in allowed}
    # The head that is trained with the encoder, where there is one, and not one refitted within.
    recipe.pop("head", None)
    return estimator(**{**recipe, **parameters, "random_state": seed})


def fine_tuning() -> Parameters:
    """Return the recipe with the encoder; bf16 takes a third of the time where it is built in."""
    net_params = {**recipes.FINETUNE["net_params"], "precision": "bf16"}
    return {**recipes.FINETUNE, "module": MiniLM, "net_params": net_params}


def has_head(method: str) -> bool:
    """Return whether a method trains a head of its own."""
    return method != NO_NET and METHODS[method][1].get("lambda_joint", 1.0) > 0


def total_loss(E: np.ndarray, Y: np.ndarray, fitted: np.ndarray, held_out: np.ndarray) -> Any:
    """Return the held-out log loss of heads, summed over the labels, for every C of the path."""
    E = StandardScaler().fit(E[fitted]).transform(E)
    found = select_C(E, Y, CS, cv=[(fitted, held_out)], tol=1e-6)
    return found.log_loss.sum(axis=1) * len(held_out)


def splits_of(Y: np.ndarray, mode: str, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what encoders learn from, and what chooses for them."""
    if mode == "frozen" and len(Y) <= FEW_ROWS:
        splitter: Any = MultilabelStratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    else:
        splitter = MultilabelStratifiedShuffleSplit(1, test_size=HELD_OUT, random_state=seed)
    return splitter.split(np.zeros((len(Y), 1)), Y)


def scored(
    Y: np.ndarray, proba: np.ndarray, Y_held_out: np.ndarray, held_out: np.ndarray
) -> dict[str, float]:
    """Return mAP, and each F1 at one threshold that held-out rows chose for it."""
    found = {"map": average_precision(Y, proba)}
    for name, score in F1.items():
        cut = tune_thresholds(Y_held_out, held_out, objective=name, per_label=False)[0]
        found[name] = score(Y, (proba >= cut).astype(int))
    return found


def neighbours_map(E: np.ndarray, Y: np.ndarray, E_test: np.ndarray, Y_test: np.ndarray) -> float:
    """Return the mAP of votes of the nearest training samples, by cosine."""
    cosine = normalize(E_test) @ normalize(E).T
    nearest = np.argsort(-cosine, axis=1)[:, :N_NEIGHBORS]
    weight = np.exp(np.take_along_axis(cosine, nearest, axis=1) / VOTE_TEMPERATURE)
    votes = np.einsum("ik,ikl->il", weight / weight.sum(axis=1, keepdims=True), Y[nearest])
    return average_precision(Y_test, votes)


def new_labels_map(E: np.ndarray, Y: np.ndarray, E_test: np.ndarray, Y_test: np.ndarray) -> float:
    """Return the mAP of labels that the encoder never saw; their C is chosen in three folds."""
    folds = MultilabelStratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    loss = sum(total_loss(E, Y, *split) for split in folds.split(E, Y))
    heads = Heads.fitted(E, Y, CS[int(np.argmin(loss))])
    return average_precision(Y_test, heads.predict_proba(E_test))


def without_half(Y: np.ndarray, seed: int) -> np.ndarray:
    """Return labels of which half of the positives are lost."""
    return Y * (np.random.default_rng(seed).random(Y.shape) < 0.5)


def evaluate(fresh: Callable[[], Any], mode: str, data: Bunch, seed: int, own_head: bool) -> Row:
    """Train, choose on held-out rows, and score the test rows.

    Parameters
    ----------
    fresh : callable
        Returns an estimator to fit.
    mode : {"frozen", "fine-tuned"}
        How rows are held out.
    data : Bunch
        X, Y, X_test, Y_test; X_new, Y_new, Y_new_test with labels that no encoder sees, or None.
    seed : int
        Deals the rows.
    own_head : bool
        Whether the estimator's own probabilities are scored too.
    """
    start = time.process_time()
    X, Y, X_test = data.X, data.Y, data.X_test
    parts, loss = [], np.zeros(len(CS))
    for fitted, held_out in splits_of(Y, mode, seed):
        encoder = fresh().fit(X[fitted], Y[fitted])
        E = np.asarray(encoder.transform(X), dtype=np.float64)
        parts.append((encoder, E, fitted, held_out))
        loss += total_loss(E, Y, fitted, held_out)
    C = CS[int(np.argmin(loss))]
    chosen_on = np.concatenate([Y[held_out] for *_, held_out in parts])
    held_out_refitted = np.concatenate(
        [
            Heads.fitted(E[fitted], Y[fitted], C).predict_proba(E[rest])
            for _, E, fitted, rest in parts
        ]
    )
    learnt = np.arange(len(Y))
    if len(parts) == 1:
        encoder, E, learnt, _ = parts[0]
        E = E[learnt]
    else:
        encoder = fresh().fit(X, Y)
        E = np.asarray(encoder.transform(X), dtype=np.float64)
    E_test = np.asarray(encoder.transform(X_test), dtype=np.float64)
    refitted = Heads.fitted(E, Y[learnt], C).predict_proba(E_test)
    row: Row = {"C": C, "n_learnt": len(learnt)}
    row["refitted"] = scored(data.Y_test, refitted, chosen_on, held_out_refitted)
    if own_head:
        own = np.concatenate([part[0].predict_proba(X[part[3]]) for part in parts])
        row["own"] = scored(data.Y_test, encoder.predict_proba(X_test), chosen_on, own)
    row["neighbours"] = neighbours_map(E, Y[learnt], E_test, data.Y_test)
    if data.Y_new is not None:
        E_new = np.asarray(encoder.transform(data.X_new), dtype=np.float64)
        row["new_labels"] = new_labels_map(E_new, data.Y_new, E_test, data.Y_new_test)
    row["seconds"] = round(time.process_time() - start, 1)
    return row


def evaluate_whole(clf: BaseEstimator, data: Bunch) -> Row:
    """Score an estimator as it is, at thresholds of its own held-out rows, or 0.5 without those."""
    start = time.process_time()
    clf.fit(data.X, data.Y)
    proba = clf.predict_proba(data.X_test)
    held_out = getattr(clf, "oof_proba_", None)
    if held_out is None:
        own = {name: score(data.Y_test, (proba >= 0.5).astype(int)) for name, score in F1.items()}
        own["map"] = average_precision(data.Y_test, proba)
    else:
        known = ~np.isnan(held_out).any(axis=1)
        own = scored(data.Y_test, proba, data.Y[known], held_out[known])
    seconds = round(time.process_time() - start, 1)
    return {"own": own, "n_learnt": len(data.Y), "seconds": seconds}


def rows_of(data: Bunch, task: Row) -> Bunch:
    """Return the samples and labels of a cell, with the frozen embeddings or token ids as X."""
    n_labels, n_rows, seed = task["n_labels"], task["n_rows"], task["seed"]
    X, X_test = (data.E, data.E_test) if task["mode"] == "frozen" else (data.X, data.X_test)
    rows = drawn(data.Y[:, :n_labels], n_rows, seed)
    Y = data.Y[rows, :n_labels]
    part = Bunch(
        X=X[rows],
        Y=without_half(Y, seed) if task["lost"] else Y,
        X_test=X_test,
        Y_test=data.Y_test[:, :n_labels],
        Y_new=None,
    )
    new = slice(n_labels, n_labels + N_NEW_LABELS)
    if new.stop <= data.Y.shape[1]:
        few = drawn(data.Y[:, new], round(NEW_SHARE * len(data.Y)), seed)
        part.update(X_new=X[few], Y_new=data.Y[few, new], Y_new_test=data.Y_test[:, new])
    return part


def drawn(Y: np.ndarray, n_rows: int, seed: int) -> np.ndarray:
    """Return the numbers of so many rows, stratified over the labels."""
    if n_rows >= len(Y):
        return np.arange(len(Y))
    splitter = MultilabelStratifiedShuffleSplit(1, train_size=n_rows, random_state=seed)
    return np.sort(next(splitter.split(np.zeros((len(Y), 1)), Y))[0])


def run_cell(data: Bunch, task: Row) -> Row:
    """Return the row of a cell."""
    part, method, seed = rows_of(data, task), task["method"], task["seed"]
    with warnings.catch_warnings():
        # A label may have no positive in few rows, for every method.
        warnings.filterwarnings("ignore", message=".*labels? have a single value")
        warnings.filterwarnings("ignore", message=".*needs held-out samples")
        if method in (DEFAULT, RECIPE):
            settings = fine_tuning() if method == RECIPE else {}
            clf = ContrastiveMultiLabelClassifier(**settings, random_state=seed)
            return {**task, **evaluate_whole(clf, part)}
        return {
            **task,
            **evaluate(
                lambda: encoder_of(method, task["mode"], seed),
                task["mode"],
                part,
                seed,
                has_head(method),
            ),
        }
