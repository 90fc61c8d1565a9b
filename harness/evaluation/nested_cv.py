"""Nested cross-validation: outer folds take the place of a test set where the protocol has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.datasets.dataset import Dataset
from harness.datasets.protocols import assign
from harness.datasets.split import Partition, Split
from harness.errors import ProtocolError
from harness.features.fold import Fold
from harness.features.input_spec import InputSpec
from harness.preparation import PreparedData
from harness.records.predictions import Predictions
from harness.records.study import StudyRecord

OUTER_FOLDS, FEWEST_FOLDS = 5, 3
"""Outer folds where the protocol has none of its own, and the fewest: one tests, one stops, one trains."""


def folds_to_test(prepared: PreparedData, study: StudyRecord, input_specs: Sequence[InputSpec]) -> tuple[Fold, ...]:
    """Return the trainings whose test tracks are scored: the search's own with the test set, or one an outer fold.

    Raises:
        ProtocolError: there is no test set, and no outer folds can take its place.
    """
    tracks = prepared.split.tracks(Partition.TEST)
    if not tracks:
        return outer_folds(prepared, study, input_specs)
    (fold,) = prepared.folds(input_specs)
    return (replace(fold, test=prepared.examples(tracks)),)


def outer_folds(prepared: PreparedData, study: StudyRecord, input_specs: Sequence[InputSpec]) -> tuple[Fold, ...]:
    """Return folds that test every track of a study once; the next fold stops the training, the others train.

    Raises:
        ProtocolError: the data set cannot fill three folds, or the protocol has but two.
    """
    split = prepared.split if prepared.split.fold_of else _drawn(prepared, study)
    parts = [valid for _, valid in split.folds]
    if len(parts) < FEWEST_FOLDS:
        raise ProtocolError(
            f"{study.name}: {split.protocol} leaves nothing to train on beside the fold that is tested and the one "
            f"that stops the training. Run with at least kfold:{FEWEST_FOLDS}."
        )
    folds = []
    for number, part in enumerate(parts):
        stops = (number + 1) % len(parts)
        train = [track for other, tracks in enumerate(parts) if other not in (number, stops) for track in tracks]
        folds.append(prepared.fold(input_specs, sorted(train), parts[stops], part))
    return tuple(folds)


def restricted(predictions: Predictions, tracks: frozenset[str], *, keep: bool = True) -> Predictions:
    """Return the predictions of `tracks` alone, or, with `keep=False`, of all others."""
    shown = np.array([(track in tracks) is keep for track in predictions.tracks])
    names = tuple(track for track, is_shown in zip(predictions.tracks, shown, strict=True) if is_shown)
    return Predictions(names, predictions.genres, predictions.labels[shown], predictions.probabilities[shown])


def _drawn(prepared: PreparedData, study: StudyRecord) -> Split:
    """Return as many folds as the data set can fill, up to `OUTER_FOLDS`."""
    reason = ""
    for folds in range(OUTER_FOLDS, FEWEST_FOLDS - 1, -1):
        try:
            return assign(_searched(prepared), f"kfold:{folds}", study.seed)
        except ProtocolError as error:
            reason = str(error)
    raise ProtocolError(f"{study.name} has no test set, and outer folds cannot take its place: {reason}")


def _searched(prepared: PreparedData) -> Dataset:
    """Return the data set without the tracks that the protocol excludes."""
    dataset, left_out = prepared.dataset, frozenset(prepared.split.tracks(Partition.EXCLUDED))
    return replace(
        dataset,
        tracks=tuple(track for track in dataset.tracks if track.id not in left_out),
        groups={track: group for track, group in dataset.groups.items() if track not in left_out},
        replicas=tuple(kept for same in dataset.replicas if (kept := tuple(t for t in same if t not in left_out))[1:]),
    )
