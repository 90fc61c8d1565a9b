"""Who may open a test set, and how often it was opened: rules on records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.errors import UsageError, WorkspaceError
from harness.hashing import short_hash
from harness.records.base import utc_now
from harness.records.final import FinalsRecord, OpeningRecord
from harness.records.study import DatasetRecord, ProtocolRecord, StudyRecord, StudyResults


@dataclass(frozen=True)
class TestSetAccess:
    """The test set of a study, before and while it is opened.

    Attributes:
        tracks: ids of what is tested, fold by fold.
        has_test_set: whether they are a test set; otherwise they are outer folds.
        earlier: openings that the study's trials may have been chosen after, in order of time.
    """

    __test__: ClassVar[bool] = False

    results: StudyResults
    tracks: tuple[tuple[str, ...], ...]
    has_test_set: bool
    earlier: tuple[OpeningRecord, ...]

    @property
    def fingerprint(self) -> str:
        """Identifies what is tested."""
        return short_hash([list(fold) for fold in self.tracks])

    @property
    def state(self) -> str:
        """Identifies what is tested, and all trials by which a configuration may have been chosen."""
        trials = ([trial.number, trial.outcome, trial.scores.valid_macro_f1] for trial in self.results.trials)
        return short_hash([self.fingerprint, *trials])

    def check(self, reopen: bool) -> None:
        """Make sure that nobody has looked before the last trials.

        Raises:
            UsageError: somebody has, and `reopen` does not allow it.
        """
        own = self.results.finals.openings if self.results.finals is not None else ()
        if reopen or not self.earlier or (own and own[-1].state == self.state):
            return
        more = sum(trial.timing.ended > self.earlier[-1].opened for trial in self.results.trials)
        raise UsageError(
            f"{self.results.study.name}: its test set was opened {len(self.earlier)} times, and since then {more} "
            "trials ended or the split changed. What is chosen after looking is not tested honestly any more. Pass "
            "--reopen-test to do it all the same; the report counts openings."
        )

    def open(self) -> FinalsRecord:
        """Return what is known of the present opening: the last one, unless trials ended since."""
        finals = self.results.finals
        if finals is not None and finals.openings[-1].state == self.state:
            return finals
        opening = OpeningRecord(
            trials=len(self.results.trials),
            state=self.state,
            opened=utc_now(),
        )
        return FinalsRecord(tested="test" if self.has_test_set else "outer folds", openings=(*self.earlier, opening))


def check_same_data(dataset: DatasetRecord, protocol: ProtocolRecord, study: StudyRecord) -> None:
    """Make sure that the data set and its split are those that a study ran on.

    Raises:
        WorkspaceError: they are not.
    """
    if (dataset.fingerprint, protocol.fingerprint) != (study.dataset.fingerprint, study.protocol.fingerprint):
        raise WorkspaceError(
            f"{study.name}: ran on other tracks of {study.dataset.name}, or on another split, than there are now. Put "
            "the data set back as it was, or start a new study with `harness run`."
        )


def openings_before(results: StudyResults, known: Sequence[StudyResults]) -> tuple[OpeningRecord, ...]:
    """Return the openings that a study's trials may have been chosen after, in order of time.

    They are its own, and those of the family's other studies on the same split: with more epochs, say, or within
    another budget.

    Args:
        known: all studies of the workspace.
    """
    before = set(results.finals.openings) if results.finals is not None else set()
    last = max(trial.timing.ended for trial in results.trials)
    for other in known:
        if other.finals is not None and _tested_on(other.study) == _tested_on(results.study):
            before |= {opening for opening in other.finals.openings if opening.opened < last}
    return tuple(sorted(before, key=lambda opening: opening.opened))


def _tested_on(study: StudyRecord) -> tuple[str, str, str]:
    return study.family, study.dataset.fingerprint, study.protocol.fingerprint
