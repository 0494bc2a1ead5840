"""The one skorch net: index batches in, nothing read back inside an epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Protocol, Self
from weakref import WeakKeyDictionary

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import BatchScoring, EpochScoring, EpochTimer, LRScheduler
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from sklearn_mlcl.losses._inputs import values_checked
from sklearn_mlcl.modules import ACTIVATIONS
from sklearn_mlcl.training._parallel import (
    alone,
    check_module,
    in_parts,
    is_first,
    own_rows,
    own_seed,
    own_weight,
    processes_of_fit,
    samples_of_batch,
)
from sklearn_mlcl.training._torch_compat import private_draws
from sklearn_mlcl.training.batches import (
    Batch,
    IndexBatches,
    RowTensors,
    mixed,
    with_sampled_labels,
)
from sklearn_mlcl.training.callbacks import callback_states, put_callback_states
from sklearn_mlcl.training.chunked import ChunkedBatch, Draws, check_no_batch_norm, chunks_of
from sklearn_mlcl.training.optimizers import (
    CONSTANT,
    SCHEDULES,
    WeightAverage,
    checked_optimizer_state,
    make_optimizer,
)
from sklearn_mlcl.training.progress import Progress
from sklearn_mlcl.utils.runtime import (
    is_from_signal,
    seed_global,
    seeded,
    seeded_global,
    streams_of_fit,
)

#: Names of ``precision``.
PRECISIONS = ("float32", "bf16")
#: What a process draws for in a step.
FOR_MODULE, FOR_MIXING = 0, 1
#: Samples of a member that are embedded at a time.
CHUNK = 512
#: What a file keeps of the parameters of a net. Its device is that of the machine that loads it.
_SETTINGS = {
    "optimizer_name", "weight_decay", "mixup", "n_members", "precision", "compiled", "lr",
    "encoder_lr", "grad_clip", "chunk_size", "batch_size", "verbose",
}  # fmt: skip
#: Kept beside the modules and not in them: what is compiled can be neither copied nor pickled.
_COMPILED: WeakKeyDictionary[nn.Module, Callable[[Tensor], Tensor]] = WeakKeyDictionary()
#: Layers of torch that draw nothing once they are made, and containers of layers.
_QUIET: tuple[Any, ...] = (
    nn.BatchNorm1d, nn.Identity, nn.LayerNorm, nn.LeakyReLU, nn.Linear, nn.ModuleList,
    nn.Sequential, *ACTIVATIONS.values(),
)  # fmt: skip
#: What they run; a subclass that runs the same draws nothing either.
QUIET = {layer.forward for layer in _QUIET}


def is_foreign(module: nn.Module) -> bool:
    """Return whether a module has parts that may draw from torch's global generators.

    An encoder or a loss of the user's knows no generator of ours.
    """
    kinds = {type(part) for part in module.modules()}
    unknown = (kind for kind in kinds if kind.forward not in QUIET)
    return any(not kind.__module__.startswith("sklearn_mlcl.") for kind in unknown)


@contextmanager
def compiled(module: nn.Module, wanted: bool) -> Iterator[None]:
    """Let :func:`encoded` run what ``torch.compile`` makes of the module, within the block."""
    if wanted:
        _COMPILED[module] = torch.compile(module)
    try:
        yield
    finally:
        _COMPILED.pop(module, None)


def encoded(module: nn.Module, X: Any, precision: str) -> Tensor:
    """Return what a module makes of rows, in the dtype of ``X`` if that is a floating one.

    Parameters
    ----------
    module : torch.nn.Module
        The encoder.
    X : Tensor or dict of str to Tensor
        Its input.
    precision : {"float32", "bf16"}
        "bf16" runs the encoder under autocast to bfloat16.
    """
    encode = _COMPILED.get(module, module)
    if precision == "float32":
        return encode(X)
    first = next(iter(X.values())) if isinstance(X, dict) else X
    dtype = first.dtype if first.is_floating_point() else torch.float32
    # Inside the user's own autocast, copies of weights would be kept over a step that moves them.
    with torch.autocast(first.device.type, torch.bfloat16, cache_enabled=False):
        return encode(X).to(dtype)


def _copied_state(module: nn.Module) -> dict[str, Any]:
    """Return the state of a module, with copies of all but its frozen parameters."""
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    state = module.state_dict()
    return {n: value if n in frozen else copy.deepcopy(value) for n, value in state.items()}


def _check_history(history: Any) -> None:
    """Raise unless a history from a file is a list of epochs."""
    if not (isinstance(history, list) and all(isinstance(epoch, dict) for epoch in history)):
        raise ValueError("its history is no list of epochs")


def _counts(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Return hits, accepted and true labels at a threshold of 0.5; missing ones do not count."""
    positive, accepted = labels == 1, probabilities >= 0.5
    if labels.is_floating_point():
        accepted = accepted & ~labels.isnan()
    return torch.stack([(positive & accepted).sum(), accepted.sum(), positive.sum()])


