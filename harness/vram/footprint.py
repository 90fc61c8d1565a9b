"""The memory that training a model will take, reckoned from its layers before any of it is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOAT_BYTES = 4
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
        activations: outputs of all layers for one crop, kept for the backward pass.
        workspace: the two largest outputs for one crop, held once more while gradients pass through them.
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

    Args:
        model: built, for one input.
        float_bytes: size of an activation under the precision policy: 4 for float32, 2 for the mixed ones.
            Weights and optimizer slots are float32 under each.
    """
    outputs = sorted(_output_sizes(model), reverse=True)
    return Footprint(
        weights=FLOAT_BYTES * sum(math.prod(weight.shape) for weight in model.weights),
        trainable=FLOAT_BYTES * sum(math.prod(weight.shape) for weight in model.trainable_weights),
        activations=float_bytes * sum(outputs),
        workspace=float_bytes * sum(outputs[:2]),
        parameters=int(model.count_params()),
    )


def _output_sizes(model: Any) -> list[int]:
    """Return the numbers in every layer's output for one example, layers of nested models included."""
    sizes = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            sizes += _output_sizes(layer)
            continue
        for node in layer._inbound_nodes:
            sizes += [math.prod(size or 1 for size in tensor.shape[1:]) for tensor in node.output_tensors]
    return sizes
