"""Predictions of an ensemble, made in a child: all members loaded in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.features.fold import LabelledTrack
from harness.features.input_spec import InputSpec
from harness.records.predictions import Predictions

BATCH = 16
TIMED_TRACKS = 5


class Member(NamedTuple):
    """A trained model: what it sees, and where it is saved as `.keras`."""

    input_spec: InputSpec
    model: Path


class MemberPredictions(NamedTuple):
    """What the members of an ensemble predicted, and what that cost.

    Attributes:
        predictions: of each member, in order.
        peak_bytes: the most that the framework's allocator held with all members loaded; None where it cannot tell.
        inference_seconds: for all members, one after another, to answer for one track from its stored features.
    """

    predictions: list[Predictions]
    peak_bytes: int | None
    inference_seconds: float


def predict_members(
    members: Sequence[Member], store: Path, examples: Sequence[LabelledTrack], genres: tuple[str, ...]
) -> MemberPredictions:
    """Load the members and let each predict the tracks. Runs in a fresh child: it sets up the framework.

    Args:
        store: root folder of the feature store.
        examples: the tracks, at least one.
        genres: class names, in the order of the labels.
    """
    from harness.trials import framework

    framework.prepare(threads=os.cpu_count() or 1, deterministic=False, seed=0)
    from harness.features.store import FeatureStore
    from harness.models.layers import load_model
    from harness.trials.training.predict import predict_tracks

    loaded = [(each.input_spec, load_model(each.model)) for each in members]
    predictions = [
        predict_tracks(model, FeatureStore(store), input_spec, examples, genres, BATCH) for input_spec, model in loaded
    ]
    timed = examples[:TIMED_TRACKS]
    started = time.perf_counter()
    for input_spec, model in loaded:
        predict_tracks(model, FeatureStore(store), input_spec, timed, genres, BATCH)
    seconds = (time.perf_counter() - started) / len(timed)
    return MemberPredictions(predictions, framework.allocator_peak(), seconds)
