"""Contrastive multi-label classification: a contrastive encoder, heads on its embedding."""

from __future__ import annotations

import copy
from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_mlcl.estimators.encoders import joint_head, probe_of, scaled_encoder
from sklearn_mlcl.estimators.net import NetClassifier
from sklearn_mlcl.estimators.net_parameters import ENSEMBLE_KEYS, LINEAR_WEIGHT, N_ESTIMATORS
from sklearn_mlcl.estimators.task import Specification, Task
from sklearn_mlcl.losses import CONTRASTIVE_LOSSES, LOGIT_LOSSES, MemoryQueue
from sklearn_mlcl.modules import ProjectionHead, embedding_width
from sklearn_mlcl.modules._encoder import linear_head
from sklearn_mlcl.training import ContrastiveObjective
from sklearn_mlcl.training._parallel import is_first
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.parameters import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    COUNT,
    NUMBER,
    STRENGTH,
    Interval,
    named_in_errors,
    options,
    options_of,
    param,
    setting,
)

#: Labels up to which "auto" takes the prototypes of all, and how many it draws beyond.
AUTO_LABELS, AUTO_NEGATIVES = 1_000, 512

HEAD_C = param(0.01, STRENGTH, StrOptions({"cv"}), "array-like")


@named_in_errors
class ContrastiveMultiLabelClassifier(NetClassifier):
    r"""Contrastive encoder, with a head per label on its embedding.

    A contrastive loss over the pairs of a batch trains an encoder :math:`h` and a projection head
    :math:`g`. Some losses also have trainable label prototypes :math:`P`. A linear head :math:`V`
    is trained at the same time by a joint loss on its logits, by default the cross-entropy:

    .. math::
        \min_{h, g, P, V} \; \lambda_{con} \, \mathcal{L}_{con}\big(g(h(X)), Y, P\big)
        + \lambda_{joint} \, \sum_l \mathcal{L}_{joint}\big(v_l \cdot h(X), Y_l\big)

    With ``lambda_joint=0`` there are two stages, as published. First the contrastive loss alone
    trains the encoder. Then the encoder is frozen, and each label :math:`l` gets a logistic
    regression on standardised embeddings:

    .. math::
        \min_{w, b} \; \tfrac12 \|w\|^2
        + C \sum_i \log(1 + e^{-\tilde y_{il} (w \cdot h(x_i) + b)})

    The probability of a label combines up to three parts: the head, the nearest training samples
    (``neighbor_weight``), and a logistic regression on the features (``linear_weight``).

    The default loss is the regularised one of [1]_ with label prototypes. ``lambda_reg=1`` removes
    the repulsion between positives from the gradient. :data:`sklearn_mlcl.recipes.TWO_STAGE` is the
    published recipe.

    Parameters
    ----------
    loss : str or torch.nn.Module
        Contrastive loss, by name: "reg", "jaccard", "any", "all", "multisupcon", "simdis",
        "mulsupcon", "proto" or "msc"; see :mod:`sklearn_mlcl.losses`. A module of your own is
        called as ``loss(projections, labels)``. ``prototypes=``, ``queue=`` and ``queue_labels=``,
        and ``sample_weight=`` are added if they are used. ``temperature`` and ``lambda_reg`` do not
        apply to it.
    temperature : float
        Divisor of the cosine similarities in the contrastive loss.
    lambda_reg : float
        Share of the repulsion between positives that is removed from the gradient, for every loss.
        1 is the regularised loss as published, and 0 is the plain loss.
    lambda_contrastive : float
        Weight of the contrastive loss.
    lambda_joint : float
        Weight of the loss on the logits of a linear head that is trained with the encoder,
        summed over the labels. 0 trains the encoder by the contrastive loss alone.

    Other Parameters
    ----------------
    loss_params : dict or None
        Rare settings of the loss, by key; a grid reaches them as ``loss_params__beta``.

        - ``alpha`` : float
          Overlap exponent of "reg". With 0 all shared labels have equal weight. Above 0, candidates
          with other labels weigh less. Below 0, only candidates without other labels count.
        - ``anchor_weighting`` : {"label", "sample"}
          Whether each label of a sample, or each sample, has equal weight in "mulsupcon".
        - ``beta`` : float
          Repulsion of instances relative to prototypes in "msc".
        - ``joint_loss`` : {"bce", "asl"}
          Loss of the jointly trained head: binary cross-entropy or the asymmetric loss.
        - ``n_negatives`` : int, "auto" or None
          Number of labels that are drawn for each batch from those absent from it ("reg", "msc",
          "proto"). Their prototypes, and their logits in the joint loss, represent all absent
          labels. None uses all labels. "auto" uses all of up to 1,000, and draws 512 of more.
        - ``overlap_threshold`` : float
          Smallest Jaccard overlap of a positive in "multisupcon".
        - ``prototypes`` : {"auto"} or bool
          Whether label prototypes are candidates. "auto" depends on the loss.
        - ``queue_size`` : int
          Number of projections of earlier batches that are candidates too.
    head : {"auto", "joint", "logistic"}
        Head that predicts: the linear head that is trained with the encoder, or logistic
        regressions on the frozen embedding. "auto" is "joint" if ``lambda_joint > 0``, else
        "logistic". With a ``module``, "auto" combines both (``refit_head`` of ``net_params``).
    net_params : dict or None
        - ``projection_dim`` : int or None
          Width of the projection. With None the loss compares the embeddings.

    Attributes
    ----------
    prototypes_ : ndarray of shape (n_labels, projection_dim)
        The label prototypes, of unit norm. With several members the shape is (n_estimators,
        n_labels, projection_dim). Only for losses with prototypes.
    n_negatives_ : int or None
        Number of absent labels that were drawn for each batch; None if all labels took part.
    head_C_ : ndarray of shape (n_labels,)
        The C of each logistic head, only with logistic or refitted heads.
    refit_weight_ : float
        Share of the refitted heads in the log-odds of the head, only with refitted heads.
    {shared_attributes}

    See Also
    --------
    MultiLabelMLPClassifier : The same encoder trained by a loss on logits alone.
    MultiLabelLogisticRegression : The heads alone.

    References
    ----------
    .. [1] A. Audibert, A. Gauffre, M.-R. Amini, "Multi-Label Contrastive Learning: A
       Comprehensive Study", arXiv:2412.00101, 2024.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import ContrastiveMultiLabelClassifier
    >>> X, Y = make_multilabel_classification(
    ...     n_samples=200, n_classes=3, random_state=0
    ... )
    >>> clf = ContrastiveMultiLabelClassifier(
    ...     n_estimators=2, max_epochs=5, random_state=0
    ... )
    >>> clf = clf.fit(X, Y)
    >>> clf.predict_proba(X).shape, clf.transform(X).shape
    ((200, 3), (200, 512))
    """

    loss: Any = param("reg", StrOptions(set(CONTRASTIVE_LOSSES)), nn.Module)
    temperature: float = param(0.2, ABOVE_0)
    lambda_reg: float = param(1.0, AT_LEAST_0)
    lambda_contrastive: float = param(1.0, AT_LEAST_0)
    lambda_joint: float = param(2.0, AT_LEAST_0)
    head_C: Any = HEAD_C
    n_estimators: int = N_ESTIMATORS
    loss_params: dict[str, Any] | None = options(
        alpha=param(0.0, NUMBER),
        beta=param(0.1, ABOVE_0),
        overlap_threshold=param(0.5, Interval(Real, 0, 1, closed="right")),
        anchor_weighting=param("label", StrOptions({"label", "sample"})),
        prototypes=param("auto", StrOptions({"auto"}), "boolean"),
        n_negatives=param("auto", COUNT, StrOptions({"auto"}), None),
        queue_size=param(0, COUNT),
        joint_loss=param("bce", StrOptions({"bce", "asl"})),
    )
    head: str = param("auto", StrOptions({"auto", "joint", "logistic"}))
    linear_weight: float | str = LINEAR_WEIGHT
    net_params: dict[str, Any] | None = options(
        **ENSEMBLE_KEYS, projection_dim=param(64, AT_LEAST_1, None)
    )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.head == "joint" and self.lambda_joint == 0:
            raise ValueError(
                "head='joint' is trained by the joint loss: lambda_joint must be > 0, got "
                f"{self.lambda_joint!r}."
            )
        loss = CONTRASTIVE_LOSSES.get(self.loss) if isinstance(self.loss, str) else self.loss
        if setting(self, "queue_size") > 0 and not getattr(loss, "accepts_queue", True):
            raise ValueError(
                f"loss={self.loss!r} takes no queue: loss_params__queue_size must be 0, got "
                f"{setting(self, 'queue_size')!r}."
            )
        asked = setting(self, "prototypes")
        if asked is True and not getattr(loss, "uses_prototypes", True):
            raise ValueError(
                f"loss={self.loss!r} has no prototypes: loss_params__prototypes must be False or "
                "'auto', got True."
            )
        if asked is False and getattr(loss, "requires_prototypes", False):
            raise ValueError(
                f"loss={self.loss!r} needs prototypes: loss_params__prototypes must be True or "
                "'auto', got False."
            )

    def _specification(self) -> Specification:
        with_logistic = self.lambda_joint == 0 or self.head == "logistic"
        # A head that is asked for by its name stands alone.
        named = self.head == "joint" and setting(self, "refit_head") == "auto"
        trained_head = None if with_logistic else joint_head
        return Specification(_modules, trained_head, may_refit=not named)

    @property
    def n_negatives_(self) -> int | None:
        """Absent labels that were drawn for each batch; None if all labels took part."""
        return getattr(self.net_.criterion_.loss, "n_negatives", None)

    @property
    def prototypes_(self) -> np.ndarray:
        """Unit rows of the trained prototypes, (n_labels, projection_dim), by member if several."""
        prototypes = self.net_.criterion_.prototypes
        if prototypes is None:
            raise AttributeError(f"loss={self.loss!r} was trained without prototypes.")
        return nn.functional.normalize(prototypes.detach(), dim=-1).cpu().numpy()


