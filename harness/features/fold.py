"""What one training works on: labelled tracks that train and validate, and the statistics of those that train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import ProtocolError
from harness.features.input_spec import InputSpec


@dataclass(frozen=True, slots=True)
class LabelledTrack:
    """A track as training sees it: its id, the address of its audio in the store, its class index."""

    track: str
    digest: str
    label: int


@dataclass(frozen=True)
class Fold:
    """One training of a trial: who trains, who validates, and, when a test set is opened, who is tested.

    Attributes:
        train: the tracks that the model is fitted to.
        valid: those that it is validated on after every epoch.
        normalization: mean and variance of the input, each float32 (rows,), from the training tracks alone; for each
            input that a configuration may have.
        test: those that it is tested on, once; empty in a search.

    Raises:
        ProtocolError: on making one in which the same audio stands on two sides.
    """

    train: tuple[LabelledTrack, ...]
    valid: tuple[LabelledTrack, ...]
    normalization: Mapping[InputSpec, tuple[np.ndarray, np.ndarray]]
    test: tuple[LabelledTrack, ...] = ()

    def __post_init__(self) -> None:
        sides = [{example.digest for example in side} for side in (self.train, self.valid, self.test)]
        if len(set().union(*sides)) < sum(map(len, sides)):
            raise ProtocolError("the same audio stands on two sides of the split. Split the data set again.")
