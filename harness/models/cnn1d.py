"""One-dimensional convolutional networks on the waveform, after M5 (Dai et al., ICASSP 2017)."""

from __future__ import annotations

import keras
from keras import layers as keras_layers

from harness.datasets.signal import SAMPLE_RATE
from harness.models import Config, ModelInputs, layers

POOLING = 4


def build(config: Config, shapes: ModelInputs) -> keras.Model:
    """Build a wide strided convolution, stages of narrow convolution and pooling by 4, a head and a softmax.

    Args:
        config: `first_kernel` and `first_stride` in samples, `stages` (the first one counts), `width`,
            `residual`, `spatial_dropout`, `wave_augment` (with `gain_db` and `shift_seconds`), `head`, `dense_units`,
            regularisation.
        shapes: input (samples, 1) and number of genres.
    """
    inputs = keras.Input(shapes.input)
    x = layers.standardize(inputs, shapes.mean, shapes.variance)
    if config["wave_augment"]:
        x = layers.WaveAugment(config["gain_db"], shift=round(config["shift_seconds"] * SAMPLE_RATE))(x)
    x = layers.convolve(x, config["width"], config["first_kernel"], config, strides=config["first_stride"])
    x = keras_layers.MaxPooling1D(POOLING, padding="same")(x)
    block = layers.residual if config["residual"] else layers.convolve
    for stage in range(config["stages"] - 1):
        x = block(x, layers.filters(config["width"], stage), 3, config)
        x = keras_layers.MaxPooling1D(POOLING, padding="same")(x)
        x = keras_layers.SpatialDropout1D(config["spatial_dropout"])(x)
    return keras.Model(inputs, layers.classify(layers.to_vector(x, str(config["head"])), shapes.genres, config))
