"""Files of every format version so far: they load, answer as they did, and go on."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import sklearn_mlcl
from sklearn_mlcl.persistence._format import FORMAT_VERSION
from tests.persistence._cases import FRAMES, X, Y
from tests.persistence.make_golden import GOLDEN, estimators

FILES = sorted(GOLDEN.glob("*/*.safetensors"))


def test_every_format_version_has_files() -> None:
    assert {path.parent.name for path in FILES} == {f"v{n}" for n in range(1, FORMAT_VERSION + 1)}
    newest = {path.stem for path in FILES if path.parent.name == f"v{FORMAT_VERSION}"}
    assert newest == set(estimators())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_a_golden_file_answers_as_it_did(path: Path) -> None:
    answers = json.loads(path.with_name("probabilities.json").read_text())
    X_golden, expected = np.array(answers["X"]), np.array(answers[path.stem])
    estimator = sklearn_mlcl.load(path)
    if hasattr(estimator, "feature_names_in_"):
        X_golden = pd.DataFrame(X_golden, columns=estimator.feature_names_in_)
    # Another machine rounds otherwise.
    assert_allclose(estimator.predict_proba(X_golden), expected, rtol=1e-5, atol=1e-7)
    assert estimator.predict(X_golden).shape[0] == len(expected)
    assert repr(estimator)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_a_golden_file_goes_on(path: Path) -> None:
    estimator = sklearn_mlcl.load(path)
    y = estimator.classes_[Y[:, 0]] if estimator.classes_.dtype.kind == "U" else Y
    X_new = FRAMES[0] if hasattr(estimator, "feature_names_in_") else X
    before = copy.deepcopy(estimator).predict_proba(X_new)
    if not hasattr(estimator, "partial_fit"):
        estimator.fit(X_new, y)
    else:
        assert estimator.partial_fit(X_new, y).n_iter_ == 2
    assert np.abs(estimator.predict_proba(X_new) - before).max() > 1e-4


def test_golden_files_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*")) < 150_000
