"""`cnn2d-fusion`: a 2D convolutional network on mel, MFCC, chroma and contrast stacked, 3 s at a time.

The author's baseline is a deeper Conv2D stack with BatchNorm, Dropout and L2. Left open were the
numbers: four blocks of 32 to 256 filters, dropout 0.3 and L2 1e-3 are the plainest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.families import Family, Suggest
from harness.features.extract import CHROMA, CONTRAST, MEL, MFCC
from harness.features.input_spec import FUSION_INPUT
from harness.models import Config, ModelInputs
from harness.records.study import Published
from search_spaces import common

if TYPE_CHECKING:
    import keras


def space(trial: Suggest, quick: bool) -> Config:
    trunk = common.trunk(trial, quick, blocks=(3, 6), kernels=(3, 5), branches=("one", "per_feature"))
    return {
        **trunk,
        **common.head(trial),
        **common.regularization(trial, own_norm=trunk["trunk"] == "efficientnet"),
        **common.spec_augment(trial, max_rows=24),
        **common.training(trial, quick),
    }


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    from harness.models import cnn2d

    per_feature = config.get("branches") == "per_feature"
    return cnn2d.build(config, shapes, rows=(MEL, MFCC, CHROMA, CONTRAST) if per_feature else ())


FAMILY = Family(
    name="cnn2d-fusion",
    description="2D CNN on mel + MFCC + chroma + contrast",
    input_spec=FUSION_INPUT,
    space=space,
    baseline={
        "trunk": "blocks",
        "blocks": 4,
        "width": 32,
        "convolutions": 1,
        "kernel": 3,
        "residual": False,
        "squeeze_excitation": False,
        "branches": "one",
        "head": "flatten",
        "dense_units": 128,
        "dropout": 0.3,
        "l2": True,
        "l2_weight": 1e-3,
        "batch_norm": True,
        "batch_norm_momentum": 0.99,
        "spec_augment": False,
        **common.BASELINE_TRAINING,
    },
    build=build,
    published=Published(
        accuracy=0.61, macro_f1=0.59, limitation="out of memory beyond batch 8; slow; no deeper nets, no EfficientNet"
    ),
)
