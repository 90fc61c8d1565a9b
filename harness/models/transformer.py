"""A convolutional stem that makes time tokens, and Transformer encoder blocks over them."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers as keras_layers

from harness.models import Config, ModelInputs, layers


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    """Build stem, encoder, pooling over tokens and a softmax.

    Args:
        config: `stem_blocks` (each halves rows and frames), `stem_width`, `width` of a token, `heads`,
            `layers`, `stochastic_depth` (of the last layer; less before it, in proportion), `norm` (`pre` or `post`),
            `pooling`, regularisation, SpecAugment.
        shapes: input (rows, frames, 1) and number of genres; 130 frames and 2 stem blocks make 33 tokens.
    """
    inputs = keras.Input(shapes.input)
    x = layers.standardize(inputs, shapes.mean, shapes.variance)
    x = layers.spec_augment(x, config)
    for number in range(config["stem_blocks"]):
        x = layers.convolve(x, layers.filters(config["stem_width"], number), 3, config)
        x = keras_layers.MaxPooling2D(2, padding="same")(x)
    _, rows, tokens, channels = x.shape
    x = keras_layers.Permute((2, 1, 3))(x)
    x = keras_layers.Reshape((tokens, rows * channels))(x)
    x = keras_layers.Dense(config["width"], kernel_regularizer=layers.regularizer(config))(x)
    x = layers.PositionEmbedding()(x)
    for number in range(1, config["layers"] + 1):
        x = _encoder(x, config, config["stochastic_depth"] * number / config["layers"])
    if config["norm"] == "pre":
        x = keras_layers.LayerNormalization()(x)
    x = keras_layers.Dropout(config["dropout"])(_pool(x, str(config["pooling"])))
    return keras.Model(inputs, layers.probabilities(x, shapes.genres))


def _encoder(x: Any, config: Config, drop_rate: float) -> Any:
    """Self-attention and a feed-forward layer twice as wide; norm before (Xiong et al., ICML 2020) or after."""
    width, dropout, pre = config["width"], config["dropout"], config["norm"] == "pre"

    def attend(y: Any) -> Any:
        return keras_layers.MultiHeadAttention(config["heads"], width // config["heads"], dropout=dropout)(y, y)

    def feed_forward(y: Any) -> Any:
        y = keras_layers.Dense(2 * width, activation="gelu", kernel_regularizer=layers.regularizer(config))(y)
        return keras_layers.Dense(width, kernel_regularizer=layers.regularizer(config))(y)

    for sublayer in (attend, feed_forward):
        y = sublayer(keras_layers.LayerNormalization()(x) if pre else x)
        x = keras_layers.Add()([x, layers.drop_path(keras_layers.Dropout(dropout)(y), drop_rate)])
        x = x if pre else keras_layers.LayerNormalization()(x)
    return x


def _pool(x: Any, how: str) -> Any:
    """Turn tokens (batch, tokens, width) into a vector: all of them, their average, or a learnt average."""
    if how != "attention":
        return layers.to_vector(x, how)
    weights = keras_layers.Softmax(axis=1)(keras_layers.Dense(1)(x))
    return keras_layers.Flatten()(keras_layers.Dot(axes=1)([weights, x]))
