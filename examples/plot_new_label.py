"""
A new label next month
======================

A classifier is in use, and a label is added. Few samples have it yet.
:func:`sklearn_mlcl.extension.add_label` learns the label on the embedding of the fitted classifier.
Its net is not trained again, and the probabilities of the other labels stay as they are.
"""

# %%
# The classifier in use
# ---------------------
# A plant has 60 sensors. They all measure the same three hidden states, each in its own way, with
# noise. Twelve faults depend on the states. The classifier knows eleven of them.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_mlcl import (
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    load,
)
from sklearn_mlcl.extension import add_label
from sklearn_mlcl.metrics import average_precision
from sklearn_mlcl.recipes import FAST

rng = np.random.default_rng(0)
states = rng.normal(size=(3000, 3))
X = np.sin(1.5 * states @ rng.normal(size=(3, 60)) + rng.uniform(0, 6, size=60))
X += 0.4 * rng.normal(size=X.shape)
severity = states @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(3000, 12))
Y = pd.DataFrame(
    (severity > 2).astype(int), columns=[f"fault {i}" for i in range(1, 13)]
)
NEW = "fault 12"
X_train, X_test, Y_train, Y_test = X[:2000], X[2000:], Y[:2000], Y[2000:]

in_use = MultiLabelMLPClassifier(**FAST, random_state=0)
in_use.fit(X_train, Y_train.drop(columns=NEW))
print(len(in_use.label_names_), "labels:", *in_use.label_names_[:3], "...")

# %%
# Eighty samples with the new label
# ---------------------------------
# A person checks 80 samples and marks the new fault. The result is a classifier with twelve labels. You
# can save, load and export it like the one before. The other labels of these samples are not needed.

few = slice(0, 80)
print(f"{Y_train[NEW][few].sum()} of 80 samples have the new label")
extended = add_label(in_use, X_train[few], Y_train[NEW][few], NEW)
print(
    f"{len(extended.label_names_)} labels,",
    f"the last one is {extended.label_names_[-1]}",
)

path = Path(tempfile.mkdtemp()) / "twelve_labels.safetensors"
extended.save(path)
served = load(path).set_output(predict="pandas")
print(served.predict_proba(X_test[:3]).iloc[:, -4:].round(3).to_string())

# %%
# The other labels did not change.

known = in_use.predict_proba(X_test)
difference = np.abs(extended.predict_proba(X_test)[:, :-1] - known).max()
print(f"largest change of another probability: {difference:.0e}")

# %%
# How many samples are needed?
# ----------------------------
# The figure has the average precision of the new label, the mean over five draws of the samples. It
# compares the embedding with logistic regressions on the sensors themselves, and with a new training of
# all labels on all training samples. The embedding helps because the new fault depends on the same
# states as the others. For a label that does not depend on these states, train again.

truth = Y_test[[NEW]].to_numpy()
numbers = [40, 80, 160, 320]
rows = []
for n in numbers:
    for draw in range(5):
        drawn = np.random.default_rng(draw).permutation(len(X_train))[:n]
        y = Y_train[NEW].iloc[drawn]
        on_embedding = add_label(in_use, X_train[drawn], y, NEW)
        on_sensors = MultiLabelLogisticRegression(C=0.1).fit(X_train[drawn], y)
        scores = {
            name: average_precision(truth, model.predict_proba(X_test)[:, [-1]])
            for name, model in {
                "embedding": on_embedding,
                "sensors": on_sensors,
            }.items()
        }
        rows.append({"samples": n, **scores})
table = pd.DataFrame(rows).groupby("samples").mean()
print(table.round(3).to_string())

goal = MultiLabelMLPClassifier(**FAST, random_state=0).fit(X_train, Y_train)
goal = average_precision(truth, goal.predict_proba(X_test)[:, [-1]])
ax = table.plot(marker="o", logx=True, figsize=(7, 4))
ax.axhline(
    goal,
    color="0.5",
    linestyle="--",
    label=f"a new training on {len(X_train)} samples",
)
ax.set(ylabel=f"average precision of {NEW}", ylim=(0, 1))
ax.set_xticks(numbers, map(str, numbers))
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()
