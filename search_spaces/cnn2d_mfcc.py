"""`cnn2d-mfcc`: a 2D convolutional network on 40 MFCCs, 3 s at a time.

The author's baseline is two Conv2D + MaxPooling, Flatten, Dense. Left open were widths, kernel and
dropout: 32 and 64 filters of 3 x 3, 64 dense units, and no dropout are the plainest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.families import Family, Suggest
from harness.features.input_spec import MFCC_INPUT
from harness.models import Config, ModelInputs
from harness.records.study import Published
from search_spaces import common

if TYPE_CHECKING:
    import keras


def space(trial: Suggest, quick: bool) -> Config:
    trunk = common.trunk(trial, quick, blocks=(2, 5), kernels=(3, 5))
    return {
        **trunk,
        **common.head(trial),
        **common.regularization(trial, own_norm=trunk["trunk"] == "efficientnet"),
        **common.spec_augment(trial, max_rows=8),
        **common.training(trial, quick),
    }


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    from harness.models import cnn2d

    return cnn2d.build(config, shapes)


FAMILY = Family(
    name="cnn2d-mfcc",
    description="2D CNN on MFCC",
    input_spec=MFCC_INPUT,
    space=space,
    baseline={
        "trunk": "blocks",
        "blocks": 2,
        "width": 32,
        "convolutions": 1,
        "kernel": 3,
        "residual": False,
        "squeeze_excitation": False,
        "head": "flatten",
        "dense_units": 64,
        "dropout": 0.0,
        "l2": False,
        "batch_norm": False,
        "spec_augment": False,
        **common.BASELINE_TRAINING,
    },
    build=build,
    published=Published(
        accuracy=0.35, macro_f1=0.33, limitation="overfit quickly; MFCC only; kept small for GPU memory"
    ),
)
