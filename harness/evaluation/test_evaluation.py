"""The test set, opened on purpose: winner and baseline trained again with fresh seeds and scored on it.

The only module that hands test tracks to a child. Where a protocol has no test set, outer folds take its place: each
fold of the tracks is tested once, by the configuration that was chosen without it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import ClassVar

from harness.evaluation.final_jobs import FinalJob, final_jobs
from harness.evaluation.simple_baselines import keep_simple_baselines
from harness.evaluation.study_under_test import StudyUnderTest
from harness.evaluation.test_set_access import TestSetAccess
from harness.evaluation.winner_selection import best_without, smaller_search
from harness.events import FinalEnded, Notify
from harness.hashing import seed_for
from harness.records import FinalsRecord, Outcome, TrialRecord
from harness.search.fitting import room_of
from harness.tracking.ledger import FINALS, Ledger, dump_predictions, dump_record
from harness.trials.pool import End, Pool
from harness.trials.spec import TrialSpec
from harness.vram.admission import Lane


@dataclass(frozen=True)
class TestEvaluation:
    """The test of one study.

    Attributes:
        study: made ready.
        access: to the tracks that are tested.
        lanes: the devices; one training runs at a time, on the first.
    """

    __test__: ClassVar[bool] = False

    study: StudyUnderTest
    access: TestSetAccess
    pool: Pool
    lanes: tuple[Lane, ...]
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
            end = self._train(job)
            run = job.record(end)
            if end.ended.test_predictions is not None:
                content = dump_predictions(end.ended.test_predictions)
                self.ledger.keep_files(study.record.study, {f"{job.key}.npz": content})
            others = (other for other in finals.runs if other.key != run.key)
            finals = finals.model_copy(update={"runs": (*others, run)})
            self._keep(finals)
            self.notify(FinalEnded(study.record.family, run))

    def _keep(self, finals: FinalsRecord) -> None:
        self.ledger.keep_files(self.study.record.study, {FINALS: dump_record(finals)})

    def _winners(self) -> list[TrialRecord | None]:
        """Return the configuration to test on each fold, chosen without its test tracks."""
        study = self.study
        if study.has_test_set:
            return [study.results.best]
        if study.prepared.split.fold_of:
            return [best_without(study.results, frozenset(tracks)) for tracks in self.access.tracks]
        # The stored predictions are of the same few tracks for all folds.
        return [self._smaller_search(number) for number in range(len(study.folds))]

    def _smaller_search(self, number: int) -> TrialRecord | None:
        folder = self.ledger.outer_folder(self.study.record.study, f"{self.access.fingerprint}-{number}")
        return smaller_search(self.study, number, folder, self.pool, self.lanes, self.notify)

    def _train(self, job: FinalJob) -> End:
        """Train the configuration of a job in a child, and return what came of it."""
        study, trial, lane = self.study, job.trial, self.lanes[0]
        record = study.record
        assert trial.micro_batch is not None
        assert trial.accumulation is not None
        spec = TrialSpec(
            family=study.family.name,
            study=record.study,
            number=trial.number,
            config=dict(trial.params),
            view=study.family.view_of(trial.params),
            store=study.prepared.store.root,
            genres=record.dataset.genres,
            folds=(job.fold,),
            epochs=record.epochs,
            seed=seed_for(record.seed, record.family, "final", job.seed, job.outer or 0),
            micro_batch=trial.micro_batch,
            accumulation=trial.accumulation,
            budget_bytes=record.budget_bytes,
            cap_bytes=self._cap(lane, trial),
            device_bytes=lane.device.total_bytes,
            time_limit_seconds=None,
            deterministic=study.settings.deterministic,
            threads=os.cpu_count() or 1,
            model=None,
            log=self.ledger.log_path(record.study, trial.number).with_name(f"final-{job.key}.log"),
            environment=lane.device.environment(),
        )
        self.pool.start(spec, lane)
        while True:
            for event in self.pool.events():
                if isinstance(event, End):
                    return event
                self.pool.reply(event.number, True)

    def _cap(self, lane: Lane, trial: TrialRecord) -> int | None:
        """Return what the allocator may take: what it had in the search, where that is there."""
        if lane.device.uuid is None:
            return None
        results = self.study.results
        room = replace(room_of(lane, results.study.budget_bytes, results.trials), slack_bytes=0)
        return min(room.cap_bytes, trial.cap_bytes or room.cap_bytes)
