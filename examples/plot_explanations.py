"""
Explanations: permutation importance, SHAP and LIME
===================================================

Which features does a label depend on, and why does this sample have it? Permutation importance and
SHAP answer the first question for all labels. SHAP and LIME answer the second one for a sample.
Here the true answer is known, because the readings of a machine and its faults are simulated.
"""

# %%
# Readings and faults
# -------------------
# Each fault depends on two readings. No fault depends on humidity or voltage.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import shap
import torch
from lime.lime_tabular import LimeTabularExplainer
from sklearn.inspection import permutation_importance
from sklearn.metrics import average_precision_score

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.recipes import FAST

READINGS = [
    "heat",
    "load",
    "pressure",
    "flow",
    "vibration",
    "age",
    "humidity",
    "voltage",
]
CAUSES = {
    "overheated": ["heat", "load"],
    "leaking": ["pressure", "flow"],
    "worn": ["vibration", "age"],
    "overloaded": ["load", "vibration"],
}
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(2000, len(READINGS))), columns=READINGS)
noise = rng.normal(scale=0.3, size=(len(X), len(CAUSES)))
Y = pd.DataFrame(
    {
        "overheated": X["heat"] + X["load"] + noise[:, 0] > 1.5,
        "leaking": X["pressure"] - X["flow"] + noise[:, 1] > 1.5,
        # Both high or both low: neither reading alone says anything.
        "worn": X["vibration"] * X["age"] + noise[:, 2] > 0.8,
        "overloaded": np.maximum(X["load"], X["vibration"]) + noise[:, 3] > 1.5,
    }
).astype(int)
X_train, X_test, Y_train, Y_test = X[:1500], X[1500:], Y[:1500], Y[1500:]
classifier = MultiLabelMLPClassifier(**FAST, random_state=0).fit(
    X_train, Y_train
)

# %%
# All labels at once
# ------------------
# Permutation importance shuffles one reading of the test samples and measures the loss of average
# precision. A scorer that returns a dict gives one importance per label.


def average_precision_of_labels(estimator, X, Y):
    """Return the average precision of each label."""
    probabilities = estimator.predict_proba(X)
    return {
        label: average_precision_score(Y[label], probabilities[:, column])
        for column, label in enumerate(Y)
    }


permuted = permutation_importance(
    classifier,
    X_test,
    Y_test,
    scoring=average_precision_of_labels,
    n_repeats=5,
    random_state=0,
)
importance = pd.DataFrame(
    {label: permuted[label].importances_mean for label in Y}, index=READINGS
)

# %%
# SHAP attributes the probability of a sample to its readings. ``to_module`` is one torch module
# from samples to probabilities, with gradients. The mean size over some samples is an importance.

N_EXPLAINED = 200
samples = torch.tensor(X_test.to_numpy(), dtype=torch.float32)
background = torch.tensor(X_train.to_numpy(), dtype=torch.float32)
explainer = shap.GradientExplainer(classifier.to_module(), background)
values = explainer.shap_values(samples[:N_EXPLAINED], rseed=0)
attribution = pd.DataFrame(
    np.abs(values).mean(axis=0), index=READINGS, columns=list(Y)
)

# %%
# Both find the true causes, which the crosses mark. Interactions count too: vibration and age
# matter together for "worn".

figure, axes = plt.subplots(
    1, 2, figsize=(10, 4), layout="constrained", sharey=True
)
titles = ["loss of average precision", "mean size of SHAP values"]
for ax, table, title in zip(
    axes, (importance, attribution), titles, strict=True
):
    image = ax.imshow(table, cmap="Blues", vmin=0, aspect="auto")
    ax.set(title=title, xticks=range(len(CAUSES)), xticklabels=CAUSES)
    ax.set_yticks(range(len(READINGS)), READINGS)
    for column, causes in enumerate(CAUSES.values()):
        rows = [READINGS.index(cause) for cause in causes]
        ax.scatter([column] * len(rows), rows, marker="x", color="tab:orange")
    figure.colorbar(image, ax=ax)
plt.show()

# %%
# One sample
# ----------
# LIME fits a linear model to the probabilities of many samples near the given one. It expects two
# columns that sum to 1, so it explains one label at a time.

LABEL = "overheated"
column = list(Y).index(LABEL)
probability = classifier.predict_proba(X_test)[:, column]
sample = int(np.argmax((probability * Y_test[LABEL])[:N_EXPLAINED]))
print(X_test.iloc[sample].round(2).to_string())
print(f"probability of {LABEL}: {probability[sample]:.2f}")


def absent_and_present(rows):
    """Return the probabilities of an absent and of a present label."""
    present = classifier.predict_proba(pd.DataFrame(rows, columns=READINGS))[
        :, column
    ]
    return np.column_stack([1 - present, present])


lime = LimeTabularExplainer(
    X_train.to_numpy(),
    feature_names=READINGS,
    class_names=[f"not {LABEL}", LABEL],
    discretize_continuous=False,
    random_state=0,
).explain_instance(
    X_test.to_numpy()[sample], absent_and_present, num_features=len(READINGS)
)

# %%
# Both find heat and load. The SHAP values sum to the difference between this probability and the mean
# probability. A weight of LIME is the change for one standard deviation of the reading.

weights = pd.DataFrame(
    {"SHAP": values[sample, :, column], "LIME": dict(lime.as_list())},
    index=READINGS,
)
axes = weights[::-1].plot.barh(
    subplots=True, layout=(1, 2), figsize=(10, 4), sharey=True, legend=False
)
plt.gcf().set_layout_engine("constrained")
plt.show()
