"""Layers and blocks that the families share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from harness.models import Config

MAX_FILTERS = 512
"""Widths double from block to block up to this many filters."""


@keras.saving.register_keras_serializable(package="harness")
class SpecAugment(layers.Layer):
    """Zeroes bands of rows and of frames in training (Park et al., "SpecAugment", Interspeech 2019).

    Input and output: float (batch, rows, frames, channels), standardised, so that zero is the mean.
    Each mask's width is uniform over 0 to the given width, its place uniform, both drawn for each example.
    """

    def __init__(
        self,
        row_masks: int,
        row_mask_width: int,
        frame_masks: int,
        frame_mask_width: int,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.row_masks, self.row_mask_width = row_masks, row_mask_width
        self.frame_masks, self.frame_mask_width = frame_masks, frame_mask_width
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        masked = inputs
        for count, width, axis in (
            (self.row_masks, self.row_mask_width, 1),
            (self.frame_masks, self.frame_mask_width, 2),
        ):
            for _ in range(count):
                masked = masked * self._keep(inputs, axis, width)
        return masked

    def _keep(self, inputs: Any, axis: int, width: int) -> Any:
        """Return 1 outside of one random band a sample and 0 inside; broadcasts against `inputs`."""
        size, batch = inputs.shape[axis], ops.shape(inputs)[0]
        widths = ops.floor(keras.random.uniform((batch, 1), seed=self.generator) * (min(width, size) + 1))
        starts = ops.floor(keras.random.uniform((batch, 1), seed=self.generator) * (size - widths + 1))
        places = ops.arange(size, dtype=widths.dtype)[None, :]
        keep = ops.logical_or(places < starts, places >= starts + widths)
        shape = (batch, size, 1, 1) if axis == 1 else (batch, 1, size, 1)
        return ops.cast(ops.reshape(keep, shape), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "row_masks": self.row_masks,
            "row_mask_width": self.row_mask_width,
            "frame_masks": self.frame_masks,
            "frame_mask_width": self.frame_mask_width,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="harness")
class WaveAugment(layers.Layer):
    """In training, flips the polarity of half of the examples, scales each and shifts it round its ends.

    Input and output: float (batch, samples, 1). Gains are uniform over +-`gain_db` decibels, shifts over +-`shift`
    samples.
    """

    def __init__(self, gain_db: float, shift: int = 0, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gain_db, self.shift, self.seed = gain_db, shift, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        shape = (ops.shape(inputs)[0], 1, 1)
        decibels = keras.random.uniform(shape, -self.gain_db, self.gain_db, seed=self.generator)
        sign = ops.where(keras.random.uniform(shape, seed=self.generator) < 0.5, -1.0, 1.0)
        shifts = ops.floor(keras.random.uniform(shape, -self.shift, self.shift + 1, seed=self.generator))
        places = ops.mod(ops.arange(inputs.shape[1])[None, :, None] - ops.cast(shifts, "int32"), inputs.shape[1])
        shifted = ops.take_along_axis(inputs, places, axis=1)
        return shifted * ops.cast(sign * ops.power(10.0, decibels / 20.0), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain_db": self.gain_db, "shift": self.shift, "seed": self.seed}


@keras.saving.register_keras_serializable(package="harness")
class PositionEmbedding(layers.Layer):
    """Adds a learnt vector for each place: (batch, tokens, width) to the same."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.embedding = self.add_weight(
            name="embedding", shape=input_shape[1:], initializer=keras.initializers.TruncatedNormal(stddev=0.02)
        )

    def call(self, inputs: Any) -> Any:
        return inputs + self.embedding


def standardize(inputs: Any, mean: np.ndarray, variance: np.ndarray) -> Any:
    """Standardise (batch, rows, frames, 1) by row, or (batch, samples, 1) as a whole, by training statistics."""
    axis = 1 if len(inputs.shape) == 4 else -1
    return layers.Normalization(axis=axis, mean=mean, variance=variance, name="standardize")(inputs)


