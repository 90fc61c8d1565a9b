"""`cnn1d-raw`: an M5-style 1D convolutional network on the waveform, 5 s at a time.

The author's baseline is an M5-style Conv1D stack (Dai et al., "Very deep convolutional neural networks
for raw waveforms", ICASSP 2017): a first kernel of 80 samples with stride 4, then kernels of 3, each
followed by a pooling of 4. Left open was the width: 32, doubled twice, is the plainest that fits a
batch of 8. Its last layer sees 80 ms of audio; every further stage, and a stride of 16, widens that four
times, up to the whole crop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.families import Family, Suggest
from harness.features.input_spec import WAVEFORM_INPUT
from harness.models import Config, ModelInputs
from harness.records.base import Value
from harness.records.study import Published
from search_spaces import common

if TYPE_CHECKING:
    import keras


def space(trial: Suggest, quick: bool) -> Config:
    config: dict[str, Value] = {
        "first_kernel": trial.suggest_categorical("first_kernel", [40, 80, 160]),
        "first_stride": trial.suggest_categorical("first_stride", [4, 8, 16]),
        "stages": trial.suggest_int("stages", 4, 5 if quick else 7),
        "width": trial.suggest_int("width", 16, 32 if quick else 128, step=16),
        "residual": trial.suggest_categorical("residual", [False, True]),
        "spatial_dropout": trial.suggest_float("spatial_dropout", 0.0, 0.3),
        "wave_augment": trial.suggest_categorical("wave_augment", [False, True]),
    }
    if config["wave_augment"]:
        config["gain_db"] = trial.suggest_float("gain_db", 0.0, 12.0)
        config["shift_seconds"] = trial.suggest_float("shift_seconds", 0.0, 0.5)
    return {
        **config,
        **common.head(trial),
        **common.regularization(trial),
        **common.training(trial, quick),
    }


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    from harness.models import cnn1d

    return cnn1d.build(config, shapes)


FAMILY = Family(
    name="cnn1d-raw",
    description="M5-style 1D CNN on raw audio",
    input_spec=WAVEFORM_INPUT,
    space=space,
    baseline={
        "first_kernel": 80,
        "first_stride": 4,
        "stages": 4,
        "width": 32,
        "residual": False,
        "spatial_dropout": 0.0,
        "wave_augment": False,
        "head": "flatten",
        "dense_units": 0,
        "dropout": 0.0,
        "l2": False,
        "batch_norm": True,
        "batch_norm_momentum": 0.99,
        **common.BASELINE_TRAINING,
    },
    build=build,
    published=Published(accuracy=0.17, macro_f1=0.15, limitation="learnt little; input length limits batch and depth"),
)
