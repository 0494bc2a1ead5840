"""The tests that the pages name exist; and the one feature that has no other test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import Callback

from sklearn_mlcl import MultiLabelMLPClassifier
from tests.small import small

ROOT = Path(__file__).parents[1]
NAMED_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
TABLES = sorted((ROOT / "doc" / "_data").glob("features_*.csv"))
PAGES = [*(ROOT / "doc").glob("*.rst"), ROOT / "tests" / "features.csv"]


@pytest.mark.parametrize("page", sorted(PAGES), ids=lambda page: page.name)
def test_named_tests_exist(page: Path) -> None:
    for file, name in NAMED_TEST.findall(page.read_text()):
        assert re.search(rf"^(    )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), name


def test_every_feature_has_a_test() -> None:
    tables = pd.concat(map(pd.read_csv, TABLES))
    tested = pd.read_csv(ROOT / "tests" / "features.csv")["feature"]
    assert set(tables["feature"][tables["answer"] == "yes"]) == set(tested)


class HeldOutLabels(Callback):
    """Keep the labels of the samples that early stopping judges by."""

    def on_epoch_end(self, net: Any, dataset_valid: Any = None, **kwargs: Any) -> None:
        _, (labels, _) = dataset_valid.rows(torch.arange(len(dataset_valid)))
        type(self).labels = labels.numpy()


def test_the_rows_of_early_stopping_are_stratified_over_the_labels() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([8, 12, 20, 40, 100])
    Y = np.stack([rng.permutation(np.arange(200) < count) for count in counts], axis=1).astype(int)
    options = {"early_stopping": True, "validation": 0.25, "callbacks": [HeldOutLabels()]}
    small(MultiLabelMLPClassifier, **options).fit(rng.normal(size=(200, 3)), Y)
    assert HeldOutLabels.labels.shape == (50, 5)
    np.testing.assert_allclose(HeldOutLabels.labels.sum(axis=0), counts / 4, atol=1.5)
