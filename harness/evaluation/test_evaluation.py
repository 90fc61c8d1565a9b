"""The test set, opened on purpose: winner and baseline trained again with fresh seeds and scored on it.

The only module that hands test tracks to a child. Where a protocol has no test set, outer folds take its place: each
fold of the tracks is tested once, by the configuration that was chosen without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from harness.evaluation.final_jobs import final_jobs
from harness.evaluation.simple_baselines import keep_simple_baselines
from harness.evaluation.study_under_test import StudyUnderTest
from harness.evaluation.test_set_access import TestSetAccess
from harness.evaluation.winner_selection import best_without, smaller_search
from harness.events import FinalFinished, Note, Notify
from harness.records.base import utc_now
from harness.records.final import FinalsRecord
from harness.records.trial import Outcome, TrialRecord
from harness.search.memory_limits import room_of
from harness.tracking.ledger import Ledger
from harness.tracking.serialization import FINALS, dump_predictions, dump_record
from harness.trials.backend import run_to_end
from harness.trials.local.backend import LocalBackend
from harness.vram.slots import DeviceSlot


@dataclass(frozen=True)
class TestEvaluation:
    """The test of one study.

    Attributes:
        study: made ready.
        access: to the tracks that are tested.
        slots: the devices; one training runs at a time, on the first.
    """

    __test__: ClassVar[bool] = False

    study: StudyUnderTest
    access: TestSetAccess
    backend: LocalBackend
    slots: tuple[DeviceSlot, ...]
    ledger: Ledger
    notify: Notify

    def run(self, seeds: int) -> None:
        """Run what is missing, one training at a time, keeping each before the next.

        Args:
            seeds: trainings of each configuration.
        """
        study, finals = self.study, self.access.open()
        # The opening counts from the moment in which a child may see the test tracks.
        self._keep(finals)
        keep_simple_baselines(self.ledger, study.record, study.prepared.store, study.folds)
        done = {run.key for run in finals.runs if run.outcome in (Outcome.COMPLETED, Outcome.DIVERGED)}
        for job in final_jobs(study, self._winners(), seeds):
            if job.key in done:
                continue
            started, cap = utc_now(), self._cap(job.trial)
            spec = job.spec(study, cap)
            end = run_to_end(self.backend, spec, self.slot)
            run = job.record(end, cap, self.slot.device.uuid, started)
            if end.report.test_predictions is not None:
                content = dump_predictions(end.report.test_predictions)
                self.ledger.write_study_files(study.record.name, {f"{job.key}.npz": content})
            others = (other for other in finals.runs if other.key != run.key)
            finals = finals.model_copy(update={"runs": (*others, run)})
            self._keep(finals)
            self.notify(FinalFinished(study.record.family, run))

    def _keep(self, finals: FinalsRecord) -> None:
        self.ledger.write_study_files(self.study.record.name, {FINALS: dump_record(finals)})

    def _winners(self) -> list[TrialRecord | None]:
        """Return the configuration to test on each fold, chosen without its test tracks."""
        study = self.study
        if study.has_test_set:
            return [study.results.best]
        if study.prepared.split.fold_of:
            completed, known = sum(trial.completed for trial in study.results.trials), len(study.results.predictions)
            if known < completed:
                text = f"{study.record.family}: predictions of {known} of {completed} completed trials are here"
                self.notify(Note(f"{text}; winners are chosen among them.", warning=True))
            return [best_without(study.results, frozenset(tracks)) for tracks in self.access.tracks]
        # The stored predictions are of the same few tracks for all folds.
        return [self._smaller_search(number) for number in range(len(study.folds))]

    def _smaller_search(self, number: int) -> TrialRecord | None:
        folder = self.ledger.outer_folder(self.study.record.name, f"{self.access.fingerprint}-{number}")
        return smaller_search(self.study, number, folder, self.backend, self.slots, self.notify)

    @property
    def slot(self) -> DeviceSlot:
        """Where everything is trained."""
        return self.slots[0]

    def _cap(self, trial: TrialRecord) -> int | None:
        """Return what the allocator may take: what it had in the search, where that is there."""
        if not self.slot.on_gpu:
            return None
        results = self.study.results
        room = replace(room_of(self.slot, results.study.budget_bytes, results.trials), slack_bytes=0)
        return min(room.cap_bytes, trial.memory.cap_bytes or room.cap_bytes)
