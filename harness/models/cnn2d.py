"""Two-dimensional convolutional networks on rows of features by frames."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers as keras_layers

from harness.models import Config, ModelInputs, layers


def build(config: Config, shapes: ModelInputs, rows: tuple[slice, ...] = ()) -> keras.Model:
    """Build a trunk, a head, and a softmax.

    Args:
        config: `trunk` (`blocks` of convolution and max pooling with `width`, `convolutions`, `kernel`, `residual`,
            `squeeze_excitation`; or `efficientnet` with its `variant`), `head`, `dense_units`, regularisation and
            SpecAugment.
        shapes: input (rows, frames, 1) and number of genres.
        rows: one branch of blocks for each of these slices of rows; empty for a single branch over all.
    """
    inputs = keras.Input(shapes.input)
    x = layers.standardize(inputs, shapes.mean, shapes.variance)
    x = layers.spec_augment(x, config)
    if config["trunk"] == "efficientnet":
        vector = layers.to_vector(_efficientnet(x, str(config["variant"])), str(config["head"]))
    elif rows:
        height = shapes.input[0]
        parts = [keras_layers.Cropping2D(((part.start, height - part.stop), (0, 0)))(x) for part in rows]
        vectors = [layers.to_vector(_blocks(part, config), str(config["head"])) for part in parts]
        vector = keras_layers.Concatenate()(vectors)
    else:
        vector = layers.to_vector(_blocks(x, config), str(config["head"]))
    return keras.Model(inputs, layers.classify(vector, shapes.genres, config))


def _blocks(x: Any, config: Config) -> Any:
    block = layers.residual if config["residual"] else layers.convolve
    for number in range(config["blocks"]):
        for _ in range(config["convolutions"]):
            x = block(x, layers.filters(config["width"], number), config["kernel"], config)
        if config["squeeze_excitation"]:
            x = layers.squeeze_excite(x)
        # `same` lets deep nets go on pooling where a feature has few rows (contrast has 7).
        x = keras_layers.MaxPooling2D(2, padding="same")(x)
    return x


def _efficientnet(x: Any, variant: str) -> Any:
    """EfficientNetV2 without its head and with no weights from elsewhere (Tan and Le, ICML 2021)."""
    network = getattr(keras.applications, f"EfficientNetV2{variant}")
    # The input is standardised already, and its one channel is no picture's.
    return network(include_top=False, weights=None, input_tensor=x, include_preprocessing=False).output