def _check_monitors(callbacks: list[tuple[str, Any]], valid: RowTensors | None) -> None:
    """Refuse callbacks that monitor scores of held-out samples where there are none."""
    for name, callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if valid is None and isinstance(monitor, str) and monitor.startswith("valid_"):
            raise ValueError(
                f"callbacks hold {name}, which monitors {monitor!r}, but no samples are held out. "
                "Set validation=0.1, or pass X_val and y_val to fit; partial_fit holds out none."
            )


def _is_setting(name: str) -> bool:
    """Whether a parameter of skorch is one that estimators set, and that is kept in files."""
    return name in _SETTINGS or name.startswith("optimizer__")


class NonFiniteLossError(FloatingPointError, ValueError):
    """The training loss became NaN or infinite; nothing that was fitted before is touched."""


class StateFile(Protocol):
    """Where the state of a training is kept.

    Attributes
    ----------
    state : dict or None
        What :meth:`IndexBatchNet.training_state` returned earlier, to go on from.
    is_last : bool
        Whether that training had ended.
    """

    state: dict[str, Any] | None
    is_last: bool

    def keep(self, net: Any, epoch: int, is_last: bool) -> None:
        """Take the state of a net after an epoch, if it is time to."""


class StopTraining(Exception):  # noqa: N818 - a signal, not an error
    """A callback asked to end the training."""


