"""The memory that training a model will take, estimated from its layers before any of it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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


def estimate_footprint(model: Any, float_bytes: int = FLOAT_BYTES) -> Footprint:
    """Estimate the footprint of a built `keras.Model` without running it.

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
