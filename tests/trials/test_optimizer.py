"""The optimizer: its learning rate by the step, and a training step that is traced once."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.helpers.models import FAMILY, small

COSINE = {"optimizer": "adamw", "weight_decay": 1e-2, "schedule": "cosine", "warmup": 0.1, "learning_rate": 3e-3}


@pytest.mark.slow
@pytest.mark.parametrize(("warmup", "accumulation"), [(0.0, 1), (0.1, 1), (0.1, 3)])
def test_the_learning_rate_is_that_of_keras_own_schedule(keras: ModuleType, warmup: float, accumulation: int) -> None:
    """Imports the framework."""
    from harness.trials.training.optimizer import build_optimizer

    updates, peak = 40, COSINE["learning_rate"]
    rising = round(warmup * updates)
    expected = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if rising else peak,
        decay_steps=updates - rising,
        warmup_target=peak if rising else None,
        warmup_steps=rising,
    )
    config = small(FAMILY, **COSINE | {"warmup": warmup})
    rate = build_optimizer(config, updates, accumulation)._learning_rate
    steps = range(accumulation * (updates + 5))
    np.testing.assert_array_equal(
        [float(rate(keras.ops.convert_to_tensor(step))) for step in steps],
        [float(expected(keras.ops.convert_to_tensor(step // accumulation))) for step in steps],
    )
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert again.get_config() == rate.get_config()


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_training_step_is_traced_once(keras: ModuleType, accumulation: int) -> None:
    """Trains a few steps."""
    from harness.trials.training.optimizer import compile_model

    calls: list[int] = []

    class Counted(keras.layers.Dense):
        def call(self, inputs: object, training: bool | None = None) -> object:
            calls.append(1)
            return super().call(inputs, training=training)

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Counted(2, activation="softmax")(inputs))
    compile_model(model, small(FAMILY, **COSINE), updates=6, accumulation=accumulation)
    calls.clear()
    labels = np.eye(2, dtype=np.float32)[[0, 1] * 6]
    model.fit(np.ones((12, 4), np.float32), labels, batch_size=2, epochs=2, verbose=0)
    assert len(calls) == 1
