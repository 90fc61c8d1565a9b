"""What a study is, where it ran, and all that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field

from harness.records.base import Record
from harness.records.final import FinalsRecord
from harness.records.predictions import Predictions
from harness.records.trial import TrialRecord, best_trial


class Published(Record):
    """What the original author reported for a family, on a split of their own."""

    accuracy: float
    macro_f1: float
    limitation: str


class DatasetRecord(Record):
    """The data set that a study ran on. `fingerprint` changes when any track's audio or genre changes."""

    name: str
    fingerprint: str
    genres: tuple[str, ...]
    tracks: int
    synthetic: bool
    replicas: tuple[tuple[str, ...], ...] = ()
    quarantined: dict[str, str] = Field(default_factory=dict)


class ProtocolRecord(Record):
    """The split that a study ran on.

    Attributes:
        fingerprint: identifies the assignment.
        sizes: tracks by partition.
        grouped: whether groups are known and each stands on one side.
        folds: trainings of a trial, each validated on its own share of the tracks; 0 for a single split.
    """

    name: str
    fingerprint: str
    sizes: dict[str, int]
    grouped: bool
    warning: str | None = None
    folds: int = 0

    @property
    def sizes_text(self) -> str:
        """The sizes for a reader: `80 train, 20 valid`, or `50 tracks in 5 folds`."""
        words = {name: name for name in ("train", "valid", "test")} | {"folds": f"tracks in {self.folds} folds"}
        words |= {name: name for name in sorted(self.sizes.keys() - words.keys())}
        return ", ".join(f"{self.sizes[name]} {word}" for name, word in words.items() if self.sizes.get(name))


class ReferenceRecord(Record):
    """A classifier that needs no network, on the tracks of a study: what any family must beat.

    Attributes:
        name: for a reader.
        partition: the tracks that it was scored on: `valid`, or `test`.
        tracks: how many.
    """

    name: str
    partition: str
    tracks: int
    accuracy: float
    macro_f1: float


class Provenance(Record):
    """Where and with what a study ran."""

    commit: str
    versions: dict[str, str]
    backend: str
    device: str
    driver: str | None
    platform: str
    cpu_count: int


class StudyRecord(Record):
    """All that defines one study: the trials of one family under one protocol, budget, epochs, seed and space.

    Attributes:
        embeddings: fingerprints of the frozen networks that the family embeds with, by name.
    """

    family: str
    name: str
    description: str
    input: str
    space: str
    dataset: DatasetRecord
    protocol: ProtocolRecord
    budget_bytes: int
    epochs: int
    seed: int
    quick: bool
    trial_time_limit_seconds: float | None
    published: Published | None
    provenance: Provenance
    embeddings: dict[str, str] = Field(default_factory=dict)

    @property
    def comparable_key(self) -> tuple[str, str, int, int, int, bool, str, str]:
        """Equal for studies whose scores may be compared: same data set, protocol, budget, epochs, seed and space size.

        Keys are ordered by the names of data set and protocol first.
        """
        data, split = self.dataset, self.protocol
        scale = (self.budget_bytes, self.epochs, self.seed, self.quick)
        return (data.name, split.name, *scale, data.fingerprint, split.fingerprint)


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A study with all that came of it.

    Attributes:
        trials: in order of number.
        predictions: of the completed trials by number, on the validation tracks.
        references: classifiers without a network, on the same tracks.
        importance: each hyperparameter's share of the variance of the score, by its name; empty where there are too
            few trials to tell.
        finals: what came of opening the test set; None while it is closed.
        final_predictions: on the tested tracks, by `FinalRecord.key`.
    """

    study: StudyRecord
    trials: tuple[TrialRecord, ...]
    predictions: Mapping[int, Predictions]
    references: tuple[ReferenceRecord, ...] = ()
    finals: FinalsRecord | None = None
    final_predictions: Mapping[str, Predictions] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> TrialRecord | None:
        """The completed trial with the highest validation macro F1; see `best_trial`."""
        return best_trial(self.trials)

    @property
    def baseline(self) -> TrialRecord | None:
        """Trial 0, when it ended."""
        return next((trial for trial in self.trials if trial.number == 0), None)

    @property
    def counted_trials(self) -> int:
        """How many trials count toward the number that was asked for."""
        return sum(trial.counted for trial in self.trials)
