"""The base of the net-based classifiers: ``fit`` as one line of steps."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from math import ceil, sqrt
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import joblib
import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.estimators.base import MultiLabelClassifier
from sklearn_mlcl.estimators.identity import traits_of_call, traits_of_fit
from sklearn_mlcl.estimators.judge import Heads, Judge, Trained
from sklearn_mlcl.estimators.task import Judged, Task
from sklearn_mlcl.heads.blend import Blend, HeldOutParts, choose_blend
from sklearn_mlcl.heads.decision import Decision, HeldOut, chosen
from sklearn_mlcl.heads.evaluation import CachedEmbedding, Embedding, chunk_outputs, outputs
from sklearn_mlcl.heads.linear import default_weight, has_linear
from sklearn_mlcl.heads.logistic import C_of_labels, EmbeddedSamples, fit_embedding_heads
from sklearn_mlcl.heads.neighbors import NeighborHead, subsample
from sklearn_mlcl.heads.predictor import AffineHead, BestLabels, MemberSpread, Predictor
from sklearn_mlcl.heads.refit import RefittedHead, refitted, refitted_as
from sklearn_mlcl.heads.scaled_tree import ScaledTree, fit_embedding_tree
from sklearn_mlcl.heads.tree_answers import best_of_rows
from sklearn_mlcl.heads.tree_fit import wants_tree
from sklearn_mlcl.model_selection._choices import KeepsChoices
from sklearn_mlcl.model_selection._folds import Folds, common_share, member_folds, no_folds
from sklearn_mlcl.modules import ACTIVATIONS
from sklearn_mlcl.persistence import FitCheckpoint
from sklearn_mlcl.persistence._checkpoint import KeptFit
from sklearn_mlcl.thresholds import OBJECTIVES
from sklearn_mlcl.training import OPTIMIZERS, PRECISIONS, SCHEDULES, IndexBatchNet
from sklearn_mlcl.training._parallel import (
    agreed,
    alone,
    is_first,
    n_processes,
    processes_of_fit,
    taking_part,
)
from sklearn_mlcl.training.callbacks import (
    EpochChoice,
    FitTaskCallback,
    TimeBudget,
    epoch_log,
    fit_listener,
)
from sklearn_mlcl.training.draws import private_draws
from sklearn_mlcl.utils._sklearn_compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    has_callbacks,
    safe_indexing,
    validate_parameters,
    with_callbacks,
)
from sklearn_mlcl.utils.class_weight import label_log_odds
from sklearn_mlcl.utils.fit_data import (
    Features,
    FitData,
    check_features,
    check_fit_data,
    check_sizes,
    warn_weightless,
)
from sklearn_mlcl.utils.interrupts import rollback_on_error
from sklearn_mlcl.utils.parameters import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    CLASS_WEIGHT,
    MISSING_LABEL,
    SHARE,
    DeclaredParameters,
    param,
    setting,
)
from sklearn_mlcl.utils.probabilities import sigmoid
from sklearn_mlcl.utils.runtime import resolve_device, seeded, threads_for, torch_defaults
from sklearn_mlcl.utils.samples import is_table, same_samples, stacked, tensors_of, zero_samples
from sklearn_mlcl.utils.set_output import EmbeddingFrames, in_chosen_container
from sklearn_mlcl.utils.targets import set_format, warn_constant_labels

#: Samples up to which ``max_epochs="auto"`` is AUTO_EPOCHS; of more, epochs fall as one over the
#: root of their number.
AUTO_SAMPLES, AUTO_EPOCHS, FEWEST_EPOCHS = 2_000, 40, 8
#: Samples of a step at most where ``batch_size="auto"``.
LARGEST_BATCH = 1_024
#: From so many members on each holds out a fold of its own, up to so many samples. Else a common
#: share is held out, up to so many samples.
FEWEST_MEMBERS, HELD_OUT_SAMPLES, HELD_OUT_SHARE = 4, 20_000, 0.1
#: ``early_stopping=True`` compares these shares of the epochs; the longest wins that is within the
#: margin of the smallest loss.
EPOCH_SHARES, EPOCH_MARGIN = (0.125, 0.25, 0.5, 1.0), 0.05
#: Bounds on the largest size of a feature: float32 ends ten times further out.
SMALLEST_FEATURE, LARGEST_FEATURE = 1e-37, 1e37
#: The share of the neighbours, and the threshold, where nothing is chosen.
NEIGHBOR_WEIGHT, DEFAULT_THRESHOLD = 0.5, 0.5
#: The share of a tree of labels on the features that others must beat. On the rows of
#: ``benchmarks/bench_xmc.py`` the net gains less than 2 % of the log loss, and loses in precision.
#: Nor do the neighbours gain more beside a tree, and their votes cost more than its search.
TREE_WEIGHT = 1.0

N_ESTIMATORS = param(4, AT_LEAST_1)
PREDICT_PRECISION = param("float32", StrOptions(set(PRECISIONS)))
REFIT_HEAD = param("auto", "boolean", StrOptions({"auto"}))
N_BINS = param("auto", Interval(Integral, 0, None, closed="left"), StrOptions({"auto"}))
LINEAR_WEIGHT = param("auto", SHARE, StrOptions({"auto"}))


class Dealt(NamedTuple):
    """Samples of a fit, by what they hash to, and what was held out of those that take part."""

    digest: str
    part: np.ndarray | None
    folds: Folds

    @classmethod
    def checked(cls, digest: str, drawn: Any, n: int) -> Dealt:
        """Return what was drawn when a fit of n samples began, which a file may have kept."""
        part, of_sample, n_folds = drawn
        known = part is None or (
            _are_numbers(part) and part.size and 0 <= part.min() <= part.max() < n
        )
        size = n if part is None else np.size(part)
        if not (
            known
            and _are_numbers(of_sample)
            and of_sample.shape == (size,)
            and type(n_folds) is int
            and -1 <= of_sample.min() <= of_sample.max() < max(n_folds, 0)
        ):
            raise ValueError("checkpoint: the state that was kept holds out other samples.")
        return cls(digest, part, Folds(of_sample, n_folds))


class NetAttributes:
    """What a fit leaves behind, and what leaf classes without such parameters have."""

    _shared_attributes: ClassVar[str] = """
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, else the classes.
    label_names_ : ndarray of str
        Column names of y; only if y was a DataFrame.
    predictor_ : torch.nn.Module
        Module from samples, in float32, to log-odds: with encoder, head, neighbours and linear
        part.
    label_counts_ : ndarray of shape (2, n_labels)
        Numbers of training samples with and without each label, over all calls of
        :meth:`partial_fit`.
    threshold_ : float or array-like
        The threshold that :meth:`predict` uses.
    blend_ : dict of str to float
        Weights of the parts, chosen on held-out samples: ``net``, ``neighbors`` and ``linear`` sum
        to 1. The log-odds are multiplied by ``scale``, and ``shift`` is added.
    oof_proba_ : ndarray of shape (n_samples, n_labels)
        Held-out probabilities of the training samples; NaN for samples that were not held out. A
        file of :meth:`save` does not keep them.
    validation_scores_ : dict of str to float
        Scores of the held-out samples at ``threshold_``: ``log_loss``, ``average_precision``,
        ``f1_micro``, ``f1_macro``, ``f1_samples``; ``log_loss`` and ``accuracy`` for 1-D targets.
        Empty if nothing was held out.
    net_ : skorch net
        The trained net: ``module_`` is the encoder, ``criterion_`` the objective.
    history_ : dict of ndarray of shape (n_epochs,)
        Records of each epoch: ``train_loss``, ``valid_loss``, ``dur`` in seconds.
    n_iter_ : int
        Number of epochs that trained the weights.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Feature names; only if X had string names.
    """

    net_: IndexBatchNet
    predictor_: Predictor
    decision_: Decision
    threshold_: Any
    history_: dict[str, np.ndarray]
    n_iter_: int
    validation_scores_: dict[str, float]
    _held_out: HeldOut | None
    #: Attributes that files of :meth:`save` have without their values.
    not_in_files: ClassVar[set[str]] = {"_held_out", "_dealt", "checkpoint"}
    #: Which samples the net was trained on, and what it held out of them; None if not all in one.
    _dealt: Dealt | None
    #: Samples, and their log-odds out of fold: of the estimators that callbacks score.
    _out_of_fold: tuple[Any, np.ndarray] | None = None
    _noise_seed: int
    _n_features_out: int
    _evidence: Trained

    #: Whether each member of an ensemble can hold out samples of its own.
    _members_hold_out: bool = True
    #: The class of the net that is trained.
    _net_class: type[IndexBatchNet] = IndexBatchNet
    n_estimators: int = 1
    linear_weight: float | str = 0.0
    head_C_: np.ndarray
    refit_weight_: float

    @property
    def blend_(self) -> dict[str, float]:
        """Weights of the parts, scale and shift."""
        blend = self.predictor_.blend
        v, w = blend.neighbor_weight, blend.linear_weight
        shares = {"net": (1 - v) * (1 - w), "neighbors": v * (1 - w), "linear": w}
        return shares | {"scale": blend.scale, "shift": blend.shift}

    @property
    def oof_proba_(self) -> np.ndarray:
        """Held-out probabilities of the training samples."""
        if self._held_out is None or self._held_out.samples is None:
            raise AttributeError(
                "There is no oof_proba_: the fit held out no training samples, or the estimator "
                "was loaded from a file, which does not keep them."
            )
        return self._held_out.of_given()

    @property
    def label_counts_(self) -> np.ndarray:
        """Samples with each label, samples without, of shape (2, n_labels)."""
        return self.predictor_.counts


class NetClassifier(
    NetAttributes,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    EmbeddingFrames,
    KeepsChoices,
    DeclaredParameters,
    MultiLabelClassifier,
):
    """Base: an encoder trained by an objective, heads on its embedding.

    A subclass gives its modules (``_modules``) and its trained head (``_trained_head``).

    Parameters
    ----------
    threshold : float, array-like of shape (n_labels,) or str
        A label is predicted if its probability is at least this threshold. "f1_micro", "f1_macro",
        "f1_samples", "jaccard", "accuracy", "subset_accuracy" or "cardinality" tunes one threshold
        for all labels by that objective on held-out samples; see
        :func:`sklearn_mlcl.thresholds.tune_thresholds`. "auto" keeps at least 99 % of the best
        micro-F1 and takes the best macro-F1. For 1-D targets it is 0.5. A change after ``fit``
        takes effect at once.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's layers (Linear, LayerNorm, activation, dropout). The last one is
        the width of the embedding.
    max_epochs : int or "auto"
        Largest number of passes over the training samples. "auto" is 40 for up to 2,000 samples.
        With more samples it falls as one over the square root of their number, to 8 at least.
    batch_size : int or "auto"
        Number of samples per step, at most all of them. "auto" is a power of two from 32 to 128,
        between a twelfth and a sixth of the samples. With more than 20,000 samples it is between a
        160th and an 80th of them, to 1,024 at most. With a ``module`` it stays 128.
    learning_rate : float
        Peak of the schedule.
    device : str or torch.device
        Where to compute. "auto" takes a GPU that torch sees if it is estimated to be faster. A step
        of m multiply-adds (three times the weights times ``batch_size``) counts m / 5e10 seconds on
        the CPU. On the GPU it counts 0.001 + m / 5e12 seconds, and the first use in a process 2
        seconds more. Predictions are estimated in the same way, for chunks of 2,048 samples.
    callbacks : list of skorch callbacks or None
        They see the events and the history of ``net_``. A callback ends the training by raising
        ``KeyboardInterrupt``. skorch's ``LRScheduler`` needs ``schedule="constant"``. To watch a
        score, use scikit-learn's ``ScoringMonitor`` through ``set_callbacks``.
    verbose : int
        If above 0, the losses of every epoch are printed, and a line every ten seconds of a longer
        epoch. The time left is an estimate for all ``max_epochs``; early stopping may end the
        training before.
    random_state : int, RandomState instance or None
        Seeds initialisation, batches, dropout and splits. The global generators and the number of
        threads of torch do not change.
    head_C : float, array-like of shape (n_labels,) or "cv"
        Inverse regularisation of the logistic heads. "cv" chooses it per label by
        cross-validation on the embedding.
    n_estimators : int
        Number of nets in the ensemble. They are trained together, on the same batches, in one set
        of tensors. A logit is the mean of their logits.

    Other Parameters
    ----------------
    module : callable or None
        A torch module class of your own in place of the built-in encoder. It is called with
        ``n_features``, or without arguments if it takes none. The module maps samples
        (n, n_features) to embeddings (n, n_embedding). For wide CSR, ``n_features`` is 8,192, and
        the module gets the features that most samples have. Frozen parameters
        (``requires_grad=False``) stay as they are.
    scale_input : bool
        Whether to scale the features. Dense features are scaled by median and quartiles, and
        outliers are bounded smoothly. Features of CSR are scaled to one size, but those that fewer
        than some 300 samples have share a factor. If False,
        ``module`` gets samples as they are. They may have any shape (n, ...) and any dtype of
        numbers, or be several arrays: :func:`sklearn_mlcl.modules.pack_inputs`. Feature noise is
        off then, all members hold out the same samples, and mixup and the linear part are off
        unless you set them.
    activation : {"silu", "relu", "gelu", "tanh"}
        Non-linearity of the encoder.
    dropout : float
        Share of the units that are zeroed during training, in [0, 1).
    feature_noise : float
        Standard deviation of Gaussian noise on the scaled features during training.
    weight_decay : float
        Decoupled decay of all matrices; biases and norms are not decayed.
    validation : "folds", float, splitter or None
        Samples that are held out of the training, stratified over the labels. Epochs, weights of
        the parts, scale and threshold are chosen on them. With "folds", each of four or more
        members holds out a fold of its own. With fewer members, or more than 20,000 samples, all
        members hold out a common tenth, at most 20,000 samples. A float is a common share, and a
        splitter gives its first split. None holds out nothing and chooses nothing. Equal samples,
        and samples of one group, are held out together.
    early_stopping : bool or int
        True compares an eighth, a quarter, a half and all of ``max_epochs`` by the log loss of
        held-out samples. It takes the longest training within 5 % of the best. A number n stops
        when the loss has not improved for n epochs, and restores the best weights. False trains all
        epochs.
    neighbor_weight : float or "auto"
        Share of the neighbours in the probability, in [0, 1]. The rest is the share of the head.
        The neighbours are a kernel regression of the training labels on cosines of embeddings. With
        0 there are none, and no training samples are stored. "auto" chooses the share on held-out
        samples; it is 0.5 if there are none.
    checkpoint : str, path-like, FitCheckpoint or None
        A folder where :meth:`fit` keeps its state while it runs. If the process dies, the same
        call continues from there, and its result equals that of an undisturbed fit. See
        :class:`sklearn_mlcl.persistence.FitCheckpoint`.
    warm_start : bool
        Whether :meth:`fit` continues from the weights of the last fit. ``learning_rate``,
        ``batch_size``, ``callbacks``, ``verbose`` and the weights of the objective may change in
        between, the architecture may not. If X, y and groups are the same, the same samples are
        held out. With other data nothing is held out, and earlier choices stay.
    net_params : dict or None
        Rare settings of the net, by key; a grid reaches them as ``net_params__schedule``.

        - ``chunk_size`` : int or None
          Samples of a batch that the encoder sees at a time while training. The gradient is that
          of the whole batch, and the memory that of a chunk. The encoder runs forward twice. Layers
          that normalise over the batch are refused. None takes the batch at once.
        - ``compile`` : bool
          Train the encoder under ``torch.compile``. The first batch takes tens of seconds longer.
          On the CPU a C++ compiler is needed.
        - ``data_parallel`` : bool
          Whether to take part if there is a ``torch.distributed`` process group. Then all its
          processes share this fit, and end with the same estimator; see :doc:`/cluster`. False fits
          in this process alone.
        - ``encoder_lr`` : float or None
          Learning rate of the encoder, as a pretrained one needs; None is ``learning_rate``. The
          schedule multiplies both.
        - ``grad_clip`` : float or None
          Largest norm of all gradients together; longer ones are shortened.
        - ``label_tree`` : bool or "auto"
          Whether logistic regressions are a tree of clusters of labels, as in
          :class:`MultiLabelLogisticRegression`: those on the features (``linear_weight``), or those
          of ``head="logistic"`` on the embedding. :meth:`predict_topk` searches it. All members
          hold out the same samples then, "auto" for ``neighbor_weight`` is 0, and "auto" for
          ``linear_weight`` is 1 unless the net is clearly better. "auto" is True for more than
          10,000 labels; see :ref:`label-tree`.
        - ``max_seconds`` : float or None
          The training ends before an epoch that would exceed so many seconds.
        - ``mixup`` : float
          If above 0, each sample of a batch is mixed with another one, features and labels alike.
          The shares are from Beta(mixup, mixup); see :func:`sklearn_mlcl.training.mixed`.
        - ``n_bins`` : int or "auto"
          Quantile bins of each dense feature. The built-in encoder sees where a value lies in each
          bin, beside the scaled value. "auto" is 16 for up to 16 features, 256 over their number
          for up to 85, and 0, none, for more. CSR, features that are not scaled, and ``module`` get
          none. See :class:`~sklearn_mlcl.modules.PiecewiseLinearEncoding`.
        - ``optimizer`` : {"adamw", "adam", "sgd"} or torch optimizer class
          The optimizer; its fused form if torch has one.
        - ``optimizer_params`` : dict or None
          Further arguments of the optimizer, for example ``{"betas": (0.9, 0.99)}``.
        - ``precision`` : {"float32", "bf16"}
          "bf16" trains the encoder under autocast to bfloat16. Losses, heads and predictions
          stay float32.
        - ``predict_precision`` : {"float32", "bf16"}
          "bf16" runs the encoder so in predictions and :meth:`transform`, after the fit; a change
          takes effect at once. float64 samples are computed in float64.
        - ``pseudo_count`` : float
          The p in log((c + p) / c) - log((m + p) / m), which is added to the log-odds of a label.
          Here c samples have the label, and m do not. It corrects regularised models, which
          underestimate rare labels. 0 adds nothing.
        - ``refit_head`` : bool or "auto"
          Whether logistic regressions on the trained embedding are blended into the head that was
          trained with the encoder. C, one for all labels among 0.001, 0.01, 0.1, 1, and their share
          in the log-odds, 0.5 unless another one is clearly better, are chosen on held-out samples.
          If there are none, the choice of the fit before stays in a warm start, else the trained
          head stands alone; so it does after :meth:`partial_fit`. "auto" does so for a ``module``.
          It does not for the built-in encoder, where it gains nothing on average.
        - ``schedule`` : {"averaged", "one_cycle", "cosine", "constant", "warm_restarts"}
          Schedule of the learning rate. "averaged" keeps it constant and averages the weights over
          about the last two epochs. Each epoch is then as good as a training that ends there.
          "warm_restarts" follows a cosine from the peak to a tenth of it, and restarts after 50,
          150, 350, ... epochs.
    linear_weight : float or "auto"
        Weight of the linear part in the log-odds, in [0, 1]. The rest is the weight of head and
        neighbours. The linear part is one logistic regression per label on the scaled features. It
        helps if single features decide, as rare words do. With 0 there is none. "auto" chooses the
        weight on held-out samples; if there are none, it is 0.3 for CSR and 0 for dense features.
        "auto" fits no regressions if labels times features exceed 1e7. The same holds if labels
        times stored entries of a CSR X exceed 2e9, or labels times entries of a dense X 2e8. C is
        chosen for all labels among 0.001, 0.01, 0.1, 1 by the held-out log loss. A tree of labels
        (``label_tree`` of ``net_params``) has no such bounds, and C is 1.
    """

    _savings: ClassVar[str] = (
        "smaller hidden_layer_sizes, n_estimators and batch_size, smaller sizes in "
        "net_params and loss_params"
    )
    _remedies: ClassVar[str] = "a smaller learning_rate, precision='float32'"
    _without_fit: ClassVar[set[str]] = {
        "linear_weight",
        "neighbor_weight",
        "net_params__n_predict_samples",
        "net_params__pseudo_count",
        "threshold",
    }

    threshold: Any = param("auto", SHARE, "array-like", StrOptions({"auto", *OBJECTIVES}))
    hidden_layer_sizes: Any = param((256, 256), "array-like")
    max_epochs: int | str = param("auto", AT_LEAST_1, StrOptions({"auto"}))
    batch_size: int | str = param("auto", AT_LEAST_1, StrOptions({"auto"}))
    learning_rate: float = param(1e-3, ABOVE_0)
    class_weight: Any = CLASS_WEIGHT
    missing_label: float = MISSING_LABEL
    device: Any = param("auto", str, torch.device)
    callbacks: list[Any] | None = param(None, list, None)
    verbose: int = param(0, "verbose")
    random_state: Any = param(None, "random_state")
    module: Any = param(None, callable, None)
    scale_input: bool = param(True, "boolean")
    activation: str = param("silu", StrOptions(set(ACTIVATIONS)))
    dropout: float = param(0.4, Interval(Real, 0, 1, closed="left"))
    feature_noise: float = param(0.5, AT_LEAST_0)
    weight_decay: float = param(0.03, AT_LEAST_0)
    validation: Any = param(
        "folds",
        StrOptions({"folds"}),
        Interval(Real, 0, 1, closed="neither"),
        HasMethods(["split", "get_n_splits"]),
        None,
    )
    early_stopping: bool | int = param(True, "boolean", AT_LEAST_1)
    neighbor_weight: float | str = param("auto", SHARE, StrOptions({"auto"}))
    checkpoint: Any = param(None, str, os.PathLike, FitCheckpoint, None)
    warm_start: bool = param(False, "boolean")
    net_params: dict[str, Any] | None = param(
        None,
        dict,
        None,
        keys={
            "optimizer": param("adamw", StrOptions(set(OPTIMIZERS)), callable),
            "optimizer_params": param(None, dict, None),
            "schedule": param("averaged", StrOptions(set(SCHEDULES))),
            "precision": param("float32", StrOptions(set(PRECISIONS))),
            "compile": param(False, "boolean"),
            "data_parallel": param(True, "boolean"),
            "encoder_lr": param(None, ABOVE_0, None),
            "grad_clip": param(None, ABOVE_0, None),
            "label_tree": param("auto", "boolean", StrOptions({"auto"})),
            "max_seconds": param(None, ABOVE_0, None),
            "pseudo_count": param(0.0, AT_LEAST_0),
        },
    )

    @property
    def _own_inputs(self) -> bool:
        """Whether samples go to ``module`` as they are: of any dtype and shape, unscaled."""
        return self.module is not None and not self.scale_input

    # ------------------------------------------------------------------ what a leaf class gives

    @abstractmethod
    def _modules(self, task: Task) -> tuple[nn.Module, nn.Module]:
        """Return what makes embeddings of samples, and the objective of its training."""

    @abstractmethod
    def _trained_head(self, net: IndexBatchNet) -> AffineHead | None:
        """Return the head that was trained with the encoder; None fits logistic ones."""

    @property
    def _has_logistic_head(self) -> bool:
        """Whether the head is logistic regressions on the embeddings."""
        return False

    def _head(self, head: Any, known: CachedEmbedding, own: np.ndarray | None, task: Task) -> Heads:
        """Return what stands on the embeddings in the end: here the head itself.

        ``known`` has the embeddings of the samples of the training, ``own`` those of held-out ones.
        """
        return Heads(head, {})

    def _rule(self) -> tuple[str, Any]:
        """Return the decision rule asked for, and the prior of the label sets."""
        return "threshold", 0.0

    # ------------------------------------------------------------------ fit

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train the encoder and the heads, and choose on held-out samples.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features without NaN or infinity.
        y : {array-like, DataFrame, CSR matrix} of shape (n_samples, n_labels)
            Indicator matrix; mark missing labels NaN (or ``missing_label``). Or 1-D classes of
            shape (n_samples,).
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the samples or of the entries. Samples with zero weight are dropped.
        groups : array-like of shape (n_samples,), default=None
            Group of each sample, for example the patient. A group is held out as a whole.
        X_val, y_val : array-like, default=None
            Samples to choose on, in place of held-out ones. A pipeline passes them on without
            transforming them, unless its ``transform_input`` names them.
        sample_weight_val : array-like, default=None
            Weights of ``X_val``.

        Returns
        -------
        self : estimator
            The fitted estimator. If the fit fails, an earlier fit stays as it was.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together, one is None.")
        if sample_weight_val is not None and X_val is None:
            raise ValueError("sample_weight_val was given without X_val and y_val.")
        validation = (X_val, y_val, sample_weight_val)
        # The state of a fit is removed last, once nothing can go wrong any more.
        with (
            taking_part(setting(self, "data_parallel")),
            KeptFit(self.checkpoint if is_first() else None) as kept,
            self._kept_on_error(self.warm_start),
            rollback_on_error(self),
            torch_defaults(),
        ):
            self._fit(X, y, sample_weight, groups, validation, kept)
        return self

    def _kept_on_error(self, continuing: bool = True) -> AbstractContextManager[None]:
        """Put a net that training goes on from back as it was if the block fails."""
        continuing = continuing and hasattr(self, "net_")
        return self.net_.kept_on_error() if continuing else nullcontext()

    # Inside rollback_on_error, which takes away what tears the callbacks down.
    @with_callbacks
    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        groups: Any,
        validation: tuple[Any, Any, Any],
        kept: KeptFit,
    ) -> None:
        continuing = self.warm_start and hasattr(self, "net_")
        data = self._read(X, y, sample_weight, continuing, groups)
        valid = None if validation[0] is None else self._read_validation(*validation)
        self._check_same(data, valid, continuing)
        if self.checkpoint is not None and is_first():
            kept.begin(traits_of_fit(self, data, valid, self._start(continuing)), n_processes())
        kept.state, kept.is_last = agreed((kept.state, kept.is_last))
        self._check_tree()
        n_epochs = most_epochs(self.max_epochs, data.n_samples)
        task = self._task(data, valid, kept, continuing, n_epochs)
        # A copy of the held-out samples is made for callbacks alone, its own or a search's.
        judged = task.judged() if has_callbacks(self) else None
        given = _monitored(judged, X, y, sample_weight, validation)
        with fit_listener(self, task.n_epochs, given) as listener:
            warn_weightless(task.train, self._format.label_names)
            with self._finite(data.X):
                self._adopt(self._trained(task, continuing, listener, kept))
        if self._format.kind == "multilabel":
            warn_constant_labels(task.stats.constant, self._format.label_names)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one more epoch on the samples given, at a constant learning rate.

        The first call sets the architecture and the input scaling from its samples. The heads are
        fitted on the latest samples. A label with a single value among them keeps its head.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples, n_labels) or (n_samples,)
            Targets, as in :meth:`fit`.
        classes : array-like, default=None
            All classes, at the first call with 1-D targets; a label matrix does not need it.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the samples or of the entries.

        Returns
        -------
        self : estimator
            The estimator after one more epoch.
        """
        continuing = hasattr(self, "net_")
        if continuing:
            validate_parameters(self)  # scikit-learn checks them at the first call alone
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs all samples at once, and partial_fit sees a part of "
                "them: give the weights as numbers."
            )
        with (
            taking_part(setting(self, "data_parallel")),
            self._kept_on_error(),
            rollback_on_error(self),
            torch_defaults(),
        ):
            data = self._read(X, y, sample_weight, continuing, classes=classes)
            self._check_same(data, None, continuing)
            self._check_tree_of_part()
            task = self._task(data, None, KeptFit(None), continuing, n_epochs=1, is_part=True)
            warn_weightless(task.train, self._format.label_names)
            with self._finite(data.X):
                self._adopt(self._trained(task, continuing))
        return self

    def _adopt(self, fitted: dict[str, Any]) -> None:
        """Take the attributes of a fit; those of an earlier one that has other heads go."""
        for name in ("head_C_", "refit_weight_"):
            self.__dict__.pop(name, None)
        self.__dict__.update(fitted)

    def _read(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        continuing: bool,
        groups: Any = None,
        classes: Any = None,
    ) -> FitData:
        known = self._format if continuing else None
        data, target_format = check_fit_data(
            self, X, y, sample_weight, groups=groups, classes=classes, known=known, on_disk=True
        )
        set_format(self, target_format)
        check_sizes(data.X, SMALLEST_FEATURE, LARGEST_FEATURE)
        return data

    def _check_tree(self) -> None:
        """Raise for a tree of labels where there is none, and for refitted heads beside one."""
        if self._has_tree and setting(self, "refit_head") is True:
            raise ValueError(
                "net_params__refit_head=True blends a logistic regression for each label into the "
                f"trained head, but {self._format.n_labels} labels have a tree "
                f"(net_params__label_tree={setting(self, 'label_tree')!r}): set "
                "net_params__label_tree=False, or leave net_params__refit_head at 'auto'."
            )
        if setting(self, "label_tree") is True and not self._has_tree:
            needed = {
                "linear_weight": "linear_weight above 0 ('auto' is 0 where a module sees samples "
                "as they are)",
                "head": "head='logistic'",
            }
            raise ValueError(
                "net_params__label_tree=True needs logistic regressions: expected "
                f"{' or '.join(self._own(needed).values())}; got {self._given(needed)}."
            )

    def _check_tree_of_part(self) -> None:
        """Raise if ``partial_fit`` would have to fit a tree of labels."""
        kept = hasattr(self, "predictor_") and isinstance(self.predictor_.linear, ScaledTree)
        asked = (_number(self.linear_weight) or 0.0) > 0 and not kept
        if self._has_tree and (self._has_logistic_head or asked):
            needed = {
                "linear_weight": "linear_weight='auto'",
                "head": "a head that is trained with the encoder",
            }
            raise ValueError(
                "partial_fit fits no tree of labels: it would know those of the latest samples "
                f"alone. Set {' and '.join(self._own(needed).values())}, or "
                f"net_params__label_tree=False; got {self._given(needed)}, "
                f"{self._format.n_labels} labels."
            )

    def _own(self, texts: dict[str, str]) -> dict[str, str]:
        """Return the texts about parameters that this class has."""
        return {name: text for name, text in texts.items() if name in self._declared}

    def _given(self, names: Iterable[str]) -> str:
        """Return the values of those parameters that this class has, for an error."""
        return ", ".join(f"{n}={getattr(self, n)!r}" for n in names if n in self._declared)

    def _read_validation(self, X: Any, y: Any, sample_weight: Any) -> FitData:
        try:
            return self._read(X, y, sample_weight, continuing=True)
        except ValueError as error:
            raise ValueError(f"Of X_val, y_val and sample_weight_val: {error}") from error

    def _check_same(self, data: FitData, valid: FitData | None, continuing: bool) -> None:
        """Raise if the processes that share this fit were given different things."""
        processes = processes_of_fit()
        if processes is not None:
            before = self.n_iter_ if continuing else 0
            processes.check_same(traits_of_call(self, data, valid, before))

    def _start(self, continuing: bool) -> Any:
        """Return what a training goes on from, to compare it."""
        if not continuing:
            return None
        net = self.net_
        parts = (net.module_, net.criterion_, net.optimizer_)
        return [part.state_dict() for part in parts], self.n_iter_, self._dealt

    def _task(
        self,
        data: FitData,
        valid: FitData | None,
        kept: KeptFit,
        continuing: bool,
        n_epochs: int,
        is_part: bool = False,
    ) -> Task:
        """Plan a training: what is held out, what each sample weighs, what seeds it."""
        if not isinstance(self.threshold, str):
            self._checked_threshold(self.threshold)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        seed = agreed(kept.drawn("seed", seed + (self.n_iter_ if continuing else 0)))
        dealt = None
        if not (valid is not None or is_part or self.validation is None):
            digest = joblib.hash((data.X, data.Y, data.groups))
            if not continuing:
                part, folds = self._deal(data, seed)
                drawn = agreed(kept.drawn("held out", (part, folds.of_sample, folds.n_folds)))
                dealt = Dealt.checked(digest, drawn, data.n_samples)
            elif self._dealt is not None and self._dealt.digest == digest:
                # Of others, the net may have learnt what it would hold out.
                dealt = self._dealt
        self._dealt = dealt = agreed(dealt)
        if dealt is not None and dealt.part is not None:
            data = data.take(dealt.part)
        return Task.of(
            data,
            no_folds(data.n_samples) if dealt is None else dealt.folds,
            valid,
            self.class_weight,
            self._format,
            seed=seed,
            n_epochs=n_epochs,
            schedule="constant" if is_part else setting(self, "schedule"),
            is_part=is_part,
        )

    def _deal(self, data: FitData, seed: int) -> tuple[np.ndarray | None, Folds]:
        """Return the samples that take part, None for all, and what is held out of them."""
        if isinstance(self.validation, str | Real):
            return None, self._folds(data, seed)
        train, held_out = self._first_split(data)
        folds = Folds(np.repeat([-1, 0], [len(train), len(held_out)]), 1)
        return np.concatenate([train, held_out]), folds

    def _first_split(self, data: FitData) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the samples to learn from and to hold out, by a splitter."""
        y: Any = data.Y.astype(np.float64)  # a splitter may compute with it
        if self._format.kind != "multilabel":
            y = y[:, 0] if self._format.kind == "binary" else y.argmax(axis=1)
        train, held_out = next(iter(self.validation.split(data.X, y, data.groups)))
        return train, held_out

    def _folds(self, data: FitData, seed: int) -> Folds:
        """Deal the samples to what is held out, as ``validation`` says."""
        n, share = data.n_samples, self.validation
        if isinstance(share, Real):
            return common_share(data, float(share), seed)
        several = self.n_estimators >= FEWEST_MEMBERS and not self._own_inputs
        # A tree for each fold would cost as much as the training.
        by_member = self._members_hold_out and several and not self._has_tree
        if by_member and n <= HELD_OUT_SAMPLES:
            return member_folds(data, int(self.n_estimators), seed)
        return common_share(data, min(HELD_OUT_SHARE, HELD_OUT_SAMPLES / n), seed)

    def _trained(
        self,
        task: Task,
        continuing: bool,
        listener: FitTaskCallback | None = None,
        kept: KeptFit | None = None,
    ) -> dict[str, Any]:
        """Train the net, put heads on it, and return the attributes of the fit."""
        n_before = self.n_iter_ if continuing else 0
        with seeded(task.seed) as streams:
            net = self._continued(task) if continuing else self._new_net(task)
            work = net.batch_size * net.n_weights
            # A step goes forward once, and back at twice the cost.
            n_steps = ceil(task.train.n_samples / net.batch_size) * task.n_epochs
            device = resolve_device(self.device, 3 * work, n_steps)
            judged = task.judged()
            columns = getattr(net.module_, "columns", None)
            judge = None if judged is None else Judge(task, judged, device, columns)
            choice = None
            if judge is not None and judge.judged.judgement.informs and self.early_stopping:
                choice = self._epoch_choice(judge, task.n_epochs)
            callbacks: list[Any] = [] if choice is None else [choice]
            if (seconds := setting(self, "max_seconds")) is not None:
                callbacks.append(TimeBudget(seconds))
            if listener is not None:
                listener.fitted_attributes = lambda: self._monitored_attributes(
                    net.snapshot(), task, judge, n_before
                )
                callbacks.append(listener)
            with threads_for(work / net.n_products, device):
                net.to(device).train_rows(
                    task.rows(device, columns),
                    task.held_out_rows(device, columns),
                    max_epochs=task.n_epochs,
                    schedule=task.schedule,
                    generator=streams.on(torch.device("cpu")),
                    callbacks=callbacks,
                    kept=kept,
                )
                fitted = self._fitted(net, task, judge, n_before)
        if listener is not None:
            listener.last_attributes = _out_of_fold(fitted["_held_out"], judge)
        if choice is not None and choice.best_epoch_:
            fitted["n_iter_"] = n_before + choice.best_epoch_
        # On the CPU a pickle loads anywhere; predictions move the weights where they run.
        net.to(torch.device("cpu"))
        return fitted

    def _monitored_attributes(
        self, net: IndexBatchNet, task: Task, judge: Judge | None, n_before: int
    ) -> dict[str, Any]:
        """Return the attributes of a fit that stops here, for callbacks that score it.

        Three of four members have learnt from a sample that one holds out. So the estimator of a
        callback answers out of fold for the very samples that the callback is given.
        """
        # Callbacks that ask may be in one process and not in another.
        with alone():
            fitted = self._fitted(net, task, judge, n_before)
        return vars(self) | fitted | _out_of_fold(fitted["_held_out"], judge)

    def _epoch_choice(self, judge: Judge, n_epochs: int) -> EpochChoice:
        """Return what chooses the number of epochs, as ``early_stopping`` says."""

        def loss(net: IndexBatchNet) -> float:
            return float(agreed(judge.loss(net, self._trained_head(net))))

        if not isinstance(self.early_stopping, bool | np.bool_):
            return EpochChoice(loss, patience=int(self.early_stopping))
        epochs = sorted({max(1, round(share * n_epochs)) for share in EPOCH_SHARES})
        return EpochChoice(loss, epochs, EPOCH_MARGIN)

    def _new_net(self, task: Task) -> IndexBatchNet:
        with private_draws():
            module, objective = self._modules(task)
        if torch.get_default_dtype() != torch.float32:
            module, objective = module.float(), objective.float()
        optimizer_params = setting(self, "optimizer_params") or {}
        return self._net_class(
            module,
            objective,
            optimizer_name=setting(self, "optimizer"),
            weight_decay=float(self.weight_decay),
            mixup=self._mixup(task.train),
            n_members=int(self.n_estimators),
            **self._training_settings(task),
            **{f"optimizer__{name}": value for name, value in optimizer_params.items()},
        ).initialize()

    def _mixup(self, data: FitData) -> float:
        """Return how strongly samples are mixed; those for a ``module`` only if it is asked for."""
        if not self._own_inputs:
            return setting(self, "mixup", 0.0)
        asked = (self.net_params or {}).get("mixup", 0.0)
        if asked > 0 and not is_table(data.X):
            raise ValueError(
                f"net_params__mixup={asked} mixes rows of floats, got X of dtype {data.X.dtype} "
                f"and shape {data.X.shape}."
            )
        return asked

    def _with_linear(self, data: FitData) -> bool:
        """Return whether there is a linear part; beside a ``module`` only if it is asked for."""
        if not self._own_inputs:
            weight = self.linear_weight
            return weight != 0 if self._has_tree else has_linear(weight, data)
        asked = _number(self.linear_weight) or 0.0
        if asked > 0 and not is_table(data.X):
            raise ValueError(
                f"linear_weight={asked} needs rows of floats, got X of dtype {data.X.dtype} and "
                f"shape {data.X.shape}."
            )
        return asked > 0

    @property
    def _has_tree(self) -> bool:
        """Whether a tree of labels takes the place of logistic regressions, one a label."""
        given = _number(self.linear_weight)
        with_linear = (given or 0.0) > 0 if self._own_inputs else given != 0
        wanted = wants_tree(setting(self, "label_tree"), self._format.n_labels)
        return wanted and (self._has_logistic_head or with_linear)

    def _continued(self, task: Task) -> IndexBatchNet:
        """Return the trained net under the settings of today."""
        self.net_.adopt(**self._training_settings(task))
        self._reweigh(self.net_.criterion_)
        return self.net_

    def _reweigh(self, objective: Any) -> None:
        """Give a trained objective the weights of its terms of today."""
        for name in ("lambda_bce", "lambda_contrastive", "lambda_joint", "lambda_kl"):
            if name in self._declared:
                setattr(objective, name, float(getattr(self, name)))

    def _training_settings(self, task: Task) -> dict[str, Any]:
        return {
            "precision": setting(self, "precision"),
            "encoder_lr": setting(self, "encoder_lr"),
            "grad_clip": setting(self, "grad_clip"),
            "chunk_size": setting(self, "chunk_size", None),
            "compiled": setting(self, "compile"),
            "lr": float(self.learning_rate),
            "batch_size": batch_samples(
                self.batch_size, task.train.n_samples, grows=self.module is None
            ),
            "callbacks": self.callbacks,
            "verbose": self.verbose,
        }

    def _fitted(
        self, net: IndexBatchNet, task: Task, judge: Judge | None, n_before: int
    ) -> dict[str, Any]:
        """Return the attributes of a fit: heads, parts, and what held-out samples choose."""
        known = CachedEmbedding(net.module_, task.train.X, torch.device(net.device))
        own = None if judge is None else judge.embeddings(net)
        head: Any = self._trained_head(net)
        fitted: dict[str, Any] = {}
        if head is None:
            head, fitted["head_C_"] = self._logistic_head(known, task)
        elif self._refits and not task.is_part:
            found = agreed(self._refitted(head, known, own, task, judge, goes_on=n_before > 0))
            if found is not None:
                head, fitted["head_C_"] = found.head, np.full(task.data.n_labels, found.C)
                fitted["refit_weight_"] = found.share
        heads = self._head(head, known, own, task)
        previous = getattr(self, "predictor_", None) if n_before else None
        before = previous if task.is_part else None
        if isinstance(heads.module, AffineHead):
            heads.module.set_constant(task.stats, before and before.head)
        trained = Trained(net, task, judge, known, own, heads, previous)
        if self._keeps_evidence:
            fitted["_evidence"] = trained
        return {
            **self._chosen(trained),
            "net_": net,
            "n_iter_": n_before + net.n_epochs_run,
            "history_": epoch_log(net.history),
            "_n_features_out": known.of(np.arange(1)).shape[1],
            "_noise_seed": task.seed,
            **fitted,
            **heads.fitted,
        }

    def _chosen(self, trained: Trained) -> dict[str, Any]:
        """Return the attributes that held-out samples choose, of what was trained."""
        task, judge, heads = trained.task, trained.judge, trained.heads
        known, own, previous = trained.known, trained.own, trained.previous
        before = previous if task.is_part else None
        with_linear = self._with_linear(task.train)
        if task.is_part and self._has_tree:
            with_linear = before is not None and isinstance(before.linear, ScaledTree)
        with_tree = with_linear and self._has_tree
        blend = self._default_blend(task.train, with_linear, previous if judge is None else None)
        parts, C = None, None
        if judge is not None and own is not None and judge.judged.judgement.informs:
            votes = trained.votes if blend.neighbor_weight > 0 else None
            linear = None
            if with_tree:
                linear = trained.tree_log_odds(self.scale_input)
            elif with_linear:
                linear, C = judge.linear(self.scale_input)
            parts = HeldOutParts(trained.head_log_odds, votes, linear)
            fixed = (self._fixed_neighbor_weight, _number(self.linear_weight))
            judgement = judge.judged.judgement
            blend = agreed(choose_blend(parts, judgement, blend, *fixed, task.seed))
        random_state = np.random.RandomState(task.seed)
        neighbors: NeighborHead | None = None
        linear_part: nn.Module | None = None
        if blend.neighbor_weight > 0:
            kept = subsample(task.train, random_state)
            near = task.train.take(kept)
            stats = task.stats
            if before is not None:
                # Labels that the latest samples do not know get the prior of all samples so far.
                log_odds, _ = label_log_odds(*(stats.counts + before.counts))
                stats = replace(stats, log_odds=log_odds)
            neighbors = NeighborHead(known.of(kept), near.Y, near.sample_weight, stats)
        if blend.linear_weight > 0 and with_tree:
            # The net learns from all parts, a tree would forget those before.
            tree_before = None if before is None else before.linear
            linear_part = tree_before or trained.label_tree(self.scale_input)
        elif blend.linear_weight > 0:
            linear_part = trained.linear_part(self.scale_input, C, random_state)
        whole = blend
        if judge is not None and parts is not None:
            whole = agreed(judge.for_ensemble(blend, known, heads.module))
        predictor = Predictor(
            trained.net.module_,
            heads.module,
            task.stats.counts if before is None else task.stats.counts + before.counts,
            setting(self, "pseudo_count"),
            neighbors=neighbors,
            linear=linear_part,
            blend=whole,
        )
        if (processes := processes_of_fit()) is not None:
            processes.hand_out(t for t in predictor.state_dict().values() if torch.is_tensor(t))
        held_out = None
        if judge is not None and parts is not None:
            rare = predictor.get_buffer("shift").numpy() - whole.shift
            log_odds = parts.blended(blend) + np.where(task.stats.constant, 0.0, rare)
            held_out = judge.kept(log_odds.astype(np.float32))
        threshold, decision = agreed(self._decided(held_out, own, heads, previous is not None))
        kind = self._format.kind
        return {
            "predictor_": predictor,
            "decision_": decision,
            "threshold_": threshold,
            "validation_scores_": {} if held_out is None else held_out.scores(threshold, kind),
            "_held_out": held_out,
            "_threshold_asked": self.threshold,
        }

    def _choose_again(self) -> None:
        validate_parameters(self)
        trained = self._evidence
        work = trained.net.batch_size * trained.net.n_weights / trained.net.n_products
        threads = threads_for(work, torch.device(trained.net.device))
        with torch_defaults(), threads, self._finite(trained.task.train.X):
            self.__dict__.update(self._chosen(trained))

    def _default_blend(self, data: FitData, with_linear: bool, before: Predictor | None) -> Blend:
        """Return the weights where nothing is chosen: those given, those of before, or usual."""
        linear_weight = TREE_WEIGHT if self._has_tree else default_weight(data)
        usual = Blend(NEIGHBOR_WEIGHT, linear_weight) if before is None else before.blend
        v, w = self._fixed_neighbor_weight, _number(self.linear_weight)
        w = usual.linear_weight if w is None else w
        return replace(
            usual,
            neighbor_weight=usual.neighbor_weight if v is None else v,
            linear_weight=w if with_linear else 0.0,
        )

    @property
    def _fixed_neighbor_weight(self) -> float | None:
        """The share of the neighbours where it is not chosen."""
        asked = _number(self.neighbor_weight)
        return 0.0 if asked is None and self._has_tree else asked

    def _logistic_head(self, known: CachedEmbedding, task: Task) -> tuple[nn.Module, np.ndarray]:
        """Return logistic regressions on the embeddings, and their C.

        They see the embeddings of all members side by side, unless members hold out samples of
        their own: then each has its regressions.
        """
        parts = [EmbeddedSamples(known.all(), task.train.Y, task.train.copies)]
        if task.folds.by_member:
            parts = self._embedded_parts(known, task)
        C = C_of_labels(self.head_C, "head_C", self._format)
        if self._has_tree:
            return fit_embedding_tree(*parts[0], C)
        fits = [fit_embedding_heads(*part, C) for part in parts]
        coef, intercept, found = (np.stack(each) for each in zip(*fits, strict=True))
        return AffineHead(coef, intercept), found.mean(axis=0)

    def _refitted(
        self,
        head: AffineHead,
        known: CachedEmbedding,
        own: np.ndarray | None,
        task: Task,
        judge: Judge | None,
        goes_on: bool,
    ) -> RefittedHead | None:
        """Return the trained head with logistic ones; None where nothing says how they count."""
        if judge is not None and own is not None and judge.judged.judgement.informs:
            said = partial(judge.head_log_odds, embedding=own)
            return refitted(head, self._embedded_parts(known, task), said, judge.judged.judgement)
        if goes_on and hasattr(self, "refit_weight_"):  # what was chosen stays
            parts = self._embedded_parts(known, task)
            return refitted_as(head, parts, float(self.head_C_[0]), self.refit_weight_)
        return None

    def _embedded_parts(self, known: CachedEmbedding, task: Task) -> list[EmbeddedSamples]:
        """Return what each member learnt from, by its own embedding."""
        n_members = int(self.n_estimators)
        by_member = known.all().reshape(task.data.n_samples, n_members, -1)
        parts = []
        for k in range(n_members):
            samples = task.folds.learnt(k) if task.folds.by_member else slice(None)
            data = task.learnt(k)
            parts.append(EmbeddedSamples(by_member[samples, k], data.Y, data.copies))
        return parts

    @property
    def _refits(self) -> bool:
        """Whether logistic heads on the embeddings are blended into the trained head."""
        asked = setting(self, "refit_head", False)
        if asked == "auto":
            return self.module is not None and not self._has_tree
        return bool(asked)

    def _decided(
        self, held_out: HeldOut | None, own: np.ndarray | None, heads: Heads, goes_on: bool
    ) -> tuple[Any, Decision]:
        """Return the threshold and the decision rule in force, chosen on held-out samples."""
        rule, prior = self._rule()
        rule = rule if self._format.kind == "multilabel" else "threshold"
        objective = self._objective(self.threshold)
        if objective is None and rule == "auto":
            objective = "f1_micro"
        threshold: Any = DEFAULT_THRESHOLD if isinstance(self.threshold, str) else self.threshold
        if not isinstance(threshold, Real):
            threshold = self._checked_threshold(threshold)
        if held_out is None:
            asked = [f"decision={rule!r}"] if rule != "threshold" else []
            if goes_on and isinstance(self.threshold, str):
                threshold = self._tuned_threshold()  # what was chosen stays
            elif isinstance(self.threshold, str) and self.threshold != "auto":
                asked.append(f"threshold={self.threshold!r}")
            if asked:
                warnings.warn(
                    f"{' and '.join(asked)} needs held-out samples, but none could be held out: "
                    f"labels are predicted by threshold {threshold}. Give X_val and y_val, more "
                    "samples or another validation.",
                    UserWarning,
                    stacklevel=2,
                )
            return threshold, Decision("threshold")
        if objective is not None:
            threshold = held_out.tuned(objective)
        decoder = heads.fitted.get("decoder_")
        return threshold, chosen(rule, threshold, held_out, own, decoder, prior)

    def _objective(self, threshold: Any) -> str | None:
        """Return what a parameter ``threshold`` is tuned for; None where it is a number."""
        if not isinstance(threshold, str):
            return None
        return None if threshold == "auto" and self._format.kind != "multilabel" else threshold

    # ------------------------------------------------------------------ predictions

    def transform(self, X: Any) -> np.ndarray:
        """Return the embedding of each sample, the input of the heads.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to embed.

        Returns
        -------
        embedding : ndarray of shape (n_samples, n_embedding)
            In the dtype of X; the embeddings of the members of an ensemble stand side by side.
        """
        check_is_fitted(self)
        return self._embedded(self.net_.module_, check_features(self, X, reset=False))

    def uncertainty(self, X: Any) -> np.ndarray:
        """Return how far the members of the ensemble are apart.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to score.

        Returns
        -------
        deviation : ndarray of shape (n_samples, n_labels)
            Standard deviation of the probability over the members. Each takes the place of their
            mean; neighbours and linear part are the same for all.

        Raises
        ------
        ValueError
            If there is a single member, or the probabilities are those of a decoder.
        """
        check_is_fitted(self)
        head = self.predictor_.head
        if not isinstance(head, AffineHead) or len(head.own_bias) == 1:
            raise ValueError(
                "uncertainty is the spread over the members of an ensemble, with a head for each: "
                f"expected n_estimators > 1, got n_estimators={self.n_estimators}, "
                f"{type(head).__name__}."
            )
        spread = MemberSpread(self._current_predictor())
        return outputs(spread, check_features(self, X, reset=False), **self._inference)

    @in_chosen_container
    def predict(self, X: Any) -> Any:
        """Return the label sets that the decision rule chooses.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Samples to decide on.

        Returns
        -------
        labels : ndarray or CSR matrix of shape (n_samples, n_labels)
            Indicator matrix in the dtype and storage that the targets had (int64 where they had
            NaN); classes of shape (n_samples,) for 1-D targets.
        """
        if self.decision_.rule == "threshold":
            return super().predict(X)
        X = check_features(self, X, reset=False)
        parts = chunk_outputs(self._module(), X, with_embedding=True, **self._inference)
        labels = (
            self.decision_.labels(embedding, sigmoid(log_odds), self._thresholds())
            for embedding, log_odds in parts
        )
        return self._format.label_matrix(stacked(labels, X.shape[0]))

    def _thresholds(self) -> float | np.ndarray:
        if self._rule()[0] == "auto" and self.validation_scores_:
            return self.threshold_
        return super()._thresholds()

    def _tuned_threshold(self) -> float:
        asked = self._threshold_asked
        if isinstance(asked, str) and asked == self.threshold:
            return self.threshold_
        objective = self._objective(self.threshold)
        if objective is None:
            return DEFAULT_THRESHOLD
        if self._held_out is None:
            raise ValueError(
                f"threshold={self.threshold!r} was set after the fit, but its held-out samples are "
                "not there: nothing was held out, or a file was loaded, which does not keep them. "
                "Give a number, or fit again."
            )
        return self._held_out.tuned(objective)

    def _module(self) -> nn.Module:
        return self._current_predictor()

    def _current_predictor(self) -> Predictor:
        """Return the predictor, with the weights of its parts that are set today."""
        validate_parameters(self)
        blend = self.predictor_.blend
        v, w = _number(self.neighbor_weight), _number(self.linear_weight)
        return self.predictor_.weighted(
            blend.neighbor_weight if v is None else v,
            blend.linear_weight if w is None else w,
            setting(self, "pseudo_count"),
        )

    def _log_odds(self, X: Features) -> np.ndarray:
        if self._out_of_fold is not None and same_samples(X, self._out_of_fold[0]):
            return self._out_of_fold[1].astype(X.dtype if X.dtype.kind == "f" else np.float32)
        return outputs(self._module(), X, **self._inference)

    def _topk_by_chunk(self, X: Features, k: int) -> Iterator[sp.csr_matrix]:
        predictor, n_labels = self._module(), self._format.n_labels
        if self._out_of_fold is not None or not (
            isinstance(predictor, Predictor) and predictor.searches
        ):
            yield from super()._topk_by_chunk(X, k)
            return
        options = self._inference | {"entries": predictor.search_entries(k)}
        for labels, log_odds in chunk_outputs(BestLabels(predictor, k), X, **options):
            yield best_of_rows(labels, sigmoid(log_odds), n_labels)

    def _log_odds_by_chunk(self, X: Features) -> Iterator[np.ndarray]:
        if self._out_of_fold is not None:
            return iter([self._log_odds(X)])
        return chunk_outputs(self._module(), X, **self._inference)

    def _embedded(self, encoder: nn.Module, X: Features) -> np.ndarray:
        precision = setting(self, "predict_precision", "float32")
        return outputs(Embedding(encoder), X, device=self.device, precision=precision)

    def _check_state(self) -> None:
        for decoder in (self.decision_.decoder, getattr(self, "decoder_", None)):
            if decoder is not None and decoder.n_labels != self._format.n_labels:
                raise ValueError(f"a decoder is one of {decoder.n_labels} labels")
        samples = tensors_of(self._zero_samples())
        embedding = self.net_.try_step(samples, self._format.n_labels)
        epochs = {np.shape(values) for values in self.history_.values()}
        if len(epochs) > 1 or any(len(shape) != 1 for shape in epochs):
            raise ValueError(f"its history has the shapes {sorted(epochs)}")
        members = () if self.net_.n_members == 1 else (self.net_.n_members,)
        width = self._n_features_out // self.net_.n_members
        if embedding.shape != (*members, 2, width):
            raise ValueError(
                f"its embedding of 2 samples has shape {tuple(embedding.shape)}, expected "
                f"{(*members, 2, width)}"
            )
        super()._check_state()

    def _zero_samples(self) -> np.ndarray:
        like = getattr(self, "_sample_shape", None)
        return super()._zero_samples() if like is None else zero_samples(like, 2)

    @property
    def _inference(self) -> dict[str, Any]:
        """Where to predict, and the numbers of memory that a sample needs for it."""
        n_draws = max(1, setting(self, "n_predict_samples", 1))
        width = getattr(self, "_n_features_out", 0)
        # A tree has scores and sums along its paths.
        entries = n_draws * (2 * width + (8 if self._has_tree else 4) * self._format.n_labels)
        precision = setting(self, "predict_precision", "float32")
        return {"device": self.device, "entries": entries, "precision": precision}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _out_of_fold(held_out: HeldOut | None, judge: Judge | None) -> dict[str, Any]:
    if judge is None or held_out is None or not judge.by_member:
        return {}
    return {"_out_of_fold": (judge.judged.data.X, held_out.log_odds)}


def _monitored(
    judged: Judged | None, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any]
) -> dict[str, Any]:
    """Return what scikit-learn's callbacks score: held-out samples, else those of the training."""
    if validation[0] is not None:
        X, y, sample_weight = validation
    elif judged is not None:
        numbers: Any = judged.data.numbers
        X, y = (_samples_of(array, numbers) for array in (X, y))
        if sample_weight is not None and not isinstance(sample_weight, Real):
            sample_weight = _samples_of(sample_weight, numbers)
    metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
    return {"X": X, "y": y, "metadata": metadata}


