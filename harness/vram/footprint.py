"""The memory that training a model will take, reckoned from its layers before any of it is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOAT_BYTES = 4

IN_FLIGHT = 3
"""Copies of the largest output that exist at once while gradients pass through: itself, its gradient, one more."""

# What the gradient of a layer needs kept from the forward pass: nothing, its output, or else its input.
_KEEPS_NOTHING = {
    *("InputLayer", "Normalization", "Rescaling", "Add", "Concatenate", "Flatten", "Reshape", "Permute"),
    *("Cropping2D", "ZeroPadding2D", "AveragePooling1D", "AveragePooling2D"),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "PositionEmbedding", "SpecAugment"),
}
_KEEPS_OUTPUT = {"ReLU", "Softmax"}
_KEEPS_MASK = {"Dropout", "SpatialDropout1D"}
_BY_OUTPUT = {"relu", "sigmoid", "tanh", "softmax"}
OPTIMIZER_SLOTS = 2
"""Adam and AdamW keep two moments of every trainable weight."""

PRIOR_PAIRS = 2
"""As many pairs of predicted and measured peaks does the uncorrected footprint weigh in a correction."""

PRIOR_SPREAD = math.log(1.25)
"""What the prior holds for the spread of measured over predicted: within a quarter, in two of three trials."""

MARGIN_SIGMAS = 1.645
"""The upper bound of a footprint is passed by one trial in twenty, if ratios are log-normal."""


@dataclass(frozen=True)
class Footprint:
    """What a model needs for training, by what grows with what; all in bytes.

    Attributes:
        weights: all weights.
        trainable: the trainable ones, once; gradients, accumulators and optimizer slots are as large each.
        activations: what the backward pass needs of the forward pass, for one crop.
        workspace: what the backward pass holds at once beside that, for one crop.
        parameters: number of weights.
    """

    weights: int
    trainable: int
    activations: int
    workspace: int
    parameters: int

    def peak(self, micro_batch: int, accumulation: int) -> int:
        """Return the predicted peak in bytes, the device's context and libraries left out."""
        copies = 1 + OPTIMIZER_SLOTS + (1 if accumulation > 1 else 0)
        return self.weights + copies * self.trainable + micro_batch * (self.activations + self.workspace)


@dataclass(frozen=True)
class Correction:
    """How measured peaks of a family compare with its predicted ones: a factor, and a margin above it.

    Attributes:
        factor: measured over predicted, the geometric mean.
        margin: what to multiply an estimate with for an upper bound.
    """

    factor: float = 1.0
    margin: float = math.exp(MARGIN_SIGMAS * PRIOR_SPREAD)

    @classmethod
    def learn(cls, pairs: Sequence[tuple[int, int]]) -> Correction:
        """Learn from (predicted, measured) peaks in bytes; none gives the prior: factor 1 and its margin.

        Ratios are taken as log-normal; mean and spread are pulled towards the prior by `PRIOR_PAIRS` pairs.
        """
        logs = np.log([measured / predicted for predicted, measured in pairs])
        weight = len(logs) + PRIOR_PAIRS
        mean = float(logs.sum()) / weight
        squares = float(((logs - mean) ** 2).sum()) + PRIOR_PAIRS * PRIOR_SPREAD**2
        return cls(math.exp(mean), math.exp(MARGIN_SIGMAS * math.sqrt(squares / weight)))

    def estimate(self, predicted: int) -> int:
        """Return the corrected footprint in bytes."""
        return round(predicted * self.factor)

    def upper(self, predicted: int) -> int:
        """Return what the peak passes in one trial of twenty, in bytes."""
        return round(predicted * self.factor * self.margin)


def footprint(model: Any, float_bytes: int = FLOAT_BYTES) -> Footprint:
    """Reckon the footprint of a built `keras.Model` without running it.

    A tensor counts once if any layer's gradient needs it: a convolution its input, a ReLU its output, an addition
    nothing. An output that nothing needs is overwritten or given back, so it does not count.

    Args:
        model: built, for one input.
        float_bytes: size of an activation under the precision policy: 4 for float32, 2 for the mixed ones.
            Weights and optimizer slots are float32 under each.
    """
    kept: dict[int, int] = {}
    outputs: list[int] = []
    _walk(model, kept, outputs)
    return Footprint(
        weights=FLOAT_BYTES * sum(math.prod(weight.shape) for weight in model.weights),
        trainable=FLOAT_BYTES * sum(math.prod(weight.shape) for weight in model.trainable_weights),
        activations=float_bytes * sum(kept.values()),
        workspace=float_bytes * IN_FLIGHT * max(outputs),
        parameters=int(model.count_params()),
    )


def _walk(model: Any, kept: dict[int, int], outputs: list[int]) -> None:
    """Gather the numbers for one example in each tensor that must be kept, by the tensor's id, and in each output."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            _walk(layer, kept, outputs)
            continue
        for node in layer._inbound_nodes:
            outputs += map(_numbers, node.output_tensors)
            kept |= {id(tensor): _numbers(tensor) for tensor in _needed(layer, node)}
            if type(layer).__name__ in _KEEPS_MASK and layer.rate > 0:
                kept[id(node)] = _numbers(node.output_tensors[0])


def _needed(layer: Any, node: Any) -> list[Any]:
    kind, activation = type(layer).__name__, getattr(getattr(layer, "activation", None), "__name__", "linear")
    if kind in _KEEPS_NOTHING | _KEEPS_MASK:
        return []
    if kind in _KEEPS_OUTPUT or (kind == "Activation" and activation in _BY_OUTPUT):
        return list(node.output_tensors)
    # Max pooling compares its output with its input; of other layers, those with an activation of their own keep it.
    by_output = activation != "linear" or kind.startswith("MaxPool")
    return [*node.input_tensors, *(node.output_tensors if by_output else ())]


def _numbers(tensor: Any) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
