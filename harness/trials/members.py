"""Trained models asked again, in a child: all members of an ensemble in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.features.fold import Example
from harness.features.input_spec import InputView
from harness.records import Predictions

BATCH = 16
TIMED_TRACKS = 5


class Member(NamedTuple):
    """A trained model: what it sees, and where it is saved as `.keras`."""

    view: InputView
    model: Path


class Answers(NamedTuple):
    """What the members of an ensemble said, and what it cost to ask them.

    Attributes:
        predictions: of each member, in order.
        peak_bytes: the most that the framework's allocator held with all members loaded; None where it cannot tell.
        track_seconds: for all members, one after another, to answer for one track from its stored features.
    """

    predictions: list[Predictions]
    peak_bytes: int | None
    track_seconds: float


def ask(members: Sequence[Member], store: Path, examples: Sequence[Example], genres: tuple[str, ...]) -> Answers:
    """Load the members and let each answer for the tracks."""
    from harness.trials import framework

    framework.prepare(threads=os.cpu_count() or 1, deterministic=False, seed=0)
    import keras

    # Registers the layers that a saved model may name.
    import harness.models.layers  # noqa: F401
    from harness.features.store import FeatureStore
    from harness.trials.train import predict_tracks

    loaded = [(each.view, keras.models.load_model(each.model, compile=False)) for each in members]
    predictions = [predict_tracks(model, FeatureStore(store), view, examples, genres, BATCH) for view, model in loaded]
    timed = examples[:TIMED_TRACKS]
    started = time.perf_counter()
    for view, model in loaded:
        predict_tracks(model, FeatureStore(store), view, timed, genres, BATCH)
    return Answers(predictions, framework.allocator_peak(), (time.perf_counter() - started) / len(timed))
