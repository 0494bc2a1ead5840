"""Settings with a source, as plain dicts of constructor arguments.

>>> from sklearn_mlcl import ContrastiveMultiLabelClassifier, recipes
>>> clf = ContrastiveMultiLabelClassifier(**recipes.TWO_STAGE, random_state=0)
"""

from __future__ import annotations

from typing import Any

#: One net and the rows as they are: without members, mixup, noise on the features
#: and logistic regressions on them, without a prior count, and with all features however wide.
PLAIN: dict[str, Any] = {
    "n_members": 1,
    "mixup": 0.0,
    "feature_noise": 0.0,
    "linear_weight": 0.0,
    "prior_count": 0.0,
    "max_sparse_features": None,
    "max_epochs": 30,
    "batch_size": 128,
}

#: The two stages of arXiv:2412.00101 and nothing else: the regularised loss with prototypes as its
#: released configuration has it (temperature 0.1, alpha 0, projection 256, AdamW with decay 0.01),
#: then one logistic regression per label with C chosen for each label. What the defaults add
#: (members, mixup, noise, a joint cross-entropy term, the vote of neighbours) is off. Encoder,
#: epochs and learning rate stay ours: the release trains transformers and ResNets.
TWO_STAGE: dict[str, Any] = {
    **PLAIN,
    "loss": "reg",
    "temperature": 0.1,
    "lambda_reg": 1.0,
    "alpha": 0.0,
    "projection_dim": 256,
    "weight_decay": 0.01,
    "lambda_bce": 0.0,
    "head_C": "cv",
    "neighbor_weight": 0.0,
}

#: The same with the loss of arXiv:2404.08720 (temperature 0.1, beta 0.1, no clamp) and its
#: fine-tuning by cross-entropy after the contrastive stage.
MSC_FINETUNED: dict[str, Any] = {
    **TWO_STAGE,
    "loss": "msc",
    "lambda_reg": 0.0,
    "beta": 0.1,
    "finetune": True,
}

#: For the impatient, with :class:`~sklearn_mlcl.ContrastiveMultiLabelClassifier` and
#: :class:`~sklearn_mlcl.MultiLabelMLPClassifier`: one net and half the epochs.
FAST: dict[str, Any] = {
    "n_members": 1,
    "max_epochs": 20,
}

#: For :class:`~sklearn_mlcl.MultiLabelMLPClassifier`: the published pick-all-label loss (arXiv
#: 2310.15903, sum over the labels) under which features collapse, with the feature penalty of its
#: released code (0.001 times the summed squares of 128 rows) and its nearest prototype without a
#: prior. Learning rate, decay and epochs were tuned on held-out digits; the release trains ResNets
#: for 200 epochs by SGD. Add ``decision="onn"`` to decide by the nearest prototype, and
#: ``classifier="etf", feature_dim=None`` for the fixed frame. More epochs fit better still.
PAL_COLLAPSE: dict[str, Any] = {
    **PLAIN,
    "loss": "pal",
    "pal_norm": "sum",
    "feature_decay": 0.128,
    "feature_dim": 64,
    "dropout": 0.0,
    "learning_rate": 5e-3,
    "weight_decay": 1.0,
    "max_epochs": 60,
    "validation_fraction": 0.15,
    "onn_prior": 0.0,
    "neighbor_weight": 0.0,
}

#: For :class:`~sklearn_mlcl.CGMVAEClassifier`: the released model of arXiv:2112.00976 (ICML 2022)
#: with the weights hard-coded there, its Adam, its schedule and its 90 epochs on raw features. The
#: release keeps the epoch with the best macro-F1 on a validation split, which is a callback's work
#: (``benchmarks/study_cgmvae.py`` has it). Its KL weight puts all label Gaussians onto one another.
CGMVAE_PAPER: dict[str, Any] = {
    "temperature": 1.0,
    "lambda_bce": 0.5,
    "lambda_kl": 6.0,
    "lambda_contrastive": 1.0,
    "latent_dim": 64,
    "embedding_dim": 2048,
    "hidden_layer_sizes": (256, 512, 256),
    "label_hidden_layer_sizes": (512, 256),
    "decoder_hidden": 512,
    "activation": "relu",
    "layer_norm": False,
    "scale_input": False,
    "feature_noise": 0.0,
    "dropout": 0.5,
    "n_latent_samples": 2,
    "label_branch": True,
    "concat_input": True,
    "kl_estimator": "mc",
    "kl_warmup_epochs": 0,
    "free_bits": 0.0,
    "label_bias": False,
    "head": "inner_product",
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "weight_decay": 1e-5,
    "schedule": "warm_restarts",
    "max_epochs": 90,
    "batch_size": 128,
    "neighbor_weight": 0.0,
}
