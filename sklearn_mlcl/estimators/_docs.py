"""The text of the parameters and attributes that the net-based classifiers share."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any, TypeVar

from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES

Class = TypeVar("Class", bound=type)

#: Without defaults: they are taken from the signature of the class.
SHARED_PARAMETERS = """
n_members : int
    Nets of an ensemble, trained side by side on the same batches in one set of tensors. Their
    embeddings stand side by side in one row; the heads give the mean of their logits.
hidden_layer_sizes : sequence of int
    Widths of the encoder's layers (Linear, LayerNorm, activation, dropout); the last one is the
    width of the embedding.
activation : {"silu", "relu", "gelu", "tanh"}
    Non-linearity of the encoder.
dropout : float
    Share of the units zeroed while training, in [0, 1).
feature_noise : float
    Standard deviation of Gaussian noise on the standardised features while training.
mixup : float
    Above 0, every row of a batch is mixed with another, features and labels alike, by shares
    from Beta(mixup, mixup); see :func:`sklearn_mlcl.training.mixed`. The pairs of a contrastive
    loss, and the losses on logits that need a yes or no, take the labels of the larger share. A
    label that is unknown in one of the two rows leaves the other's, at its share of the weight.
max_sparse_features : int or None
    Features of a CSR X that the encoder sees at most, those that the most rows have: the first
    layer of a net costs as much for a word of two rows as for one of a thousand. The logistic
    regressions beside it see all. None, and dense X, keep all.
module : callable
    A torch module class of your own in place of the built-in encoder: called with
    ``n_features`` (those that are kept of a CSR X), it returns a module that maps
    (n, n_features), standardised, to embeddings (n, n_embedding). It is called once a member.
max_epochs : int or "auto"
    Passes over the training rows. "auto": 40 for up to 2,000 rows, beyond them fewer, as one
    over the root of their number, 8 at least.
batch_size : int or "auto"
    Rows a step, at most as many as there are. "auto": a power of two, between a
    twelfth and a sixth of the rows, from 32 to 128.
learning_rate : float
    Peak of the schedule.
weight_decay : float
    Decoupled decay of all matrices; biases and norms are not decayed.
optimizer : {"adamw", "adam", "sgd"} or torch optimizer class
    Fused where torch offers it.
schedule : {"one_cycle", "cosine", "constant", "warm_restarts"}
    Course of the learning rate over ``max_epochs``. "warm_restarts": once an epoch, a cosine from
    the peak to a tenth of it that starts anew after 50, 150, 350, ... epochs.
early_stopping : bool
    Hold out a part of the rows, stratified over the labels, stop when its loss no longer falls
    and put the best weights back. Heads and neighbours come from the other rows.
validation_fraction : float
    Share of the rows held out for early stopping and for tuned decisions.
n_iter_no_change : int
    Epochs without improvement before early stopping ends the training.
neighbor_weight : float
    Share of the vote of the training rows in the probability, in [0, 1]; the rest is the
    heads'. The vote is a kernel regression of the labels on cosines of embeddings; 0 leaves
    the heads alone and keeps no training rows.
neighbor_temperature : float
    Divides the cosines in the vote: the smaller, the fewer rows decide.
linear_weight : float or "auto"
    Share of logistic regressions on the scaled features, one a label, in the log-odds, in [0, 1];
    the rest is the heads' and the vote's. They hold what a few features say outright, as rare
    words do, which a net learns late. 0 fits none. "auto": 0.3 for CSR, 0 for dense features and
    where labels times stored entries of X exceed 2e9 or labels times features 1e7.
linear_C : float or "cv"
    Inverse regularisation of these regressions. "cv": for all labels the one of 0.001, 0.01, 0.1, 1
    with the smallest held-out log loss. They are fitted on all rows of CSR as long as labels times
    stored entries do not exceed 2e9, else on 20,000 at most.
prior_count : float
    The a in what log-odds rise by, log((c + a) / c) - log((m + a) / m), for a label that c rows
    have and m rows lack; a row counts once whatever it weighs. Nets and regressions shrink a label
    of few rows towards its absence; held out, labels of two to ten rows are more frequent than they
    say. The probability of a label of one row, where regressions on the features have a share, is
    that either they or the net are right. 0 changes nothing.
threshold : float, array-like of shape (n_labels,) or str
    Probability from which on a label is predicted. "f1_micro", "f1_macro", "f1_samples",
    "jaccard", "accuracy", "subset_accuracy" or "cardinality" tunes one threshold for all labels
    by that objective on ``validation_fraction`` of the rows, which are then left out of the
    training; see :func:`sklearn_mlcl.thresholds.tune_thresholds`.
calibration : {"platt", "temperature"} or None
    Correct the log-odds of each label on ``validation_fraction`` of the rows, which are then left
    out of the training; see :func:`sklearn_mlcl.calibration.fit_calibration`.
