"""From what a trial's child reported, and what was seen of it from outside, to what is stored of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from harness.records.base import utc_now
from harness.records.study import StudyRecord
from harness.records.trial import NOT_MEASURED, BatchShape, MemoryRecord, Reading, TimingRecord, TrialRecord
from harness.search.attempt import Attempt, RunningAttempt
from harness.search.optuna_study import OpenTrial
from harness.trials.backend import TrialEnded
from harness.trials.report import TrialReport


@dataclass(frozen=True)
class Observation:
    """What was seen of a trial from outside; a trial that never ran has none.

    Attributes:
        series: what `reading` is the peak of: seconds since the start, bytes.
        device: the UUID of the GPU that it ran on; None for the CPU.
        cap_bytes: what its allocator was allowed there; None where it had no cap.
    """

    reading: Reading = NOT_MEASURED
    series: tuple[tuple[float, int], ...] = ()
    device: str | None = None
    cap_bytes: int | None = None


NEVER_RAN = Observation()


def observation(running: RunningAttempt, event: TrialEnded) -> Observation:
    """Return what was seen of an attempt."""
    slot = running.placed.slot
    cap = running.attempt.cap_bytes if slot.on_gpu else None
    return Observation(event.reading, event.series, slot.device.uuid, cap)


def trial_record(
    study: StudyRecord,
    trial: OpenTrial,
    report: TrialReport,
    started: str,
    *,
    attempt: Attempt | None = None,
    observed: Observation = NEVER_RAN,
    constraints: Mapping[str, float] | None = None,
) -> TrialRecord:
    """Return the record of a trial that ends now.

    Args:
        started: when its first attempt was sampled.
        attempt: the last one; None where the model could not be built.
        constraints: what the sampler is to learn about the limits.
    """
    notes = attempt.notes if attempt is not None else ()
    return TrialRecord(
        family=study.family,
        study=study.name,
        number=trial.number,
        outcome=report.outcome,
        params=trial.params,
        message="; ".join(filter(None, (*notes, report.message))),
        epochs=report.epochs,
        best_epoch=report.best_epoch,
        scores=report.scores,
        batch=_batch(attempt),
        parameters=attempt.footprint.parameters if attempt is not None else None,
        memory=_memory(report, attempt, observed),
        timing=timing(report, started),
        last_report=trial.last_report,
        constraints=dict(constraints or {}),
    )


def timing(report: TrialReport, started: str) -> TimingRecord:
    """Return the times of a training that ends now."""
    seconds = [epoch.seconds for epoch in report.epochs]
    return TimingRecord(
        train_seconds=report.train_seconds,
        epoch_seconds=statistics.median(seconds) if seconds else None,
        inference_seconds=report.inference_seconds,
        started=started,
        ended=utc_now(),
    )


def _batch(attempt: Attempt | None) -> BatchShape | None:
    if attempt is None:
        return None
    return BatchShape(micro_batch=attempt.fit.micro_batch, accumulation=attempt.fit.accumulation)


def _memory(report: TrialReport, attempt: Attempt | None, observed: Observation) -> MemoryRecord:
    return MemoryRecord(
        reading=observed.reading,
        series=observed.series,
        allocator_peak_bytes=report.allocator_peak_bytes,
        pool_bytes=report.pool_bytes,
        footprint_bytes=attempt.fit.footprint_bytes if attempt is not None else None,
        model_footprint_bytes=attempt.model_footprint_bytes if attempt is not None else None,
        beside_bytes=attempt.fit.beside_bytes if attempt is not None else None,
        cap_bytes=observed.cap_bytes,
        device=observed.device,
    )
