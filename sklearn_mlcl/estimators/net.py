"""The base of the net-based classifiers: ``fit`` as one line of steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.callbacks._fit import EarlyStopping, FitTaskCallback, epoch_log, fit_listener
from sklearn_mlcl.estimators.base import MultiLabelClassifier, rollback_on_error
from sklearn_mlcl.heads.decision import Decision, HeldOut, chosen
from sklearn_mlcl.heads.evaluation import CachedEmbedding, Embedding, chunk_outputs, outputs
from sklearn_mlcl.heads.linear import AUTO_WEIGHT, fit_linear, linear_share
from sklearn_mlcl.heads.neighbors import NeighborHead, subsample
from sklearn_mlcl.heads.predictor import AffineHead, Predictor
from sklearn_mlcl.metrics._classifier import set_format
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.modules import (
    ACTIVATIONS,
    FeatureNoise,
    InputScaler,
    MemberList,
    MLPEncoder,
    ScaledEncoder,
    embedding_width,
    linear,
)
from sklearn_mlcl.modules._encoder import custom_encoder
from sklearn_mlcl.modules._scaling import input_scaler
from sklearn_mlcl.thresholds import OBJECTIVES
from sklearn_mlcl.training import OPTIMIZERS, PRECISIONS, SCHEDULES, IndexBatchNet, RowTensors
from sklearn_mlcl.training.draws import private_draws
from sklearn_mlcl.utils._sklearn_compat import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    validate_parameters,
    with_callbacks,
)
from sklearn_mlcl.utils.chunking import stacked
from sklearn_mlcl.utils.class_weight import ClassWeights
from sklearn_mlcl.utils.fit_data import (
    Features,
    FitData,
    LabelStats,
    check_features,
    check_fit_data,
)
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
from sklearn_mlcl.utils.runtime import resolve_device, threads_for, torch_defaults
from sklearn_mlcl.utils.set_output import EmbeddingFrames, in_chosen_container
from sklearn_mlcl.utils.streams import seeded
from sklearn_mlcl.utils.targets import warn_constant_labels

#: Samples up to which ``max_epochs="auto"`` is AUTO_EPOCHS; of more, epochs fall as one over the
#: root of their number.
AUTO_SAMPLES, AUTO_EPOCHS, FEWEST_EPOCHS = 2_000, 40, 8
#: Features of a CSR X that the encoder sees at most: the first layer of a net costs as much for a
#: word of two samples as for one of a thousand. The regressions beside the net see all.
MAX_SPARSE_FEATURES = 8_192
#: ``early_stopping=True`` in epochs.
PATIENCE = 10

N_ESTIMATORS = param(4, AT_LEAST_1)
LINEAR_WEIGHT = param("auto", SHARE, StrOptions({"auto"}))


class Heads(NamedTuple):
    """What a leaf class puts on the embedding: a module, and fitted attributes."""

    module: nn.Module
    fitted: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One training: what it learns from, and for how long.

    Attributes
    ----------
    train : FitData
        Samples to learn from, with class weights in their weights.
    valid : FitData or None
        Held-out samples, where something is chosen or stopped on them; without class weights.
    class_weights : ClassWeights
        The class weights.
    stats : LabelStats
        What is known of the labels of ``train``.
    seed : int
        Seeds all that is random.
    n_epochs : int
        Epochs at most.
    schedule : str
        Course of the learning rate.
    is_part : bool
        Whether the samples are a part of the data, as ``partial_fit`` sees them.
    """

    train: FitData
    valid: FitData | None
    class_weights: ClassWeights
    stats: LabelStats
    seed: int
    n_epochs: int
    schedule: str
    is_part: bool


