"""Which trial of a study may run, how it is fitted into its budget, and where it is placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from harness.errors import BuildError
from harness.models import Config
from harness.records.base import utc_now
from harness.records.trial import NOT_MEASURED, Outcome, Reading
from harness.search.attempt import Attempt, RunningAttempt, next_attempt
from harness.search.config import StudyConfig
from harness.search.memory_limits import Fitter, Limits
from harness.search.optuna_study import OpenTrial
from harness.search.trial_table import TrialTable
from harness.trials.backend import TrialBackend, TrialEnded
from harness.trials.report import TrialReport
from harness.units import format_size
from harness.vram.footprint import Footprint
from harness.vram.placement import Placed, Placement
from harness.vram.slots import DeviceSlot, roomiest


@dataclass(frozen=True)
class Rejected:
    """A trial that ended before it ran: its model cannot be built, or fits no device.

    Attributes:
        started: when it was sampled.
        attempt: how it was fitted; None where there is no model.
        constraints: what the sampler is to learn about the limits.
    """

    report: TrialReport
    started: str
    attempt: Attempt | None
    constraints: Mapping[str, float]


class Scheduler:
    """Fits trials into the budget and gives them devices, by what the trials that ended taught."""

    def __init__(self, config: StudyConfig, backend: TrialBackend, trials: TrialTable) -> None:
        self._config, self._backend, self._trials = config, backend, trials
        record = config.record
        limits = Limits(record.budget_bytes, config.min_micro_batch, config.trial_time_limit_seconds, config.slots)
        self._fitter = Fitter(limits, self._estimate)
        self._placement = Placement(config.slots, config.jobs, backend.device_used_bytes)
        self._roomiest = roomiest(config.slots, record.budget_bytes)

    @property
    def may_place(self) -> bool:
        """Whether one more trial might be placed; asked before the next is sampled, so that none is early."""
        return self._placement.may_place(self._placed())

    def admit(self, trial: OpenTrial, config: Config) -> Attempt | Rejected:
        """Fit a trial that was sampled where there is most room.

        Raises:
            HarnessError: the machine failed; the trial has not ended.
        """
        started, ended = utc_now(), self._trials.ended.values()
        try:
            footprint = self._fitter.footprint(config)
        except BuildError as error:
            report = TrialReport(Outcome.CRASHED, f"the model could not be built: {error}")
            return Rejected(report, started, None, {})
        room = self._fitter.room(self._roomiest, ended)
        found = self._fitter.fit(footprint, config, ended, room)
        attempt = Attempt(trial, config, footprint, room, found, started)
        if found.fits:
            return attempt
        budget = self._config.record.budget_bytes
        smallest = f"{format_size(found.footprint_bytes)} at micro-batch {found.micro_batch}"
        limit = f"the budget of {format_size(budget)}"
        if room.total_bytes < budget:
            limit = f"the {format_size(room.total_bytes)} that {self._roomiest.device.name} has free"
        report = TrialReport(Outcome.REFUSED, f"would take {smallest}, over {limit}")
        return Rejected(report, started, attempt, self.constraints(attempt, report))

    def start(self, attempt: Attempt) -> RunningAttempt | None:
        """Place an attempt on a device slot, fitted into the room there, and return it; None while all are full."""
        upper = partial(self._upper, attempt)
        placed = self._placement.choose(self._placed(), upper, exclusive=attempt.exclusive)
        if placed is None:
            return None
        return self._trials.start(self._fitted(attempt, placed.slot), placed)

    def retry(self, running: RunningAttempt, event: TrialEnded) -> Attempt | None:
        """Return how to try a trial once more whose end says little about its configuration; None if it has ended."""
        return next_attempt(running, event, self._fitter, self._trials.ended.values())

    def constraints(self, attempt: Attempt, report: TrialReport, reading: Reading = NOT_MEASURED) -> dict[str, float]:
        """Return what the sampler is to learn about the limits: shares over (above 0) or under each of them."""
        return self._fitter.constraints(attempt.fit, report, reading)

    def _placed(self) -> list[Placed]:
        return self._trials.placed(self._backend.memory_in_use())

    def _estimate(self, config: Config) -> Footprint:
        family, genres = self._config.family, len(self._config.record.dataset.genres)
        return self._backend.estimate_footprints(family.name, family.input_spec_of(config), [config], genres)[0]

    def _fitted(self, attempt: Attempt, slot: DeviceSlot) -> Attempt:
        """Fit an attempt into the room on a slot."""
        ended = self._trials.ended.values()
        room = self._fitter.room(slot, ended, attempt.more_beside_bytes)
        found = self._fitter.fit(attempt.footprint, attempt.config, ended, room, attempt.max_micro_batch)
        capped_low = self._placement.shares(slot) and not attempt.exclusive
        return replace(attempt, room=room, fit=found, capped_low=capped_low)

    def _upper(self, attempt: Attempt, slot: DeviceSlot) -> int | None:
        """Return what an attempt will hardly pass on a slot; None where it is to wait for a slot with more room."""
        found = self._fitted(attempt, slot).fit
        return found.upper_bytes if found.fits or slot == self._roomiest else None
