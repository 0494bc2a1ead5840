"""
Looking at a fitted model
=========================

What a multi-label classifier learned, where it errs, and whether its settings are right: the
displays of :mod:`sklearn_mlcl.inspection` in the order in which one asks. Each takes a fitted
estimator, or a search or a pipeline around it, and rows that it was not fitted on; names come from
the columns of a DataFrame of labels.
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
from sklearn_mlcl.metrics import f1_macro_scorer
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
data = make_multilabel_digits(as_frame=True)
X, Y = data.data.to_numpy(), data.target.set_axis(WORDS, axis=1)
X_train, Y_train = X[data.train_idx], Y.iloc[data.train_idx]
X_test, Y_test = X[data.test_idx], Y.iloc[data.test_idx]

# %%
# Were the parameters well chosen?
# --------------------------------
# A search over temperature and clamp, as a map. A best cell at an edge says that the grid ends too
# early; columns or rows of one colour, that a parameter makes no difference.

net = ContrastiveMultiLabelClassifier(
    n_members=1, hidden_layer_sizes=(64,), max_epochs=10, threshold="f1_macro", random_state=0
)
search = GridSearchCV(
    net,
    {"temperature": [0.1, 0.3, 1.0], "lambda_reg": [0.0, 0.5, 1.0]},
    cv=MultilabelStratifiedKFold(2, shuffle=True, random_state=0),
    scoring=f1_macro_scorer,
).fit(X_train, Y_train)
SearchHeatmapDisplay.from_estimator(search)

# %%
# Was the training long enough?
# -----------------------------
# The threshold is tuned on rows that are held out, so there is a validation loss to look at. The
# training loss lies above it at first: dropout is on while it is taken.

TrainingCurveDisplay.from_estimator(search)

# %%
# What does the embedding hold?
# -----------------------------
# The test rows in two dimensions: principal components, coloured by the number of labels, and a
# t-SNE map, coloured by one of them. Any transformer to two columns will do.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
EmbeddingDisplay.from_estimator(search, X_test, Y_test, ax=axes[0])
with threadpool_limits(1):
    tsne = TSNE(metric="cosine", random_state=0)
    EmbeddingDisplay.from_estimator(search, X_test, Y_test, label="eight", reducer=tsne, ax=axes[1])

# %%
# Which labels are hard, and can the probabilities be believed?
# -------------------------------------------------------------
# Precision-recall curves rank the labels; reliability curves compare a probability with the share
# of rows that have the label. The six most frequent labels have colours unless others are named.

figure, axes = plt.subplots(2, 1, figsize=(7.4, 8.4), layout="constrained")
MultiLabelPrecisionRecallDisplay.from_estimator(
    search, X_test, Y_test, labels=["zero", "one", "eight", "nine"], ax=axes[0]
)
MultiLabelReliabilityDisplay.from_estimator(
    search, X_test, Y_test, labels=["zero", "one", "eight", "nine"], n_bins=8, ax=axes[1]
)

# %%
# Is the threshold right?
# -----------------------
# All scores against one threshold for all labels, and the F1 of each label against its own. The
# dashed line is the threshold that the classifier tuned.

figure, axes = plt.subplots(2, 1, figsize=(7.4, 7.6), layout="constrained")
ThresholdCurveDisplay.from_estimator(search, X_test, Y_test, ax=axes[0])
ThresholdCurveDisplay.from_estimator(search, X_test, Y_test, per_label=True, ax=axes[1])

# %%
# Which labels belong together?
# -----------------------------
# The observed correlation of the labels, the one that the predicted probabilities imply, and what
# is left over. Here a digit takes a place that another cannot have, so that all observed ones are
# slightly negative; where the learned one is not, the net takes one digit for the other.

LabelCorrelationDisplay.from_estimator(search, X_test, Y_test)

# %%
# With two hundred labels
# -----------------------
# The same displays, on made-up rows about twenty topics: the most frequent labels have names, the
# others are grey, and a mean says where they lie. Dots are the fitted thresholds, one for each
# label. In the correlations labels of a topic stand together, and what the noisy features do not
# tell about it is left over.

rng = np.random.default_rng(0)
topics = rng.normal(size=(1500, 20))
about = 2.5 * np.eye(20)[rng.integers(20, size=200)] + 0.3 * rng.normal(size=(200, 20))
chances = expit(topics @ about.T - rng.uniform(1, 5, size=200))
X_many = topics + rng.normal(size=topics.shape)
Y_many = (rng.random(chances.shape) < chances).astype(int)
half = len(X_many) // 2
heads = MultiLabelThresholdClassifierCV(
    MultiLabelLogisticRegression(C=0.1), objective="f1_macro", shrinkage=5, cv=3
).fit(X_many[:half], Y_many[:half])
figure, axes = plt.subplots(2, 1, figsize=(7.4, 8.0), layout="constrained")
MultiLabelPrecisionRecallDisplay.from_estimator(heads, X_many[half:], Y_many[half:], ax=axes[0])
ThresholdCurveDisplay.from_estimator(
    heads, X_many[half:], Y_many[half:], per_label=True, ax=axes[1]
)
LabelCorrelationDisplay.from_estimator(heads, X_many[half:], Y_many[half:])

# %%
# Any classifier of label matrices can be looked at, scikit-learn's too: its answers may be a matrix
# or a list of arrays, and unknown targets (NaN) are left out of every plot.

peer = OneVsRestClassifier(LogisticRegression(C=0.1, max_iter=200)).fit(X_train, Y_train.to_numpy())
Y_partly = Y_test.astype(float).mask(np.random.default_rng(0).random(Y_test.shape) < 0.4)
MultiLabelPrecisionRecallDisplay.from_estimator(peer, X_test, Y_partly)

# %%
plt.show()
