"""Dense layers on statistics over time of what a frozen network computed."""

from __future__ import annotations

import keras
from keras import layers as keras_layers
from keras import ops

from harness.models import Config, ModelInputs, layers

STATISTICS = {"mean": ops.mean, "deviation": ops.std, "max": ops.max}


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    """Build statistics over all frames, hidden dense layers, and a softmax.

    Args:
        config: `pooling` (names of `STATISTICS` joined by +), `hidden_layers` of `units`, regularisation; BatchNorm
            stands before the first layer and within each hidden one.
        shapes: input (rows, frames, 1) and number of genres.
    """
    inputs = keras.Input(shapes.input)
    x = layers.standardize(inputs, shapes.mean, shapes.variance)
    x = ops.concatenate([STATISTICS[name](x, axis=(2, 3)) for name in str(config["pooling"]).split("+")], axis=1)
    x = layers.normalize(x, config)
    for _ in range(config["hidden_layers"]):
        x = keras_layers.Dropout(config["dropout"])(x)
        x = keras_layers.Dense(config["units"], kernel_regularizer=layers.regularizer(config))(x)
        x = keras_layers.ReLU()(layers.normalize(x, config))
    x = keras_layers.Dropout(config["dropout"])(x)
    # Regularised too, unlike in other families: it may be the only layer.
    answer = keras_layers.Dense(
        shapes.genres,
        activation="softmax",
        dtype="float32",
        kernel_regularizer=layers.regularizer(config),
        name="probabilities",
    )
    return keras.Model(inputs, answer(x))