def _samples_of(array: Any, numbers: np.ndarray) -> Any:
    """Return some samples of an array or frame of any kind, in its kind where that has rows."""
    if sp.issparse(array):
        array = array.tocsr()
    elif not hasattr(array, "__getitem__"):
        array = np.asarray(array)
    return safe_indexing(array, numbers)


def _are_numbers(value: Any) -> bool:
    """Whether a value is an array of integers of one dimension."""
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "i"


def _number(weight: float | str) -> float | None:
    """Return a weight that is given; None for "auto"."""
    return None if isinstance(weight, str) else float(weight)


def most_epochs(max_epochs: int | str, n_samples: int) -> int:
    """Return ``max_epochs``, "auto" resolved: fewer passes over more samples."""
    if not isinstance(max_epochs, str):
        return int(max_epochs)
    share = sqrt(min(1.0, AUTO_SAMPLES / n_samples))
    return max(FEWEST_EPOCHS, ceil(AUTO_EPOCHS * share))


def batch_samples(batch_size: int | str, n_samples: int, grows: bool = True) -> int:
    """Return ``batch_size``, "auto" resolved: a power of two that follows the samples.

    It is 32 to 128 up to 20,479 samples, and up to LARGEST_BATCH for more. An encoder of the user's
    may need much memory for each sample: for it the batch does not grow beyond.
    """
    if not isinstance(batch_size, str):
        return min(int(batch_size), n_samples)
    size = min(128, 1 << (n_samples // 12).bit_length())
    if grows:
        size = max(size, min(LARGEST_BATCH, 1 << (n_samples // 160).bit_length()))
    return min(n_samples, max(32, size))