def _modules(
    clf: ContrastiveMultiLabelClassifier, task: Task
) -> tuple[nn.Module, ContrastiveObjective]:
    """Return encoder and objective."""
    data, n_members = task.train, int(clf.n_estimators)
    encoder = scaled_encoder(clf, task)
    width = embedding_width(encoder, probe_of(clf, data), n_members)
    projection_dim = setting(clf, "projection_dim")
    loss = _loss(clf, data.n_labels)
    with_prototypes = setting(clf, "prototypes")
    if with_prototypes == "auto":
        with_prototypes = getattr(loss, "uses_prototypes", False)
    projection: nn.Module = nn.Identity()
    if projection_dim is not None:
        projection = ProjectionHead(width, projection_dim, clf.activation, n_members)
    shape = (data.n_labels, projection_dim or width)
    return encoder, ContrastiveObjective(
        loss,
        projection,
        linear_head(width, task.log_odds, n_members),
        prototypes=_initial_prototypes(*shape, n_members) if with_prototypes else None,
        queue=_queue(setting(clf, "queue_size"), *shape, n_members, data.has_missing()),
        joint_loss=LOGIT_LOSSES[setting(clf, "joint_loss")](),
        lambda_contrastive=float(clf.lambda_contrastive),
        lambda_joint=float(clf.lambda_joint),
    )


