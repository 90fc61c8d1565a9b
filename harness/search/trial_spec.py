"""From a configuration that is to be trained to the job that a back end is given."""

from __future__ import annotations

from harness.hashing import seed_for
from harness.records.trial import BatchShape
from harness.search.attempt import RunningAttempt
from harness.search.config import StudyConfig
from harness.trials.job import TrainingSpec, TrialLimits, TrialSpec


def trial_spec(config: StudyConfig, running: RunningAttempt) -> TrialSpec:
    """Return the job of an attempt at a trial of a study."""
    record, attempt, slot = config.record, running.attempt, running.placed.slot
    number = attempt.trial.number
    return TrialSpec(
        key=running.key(record.name),
        training=TrainingSpec(
            family=record.family,
            config=dict(attempt.config),
            input_spec=config.family.input_spec_of(attempt.config),
            genres=record.dataset.genres,
            folds=config.folds,
            epochs=record.epochs,
            seed=seed_for(record.seed, record.family, number),
            batch=BatchShape(micro_batch=attempt.fit.micro_batch, accumulation=attempt.fit.accumulation),
            deterministic=config.deterministic,
            threads=config.threads,
        ),
        limits=TrialLimits(
            budget_bytes=record.budget_bytes,
            cap_bytes=attempt.cap_bytes if slot.on_gpu else None,
            seconds=config.trial_time_limit_seconds,
        ),
    )
