"""
Searches: Optuna and successive halving
=======================================

Optuna proposes each candidate by the results of earlier ones, and stops poor candidates early.
``HalvingGridSearchCV`` gives few samples to all candidates, and more to the best ones. Both work with
our estimators.
"""

# %%
# Data
# ----
# The samples have up to three handwritten digits, and ten labels. The searches see 900 of them. The
# test samples are used once, at the end.

import logging

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import SCORERS
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.recipes import FAST

X_train, Y_train = make_multilabel_digits(subset="train", return_X_y=True)
X_train, Y_train = X_train[:900], Y_train[:900]
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
classifier = MultiLabelMLPClassifier(**FAST, random_state=0)
folds = MultilabelStratifiedKFold(3, shuffle=True, random_state=0)
scorer = SCORERS["average_precision_macro"]

# %%
# Optuna
# ------
# A trial reports the mean score after each fold. The pruner stops a trial that is behind the others. The
# keys of ``net_params`` are parameters, too.


def mean_average_precision(trial):
    """Return the mean score over the folds of a candidate."""
    candidate = clone(classifier).set_params(
        learning_rate=trial.suggest_float(
            "learning_rate", 1e-4, 1e-2, log=True
        ),
        dropout=trial.suggest_float("dropout", 0.0, 0.6),
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 1.0, log=True),
        net_params__mixup=trial.suggest_float("net_params__mixup", 0.0, 1.0),
    )
    scores = []
    for fold, (train, test) in enumerate(folds.split(X_train, Y_train)):
        candidate.fit(X_train[train], Y_train[train])
        scores.append(scorer(candidate, X_train[test], Y_train[test]))
        trial.report(np.mean(scores), fold)
        if trial.should_prune():
            raise optuna.TrialPruned
    return np.mean(scores)


optuna.logging.set_verbosity(logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=6),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
)
study.optimize(mean_average_precision, n_trials=13)
print(f"best of {len(study.trials)}: {study.best_value:.3f}")
print(pd.Series(study.best_params).round(4).to_string())

# %%
# Successive halving
# ------------------
# All candidates get a ninth of the samples. The best third continues with three times as many. Set
# ``min_resources`` to a number, because its default refuses label matrices. ``resource="max_epochs"``
# works too.

search = HalvingGridSearchCV(
    classifier,
    {"learning_rate": [3e-4, 1e-3, 3e-3], "dropout": [0.0, 0.3, 0.6]},
    min_resources=len(X_train) // 9,
    cv=folds,
    scoring=scorer,
    random_state=0,
).fit(X_train, Y_train)
print(search.best_params_)

# %%
# The trials of Optuna in their order, and the candidates of the halving search by samples.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4), layout="constrained"
)
trials = study.trials_dataframe()
complete = trials["state"] == "COMPLETE"
left.scatter(
    trials["number"][complete], trials["value"][complete], label="complete"
)
pruned = trials[~complete]
left.scatter(pruned["number"], pruned["value"], marker="x", label="pruned")
left.plot(
    trials["number"],
    trials["value"].where(complete).cummax().ffill(),
    label="best so far",
)
left.set(
    xlabel="trial of Optuna",
    xticks=range(0, 13, 3),
    ylabel="mean average precision of the folds",
)
left.legend(frameon=False)
results = pd.DataFrame(search.cv_results_)
results["candidate"] = results["params"].map(
    lambda p: f"{p['learning_rate']:g}, dropout {p['dropout']:g}"
)
for candidate, rows in results.groupby("candidate"):
    right.plot(
        rows["n_resources"],
        rows["mean_test_score"],
        marker="o",
        label=candidate,
    )
right.set(xlabel="samples of the halving search", xscale="log")
right.set_xticks(search.n_resources_, map(str, search.n_resources_))
right.minorticks_off()
right.legend(title="learning rate", fontsize="small", frameon=False)
plt.show()

# %%
# The test samples
# ----------------
# Optuna gains little over the default, and halving gains nothing.

candidates = {
    "default": clone(classifier),
    "Optuna": clone(classifier).set_params(**study.best_params),
    "halving": search.best_estimator_,
}
for name, candidate in candidates.items():
    score = scorer(candidate.fit(X_train, Y_train), X_test, Y_test)
    print(f"{name:8s} {score:.3f}")
