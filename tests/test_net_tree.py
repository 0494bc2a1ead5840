"""Trees of labels in the nets: on the features, on the embedding, and the search through both."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    load,
)
from sklearn_mlcl.heads.predictor import AffineHead
from sklearn_mlcl.heads.scaled_tree import ScaledTree
from tests.small import every_ensemble, small

N_LABELS = 30
LOGISTIC = {"head": "logistic", "linear_weight": 0.0}
#: A tree on the features alone, blended with head and neighbours, on the embedding, and on both.
PARTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "features": (ContrastiveMultiLabelClassifier, {}),
    "blend": (MultiLabelMLPClassifier, {"linear_weight": 0.5, "neighbor_weight": 0.3}),
    "embedding": (ContrastiveMultiLabelClassifier, LOGISTIC),
    "embedding and votes": (ContrastiveMultiLabelClassifier, {**LOGISTIC, "neighbor_weight": 0.3}),
    "both": (ContrastiveMultiLabelClassifier, {"head": "logistic", "linear_weight": 0.5}),
    "C-GMVAE": (CGMVAEClassifier, {"head": "logistic"}),
}
every_part = pytest.mark.parametrize(("make", "changes"), PARTS.values(), ids=PARTS)
FORMS = {"dense": np.float32, "csr": sp.csr_matrix}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
pytestmark = pytest.mark.filterwarnings("ignore:.*single value in the training samples")


def rows(n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Sparse features, and labels of uneven frequency that depend on them; the last is absent."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 2, (n, 12)) * (rng.random((n, 12)) < 0.5)
    Y = X @ rng.standard_normal((12, N_LABELS)) > rng.uniform(0.5, 4, N_LABELS)
    Y[:, -1] = False
    return X, Y.astype(float)


def with_tree(make: Any, **changes: Any) -> Any:
    return small(make, **{"net_params__label_tree": True} | changes)


@every_part
def test_the_scale_keeps_the_order_that_a_tree_compares(make: Any, changes: dict[str, Any]) -> None:
    predictor = with_tree(make, **changes, net_params__pseudo_count=0.0).fit(*rows()).predictor_
    several = (predictor.counts > 0).all(axis=0)
    scale, shift = (predictor.get_buffer(name).numpy()[several] for name in ("scale", "shift"))
    assert predictor.blend.scale != 1
    assert len({*scale}) == len({*shift}) == 1


@every_part
@every_form
def test_the_search_finds_the_most_probable_labels(
    make: Any, changes: dict[str, Any], form: Any, tmp_path: Any
) -> None:
    X, Y = rows()
    X = form(X)
    fitted = with_tree(make, **changes).fit(X, Y)
    assert fitted.predictor_.searches
    p, best = fitted.predict_proba(X), fitted.predict_topk(X, 4)
    assert p.dtype == X.dtype and ((p > 0) & (p < 1)).all()
    expected = np.sort(np.argsort(-p, axis=1, kind="stable")[:, :4], axis=1)
    assert_array_equal(best.indices.reshape(-1, 4), expected)
    assert_allclose(best.data.reshape(-1, 4), np.take_along_axis(p, expected, 1), rtol=1e-5)
    dense = X.toarray() if sp.issparse(X) else X
    other = dense if sp.issparse(X) else sp.csr_matrix(X)
    assert_allclose(fitted.predict_proba(other), p, rtol=1e-5)
    assert_allclose(fitted.predict_topk(other[:9], 4).data, best.data[:36], rtol=1e-5)
    served = fitted.to_module()(torch.from_numpy(dense.astype(np.float32)))
    assert_allclose(served.detach().numpy(), p, atol=1e-5)
    fitted.save(tmp_path / "net.mlcl")
    for again in (load(tmp_path / "net.mlcl"), pickle.loads(pickle.dumps(fitted))):
        assert_array_equal(again.predict_proba(X), p)
        assert_array_equal(again.predict_topk(X, 4).toarray(), best.toarray())


@every_ensemble
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_tree_is_that_of_logistic_regressions_on_scaled_features(
    make: Any, missing: bool, weighted: bool
) -> None:
    X, Y = rows()
    rng = np.random.default_rng(1)
    Y = np.where(rng.random(Y.shape) < 0.1, np.nan, Y) if missing else Y
    weight = rng.uniform(0.5, 2, len(X)) if weighted else None
    changes = {"linear_weight": 1.0, "validation": None, "net_params__pseudo_count": 0.0}
    fitted = with_tree(make, **changes).fit(sp.csr_matrix(X), Y, weight)
    scaler = fitted.predictor_.linear.scaler
    scaled = sp.csr_matrix(scaler(torch.from_numpy(X.astype(np.float32))).numpy())
    alone = MultiLabelLogisticRegression(label_tree=True, C=1.0, tol=1e-4)
    expected = alone.fit(scaled.astype(np.float32), Y, weight).predict_proba(scaled)
    assert_allclose(fitted.predict_proba(sp.csr_matrix(X)), expected, atol=1e-5)


def test_the_tree_on_the_embedding_is_that_of_logistic_regressions() -> None:
    X, Y = rows()
    changes = {"validation": None, "net_params__pseudo_count": 0.0, "neighbor_weight": 0.0}
    fitted = with_tree(ContrastiveMultiLabelClassifier, **LOGISTIC, **changes, head_C=0.3)
    embedding = fitted.fit(X, Y).transform(X.astype(np.float32))
    assert_array_equal(fitted.head_C_, np.full(N_LABELS, 0.3))
    scaled = (embedding - embedding.mean(axis=0)) / embedding.std(axis=0)
    alone = MultiLabelLogisticRegression(label_tree=True, C=0.3, tol=1e-4).fit(scaled, Y)
    assert_allclose(fitted.predict_proba(X), alone.predict_proba(scaled), atol=1e-3)


def test_few_candidates_have_the_probabilities_of_their_labels(monkeypatch: Any) -> None:
    monkeypatch.setattr("sklearn_mlcl.heads.predictor.FEWEST_CANDIDATES", 2)
    X, Y = rows()
    fitted = with_tree(MultiLabelMLPClassifier, linear_weight=0.3).fit(X, Y)
    p, best = fitted.predict_proba(X), fitted.predict_topk(X, 1)
    assert_allclose(best.data, p[np.arange(len(X)), best.indices], rtol=1e-6)
    tree = fitted.predictor_.linear(torch.from_numpy(X.astype(np.float32)))
    of_tree = tree.topk(4).indices.numpy()
    expected = of_tree[np.arange(len(X)), np.take_along_axis(p, of_tree, 1).argmax(axis=1)]
    assert_array_equal(best.indices, expected)


def test_auto_is_a_tree_of_very_many_labels_alone(monkeypatch: Any) -> None:
    X, Y = rows()
    asked = with_tree(MultiLabelMLPClassifier).fit(X, Y)
    flat = small(MultiLabelMLPClassifier).fit(X, Y)
    assert not isinstance(flat.predictor_.linear, ScaledTree) and not flat.predictor_.searches
    monkeypatch.setattr("sklearn_mlcl.heads.logistic.TREE_LABELS", N_LABELS - 1)
    auto = small(MultiLabelMLPClassifier).fit(X, Y)
    assert_array_equal(auto.predict_proba(X), asked.predict_proba(X))
    off = small(MultiLabelMLPClassifier, net_params__label_tree=False).fit(X, Y)
    assert_array_equal(off.predict_proba(X), flat.predict_proba(X))


def test_what_is_chosen_beside_a_tree() -> None:
    X, Y = rows(400)
    fitted = with_tree(MultiLabelMLPClassifier, n_estimators=4).fit(X, Y)
    assert fitted.blend_["neighbors"] == 0 and fitted.blend_["linear"] == 1
    # All members hold out the same tenth.
    held_out = ~np.isnan(fitted.oof_proba_).all(axis=1)
    assert 30 <= held_out.sum() <= 50
    fitted.set_params(threshold=0.5, linear_weight=0.0)
    head = fitted.predictor_.head
    assert isinstance(head, AffineHead) and len(head.own_bias) == 4
    assert fitted.predict_topk(X, 3).nnz == 3 * len(X)
    assert fitted.uncertainty(X).shape == Y.shape


def test_labels_of_csr_targets_are_those_above_the_threshold() -> None:
    X, Y = rows()
    fitted = with_tree(ContrastiveMultiLabelClassifier).fit(sp.csr_matrix(X), sp.csr_matrix(Y))
    labels = fitted.set_params(threshold=0.3).predict(sp.csr_matrix(X))
    assert_array_equal(labels.toarray(), fitted.predict_proba(sp.csr_matrix(X)) >= 0.3)


def test_partial_fit_keeps_the_tree_of_a_fit() -> None:
    X, Y = rows()
    net = with_tree(MultiLabelMLPClassifier, linear_weight="auto")
    assert net.partial_fit(X, Y).predictor_.linear is None
    tree = net.fit(X, Y).predictor_.linear
    assert net.partial_fit(X[:50], Y[:50]).predictor_.linear is tree
    for make, changes in (
        (MultiLabelMLPClassifier, {"linear_weight": 0.5}),
        (ContrastiveMultiLabelClassifier, LOGISTIC),
    ):
        with pytest.raises(ValueError, match=r"cannot fit a tree of labels.*label_tree=False"):
            with_tree(make, **changes).partial_fit(X, Y)


@every_ensemble
def test_a_tree_without_regressions_is_refused(make: Any) -> None:
    X, Y = rows()
    with pytest.raises(ValueError, match=r"label_tree=True needs logistic.*linear_weight=0.0"):
        with_tree(make, linear_weight=0.0).fit(X, Y)
    with pytest.raises(ValueError, match=r"refit_head=True.*30 labels have a tree"):
        with_tree(make, net_params__refit_head=True).fit(X, Y)


def test_errors_name_the_parameters_that_a_class_has() -> None:
    X, Y = rows()
    net = with_tree(CGMVAEClassifier)
    with pytest.raises(ValueError, match=r"expected head='logistic'; got head='inner_product'\."):
        net.fit(X, Y)
    message = r"samples\. Set a head that .* encoder, or .*=False; got head='logistic', 30 labels\."
    with pytest.raises(ValueError, match=message):
        net.set_params(head="logistic").partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"as they are\); got linear_weight=0\.0\."):
        with_tree(MultiLabelMLPClassifier, linear_weight=0.0).fit(X, Y)


def test_a_warm_start_holds_out_the_same_samples_and_fits_the_same_tree() -> None:
    X, Y = rows()
    net = with_tree(MultiLabelMLPClassifier, warm_start=True)
    first, again = ([t.clone() for t in net.fit(X, Y).predictor_.linear.buffers()] for _ in "12")
    for one, other in zip(first, again, strict=True):
        assert_array_equal(one.numpy(), other.numpy())


def test_without_regressions_very_many_labels_change_nothing(monkeypatch: Any) -> None:
    """A net without a linear part keeps its neighbours, and members their folds."""
    X, Y = rows()
    settings = {"linear_weight": 0.0, "n_estimators": 4}
    few = small(MultiLabelMLPClassifier, **settings).fit(X, Y)
    monkeypatch.setattr("sklearn_mlcl.heads.logistic.TREE_LABELS", N_LABELS - 1)
    many = small(MultiLabelMLPClassifier, **settings).fit(X, Y)
    assert many.blend_ == few.blend_ and many.blend_["neighbors"] > 0
    assert_array_equal(many.predict_proba(X), few.predict_proba(X))
