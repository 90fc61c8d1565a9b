"""What a model answered for whole tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's track-level answers on one partition.

    Attributes:
        tracks: track ids, length N.
        genres: class names, length C; the order of the columns.
        labels: true class indices, int64, shape (N,).
        probabilities: mean crop probabilities, float32, shape (N, C); rows sum to 1.
    """

    tracks: tuple[str, ...]
    genres: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """Predicted class indices, int64, shape (N,)."""
        indices: np.ndarray = self.probabilities.argmax(axis=1)
        return indices
