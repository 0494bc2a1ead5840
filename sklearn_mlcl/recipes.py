"""Published and simple settings, as plain dicts of constructor arguments.

>>> from sklearn_mlcl import ContrastiveMultiLabelClassifier, recipes
>>> clf = ContrastiveMultiLabelClassifier(**recipes.TWO_STAGE, random_state=0)

A recipe may hold the dicts ``loss_params`` and ``net_params``. To change one key of them, set it
after the recipe:

>>> clf = clf.set_params(net_params__projection_dim=128)
"""

from __future__ import annotations

from typing import Any

#: One net on the samples as they are: no ensemble, no noise, no mixup, no bins, no pseudo-count
#: and no logistic regressions on the features. It learns from all samples and for all epochs, and
#: nothing is chosen: neighbours have half the weight, and labels are predicted from 0.5 on.
PLAIN: dict[str, Any] = {
    "threshold": 0.5,
    "n_estimators": 1,
    "max_epochs": 30,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "feature_noise": 0.0,
    "validation": None,
    "early_stopping": False,
    "neighbor_weight": 0.5,
    "linear_weight": 0.0,
    "net_params": {"mixup": 0.0, "n_bins": 0, "pseudo_count": 0.0, "schedule": "one_cycle"},
}

#: The two stages of arXiv:2412.00101. Stage one trains the encoder by the regularised loss with
#: prototypes. Stage two fits one logistic regression per label and chooses C for each label.
#: Temperature, alpha, width of the projection and weight decay are those of the released code.
#: Encoder, epochs and learning rate are ours: the release trains transformers and ResNets.
TWO_STAGE: dict[str, Any] = {
    **PLAIN,
    "loss": "reg",
    "temperature": 0.1,
    "lambda_reg": 1.0,
    "lambda_joint": 0.0,
    "head_C": "cv",
    "weight_decay": 0.01,
    "neighbor_weight": 0.0,
    "loss_params": {"alpha": 0.0},
    "net_params": {**PLAIN["net_params"], "projection_dim": 256},
}

#: :data:`TWO_STAGE` with the loss of arXiv:2404.08720: temperature 0.1, beta 0.1, no clamp.
MSC: dict[str, Any] = {
    **TWO_STAGE,
    "loss": "msc",
    "lambda_reg": 0.0,
    "loss_params": {"beta": 0.1},
}

#: A fast fit of :class:`~sklearn_mlcl.ContrastiveMultiLabelClassifier` or
#: :class:`~sklearn_mlcl.MultiLabelMLPClassifier`: one net, and at most 20 epochs. What
#: the defaults choose is chosen on a tenth of the samples.
FAST: dict[str, Any] = {
    "n_estimators": 1,
    "max_epochs": 20,
}

#: Fine-tuning of a pretrained encoder with :class:`~sklearn_mlcl.ContrastiveMultiLabelClassifier`;
#: add ``module=``. The contrastive loss trains the encoder beside the cross-entropy of a joint
#: head. Logistic regressions on the trained embedding predict. The rates were chosen on held-out
#: titles of papers (28 labels, 800 samples), with a sentence encoder of 22 million parameters. More
#: samples need fewer epochs.
FINETUNE: dict[str, Any] = {
    "scale_input": False,
    "loss": "reg",
    "temperature": 0.2,
    "lambda_joint": 2.0,
    "head": "logistic",
    "head_C": 0.01,
    "n_estimators": 1,
    "max_epochs": 6,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "early_stopping": False,
    "net_params": {
        "encoder_lr": 1e-4,
        "grad_clip": 1.0,
        "schedule": "one_cycle",
        "pseudo_count": 0.0,
    },
}

#: The pick-all-label loss of arXiv:2310.15903 for :class:`~sklearn_mlcl.MultiLabelMLPClassifier`.
#: Features collapse under it. The loss is summed over the labels and has the feature penalty of the
#: released code: 0.001 times the summed squares of 128 samples. Learning rate, weight decay and
#: epochs were tuned on held-out digits; the release trains ResNets for 200 epochs by SGD. Held-out
#: samples give the spread of the features and scale the probabilities; no step learns from them.
#: To decide by the nearest prototype without a prior, add
#: ``decision=NearestLabelSetClassifier(prior=0.0)``. For the fixed simplex classifier, add
#: ``classifier="etf"`` and set ``net_params__feature_dim=None``.
PAL_COLLAPSE: dict[str, Any] = {
    **PLAIN,
    "loss": "pal",
    "dropout": 0.0,
    "learning_rate": 5e-3,
    "weight_decay": 1.0,
    "max_epochs": 60,
    "validation": 0.15,
    "neighbor_weight": 0.0,
    "loss_params": {"pal_norm": "sum", "feature_decay": 0.128},
    "net_params": {**PLAIN["net_params"], "feature_dim": 64},
}

#: The released model of arXiv:2112.00976 (ICML 2022) for :class:`~sklearn_mlcl.CGMVAEClassifier`:
#: its weights, Adam, its schedule and 90 epochs on unscaled features. The release keeps the epoch
#: with the best macro-F1 on a validation split; ``benchmarks/study_cgmvae.py`` has a callback for
#: that. The KL weight of the release makes all label Gaussians equal.
CGMVAE_PAPER: dict[str, Any] = {
    "threshold": 0.5,
    "validation": None,
    "early_stopping": False,
    "temperature": 1.0,
    "lambda_bce": 0.5,
    "lambda_kl": 6.0,
    "lambda_contrastive": 1.0,
    "head": "inner_product",
    "hidden_layer_sizes": (256, 512, 256),
    "activation": "relu",
    "dropout": 0.5,
    "feature_noise": 0.0,
    "scale_input": False,
    "learning_rate": 2e-3,
    "weight_decay": 1e-5,
    "max_epochs": 90,
    "batch_size": 128,
    "neighbor_weight": 0.0,
    "loss_params": {
        "n_latent_samples": 2,
        "label_branch": True,
        "kl_estimator": "mc",
        "kl_warmup_epochs": 0,
        "free_bits": 0.0,
    },
    "net_params": {
        "latent_dim": 64,
        "embedding_dim": 2048,
        "label_hidden_layer_sizes": (512, 256),
        "decoder_hidden": 512,
        "layer_norm": False,
        "concat_input": True,
        "label_bias": False,
        "optimizer": "adam",
        "schedule": "warm_restarts",
    },
}
