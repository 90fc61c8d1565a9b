"""How trials are fitted into their budget: predicted, corrected by what was measured, judged afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from harness.models import Config
from harness.records import Outcome, Reading, Source, TrialRecord, short_hash
from harness.trials.spec import Ended
from harness.vram.admission import Lane, widest
from harness.vram.correction import Correction, Need
from harness.vram.fit import Fit, fit
from harness.vram.footprint import Footprint
from harness.vram.room import Room, room

MIN_VIOLATION = 0.01
"""A trial that ran out of memory broke the budget at least by this share, whatever its footprint was."""


@dataclass(frozen=True)
class Limits:
    """What no trial of a study may pass, where it runs.

    Attributes:
        budget_bytes: the study's budget.
        min_micro_batch: floor of the micro-batch, in crops.
        seconds: training time of one trial; None for no limit.
        lanes: the devices.
    """

    budget_bytes: int
    min_micro_batch: int
    seconds: float | None
    lanes: tuple[Lane, ...]

    @property
    def room_bytes(self) -> int:
        """What a trial may take where it may take most."""
        return widest(self.lanes, self.budget_bytes).room_bytes(self.budget_bytes)

    @property
    def measured(self) -> bool:
        """Whether any device's memory is read."""
        return any(lane.probe.source is not Source.NONE for lane in self.lanes)


@dataclass(frozen=True)
class Fitter:
    """Chooses micro-batches, and learns from the trials that ended.

    Attributes:
        reckon: the footprint of a configuration, reckoned in a child.
    """

    limits: Limits
    reckon: Callable[[Config], Footprint]
    _footprints: dict[str, Footprint] = field(default_factory=dict)
    _learnt: dict[int, Correction] = field(default_factory=dict)

    def footprint(self, config: Config) -> Footprint:
        """Return the footprint of a configuration, reckoned once.

        Raises:
            HarnessError: the model cannot be built.
        """
        key = short_hash(dict(config))
        if key not in self._footprints:
            self._footprints[key] = self.reckon(config)
        return self._footprints[key]

    def room(self, lane: Lane, ended: Iterable[TrialRecord], more_beside: int = 0) -> Room:
        """Return what the next trial may take of a lane, by what trials that ended held beside their allocators.

        Args:
            more_beside: bytes that the trial is known to hold beside its allocator beyond what others held.
        """
        found = room_of(lane, self.limits.budget_bytes, ended)
        return replace(found, beside_bytes=found.beside_bytes + more_beside)

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
        if all(lane.device.uuid is None for lane in self.limits.lanes):
            return None
        if not self.limits.measured:
            return Correction()
        trials = sorted(ended, key=lambda trial: trial.number)
        if len(trials) not in self._learnt:
            needs = [need for trial in trials if (need := _need(trial)) is not None]
            self._learnt.clear()
            self._learnt[len(trials)] = Correction.learn(needs)
        return self._learnt[len(trials)]

    def constraints(self, found: Fit, ended: Ended, reading: Reading) -> dict[str, float]:
        """Return what the sampler learns about the limits: shares over (above 0) or under (below 0) each of them."""
        vram = self._needed(found, ended, reading) / self.limits.room_bytes - 1
        if ended.outcome in (Outcome.OOM, Outcome.OVER_BUDGET):
            # It was stopped before it had all that it needed.
            vram = max(vram, found.footprint_bytes / self.limits.room_bytes - 1, MIN_VIOLATION)
        constraints = {"vram": vram}
        limit, seconds = self.limits.seconds, ended.projected_seconds or ended.train_seconds
        if limit is not None and ended.outcome is Outcome.TIMEOUT:
            constraints["seconds"] = max((seconds or limit) / limit - 1, MIN_VIOLATION)
        elif limit is not None and seconds is not None:
            constraints["seconds"] = seconds / limit - 1
        return constraints

    def _needed(self, found: Fit, ended: Ended, reading: Reading) -> int:
        """Return what a trial needs of a device: what its process holds more is the allocator's way of taking it."""
        if reading.peak_bytes is None:
            return found.footprint_bytes
        if ended.allocator_peak_bytes is None:
            return reading.peak_bytes
        return min(ended.allocator_peak_bytes + found.beside_bytes, reading.peak_bytes)


def room_of(lane: Lane, budget_bytes: int, ended: Iterable[TrialRecord]) -> Room:
    """Return what a trial may take of a lane, by what trials that ended there held beside their allocators."""
    total = lane.room_bytes(budget_bytes)
    if lane.device.uuid is None:
        return Room(total)
    return room(total, lane.overhead_bytes, _beside(trial for trial in ended if trial.device == lane.device.uuid))


def _beside(ended: Iterable[TrialRecord]) -> list[int]:
    """Return what trials held on the device beside what their allocators had taken, where both are known."""
    return [
        trial.reading.peak_bytes - trial.pool_bytes
        for trial in ended
        if trial.reading.source in (Source.ACCOUNTING, Source.PROCESS)
        and trial.reading.peak_bytes is not None
        and trial.pool_bytes
        and trial.reading.peak_bytes >= trial.pool_bytes
    ]


def _need(trial: TrialRecord) -> Need | None:
    """Return what a trial's allocator needed beside its prediction; None where the trial says nothing of it."""
    if not trial.reckoned_bytes or trial.reading.peak_bytes is None:
        return None
    stopped = trial.outcome in (Outcome.OOM, Outcome.OVER_BUDGET)
    if trial.allocator_peak_bytes:
        # A trial that died before its first epoch may not have reached its peak.
        known = trial.allocator_peak_bytes if stopped or trial.epochs else None
    elif stopped and trial.cap_bytes is not None:
        # What went over the budget lay beside the allocator.
        known = None
    else:
        held = trial.reading.peak_bytes - (trial.beside_bytes or 0)
        known = held if held > 0 and (stopped or trial.epochs) else None
    return None if known is None else Need(trial.reckoned_bytes, known, stopped)
