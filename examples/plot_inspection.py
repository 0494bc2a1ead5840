"""
Inspecting a fitted model
=========================

This example shows the displays of :mod:`sklearn_mlcl.inspection`: what a multi-label classifier
learned, where it errs, and whether its parameters are good. Each display takes a fitted estimator,
or a search or pipeline around it, and samples that were not used for the fit. Names come from the
columns of a DataFrame of labels.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from threadpoolctl import threadpool_limits

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.inspection import (
    EmbeddingDisplay,
    LabelCorrelationDisplay,
    MultiLabelPrecisionRecallDisplay,
    MultiLabelReliabilityDisplay,
    SearchHeatmapDisplay,
    ThresholdCurveDisplay,
    TrainingCurveDisplay,
)
from sklearn_mlcl.metrics import get_scorer
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold

WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
]
data = make_multilabel_digits(as_frame=True)
X, Y = data.data.to_numpy(), data.target.set_axis(WORDS, axis=1)
X_train, Y_train = X[data.train_idx], Y.iloc[data.train_idx]
X_test, Y_test = X[data.test_idx], Y.iloc[data.test_idx]

# %%
# The search
# ----------
# A map of the scores over temperature and regularisation. If the best value lies at an edge, extend
# the grid. If columns or rows have one colour, the parameter makes no difference.

net = ContrastiveMultiLabelClassifier(
    n_estimators=1,
    hidden_layer_sizes=(64,),
    max_epochs=10,
    threshold="f1_macro",
    random_state=0,
)
search = GridSearchCV(
    net,
    {"temperature": [0.1, 0.3, 1.0], "lambda_reg": [0.0, 0.5, 1.0]},
    cv=MultilabelStratifiedKFold(2, shuffle=True, random_state=0),
    scoring=get_scorer("f1_macro"),
).fit(X_train, Y_train)
SearchHeatmapDisplay.from_estimator(search)

# %%
# The training
# ------------
# The threshold is tuned on held-out samples, so there is a validation loss. The training loss is
# higher at first, because dropout is on during training.

TrainingCurveDisplay.from_estimator(search)

# %%
# The embedding
# -------------
# The test samples in two dimensions: principal components, coloured by the number of labels, and a
# t-SNE map, coloured by one label. Any transformer to two columns works.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
EmbeddingDisplay.from_estimator(search, X_test, Y_test, ax=axes[0])
with threadpool_limits(1):
    tsne = TSNE(metric="cosine", random_state=0)
    EmbeddingDisplay.from_estimator(
        search, X_test, Y_test, label="eight", reducer=tsne, ax=axes[1]
    )

# %%
# Precision, recall and calibration
# ---------------------------------
# Precision-recall curves compare the labels. Reliability curves compare a probability with the
# share of samples that have the label. By default the six most frequent labels have colours.

figure, axes = plt.subplots(2, 1, figsize=(7.4, 8.4), layout="constrained")
MultiLabelPrecisionRecallDisplay.from_estimator(
    search, X_test, Y_test, labels=["zero", "one", "eight", "nine"], ax=axes[0]
)
MultiLabelReliabilityDisplay.from_estimator(
    search,
    X_test,
    Y_test,
    labels=["zero", "one", "eight", "nine"],
    n_bins=8,
    ax=axes[1],
)

# %%
# The threshold
# -------------
# All scores against one threshold for all labels, and the F1 of each label against its own. The
# dashed line is the tuned threshold of the classifier.

figure, axes = plt.subplots(2, 1, figsize=(7.4, 7.6), layout="constrained")
ThresholdCurveDisplay.from_estimator(search, X_test, Y_test, ax=axes[0])
ThresholdCurveDisplay.from_estimator(
    search, X_test, Y_test, per_label=True, ax=axes[1]
)

# %%
# Correlated labels
# -----------------
# The observed correlation of the labels, the correlation of the predicted probabilities, and their
# difference. Here two digits cannot have the same place, so all observed correlations are slightly
# negative. If a learned one is positive, the net confuses the two digits.

LabelCorrelationDisplay.from_estimator(search, X_test, Y_test)

# %%
# Two hundred labels
# ------------------
# The same displays, on made-up samples about twenty topics. The most frequent labels have names,
# the others are grey, and a mean summarises them. Dots are the fitted thresholds, one per label.
# Labels of one topic are adjacent in the correlations. The difference has what the noisy features
# do not explain.

rng = np.random.default_rng(0)
topics = rng.normal(size=(1500, 20))
about = 2.5 * np.eye(20)[rng.integers(20, size=200)] + 0.3 * rng.normal(
    size=(200, 20)
)
chances = expit(topics @ about.T - rng.uniform(1, 5, size=200))
X_many = topics + rng.normal(size=topics.shape)
Y_many = (rng.random(chances.shape) < chances).astype(int)
half = len(X_many) // 2
heads = MultiLabelThresholdClassifierCV(
    MultiLabelLogisticRegression(C=0.1), objective="f1_macro", shrinkage=5, cv=3
).fit(X_many[:half], Y_many[:half])
figure, axes = plt.subplots(2, 1, figsize=(7.4, 8.0), layout="constrained")
MultiLabelPrecisionRecallDisplay.from_estimator(
    heads, X_many[half:], Y_many[half:], ax=axes[0]
)
ThresholdCurveDisplay.from_estimator(
    heads, X_many[half:], Y_many[half:], per_label=True, ax=axes[1]
)
LabelCorrelationDisplay.from_estimator(heads, X_many[half:], Y_many[half:])

# %%
# The displays work with any classifier of label matrices, also scikit-learn's. Its predictions may
# be a matrix or a list of arrays. Missing targets (NaN) are ignored.

peer = OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=200)).fit(
    X_train, Y_train.to_numpy()
)
Y_partly = Y_test.astype(float).mask(
    np.random.default_rng(0).random(Y_test.shape) < 0.4
)
MultiLabelPrecisionRecallDisplay.from_estimator(peer, X_test, Y_partly)

# %%
plt.show()
