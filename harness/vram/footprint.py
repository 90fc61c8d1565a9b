"""The memory that training a model will take, reckoned from its layers before any of it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

FLOAT_BYTES = 4
OPTIMIZER_SLOTS = 2
"""Adam and AdamW keep two moments of every trainable weight."""

SAFETY = 1.1
"""The plain sum times this bounded the peak of TensorFlow's CPU allocator for ten of ten random networks."""


@dataclass(frozen=True)
class Footprint:
    """What a model needs for training, by what grows with what; all in bytes.

    Attributes:
        weights: all weights.
        trainable: the trainable ones, once; gradients, accumulators and optimizer slots are as large each.
        activations: outputs of all layers for one crop, kept for the backward pass.
        workspace: the two largest outputs for one crop, held twice while gradients pass through.
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
        fixed = self.weights + copies * self.trainable
        return math.ceil(SAFETY * (fixed + micro_batch * (self.activations + self.workspace)))


def footprint(model: Any) -> Footprint:
    """Reckon the footprint of a built `keras.Model` in float32 without running it."""
    outputs = sorted(_output_bytes(model), reverse=True)
    return Footprint(
        weights=FLOAT_BYTES * sum(math.prod(weight.shape) for weight in model.weights),
        trainable=FLOAT_BYTES * sum(math.prod(weight.shape) for weight in model.trainable_weights),
        activations=sum(outputs),
        workspace=sum(outputs[:2]),
        parameters=int(model.count_params()),
    )


def _output_bytes(model: Any) -> list[int]:
    """Return the size of every layer's output for one example, layers of nested models included."""
    sizes = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            sizes += _output_bytes(layer)
            continue
        for node in layer._inbound_nodes:
            sizes += [FLOAT_BYTES * math.prod(size or 1 for size in tensor.shape[1:]) for tensor in node.output_tensors]
    return sizes
