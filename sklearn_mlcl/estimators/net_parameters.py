"""Parameters and attributes that the net-based classifiers share."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch

from sklearn_mlcl.estimators.judge import Trained
from sklearn_mlcl.estimators.task import Dealt
from sklearn_mlcl.heads.held_out import Decision, HeldOut
from sklearn_mlcl.heads.predictor import Predictor
from sklearn_mlcl.modules import ACTIVATIONS
from sklearn_mlcl.persistence import FitCheckpoint
from sklearn_mlcl.thresholds import OBJECTIVES
from sklearn_mlcl.training import OPTIMIZERS, PRECISIONS, SCHEDULES, IndexBatchNet
from sklearn_mlcl.utils._sklearn_compat import HasMethods, StrOptions
from sklearn_mlcl.utils.parameters import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    CLASS_WEIGHT,
    COUNT,
    MISSING_LABEL,
    SHARE,
    DeclaredParameters,
    Interval,
    options,
    param,
)

#: Parameters, and keys of ``net_params``, of the classes whose members are trained together.
N_ESTIMATORS = param(4, AT_LEAST_1)
LINEAR_WEIGHT = param("auto", SHARE, StrOptions({"auto"}))
ENSEMBLE_KEYS = {
    "chunk_size": param(None, AT_LEAST_1, None),
    "mixup": param(0.5, AT_LEAST_0),
    "n_bins": param("auto", COUNT, StrOptions({"auto"})),
    "predict_precision": param("float32", StrOptions(set(PRECISIONS))),
    "pseudo_count": param(2.0),
    "refit_head": param("auto", "boolean", StrOptions({"auto"})),
}


class NetParameters(DeclaredParameters):
    """What the net-based classifiers are given, and what a fit leaves behind.

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
        For more samples it falls in proportion to 1 / sqrt(n_samples), but not below 8.
    batch_size : int or "auto"
        Number of samples per step, at most all of them. "auto" is a power of two from 32 to 128,
        between a twelfth and a sixth of the samples. With more than 20,000 samples it is between a
        160th and an 80th of them, to 1,024 at most. With a ``module`` it stays 128.
    learning_rate : float
        Learning rate of the optimizer; its largest value if ``schedule`` changes it.
    device : str or torch.device
        Where to compute, for example "cpu" or "cuda". "auto" takes a GPU that torch sees if it is
        estimated to be faster. The estimate for a step of m multiply-adds (three times the weights
        times ``batch_size``) is m / 5e10 seconds on the CPU. On the GPU it is 0.001 + m / 5e12
        seconds, and 2 seconds more for the first use in a process. Predictions are estimated in the
        same way, for chunks of 2,048 samples.
    callbacks : list of skorch callbacks or None
        They get the events and the history of ``net_``. A callback ends the training by raising
        ``KeyboardInterrupt``. skorch's ``LRScheduler`` needs ``schedule="constant"``. To watch a
        score, use scikit-learn's ``ScoringMonitor`` through ``set_callbacks``.
    verbose : int
        If above 0, the losses of every epoch are printed, and a line every ten seconds of a longer
        epoch. The time left is an estimate for all ``max_epochs``. Early stopping may end the
        training sooner.
    random_state : int, RandomState instance or None
        Seeds initialisation, batches, dropout and splits. ``fit`` does not use global generators.
    head_C : float, array-like of shape (n_labels,) or "cv"
        Inverse regularisation of the logistic heads. "cv" chooses it per label by
        cross-validation on the embedding.
    n_estimators : int
        Number of nets (members) in the ensemble. They are trained together. The logit of a label is
        the mean of their logits.

    Other Parameters
    ----------------
    module : callable or None
        A torch module class, or a function that returns a torch module, in place of the built-in
        encoder. It is called with ``n_features``, or without arguments if it takes none. The module
        maps samples (n, n_features) to embeddings (n, n_embedding). For wide CSR, ``n_features`` is
        8,192, and the module gets the features that most samples have. Frozen parameters
        (``requires_grad=False``) stay as they are. See :doc:`/encoders`.
    scale_input : bool
        Whether to scale the features. Dense features are scaled by median and quartiles, and
        outliers are bounded smoothly. Features of CSR are divided by their root mean square, but
        those of fewer than about 300 samples share one factor. Large entries are bounded smoothly
        by four times the geometric mean of their feature. If False, ``module`` gets the samples
        as they are. They may have any shape (n, ...) and any dtype of numbers, or be several
        arrays: :func:`sklearn_mlcl.modules.pack_inputs`. Then there is no feature noise, all
        members hold out the same samples, and mixup and the linear part are off unless you set
        them.
    activation : {"silu", "relu", "gelu", "tanh"}
        Non-linearity of the encoder.
    dropout : float
        Share of the units that are zeroed during training, in [0, 1).
    feature_noise : float
        Standard deviation of Gaussian noise on the scaled features during training.
    weight_decay : float
        Decoupled weight decay of all matrices, but not of biases and normalisation layers.
    validation : "folds", float, splitter or None
        Samples that are held out of the training, stratified over the labels. The fit chooses the
        number of epochs, the weights of the parts, scale and threshold on them. With "folds", each
        of four or more members holds out a fold of its own. With fewer members, or more than 20,000
        samples, all members hold out a common tenth, at most 20,000 samples. A float is a common
        share. Equal samples, and samples of one group, are held out together. Of a splitter the
        first split is used, as numbers or masks. None holds out nothing and chooses nothing.
    early_stopping : bool or int
        True compares an eighth, a quarter, a half and all of ``max_epochs`` by the log loss of
        held-out samples. It takes the longest training within 5 % of the best. A number n stops
        when the loss has not improved for n epochs, and restores the best weights. False trains all
        epochs.
    neighbor_weight : float or "auto"
        Weight of the neighbours in the probability, in [0, 1]. The rest is the weight of the head.
        The neighbours are training samples, at most 20,000. They predict the mean of their labels,
        weighted by the cosines of the embeddings. With 0 there are none, and no training samples
        are stored. "auto" chooses the weight on held-out samples; it is 0.5 if there are none.
    checkpoint : str, path-like, FitCheckpoint or None
        A folder where :meth:`fit` keeps its state while it runs. If the process dies, the same
        call continues from there, and its result equals that of an undisturbed fit. See
        :class:`sklearn_mlcl.persistence.FitCheckpoint`.
    warm_start : bool
        Whether :meth:`fit` continues from the weights of the last fit. In between you may change
        ``learning_rate``, ``batch_size``, ``callbacks``, ``verbose`` and the weights of the loss
        terms. You may not change how the net is built, for example ``hidden_layer_sizes``. If X, y
        and groups are the same, the same samples are held out. With other data nothing is held out,
        and earlier choices stay.
    net_params : dict or None
        Rare settings of the net, by key; a grid reaches them as ``net_params__schedule``.

        - ``chunk_size`` : int or None
          Number of samples of a batch that the encoder sees at a time while training. The gradient
          is that of the whole batch, and the memory that of a chunk. The encoder runs forward
          twice. Layers that normalise over the batch raise an error. None takes the whole batch.
        - ``compile`` : bool
          Train the encoder under ``torch.compile``. The first batch takes tens of seconds longer.
          On the CPU a C++ compiler is needed.
        - ``data_parallel`` : bool
          Whether to share this fit with the other processes of a ``torch.distributed`` process
          group, if there is one. All processes end with the same estimator; see :doc:`/cluster`.
          With False this process fits by itself.
        - ``encoder_lr`` : float or None
          Learning rate of the encoder, for pretrained encoders; None is ``learning_rate``. The
          schedule multiplies both.
        - ``grad_clip`` : float or None
          Largest norm of all gradients together; larger gradients are scaled down to it.
        - ``label_tree`` : bool or "auto"
          Whether a tree of labels replaces one logistic regression per label, as in
          :class:`MultiLabelLogisticRegression`. This concerns the regressions on the features
          (``linear_weight``), and those on the embedding (``head="logistic"``).
          :meth:`predict_topk` searches the tree. With a tree all members hold out the same samples.
          "auto" for ``neighbor_weight`` is then 0, and for ``linear_weight`` 1 unless the net is
          clearly better. "auto" is True for more than 10,000 labels; see :ref:`label-tree`.
        - ``max_seconds`` : float or None
          The training ends before an epoch that would exceed this number of seconds.
        - ``mixup`` : float
          If above 0, each sample of a batch is mixed with another one, features and labels alike.
          The shares are drawn from Beta(mixup, mixup).
        - ``n_bins`` : int or "auto"
          Number of quantile bins of each dense feature. The built-in encoder sees where a value
          lies in each bin, beside the scaled value. "auto" is 16 for up to 16 features, 256 over
          their number for up to 85, and 0, no bins, for more. CSR, features that are not scaled,
          and ``module`` have no bins. See
          :class:`~sklearn_mlcl.modules.PiecewiseLinearEncoding`.
        - ``optimizer`` : {"adamw", "adam", "sgd"}, torch optimizer class or callable
          The optimizer, in its fused form if torch has one. A callable gets groups of parameters
          and ``lr``, and returns an optimizer.
        - ``optimizer_params`` : dict or None
          Further arguments of the optimizer, for example ``{"betas": (0.9, 0.99)}``.
        - ``precision`` : {"float32", "bf16"}
          "bf16" trains the encoder under autocast to bfloat16. Losses, heads and predictions
          stay float32.
        - ``predict_precision`` : {"float32", "bf16"}
          "bf16" runs the encoder in bfloat16 in predictions and :meth:`transform`. A change after
          ``fit`` takes effect at once. float64 samples are computed in float64.
        - ``pseudo_count`` : float
          The p in log((c + p) / c) - log((m + p) / m), which is added to the log-odds of a label.
          Here c samples have the label, and m do not. It corrects regularised models, which
          underestimate rare labels. 0 adds nothing.
        - ``refit_head`` : bool or "auto"
          Whether to add logistic regressions on the trained embedding to the head that was trained
          with the encoder. The fit chooses one C for all labels on held-out samples, among 0.001,
          0.01, 0.1 and 1. It also chooses the weight of the regressions in the log-odds, which is
          0.5 unless another one is clearly better. Without held-out samples a warm start keeps its
          earlier choice, and another fit has the trained head only. So has :meth:`partial_fit`.
          "auto" is True for a ``module``, and False for the built-in encoder, where it gains
          nothing on average.
        - ``schedule`` : {"averaged", "one_cycle", "cosine", "constant", "warm_restarts"}
          Schedule of the learning rate. "averaged" keeps it constant and averages the weights over
          about the last two epochs. Then the weights of each epoch are as good as those of a
          training that ends there.
          "warm_restarts" follows a cosine from the peak to a tenth of it, and restarts after 50,
          150, 350, ... epochs.
    linear_weight : float or "auto"
        Weight of the linear part in the log-odds, in [0, 1]. The rest is the weight of head and
        neighbours. The linear part is one logistic regression per label on the scaled features. It
        helps if single features decide, as rare words do. With 0 there is none. "auto" chooses the
        weight on held-out samples; if there are none, it is 0.3 for CSR and 0 for dense features.
        "auto" fits no regressions if labels times features exceed 1e7. The same holds if labels
        times stored entries of a CSR X exceed 2e9, or labels times entries of a dense X 2e8. The
        fit chooses one C for all labels, among 0.001, 0.01, 0.1 and 1, by the held-out log loss. A
        tree of labels (``label_tree`` of ``net_params``) has no such bounds, and C is 1.
    """

    _shared_attributes: ClassVar[str] = """
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, else the classes.
    label_names_ : ndarray of str
        Column names of y; only if y was a DataFrame.
    predictor_ : torch.nn.Module
        Module from samples, in float32, to log-odds, with encoder, head, neighbours and linear
        part.
    label_counts_ : ndarray of shape (2, n_labels)
        Numbers of training samples with and without each label, over all calls of
        :meth:`partial_fit`.
    threshold_ : float or ndarray of shape (n_labels,)
        The threshold that :meth:`predict` uses.
    blend_ : dict of str to float
        Weights of the parts, chosen on held-out samples: ``net``, ``neighbors`` and ``linear`` sum
        to 1. ``scale`` multiplies the distance of the log-odds from the center of each label: half
        of its log-odds in the training samples. Then ``shift`` is added.
    oof_proba_ : ndarray of shape (n_samples, n_labels)
        Out-of-fold probabilities: of each training sample, by a net that did not learn from it. NaN
        for samples that were not held out. A file of :meth:`save` does not have them.
    validation_scores_ : dict of str to float
        Scores of the held-out samples at the threshold of the fit: ``log_loss``,
        ``average_precision``, ``f1_micro``, ``f1_macro``, ``f1_samples``; ``log_loss`` and
        ``accuracy`` for 1-D targets. Empty if nothing was held out.
    net_ : skorch net
        The trained net: ``module_`` is the encoder, ``criterion_`` the objective.
    history_ : dict of ndarray of shape (n_epochs,)
        Records of each epoch: ``train_loss`` and ``dur`` in seconds, and ``valid_loss`` and
        ``valid_f1_micro`` if samples are held out.
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
    _threshold_asked: Any
    _threshold_chosen: Any
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
    #: Digests of the parameters that the net was built with.
    _built_with: dict[str, str]
    _n_features_out: int
    _evidence: Trained

    #: What classes have that lack such a parameter.
    n_estimators: int = 1
    linear_weight: float | str = 0.0
    head_C_: np.ndarray
    refit_weight_: float

    _savings: ClassVar[str] = (
        "smaller hidden_layer_sizes, n_estimators and batch_size, smaller sizes in "
        "net_params and loss_params"
    )
    _remedies: ClassVar[str] = "a smaller learning_rate, precision='float32'"

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
    net_params: dict[str, Any] | None = options(
        optimizer=param("adamw", StrOptions(set(OPTIMIZERS)), callable),
        optimizer_params=param(None, dict, None),
        schedule=param("averaged", StrOptions(set(SCHEDULES))),
        precision=param("float32", StrOptions(set(PRECISIONS))),
        compile=param(False, "boolean"),
        data_parallel=param(True, "boolean"),
        encoder_lr=param(None, ABOVE_0, None),
        grad_clip=param(None, ABOVE_0, None),
        label_tree=param("auto", "boolean", StrOptions({"auto"})),
        max_seconds=param(None, ABOVE_0, None),
        pseudo_count=param(0.0, AT_LEAST_0),
    )

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
                "was loaded from a file."
            )
        return self._held_out.of_given()

    @property
    def label_counts_(self) -> np.ndarray:
        """Samples with each label, samples without, of shape (2, n_labels)."""
        return self.predictor_.counts
