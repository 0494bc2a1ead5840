"""The encoder trained end to end: the reference for contrastive training."""

from __future__ import annotations

import copy
from numbers import Real
from typing import Any

import numpy as np
from torch import nn

from sklearn_mlcl.collapse import fit_onn_decoder
from sklearn_mlcl.estimators.encoders import joint_head, probe_of, scaled_encoder
from sklearn_mlcl.estimators.nearest_label_set import NearestLabelSetClassifier
from sklearn_mlcl.estimators.net import NetClassifier
from sklearn_mlcl.estimators.net_parameters import ENSEMBLE_KEYS, LINEAR_WEIGHT, N_ESTIMATORS
from sklearn_mlcl.estimators.task import Heads, Specification, Task
from sklearn_mlcl.heads.evaluation import CachedEmbedding
from sklearn_mlcl.heads.held_out import DECISIONS
from sklearn_mlcl.heads.predictor import AffineHead, DecoderHead
from sklearn_mlcl.losses import LOGIT_LOSSES, PickAllLabelLoss
from sklearn_mlcl.modules import embedding_width
from sklearn_mlcl.modules._encoder import Head, etf_head, linear_head
from sklearn_mlcl.training import LogitObjective
from sklearn_mlcl.utils._sklearn_compat import StrOptions
from sklearn_mlcl.utils.parameters import (
    AT_LEAST_0,
    AT_LEAST_1,
    SHARE,
    Interval,
    named_in_errors,
    options,
    param,
    setting,
)


@named_in_errors
class MultiLabelMLPClassifier(NetClassifier):
    r"""Multi-layer perceptron with one logit per label, trained end to end.

    Minimises over the encoder :math:`h` and a linear head :math:`(W, b)`

    .. math:: \frac{1}{n} \sum_i \ell(W h(x_i) + b, \; y_i)

    with :math:`\ell` the binary cross-entropy of all labels, or another loss on logits. Encoder,
    optimizer, schedule and early stopping are those of
    :class:`~sklearn_mlcl.ContrastiveMultiLabelClassifier`. The two differ in the objective only.

    Parameters
    ----------
    loss : {"bce", "asl", "focal", "zlpr", "two_way", "pal"} or torch.nn.Module
        Loss on the logits: binary cross-entropy, the asymmetric loss, the focal loss, ZLPR, the
        two-way loss, or pick-all-label; see :mod:`sklearn_mlcl.losses`. A module of your own is
        called as ``loss(logits, labels, sample_weight)``.
    classifier : {"linear", "etf"}
        Trained linear head, or rows fixed to a simplex equiangular tight frame.
    decision : {"threshold", "onn", "topk", "auto"} or NearestLabelSetClassifier
        Rule of :meth:`predict` for label matrices. "threshold" uses ``threshold``. "onn" predicts
        the label set with the nearest prototype [2]_. "topk" predicts the same number of labels for
        each sample. "auto" compares them on held-out samples, and takes the tuned threshold unless
        another rule is clearly better. All except "threshold" hold out ``validation``. An unfitted
        :class:`~sklearn_mlcl.collapse.NearestLabelSetClassifier` is "onn" with its ``variant``,
        ``max_labels`` and ``prior``.

    Other Parameters
    ----------------
    loss_params : dict or None
        Rare settings of the loss, by key; a grid reaches them as ``loss_params__pal_norm``.

        - ``empty_rows`` : {"ignore", "none_class", "uniform", "error"}
          How the pick-all-label loss treats samples without a label.
        - ``feature_decay`` : float
          Weight of the mean squared norm of the embeddings, for every loss. Together with weight
          decay it makes features collapse.
        - ``label_smoothing`` : float
          Mass that the pick-all-label loss spreads over all labels, in [0, 1).
        - ``pal_norm`` : {"mean", "sum"} or float in [0, 1]
          Weight of a sample with m labels in the pick-all-label loss. "mean" is 1/m, "sum" is 1,
          and a number p is m ** -p.
    net_params : dict or None
        - ``feature_dim`` : int or None
          Width of a linear layer behind the encoder, whose output is the embedding. With None the
          linear head has no such layer. The fixed frame then has one of width n_labels - 1, the
          smallest possible.

    Attributes
    ----------
    decision_ : Decision
        The rule that :meth:`predict` uses.
    decoder_ : ONNDecoder or None
        Prototypes of the label sets, for ``loss="pal"`` and the decisions that need them.
    head_C_ : ndarray of shape (n_labels,)
        The C of each logistic head, only with refitted heads.
    refit_weight_ : float
        Share of the refitted heads in the log-odds of the head, only with refitted heads.
    {shared_attributes}

    See Also
    --------
    ContrastiveMultiLabelClassifier : The same encoder under a contrastive loss.
    MultiLabelLogisticRegression : The heads alone.

    Notes
    -----
    With ``loss="pal"`` the softmax is not the probability of a label. Probabilities are marginals
    of a Gaussian model of the features about the prototypes of the label sets. Its variance comes
    from held-out samples. If there are none, it comes from the training samples and is too small.

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
    >>> X, Y = make_multilabel_classification(
    ...     n_samples=200, n_classes=3, random_state=0
    ... )
    >>> mlp = MultiLabelMLPClassifier(max_epochs=5, random_state=0).fit(X, Y)
    >>> mlp.predict_proba(X).shape
    (200, 3)
    """

    loss: Any = param("bce", StrOptions(set(LOGIT_LOSSES)), nn.Module)
    classifier: str = param("linear", StrOptions({"linear", "etf"}))
    decision: Any = param("threshold", StrOptions(set(DECISIONS)), NearestLabelSetClassifier)
    n_estimators: int = N_ESTIMATORS
    loss_params: dict[str, Any] | None = options(
        pal_norm=param("mean", StrOptions({"mean", "sum"}), SHARE),
        empty_rows=param("ignore", StrOptions({"ignore", "none_class", "uniform", "error"})),
        label_smoothing=param(0.0, Interval(Real, 0, 1, closed="left")),
        feature_decay=param(0.0, AT_LEAST_0),
    )
    linear_weight: float | str = LINEAR_WEIGHT
    net_params: dict[str, Any] | None = options(
        **ENSEMBLE_KEYS, feature_dim=param(None, AT_LEAST_1, None)
    )

    def _specification(self) -> Specification:
        by_name = isinstance(self.decision, str)
        rule = self.decision if by_name else "onn"
        with_decoder = self.loss == "pal" or rule in ("onn", "auto")
        return Specification(
            _modules,
            joint_head,
            _with_decoder if with_decoder else _without_decoder,
            # With "pal" a decoder of label sets predicts, and a fixed frame has no better head.
            may_refit=self.loss != "pal" and self.classifier == "linear",
            # A decoder of label sets sees all members at once; those of an ETF share their biases.
            members_hold_out=not with_decoder and self.classifier != "etf",
            rule=rule,
            prior="tuned" if by_name else self.decision.prior,
        )


