"""The encoder trained end to end: the reference for contrastive training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from scipy.special import logit
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl.collapse import VARIANTS, ONNDecoder, fit_onn_decoder
from sklearn_mlcl.estimators._docs import fill_shared_parameters
from sklearn_mlcl.estimators._net_build import TrainingPlan
from sklearn_mlcl.estimators.net import NetClassifier
from sklearn_mlcl.heads.decision import DECISIONS, Decision, common_threshold, tuned_decision
from sklearn_mlcl.heads.evaluation import RowEmbedding
from sklearn_mlcl.heads.graph import DecoderGraph
from sklearn_mlcl.losses import LOGIT_LOSSES, PickAllLabelLoss
from sklearn_mlcl.modules import embedding_width, linear
from sklearn_mlcl.modules._heads import FixedETFHead, Head, head_arrays, linear_head
from sklearn_mlcl.training import IndexBatchNet, LogitObjective
from sklearn_mlcl.utils._sklearn_compat import Interval, StrOptions
from sklearn_mlcl.utils.chunking import chunks
from sklearn_mlcl.utils.class_weight import row_weights
from sklearn_mlcl.utils.fit_data import Features, Rows
from sklearn_mlcl.utils.probabilities import clip_open_interval
from sklearn_mlcl.utils.set_output import in_chosen_container


@fill_shared_parameters
class MultiLabelMLPClassifier(NetClassifier):
    r"""Multi-layer perceptron with one logit per label, trained end to end.

    Minimises over the encoder :math:`h` and a linear head :math:`(W, b)`

    .. math:: \frac{1}{n} \sum_i \ell(W h(x_i) + b, \; y_i)

    with :math:`\ell` the binary cross-entropy of all labels, or another loss on logits. Encoder,
    optimiser, schedule and early stopping are those of
    :class:`~sklearn_mlcl.ContrastiveMultiLabelClassifier`: what the two differ in is the
    objective alone.

    Parameters
    ----------
    loss : {loss_names} or torch.nn.Module, default="bce"
        Loss on the logits: binary cross-entropy, the asymmetric loss, the focal loss, ZLPR, the
        two-way loss, or pick-all-label; see :mod:`sklearn_mlcl.losses`. A module of your own is
        called as ``loss(logits, labels, sample_weight)``.
    pal_norm : {"mean", "sum"} or float in [0, 1], default="mean"
        Weight of a row with m labels in the pick-all-label loss: 1/m, 1, or m to the power of
        the negative number.
    empty_rows : {"ignore", "none_class", "uniform", "error"}, default="ignore"
        What the pick-all-label loss makes of rows without a label.
    label_smoothing : float, default=0.0
        Mass that the pick-all-label loss spreads over all labels, in [0, 1).
    feature_decay : float, default=0.0
        Weight of the mean squared norm of the embeddings, for every loss; with weight decay it
        is what makes features collapse.
    classifier : {"linear", "etf"}, default="linear"
        Trained linear head, or rows fixed to a simplex equiangular tight frame.
    feature_dim : int or None, default=None
        Width of a linear layer behind the encoder, whose output is the embedding. None adds none
        for the linear head, and one of n_labels - 1 for the fixed frame, the least it allows.
    decision : {"threshold", "onn", "topk", "auto"}, default="threshold"
        Rule of :meth:`predict` for label matrices: the threshold; the label set with the nearest
        prototype [2]_; the same number of labels for each row; or what scores best on held-out
        rows, the tuned threshold unless another one is clearly better. All but "threshold" hold
        out ``validation_fraction`` of the rows.
    onn_variant : {"tags", "etf", "cosine", "observed"}, default="tags"
        Prototypes and distance of "onn"; see :func:`sklearn_mlcl.collapse.fit_onn_decoder`.
    onn_prior : float in [0, 1] or "tuned", default="tuned"
        Strength of the prior of the label sets in "onn".
    {shared_parameters}

    Attributes
    ----------
    decision_ : Decision
        The rule in force, "auto" resolved.
    decoder_ : ONNDecoder or None
        Prototypes of the label sets, for ``loss="pal"`` and the decisions that need them.
    {shared_attributes}

    See Also
    --------
    ContrastiveMultiLabelClassifier : The same encoder under a contrastive loss.
    MultiLabelLogisticRegression : The heads alone.

    Notes
    -----
    With ``loss="pal"`` the softmax is no probability of a label. Its probabilities are marginals
    of a Gaussian model of the features about the prototypes of the label sets, with the spread
    taken from held-out rows.

    References
    ----------
    .. [1] A. Audibert, A. Gauffre, M.-R. Amini, "Multi-Label Contrastive Learning: A
       Comprehensive Study", arXiv:2412.00101, 2024.
    .. [2] P. Li, X. Li, Y. Wang, Q. Qu, "Neural Collapse in Multi-label Learning with
       Pick-all-label Loss", ICML 2024.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> X, Y = make_multilabel_classification(n_samples=200, n_classes=3, random_state=0)
    >>> mlp = MultiLabelMLPClassifier(max_epochs=5, random_state=0).fit(X, Y)
    >>> mlp.predict_proba(X).shape
    (200, 3)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetClassifier._parameter_constraints,
        "loss": [StrOptions(set(LOGIT_LOSSES)), nn.Module],
        "pal_norm": [StrOptions({"mean", "sum"}), Interval(Real, 0, 1, closed="both")],
        "empty_rows": [StrOptions({"ignore", "none_class", "uniform", "error"})],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "feature_decay": [Interval(Real, 0, None, closed="left")],
        "classifier": [StrOptions({"linear", "etf"})],
        "feature_dim": [Interval(Integral, 1, None, closed="left"), None],
        "decision": [StrOptions(set(DECISIONS))],
        "onn_variant": [StrOptions(set(VARIANTS))],
        "onn_prior": [Interval(Real, 0, 1, closed="both"), StrOptions({"tuned"})],
    }

    def __init__(
        self,
        *,
        loss: str | nn.Module = "bce",
        pal_norm: str | float = "mean",
        empty_rows: str = "ignore",
        label_smoothing: float = 0.0,
        feature_decay: float = 0.0,
        classifier: str = "linear",
        feature_dim: int | None = None,
        decision: str = "threshold",
        onn_variant: str = "tags",
        onn_prior: float | str = "tuned",
        n_members: int = 4,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: str = "silu",
        dropout: float = 0.4,
        feature_noise: float = 0.5,
        mixup: float = 0.5,
        max_sparse_features: int | None = 8192,
        module: Any = None,
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: float = 2e-3,
        weight_decay: float = 0.03,
        optimizer: Any = "adamw",
        schedule: str = "one_cycle",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        neighbor_weight: float = 0.5,
        neighbor_temperature: float = 0.06,
        linear_weight: float | str = "auto",
        linear_C: float | str = "cv",
        prior_count: float = 2.0,
        threshold: Any = 0.5,
        calibration: str | None = None,
        device: Any = "auto",
        precision: str = "float32",
        compile: bool = False,
        callbacks: list[Any] | None = None,
        net_params: dict[str, Any] | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        random_state: Any = None,
        missing_label: float = np.nan,
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            module=module,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            optimizer=optimizer,
            schedule=schedule,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            neighbor_weight=neighbor_weight,
            neighbor_temperature=neighbor_temperature,
            linear_weight=linear_weight,
            linear_C=linear_C,
            prior_count=prior_count,
            threshold=threshold,
            calibration=calibration,
            device=device,
            precision=precision,
            compile=compile,
            callbacks=callbacks,
            net_params=net_params,
            warm_start=warm_start,
            verbose=verbose,
            random_state=random_state,
            missing_label=missing_label,
            class_weight=class_weight,
            n_members=n_members,
            feature_noise=feature_noise,
            mixup=mixup,
            max_sparse_features=max_sparse_features,
        )
        self.loss = loss
        self.pal_norm = pal_norm
        self.empty_rows = empty_rows
        self.label_smoothing = label_smoothing
        self.feature_decay = feature_decay
        self.classifier = classifier
        self.feature_dim = feature_dim
        self.decision = decision
        self.onn_variant = onn_variant
        self.onn_prior = onn_prior

    @property
    def _needs_decoder(self) -> bool:
        return self.loss == "pal" or self.decision in ("onn", "auto")

    @property
    def _decides_on_held_out(self) -> bool:
        tuned = self._needs_decoder or self.decision == "topk"
        return tuned or super()._decides_on_held_out

    def _make_encoder(self, n_features: int) -> nn.Module:
        encoder = super()._make_encoder(n_features)
        n_outputs = self.feature_dim
        if n_outputs is None and self.classifier == "etf":
            n_outputs = max(self._n_logits - 1, 1)
        if n_outputs is None:
            return encoder
        # Linear, not rectified: features must be able to point along every row of the frame.
        width = embedding_width(encoder, n_features, self.n_members)
        return nn.Sequential(encoder, linear(width, n_outputs, self.n_members))

    @property
    def _n_logits(self) -> int:
        """One per label, and one more where rows without a label are a class of their own."""
        none_class = self.loss == "pal" and self.empty_rows == "none_class"
        return self._format.n_labels + int(none_class)

    def _make_objective(
        self, n_embedding: int, log_odds: np.ndarray, labels_known: bool
    ) -> nn.Module:
        log_odds = np.append(log_odds, np.zeros(self._n_logits - len(log_odds)))
        head: Head
        if self.classifier == "etf":
            head = FixedETFHead(n_embedding, log_odds, learn_scale=self.loss != "pal")
        else:
            head = linear_head(n_embedding, log_odds, self.n_members)
        return LogitObjective(head, self._make_loss(), self.feature_decay)

    def _make_loss(self) -> nn.Module:
        if isinstance(self.loss, nn.Module):
            return copy.deepcopy(self.loss)
        if self.loss != "pal":
            return LOGIT_LOSSES[self.loss]()
        if self._format.n_labels < 2:
            raise ValueError(
                "loss='pal' is a softmax over labels and constant for a single one; "
                "expected at least 2 labels. Use loss='bce'."
            )
        return PickAllLabelLoss(self.pal_norm, self.empty_rows, self.label_smoothing)

    def _fit_heads(
        self, net: IndexBatchNet, embedding: RowEmbedding, rows: Rows
    ) -> tuple[np.ndarray, np.ndarray]:
        coef, intercept = head_arrays(net.criterion_.head, net.n_members)
        n_labels = self._format.n_labels
        return coef[:n_labels], intercept[:n_labels]

    def _keep_fit(
        self, net: IndexBatchNet, train: Rows, valid: Rows | None, plan: TrainingPlan, seed: int
    ) -> None:
        self.decoder_: ONNDecoder | None = None
        super()._keep_fit(net, train, valid, plan, seed)

    def _keep_decisions(self, embedding: RowEmbedding, train: Rows, valid: Rows | None) -> None:
        if self._needs_decoder and valid is not None:
            X_valid, Y_valid, _ = valid
            self.decoder_ = fit_onn_decoder(
                embedding.all(),
                train[1],
                sample_weight=row_weights(*train[1:]),
                variant=self.onn_variant,
                validation=(self._embed(X_valid), Y_valid),
            )
        super()._keep_decisions(embedding, train, valid)
        self.decision_ = Decision("threshold")
        if self.decision == "threshold" or self._format.kind != "multilabel" or valid is None:
            return
        held_out = self._held_out(valid)
        if self.decision == "auto" and not isinstance(self.threshold, str):
            self.threshold_ = common_threshold(held_out, "f1_micro")
        self.decision_ = tuned_decision(
            self.decision, self.decoder_, held_out, self.threshold_, self.onn_prior
        )

    def _head_logits(self, embedding: np.ndarray) -> np.ndarray:
        if self.loss != "pal" or self.decoder_ is None:
            return super()._head_logits(embedding)
        marginals = self.decoder_.marginals(embedding).astype(embedding.dtype)
        return logit(clip_open_interval(marginals))

    def _head_graph(self) -> nn.Module:
        if self.loss != "pal" or self.decoder_ is None:
            return super()._head_graph()
        return DecoderGraph(self.decoder_)

    @in_chosen_container
    def predict(self, X: Any) -> Any:
        """Return the label sets that the decision rule chooses.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            Rows to decide on.

        Returns
        -------
        labels : ndarray or CSR matrix of shape (n_samples, n_labels)
            Indicator matrix in the dtype and storage that the targets had (int64 where they had
            NaN); classes of shape (n_samples,) for 1-D targets.
        """
        check_is_fitted(self)
        if self.decision_.rule == "threshold":
            return super().predict(X)
        X = self._check_features(X, reset=False)
        parts = [
            self._decided(X[part]) for part in chunks(X.shape[0], self._chunk_rows(X.shape[1]))
        ]
        stack = sp.vstack if sp.issparse(parts[0]) else np.vstack
        return self._format.label_matrix(stack(parts))

    def _decided(self, X: Features) -> Any:
        return self.decision_.labels(self._embed(X), self._marginals_of(X), self._thresholds())

    def _thresholds(self) -> float | np.ndarray:
        return self.threshold_ if self.decision == "auto" else super()._thresholds()
