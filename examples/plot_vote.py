"""
A vote of several models, and a leaderboard
===========================================

Trees and nets make different errors, so their mean is often better. :func:`sklearn_mlcl.model_selection.compare` scores several
models and their vote on the same folds.
:class:`sklearn_mlcl.model_selection.MultiLabelVotingClassifierCV` fits the vote.
"""

# %%
# The leaderboard
# ---------------
# The samples have up to three handwritten digits, and ten labels. Every model gets the same folds.
# Thresholds, and weights and calibration of the vote, come from inner folds of the training part.
# The rows are sorted by the mean rank in the scores.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier

from sklearn_mlcl import (
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    recipes,
)
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import f1_macro, f1_micro, f1_samples
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV, compare

X, Y = make_multilabel_digits(subset="train", return_X_y=True)
models = [
    ("trees", ExtraTreesClassifier(100, random_state=0)),
    ("logistic", MultiLabelLogisticRegression(C=0.1)),
    ("net", MultiLabelMLPClassifier(**recipes.FAST, random_state=0)),
]
table = compare(X, Y, models, cv=3, random_state=0)
print(table.round(3).T.to_string())

# %%
# The figure has the scores with their spread over the folds.

scores = ["f1_samples", "f1_micro", "f1_macro", "average_precision_macro"]
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
spread = table[[f"{score}_std" for score in scores]].set_axis(scores, axis=1)
table[scores].T.plot.bar(
    ax=ax, yerr=spread.T, rot=0, ylabel="score of the test folds"
)
ax.set_ylim(table[scores].min(axis=None) - 0.1, 1)
ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)

# %%
# The vote
# --------
# The calibration multiplies the log-odds of the trees by more than 1, because trees are underconfident.
# The weights have the smallest log loss on held-out samples. Each label has its own threshold.

vote = MultiLabelVotingClassifierCV(models, cv=3, random_state=0).fit(X, Y)
print(pd.DataFrame(vote.calibration_).round(2).to_string())
print(
    pd.Series(vote.weights_, index=vote.named_estimators_).round(2).to_string()
)

# %%
# ``validation_scores_`` compares the vote with its members, on held-out training samples.

print(pd.DataFrame(vote.validation_scores_).round(3).to_string())

# %%
# The test samples are used once.

X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
predicted = vote.predict(X_test)
for score in (f1_samples, f1_micro, f1_macro):
    print(f"{score.__name__:10s} {score(Y_test, predicted):.3f}")

# %%
# Another threshold takes effect at once.

vote.set_params(threshold="f1_samples")
print(
    f"{f1_samples(Y_test, vote.predict(X_test)):.3f} "
    f"at a threshold of {vote.threshold_:.2f}"
)
plt.show()
