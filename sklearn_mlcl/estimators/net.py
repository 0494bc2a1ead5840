"""The base of the net-based classifiers: encoder training, embeddings, heads."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.special import expit
from sklearn.utils import check_random_state

from sklearn_mlcl.calibration import METHODS
from sklearn_mlcl.callbacks._fit import EarlyStopping, FitTaskCallback, epoch_log
from sklearn_mlcl.estimators._net_build import NetBuilder, TrainingPlan
from sklearn_mlcl.estimators._net_predict import NetPredictor
from sklearn_mlcl.estimators.base import kept_on_error
from sklearn_mlcl.heads.evaluation import RowEmbedding
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.modules import ACTIVATIONS
from sklearn_mlcl.thresholds import OBJECTIVES
from sklearn_mlcl.training import OPTIMIZERS, PRECISIONS, SCHEDULES, IndexBatchNet, RowTensors
from sklearn_mlcl.utils._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    begin_fit_task,
    fit_context,
    with_callbacks,
)
from sklearn_mlcl.utils.chunking import take_rows, unread
from sklearn_mlcl.utils.class_weight import ClassFactors, label_log_odds
from sklearn_mlcl.utils.fit_data import Features, Rows
from sklearn_mlcl.utils.runtime import resolve_device, seeded, seeded_device, threads_for
from sklearn_mlcl.utils.targets import warn_constant_labels


class NetClassifier(NetBuilder, CallbackSupportMixin, NetPredictor):
    """Base: an encoder trained by an objective, linear heads on its embedding.

    A subclass gives the objective (``_make_objective``) and the heads (``_fit_heads``).
    The docstring of each subclass documents the shared parameters.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "module": [callable, None],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "feature_noise": [Interval(Real, 0, None, closed="left")],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "max_sparse_features": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "schedule": [StrOptions(set(SCHEDULES))],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "neighbor_weight": [Interval(Real, 0, 1, closed="both")],
        "neighbor_temperature": [Interval(Real, 0, None, closed="neither")],
        "linear_weight": [Interval(Real, 0, 1, closed="both"), StrOptions({"auto"})],
        "linear_C": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"})],
        "prior_count": [Interval(Real, 0, None, closed="left")],
        "threshold": [
            Interval(Real, 0, 1, closed="both"),
            "array-like",
            StrOptions(set(OBJECTIVES)),
        ],
        "calibration": [StrOptions(set(METHODS)), None],
        "device": [str, torch.device],
        "precision": [StrOptions(set(PRECISIONS))],
        "compile": ["boolean"],
        "callbacks": [list, None],
        "net_params": [dict, None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        **NetPredictor._label_constraints,
    }

    def __init__(
        self,
        *,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        dropout: float,
        module: Any,
        max_epochs: int | str,
        batch_size: int | str,
        learning_rate: float,
        weight_decay: float,
        optimizer: Any,
        schedule: str,
        early_stopping: bool,
        validation_fraction: float,
        n_iter_no_change: int,
        neighbor_weight: float,
        neighbor_temperature: float,
        threshold: Any,
        calibration: str | None,
        device: Any,
        precision: str,
        compile: bool,
        callbacks: list[Any] | None,
        net_params: dict[str, Any] | None,
        warm_start: bool,
        verbose: int,
        random_state: Any,
        n_members: int = 1,
        feature_noise: float = 0.0,
        mixup: float = 0.0,
        max_sparse_features: int | None = None,
        linear_weight: float | str = 0.0,
        linear_C: float | str = "cv",
        prior_count: float = 0.0,
        missing_label: float = np.nan,
        class_weight: Any = None,
        pos_weight: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.module = module
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.schedule = schedule
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.neighbor_weight = neighbor_weight
        self.neighbor_temperature = neighbor_temperature
        self.threshold = threshold
        self.calibration = calibration
        self.device = device
        self.precision = precision
        self.compile = compile
        self.callbacks = callbacks
        self.net_params = net_params
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.n_members = n_members
        self.feature_noise = feature_noise
        self.mixup = mixup
        self.max_sparse_features = max_sparse_features
        self.linear_weight = linear_weight
        self.linear_C = linear_C
        self.prior_count = prior_count
        self.missing_label = missing_label
        self.class_weight = class_weight
        self.pos_weight = pos_weight

    @property
    def _n_stages(self) -> int:
        """How often ``fit`` runs ``max_epochs`` epochs."""
        return 1

    @abstractmethod
    def _fit_heads(
        self, net: IndexBatchNet, embedding: RowEmbedding, rows: Rows
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients (L, h) and intercepts (L,) on the trained ``embedding``."""

    # ------------------------------------------------------------------ fit

    def _as_rows(self, X: Features) -> Features:
        return unread(X)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the encoder, then the heads.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features without NaN or infinity.
        y : {array-like, DataFrame, CSR matrix} of shape (n_samples, n_labels)
            Indicator matrix, NaN (and ``missing_label``) for an unknown label; or 1-D classes
            of shape (n_samples,).
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the rows or of the cells; what weighs zero is left out.

        Returns
        -------
        self : estimator
            The fitted estimator. If fitting fails, what was fitted before stays as it was.
        """
        with kept_on_error(self):
            self._fit_all_epochs(X, y, sample_weight)
        return self

    # Inside kept_on_error, which takes away what tears the callbacks down.
    @with_callbacks
    def _fit_all_epochs(self, X: Any, y: Any, sample_weight: Any) -> None:
        continuing = self.warm_start and hasattr(self, "net_")
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        given = {"X": X, "y": y, "metadata": metadata}
        rows = self._check_fit_input(X, y, sample_weight, reset=not continuing)
        max_epochs = self._n_epochs(rows[0].shape[0])
        context = begin_fit_task(self, max_epochs * self._n_stages, given)
        self._train(rows, continuing, TrainingPlan(max_epochs, self.schedule, context, given))

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one more epoch on the rows given, at a constant learning rate.

        The first call sets the architecture and the input scaling from its rows. Heads are
        those of the latest rows; a label that shows a single value in them keeps its head.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples, n_labels) or (n_samples,)
            Targets, as in :meth:`fit`.
        classes : array-like, default=None
            All classes, at the first call with 1-D targets; a label matrix does not need it.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            Weights of the rows or of the cells.

        Returns
        -------
        self : estimator
            The estimator after one more epoch.
        """
        continuing = hasattr(self, "net_")
        with kept_on_error(self):
            rows = self._check_fit_input(X, y, sample_weight, classes=classes, reset=not continuing)
            self._train(rows, continuing, TrainingPlan(1, "constant", chunk=True))
        return self

    def _train(self, rows: Rows, continuing: bool, plan: TrainingPlan) -> None:
        epochs_before = self.n_iter_ if continuing else 0
        seed = check_random_state(self.random_state).randint(2**31 - 1) + epochs_before
        train, valid = self._split(rows, seed) if self._holds_out(plan) else (rows, None)
        plan = replace(plan, factors=self._factors_of(train, plan))
        train = plan.factors.rows(train)
        with seeded(seed) as generator:
            net = self._adopted(self.net_, train) if continuing else self._make_net(train)
            work = net.batch_size * net.n_weights
            device = self._training_device(work, train[0].shape[0] / net.batch_size, plan)
            with seeded_device(seed, device), threads_for(work, device), net.kept_on_error():
                self._run_epochs(net.to(device), train, valid, plan, seed, generator)
                self._keep_fit(net, train, valid, plan, seed)
        # On the CPU a pickle loads anywhere; predictions move the weights where they run.
        net.to(torch.device("cpu"))
        if not plan.chunk and self._format.kind == "multilabel":
            warn_constant_labels(label_log_odds(*train[1:])[1], self._format.label_names)
        if plan.context is not None:
            plan.context.call_on_fit_task_end(
                estimator=self, **plan.given, reconstruction_attributes={}
            )

    def _factors_of(self, train: Rows, plan: TrainingPlan) -> ClassFactors:
        """Return the factors of class_weight and pos_weight; decisions are tuned without them."""
        for name in ("class_weight", "pos_weight"):
            if plan.chunk and isinstance(getattr(self, name), str):
                raise ValueError(
                    f"{name}='balanced' needs all rows at once, and partial_fit sees a part of "
                    "them: give the weights as numbers."
                )
        return self._class_factors(*train[1:])

    def _training_device(
        self, work: int, steps_an_epoch: float, plan: TrainingPlan
    ) -> torch.device:
        """Return where to train by batches of ``work`` multiply-adds forward, twice that back."""
        n_steps = ceil(steps_an_epoch) * plan.max_epochs * self._n_stages
        return resolve_device(self.device, 3 * work, n_steps)

    @property
    def _decides_on_held_out(self) -> bool:
        """Whether decisions are tuned, which training rows are no judges of."""
        return isinstance(self.threshold, str) or self.calibration is not None

    def _holds_out(self, plan: TrainingPlan) -> bool:
        return self._decides_on_held_out or (self.early_stopping and not plan.chunk)

    def _split(self, rows: Rows, seed: int) -> tuple[Rows, Rows]:
        X, Y, weights = rows
        splitter = MultilabelStratifiedShuffleSplit(
            n_splits=1, test_size=self.validation_fraction, random_state=seed
        )
        train, valid = next(splitter.split(X, Y))
        return tuple(  # type: ignore[return-value]
            (take_rows(X, part), Y[part], None if weights is None else weights[part])
            for part in (train, valid)
        )

    def _run_epochs(
        self,
        net: IndexBatchNet,
        train: Rows,
        valid: Rows | None,
        plan: TrainingPlan,
        seed: int,
        generator: torch.Generator,
    ) -> None:
        callbacks: list[Any] = []
        if self.early_stopping and not plan.chunk:
            callbacks.append(EarlyStopping(self.n_iter_no_change))
        if plan.context is not None:
            as_if_stopped = partial(self._attributes_as_if_stopped, net, train, valid, plan, seed)
            callbacks.append(FitTaskCallback(self, plan.context, plan.given, as_if_stopped))
        device = torch.device(net.device)
        net.train_rows(
            RowTensors(*train, device),
            None if valid is None else RowTensors(*plan.factors.rows(valid), device),
            max_epochs=plan.max_epochs,
            schedule=plan.schedule,
            generator=generator,
            callbacks=callbacks,
        )

    def _attributes_as_if_stopped(self, net: IndexBatchNet, *args: Any) -> dict[str, Any]:
        """Return the attributes of a fit that ends here, while this one goes on untouched."""
        fitted = copy.copy(self)
        fitted._keep_fit(net.snapshot(), *args)
        return dict(vars(fitted))

    def _keep_fit(
        self, net: IndexBatchNet, train: Rows, valid: Rows | None, plan: TrainingPlan, seed: int
    ) -> None:
        """Store all that predictions need: the net, the heads, the neighbours, the threshold."""
        embedding = RowEmbedding(net.module_, train[0], torch.device(net.device))
        log_odds, constant = label_log_odds(*train[1:])
        self._keep_heads(*self._fit_heads(net, embedding, train), log_odds, constant, plan)
        self._keep_neighbors(
            embedding, train, expit(log_odds), constant, np.random.RandomState(seed)
        )
        self._keep_linear(net.module_, train, np.random.RandomState(seed))
        self._keep_counts(train, plan)
        self.net_, self.n_iter_ = net, len(net.history)
        self.history_ = epoch_log(net.history)
        self._keep_decisions(embedding, train, valid)
