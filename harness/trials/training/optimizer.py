"""The optimizer of a trial, with its schedule and gradient accumulation."""

from __future__ import annotations

from typing import Any

import keras

from harness.models import Config


@keras.saving.register_keras_serializable(package="harness")
class PerUpdate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that counts updates where the optimizer counts micro-batches (gradient accumulation)."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, accumulation: int) -> None:
        self.schedule, self.accumulation = schedule, accumulation

    def __call__(self, step: Any) -> Any:
        return self.schedule(step // self.accumulation)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "accumulation": self.accumulation,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PerUpdate:
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["accumulation"])


def build_optimizer(config: Config, updates: int, accumulation: int) -> keras.optimizers.Optimizer:
    """Build Adam or AdamW with the configured schedule over `updates` updates in all."""
    rate: Any = config["learning_rate"]
    if config["schedule"] == "cosine":
        warmup = round(config["warmup"] * updates)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else rate,
            decay_steps=max(1, updates - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
        if accumulation > 1:
            rate = PerUpdate(rate, accumulation)
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
