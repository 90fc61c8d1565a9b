"""Run by test_families.py in a process of its own: every family trains a few steps on JAX. Prints one JSON line."""

from __future__ import annotations

import json
import sys

import numpy as np

from harness.families import families
from harness.trials.training.optimizer import compile_model
from tests.helpers.models import noise, shapes, small


def losses(name: str, accumulation: int, crops: int = 4, updates: int = 2) -> list[float]:
    family = families()[name]
    # What only some configurations have, so that the layers of the project's own run on this back end too.
    changes = {"optimizer": "adamw", "weight_decay": 1e-4, "schedule": "cosine", "warmup": 0.1, "clip_gradients": True}
    if "spec_augment" in family.baseline:
        changes |= {"spec_augment": True, "row_masks": 1, "row_mask_width": 4, "frame_masks": 1, "frame_mask_width": 9}
    if "wave_augment" in family.baseline:
        changes |= {"wave_augment": True, "gain_db": 6.0, "shift_seconds": 0.1}
    if "stochastic_depth" in family.baseline:
        changes |= {"stochastic_depth": 0.2}
    config = small(family, **changes)
    model = family.build(config, shapes(family))
    compile_model(model, config, updates, accumulation)
    inputs, labels = noise(family, crops)
    found = []
    for _ in range(updates * accumulation):
        found.append(float(model.train_on_batch(inputs, labels, np.ones(crops, np.float32), return_dict=True)["loss"]))
    answers = np.asarray(model.predict_on_batch(inputs))
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    return found


if __name__ == "__main__":
    # Accumulation compiles for seconds, and is the same for all.
    found = {name: losses(name, 2 if name == "cnn2d-mfcc" else 1) for name in families()}
    print(json.dumps({"losses": found, "tensorflow": "tensorflow" in sys.modules}))