class NetAttributes:
    """What a fit leaves behind, and what leaf classes without such parameters have."""

    _shared_attributes: ClassVar[str] = """
    classes_ : ndarray
        ``arange(n_labels)`` for a label matrix, else the classes.
    label_names_ : ndarray of str
        Column names of y; only if y was a DataFrame.
    predictor_ : torch.nn.Module
        The one way from samples to log-odds: encoder, head, neighbours, linear part.
    label_counts_ : ndarray of shape (2, n_labels)
        Samples with each label, samples without; over all calls of :meth:`partial_fit`.
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

    net_: IndexBatchNet
    predictor_: Predictor
    decision_: Decision
    threshold_: Any
    history_: dict[str, np.ndarray]
    n_iter_: int
    _noise_seed: int
    _n_features_out: int

    #: The class of the net that is trained.
    _net_class: type[IndexBatchNet] = IndexBatchNet
    n_estimators: int = 1
    linear_weight: float | str = 0.0

    @property
    def label_counts_(self) -> np.ndarray:
        """Samples with each label, samples without, of shape (2, n_labels)."""
        return self.predictor_.counts


class NetClassifier(
    NetAttributes,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    EmbeddingFrames,
    DeclaredParameters,
    MultiLabelClassifier,
):
    """Base: an encoder trained by an objective, heads on its embedding.

    A subclass gives its modules (``_modules``) and its heads (``_heads``).

    Parameters
    ----------
    threshold : float, array-like of shape (n_labels,) or str
        Probability from which on a label is predicted. "f1_micro", "f1_macro", "f1_samples",
        "jaccard", "accuracy", "subset_accuracy" or "cardinality" tunes one threshold for all
        labels by that objective on the held-out share ``validation``; see
        :func:`sklearn_mlcl.thresholds.tune_thresholds`.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's layers (Linear, LayerNorm, activation, dropout). The last one is
        the width of the embedding.
    max_epochs : int or "auto"
        Passes over the training samples. "auto": 40 for up to 2,000 samples. Beyond, epochs
        fall as one over the root of their number, to 8 at least.
    batch_size : int or "auto"
        Samples a step, at most as many as there are. "auto": a power of two from 32 to 128,
        between a twelfth and a sixth of the samples.
    learning_rate : float
        Peak of the schedule.
    device : str or torch.device
        Where to compute. "auto" takes a GPU that torch sees if it is estimated to be faster. A
        step of m multiply-adds (three times the weights times ``batch_size``) counts m / 5e10
        seconds on the CPU and 0.001 + m / 5e12 seconds on the GPU, whose first use in a process
        costs 2 seconds more. Predictions are estimated alike, for chunks of 2,048 samples.
    callbacks : list of skorch callbacks or None
        They see the events and the history of ``net_``; raising ``KeyboardInterrupt`` in one
        ends the training. skorch's ``LRScheduler`` needs ``schedule="constant"``. To watch a
        score, use scikit-learn's ``ScoringMonitor`` through ``set_callbacks``.
    verbose : int
        Above 0 the losses of every epoch are printed.
    random_state : int, RandomState instance or None
        Seeds initialisation, batches, dropout and splits. The global generators and the number
        of threads of torch are left as they were.
    head_C : float, array-like of shape (n_labels,) or "cv"
        Inverse regularisation of the logistic heads. "cv" chooses it per label by
        cross-validation on the embedding.
    n_estimators : int
        Nets of an ensemble, trained side by side on the same batches in one set of tensors. The
        heads give the mean of their logits.

    Other Parameters
    ----------------
    module : callable or None
        A torch module class of your own in place of the built-in encoder. It is called with
        ``n_features`` (for wide CSR, the 8,192 features that most samples have) and returns a
        module that maps scaled samples (n, n_features) to embeddings (n, n_embedding).
    scale_input : bool
        Bring dense features to one size by median and quartiles, outliers smoothly; CSR by one
        common factor.
    activation : {"silu", "relu", "gelu", "tanh"}
        Non-linearity of the encoder.
    dropout : float
        Share of the units zeroed while training, in [0, 1).
    feature_noise : float
        Standard deviation of Gaussian noise on the scaled features while training.
    weight_decay : float
        Decoupled decay of all matrices; biases and norms are not decayed.
    validation : float or splitter
        Share of the samples that is held out, stratified over the labels, where something is
        chosen or stopped on it: ``early_stopping``, a tuned ``threshold``. A splitter gives its
        first split. Held-out samples take no part in training.
    early_stopping : bool or int
        Stop when the loss of held-out samples has not improved for so many epochs (True: 10),
        and put the best weights back.
    neighbor_weight : float
        Share of the neighbours in the probability, in [0, 1]; the rest is the head's. They are
        a kernel regression of the training labels on cosines of embeddings. 0 leaves them out
        and keeps no training samples.
    warm_start : bool
        Let :meth:`fit` go on from the weights of the last fit. ``learning_rate``,
        ``batch_size``, ``callbacks``, ``verbose`` and the weights of the objective may change
        in between, the architecture may not.
    net_params : dict or None
        Rare settings of the net, by key; a grid reaches them as ``net_params__schedule``.

        - ``compile`` : bool
          Train what ``torch.compile`` makes of the encoder. It costs tens of seconds at the
          first batch and needs a C++ compiler on the CPU.
        - ``mixup`` : float
          Above 0, every sample of a batch is mixed with another, features and labels alike, by
          shares from Beta(mixup, mixup); see :func:`sklearn_mlcl.training.mixed`.
        - ``optimizer`` : {"adamw", "adam", "sgd"} or torch optimizer class
          Fused where torch offers it.
        - ``optimizer_params`` : dict or None
          Further arguments of the optimiser, for example ``{"betas": (0.9, 0.99)}``.
        - ``precision`` : {"float32", "bf16"}
          "bf16" trains the encoder under autocast to bfloat16. Losses, heads and predictions
          stay float32.
        - ``pseudo_count`` : float
          The p by which log-odds rise, log((c + p) / c) - log((m + p) / m), for a label that c
          samples have and m lack. Regularised models shrink a rare label towards its absence. 0
          changes nothing.
        - ``schedule`` : {"one_cycle", "cosine", "constant", "warm_restarts"}
          Course of the learning rate. "warm_restarts" follows a cosine from the peak to a tenth
          of it, which starts anew after 50, 150, 350, ... epochs.
    linear_weight : float or "auto"
        Weight of logistic regressions on the scaled features, one a label, in the log-odds, in
        [0, 1]; the rest is that of the head and the neighbours. They hold what a few features
        say outright, as rare words do, which a net learns late. 0 fits none. "auto": 0.3 for
        CSR, 0 for dense features and where labels times stored entries of X exceed 2e9 or
        labels times features 1e7. C is chosen for all labels among 0.001, 0.01, 0.1, 1 by the
        held-out log loss.
    """

    threshold: Any = param(0.5, SHARE, "array-like", StrOptions(set(OBJECTIVES)))
    hidden_layer_sizes: Any = param((256, 256), "array-like")
    max_epochs: int | str = param("auto", AT_LEAST_1, StrOptions({"auto"}))
    batch_size: int | str = param("auto", AT_LEAST_1, StrOptions({"auto"}))
    learning_rate: float = param(2e-3, ABOVE_0)
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
    validation: Any = param(0.1, Interval(Real, 0, 1, closed="neither"), HasMethods(["split"]))
    early_stopping: bool | int = param(False, "boolean", AT_LEAST_1)
    neighbor_weight: float = param(0.5, SHARE)
    warm_start: bool = param(False, "boolean")
    net_params: dict[str, Any] | None = param(
        None,
        dict,
        None,
        keys={
            "optimizer": param("adamw", StrOptions(set(OPTIMIZERS)), callable),
            "optimizer_params": param(None, dict, None),
            "schedule": param("one_cycle", StrOptions(set(SCHEDULES))),
            "precision": param("float32", StrOptions(set(PRECISIONS))),
            "compile": param(False, "boolean"),
            "pseudo_count": param(0.0, AT_LEAST_0),
        },
    )

    # ------------------------------------------------------------------ what a leaf class gives

    @abstractmethod
    def _modules(self, data: FitData, stats: LabelStats) -> tuple[nn.Module, nn.Module]:
        """Return what makes embeddings of samples, and the objective of its training."""

    @abstractmethod
    def _heads(
        self,
        net: IndexBatchNet,
        data: FitData,
        embedding: CachedEmbedding,
        held_out: tuple[np.ndarray, Any] | None,
    ) -> Heads:
        """Return the heads on the trained ``embedding`` of ``data``.

        ``held_out`` has embeddings and labels of held-out samples where decisions are chosen.
        """

    def _rule(self) -> tuple[str, Any]:
        """Return the decision rule asked for, and the prior of the label sets."""
        return "threshold", 0.0

    def _chooses(self) -> bool:
        """Return whether something is chosen on held-out samples."""
        return isinstance(self.threshold, str) or self._rule()[0] != "threshold"

    # ------------------------------------------------------------------ fit

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the encoder, then the heads.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features without NaN or infinity.
        y : {array-like, DataFrame, CSR matrix} of shape (n_samples, n_labels)
            Indicator matrix; mark missing labels NaN (or ``missing_label``). Or 1-D classes of
            shape (n_samples,).
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the samples or of the entries. Samples with zero weight are dropped.

        Returns
        -------
        self : estimator
            The fitted estimator. If fitting fails, what was fitted before stays as it was.
        """
        with rollback_on_error(self), torch_defaults():
            self._fit(X, y, sample_weight)
        return self

    # Inside rollback_on_error, which takes away what tears the callbacks down.
    @with_callbacks
    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        continuing = self.warm_start and hasattr(self, "net_")
        data = self._read(X, y, sample_weight, continuing)
        task = self._task(data, continuing, n_epochs(self.max_epochs, data.n_samples))
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        with fit_listener(self, task.n_epochs, {"X": X, "y": y, "metadata": metadata}) as listener:
            self.__dict__.update(self._trained(task, continuing, listener))
        if self._format.kind == "multilabel":
            warn_constant_labels(task.stats.constant, self._format.label_names)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one more epoch on the samples given, at a constant learning rate.

        The first call sets the architecture and the input scaling from its samples. Heads are
        those of the latest samples; a label that shows a single value in them keeps its head.

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
        with rollback_on_error(self), torch_defaults():
            data = self._read(X, y, sample_weight, continuing, classes)
            task = self._task(data, continuing, n_epochs=1, is_part=True)
            self.__dict__.update(self._trained(task, continuing))
        return self

    def _read(
        self, X: Any, y: Any, sample_weight: Any, continuing: bool, classes: Any = None
    ) -> FitData:
        known = self._format if continuing else None
        data, target_format = check_fit_data(
            self, X, y, sample_weight, classes=classes, known=known, on_disk=True
        )
        set_format(self, target_format)
        return data

    def _task(self, data: FitData, continuing: bool, n_epochs: int, is_part: bool = False) -> Task:
        """Plan a training: what is held out, what each sample weighs, what seeds it."""
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        seed += self.n_iter_ if continuing else 0
        train, valid = data, None
        if self._chooses() or (self.early_stopping and not is_part):
            splitter = self.validation
            if isinstance(splitter, Real):
                splitter = MultilabelStratifiedShuffleSplit(
                    n_splits=1, test_size=float(splitter), random_state=seed
                )
            train, valid = map(data.take, next(iter(splitter.split(data.X, data.Y))))
        weights = train.class_weights(self.class_weight, self._format)
        train = train.weighted(weights)
        schedule = "constant" if is_part else setting(self, "schedule")
        stats = LabelStats.of(train)
        return Task(train, valid, weights, stats, seed, n_epochs, schedule, is_part)

    def _trained(
        self, task: Task, continuing: bool, listener: FitTaskCallback | None = None
    ) -> dict[str, Any]:
        """Train the net, put heads on it, and return the attributes of the fit."""
        with seeded(task.seed) as streams:
            net = self._continued(task) if continuing else self._new_net(task)
            work = net.batch_size * net.n_weights
            # A step goes forward once, and back at twice the cost.
            n_steps = ceil(task.train.n_samples / net.batch_size) * task.n_epochs
            device = resolve_device(self.device, 3 * work, n_steps)
            callbacks: list[Any] = []
            if self.early_stopping and not task.is_part:
                by_default = isinstance(self.early_stopping, bool | np.bool_)
                patience = PATIENCE if by_default else int(self.early_stopping)
                callbacks.append(EarlyStopping(patience))
            if listener is not None:
                listener.fitted_attributes = lambda: vars(self) | self._fitted(net.snapshot(), task)
                callbacks.append(listener)
            with threads_for(work, device), net.kept_on_error():
                net.to(device).train_rows(
                    RowTensors(task.train, device),
                    None
                    if task.valid is None
                    else RowTensors(task.valid.weighted(task.class_weights), device),
                    max_epochs=task.n_epochs,
                    schedule=task.schedule,
                    generator=streams.on(torch.device("cpu")),
                    callbacks=callbacks,
                )
                fitted = self._fitted(net, task)
        # On the CPU a pickle loads anywhere; predictions move the weights where they run.
        net.to(torch.device("cpu"))
        return fitted

    def _new_net(self, task: Task) -> IndexBatchNet:
        with private_draws():
            module, objective = self._modules(task.train, task.stats)
        if torch.get_default_dtype() != torch.float32:
            module, objective = module.float(), objective.float()
        optimizer_params = setting(self, "optimizer_params") or {}
        return self._net_class(
            module,
            objective,
            optimizer_name=setting(self, "optimizer"),
            weight_decay=self.weight_decay,
            mixup=setting(self, "mixup", 0.0),
            n_members=self.n_estimators,
            **self._training_settings(task),
            **{f"optimizer__{name}": value for name, value in optimizer_params.items()},
        ).initialize()

    def _continued(self, task: Task) -> IndexBatchNet:
        """Return the trained net under the settings of today."""
        self.net_.adopt(**self._training_settings(task))
        self._reweigh(self.net_.criterion_)
        return self.net_

    def _reweigh(self, objective: Any) -> None:
        """Give a trained objective the weights of its terms of today."""
        for name in ("lambda_bce", "lambda_contrastive", "lambda_joint", "lambda_kl"):
            if name in self._declared:
                setattr(objective, name, getattr(self, name))

    def _training_settings(self, task: Task) -> dict[str, Any]:
        return {
            "precision": setting(self, "precision"),
            "compiled": setting(self, "compile"),
            "lr": self.learning_rate,
            "batch_size": batch_samples(self.batch_size, task.train.n_samples),
            "callbacks": self.callbacks,
            "verbose": self.verbose,
        }

    def _fitted(self, net: IndexBatchNet, task: Task) -> dict[str, Any]:
        """Return the attributes of a fit: all that predictions need."""
        train, valid, stats = task.train, task.valid, task.stats
        embedding = CachedEmbedding(net.module_, train.X, torch.device(net.device))
        held_out = None
        if valid is not None and self._chooses():
            held_out = (self._embedded(net.module_, valid.X), valid.Y)
        heads = self._heads(net, train, embedding, held_out)
        before = getattr(self, "predictor_", None) if task.is_part else None
        if isinstance(heads.module, AffineHead):
            heads.module.set_constant(stats, before and before.head)
        neighbors, regressions = None, None
        if self.neighbor_weight > 0:
            kept = subsample(train, np.random.RandomState(task.seed))
            near = train.take(kept)
            neighbors = NeighborHead(embedding.of(kept), near.Y, near.sample_weight, stats)
        share = linear_share(self.linear_weight, train)
        if share > 0:
            regressions = fit_linear(train, net.module_.scaler, np.random.RandomState(task.seed))
        predictor = Predictor(
            net.module_,
            heads.module,
            stats.counts if before is None else stats.counts + before.counts,
            setting(self, "pseudo_count"),
            neighbors=neighbors,
            linear=regressions,
            neighbor_weight=self.neighbor_weight,
            linear_weight=share,
        )
        decision, threshold = self._chosen(predictor, valid, held_out, heads)
        width = embedding_width(net.module_, train.n_features, self.n_estimators)
        return {
            "predictor_": predictor,
            "decision_": decision,
            "threshold_": threshold,
            "net_": net,
            "n_iter_": len(net.history),
            "history_": epoch_log(net.history),
            "_n_features_out": width * self.n_estimators,
            "_noise_seed": task.seed,
            **heads.fitted,
        }

    def _chosen(
        self, predictor: Predictor, valid: FitData | None, held_out: Any, heads: Heads
    ) -> tuple[Decision, Any]:
        """Choose the decision rule and the threshold on held-out samples."""
        rule, prior = self._rule()
        rule = rule if self._format.kind == "multilabel" else "threshold"
        if valid is None or held_out is None:
            return Decision("threshold"), self.threshold
        # From the embedding at hand: the encoder runs once over held-out samples.
        log_odds = outputs(predictor, valid.X, held_out[0], **self._inference)
        known = HeldOut(held_out[0], sigmoid(log_odds), valid.Y, valid.sample_weight)
        return chosen(rule, self.threshold, known, heads.fitted.get("decoder_"), prior)

    # ------------------------------------------------------------------ predictions

    def transform(self, X: Any) -> np.ndarray:
        """Return the embedding of each sample: what the heads see.

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
        return self.threshold_ if self._rule()[0] == "auto" else super()._thresholds()

    def _module(self) -> nn.Module:
        return self._current_predictor()

    def _current_predictor(self) -> Predictor:
        """Return the predictor, with the weights of its parts that are set today."""
        share = self.linear_weight
        if isinstance(share, str):
            share = 0.0 if self.predictor_.linear is None else AUTO_WEIGHT
        pseudo_count = setting(self, "pseudo_count")
        return self.predictor_.weighted(self.neighbor_weight, share, pseudo_count)

    def _log_odds(self, X: Features) -> np.ndarray:
        return outputs(self._module(), X, **self._inference)

    def _log_odds_by_chunk(self, X: Features) -> Iterator[np.ndarray]:
        return chunk_outputs(self._module(), X, **self._inference)

    def _embedded(self, encoder: nn.Module, X: Features) -> np.ndarray:
        return outputs(Embedding(encoder), X, device=self.device)

    def _check_state(self) -> None:
        for decoder in (self.decision_.decoder, getattr(self, "decoder_", None)):
            if decoder is not None and decoder.n_labels != self._format.n_labels:
                raise ValueError(f"a decoder is one of {decoder.n_labels} labels")
        embedding = self.net_.try_step(self.n_features_in_, self._format.n_labels)
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

    @property
    def _inference(self) -> dict[str, Any]:
        """Where to predict, and the numbers of memory that a sample needs for it."""
        n_draws = max(1, setting(self, "n_predict_samples", 1))
        width = getattr(self, "_n_features_out", 0)
        entries = n_draws * (2 * width + 4 * self._format.n_labels)
        return {"device": self.device, "entries": entries}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def n_epochs(max_epochs: int | str, n_samples: int) -> int:
    """Return ``max_epochs``, "auto" resolved: fewer passes over more samples."""
    if not isinstance(max_epochs, str):
        return int(max_epochs)
    share = sqrt(min(1.0, AUTO_SAMPLES / n_samples))
    return max(FEWEST_EPOCHS, ceil(AUTO_EPOCHS * share))


def batch_samples(batch_size: int | str, n_samples: int) -> int:
    """Return ``batch_size``, "auto" resolved: a twelfth to a sixth of the samples, 32 to 128."""
    if not isinstance(batch_size, str):
        return min(int(batch_size), n_samples)
    return min(n_samples, max(32, min(128, 1 << (n_samples // 12).bit_length())))


def layer_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Return the widths of layers, the parameter ``name``, checked."""
    widths = tuple(np.atleast_1d(sizes).tolist())
    if not widths or any(not isinstance(width, int) or width < 1 for width in widths):
        raise ValueError(
            f"{name} must hold one positive integer a layer, at least one; got {sizes!r}."
        )
    return widths


