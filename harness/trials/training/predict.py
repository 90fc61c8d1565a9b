"""What a model answers for whole tracks, and how quickly."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

import keras
import numpy as np

from harness.features.crops import voting_batches
from harness.features.fold import LabelledTrack
from harness.features.input_spec import InputSpec
from harness.features.store import FeatureStore
from harness.records.predictions import Predictions
from harness.scoring.metrics import vote

TIMED_SECONDS, TIMED_ANSWERS = 30.0, 3
"""The track that a trained model is timed on, in seconds of audio, and how often; the median counts."""


def predict_tracks(
    model: keras.Model,
    store: FeatureStore,
    input_spec: InputSpec,
    examples: Sequence[LabelledTrack],
    genres: tuple[str, ...],
    size: int,
    *,
    every_crop: bool = True,
) -> Predictions:
    """Let the crops of every track vote, all or some of them; `size` crops go through the model at once."""
    probabilities, owners = [], []
    for inputs, batch_owners in voting_batches(store, input_spec, examples, size, every_crop=every_crop):
        real = batch_owners >= 0
        probabilities.append(np.asarray(model.predict_on_batch(inputs))[real])
        owners.append(batch_owners[real])
    return Predictions(
        tracks=tuple(example.track for example in examples),
        genres=genres,
        labels=np.array([example.label for example in examples], np.int64),
        probabilities=vote(np.concatenate(probabilities), np.concatenate(owners), len(examples)),
    )


def evenly_spaced_subset(examples: Sequence[LabelledTrack], count: int) -> tuple[LabelledTrack, ...]:
    """Return `count` examples at even distances (all, if there are fewer): genres come in nearly their own shares."""
    ordered = sorted(examples, key=lambda example: (example.label, example.track))
    if len(ordered) <= count:
        return tuple(ordered)
    return tuple(ordered[place] for place in np.linspace(0, len(ordered) - 1, count).round().astype(int))


def measure_inference_seconds(model: keras.Model, input_spec: InputSpec) -> float:
    """Return the seconds in which `model` answers for a track of `TIMED_SECONDS` whose features are there."""
    inputs = np.zeros((math.ceil(TIMED_SECONDS / input_spec.seconds), *input_spec.shape), np.float32)
    model.predict_on_batch(inputs)  # traces
    seconds = []
    for _ in range(TIMED_ANSWERS):
        started = time.perf_counter()
        model.predict_on_batch(inputs)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
