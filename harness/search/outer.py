"""Outer folds: what takes the place of a test set where the protocol has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.datasets.dataset import Dataset
from harness.datasets.protocols import assign
from harness.datasets.split import Partition, Split
from harness.errors import ProtocolError
from harness.features.fold import Fold
from harness.features.input_spec import InputView
from harness.records import StudyRecord
from harness.search.data import Prepared

OUTER_FOLDS, FEWEST_FOLDS = 5, 3
"""Outer folds where the protocol has none of its own, and the fewest: one tests, one stops, one trains."""


def outer_folds(prepared: Prepared, study: StudyRecord, views: Sequence[InputView]) -> list[Fold]:
    """Return folds that test every track of a study once; the next fold stops the training, the others train.

    Raises:
        ProtocolError: the data set cannot fill three folds, or the protocol has but two.
    """
    split = prepared.split if prepared.split.fold_of else _drawn(prepared, study)
    parts = [valid for _, valid in split.folds]
    if len(parts) < FEWEST_FOLDS:
        raise ProtocolError(
            f"{study.study}: {split.protocol} leaves nothing to train on beside the fold that is tested and the one "
            f"that stops the training. Run with at least kfold:{FEWEST_FOLDS}."
        )
    folds = []
    for number, part in enumerate(parts):
        stops = (number + 1) % len(parts)
        train = [track for other, tracks in enumerate(parts) if other not in (number, stops) for track in tracks]
        folds.append(prepared.fold(views, sorted(train), parts[stops], part))
    return folds


def _drawn(prepared: Prepared, study: StudyRecord) -> Split:
    """Return as many folds as the data set can fill, up to `OUTER_FOLDS`."""
    reason = ""
    for folds in range(OUTER_FOLDS, FEWEST_FOLDS - 1, -1):
        try:
            return assign(_searched(prepared), f"kfold:{folds}", study.seed)
        except ProtocolError as error:
            reason = str(error)
    raise ProtocolError(f"{study.study} has no test set, and outer folds cannot take its place: {reason}")


def _searched(prepared: Prepared) -> Dataset:
    """Return the data set without the tracks that the protocol excludes."""
    dataset, left_out = prepared.dataset, frozenset(prepared.split.tracks(Partition.EXCLUDED))
    return replace(
        dataset,
        tracks=tuple(track for track in dataset.tracks if track.id not in left_out),
        groups={track: group for track, group in dataset.groups.items() if track not in left_out},
        replicas=tuple(same for same in dataset.replicas if left_out.isdisjoint(same)),
    )
