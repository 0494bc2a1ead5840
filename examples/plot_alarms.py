"""
A budget of alarms
==================

A person checks each alarm, so the number of alarms per day is limited. A threshold tuned for F1 ignores
such a budget. This example chooses thresholds for at most five alarms per day and label, on held-out
samples of the training. The model is not fitted again.
"""

# %%
# Days of a plant
# ---------------
# A machine reports 200 times a day. Faults are rare, and have different frequencies.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.recipes import FAST
from sklearn_mlcl.thresholds import topk_decision

FAULTS = ["leak", "wear", "heat", "sensor"]
N_DAYS, PER_DAY, BUDGET = 40, 200, 5
rng = np.random.default_rng(0)
day = np.repeat(np.arange(N_DAYS), PER_DAY)
X = rng.normal(size=(len(day), 12)) + 0.3 * rng.normal(size=(N_DAYS, 12))[day]
signal = X @ rng.normal(size=(12, len(FAULTS))) / 2 + rng.logistic(
    size=(len(day), len(FAULTS))
)
rare = [
    np.quantile(signal[:, label], 0.96 + 0.01 * label)
    for label in range(len(FAULTS))
]
Y = pd.DataFrame((signal > rare).astype(int), columns=FAULTS)
known = day < N_DAYS / 2
print((Y[known].mean() * PER_DAY).round(1).rename("faults a day").to_string())

# %%
# The held-out probabilities of a fit
# -----------------------------------
# ``groups`` holds out each day as a whole. Each of the four nets holds out a quarter of the days. So
# each training sample has a probability from a net that never saw its day.

classifier = MultiLabelMLPClassifier(
    n_estimators=4, max_epochs=FAST["max_epochs"], random_state=0
)
classifier.fit(X[known], Y[known], groups=day[known])
held_out = classifier.oof_proba_.reshape(-1, PER_DAY, len(FAULTS))

# %%
# Thresholds for the budget
# -------------------------
# With a threshold just above the (k+1)-th largest probability of a day there are at most k alarms
# on that day. The threshold of a label is the 90 % quantile over the held-out days, but at least 0.2.
# ``set_params`` takes effect at once.

next_largest = np.sort(held_out, axis=1)[:, -(BUDGET + 1)]
thresholds = np.maximum(np.nanquantile(next_largest, 0.9, axis=0), 0.2)
tuned = classifier.threshold_
print(f"tuned for F1: {tuned:.2f}")
print(
    pd.Series(thresholds, FAULTS).round(2).rename("for the budget").to_string()
)

decisions = {"tuned for F1": classifier.predict(X[~known])}
classifier.set_params(threshold=thresholds)
decisions["for the budget"] = classifier.predict(X[~known])

# %%
# If the check comes after the last report of the day, no threshold is needed. Alarms for the k largest
# probabilities of the day never exceed the budget. ``topk_decision`` chooses k labels of a sample. On
# the transposed matrix it chooses k samples of a label.

by_day = classifier.predict_proba(X[~known]).reshape(-1, PER_DAY, len(FAULTS))
five = [topk_decision(P.T, BUDGET).T.toarray() for P in by_day]
decisions["the five of the day"] = np.concatenate(five)

# %%
# New days
# --------
# The table has the share of days with more alarms than the budget, and the share of faults found.

truth = Y[~known].to_numpy()
rows = {}
for name, alarms in decisions.items():
    a_day = alarms.reshape(-1, PER_DAY, len(FAULTS)).sum(axis=1)
    rows[name] = {
        "alarms a day and label": a_day.mean(),
        "days over the budget": (a_day > BUDGET).mean(),
        "precision": truth[alarms == 1].mean(),
        "recall": alarms[truth == 1].mean(),
    }
print(pd.DataFrame(rows).T.round(2).to_string())

figure, axes = plt.subplots(
    1, len(FAULTS), figsize=(11, 3.2), layout="constrained", sharey=True
)
for label, ax in enumerate(axes):
    for name, color in {
        "tuned for F1": "0.6",
        "for the budget": "tab:blue",
    }.items():
        a_day = (
            decisions[name]
            .reshape(-1, PER_DAY, len(FAULTS))
            .sum(axis=1)[:, label]
        )
        ax.plot(a_day, marker=".", color=color, label=name)
    ax.axhline(BUDGET, color="tab:red", linewidth=1, label="budget")
    ax.set(title=FAULTS[label], xlabel="new day")
axes[0].set_ylabel("alarms")
axes[0].legend(frameon=False, fontsize="small")
plt.show()
