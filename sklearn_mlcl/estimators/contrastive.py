"""Contrastive multi-label classification in two stages: encoder, then logistic heads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_mlcl.estimators._docs import fill_shared_parameters
from sklearn_mlcl.estimators.net import NetClassifier
from sklearn_mlcl.heads.evaluation import RowEmbedding
from sklearn_mlcl.heads.logistic import fit_embedding_heads
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, MemoryQueue
from sklearn_mlcl.modules import ProjectionHead
from sklearn_mlcl.modules._heads import head_arrays, linear_head
from sklearn_mlcl.training import ContrastiveObjective, IndexBatchNet
from sklearn_mlcl.utils._sklearn_compat import Interval, StrOptions
from sklearn_mlcl.utils.fit_data import Rows, all_known


@fill_shared_parameters
class ContrastiveMultiLabelClassifier(NetClassifier):
    r"""Contrastive encoder, then one logistic regression per label on its embedding.

    Stage one trains an encoder :math:`h` and a projection head :math:`g` by a contrastive loss
    over the pairs of a batch and, for losses that have them, trainable label prototypes
    :math:`P`; a cross-entropy term may be added:

    .. math::
        \min_{h, g, P, V} \; \mathcal{L}_{con}\big(g(h(X)), Y, P\big)
        + \lambda_{bce} \, \sum_l \mathcal{L}_{bce}\big(v_l \cdot h(X), Y_l\big)

    Stage two freezes the encoder and solves, for every label :math:`l`, on standardised
    embeddings

    .. math::
        \min_{w, b} \; \tfrac12 \|w\|^2
        + C \sum_i \log(1 + e^{-\tilde y_{il} (w \cdot h(x_i) + b)})

    The probability of a label is that of its head, blended with a vote of the training rows near
    by: a kernel regression of the labels on cosines of embeddings (``neighbor_weight``). Its
    log-odds are blended with those of a logistic regression on the features themselves
    (``linear_weight``), and raised for labels of few rows (``prior_count``).

    The default loss is that of [1]_, with label prototypes. What it is named for, a clamp that
    takes the repulsion between positives out of the gradient, is a parameter here, ``lambda_reg``,
    for every loss; :data:`sklearn_mlcl.recipes.TWO_STAGE` is the published recipe whole.

    Parameters
    ----------
    loss : {contrastive_loss_names} or torch.nn.Module, default="reg"
        Contrastive loss of stage one; see :mod:`sklearn_mlcl.losses`. A module of your own is
        called as ``loss(projections, labels)``, with ``prototypes=``, ``queue=`` and
        ``queue_labels=``, ``sample_weight=`` added where they apply, and brings its own
        temperature and clamp.
    temperature : float, default=0.2
        Divides the cosine similarities.
    lambda_reg : float, default=0.0
        Share of the repulsion between positives that is removed from the gradient, for every
        loss: 1 is the regularised loss as published, 0 the plain loss, which does better here
        more often than not.
    alpha : float, default=0.0
        Overlap exponent of "reg": 0 lets every shared label count alike, above 0 discounts
        candidates with foreign labels, below 0 keeps those without any.
    beta : float, default=0.1
        Repulsion of instances relative to prototypes in "msc".
    overlap_threshold : float, default=0.5
        Smallest Jaccard overlap of a positive in "multisupcon".
    anchor_weighting : {"label", "sample"}, default="label"
        Whether in "mulsupcon" every label of a row or every row weighs the same.
    prototypes : {"auto"} or bool, default="auto"
        Whether trainable label prototypes are candidates; "auto" where the loss has them.
    n_negatives : int or None, default=None
        Prototypes of absent labels drawn a batch, for very many labels ("reg", "msc", "proto");
        None takes all.
    queue_size : int, default=0
        Projections of past batches that stay candidates.
    lambda_bce : float, default=2.0
        Weight of the cross-entropy, summed over the labels; 0 is the published two-stage recipe.
    finetune : bool, default=False
        After the contrastive stage train encoder and a linear head by cross-entropy for another
        ``max_epochs``; that head replaces the logistic ones.
    projection_dim : int or None, default=64
        Width of the projection; None compares the embeddings themselves.
    head : {"auto", "joint", "logistic"}, default="auto"
        Whose probabilities count: those of the linear head that the cross-entropy trains with the
        encoder, or of logistic regressions on the frozen embedding. "auto" is "joint" where there
        is one, that is with ``lambda_bce > 0``. ``finetune=True`` always takes its own.
    head_C : float, array-like of shape (n_labels,) or "cv", default=0.01
        Inverse regularisation of the logistic heads; "cv" chooses it per label by
        cross-validation on the embedding.
    {shared_parameters}

    Attributes
    ----------
    prototypes_ : ndarray of shape (n_labels, projection_dim)
        Unit rows, the label prototypes; only for losses that have them.
    head_C_ : ndarray of shape (n_labels,)
        The C of each logistic head; not with ``finetune=True``.
    {shared_attributes}

    See Also
    --------
    MultiLabelMLPClassifier : The same encoder trained by cross-entropy alone.
    MultiLabelLogisticRegression : The heads alone.

    References
    ----------
    .. [1] A. Audibert, A. Gauffre, M.-R. Amini, "Multi-Label Contrastive Learning: A
       Comprehensive Study", arXiv:2412.00101, 2024.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import ContrastiveMultiLabelClassifier
    >>> X, Y = make_multilabel_classification(n_samples=200, n_classes=3, random_state=0)
    >>> clf = ContrastiveMultiLabelClassifier(n_members=2, max_epochs=5, random_state=0).fit(X, Y)
    >>> clf.predict_proba(X).shape, clf.transform(X).shape
    ((200, 3), (200, 512))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetClassifier._parameter_constraints,
        "loss": [StrOptions(set(CONTRASTIVE_LOSSES)), nn.Module],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "lambda_reg": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, None, None, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "overlap_threshold": [Interval(Real, 0, 1, closed="right")],
        "anchor_weighting": [StrOptions({"label", "sample"})],
        "prototypes": [StrOptions({"auto"}), "boolean"],
        "n_negatives": [Interval(Integral, 0, None, closed="left"), None],
        "queue_size": [Interval(Integral, 0, None, closed="left")],
        "lambda_bce": [Interval(Real, 0, None, closed="left")],
        "finetune": ["boolean"],
        "projection_dim": [Interval(Integral, 1, None, closed="left"), None],
        "head": [StrOptions({"auto", "joint", "logistic"})],
        "head_C": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"}), "array-like"],
    }

    def __init__(
        self,
        *,
        loss: str | nn.Module = "reg",
        temperature: float = 0.2,
        lambda_reg: float = 0.0,
        alpha: float = 0.0,
        beta: float = 0.1,
        overlap_threshold: float = 0.5,
        anchor_weighting: str = "label",
        prototypes: str | bool = "auto",
        n_negatives: int | None = None,
        queue_size: int = 0,
        lambda_bce: float = 2.0,
        finetune: bool = False,
        projection_dim: int | None = 64,
        head: str = "auto",
        head_C: Any = 0.01,
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
        self.temperature = temperature
        self.lambda_reg = lambda_reg
        self.alpha = alpha
        self.beta = beta
        self.overlap_threshold = overlap_threshold
        self.anchor_weighting = anchor_weighting
        self.prototypes = prototypes
        self.n_negatives = n_negatives
        self.queue_size = queue_size
        self.lambda_bce = lambda_bce
        self.finetune = finetune
        self.projection_dim = projection_dim
        self.head = head
        self.head_C = head_C

    @property
    def _n_stages(self) -> int:
        return 2 if self.finetune else 1

    def _make_loss(self) -> nn.Module:
        if isinstance(self.loss, nn.Module):
            return copy.deepcopy(self.loss)
        factory = CONTRASTIVE_LOSSES[self.loss]
        options = {name: getattr(self, name) for name in factory.options if hasattr(self, name)}
        return factory(temperature=self.temperature, lambda_reg=self.lambda_reg, **options)

    def _make_objective(
        self, n_embedding: int, log_odds: np.ndarray, labels_known: bool
    ) -> nn.Module:
        n_projection, n_labels = self.projection_dim or n_embedding, len(log_odds)
        loss = self._make_loss()
        with_prototypes = self.prototypes
        if self.prototypes == "auto":
            with_prototypes = getattr(loss, "uses_prototypes", False)
        return ContrastiveObjective(
            loss,
            self._make_projection(n_embedding),
            linear_head(n_embedding, log_odds, self.n_members),
            prototypes=self._initial_prototypes(n_labels, n_projection)
            if with_prototypes
            else None,
            queue=self._make_queue(n_projection, n_labels, labels_known),
            lambda_bce=self.lambda_bce,
            labels_known=labels_known,
        )

    def _adopted(self, net: IndexBatchNet, rows: Any) -> IndexBatchNet:
        net.criterion_.labels_known = all_known(rows[1])
        return super()._adopted(net, rows)

    def _initial_prototypes(self, n_labels: int, n_projection: int) -> Tensor:
        members = [
            nn.init.xavier_uniform_(torch.empty(n_labels, n_projection))
            for _ in range(self.n_members)
        ]
        return members[0] if self.n_members == 1 else torch.stack(members)

    def _make_projection(self, n_embedding: int) -> nn.Module:
        if self.projection_dim is None:
            return nn.Identity()
        return ProjectionHead(n_embedding, self.projection_dim, self.activation, self.n_members)

    def _make_queue(
        self, n_projection: int, n_labels: int, labels_known: bool
    ) -> MemoryQueue | None:
        if self.queue_size == 0:
            return None
        dtype = torch.bool if labels_known else torch.float32
        return MemoryQueue(
            self.queue_size,
            n_projection,
            n_labels,
            label_dtype=dtype,
            n_members=self.n_members,
        )

    @property
    def _has_joint_head(self) -> bool:
        """Whether probabilities come from the head that was trained with the encoder."""
        return self.finetune or (self.lambda_bce > 0 and self.head != "logistic")

    def _train(self, *args: Any) -> None:
        if self.head == "joint" and not self._has_joint_head:
            raise ValueError(
                "head='joint' is trained by the cross-entropy: lambda_bce must be > 0, got "
                f"{self.lambda_bce!r}."
            )
        super()._train(*args)

    def _run_epochs(self, net: IndexBatchNet, *args: Any) -> None:
        net.criterion_.finetuning = False
        super()._run_epochs(net, *args)
        if self.finetune:
            net.criterion_.finetuning = True
            net.initialize_optimizer()
            super()._run_epochs(net, *args)

    def _fit_heads(
        self, net: IndexBatchNet, embedding: RowEmbedding, rows: Rows
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._has_joint_head:
            return head_arrays(net.criterion_.head, net.n_members)
        heads = fit_embedding_heads(embedding.all(), *rows[1:], self.head_C)
        self.head_C_ = heads.C
        return heads.coef, heads.intercept

    @property
    def prototypes_(self) -> np.ndarray:
        """Unit rows of the trained prototypes, (n_labels, projection_dim), by member if several."""
        prototypes = self.net_.criterion_.prototypes
        if prototypes is None:
            raise AttributeError(f"loss={self.loss!r} was trained without prototypes.")
        return nn.functional.normalize(prototypes.detach(), dim=-1).numpy()
