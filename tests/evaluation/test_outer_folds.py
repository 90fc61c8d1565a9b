"""Outer folds hold together what the search held together, whatever the protocol leaves out."""

from __future__ import annotations

from pathlib import Path

from harness.datasets.split import Partition, Split
from harness.evaluation.nested_cv import outer_folds
from harness.features.store import FeatureStore
from harness.preparation import PreparedData
from harness.testing.records import RECORD
from tests.helpers.audio import dataset


def test_a_recording_whose_one_copy_is_excluded_stays_on_one_side(tmp_path: Path) -> None:
    linked = ("rock0", "rock1", "rock2")
    data = dataset({f"{genre}{number}": genre for genre in ("jazz", "rock") for number in range(12)}, replicas=[linked])
    sides = {track.id: Partition.TRAIN for track in data.tracks} | {"rock0": Partition.EXCLUDED}
    prepared = PreparedData(data, Split("mine.csv", sides, False, None), FeatureStore(tmp_path), data.tracks)
    for seed in range(5):
        for fold in outer_folds(prepared, RECORD.model_copy(update={"seed": seed}), ()):
            for side in (fold.train, fold.valid, fold.test):
                assert len({track.track for track in side} & {"rock1", "rock2"}) in (0, 2)
