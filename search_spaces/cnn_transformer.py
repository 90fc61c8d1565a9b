"""`cnn-transformer`: a convolutional stem and Transformer encoder blocks on the stacked features, 3 s at a time.

The author's baseline is a Conv2D stem followed by Transformer encoder blocks. Left open were all
numbers: two stem blocks of 32 filters, width 128, two post-norm blocks of four heads, dropout 0.1 are the
plainest (post-norm is how the Transformer was published: Vaswani et al., "Attention is all you need", 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.families import Family, Suggest
from harness.features.input_spec import FUSION_INPUT
from harness.models import Config, ModelInputs
from harness.records.study import Published
from search_spaces import common

if TYPE_CHECKING:
    import keras


def space(trial: Suggest, quick: bool) -> Config:
    return {
        "stem_blocks": trial.suggest_int("stem_blocks", 2, 3 if quick else 4),
        "stem_width": trial.suggest_int("stem_width", 16, 32 if quick else 64, step=8),
        "width": trial.suggest_categorical("width", [64, 128] if quick else [64, 96, 128, 192]),
        "heads": trial.suggest_categorical("heads", [2, 4]),
        "layers": trial.suggest_int("layers", 1, 2 if quick else 3),
        "stochastic_depth": trial.suggest_float("stochastic_depth", 0.0, 0.2),
        "norm": trial.suggest_categorical("norm", ["pre", "post"]),
        "pooling": trial.suggest_categorical("pooling", ["flatten", "average", "attention"]),
        **common.regularization(trial, max_dropout=0.4),
        **common.spec_augment(trial, max_rows=24),
        **common.training(trial, quick, max_learning_rate=1e-3, warmup=(0.05, 0.15)),
    }


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    from harness.models import transformer

    return transformer.build(config, shapes)


FAMILY = Family(
    name="cnn-transformer",
    description="convolutional stem + Transformer encoder",
    input_spec=FUSION_INPUT,
    space=space,
    baseline={
        "stem_blocks": 2,
        "stem_width": 32,
        "width": 128,
        "heads": 4,
        "layers": 2,
        "stochastic_depth": 0.0,
        "norm": "post",
        "pooling": "flatten",
        "dropout": 0.1,
        "l2": False,
        "batch_norm": True,
        "batch_norm_momentum": 0.99,
        "spec_augment": False,
        **common.BASELINE_TRAINING,
    },
    build=build,
    published=Published(
        accuracy=0.10, macro_f1=0.10, limitation="never learnt; GPU memory; sensitive to input shape and batch size"
    ),
)
