"""The base of the net-based classifiers: ``fit`` as one line of steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from math import ceil
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.estimators.base import MultiLabelClassifier, finite
from sklearn_mlcl.estimators.identity import (
    check_net,
    digests_of_net,
    traits_of_call,
    traits_of_fit,
)
from sklearn_mlcl.estimators.judge import DEFAULT_THRESHOLD, Judge, Trained, choose, objective_of
from sklearn_mlcl.estimators.net_parameters import NetParameters
from sklearn_mlcl.estimators.task import Heads, Judged, Specification, Task, has_tree, plan
from sklearn_mlcl.heads.evaluation import (
    CachedEmbedding,
    Embedding,
    best_of_rows,
    chunk_outputs,
    outputs,
)
from sklearn_mlcl.heads.held_out import HeldOut
from sklearn_mlcl.heads.logistic import C_of_labels, EmbeddedSamples, fit_embedding_heads
from sklearn_mlcl.heads.predictor import AffineHead, BestLabels, MemberSpread, Predictor
from sklearn_mlcl.heads.refit import RefittedHead, refitted, refitted_as
from sklearn_mlcl.heads.scaled_tree import fit_embedding_tree
from sklearn_mlcl.model_selection._choices import KeepsChoices
from sklearn_mlcl.persistence._checkpoint import KeptFit
from sklearn_mlcl.training import IndexBatchNet
from sklearn_mlcl.training._parallel import (
    agreed,
    alone,
    is_first,
    n_processes,
    processes_of_fit,
    taking_part,
)
from sklearn_mlcl.training._torch_compat import private_draws
from sklearn_mlcl.training.callbacks import (
    EpochChoice,
    FitTaskCallback,
    TimeBudget,
    epoch_log,
    fit_listener,
)
from sklearn_mlcl.utils._sklearn_compat import (
    CallbackSupportMixin,
    fit_context,
    has_callbacks,
    safe_indexing,
    validate_parameters,
    with_callbacks,
)
from sklearn_mlcl.utils.answers import EmbeddingFrames, in_chosen_container, set_format, sigmoid
from sklearn_mlcl.utils.fit_data import FitData, check_fit_data, warn_weightless
from sklearn_mlcl.utils.parameters import check_some, setting
from sklearn_mlcl.utils.runtime import (
    resolve_device,
    rollback_on_error,
    seeded,
    threads_for,
    torch_defaults,
)
from sklearn_mlcl.utils.samples import (
    Features,
    check_features,
    check_sizes,
    is_table,
    same_samples,
    stacked,
    tensors_of,
    zero_samples,
)
from sklearn_mlcl.utils.targets import warn_constant_labels

#: Samples of a step at most where ``batch_size="auto"``.
LARGEST_BATCH = 1_024
#: ``early_stopping=True`` compares these shares of the epochs; the longest wins that is within the
#: margin of the smallest loss.
EPOCH_SHARES, EPOCH_MARGIN = (0.125, 0.25, 0.5, 1.0), 0.05
#: Bounds on the largest size of a feature: float32 ends ten times further out.
SMALLEST_FEATURE, LARGEST_FEATURE = 1e-37, 1e37
#: Parameters that embeddings and predictions read: a change after ``fit`` takes effect at once.
ENCODING_READS = ("device", "net_params")
PREDICTION_READS = (
    *ENCODING_READS, "decision", "linear_weight", "neighbor_weight", "threshold",
)  # fmt: skip


class NetClassifier(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    EmbeddingFrames,
    KeepsChoices,
    NetParameters,
    MultiLabelClassifier,
):
    """Base: an encoder trained by an objective, heads on its embedding.

    A subclass says by ``_specification`` what it has of its own.
    """

    _without_fit: ClassVar[set[str]] = {
        "linear_weight",
        "neighbor_weight",
        "net_params__n_predict_samples",
        "net_params__pseudo_count",
        "threshold",
    }

    @property
    def _own_inputs(self) -> bool:
        """Whether samples go to ``module`` as they are: of any dtype and shape, unscaled."""
        return self.module is not None and not self.scale_input

    @abstractmethod
    def _specification(self) -> Specification:
        """Return what this class has of its own."""

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
        continuing = self.warm_start and hasattr(self, "net_")
        with self._all_or_nothing(continuing, self.checkpoint) as kept:
            validation = (X_val, y_val, sample_weight_val)
            self._fit(X, y, sample_weight, groups, validation, continuing, kept)
        return self

    @contextmanager
    def _all_or_nothing(self, continuing: bool, checkpoint: Any) -> Iterator[KeptFit]:
        """Leave the estimator as it was if the block, a training, fails."""
        with (
            taking_part(setting(self, "data_parallel")),
            # The state of a fit is removed last, once nothing can go wrong any more.
            KeptFit(checkpoint if is_first() else None) as kept,
            self.net_.kept_on_error() if continuing else nullcontext(),
            rollback_on_error(self),
            torch_defaults(),
        ):
            yield kept

    # Inside rollback_on_error, which takes away what tears the callbacks down.
    @with_callbacks
    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        groups: Any,
        validation: tuple[Any, Any, Any],
        continuing: bool,
        kept: KeptFit,
    ) -> None:
        data = self._read(X, y, sample_weight, continuing, groups)
        valid = None if validation[0] is None else self._read_validation(*validation)
        self._check_same(data, valid, continuing)
        if self.checkpoint is not None and is_first():
            kept.begin(traits_of_fit(self, data, valid, self._start(continuing)), n_processes())
        kept.state, kept.is_last = agreed((kept.state, kept.is_last))
        task = plan(self, data, valid, kept, continuing)
        # A copy of the held-out samples is made for callbacks alone, its own or a search's.
        judged = task.judged() if has_callbacks(self) else None
        given = _monitored(judged, X, y, sample_weight, validation)
        with fit_listener(self, task.n_epochs, given) as listener:
            warn_weightless(task.train, self._format.label_names)
            with finite(self, data.X):
                self._adopt(train(self, task, continuing, listener, kept))
        if self._format.kind == "multilabel":
            warn_constant_labels(task.stats.constant, self._format.label_names)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one more epoch on the samples given, at a constant learning rate.

        The first call sets the architecture and the input scaling from its samples. The heads and
        the linear part are fitted on the latest samples only. A label with a single value among
        these keeps its head and its regression.

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
                "class_weight='balanced' needs all samples at once, but partial_fit sees a part of "
                "them: set the weights as numbers."
            )
        with self._all_or_nothing(continuing, checkpoint=None) as kept:
            data = self._read(X, y, sample_weight, continuing, classes=classes)
            self._check_same(data, None, continuing)
            task = plan(self, data, None, kept, continuing, is_part=True)
            warn_weightless(task.train, self._format.label_names)
            with finite(self, data.X):
                self._adopt(train(self, task, continuing))
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

    def _read_validation(self, X: Any, y: Any, sample_weight: Any) -> FitData:
        try:
            return self._read(X, y, sample_weight, continuing=True)
        except ValueError as error:
            raise ValueError(f"X_val, y_val or sample_weight_val: {error}") from error

    def _check_same(self, data: FitData, valid: FitData | None, continuing: bool) -> None:
        """Raise for other processes of this fit, or another net, than parameters and data say."""
        if continuing:
            check_net(self, self._built_with)
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

    def _choose_again(self) -> None:
        validate_parameters(self)
        trained = self._evidence
        work = trained.net.batch_size * trained.net.n_weights / trained.net.n_products
        threads = threads_for(work, torch.device(trained.net.device))
        with torch_defaults(), threads, finite(self, trained.task.train.X):
            self.__dict__.update(choose(self, trained))

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
        check_some(self, ENCODING_READS)
        X, precision = check_features(self, X, reset=False), self._predict_precision
        return outputs(Embedding(self.net_.module_), X, device=self.device, precision=precision)

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
                "uncertainty needs an ensemble in which each member has its own head: expected "
                f"n_estimators > 1, got n_estimators={self.n_estimators}, {type(head).__name__}."
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

    @property
    def threshold_(self) -> float | np.ndarray:
        """The threshold in force."""
        return self._thresholds()

    def _thresholds(self) -> float | np.ndarray:
        if self._specification().rule == "auto" and self.validation_scores_:
            return self._threshold_chosen
        if not isinstance(self.threshold, str):
            return super()._thresholds()
        check_some(self, ("threshold",))
        return self._tuned_threshold()

    def _tuned_threshold(self) -> float | np.ndarray:
        """Return the threshold that an objective, the parameter ``threshold``, stands for."""
        asked = self._threshold_asked
        if isinstance(asked, str) and asked == self.threshold:
            return self._threshold_chosen
        objective = objective_of(self.threshold, self._format.kind)
        if objective is None:
            return DEFAULT_THRESHOLD
        if self._held_out is None:
            raise ValueError(
                f"threshold={self.threshold!r} was set after the fit and needs its held-out "
                "samples. There are none: the fit held out nothing, or the estimator was loaded "
                "from a file. Set a number, or fit again."
            )
        return self._held_out.tuned(objective)

    def _computed_for_files(self) -> dict[str, Any]:
        """Return the threshold that an objective set after the fit stands for.

        Raises
        ------
        ValueError
            If weights were set whose parts the fit did not keep: no file of them could be loaded.
        """
        if not hasattr(self, "predictor_"):
            return {}
        self._current_predictor()
        if not isinstance(self.threshold, str) or self._held_out is None:
            return {}
        chosen = self._tuned_threshold()
        return {"_threshold_asked": self.threshold, "_threshold_chosen": chosen}

    def _module(self) -> nn.Module:
        return self._current_predictor()

    def _current_predictor(self) -> Predictor:
        """Return the predictor, with the weights of its parts that are set today."""
        check_some(self, PREDICTION_READS)
        blend = self.predictor_.blend
        v, w = self.neighbor_weight, self.linear_weight
        return self.predictor_.weighted(
            blend.neighbor_weight if isinstance(v, str) else float(v),
            blend.linear_weight if isinstance(w, str) else float(w),
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

    @property
    def _predict_precision(self) -> str:
        return setting(self, "predict_precision", "float32")

    def _check_state(self) -> None:
        for decoder in (self.decision_.decoder, getattr(self, "decoder_", None)):
            if decoder is not None and decoder.n_labels != self._format.n_labels:
                raise ValueError(f"a decoder is one of {decoder.n_labels} labels")
        samples = tensors_of(self._zero_samples())
        embedding = self.net_.try_step(samples, self._format.n_labels)
        epochs = {np.shape(values) for values in self.history_.values()}
        if len(epochs) > 1 or any(len(shape) != 1 for shape in epochs):
            raise ValueError(f"its history has the shapes {sorted(epochs)}")
        if not all(isinstance(part, str) for item in self._built_with.items() for part in item):
            raise ValueError("what its net was built with is no dict of strings")
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
        per_label = 8 if self.predictor_.has_tree else 4
        entries = n_draws * (2 * width + per_label * self._format.n_labels)
        return {"device": self.device, "entries": entries, "precision": self._predict_precision}


# ---------------------------------------------------------------------- steps of a fit


def train(
    clf: NetClassifier,
    task: Task,
    continuing: bool,
    listener: FitTaskCallback | None = None,
    kept: KeptFit | None = None,
) -> dict[str, Any]:
    """Train the net, put heads on it, and return the attributes of the fit."""
    with seeded(task.seed) as streams:
        net = _continued_net(clf, task) if continuing else _new_net(clf, task)
        work = net.batch_size * net.n_weights
        # A step goes forward once, and back at twice the cost.
        n_steps = ceil(task.train.n_samples / net.batch_size) * task.n_epochs
        device = resolve_device(clf.device, 3 * work, n_steps)
        judged = task.judged()
        columns = getattr(net.module_, "columns", None)
        judge = None if judged is None else Judge(task, judged, device, columns)
        choice = None
        if judge is not None and judge.judged.judgement.informs and clf.early_stopping:
            choice = _epoch_choice(clf, task, judge)
        callbacks: list[Any] = [] if choice is None else [choice]
        if (seconds := setting(clf, "max_seconds")) is not None:
            callbacks.append(TimeBudget(seconds))
        if listener is not None:
            listener.fitted_attributes = lambda: _monitored_attributes(
                clf, net.snapshot(), task, judge
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
            fitted = _attributes(clf, net, task, judge)
    if listener is not None:
        listener.last_attributes = _out_of_fold(fitted["_held_out"], judge)
    if choice is not None and choice.best_epoch_:
        fitted["n_iter_"] = task.n_before + choice.best_epoch_
    # On the CPU a pickle loads anywhere; predictions move the weights where they run.
    net.to(torch.device("cpu"))
    return fitted


def _monitored_attributes(
    clf: NetClassifier, net: IndexBatchNet, task: Task, judge: Judge | None
) -> dict[str, Any]:
    """Return the attributes of a fit that stops here, for callbacks that score it.

    Three of four members have learnt from a sample that one holds out. So the estimator of a
    callback answers out of fold for the very samples that the callback is given.
    """
    # Callbacks that ask may be in one process and not in another.
    with alone():
        fitted = _attributes(clf, net, task, judge)
    return vars(clf) | fitted | _out_of_fold(fitted["_held_out"], judge)


def _epoch_choice(clf: NetClassifier, task: Task, judge: Judge) -> EpochChoice:
    """Return what chooses the number of epochs, as ``early_stopping`` says."""

    def loss(net: IndexBatchNet) -> float:
        return float(agreed(judge.loss(net, _trained_head(net, task))))

    if not isinstance(clf.early_stopping, bool | np.bool_):
        return EpochChoice(loss, patience=int(clf.early_stopping))
    epochs = sorted({max(1, round(share * task.n_epochs)) for share in EPOCH_SHARES})
    return EpochChoice(loss, epochs, EPOCH_MARGIN)


def _new_net(clf: NetClassifier, task: Task) -> IndexBatchNet:
    with private_draws():
        module, objective = task.spec.modules(clf, task)
    if torch.get_default_dtype() != torch.float32:
        module, objective = module.float(), objective.float()
    optimizer_params = setting(clf, "optimizer_params") or {}
    return task.spec.net_class(
        module,
        objective,
        optimizer_name=setting(clf, "optimizer"),
        weight_decay=float(clf.weight_decay),
        mixup=_mixup(clf, task.train),
        n_members=int(clf.n_estimators),
        **_training_settings(clf, task),
        **{f"optimizer__{name}": value for name, value in optimizer_params.items()},
    ).initialize()


def _mixup(clf: NetClassifier, data: FitData) -> float:
    """Return how strongly samples are mixed; those for a ``module`` only if it is asked for."""
    if not clf._own_inputs:
        return setting(clf, "mixup", 0.0)
    asked = (clf.net_params or {}).get("mixup", 0.0)
    if asked > 0 and not is_table(data.X):
        raise ValueError(
            f"net_params__mixup={asked} needs floats of shape (n_samples, n_features), got X of "
            f"dtype {data.X.dtype} and shape {data.X.shape}."
        )
    return asked


def _continued_net(clf: NetClassifier, task: Task) -> IndexBatchNet:
    """Return the trained net under the settings of today."""
    clf.net_.adopt(**_training_settings(clf, task))
    for name in ("lambda_bce", "lambda_contrastive", "lambda_joint", "lambda_kl"):
        if name in clf._declared:
            setattr(clf.net_.criterion_, name, float(getattr(clf, name)))
    return clf.net_


def _training_settings(clf: NetClassifier, task: Task) -> dict[str, Any]:
    return {
        "precision": setting(clf, "precision"),
        "encoder_lr": setting(clf, "encoder_lr"),
        "grad_clip": setting(clf, "grad_clip"),
        "chunk_size": setting(clf, "chunk_size", None),
        "compiled": setting(clf, "compile"),
        "lr": float(clf.learning_rate),
        "batch_size": batch_samples(clf.batch_size, task.train.n_samples, grows=clf.module is None),
        "callbacks": clf.callbacks,
        "verbose": clf.verbose,
    }


def _attributes(
    clf: NetClassifier, net: IndexBatchNet, task: Task, judge: Judge | None
) -> dict[str, Any]:
    """Return the attributes of a fit: heads, parts, and what held-out samples choose."""
    known = CachedEmbedding(net.module_, task.train.X, torch.device(net.device))
    own = None if judge is None else judge.embeddings(net)
    head: Any = _trained_head(net, task)
    fitted: dict[str, Any] = {}
    if head is None:
        head, fitted["head_C_"] = _logistic_head(clf, known, task)
    elif not task.is_part and _refits(clf, task):
        found = agreed(_refitted(clf, head, known, own, task, judge))
        if found is not None:
            head, fitted["head_C_"] = found.head, np.full(task.data.n_labels, found.C)
            fitted["refit_weight_"] = found.share
    heads = Heads(head, {})
    if task.spec.finished_head is not None:
        heads = task.spec.finished_head(clf, head, known, own, task)
    previous = getattr(clf, "predictor_", None) if task.n_before else None
    before = previous if task.is_part else None
    if isinstance(heads.module, AffineHead):
        heads.module.set_constant(task.stats, before and before.head)
    trained = Trained(net, task, judge, known, own, heads, previous)
    if clf._keeps_evidence:
        fitted["_evidence"] = trained
    return {
        **choose(clf, trained),
        "net_": net,
        "n_iter_": task.n_before + net.n_epochs_run,
        "history_": epoch_log(net.history),
        "_n_features_out": known.of(np.arange(1)).shape[1],
        "_noise_seed": task.seed,
        "_built_with": digests_of_net(clf),
        **fitted,
        **heads.fitted,
    }


def _trained_head(net: IndexBatchNet, task: Task) -> AffineHead | None:
    """Return the head that was trained with the encoder; None if heads are to be fitted."""
    given = task.spec.trained_head
    return None if given is None else given(net, task.data.n_labels)


def _logistic_head(
    clf: NetClassifier, known: CachedEmbedding, task: Task
) -> tuple[nn.Module, np.ndarray]:
    """Return logistic regressions on the embeddings, and their C.

    They see the embeddings of all members side by side, unless members hold out samples of
    their own: then each has its regressions.
    """
    parts = [EmbeddedSamples(known.all(), task.train.Y, task.train.copies)]
    if task.folds.by_member:
        parts = _embedded_parts(known, task, int(clf.n_estimators))
    C = C_of_labels(clf.head_C, "head_C", clf._format)
    if has_tree(clf, task.spec):
        return fit_embedding_tree(*parts[0], C)
    fits = [fit_embedding_heads(*part, C) for part in parts]
    coef, intercept, found = (np.stack(each) for each in zip(*fits, strict=True))
    return AffineHead(coef, intercept), found.mean(axis=0)


def _refitted(
    clf: NetClassifier,
    head: AffineHead,
    known: CachedEmbedding,
    own: np.ndarray | None,
    task: Task,
    judge: Judge | None,
) -> RefittedHead | None:
    """Return the trained head with logistic ones; None where nothing says how they count."""
    n_members = int(clf.n_estimators)
    if judge is not None and own is not None and judge.judged.judgement.informs:
        said = partial(judge.head_log_odds, embedding=own)
        parts = _embedded_parts(known, task, n_members)
        return refitted(head, parts, said, judge.judged.judgement)
    if task.n_before and hasattr(clf, "refit_weight_"):  # what was chosen stays
        parts = _embedded_parts(known, task, n_members)
        return refitted_as(head, parts, float(clf.head_C_[0]), clf.refit_weight_)
    return None


def _embedded_parts(known: CachedEmbedding, task: Task, n_members: int) -> list[EmbeddedSamples]:
    """Return what each member learnt from, by its own embedding."""
    by_member = known.all().reshape(task.data.n_samples, n_members, -1)
    parts = []
    for k in range(n_members):
        samples = task.folds.learnt(k) if task.folds.by_member else slice(None)
        data = task.learnt(k)
        parts.append(EmbeddedSamples(by_member[samples, k], data.Y, data.copies))
    return parts


def _refits(clf: NetClassifier, task: Task) -> bool:
    """Return whether logistic heads on the embeddings are blended into the trained head."""
    asked = setting(clf, "refit_head", False)
    if asked == "auto":
        asked = clf.module is not None and not has_tree(clf, task.spec)
    return bool(asked) and task.spec.may_refit


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