class IndexBatchNet(NeuralNet):
    """A skorch net whose epoch costs what a hand-written torch loop costs.

    The module maps X to embeddings, the criterion (an objective of this package) maps
    ``(embedding, labels, sample_weight)`` to a scalar loss. Compared with skorch as shipped:
    data come from :class:`RowTensors` by index, the loss stays on the device until the epoch
    ends, the history keeps epochs and not batches, and the learning rate follows a schedule
    given by name. Callbacks see every event of skorch. One that raises ``KeyboardInterrupt``
    (skorch's way to stop) ends the training once the others have seen the event too, while an
    interrupt from the keyboard passes on.

    Parameters
    ----------
    module, criterion : torch.nn.Module
        Encoder and objective; both are trained.
    optimizer_name : str or type
        A key of ``OPTIMIZERS`` or a torch optimizer class.
    weight_decay : float
        Decay of matrices; vectors are not decayed.
    mixup : float
        Above 0, rows are mixed while training; see :func:`~sklearn_mlcl.training.mixed`.
    n_members : int
        Members whose mean loss the criterion returns; each learns as it would alone.
    precision : {"float32", "bf16"}
        With "bf16" the encoder is trained under autocast; the criterion gets float32.
    compiled : bool
        Train what ``torch.compile`` makes of the encoder.
    encoder_lr : float or None
        Learning rate of the module; None is that of the criterion. Schedules multiply both.
    grad_clip : float or None
        Largest norm of all gradients; longer ones are shortened.
    chunk_size : int or None
        Samples of a batch that the module sees at a time; see ``training/chunked.py``.
    **kwargs
        As for ``skorch.NeuralNet``.
    """

    callbacks_: list[tuple[str, Any]]
    #: The running average of the weights while a training keeps it.
    average_: WeightAverage | None = None
    #: The file of the state while a training keeps one.
    kept_: StateFile | None = None
    #: Whether modules from elsewhere are told to draw from the generators of the fit, and whether
    #: they draw from the global ones, which are put back.
    _redirects = _borrows = False
    #: Whether the members learn from samples of their own.
    _by_member = False
    #: All parameters, those that learn, and what stopped the training, of a fit that processes
    #: share.
    _known: Sequence[nn.Parameter] = ()
    _learning: list[nn.Parameter] | None = None
    _stopped: KeyboardInterrupt | None = None

    def __init__(
        self,
        module: nn.Module,
        criterion: nn.Module,
        *,
        optimizer_name: str | type[torch.optim.Optimizer] = "adamw",
        weight_decay: float = 0.0,
        mixup: float = 0.0,
        n_members: int = 1,
        precision: str = "float32",
        compiled: bool = False,
        encoder_lr: float | None = None,
        grad_clip: float | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion, train_split=None, **kwargs)
        self.optimizer_name = optimizer_name
        self.weight_decay = weight_decay
        self.mixup = mixup
        self.n_members = n_members
        self.precision = precision
        self.compiled = compiled
        self.encoder_lr = encoder_lr
        self.grad_clip = grad_clip
        self.chunk_size = chunk_size

    def adopt(self, *, callbacks: list[Any] | None, verbose: int, **settings: Any) -> None:
        """Go on under other settings of the estimator: a warm start may change them."""
        self.__dict__.update(settings)
        listeners = {"callbacks": callbacks, "verbose": verbose}
        if any(getattr(self, name) is not value for name, value in listeners.items()):
            self.__dict__.update(listeners)
            self.initialize_callbacks()

    def initialize_callbacks(self) -> Self:
        """Check the callbacks and initialise them."""
        for given in self.callbacks or ():
            callback = given[-1] if isinstance(given, tuple) and len(given) == 2 else given
            if callback is not None and not hasattr(callback, "initialize"):
                raise ValueError(
                    f"callbacks must hold callbacks of skorch, or pairs of a name and one, got "
                    f"{given!r}."
                )
            # skorch asks for probabilities in each batch, and batches of a training have none.
            in_training = isinstance(callback, EpochScoring) and callback.on_train
            if isinstance(callback, BatchScoring) or (in_training and callback.use_caching):
                raise ValueError(
                    "callbacks must score held-out samples by EpochScoring with on_train=False, "
                    "or the samples of the training by a callable, with use_caching=False; got a "
                    f"{type(callback).__name__} with on_train={callback.on_train}."
                )
        super().initialize_callbacks()
        return self

    def get_default_callbacks(self) -> list[tuple[str, Any]]:
        timer = [("epoch_timer", EpochTimer())]
        return [*timer, ("print_log", Progress())] if self.verbose and is_first() else timer

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> IndexBatchNet:
        parameters = [parameter for _, parameter in self.get_all_learnable_params()]
        options = self.get_params_for("optimizer")
        rate, own = self.encoder_lr, self.module_.parameters()
        self.optimizer_ = make_optimizer(
            self.optimizer_name,
            parameters,
            self.lr,
            self.weight_decay,
            own_rate=None if rate is None else dict.fromkeys(own, rate),
            **options,
        )
        return self

    # ------------------------------------------------------------------ data

    def get_split_datasets(
        self, X: tuple[RowTensors, RowTensors | None], y: None = None, **fit_params: Any
    ) -> tuple[RowTensors, RowTensors | None]:
        return X

    def get_iterator(self, dataset: RowTensors, training: bool = False) -> IndexBatches:
        # Held-out samples are scored as a whole.
        own_labels = training and self.criterion_.own_labels
        generator = self.generator_ if training else None
        return IndexBatches(dataset, self.batch_size, generator, own_labels)

    # ------------------------------------------------------------------ loop

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Tell all callbacks; then turn skorch's way to stop into a signal of its own.

        Processes that share a fit stop together, at the end of an epoch.
        """
        getattr(self, method_name)(self, **cb_kwargs)
        stop = None
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except KeyboardInterrupt as error:
                if is_from_signal(error):
                    raise
                stop = error
        processes = processes_of_fit()
        if processes is not None:
            self._stopped = stop = stop or self._stopped
            if method_name != "on_epoch_end":
                return
            last = self.history[-1]
            duration = float(last.get("dur", 0.0))
            stops, duration = processes.largest([float(stop is not None), duration])
            if "dur" in last:
                self.history.record("dur", duration)
            stop = stop or (KeyboardInterrupt() if stops else None)
        if method_name == "on_epoch_end" and self.kept_ is not None:
            self._epochs_done += 1
            is_last = stop is not None or self._epochs_done == self._epochs_planned
            self.kept_.keep(self, self._epochs_done, is_last)
        if stop is not None:
            raise StopTraining from stop

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open the one batch record of the epoch: skorch's callbacks read and write the last."""
        super().on_epoch_begin(net, **kwargs)
        self.history.new_batch()

    def on_batch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Record nothing: a history that grows with the batches is slow and fat."""

    def train_rows(
        self,
        train: RowTensors,
        valid: RowTensors | None,
        *,
        max_epochs: int,
        schedule: str,
        generator: torch.Generator,
        callbacks: Sequence[Any] = (),
        kept: StateFile | None = None,
    ) -> None:
        """Train for up to ``max_epochs`` more epochs.

        Parameters
        ----------
        train, valid : RowTensors
            Rows to learn from, and rows whose loss is recorded as ``valid_loss`` (or None).
        max_epochs : int
            Number of epochs, unless a callback stops earlier.
        schedule : str
            A key of ``SCHEDULES``: "cosine" and "one_cycle" are stretched over these epochs. With
            "averaged" the net ends with the running average of its weights.
        generator : torch.Generator
            Draws the permutations.
        callbacks : sequence of callbacks
            Called in this training only, after those of the net.
        kept : StateFile, default=None
            Takes the state of the training after its epochs, and has the one to go on from.

        Raises
        ------
        ValueError
            If a callback sets learning rates that the schedule would overwrite. If one monitors
            scores of held-out samples, and there are none.
        """
        _check_monitors(self.callbacks_, valid)
        own = [name for name, callback in self.callbacks_ if isinstance(callback, LRScheduler)]
        if own and schedule not in CONSTANT:
            raise ValueError(
                f"callbacks hold a learning-rate scheduler ({own[0]}), whose rates "
                f"schedule={schedule!r} would overwrite: use schedule='constant' with it."
            )
        if self.chunk_size is not None:
            check_no_batch_norm(self.module_)
        self.generator_, self.schedule_ = generator, schedule
        self.criterion_.labels_known = train.labels_known
        train.lists_labels = getattr(self.criterion_, "drawn_labels", None) is not None
        self._by_member = train.members is not None
        self._steps_done = 0
        self._n_epochs_before = len(self.history)
        self._epochs_done, self._epochs_planned = 0, max_epochs
        n_steps = len(self.get_iterator(train, training=True))
        self._steps_total = max_epochs * n_steps
        modules = (self.module_, self.criterion_)
        self.average_ = WeightAverage(modules, n_steps) if schedule == "averaged" else None
        self._set_learning_rate(SCHEDULES[schedule](0.0, len(self.history)))
        self._begin_together()
        with self._listened_to(callbacks):
            super().notify("on_train_begin", X=train, y=None)
            foreign = is_foreign(self.module_) or is_foreign(self.criterion_)
            # What is compiled cannot be told where to draw from.
            self._redirects = foreign and not self.compiled
            self._borrows = foreign and self.compiled
            borrowed = seeded_global(train.device, self._borrows)
            with borrowed, compiled(self.encoder_, self.compiled), suppress(StopTraining):
                self.kept_ = kept
                if kept is not None and kept.state is not None:
                    self.put_training_state(kept.state)
                if kept is None or not kept.is_last:
                    self.fit_loop((train, valid), epochs=max_epochs - self._epochs_done)
            if self.average_ is not None:
                self.average_.put()
            super().notify("on_train_end", X=train, y=None)
            self.optimizer_.zero_grad(set_to_none=True)
        if (processes := processes_of_fit()) is not None:
            processes.hand_out(self._tensors())

    def _begin_together(self) -> None:
        """Let processes that share the training begin with the same weights."""
        self._learning = self._stopped = None
        if (processes := processes_of_fit()) is not None:
            self._known = [p for _, p in self.get_all_learnable_params()]
            check_module(self.module_)
            processes.hand_out(self._tensors())
            self.history[:] = processes.agreed(self.history.to_list())

    def _tensors(self) -> list[Tensor]:
        """Return the state of modules and optimizer."""
        states = [m.state_dict().values() for m in (self.module_, self.criterion_)]
        states += [state.values() for state in self.optimizer_.state.values()]
        return [value for state in states for value in state if isinstance(value, Tensor)]

    @contextmanager
    def _listened_to(self, callbacks: Sequence[Any]) -> Iterator[None]:
        """Let further callbacks listen within the block, and end the training with it."""
        own = self.callbacks_
        try:
            self.callbacks_ = [*own, *((type(c).__name__, c) for c in callbacks)]
            yield
        finally:
            self.callbacks_ = own
            self.average_ = self.kept_ = self._learning = self._stopped = None
            self._known = ()
            del self.generator_

    def training_state(self, can_keep: Callable[[str, Any], bool]) -> dict[str, Any]:
        """Return all that the training goes on from, as it is between two epochs.

        Parameters
        ----------
        can_keep : callable
            ``can_keep(name, value)`` says whether an attribute of a callback can be kept.
        """
        return {
            "module": self.module_.state_dict(),
            "criterion": self.criterion_.state_dict(),
            "optimizer": self.optimizer_.state_dict(),
            "average": None if self.average_ is None else self.average_.state(),
            "history": self.history.to_list(),
            "epochs": self._epochs_done,
            "steps": self._steps_done,
            "draws": streams_of_fit().state(),
            "global draws": torch.get_rng_state() if self._borrows else None,
            "callbacks": callback_states([callback for _, callback in self.callbacks_], can_keep),
        }

    def put_training_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`training_state` returned.

        Raises
        ------
        ValueError
            If it is the state of another net.
        """
        try:
            epochs, steps = state["epochs"], state["steps"]
            counted = all(type(n) is int and n >= 0 for n in (epochs, steps))
            if not counted or epochs > self._epochs_planned:
                raise ValueError(f"{epochs} epochs and {steps} steps of {self._epochs_planned}")
            _check_history(state["history"])
            self.module_.load_state_dict(state["module"])
            self.criterion_.load_state_dict(state["criterion"])
            own = checked_optimizer_state(self.optimizer_, state["optimizer"])
            self.optimizer_.load_state_dict(own)
            if self.average_ is not None:
                self.average_.put_state(state["average"])
            streams_of_fit().put_state(state["draws"])
            if self._borrows:
                torch.set_rng_state(state["global draws"])
            put_callback_states([callback for _, callback in self.callbacks_], state["callbacks"])
            # Last: a warm start that fails above goes on with the history that it had.
            self.history[:] = state["history"]
            self._epochs_done, self._steps_done = epochs, steps
        except Exception as error:
            raise ValueError(
                f"checkpoint: the state that was kept does not fit this net ({error}). If the code "
                "of a module, loss or callback has changed, start a new fit with "
                "checkpoint=FitCheckpoint(..., resume='never')."
            ) from error

    def weights_now(self) -> list[Any]:
        """Return copies of the weights that the net would have if training ended here."""
        with self.averaged():
            return [_copied_state(m) for m in (self.module_, self.criterion_)]

    def put_weights(self, states: list[Any]) -> None:
        """Put weights of :meth:`weights_now` back."""
        self.module_.load_state_dict(states[0])
        self.criterion_.load_state_dict(states[1])

    def averaged(self) -> AbstractContextManager[None]:
        """Let the net have the averaged weights, within the block, if it keeps them."""
        return nullcontext() if self.average_ is None else self.average_.applied()

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """Put weights, optimizer and history back if the block fails."""
        parts = {name: getattr(self, name) for name in ("module_", "criterion_", "optimizer_")}
        states = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
        n_epochs = len(self.history)
        try:
            yield
        except BaseException:
            for name, part in parts.items():
                part.load_state_dict(states[name])
                # The block may have put another optimizer in the place of this one.
                setattr(self, name, part)
            del self.history[n_epochs:]
            raise

    @property
    def n_epochs_run(self) -> int:
        """Epochs of the last training."""
        return len(self.history) - self._n_epochs_before

    @property
    def n_epochs_to_come(self) -> int:
        """Epochs of this training after the one that is running, or ran last."""
        return self._epochs_planned - self.n_epochs_run

    @property
    def n_weights(self) -> int:
        """Entries of all matrices: multiply-adds of a row's way through the net."""
        return sum(p.numel() for _, p in self.get_all_learnable_params() if p.ndim > 1)

    @property
    def n_products(self) -> int:
        """Number of matrices: products of a batch's way through the net."""
        return sum(p.ndim > 1 for _, p in self.get_all_learnable_params())

    def run_single_epoch(
        self,
        iterator: IndexBatches | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Tensor]],
        **fit_params: Any,
    ) -> None:
        if iterator is None:
            return
        self.module_.train(training)
        self.criterion_.train(training)
        total: float | Tensor = 0.0
        n_rows = 0
        counts: float | Tensor = 0.0
        batch: Any
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch)
            rows = samples_of_batch(batch[1][0])
            total, n_rows = total + step["loss"] * rows, n_rows + rows
            if not training and "probabilities" in step:
                # What skorch's callbacks score: labels and probabilities of samples, in two
                # dimensions.
                X, (labels, probabilities) = batch[0], step.pop("probabilities")
                if batch[1][0].ndim == 3:
                    # Members that hold out fewer samples than others see some again.
                    new = iterator.rows.are_new(n_rows - rows, rows).flatten().to(labels.device)
                    labels, probabilities, X = labels[new], probabilities[new], X.flatten(0, 1)
                    X = X[new] if processes_of_fit() is None else X
                counts = counts + _counts(labels, probabilities)
                batch, step["y_pred"] = (X, labels), probabilities
            self.notify("on_batch_end", batch=batch, training=training, **step)
        self._record_loss(f"{prefix}_loss", float(total) / n_rows)
        if isinstance(counts, Tensor):
            hits, accepted, positives = counts.tolist()
            f1 = 2 * hits / (accepted + positives) if accepted + positives else 0.0
            self.history.record(f"{prefix}_f1_micro", f1)

    def _record_loss(self, name: str, loss: float) -> None:
        self.history.record(name, loss)
        best = all(loss < epoch.get(name, math.inf) for epoch in self.history[:-1])
        self.history.record(f"{name}_best", best)
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"The {name} became {loss} in epoch {len(self.history)} at learning_rate="
                f"{self.lr:g}. Likely remedies: a smaller learning_rate, weight_decay or "
                "feature_noise, features on a common scale (StandardScaler), "
                "precision='float32', other optimizer_params, and with a contrastive loss a larger "
                "temperature."
            )

    @property
    def encoder_(self) -> nn.Module:
        """What ``precision`` and ``compiled`` are about."""
        return self.module_

    @values_checked()
    def _forward(self, batch: Batch) -> dict[str, Tensor]:
        """Loss and embedding, under the names that skorch's callbacks expect."""
        X, (labels, sample_weight) = batch
        with self._own_draws():
            embedding = encoded(self.encoder_, X, self.precision)
        return {"loss": self.criterion_(embedding, labels, sample_weight), "y_pred": embedding}

    def _own_draws(self, use: int = FOR_MODULE) -> AbstractContextManager[Any]:
        """Let what is drawn be other in each of the processes that share a fit."""
        if processes_of_fit() is None or not self.module_.training:
            return nullcontext()
        seed = own_seed(self._steps_done, use)
        if self._borrows:
            seed_global(torch.device(self.device), seed)
        return seeded(seed)

    def embeddings(self, rows: RowTensors, index: Tensor) -> np.ndarray:
        """Return embeddings (M, n, h) of samples of each member, by numbers of shape (M, n)."""
        training = self.module_.training
        self.module_.eval()

        def embedded(part: slice) -> np.ndarray:
            with torch.inference_mode():
                made = [
                    encoded(self.encoder_, rows.rows(own)[0], "float32")
                    for own in index[:, part].split(CHUNK, dim=1)
                ]
            return torch.cat(made, dim=1).cpu().numpy()

        found = in_parts(index.shape[1], embedded, axis=1)
        self.module_.train(training)
        return found

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        if self.schedule_ not in CONSTANT:
            progress = self._steps_done / self._steps_total
            factor = SCHEDULES[self.schedule_](progress, len(self.history) - 1)
            self._set_learning_rate(factor)
        self.optimizer_.zero_grad(set_to_none=True)
        drawn = getattr(self.criterion_, "drawn_labels", None)
        batch = with_sampled_labels(batch, drawn, self._by_member)
        batch = self._mixed(batch) if self.mixup > 0 else batch
        if self.criterion_.own_labels:
            X, (labels, weight) = batch
            batch = X, (labels, own_weight(labels, weight))
        step = self._forward_and_back(batch)
        if (processes := processes_of_fit()) is not None:
            self._learning = self._learning or processes.learning(self._known)
            step["loss"] = processes.sum_gradients(step["loss"], self._learning, self._known)
        self.notify(
            "on_grad_computed",
            named_parameters=TeeGenerator(self.get_all_learnable_params()),
            batch=batch,
            training=True,
        )
        if self.grad_clip is not None:
            trained = (p for group in self.optimizer_.param_groups for p in group["params"])
            nn.utils.clip_grad_norm_(trained, self.grad_clip)
        self.optimizer_.step()
        if self.average_ is not None:
            self.average_.update()
        self._steps_done += 1
        return {name: value.detach() for name, value in step.items()}

    def _mixed(self, batch: Batch) -> Batch:
        """Mix the samples of a batch; each process its own, where it has their labels alone."""
        if not self.criterion_.own_labels:
            return mixed(batch, self.mixup)
        with self._own_draws(FOR_MIXING), alone():
            return mixed(batch, self.mixup)

    def _forward_and_back(self, batch: Batch) -> dict[str, Tensor]:
        """Return loss and embedding of a batch, and leave the gradients with the parameters.

        Where processes share the batch, all of these are the own shares.
        """
        X, (labels, sample_weight) = batch
        # Members that learn from samples of their own come before them.
        dim = len(labels.shape) - 2
        chunks = [X] if self.chunk_size is None else chunks_of(X, self.chunk_size, dim)
        with private_draws(self._redirects), values_checked():
            if len(chunks) == 1:
                chunked, step = None, self._forward(batch)
            else:
                with self._own_draws():
                    draws = Draws(torch.device(self.device), self._borrows)
                    chunked = ChunkedBatch(self._encoded, chunks, dim, draws)
                    embedding = chunked.embedding()
                loss = self.criterion_(embedding, labels, sample_weight)
                step = {"loss": loss, "y_pred": embedding}
        # The mean over the members becomes a sum: each learns as it would alone.
        step["loss"].backward(torch.full_like(step["loss"], self.n_members))
        if chunked is not None:
            with private_draws(self._redirects), self._own_draws():
                chunked.backward(check=self._steps_done == 0)
        return step

    def _encoded(self, X: Any) -> Tensor:
        return encoded(self.encoder_, X, self.precision)

    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Tensor]:
        with torch.no_grad(), self.averaged(), private_draws(self._redirects):
            X, of_all = batch
            own = own_rows(*of_all) if self.criterion_.own_labels else of_all
            step: dict[str, Any] = self._forward((X, own))
            if (processes := processes_of_fit()) is not None:
                step["loss"] = processes.add(step["loss"].clone())
            log_odds = self._log_odds(step["y_pred"])
        if log_odds is None:
            return step
        labels = of_all[0]
        if log_odds.ndim > labels.ndim:
            log_odds = log_odds.mean(0)  # of members that hold out the same samples
        probabilities = log_odds.sigmoid()
        if processes is not None:
            with torch.no_grad():
                probabilities = processes.gathered(probabilities)
        step["probabilities"] = labels.flatten(0, -2), probabilities.flatten(0, -2)
        return step

    def _log_odds(self, embedding: Tensor) -> Tensor | None:
        """Return log-odds by the head that is trained; None where there is none."""
        head = getattr(self.criterion_, "log_odds", None)
        return None if head is None else head(embedding)

    def evaluation_step(self, batch: Batch, training: bool = False) -> Tensor:
        """Return probabilities of a batch; skorch's scoring asks for them."""
        self.module_.train(training)
        self.criterion_.train(training)
        step: dict[str, Any] = self.validation_step(batch)
        if "probabilities" not in step:
            raise ValueError(
                "This net has no probabilities during the training, because no head for single "
                "labels is trained with the encoder. Score after the fit, set lambda_joint > 0, or "
                "take another loss than 'pal'."
            )
        return step["probabilities"][1]

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels of a probability of at least 0.5; skorch's scoring asks for them."""
        return (self.predict_proba(X) >= 0.5).astype(int)

    def _set_learning_rate(self, factor: float) -> None:
        """Give each group of parameters its learning rate, times a factor."""
        own = set(self.module_.parameters())
        encoder_lr = self.lr if self.encoder_lr is None else self.encoder_lr
        for group in self.optimizer_.param_groups:
            group["lr"] = factor * (encoder_lr if group["params"][0] in own else self.lr)

    # ------------------------------------------------------------------ keeping

    def to(self, device: torch.device) -> IndexBatchNet:
        """Move module, objective and optimizer state to ``device``."""
        self.device = str(device)
        self.module_.to(device)
        self.criterion_.to(device)
        for state in self.optimizer_.state.values():
            for key, value in state.items():
                # Counters of fused optimizers live with the parameters too.
                state[key] = value.to(device) if isinstance(value, Tensor) else value
        return self

    def snapshot(self) -> IndexBatchNet:
        """Return a net with weights and a history of its own, as they are now, all else shared."""
        net = copy.copy(self)
        with self.averaged():
            net.module_, net.criterion_ = copy.deepcopy((self.module_, self.criterion_))
        net.history_ = copy.copy(self.history)
        net.average_ = None
        return net

    def saved_state(self, optimizer: bool = False) -> dict[str, Any]:
        """Return what a file keeps of the net; callbacks are the estimator's to keep.

        Parameters
        ----------
        optimizer : bool
            Whether the state of the optimizer is part of it. Without it, the optimizer of the net
            that is made from the file begins anew.
        """
        own = {n: v for n, v in self.get_params(deep=False).items() if _is_setting(n)}
        return {
            "settings": own,
            "module": self.module_,
            "criterion": self.criterion_,
            "optimizer": self.optimizer_.state_dict() if optimizer else None,
            "history": self.history.to_list(),
        }

    @classmethod
    def from_saved_state(cls, state: dict[str, Any]) -> IndexBatchNet:
        """Return a net that goes on where the one of ``saved_state`` stood.

        Raises
        ------
        ValueError
            If the state is none that a net of these settings has.
        """
        unknown = [name for name in state["settings"] if not _is_setting(name)]
        if unknown:
            raise ValueError(f"a net has no settings {unknown}")
        net = cls(state["module"], state["criterion"], **state["settings"]).initialize()
        if state["optimizer"] is not None:
            own = checked_optimizer_state(net.optimizer_, state["optimizer"])
            net.optimizer_.load_state_dict(own)
        _check_history(state["history"])
        net.history.extend(state["history"])
        return net

    def try_step(self, samples: Any, n_labels: int) -> Tensor:
        """Return embeddings of two samples, once their loss is computed as training does.

        Torch's own checks are in it: parts that do not fit together raise an error. Everything is
        left as it was.
        """
        modules = [m for part in (self.module_, self.criterion_) for m in part.modules()]
        training = [module.training for module in modules]
        # One label: prototypes of all labels of a batch meet each other.
        labels = torch.zeros(2, n_labels, dtype=torch.bool, device="cpu")
        labels[:, 0] = True
        try:
            for module in modules:
                module.training = False
            foreign = is_foreign(self.module_) or is_foreign(self.criterion_)
            with torch.no_grad(), seeded(0), private_draws(foreign):
                step = self._forward((samples, (labels, None)))
        finally:
            for module, mode in zip(modules, training, strict=True):
                module.training = mode
        return step["y_pred"]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: all but the state of the optimizer, twice the weights."""
        # skorch packs the weights into a second pickle to re-map CUDA; ours are on the CPU by now.
        known = self.__dict__.copy()
        if "optimizer_" in known:
            known["optimizer_"] = None
        return known

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "optimizer_" in state:
            self.initialize_optimizer()

    def __copy__(self) -> IndexBatchNet:
        net = type(self).__new__(type(self))
        net.__dict__.update(self.__dict__)
        return net

    def __deepcopy__(self, memo: dict[int, Any]) -> IndexBatchNet:
        memo[id(self)] = net = type(self).__new__(type(self))
        net.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return net
