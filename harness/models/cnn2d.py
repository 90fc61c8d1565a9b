"""Two-dimensional convolutional networks on rows of features by frames."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers as keras_layers

from harness.models import Config, Shapes, layers


def build(config: Config, shapes: Shapes, rows: tuple[slice, ...] = ()) -> keras.Model:
    """Build blocks of convolution and max pooling, a head, and a softmax.

    Args:
        config: `blocks`, `width`, `kernel`, `residual`, `head`, `dense_units`, regularisation and
            SpecAugment; `squeeze_excitation` where the space has it.
        shapes: input (rows, frames, 1) and number of genres.
        rows: one branch of blocks for each of these slices of rows; empty for a single branch over all.
    """
    inputs = keras.Input(shapes.input)
    x = layers.standardize(inputs, shapes.mean, shapes.variance)
    x = layers.spec_augment(x, config)
    if rows:
        height = shapes.input[0]
        parts = [keras_layers.Cropping2D(((part.start, height - part.stop), (0, 0)))(x) for part in rows]
        vectors = [layers.to_vector(_blocks(part, config), str(config["head"])) for part in parts]
        vector = keras_layers.Concatenate()(vectors)
    else:
        vector = layers.to_vector(_blocks(x, config), str(config["head"]))
    return keras.Model(inputs, layers.classify(vector, shapes.genres, config))


def _blocks(x: Any, config: Config) -> Any:
    kernel, block = config["kernel"], layers.residual if config["residual"] else layers.convolve
    for number in range(config["blocks"]):
        x = block(x, layers.filters(config["width"], number), kernel, config)
        if config.get("squeeze_excitation"):
            x = layers.squeeze_excite(x)
        # `same` lets deep nets go on pooling where a feature has few rows (contrast has 7).
        x = keras_layers.MaxPooling2D(2, padding="same")(x)
    return x
