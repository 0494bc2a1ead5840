"""
Thresholds for any classifier
=============================

A threshold of 0.5 is rarely the best. :class:`sklearn_mlcl.MultiLabelThresholdClassifierCV` finds a
better one by cross-validation, for every classifier with probabilities. Here it wraps a random
forest, whose probabilities stay far below 0.5 for rare labels.
"""

# %%
# Data
# ----
# The samples have up to three handwritten digits, and ten labels.

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
# 0.5, one threshold, one threshold per label
# -------------------------------------------
# The thresholds are tuned on probabilities for training samples that were not used for the fit.
# Then the forest is fitted on all training samples. The test samples are used once.

models = {
    "0.5": forest,
    "one threshold": MultiLabelThresholdClassifierCV(
        forest, objective="f1_samples", per_label=False
    ),
    "one per label": MultiLabelThresholdClassifierCV(
        forest, objective="f1_macro", per_label=True
    ),
}
scores = {"example-F1": f1_samples, "micro-F1": f1_micro, "macro-F1": f1_macro}
table = pd.DataFrame(
    {
        name: {
            score: f(Y_test, model.predict(X_test))
            for score, f in scores.items()
        }
        for name, model in (
            (name, model.fit(X, Y)) for name, model in models.items()
        )
    }
).T
print(table.round(3).to_string())

# %%
# The score against the threshold
# -------------------------------
# The figure has the score of the test samples against the threshold. The dashed line is the tuned
# threshold. The maximum is flat, so a threshold close to it is enough; 0.5 is not close.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ThresholdCurveDisplay.from_estimator(
    models["one threshold"], X_test, Y_test, ax=axes[0]
)
ThresholdCurveDisplay.from_estimator(
    models["one per label"], X_test, Y_test, per_label=True, ax=axes[1]
)
plt.show()
