"""The trainings of an opened test set: winner and baseline, again with fresh seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.evaluation.study_under_test import StudyUnderTest
from harness.features.fold import Fold
from harness.hashing import seed_for
from harness.records.final import FinalRecord, FinalRole, final_key
from harness.records.trial import MemoryRecord, TrialRecord
from harness.scoring.metrics import track_scores
from harness.search.space import fixed
from harness.search.trial_record import timing
from harness.trials.backend import TrialEnded
from harness.trials.job import JobKey, JobKind, TrainingSpec, TrialLimits, TrialSpec


@dataclass(frozen=True)
class FinalJob:
    """One training: the configuration of a trial that is due with a seed, on what is tested.

    Attributes:
        seed: counts from 0.
        outer: the outer fold that is tested; None for a test set.
    """

    role: FinalRole
    trial: TrialRecord
    seed: int
    outer: int | None
    fold: Fold

    @property
    def key(self) -> str:
        """Identifies it among those of its opening."""
        return final_key(self.role, self.seed, self.outer)

    def spec(self, study: StudyUnderTest, cap_bytes: int | None) -> TrialSpec:
        """Return the training as a back end is given it.

        Args:
            cap_bytes: what the allocator may take; None for no cap.
        """
        record, trial = study.record, self.trial
        assert trial.batch is not None  # it completed
        # The space may return more than it suggests.
        config = study.family.space(fixed(trial.params), record.quick)
        training = TrainingSpec(
            family=study.family.name,
            config=config,
            input_spec=study.family.input_spec_of(config),
            genres=record.dataset.genres,
            folds=(self.fold,),
            epochs=record.epochs,
            seed=seed_for(record.seed, record.family, "final", self.seed, self.outer or 0),
            batch=trial.batch,
            deterministic=study.search.deterministic,
            threads=os.cpu_count() or 1,
        )
        key = JobKey(record.name, JobKind(self.role), trial.number, seed=self.seed, fold=self.outer)
        return TrialSpec(key, training, TrialLimits(record.budget_bytes, cap_bytes), keep_model=False)

    def record(self, end: TrialEnded, cap_bytes: int | None, device: str | None, started: str) -> FinalRecord:
        """Return what the training left.

        Args:
            cap_bytes: what its allocator was allowed; None where it had no cap.
            device: the UUID of the GPU that it ran on; None for the CPU.
            started: when, as records hold it.
        """
        report, tested = end.report, end.report.test_predictions
        scores = track_scores(tested) if tested is not None else None
        return FinalRecord(
            role=self.role,
            trial=self.trial.number,
            seed=self.seed,
            fold=self.outer,
            outcome=report.outcome,
            message=report.message,
            tracks=len(tested.tracks) if tested is not None else 0,
            test_accuracy=scores.accuracy if scores else None,
            test_macro_f1=scores.macro_f1 if scores else None,
            memory=MemoryRecord(
                reading=end.reading,
                series=end.series,
                allocator_peak_bytes=report.allocator_peak_bytes,
                pool_bytes=report.pool_bytes,
                cap_bytes=cap_bytes,
                device=device,
            ),
            timing=timing(report, started),
        )


def final_jobs(study: StudyUnderTest, winners: Sequence[TrialRecord | None], seeds: int) -> Iterator[FinalJob]:
    """Yield winner and baseline of every fold, seed by seed.

    Args:
        winners: the best configuration that was chosen without the test tracks of each fold; None for none.
        seeds: trainings of each configuration.
    """
    for seed in range(seeds):
        for number, (fold, winner) in enumerate(zip(study.folds, winners, strict=True)):
            for role, trial in ((FinalRole.WINNER, winner), (FinalRole.BASELINE, study.results.baseline)):
                # A baseline beyond the limits has nothing to be compared with; one that won is tested once.
                if trial is None or not trial.completed:
                    continue
                if (
                    role is FinalRole.BASELINE
                    and study.has_test_set
                    and winner is not None
                    and winner.number == trial.number
                ):
                    continue
                yield FinalJob(role, trial, seed, None if study.has_test_set else number, fold)
