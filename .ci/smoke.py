"""Fit, predict, pickle and save every public estimator, with the runtime requirements alone."""

from __future__ import annotations

import importlib.util
import pickle
import platform
import tempfile

import numpy as np
import scipy
import sklearn
import torch
from sklearn.metrics import f1_score

import sklearn_mlcl
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV

for extra in ("matplotlib", "pandas"):
    assert importlib.util.find_spec(extra) is None, f"{extra} is here: not a clean environment"
assert "site-packages" in sklearn_mlcl.__file__, sklearn_mlcl.__file__

packages = (np, scipy, sklearn, torch)
versions = ", ".join(f"{package.__name__} {package.__version__}" for package in packages)
print(f"Python {platform.python_version()}, {versions}")
X, Y = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
short = {"n_estimators": 1, "max_epochs": 20}
logistic = sklearn_mlcl.MultiLabelLogisticRegression()
for classifier in (
    sklearn_mlcl.ContrastiveMultiLabelClassifier(**short, random_state=0),
    sklearn_mlcl.MultiLabelMLPClassifier(**short, random_state=0),
    sklearn_mlcl.CGMVAEClassifier(max_epochs=10, random_state=0),
    logistic,
    sklearn_mlcl.MultiLabelThresholdClassifierCV(logistic, cv=3),
    MultiLabelVotingClassifierCV([("logistic", logistic)], cv=3),
):
    probabilities = classifier.fit(X, Y).predict_proba(X_test)
    score = f1_score(Y_test, classifier.predict(X_test), average="macro")
    again = pickle.loads(pickle.dumps(classifier)).predict_proba(X_test)
    assert np.array_equal(probabilities, again), f"{classifier} changes in a pickle"
    assert score > 0.6, f"{classifier} has a macro-F1 of {score:.3f}"
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(f"{folder}/model")
        loaded = sklearn_mlcl.load(f"{folder}/model").predict_proba(X_test)
    assert np.array_equal(probabilities, loaded), f"{classifier} changes in a file"
    print(f"{type(classifier).__name__:32s} macro-F1 {score:.3f}")
