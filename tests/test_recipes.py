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
#: Recipes that leave choices to the fit.
CHOOSING = {"FAST", "FINETUNE"}
#: What a fit chooses where nobody says it, and what defaults of ours set.
CHOSEN = {
    "threshold", "max_epochs", "batch_size", "learning_rate", "validation", "early_stopping",
    "neighbor_weight", "linear_weight", "net_params__schedule",
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_recipes_fit(name: str, label_data: Any) -> None:
    X, Y = label_data
    recipe = getattr(recipes, name)
    assert isinstance(recipe, Mapping)
    estimator = ESTIMATORS.get(name, ContrastiveMultiLabelClassifier)
    clf = estimator(**{**recipe, "max_epochs": 3, "random_state": 0}).fit(X, Y)
    if recipe.get("neighbor_weight") == 0:
        assert clf.predictor_.neighbors is None
    assert clf.predict_proba(X).shape == Y.shape
    if name not in CHOOSING:
        assert (clf.n_iter_, clf.threshold_) == (3, 0.5)
        assert (clf._held_out is None) == (recipe["validation"] is None)


@pytest.mark.parametrize("name", sorted(set(ALL) - CHOOSING))
def test_published_recipes_say_all_that_a_fit_would_choose(name: str) -> None:
    recipe = getattr(recipes, name)
    stated = {*recipe, *(f"net_params__{key}" for key in recipe["net_params"])}
    known = ESTIMATORS.get(name, ContrastiveMultiLabelClassifier)().get_params()
    assert CHOSEN & known.keys() <= stated
