"""One study: Optuna is asked, trials run, results are kept first and told after; killed anywhere, it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import optuna

from harness.errors import HarnessError
from harness.events import EpochFinished, Notify, StudyFinished, StudyStarted, TrialFinished, TrialStarted
from harness.models import Config
from harness.records import Outcome, Predictions, StudyResults, TrialRecord
from harness.scoring.metrics import log_likelihoods
from harness.search.attempt import Attempt, next_attempt
from harness.search.config import StudyConfig
from harness.search.memory_limits import Fitter, Limits
from harness.search.optuna_study import OpenTrial, OptunaStudy
from harness.search.trial_record import now, observation, trial_record
from harness.search.trial_spec import trial_spec
from harness.search.trial_table import TrialTable
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger
from harness.tracking.serialization import IMPORTANCE, dump_importance
from harness.trials.backend import EpochReported, FoldReported, TrialBackend, TrialEnded
from harness.trials.report import TrialReport
from harness.units import format_size
from harness.vram.footprint import Footprint
from harness.vram.placement import Placed, Placement
from harness.vram.slots import DeviceSlot, roomiest

REFUSED_PER_TRIAL = 3
"""Refused trials cost no training; a study may have this many for each trial that it is to run."""


class StudyRunner:
    """A study in progress; `open` takes one up, and `run` is all that a caller needs then."""

    def __init__(
        self,
        config: StudyConfig,
        proposals: OptunaStudy,
        backend: TrialBackend,
        ledger: Ledger,
        tracker: Tracker,
        notify: Notify,
        trials: TrialTable,
    ) -> None:
        self.config, self.proposals, self.backend = config, proposals, backend
        self.ledger, self.tracker, self.notify, self.trials = ledger, tracker, notify, trials
        self.record = config.record
        limits = Limits(self.record.budget_bytes, config.min_micro_batch, config.trial_time_limit_seconds, config.slots)
        self.fitter = Fitter(limits, self._estimate)
        self.placement = Placement(config.slots, config.jobs, backend.device_used_bytes)
        self.roomiest = roomiest(config.slots, self.record.budget_bytes)
        held_out = sorted(example.track for fold in config.folds for example in fold.valid)
        self.steps = {track: step for step, track in enumerate(held_out)}

    @classmethod
    def open(
        cls,
        config: StudyConfig,
        storage: optuna.storages.BaseStorage,
        backend: TrialBackend,
        ledger: Ledger,
        tracker: Tracker,
        notify: Notify,
    ) -> StudyRunner:
        """Take up a study that the ledger holds, as far as it has come.

        Raises:
            WorkspaceError: Optuna's storage and the ledger do not tell of the same study.
        """
        proposals = OptunaStudy.open(config.record, config.trials, len(config.folds), storage)
        trials = TrialTable(ledger.trials(config.record.study))
        proposals.check_ownership(ledger.owner, trials.ended)
        trials.add_unfinished(proposals.resume(trials.ended, config.family.baseline))
        return cls(config, proposals, backend, ledger, tracker, notify, trials)

    def run(self) -> StudyResults:
        """Run until the configured trials have ended, and return what the study holds then."""
        started = time.monotonic()
        self.tracker.study_started(self.record)
        best = self.best.scores.valid_macro_f1 if self.best is not None else None
        self.notify(StudyStarted(self.record, self.config.trials, self._counted(), best))
        while True:
            self._fill(started)
            if not self.trials.running:
                return self._finish()
            for event in self.backend.events():
                match event:
                    case EpochReported():
                        self._epoch_ended(event)
                    case FoldReported():
                        self._fold_ended(event)
                    case TrialEnded():
                        self._trial_ended(event)

    @property
    def best(self) -> TrialRecord | None:
        """The best completed trial so far."""
        return StudyResults(self.record, tuple(self.trials.ended.values()), {}).best

    def _fill(self, started: float) -> None:
        """Start trials until no device has room, or no more are wanted."""
        while self.placement.may_place(self._placed()):
            attempt = self.trials.next_waiting
            if attempt is None:
                if not self._may_start(time.monotonic() - started):
                    return
                self._sample(self.trials.next_unfinished or self.proposals.ask())
                continue
            placed = self.placement.choose(self._placed(), partial(self._upper, attempt), exclusive=attempt.exclusive)
            if placed is None:
                return
            self._start(self._fitted(attempt, placed.slot), placed)

    def _placed(self) -> list[Placed]:
        return self.trials.placed(self.backend.memory_in_use())

    def _may_start(self, seconds: float) -> bool:
        if self.trials.next_unfinished is not None:
            return True
        if self.config.time_limit_seconds is not None and seconds >= self.config.time_limit_seconds:
            return False
        counted, wanted = self._counted(), self.config.trials
        refused = len(self.trials.ended) - counted
        return counted + len(self.trials.running) < wanted and refused < REFUSED_PER_TRIAL * wanted

    def _counted(self) -> int:
        return sum(trial.outcome is not Outcome.REFUSED for trial in self.trials.ended.values())

    def _sample(self, trial: OpenTrial) -> None:
        """Sample a configuration and fit it into the budget; it waits for a device then, or has ended."""
        config = self.proposals.sample(trial, self.config.family.space)
        try:
            footprint = self.fitter.footprint(config)
        except HarnessError as error:
            report = TrialReport(Outcome.CRASHED, f"the model could not be built: {error}")
            self._keep(trial_record(self.record, trial, report, now()), trial, None)
            return
        ended = self.trials.ended.values()
        room = self.fitter.room(self.roomiest, ended)
        found = self.fitter.fit(footprint, config, ended, room)
        attempt = Attempt(trial, config, footprint, room, found, now())
        if found.fits:
            self.trials.wait(attempt)
            return
        smallest = f"{format_size(found.footprint_bytes)} at micro-batch {found.micro_batch}"
        limit = f"the budget of {format_size(self.record.budget_bytes)}"
        if room.total_bytes < self.record.budget_bytes:
            limit = f"the {format_size(room.total_bytes)} that {self.roomiest.device.name} has free"
        report = TrialReport(Outcome.REFUSED, f"would take {smallest}, over {limit}")
        constraints = self.fitter.constraints(found, report)
        record = trial_record(self.record, trial, report, attempt.started, attempt=attempt, constraints=constraints)
        self._keep(record, trial, None)

    def _estimate(self, config: Config) -> Footprint:
        family, genres = self.config.family, len(self.record.dataset.genres)
        return self.backend.estimate_footprints(family.name, family.input_spec_of(config), [config], genres)[0]

    def _fitted(self, attempt: Attempt, slot: DeviceSlot) -> Attempt:
        """Fit an attempt into the room on a slot."""
        ended = self.trials.ended.values()
        room = self.fitter.room(slot, ended, attempt.more_beside_bytes)
        found = self.fitter.fit(attempt.footprint, attempt.config, ended, room, attempt.max_micro_batch)
        capped_low = self.placement.shares(slot) and not attempt.exclusive
        return replace(attempt, room=room, fit=found, capped_low=capped_low)

    def _upper(self, attempt: Attempt, slot: DeviceSlot) -> int | None:
        """Return what an attempt will hardly pass on a slot; None where it is to wait for a slot with more room."""
        found = self._fitted(attempt, slot).fit
        return found.upper_bytes if found.fits or slot == self.roomiest else None

    def _start(self, attempt: Attempt, placed: Placed) -> None:
        trial, found = attempt.trial, attempt.fit
        self.trials.start(attempt, placed)
        if attempt.number == 0:
            self.tracker.trial_started(self.record, trial.number, trial.params)
        self.notify(
            TrialStarted(
                self.record.family,
                trial.number,
                trial.params,
                found.micro_batch,
                found.accumulation,
                found.footprint_bytes,
            )
        )
        self.backend.start(trial_spec(self.config, self.trials.running[trial.number]), placed.slot)

    def _epoch_ended(self, event: EpochReported) -> None:
        number, epoch = event.key.number, event.record
        self.tracker.epoch_ended(self.record.study, number, epoch)
        in_use = self.backend.memory_in_use().get(event.key)
        self.notify(EpochFinished(self.record.family, number, epoch, in_use))
        # Epochs of different folds saw different tracks; with folds, the pruner is told of tracks instead.
        proceed = len(self.config.folds) > 1 or self._report(number, {epoch.epoch: epoch.val_macro_f1})
        self.backend.reply(event.key, proceed)

    def _fold_ended(self, event: FoldReported) -> None:
        """Report the log probability of every track's genre: the pruner compares trials track by track."""
        logs = log_likelihoods(event.predictions)
        values = {self.steps[track]: float(log) for track, log in zip(event.predictions.tracks, logs, strict=True)}
        self.backend.reply(event.key, self._report(event.key.number, values))

    def _report(self, number: int, values: Mapping[int, float]) -> bool:
        return self.trials.running[number].attempt.trial.report(values)

    def _trial_ended(self, event: TrialEnded) -> None:
        running = self.trials.running[event.key.number]
        attempt, report = running.attempt, event.report
        again = next_attempt(running, event, self.fitter, self.trials.ended.values())
        if again is not None:
            again.trial.begin_attempt()
            self.trials.wait(again)
            return
        record = trial_record(
            self.record,
            attempt.trial,
            report,
            attempt.started,
            attempt=attempt,
            observed=observation(running, event),
            constraints=self.fitter.constraints(attempt.fit, report, event.reading),
        )
        self._keep(record, attempt.trial, report.predictions)

    def _keep(self, record: TrialRecord, trial: OpenTrial, predictions: Predictions | None) -> None:
        """Keep the result, then tell Optuna, then everyone else."""
        self.ledger.write_trial(record, predictions)
        self.trials.end(record)
        trial.tell(record)
        self.tracker.trial_ended(record)
        self.notify(TrialFinished(record))

    def _finish(self) -> StudyResults:
        importance = dump_importance(self.proposals.importance(self.trials.ended))
        self.ledger.write_study_files(self.record.study, {IMPORTANCE: importance})
        self.tracker.study_ended(self.record.study)
        results = self.ledger.results(self.record.study)
        self.notify(StudyFinished(results))
        return results
