"""A trial as it is tried, and how it is tried once more when its end says little about its configuration."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from harness.models import Config
from harness.records.trial import Outcome, TrialRecord
from harness.search.memory_limits import Fitter
from harness.search.optuna_study import OpenTrial
from harness.trials.backend import TrialEnded
from harness.trials.job import JobKey, JobKind
from harness.units import format_size
from harness.vram.fit import Fit, micro_batches
from harness.vram.footprint import Footprint
from harness.vram.placement import Placed
from harness.vram.room import Room

POOL_ROUNDING = 1.01
"""TensorFlow's log rounds what its allocator took to hundredths of a GiB, so a pool at its cap may seem to pass it."""


@dataclass(frozen=True)
class Attempt:
    """A trial as it is tried now: again with a smaller micro-batch, exclusively or under a lower cap, after it ran out.

    Attributes:
        number: of the attempt, from 0.
        started: when the first attempt was sampled.
        room: what it may take of the device that it is placed on.
        fit: how it is fitted into that.
        max_micro_batch: ceiling, after it ran out of memory above it.
        more_beside_bytes: that it holds beside its allocator beyond what was estimated, after it passed its budget.
        exclusive: whether nothing may run beside it on its device.
        capped_low: whether its cap was what it was predicted to need, since others may share its device.
        notes: what happened to the attempts before.
    """

    trial: OpenTrial
    config: Config
    footprint: Footprint
    room: Room
    fit: Fit
    started: str
    number: int = 0
    max_micro_batch: int | None = None
    more_beside_bytes: int = 0
    exclusive: bool = False
    capped_low: bool = False
    notes: tuple[str, ...] = ()

    @property
    def model_footprint_bytes(self) -> int:
        """The model's own footprint, before correction and without the device's overhead."""
        return self.footprint.peak(self.fit.micro_batch, self.fit.accumulation)

    @property
    def cap_bytes(self) -> int:
        """What the allocator may take; a trial that others may join keeps to its own upper bound."""
        need = max(self.fit.upper_bytes - self.fit.beside_bytes - self.more_beside_bytes, 1)
        return min(self.fit.cap_bytes, need) if self.capped_low else self.fit.cap_bytes

    def again(self, note: str) -> Attempt:
        """Return the next attempt."""
        return replace(self, number=self.number + 1, notes=(*self.notes, note))


@dataclass(frozen=True)
class RunningAttempt:
    """An attempt that a back end carries out.

    Attributes:
        placed: where.
        co_located: whether others shared its device at any time.
    """

    attempt: Attempt
    placed: Placed
    co_located: bool = False

    def key(self, study: str) -> JobKey:
        """Name the job that it is to a back end."""
        return JobKey(study, JobKind.TRIAL, self.attempt.trial.number, self.attempt.number)


def next_attempt(
    running: RunningAttempt, event: TrialEnded, fitter: Fitter, ended: Collection[TrialRecord]
) -> Attempt | None:
    """Return how to try a trial once more whose end says little about its configuration; None if it has ended."""
    if event.report.outcome is Outcome.OOM:
        return retry_after_oom(running, fitter, ended)
    if event.report.outcome is Outcome.OVER_BUDGET:
        return retry_after_over_budget(running, event, fitter.limits.budget_bytes)
    return None


def retry_after_oom(running: RunningAttempt, fitter: Fitter, ended: Collection[TrialRecord]) -> Attempt | None:
    """Try by itself, with all that the device has; then with half the micro-batch, at most."""
    attempt = running.attempt
    where = f"out of memory at micro-batch {attempt.fit.micro_batch}"
    was_co_located, had_less = running.co_located and not attempt.exclusive, attempt.cap_bytes < attempt.fit.cap_bytes
    if was_co_located or had_less:
        how = "beside other trials" if was_co_located else "under a cap of what it was predicted to need"
        return replace(attempt.again(f"{where} {how}; tried again alone"), exclusive=True)
    half = attempt.fit.micro_batch // 2
    if half not in micro_batches(int(attempt.config["batch_size"]), fitter.limits.min_micro_batch):
        return None
    smaller = fitter.fit(attempt.footprint, attempt.config, ended, attempt.room, half).micro_batch
    return replace(attempt.again(f"{where}; tried again with {smaller}"), max_micro_batch=smaller)


def retry_after_over_budget(running: RunningAttempt, event: TrialEnded, budget_bytes: int) -> Attempt | None:
    """Try once with a lower cap: the allocator kept to its own, and what lay beside it was too much."""
    attempt, held, pool = running.attempt, event.reading.peak_bytes, event.report.pool_bytes
    cap = attempt.cap_bytes if running.placed.slot.on_gpu else None
    if cap is None or held is None or attempt.more_beside_bytes or (pool or 0) > POOL_ROUNDING * cap:
        return None
    over = held - budget_bytes
    note = f"{format_size(over)} over the budget with its allocator within its cap; tried again with a lower cap"
    # It was ended at its first reading above the budget, and would have held more: so much as twice the slack.
    beside = held - (cap if pool is None else pool)
    more = max(2 * over, beside - attempt.fit.beside_bytes + 2 * attempt.room.slack_bytes)
    return replace(attempt.again(note), more_beside_bytes=more)
