"""From a configuration that is to be trained to the job that a back end is given, and where the job's files lie."""

from __future__ import annotations

from pathlib import Path

from harness.hashing import seed_for
from harness.records.trial import BatchShape
from harness.search.attempt import RunningAttempt
from harness.search.config import StudyConfig
from harness.tracking.ledger import Ledger
from harness.trials.job import JobKey, JobKind, TrainingSpec, TrialLimits, TrialSpec
from harness.trials.local.backend import JobFiles


def trial_spec(config: StudyConfig, running: RunningAttempt) -> TrialSpec:
    """Return the job of an attempt at a trial of a study."""
    record, attempt, slot = config.record, running.attempt, running.placed.slot
    number = attempt.trial.number
    return TrialSpec(
        key=JobKey(record.name, JobKind.TRIAL, number, attempt.number),
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


def job_files(ledger: Ledger, store: Path) -> JobFiles:
    """Return where the ledger keeps the models and logs of jobs on this machine.

    Args:
        store: the root folder of the feature store.
    """
    return JobFiles(
        store,
        model=lambda key: ledger.model_path(key.study, key.number),
        log=lambda key: ledger.log_path(key.study, str(key)),
    )