def _modules(clf: MultiLabelMLPClassifier, task: Task) -> tuple[nn.Module, LogitObjective]:
    """Return encoder and objective."""
    data = task.train
    # One logit more where samples without a label are a class of their own.
    none_class = clf.loss == "pal" and setting(clf, "empty_rows") == "none_class"
    log_odds = task.log_odds
    if none_class:
        log_odds = np.insert(log_odds, log_odds.shape[-1], 0.0, axis=-1)
    n_outputs = setting(clf, "feature_dim")
    if n_outputs is None and clf.classifier == "etf":
        n_outputs = max(log_odds.shape[-1] - 1, 1)
    encoder = scaled_encoder(clf, task, n_outputs)
    width = embedding_width(encoder, probe_of(clf, data), int(clf.n_estimators))
    head: Head
    if clf.classifier == "etf":
        if data.n_labels < 2:
            raise ValueError(
                "classifier='etf' needs at least 2 labels, got one. Use classifier='linear'."
            )
        head = etf_head(width, log_odds, learn_scale=clf.loss != "pal")
    else:
        head = linear_head(width, log_odds, int(clf.n_estimators))
    loss = _loss(clf, data.n_labels)
    return encoder, LogitObjective(head, loss, setting(clf, "feature_decay"))


def _loss(clf: MultiLabelMLPClassifier, n_labels: int) -> nn.Module:
    if isinstance(clf.loss, nn.Module):
        return copy.deepcopy(clf.loss)
    if clf.loss != "pal":
        return LOGIT_LOSSES[clf.loss]()
    if n_labels < 2:
        raise ValueError(
            "loss='pal' needs at least 2 labels, because it is constant for one. Use loss='bce'."
        )
    names = ("pal_norm", "empty_rows", "label_smoothing")
    return PickAllLabelLoss(*(setting(clf, name) for name in names))


def _with_decoder(
    clf: MultiLabelMLPClassifier,
    head: AffineHead,
    known: CachedEmbedding,
    own: np.ndarray | None,
    task: Task,
) -> Heads:
    """Return the head beside a decoder of label sets, or the decoder in its place."""
    asked = NearestLabelSetClassifier() if isinstance(clf.decision, str) else clf.decision
    judged = task.judged()
    decoder = fit_onn_decoder(
        known.all(),
        task.train.Y,
        sample_weight=task.train.row_weight,
        variant=asked.variant,
        max_labels=asked.max_labels,
        validation=None if own is None or judged is None else (own, judged.data.Y),
    )
    return Heads(DecoderHead(decoder) if clf.loss == "pal" else head, {"decoder_": decoder})


def _without_decoder(clf: MultiLabelMLPClassifier, head: AffineHead, *_: Any) -> Heads:
    return Heads(head, {"decoder_": None})
