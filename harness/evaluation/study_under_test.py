"""A study with all that it takes to test what it chose."""

from __future__ import annotations

from dataclasses import dataclass

from harness.datasets.split import Partition
from harness.families import Family
from harness.features.fold import Fold, LabelledTrack
from harness.preparation import PreparedData
from harness.records.study import StudyRecord, StudyResults
from harness.settings import BudgetSettings, SearchSettings


@dataclass(frozen=True)
class StudyUnderTest:
    """A study that may be tested, made ready.

    Attributes:
        results: what came of it so far.
        family: with the study's embeddings, if it is one on embeddings.
        prepared: its data, with the features of the tested tracks.
        folds: one training each with its test tracks: the test set, or the outer folds in turn.
        search, budget: the settings of its latest run.
    """

    results: StudyResults
    family: Family
    prepared: PreparedData
    folds: tuple[Fold, ...]
    search: SearchSettings
    budget: BudgetSettings

    @property
    def record(self) -> StudyRecord:
        return self.results.study

    @property
    def has_test_set(self) -> bool:
        """Whether the protocol sets tracks aside; outer folds take their place where it does not."""
        return bool(self.prepared.split.tracks(Partition.TEST))

    @property
    def tested(self) -> tuple[LabelledTrack, ...]:
        """All tracks that are tested, fold by fold."""
        return tuple(example for fold in self.folds for example in fold.test)
