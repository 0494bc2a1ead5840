"""Recipes are arguments that the estimators take, with what their sources say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
    recipes,
)

ALL = [name for name in dir(recipes) if name.isupper()]
#: Which estimator a recipe is for, where it is not the contrastive one.
ESTIMATORS = {"PAL_COLLAPSE": MultiLabelMLPClassifier, "CGMVAE_PAPER": CGMVAEClassifier}


@pytest.mark.parametrize("name", ALL)
def test_recipes_fit(name: str, label_data: Any) -> None:
    X, Y = label_data
    recipe = getattr(recipes, name)
    assert isinstance(recipe, Mapping)
    estimator = ESTIMATORS.get(name, ContrastiveMultiLabelClassifier)
    clf = estimator(**{**recipe, "max_epochs": 1, "random_state": 0}).fit(X, Y)
    assert (clf.predictor_.neighbors is None) == (recipe.get("neighbor_weight") == 0)
    assert clf.predict_proba(X).shape == Y.shape
