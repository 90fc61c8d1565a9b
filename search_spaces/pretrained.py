"""`pretrained`: a small network on the embedding that a frozen one makes of a track, 30 s at a time.

The baseline is the linear probe that embeddings are compared by: mean and deviation of every number over time, and
one linear layer. It is nobody's published configuration: its L2 is what scikit-learn's logistic regression has by
default on forty tracks, and at the learning rate of the other baselines it would still be learning after 30 epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.families import Family, Suggest
from harness.features.input_spec import InputSpec
from harness.models import Config, ModelInputs
from harness.records.base import Value
from search_spaces import common

if TYPE_CHECKING:
    import keras

POOLINGS = ("mean", "mean+deviation", "mean+max", "mean+deviation+max")


def space(trial: Suggest, quick: bool, embeddings: Sequence[str] = ("musicnn",)) -> Config:
    """Suggest an embedding among those that are available, and what is trained on it."""
    config: dict[str, Value] = {
        "embedding": trial.suggest_categorical("embedding", list(embeddings)),
        "pooling": trial.suggest_categorical("pooling", POOLINGS[:2] if quick else POOLINGS),
        "hidden_layers": trial.suggest_int("hidden_layers", 0, 1 if quick else 2),
    }
    if config["hidden_layers"]:
        config["units"] = trial.suggest_categorical("units", [64, 128] if quick else [64, 128, 256, 512])
    return {
        **config,
        **common.regularization(trial),
        # A network would have to embed every augmented copy first, which takes longer than all trials.
        **common.training(trial, quick, max_learning_rate=1e-2, augmented=False),
    }


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    from harness.models import dense

    return dense.build(config, shapes)


FAMILY = Family(
    name="pretrained",
    description="dense layers on the embedding of a frozen, pretrained network",
    # MusiCNN's: 200 numbers for each 3 s.
    input_spec=InputSpec("musicnn", "embedding", 0, 200, 10),
    space=space,
    baseline={
        "embedding": "musicnn",
        "pooling": "mean+deviation",
        "hidden_layers": 0,
        "dropout": 0.0,
        "l2": True,
        "l2_weight": 1e-2,
        "batch_norm": False,
        **common.BASELINE_TRAINING,
        "learning_rate": 3e-3,
    },
    build=build,
    uses_augmented_copies=False,
    optional=True,
)
