"""How trials are fitted into their budget: predicted, corrected by what was measured, judged afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.models import Config
from harness.records import Outcome, Reading, Source, TrialRecord, short_hash
from harness.trials.spec import Ended
from harness.vram.admission import Lane
from harness.vram.fit import Fit, fit
from harness.vram.footprint import Correction, Footprint

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
        """The budget, or what the smallest device has, if that is less."""
        sizes = [lane.device.total_bytes for lane in self.lanes if lane.device.total_bytes is not None]
        return min([self.budget_bytes, *sizes])

    @property
    def overhead_bytes(self) -> int:
        """What a process holds on a device beside its framework's allocator."""
        return max(lane.overhead_bytes for lane in self.lanes)

    @property
    def cap_bytes(self) -> int | None:
        """What the framework's allocator may take: the room less the overhead; None without a GPU."""
        if all(lane.device.uuid is None for lane in self.lanes):
            return None
        return max(self.room_bytes - self.overhead_bytes, 1)

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

    def footprint(self, config: Config) -> Footprint:
        """Return the footprint of a configuration, reckoned once.

        Raises:
            HarnessError: the model cannot be built.
        """
        key = short_hash(dict(config))
        if key not in self._footprints:
            self._footprints[key] = self.reckon(config)
        return self._footprints[key]

    def fit(
        self, footprint: Footprint, config: Config, ended: Iterable[TrialRecord], max_micro_batch: int | None = None
    ) -> Fit:
        """Fit a configuration into the room that there is, by what the trials that ended taught."""
        return fit(
            footprint,
            int(config["batch_size"]),
            self.limits.room_bytes,
            self.limits.min_micro_batch,
            correction=self._correction(ended),
            overhead_bytes=self.limits.overhead_bytes,
            max_micro_batch=max_micro_batch,
        )

    def _correction(self, ended: Iterable[TrialRecord]) -> Correction | None:
        """Return what measured peaks taught; None where the driver measures nothing, so that equal runs stay equal."""
        if not self.limits.measured:
            return None
        overhead = self.limits.overhead_bytes
        return Correction.learn(
            [
                (trial.reckoned_bytes, trial.reading.peak_bytes - overhead)
                for trial in sorted(ended, key=lambda trial: trial.number)
                if trial.reckoned_bytes
                and trial.reading.peak_bytes is not None
                and trial.reading.peak_bytes > overhead
                # A trial that died before its first epoch may not have reached its peak, one out of memory has not.
                and (trial.outcome is Outcome.OVER_BUDGET or (trial.epochs and trial.outcome is not Outcome.OOM))
            ]
        )

    def constraints(self, found: Fit, ended: Ended, reading: Reading) -> dict[str, float]:
        """Return what the sampler learns about the limits: shares over (above 0) or under (below 0) each of them."""
        held = reading.peak_bytes if reading.peak_bytes is not None else found.footprint_bytes
        vram = held / self.limits.budget_bytes - 1
        if ended.outcome in (Outcome.OOM, Outcome.OVER_BUDGET):
            vram = max(vram, MIN_VIOLATION)
        if ended.outcome is Outcome.REFUSED:
            vram = max(vram, found.footprint_bytes / self.limits.room_bytes - 1)
        constraints = {"vram": vram}
        limit, seconds = self.limits.seconds, ended.projected_seconds or ended.train_seconds
        if limit is not None and ended.outcome is Outcome.TIMEOUT:
            constraints["seconds"] = max((seconds or limit) / limit - 1, MIN_VIOLATION)
        elif limit is not None and seconds is not None:
            constraints["seconds"] = seconds / limit - 1
        return constraints
