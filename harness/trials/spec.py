"""One training of a trial: who trains, who validates, who is tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.audio.crops import Example
from harness.audio.features import InputView
from harness.errors import ProtocolError


@dataclass(frozen=True)
class Fold:
    """One training of a trial: who trains, who validates, and, when a test set is opened, who is tested.

    Attributes:
        moments: mean and variance of the input by row, float32, from the training tracks alone; for each view that a
            configuration may have.

    Raises:
        ProtocolError: on making one in which the same audio stands on two sides.
    """

    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    moments: Mapping[InputView, tuple[np.ndarray, np.ndarray]]
    test: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        sides = [{example.digest for example in side} for side in (self.train, self.valid, self.test)]
        if len(set().union(*sides)) < sum(map(len, sides)):
            raise ProtocolError("the same audio stands on two sides of the split. Split the data set again.")
