"""
Thresholds for any classifier
=============================

A probability of 0.5 is seldom the best place to cut.
:class:`sklearn_mlcl.MultiLabelThresholdClassifierCV` finds better ones by cross-validation, for
every classifier that gives probabilities: here for a random forest, whose averaged votes stay far
below 0.5 on labels that few rows have.
"""

# %%
# Data
# ----
# Handwritten digits composed to rows with up to three digits, ten labels.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from sklearn_mlcl import MultiLabelThresholdClassifierCV
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.inspection import ThresholdCurveDisplay
from sklearn_mlcl.metrics import f1_macro, f1_micro, f1_samples

X, Y = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
forest = RandomForestClassifier(100, random_state=0)

# %%
# 0.5, one threshold, one a label
# -------------------------------
# The thresholds are searched on probabilities of training rows that the forest was not fitted on;
# then it is fitted on all of them. The test rows are used once.

models = {
    "0.5": forest,
    "one threshold": MultiLabelThresholdClassifierCV(
        forest, objective="f1_samples", per_label=False
    ),
    "one a label": MultiLabelThresholdClassifierCV(forest, objective="f1_macro", per_label=True),
}
scores = {"example-F1": f1_samples, "micro-F1": f1_micro, "macro-F1": f1_macro}
table = pd.DataFrame(
    {
        name: {score: f(Y_test, model.predict(X_test)) for score, f in scores.items()}
        for name, model in ((name, model.fit(X, Y)) for name, model in models.items())
    }
).T
print(table.round(3).to_string())

# %%
# Where the cut is
# ----------------
# The score of the test rows against the threshold, with the fitted one marked. The top is flat:
# what matters is to be near it, and 0.5 is not.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ThresholdCurveDisplay.from_estimator(models["one threshold"], X_test, Y_test, ax=axes[0])
ThresholdCurveDisplay.from_estimator(
    models["one a label"], X_test, Y_test, per_label=True, ax=axes[1]
)
plt.show()