def _loss(clf: ContrastiveMultiLabelClassifier, n_labels: int) -> nn.Module:
    if isinstance(clf.loss, nn.Module):
        return copy.deepcopy(clf.loss)
    factory = CONTRASTIVE_LOSSES[clf.loss]
    given = options_of(clf, "loss_params")
    chosen = {name: given[name] for name in signature(factory).parameters if name in given}
    if chosen.get("n_negatives") == "auto":
        chosen["n_negatives"] = AUTO_NEGATIVES if n_labels > AUTO_LABELS else None
    if clf.verbose and is_first() and chosen.get("n_negatives") is not None:
        print(
            f"Of {n_labels} labels, a batch learns those that its samples have and "
            f"{chosen['n_negatives']} others; loss_params__n_negatives=None takes all."
        )
    return factory(temperature=clf.temperature, lambda_reg=clf.lambda_reg, **chosen)


def _initial_prototypes(n_labels: int, n_projection: int, n_members: int) -> Tensor:
    members = [
        nn.init.xavier_uniform_(torch.empty(n_labels, n_projection)) for _ in range(n_members)
    ]
    return members[0] if n_members == 1 else torch.stack(members)


def _queue(
    size: int, n_labels: int, n_projection: int, n_members: int, has_missing: bool
) -> MemoryQueue | None:
    if size == 0:
        return None
    dtype = torch.float32 if has_missing else torch.bool
    return MemoryQueue(size, n_projection, n_labels, label_dtype=dtype, n_members=n_members)
