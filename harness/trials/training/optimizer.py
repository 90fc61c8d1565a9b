"""The optimizer of a trial, with its schedule and gradient accumulation."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from harness.models import Config


@keras.saving.register_keras_serializable(package="harness")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from zero and falls to zero again along half a cosine.

    It gives what `CosineDecay` does (Loshchilov and Hutter, "SGDR", ICLR 2017), but counts updates where the optimizer
    counts micro-batches, and branches by value instead of by `cond`: AdamW asks once for every variable, and a graph
    with hundreds of conditions takes seconds to trace.
    """

    def __init__(self, peak: float, warmup: int, decay: int, accumulation: int = 1) -> None:
        """Describe the course.

        Args:
            peak: the highest rate.
            warmup, decay: updates in which it rises and falls.
            accumulation: micro-batches an update.
        """
        self.peak, self.warmup, self.decay, self.accumulation = peak, warmup, decay, accumulation

    def __call__(self, step: Any) -> Any:
        updates = ops.cast(step // self.accumulation, "float32")
        rising = self.peak * (updates / max(1, self.warmup))
        fallen = (ops.minimum(updates, self.warmup + self.decay) - self.warmup) / self.decay
        falling = self.peak * (0.5 * (1.0 + ops.cos(math.pi * fallen)))
        return ops.where(updates < self.warmup, rising, falling)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "decay": self.decay, "accumulation": self.accumulation}


def build_optimizer(config: Config, updates: int, accumulation: int) -> keras.optimizers.Optimizer:
    """Build Adam or AdamW with the configured schedule over `updates` updates in all."""
    rate: Any = config["learning_rate"]
    if config["schedule"] == "cosine":
        warmup = round(config["warmup"] * updates)
        rate = WarmupCosine(rate, warmup, max(1, updates - warmup), accumulation)
    options: dict[str, Any] = {"learning_rate": rate}
    if config["clip_gradients"]:
        options["clipnorm"] = 1.0
    if accumulation > 1:
        options["gradient_accumulation_steps"] = accumulation
    if config["optimizer"] == "adamw":
        return keras.optimizers.AdamW(weight_decay=config["weight_decay"], **options)
    return keras.optimizers.Adam(**options)


def compile_model(model: keras.Model, config: Config, updates: int, accumulation: int) -> None:
    """Compile `model` in place as every trial does."""
    model.compile(
        optimizer=build_optimizer(config, updates, accumulation),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config["label_smoothing"]),
        weighted_metrics=[],
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    # Left to the first step, the optimizer would make its variables in the trace, and the step be traced once more.
    model.optimizer.build(model.trainable_variables)