def frequent_features(X: Any) -> np.ndarray | None:
    """Return the numbers of the features of a CSR X that most samples have; None keeps all."""
    if not sp.issparse(X) or X.shape[1] <= MAX_SPARSE_FEATURES:
        return None
    n_samples_with = np.bincount(X.indices, minlength=X.shape[1])
    return np.sort(np.argsort(-n_samples_with, kind="stable")[:MAX_SPARSE_FEATURES])


def scaler_of(clf: NetClassifier, data: FitData) -> InputScaler:
    """Return the first layer of a net."""
    if clf.scale_input:
        return input_scaler(data.X, data.row_weight)
    return InputScaler(torch.zeros(data.n_features), torch.ones(data.n_features))


def encoder_of(clf: NetClassifier, n_features: int) -> nn.Module:
    """Return an encoder of scaled samples: the built-in one, or that of ``module``."""
    if clf.module is None:
        return MLPEncoder(
            n_features,
            hidden_layer_sizes=layer_sizes("hidden_layer_sizes", clf.hidden_layer_sizes),
            activation=clf.activation,
            dropout=clf.dropout,
            n_members=clf.n_estimators,
        )
    members = [custom_encoder(clf.module, n_features) for _ in range(clf.n_estimators)]
    for member in members:
        embedding_width(member, n_features)
    return members[0] if clf.n_estimators == 1 else MemberList(members)


def scaled_encoder(
    clf: NetClassifier, data: FitData, n_outputs: int | None = None
) -> ScaledEncoder:
    """Return what makes embeddings of samples as they come.

    ``n_outputs`` is the width of a linear layer behind the encoder; None adds none.
    """
    kept = frequent_features(data.X)
    n_features = data.n_features if kept is None else len(kept)
    encoder = encoder_of(clf, n_features)
    if n_outputs is not None:
        # Linear, not rectified: features must be able to point along every row of a fixed frame.
        width = embedding_width(encoder, n_features, clf.n_estimators)
        encoder = nn.Sequential(encoder, linear(width, n_outputs, clf.n_estimators))
    scaler, noise = scaler_of(clf, data), FeatureNoise(clf.feature_noise)
    index = None if kept is None else torch.from_numpy(kept)
    return ScaledEncoder(scaler, encoder, noise, index)
