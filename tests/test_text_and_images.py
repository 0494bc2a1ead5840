"""The recipes for text and images: CSR from words, vectors from pictures, modules of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn

from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelLogisticRegression
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import average_precision
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from tests.small import every_classifier, small

TOPICS = {
    "cooking": "simmer onion garlic butter oven recipe spoon dough",
    "sailing": "harbour mast wind anchor tide sail deck compass",
    "finance": "interest loan market budget savings tax broker bond",
}


@pytest.fixture(scope="module")
def notes() -> tuple[list[str], pd.DataFrame]:
    """150 notes, each about one topic or two, between words that say nothing."""
    rng = np.random.default_rng(0)
    filler = ["today", "we", "talked", "about", "else", "and", "then", "again", "of", "it"]
    labels = pd.DataFrame(rng.random((150, 3)) < 0.4, columns=list(TOPICS)).astype(int)
    texts = []
    for topics in labels.to_numpy(dtype=bool):
        chosen = [word for words in np.array(list(TOPICS.values()))[topics] for word in
                  rng.choice(words.split(), 3)]  # fmt: skip
        texts.append(" ".join(rng.permutation([*chosen, *rng.choice(filler, 8)])))
    return texts, labels


class SeenByTheClassifier(TransformerMixin, BaseEstimator):
    """Refuse anything but CSR on its way to the classifier."""

    def fit(self, X: Any, y: Any = None) -> SeenByTheClassifier:
        return self

    def transform(self, X: Any) -> Any:
        assert sp.issparse(X) and X.format == "csr"
        return X

    def __sklearn_is_fitted__(self) -> bool:
        return True


@every_classifier
def test_words_to_labels_through_a_search(make: Any, notes: Any) -> None:
    texts, labels = notes
    epochs = (
        {} if make is MultiLabelLogisticRegression else {"max_epochs": 20, "learning_rate": 0.02}
    )
    named = small(make, **epochs).set_output(predict="pandas")
    steps = [("words", TfidfVectorizer()), ("csr", SeenByTheClassifier()), ("labels", named)]
    search = GridSearchCV(
        Pipeline(steps),
        {"words__ngram_range": [(1, 1), (1, 2)]},
        cv=MultilabelStratifiedKFold(2),
        scoring="roc_auc",
    ).fit(texts[:110], labels[:110])
    assert search.best_score_ > 0.8
    answer = search.predict_proba(texts[110:])
    assert list(answer.columns) == list(TOPICS)
    assert roc_auc_score(labels[110:], answer) > 0.9
    spoken = search.predict_proba(["the wind and the tide", "butter in the dough"])
    assert spoken["sailing"].idxmax() == 0 and spoken["cooking"].idxmax() == 1


class Convolution(nn.Sequential):
    """16 by 16 pixels to 32 numbers."""

    def __init__(self, n_features: int) -> None:
        super().__init__(
            nn.Unflatten(1, (1, 16, 16)),
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.AdaptiveMaxPool2d(4),
            nn.Flatten(),
            nn.Linear(n_features, 32),
        )


@pytest.fixture(scope="module")
def scenes() -> Any:
    train, test = (make_multilabel_digits(subset=s, return_X_y=True) for s in ("train", "test"))
    return (*(a[:400] for a in train), *(a[:200] for a in test))


@pytest.mark.parametrize("n_estimators", [1, 2])
def test_convolutions_as_the_encoder(n_estimators: int, scenes: Any) -> None:
    X, Y, X_test, Y_test = scenes
    options = {"n_estimators": n_estimators, "feature_noise": 0.2, "max_epochs": 15}
    clf = small(ContrastiveMultiLabelClassifier, module=Convolution, **options).fit(X, Y)
    assert clf.transform(X_test).shape == (200, 32 * n_estimators)
    assert average_precision(Y_test, clf.predict_proba(X_test)) > 2 * Y_test.mean()


class RowsAndColumns(TransformerMixin, BaseEstimator):
    """A stand-in for a pretrained model: how much ink every row and column has."""

    n_calls = 0

    def fit(self, X: np.ndarray, y: Any = None) -> RowsAndColumns:
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        type(self).n_calls += 1
        images = X.reshape(-1, 16, 16)
        return np.hstack([images.sum(axis=1), images.sum(axis=2)])

    def __sklearn_is_fitted__(self) -> bool:
        return True


def test_a_cached_embedding_is_computed_once_a_fold(scenes: Any, tmp_path: Any) -> None:
    X, Y, *_ = scenes
    RowsAndColumns.n_calls = 0
    pipe = Pipeline(
        [("embed", RowsAndColumns()), ("labels", MultiLabelLogisticRegression())],
        memory=str(tmp_path),
    )
    grid = {"labels__C": [0.01, 0.1, 1.0]}
    search = GridSearchCV(pipe, grid, cv=MultilabelStratifiedKFold(2), scoring="roc_auc")
    search.fit(X, Y)
    n_folds, n_candidates = 2, 3
    to_fit, to_score = n_folds + 1, n_folds * n_candidates
    assert RowsAndColumns.n_calls == to_fit + to_score
    assert search.best_score_ > 0.5
