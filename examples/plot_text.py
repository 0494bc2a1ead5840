"""
Text: TF-IDF, CSR and label names
=================================

A ``TfidfVectorizer`` turns text into CSR, a sparse matrix. The classifier makes it dense one batch at a
time. The texts are the prose of scikit-learn's docstrings. The labels are the
parameters of the function or class. ``tol`` and ``max_iter`` nearly always occur together; ``copy``
is independent of both.
"""

# %%
# The texts
# ---------
# The section of the parameters is removed, and so is everything after it.

import inspect
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.discovery import all_estimators, all_functions

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
)
from sklearn_mlcl.inspection import LabelCorrelationDisplay
from sklearn_mlcl.metrics import average_precision, f1_macro, get_scorer
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedKFold,
    MultilabelStratifiedShuffleSplit,
)
from sklearn_mlcl.recipes import FAST

LABELS = [
    "random_state",
    "n_jobs",
    "verbose",
    "tol",
    "max_iter",
    "sample_weight",
    "n_components",
]
LABELS += ["copy", "fit_intercept", "warm_start", "metric"]


def prose(documented):
    """Return a docstring up to its first section."""
    return re.split(r"\n\w[\w ]*\n-{4,}", inspect.getdoc(documented) or "")[0]


members = dict(all_estimators() + all_functions())
texts = np.array([prose(member) for member in members.values()], dtype=object)
taken = [inspect.signature(member).parameters for member in members.values()]
Y = pd.DataFrame(
    {label: [int(label in names) for names in taken] for label in LABELS}
)
split = MultilabelStratifiedShuffleSplit(1, test_size=0.3, random_state=0)
train, test = next(split.split(texts, Y))
print(
    f"{len(texts)} texts, each with {Y.sum(axis=1).mean():.1f} "
    f"of {len(LABELS)} labels"
)

# %%
# Pipeline and search
# -------------------
# Parameters of the vectorizer and of the net are searched together. The grid is small and the
# search has one net (``**FAST``), so it takes seconds. The labels are a DataFrame, so their names
# are known.

pipeline = Pipeline(
    [
        (
            "words",
            TfidfVectorizer(sublinear_tf=True, min_df=2, stop_words="english"),
        ),
        ("labels", ContrastiveMultiLabelClassifier(**FAST, random_state=0)),
    ]
)
search = GridSearchCV(
    pipeline,
    {
        "words__ngram_range": [(1, 1), (1, 2)],
        "labels__lambda_joint": [0.2, 2.0],
    },
    cv=MultilabelStratifiedKFold(3),
    scoring=get_scorer("average_precision_macro"),
).fit(texts[train], Y.iloc[train])
print(search.best_params_)
search.best_estimator_

# %%
# Scores on test texts
# --------------------
# The table also has logistic regressions on the same words, with a penalty chosen for each label. The
# two have about the same mAP. At the threshold of 0.5 the net finds more of the rare labels.

heads = Pipeline(
    [pipeline.steps[0], ("labels", MultiLabelLogisticRegression(C="cv"))]
)
heads.fit(texts[train], Y.iloc[train])
scores = {}
for name, model in (("contrastive", search), ("logistic regressions", heads)):
    probabilities = model.predict_proba(texts[test])
    scores[name] = {
        "mAP": average_precision(Y.iloc[test], probabilities),
        "macro-F1 at 0.5": f1_macro(Y.iloc[test], probabilities >= 0.5),
    }
print(pd.DataFrame(scores).T.round(3).to_string())

# %%
# Predictions with names
# ----------------------
# With ``set_output(predict="pandas")`` the classifier predicts DataFrames, and the pipeline returns
# them.

search.best_estimator_[-1].set_output(predict="pandas")
asked = [
    "Fit a sparse linear model by coordinate descent, until convergence.",
    "Draw random projections and reduce the dimension of the data.",
    "Compute pairwise distances in parallel.",
]
print(search.predict_proba(asked).round(2).T.to_string())

# %%
# Correlated labels
# -----------------
# The observed correlations of the labels, and those of the predicted probabilities.

figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
LabelCorrelationDisplay.from_estimator(
    search, texts[test], Y.iloc[test], ax=axes
)
plt.show()
