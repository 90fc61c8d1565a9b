"""How trials are fitted into their budget: predicted, corrected by what was measured, and rated afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from harness.hashing import short_hash
from harness.models import Config
from harness.records.trial import NOT_MEASURED, Outcome, Reading, ReadingSource, TrialRecord
from harness.trials.report import TrialReport
from harness.vram.correction import Correction, Need
from harness.vram.fit import Fit, fit
from harness.vram.footprint import Footprint
from harness.vram.room import Room, room
from harness.vram.slots import DeviceSlot, roomiest

MIN_VIOLATION = 0.01
"""A trial that ran out of memory broke the budget at least by this share, whatever its footprint was."""


@dataclass(frozen=True)
class Limits:
    """What no trial of a study may pass, where it runs.

    Attributes:
        budget_bytes: the study's budget.
        min_micro_batch: floor of the micro-batch, in crops.
        seconds: training time of one trial; None for no limit.
        slots: the devices.
    """

    budget_bytes: int
    min_micro_batch: int
    seconds: float | None
    slots: tuple[DeviceSlot, ...]

    @property
    def room_bytes(self) -> int:
        """What a trial may take where it may take most."""
        return roomiest(self.slots, self.budget_bytes).room_bytes(self.budget_bytes)

    @property
    def measured(self) -> bool:
        """Whether any device's memory is read."""
        return any(slot.source is not ReadingSource.NONE for slot in self.slots)


@dataclass(frozen=True)
class Fitter:
    """Chooses micro-batches, and learns from the trials that ended.

    Attributes:
        estimate: estimates the footprint of a configuration.
    """

    limits: Limits
    estimate: Callable[[Config], Footprint]
    _footprints: dict[str, Footprint] = field(default_factory=dict)
    _learnt: dict[int, Correction] = field(default_factory=dict)

    def footprint(self, config: Config) -> Footprint:
        """Return the footprint of a configuration, estimated once.

        Raises:
            BuildError: the model cannot be built.
            HarnessError: the machine failed.
        """
        key = short_hash(dict(config))
        if key not in self._footprints:
            self._footprints[key] = self.estimate(config)
        return self._footprints[key]

    def room(self, slot: DeviceSlot, ended: Iterable[TrialRecord], more_beside_bytes: int = 0) -> Room:
        """Return what the next trial may take of a slot, by what trials that ended held beside their allocators.

        Args:
            more_beside_bytes: that the trial is known to hold beside its allocator beyond what others held.
        """
        found = room_of(slot, self.limits.budget_bytes, ended)
        return replace(found, beside_bytes=found.beside_bytes + more_beside_bytes)

    def fit(
        self,
        footprint: Footprint,
        config: Config,
        ended: Iterable[TrialRecord],
        room: Room,
        max_micro_batch: int | None = None,
    ) -> Fit:
        """Fit a configuration into a room, by what the trials that ended taught."""
        return fit(
            footprint,
            int(config["batch_size"]),
            room,
            self.limits.min_micro_batch,
            correction=self._correction(ended),
            max_micro_batch=max_micro_batch,
        )

    def _correction(self, ended: Iterable[TrialRecord]) -> Correction | None:
        """Return what trials taught, nothing where nothing is measured; None on a CPU: equal runs stay equal."""
        if not any(slot.on_gpu for slot in self.limits.slots):
            return None
        if not self.limits.measured:
            return Correction()
        trials = sorted(ended, key=lambda trial: trial.number)
        if len(trials) not in self._learnt:
            needs = [need for trial in trials if (need := _need(trial)) is not None]
            self._learnt.clear()
            self._learnt[len(trials)] = Correction.learn(needs)
        return self._learnt[len(trials)]

    def constraints(self, found: Fit, report: TrialReport, reading: Reading = NOT_MEASURED) -> dict[str, float]:
        """Return what the sampler learns about the limits: shares over (above 0) or under (below 0) each of them."""
        vram = self._needed(found, report, reading) / self.limits.room_bytes - 1
        if report.outcome in (Outcome.OOM, Outcome.OVER_BUDGET):
            # It was stopped before it had all that it needed.
            vram = max(vram, found.footprint_bytes / self.limits.room_bytes - 1, MIN_VIOLATION)
        constraints = {"vram": vram}
        limit, seconds = self.limits.seconds, report.projected_seconds or report.train_seconds
        if limit is not None and report.outcome is Outcome.TIMEOUT:
            constraints["seconds"] = max((seconds or limit) / limit - 1, MIN_VIOLATION)
        elif limit is not None and seconds is not None:
            constraints["seconds"] = seconds / limit - 1
        return constraints

    def _needed(self, found: Fit, report: TrialReport, reading: Reading) -> int:
        """Return what a trial needs of a device: what its process holds more is the allocator's way of taking it."""
        if reading.peak_bytes is None:
            return found.footprint_bytes
        if report.allocator_peak_bytes is None:
            return reading.peak_bytes
        return min(report.allocator_peak_bytes + found.beside_bytes, reading.peak_bytes)


def room_of(slot: DeviceSlot, budget_bytes: int, ended: Iterable[TrialRecord]) -> Room:
    """Return what a trial may take of a slot, by what trials that ended there held beside their allocators."""
    total = slot.room_bytes(budget_bytes)
    if not slot.on_gpu:
        return Room(total)
    return room(
        total, slot.overhead_bytes, _beside(trial for trial in ended if trial.memory.device == slot.device.uuid)
    )


def _beside(ended: Iterable[TrialRecord]) -> list[int]:
    """Return what trials held on the device beside what their allocators had taken, where both are known."""
    return [
        memory.reading.peak_bytes - memory.pool_bytes
        for memory in (trial.memory for trial in ended)
        if memory.reading.source in (ReadingSource.ACCOUNTING, ReadingSource.PROCESS)
        and memory.reading.peak_bytes is not None
        and memory.pool_bytes
        and memory.reading.peak_bytes >= memory.pool_bytes
    ]


def _need(trial: TrialRecord) -> Need | None:
    """Return what a trial's allocator needed beside its prediction; None where the trial says nothing of it."""
    memory = trial.memory
    if not memory.model_footprint_bytes or memory.reading.peak_bytes is None:
        return None
    stopped = trial.outcome in (Outcome.OOM, Outcome.OVER_BUDGET)
    if memory.allocator_peak_bytes:
        # A trial that died before its first epoch may not have reached its peak.
        known = memory.allocator_peak_bytes if stopped or trial.epochs else None
    elif stopped and memory.cap_bytes is not None:
        # What went over the budget lay beside the allocator.
        known = None
    else:
        held = memory.reading.peak_bytes - (memory.beside_bytes or 0)
        known = held if held > 0 and (stopped or trial.epochs) else None
    return None if known is None else Need(memory.model_footprint_bytes, known, stopped)