def spec_augment(x: Any, config: Config) -> Any:
    """Apply SpecAugment where the configuration switches it on."""
    if not config["spec_augment"]:
        return x
    names = ("row_masks", "row_mask_width", "frame_masks", "frame_mask_width")
    return SpecAugment(**{name: config.get(name, 0) for name in names})(x)


def regularizer(config: Config) -> Any:
    """L2 on kernels, or None."""
    return keras.regularizers.L2(config["l2_weight"]) if config["l2"] else None


def normalize(x: Any, config: Config) -> Any:
    """BatchNorm with the configured momentum, or nothing."""
    return layers.BatchNormalization(momentum=config["batch_norm_momentum"])(x) if config["batch_norm"] else x


def convolve(x: Any, filters: int, kernel: int, config: Config, strides: int = 1, activate: bool = True) -> Any:
    """Convolution over all places of `x` (one- or two-dimensional), BatchNorm, ReLU; padding `same`."""
    layer = layers.Conv2D if len(x.shape) == 4 else layers.Conv1D
    x = layer(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=not config["batch_norm"],
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer(config),
    )(x)
    x = normalize(x, config)
    return layers.ReLU()(x) if activate else x


def residual(x: Any, filters: int, kernel: int, config: Config) -> Any:
    """Two convolutions beside a shortcut (He et al., "Deep residual learning", CVPR 2016)."""
    shortcut = x if x.shape[-1] == filters else convolve(x, filters, 1, config, activate=False)
    x = convolve(x, filters, kernel, config)
    x = convolve(x, filters, kernel, config, activate=False)
    return layers.ReLU()(layers.Add()([x, shortcut]))


def drop_path(x: Any, rate: float) -> Any:
    """Stochastic depth: in training, drop the branch `x` for a share of the examples, and scale it for the others.

    Huang et al., "Deep networks with stochastic depth", ECCV 2016; scaled by 1 / (1 - rate), so that nothing need be
    done at inference.
    """
    return layers.Dropout(rate, noise_shape=(None, *(1,) * (len(x.shape) - 1)))(x) if rate else x


def squeeze_excite(x: Any, ratio: int = 8) -> Any:
    """Weigh channels by a gate on their averages (Hu et al., "Squeeze-and-excitation networks", CVPR 2018)."""
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(max(4, channels // ratio), activation="relu")(gate)
    gate = layers.Dense(channels, activation="sigmoid")(gate)
    return layers.Multiply()([x, gate])


def to_vector(x: Any, how: str) -> Any:
    """Turn a feature map into a vector: `flatten`, `average` or `max` over all places."""
    if how == "flatten":
        return layers.Flatten()(x)
    pools: dict[tuple[str, int], type[Any]] = {
        ("average", 4): layers.GlobalAveragePooling2D,
        ("average", 3): layers.GlobalAveragePooling1D,
        ("max", 4): layers.GlobalMaxPooling2D,
        ("max", 3): layers.GlobalMaxPooling1D,
    }
    return pools[how, len(x.shape)]()(x)


def classify(x: Any, genres: int, config: Config) -> Any:
    """Turn vectors into probabilities, through a hidden dense layer where `dense_units` asks for one."""
    if config["dense_units"]:
        x = layers.Dense(config["dense_units"], activation="relu", kernel_regularizer=regularizer(config))(x)
    return probabilities(layers.Dropout(config["dropout"])(x), genres)


def probabilities(x: Any, genres: int) -> Any:
    """The answer: (batch, genres), float32 under every precision policy, rows summing to 1."""
    return layers.Dense(genres, activation="softmax", dtype="float32", name="probabilities")(x)


def filters(width: int, block: int) -> int:
    """Number of filters of a block: `width` doubled `block` times, up to `MAX_FILTERS`."""
    return int(min(width * 2**block, MAX_FILTERS))


def load_model(path: Path) -> keras.Model:
    """Load a trained model that was saved as `.keras`, uncompiled; importing this module registered its layers."""
    return keras.models.load_model(path, compile=False)