device : str or torch.device
    "auto" is the GPU where torch sees one and where it is reckoned faster: a step of m
    multiply-adds (three times the weights times ``batch_size``) counts as m / 5e10 seconds on the
    CPU, as 0.001 + m / 5e12 seconds on the GPU, whose first use in a process costs 2 seconds more.
    Predictions reckon alike, for chunks of 2,048 rows. These constants are estimates, chosen
    without a GPU at hand.
precision : {"float32", "bf16"}
    "bf16" trains the encoder under autocast to bfloat16. Similarities, losses and heads stay
    float32, and so do predictions.
compile : bool
    Train what ``torch.compile`` makes of the encoder: it costs tens of seconds at the first batch
    and needs a C++ compiler on the CPU. What is stored and pickled is the module as it is.
callbacks : list of skorch callbacks
    They see the events and the history of ``net_``; raising ``KeyboardInterrupt`` in one ends
    the training (of the stage at hand). skorch's ``LRScheduler`` needs ``schedule="constant"``;
    to watch a score, scikit-learn's ``ScoringMonitor`` through ``set_callbacks`` is the way.
net_params : dict
    More arguments of the skorch net, e.g. ``{"optimizer__betas": (0.9, 0.99)}``.
warm_start : bool
    Let :meth:`fit` go on from the weights of the last fit; ``learning_rate``, ``batch_size``,
    ``callbacks`` and ``verbose`` may change in between, the architecture may not.
verbose : int
    Above 0 the losses of every epoch are printed.
random_state : int, RandomState instance or None
    Seeds initialisation, batches, dropout and splits; torch's global generators and thread
    count are left as they were found.
missing_label : float
    What marks an unknown label in a label matrix beside NaN, for example -1.
class_weight : "balanced", dict, list of dict or None
    Factors on the weights of negatives and positives: a dict ``{label: {0: w0, 1: w1}}`` by
    number or name of the label, a list with a dict ``{0: w0, 1: w1}`` for each label, or
    "balanced" for (known cells) / (2 * known cells of that value) in each label. For 1-D targets
    a dict ``{class: weight}`` or "balanced", as in scikit-learn. Probabilities are then those of
    the weighted rows; held-out rows of ``threshold`` and ``calibration`` do not have these
    factors, so that ``calibration="platt"`` takes them out again. See :ref:`missing-labels`.
"""

SHARED_ATTRIBUTES = """
classes_ : ndarray
    ``arange(n_labels)`` for a label matrix, else the classes.
label_names_ : ndarray of str
    Column names of y; only if y was a DataFrame.
coef_ : ndarray of shape (n_labels, n_embedding)
    Coefficients of the heads on the embedding; zero for a label with a single value.
intercept_ : ndarray of shape (n_labels,)
    Intercepts of the heads.
neighbors_ : NeighborVote or None
    The training rows (20,000 at most) that vote, as embeddings and labels.
linear_ : torch module or None
    Maps rows to the logits of the logistic regressions on the features.
label_counts_ : ndarray of shape (2, n_labels)
    Rows with each label, rows without; over all calls of :meth:`partial_fit`.
calibration_ : LabelCalibration or None
    The correction of the log-odds.
threshold_ : float or array-like
    The threshold in force after the fit.
net_ : skorch net
    The trained net: ``module_`` is the encoder, ``criterion_`` the objective.
history_ : dict of ndarray of shape (n_epochs,)
    What was recorded per epoch: ``train_loss``, ``valid_loss``, ``dur`` in seconds.
n_iter_ : int
    Epochs run since the weights were initialised.
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (n_features,)
    Feature names; only if X had string names.
"""


def _indented(text: str) -> str:
    return textwrap.indent(text.strip(), "    ").lstrip()


def _names(registry: dict[str, Any]) -> str:
    return "{" + ", ".join(f'"{name}"' for name in registry) + "}"


def _parameters_of(cls: type) -> str:
    """Return the shared parameters that the class has, with its defaults."""
    own = inspect.signature(cls).parameters
    texts = []
    for block in re.split(r"\n(?=\w)", SHARED_PARAMETERS.strip()):
        first_line, *rest = block.split("\n")
        name = first_line.split(" :")[0]
        if name in own:
            texts += [f"{first_line}, default={_shown(own[name].default)}", *rest]
    return "\n".join(texts)


def _shown(default: Any) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)


def fill_shared_parameters(cls: Class) -> Class:
    """Put the shared texts into the docstring of a classifier."""
    doc = cls.__doc__ or ""
    for field, text in {
        "{shared_parameters}": _indented(_parameters_of(cls)),
        "{shared_attributes}": _indented(SHARED_ATTRIBUTES),
        "{loss_names}": _names(LOGIT_LOSSES),
        "{contrastive_loss_names}": _names(CONTRASTIVE_LOSSES),
    }.items():
        doc = doc.replace(field, text)
    cls.__doc__ = doc
    return cls
