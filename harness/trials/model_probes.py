"""Questions about a model that is not trained: what it will take. They build it, so a child answers them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.vram.footprint import Footprint

FORWARD_SECONDS = 600.0
"""How long a child may take for a forward pass, the largest network on a CPU included."""


def estimate_footprints(name: str, input_spec: InputSpec, configs: Sequence[Config], genres: int) -> list[Footprint]:
    """Return the footprint of each configured model of the family called `name`, whose input is `input_spec`."""
    import keras

    from harness.vram.footprint import estimate_footprint

    # Shapes are enough: weights without values make a large network four times as fast to build.
    with keras.StatelessScope(initialize_variables=False):
        return [estimate_footprint(untrained(name, input_spec, config, genres)) for config in configs]


def time_forward(name: str, input_spec: InputSpec, config: Config, genres: int, crops: int) -> float:
    """Return the seconds of a forward pass over `crops` crops, the second of two: the first traces."""
    import numpy as np

    model = untrained(name, input_spec, config, genres)
    inputs = np.zeros((crops, *model.input_shape[1:]), np.float32)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        model.predict_on_batch(inputs)
        seconds.append(time.perf_counter() - started)
    return seconds[1]


def untrained(name: str, input_spec: InputSpec, config: Config, genres: int) -> Any:
    """Build the configured `keras.Model` of the family called `name`, as if its input were standardised."""
    import numpy as np

    from harness.families import family
    from harness.models import ModelInputs

    normalization = np.zeros(input_spec.rows, np.float32), np.ones(input_spec.rows, np.float32)
    return family(name).build(config, ModelInputs(input_spec.shape, genres, *normalization))
