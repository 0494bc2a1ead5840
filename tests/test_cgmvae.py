"""C-GMVAE beyond the contract: its heads, latent codes, label attributes, options."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import f1_score

from sklearn_mlcl import CGMVAEClassifier, recipes
from sklearn_mlcl.heads.logistic import fit_heads
from sklearn_mlcl.modules._scaling import input_scaler
from tests import test_contract as contract

SMALL = CGMVAEClassifier(embedding_dim=64, max_epochs=3, random_state=0)
ALONE = clone(SMALL).set_params(neighbor_weight=0, max_epochs=15)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-7), (np.float32, 1e-5)])
def test_answers_of_draws_do_not_depend_on_the_batch(
    dtype: Any, atol: float, label_data: Any
) -> None:
    clf = clone(SMALL).set_params(n_predict_samples=3)
    contract.test_shapes_dtypes_and_open_interval(clf, label_data, dtype)
    contract.test_answers_do_not_depend_on_the_batch(clf, label_data, dtype, atol)


# ---------------------------------------------------------------------- heads


def test_the_inner_product_is_the_models_own_logit(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ALONE).fit(X, Y)
    embedding = clf.transform(X)
    assert embedding.shape == (len(X), 64) and embedding.dtype == X.dtype
    assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-12)
    assert_array_equal(clf.coef_, clf.label_embeddings_)
    logits = embedding @ clf.label_embeddings_.T + clf.intercept_
    assert_allclose(clf.decision_function(X), logits, atol=1e-10)
    with torch.no_grad():
        model = clf.net_.module_.eval()
        own = model.logits(model(torch.from_numpy(X).float()))
    assert_allclose(logits, own, atol=1e-4)
    bound = np.linalg.norm(clf.label_embeddings_, axis=1)
    assert (np.abs(logits - clf.intercept_) <= bound).all()
    assert f1_score(Y, clf.predict(X), average="micro") > 0.6
    names = clf.set_output(transform="pandas").transform(X).columns
    assert list(names) == list(clf.get_feature_names_out()) and len(names) == 64


def test_without_biases_the_logit_is_the_product_alone(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ALONE).set_params(label_bias=False, max_epochs=2).fit(X, Y)
    assert clf.net_.module_.label_bias is None and not clf.intercept_.any()


def test_logistic_heads_are_solved_on_the_frozen_embedding(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ALONE).set_params(head="logistic", head_C=0.1).fit(X, Y)
    embedding = clf.transform(X.astype(np.float32)).astype(np.float64)
    scale = embedding.std(axis=0)
    scale[scale < 1e-12] = 1
    standard = (embedding - embedding.mean(axis=0)) / scale
    heads = fit_heads(standard, Y.astype(float), None, 0.1, Cs=[0.1], tol=1e-8)
    expected = standard @ heads.coef.T + heads.intercept
    assert_allclose(clf.decision_function(X), expected, atol=1e-3)
    assert_array_equal(clf.head_C_, np.full(5, 0.1))
    inner = clone(ALONE).fit(X, Y)
    assert_array_equal(inner.label_embeddings_, clf.label_embeddings_)
    assert np.abs(inner.predict_proba(X) - clf.predict_proba(X)).max() > 0.01


# ---------------------------------------------------------------------- labels and codes


def test_label_attributes_are_those_of_the_net(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ALONE).fit(X, Y)
    assert clf.label_embeddings_.shape == (5, 64)
    assert clf.label_means_.shape == clf.label_log_vars_.shape == (5, 64)
    model = clf.net_.module_.eval()
    with torch.no_grad():
        means, log_vars = model.label_gaussians(model.label_embeddings)
    assert_allclose(clf.label_means_, means) and assert_allclose(clf.label_log_vars_, log_vars)
    similarity = clf.label_similarity()
    assert_allclose(np.diag(similarity), 1)
    assert_allclose(similarity, similarity.T) and (np.abs(similarity) <= 1 + 1e-12).all()


def test_labels_that_occur_together_have_similar_embeddings() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=300)
    Y = rng.random((300, 4)) < np.where([[1, 1, 0, 0]], 1 - group[:, None], group[:, None]) * 0.8
    X = np.column_stack([group, *rng.normal(size=(3, 300))]) + 0.1 * rng.normal(size=(300, 4))
    clf = clone(ALONE).fit(X, Y.astype(int))
    similarity = clf.label_similarity()
    assert min(similarity[0, 1], similarity[2, 3]) > similarity[:2, 2:].max() + 0.2


def test_latent_codes_are_means_and_draws(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(SMALL).set_params(latent_dim=7).fit(X, Y)
    mean = clf.sample_latent(X)
    assert mean.shape == (len(X), 7) and mean.dtype == X.dtype
    assert_allclose(clf.sample_latent(X[3:5]), mean[3:5], atol=1e-10)
    draws = clf.sample_latent(X, n_samples=2000, random_state=0)
    assert draws.shape == (2000, len(X), 7)
    model = clf.net_.module_.eval()
    with torch.no_grad():
        q = model.posterior(model.scaler(torch.from_numpy(X).float()))
    assert_allclose(mean, q[0], atol=1e-5)
    deviation = torch.exp(0.5 * q[1]).numpy()
    assert_allclose(draws.mean(axis=0), mean, atol=5 * deviation.max() / 2000**0.5)
    assert_allclose(draws.std(axis=0), deviation, rtol=0.1)
    assert_array_equal(draws, clf.sample_latent(X, n_samples=2000, random_state=0))
    assert clf.sample_latent(X.astype(np.float32), 2).dtype == np.float32


def test_probabilities_are_averaged_over_codes(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ALONE).set_params(max_epochs=5).fit(X, Y)
    mean, deviation = (a.astype(np.float64) for a in clf._posterior(X))
    noise = np.random.RandomState(clf._noise_seed).normal(size=(4, mean.shape[1]))
    decode = copy.deepcopy(clf.net_.module_.decoder).double().eval()
    draws = []
    for vector in noise:
        with torch.no_grad():
            embedding = decode(torch.zeros(0), torch.from_numpy(mean + deviation * vector)).numpy()
        draws.append(expit(embedding @ clf.coef_.T + clf.intercept_))
    averaged = clf.set_params(n_predict_samples=4).predict_proba(X)
    assert_allclose(averaged, np.mean(draws, axis=0), atol=1e-6)
    assert_allclose(clf.uncertainty(X, n_samples=4), np.std(draws, axis=0), atol=1e-6)
    by_mean = clf.set_params(n_predict_samples=0).predict_proba(X)
    assert 1e-4 < np.abs(averaged - by_mean).mean() < 0.2


def test_uncertainty_with_the_vote_of_neighbours(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(SMALL).set_params(neighbor_weight=0.8).fit(X, Y)
    uncertainty = clf.uncertainty(X)
    assert uncertainty.shape == Y.shape and (uncertainty > 0).all() and (uncertainty < 0.5).all()
    assert_array_equal(uncertainty, clf.set_params(n_predict_samples=3).uncertainty(X))
    with pytest.raises(ValueError, match="n_samples must be at least 2, got 1"):
        clf.uncertainty(X, n_samples=1)


def test_labels_in_doubt_are_less_certain(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(ALONE).fit(X, Y)
    in_doubt = np.abs(clf.predict_proba(X) - 0.5) < 0.25
    uncertainty = clf.uncertainty(X)
    assert uncertainty[in_doubt].mean() > 1.3 * uncertainty[~in_doubt].mean()


# ---------------------------------------------------------------------- a living mixture


def permuted_code_scores(clf: CGMVAEClassifier, X: Any, Y: Any) -> tuple[float, float]:
    """Macro-F1 of rows decoded from their own codes, and from those of other rows."""
    model = clf.net_.module_.eval()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(X)))
    scores = []
    with torch.no_grad():
        x = model.scaler(torch.from_numpy(X).float())
        codes, _ = model.posterior(x)
        for z in (codes, codes[order]):
            predicted = (model.logits(model.decoder(x, z)) > 0).numpy()
            scores.append(f1_score(Y, predicted, average="macro", zero_division=0))
    return scores[0], scores[1]


def test_the_mixture_is_alive_by_default_and_dead_in_the_release(label_data: Any) -> None:
    X, Y = label_data
    separations = {}
    for name, arguments in {"default": {}, "release": recipes.CGMVAE_PAPER}.items():
        clf = CGMVAEClassifier(**arguments, random_state=0)
        clf.set_params(embedding_dim=128, max_epochs=60, neighbor_weight=0).fit(X, Y)
        offset = clf.label_means_ - clf.label_means_.mean(axis=0)
        separation = np.sqrt((offset**2 / np.exp(clf.label_log_vars_)).mean())
        own, permuted = permuted_code_scores(clf, X, Y)
        separations[name] = separation, clf.history_["kl"][-1], own - permuted
    separation, kl, cost = separations["default"]
    assert separation >= 0.5 and 1 <= kl <= 30 and cost > 0.1
    separation, kl, cost = separations["release"]
    assert separation < 0.02 and kl < 0.3 and abs(cost) < 0.01


def test_history_has_the_terms(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(SMALL).set_params(lambda_bce=0.7, lambda_kl=0.3, lambda_contrastive=0.2)
    history = clf.fit(X, Y, sample_weight=np.ones(len(X))).history_
    total = 0.7 * history["bce"] + 0.3 * history["kl"] + 0.2 * history["contrastive"]
    assert_allclose(history["train_loss"], total, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.2},
        {"lambda_contrastive": 0.0},
        {"lambda_kl": 0.0},
        {"label_branch": False},
        {"concat_input": True},
        {"kl_estimator": "variational"},
        {"kl_warmup_epochs": 3},
        {"free_bits": 50.0},
        {"n_latent_samples": 3},
        {"empty_label_policy": "standard_normal"},
        {"empty_label_policy": "learned"},
        {"layer_norm": False},
        {"label_hidden_layer_sizes": (32,)},
        {"decoder_hidden": 32},
        {"schedule": "warm_restarts"},
    ],
    ids=str,
)
def test_options_reach_the_training(options: dict, label_data: Any) -> None:
    X, Y = label_data
    assert (Y.sum(axis=1) == 0).any()
    Y = sp.csr_matrix(Y)
    plain = clone(SMALL).fit(X, Y).history_["train_loss"]
    changed = clone(SMALL).set_params(**options).fit(X, Y)
    assert changed.history_["train_loss"][-1] != plain[-1]
    assert np.isfinite(changed.decision_function(X)).all()


def test_a_feature_encoder_of_the_user(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(SMALL).set_params(module=contract.LinearEncoder).fit(X, Y)
    assert isinstance(clf.net_.module_.encoder, contract.LinearEncoder)
    assert clf.net_.module_.to_posterior.in_features == 6
    assert clf.transform(X).shape == (len(X), 64)


@pytest.mark.parametrize("scale_input", [True, False])
def test_what_the_encoder_sees(scale_input: bool, label_data: Any) -> None:
    X, Y = label_data
    X = (5 * X + 3).astype(np.float32)
    clf = clone(SMALL).set_params(scale_input=scale_input, feature_noise=0.5).fit(X, Y)
    scaler = clf.net_.module_.scaler.eval()
    rows = torch.from_numpy(X)
    expected = input_scaler(X, None)(rows) if scale_input else rows
    assert_allclose(scaler(rows), expected)
    assert scale_input == (abs(float(scaler(rows).mean())) < 0.5)
    noise = scaler.train()(rows) - expected
    assert 0.45 < noise.std() < 0.55


def test_label_hidden_layer_sizes_must_be_widths(label_data: Any) -> None:
    for sizes in ((), (0,), (2.5,)):
        with pytest.raises(ValueError, match="label_hidden_layer_sizes must hold one positive"):
            clone(SMALL).set_params(label_hidden_layer_sizes=sizes).fit(*label_data)


def test_more_labels_than_rows() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 4)), (rng.random((20, 60)) < 0.1).astype(int)
    Y[0] = 0
    with pytest.warns(UserWarning, match="labels have a single value"):
        clf = clone(SMALL).set_params(n_negatives=8).fit(X, Y)
    assert np.isfinite(clf.decision_function(X)).all()


def test_it_learns_yeast(yeast: Any) -> None:
    """Measured 0.65 on held-out rows (see doc/cgmvae.rst)."""
    X_train, Y_train, X_test, Y_test = yeast
    clf = CGMVAEClassifier(max_epochs=15, threshold="f1_micro", random_state=0)
    assert f1_score(Y_test, clf.fit(X_train, Y_train).predict(X_test), average="micro") > 0.62
