"""Pure functions from hyperparameters to uncompiled Keras models; backend-neutral.

The modules of this package import keras, which takes its time; this file does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Config = Mapping[str, Any]
"""Hyperparameters by their names in the space."""


@dataclass(frozen=True)
class ModelInputs:
    """What a model must accept and answer.

    Attributes:
        input: shape of one crop: (rows, frames, 1) or (samples, 1).
        genres: number of classes.
        mean, variance: per row of the input, float32, shape (rows,) or (1,); from training tracks only.
    """

    input: tuple[int, ...]
    genres: int
    mean: np.ndarray
    variance: np.ndarray
