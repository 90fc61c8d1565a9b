"""The partition of every track, decided before any crop is cut, and the check that nothing leaks between two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.datasets.dataset import Dataset
from harness.errors import ProtocolError, listed
from harness.hashing import short_hash
from harness.records.study import ProtocolRecord


class Partition(StrEnum):
    """What a track is used for."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    FOLDS = "folds"
    """Trains and validates in turn."""
    EXCLUDED = "excluded"


@dataclass(frozen=True)
class Split:
    """The partition of every track of a data set.

    Attributes:
        protocol: its name: `random`, `fault_filtered`, `group`, `kfold:5`, or the name of the user's CSV file.
        assignment: track id -> partition, for every track.
        grouped: whether groups are known and each stands on one side.
        warning: one line on what the protocol does to the numbers, or None.
        fold_of: track id -> the fold in which it validates, from 0; empty for a single split.
        choice: one line on why `auto` took this protocol where a user may want another, or None.
    """

    protocol: str
    assignment: Mapping[str, Partition]
    grouped: bool
    warning: str | None
    fold_of: Mapping[str, int] = field(default_factory=dict)
    choice: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same assignment."""
        if not self.fold_of:
            return short_hash(dict(self.assignment), 16)
        return short_hash([dict(self.assignment), dict(self.fold_of)], 16)

    @property
    def folds(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """The ids that train and those that validate, once for each fold; once where the split is a single one."""
        if not self.fold_of:
            return ((self.tracks(Partition.TRAIN), self.tracks(Partition.VALID)),)
        ids = self.tracks(Partition.FOLDS)
        return tuple(
            (
                tuple(track for track in ids if self.fold_of[track] != fold),
                tuple(track for track in ids if self.fold_of[track] == fold),
            )
            for fold in sorted(set(self.fold_of.values()))
        )

    @property
    def sizes(self) -> dict[str, int]:
        """How many tracks each partition has; `folds` is left out where there are none."""
        counts = Counter(self.assignment.values())
        shown = [partition for partition in Partition if partition is not Partition.FOLDS or self.fold_of]
        return {partition.value: counts[partition] for partition in shown}

    def tracks(self, partition: Partition) -> tuple[str, ...]:
        """Return the ids of a partition's tracks, sorted."""
        return tuple(sorted(track for track, side in self.assignment.items() if side is partition))

    def side(self, track: str) -> str:
        """Return the partition of a track, or its fold: `train`, `fold 2`."""
        return f"fold {self.fold_of[track]}" if track in self.fold_of else self.assignment[track]

    def record(self) -> ProtocolRecord:
        """Return what reports and trackers keep of this split."""
        return ProtocolRecord(
            name=self.protocol,
            fingerprint=self.fingerprint,
            sizes=self.sizes,
            grouped=self.grouped,
            warning=self.warning,
            folds=len(set(self.fold_of.values())),
        )


def verify(dataset: Dataset, split: Split) -> None:
    """Check that a split is one of this data set, that every genre can be learned, and that nothing leaks.

    Raises:
        ProtocolError: the split has other tracks than the data set; a genre has no training or validation track, or
            no test track though others have; replicas, or a group of a grouped split, stand on two sides.
    """
    ids = {track.id for track in dataset.tracks}
    if other := ids ^ split.assignment.keys():
        raise ProtocolError(
            f"{split.protocol}: made for another data set than {dataset.name}; these tracks are in one of the two "
            f"only:\n{listed(sorted(other))}\nSplit the data set again."
        )
    _check_genres(dataset, split)
    for same in dataset.replicas:
        reason = dataset.replica_reasons.get(same, "the same audio")
        _check_one_side(split, f"one recording ({reason})", same)
    if split.grouped:
        for group, members in dataset.group_members.items():
            _check_one_side(split, f"group {group}", members)


def _check_genres(dataset: Dataset, split: Split) -> None:
    sides = {split.side(track.id) for track in dataset.tracks}
    whole = [Partition.TRAIN, Partition.VALID, *({Partition.TEST} & sides)]
    needed = sorted(sides - {Partition.EXCLUDED}) if split.fold_of else whole
    present = {(track.genre, split.side(track.id)) for track in dataset.tracks}
    lacking = [
        f"{genre}: no {side} track" for genre in dataset.genres for side in needed if (genre, side) not in present
    ]
    if lacking:
        raise ProtocolError(
            f"{split.protocol}: cannot split {dataset.name}:\n{listed(lacking)}\n"
            f"Add tracks to these genres, remove the genres, or choose another protocol."
        )


def _check_one_side(split: Split, what: str, tracks: Iterable[str]) -> None:
    sides = {track: split.side(track) for track in tracks}
    if len(set(sides.values()) - {Partition.EXCLUDED}) > 1:
        raise ProtocolError(
            f"{split.protocol}: {what} stands on two sides:\n"
            + listed(f"{track}: {side}" for track, side in sides.items())
            + "\nPut them on one side, or exclude or remove some of them."
        )
