"""One study: Optuna is asked, trials run, results are kept first and told after; killed anywhere, it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

import optuna

from harness.events import EpochFinished, Note, Notify, StudyFinished, StudyStarted, TrialFinished, TrialStarted
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.records.trial import Outcome, RunningTrial, TrialRecord, best_trial
from harness.search.attempt import RunningAttempt
from harness.search.config import StudyConfig
from harness.search.optuna_study import OpenTrial, OptunaStudy
from harness.search.reported import by_track, reported
from harness.search.scheduling import Rejected, Scheduler
from harness.search.trial_record import observation, trial_record
from harness.search.trial_spec import trial_spec
from harness.search.trial_table import TrialTable
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger
from harness.trials.backend import EpochReported, FoldReported, TrialBackend, TrialEnded

CRASHES = 5
"""So many trials that crash one after another show that no configuration is to blame: the study ends for now."""

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
        self.scheduler = Scheduler(config, backend, trials)
        self.crashes = 0

    @classmethod
    def open(
        cls,
        config: StudyConfig,
        storage: optuna.storages.BaseStorage | None,
        backend: TrialBackend,
        ledger: Ledger,
        tracker: Tracker,
        notify: Notify,
    ) -> StudyRunner:
        """Take up a study that the ledger holds, as far as it has come.

        Args:
            storage: one that the user named: it is told of the study, and what it alone knows is taken over from it.

        Raises:
            WorkspaceError: a trial in the storage cannot be taken over.
        """
        record, family = config.record, config.family
        proposals = OptunaStudy.open(record, config.trials, len(config.folds), storage)
        _take_over(proposals, ledger, notify)
        trials = TrialTable(record.name, ledger.trials(record.name))
        running, damaged = ledger.running.take_up(record.name, trials.ended)
        for path in damaged:
            notify(Note(f"{path}: cannot be read. The trial is sampled anew, under its number.", warning=True))
        unfinished = proposals.restore(
            trials.ended,
            {number: trial.params for number, trial in running.items()},
            family.baseline,
            family.space,
            partial(reported, config, ledger, best_trial(trial for trial in trials.ended.values() if trial.feasible)),
        )
        trials.add_unfinished(unfinished)
        return cls(config, proposals, backend, ledger, tracker, notify, trials)

    def run(self) -> StudyResults:
        """Run until the configured trials have ended, and return what the study holds then."""
        started = time.monotonic()
        self.tracker.study_started(self.record)
        best = self.best.scores.valid_macro_f1 if self.best is not None else None
        self.notify(StudyStarted(self.record, self.config.trials, self.trials.counted, best))
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
        return best_trial(self.trials.ended.values())

    def _fill(self, started: float) -> None:
        """Start trials until no device has room, or no more are wanted."""
        while self.scheduler.may_place:
            attempt = self.trials.next_waiting
            if attempt is None:
                if not self._may_start(time.monotonic() - started):
                    return
                self._sample(self.trials.next_unfinished or self.proposals.ask())
                continue
            running = self.scheduler.start(attempt)
            if running is None:
                return
            self._started(running)

    def _may_start(self, seconds: float) -> bool:
        if self.crashes >= CRASHES:
            return False
        if self.trials.next_unfinished is not None:
            return True
        if self.config.time_limit_seconds is not None and seconds >= self.config.time_limit_seconds:
            return False
        counted, wanted = self.trials.counted, self.config.trials
        refused = len(self.trials.ended) - counted
        return counted + len(self.trials.running) < wanted and refused < REFUSED_PER_TRIAL * wanted

    def _sample(self, trial: OpenTrial) -> None:
        """Sample a configuration and fit it into the budget; it waits for a device then, or has ended."""
        config = self.proposals.sample(trial, self.config.family.space)
        admitted = self.scheduler.admit(trial, config)
        if isinstance(admitted, Rejected):
            record = trial_record(
                self.record,
                trial,
                admitted.report,
                admitted.started,
                attempt=admitted.attempt,
                constraints=admitted.constraints,
            )
            self._keep(record, trial, None)
        else:
            self.ledger.running.write(RunningTrial(study=self.record.name, number=trial.number, params=trial.params))
            self.trials.wait(admitted)

    def _started(self, running: RunningAttempt) -> None:
        """Tell of an attempt, and hand it to the back end."""
        attempt = running.attempt
        trial, found = attempt.trial, attempt.fit
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
        self.backend.start(trial_spec(self.config, running), running.placed.slot)

    def _epoch_ended(self, event: EpochReported) -> None:
        number, epoch = event.key.number, event.record
        self.tracker.epoch_ended(self.record.name, number, epoch)
        # A probe may have nothing on a young process yet.
        in_use = self.backend.memory_in_use().get(event.key) or None
        self.notify(EpochFinished(self.record.family, number, epoch, in_use))
        # Epochs of different folds saw different tracks; with folds, the pruner is told of tracks instead.
        proceed = len(self.config.folds) > 1 or self._report(number, {epoch.epoch: epoch.val_macro_f1})
        self.backend.reply(event.key, proceed)

    def _fold_ended(self, event: FoldReported) -> None:
        """Report the log probability of every track's genre: the pruner compares trials track by track."""
        self.backend.reply(event.key, self._report(event.key.number, by_track(self.config, event.predictions)))

    def _report(self, number: int, values: Mapping[int, float]) -> bool:
        return self.trials.running[number].attempt.trial.report(values)

    def _trial_ended(self, event: TrialEnded) -> None:
        running = self.trials.running[event.key.number]
        attempt, report = running.attempt, event.report
        again = self.scheduler.retry(running, event)
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
            constraints=self.scheduler.constraints(attempt, report, event.reading),
        )
        self._keep(record, attempt.trial, report.predictions)

    def _keep(self, record: TrialRecord, trial: OpenTrial, predictions: Predictions | None) -> None:
        """Keep the result, then tell Optuna, then everyone else."""
        self.ledger.write_trial(record, predictions)
        self.trials.end(record)
        trial.tell(record)
        self.tracker.trial_ended(record)
        self.notify(TrialFinished(record))
        self._count_crash(record)

    def _count_crash(self, record: TrialRecord) -> None:
        self.crashes = self.crashes + 1 if record.outcome is Outcome.CRASHED else 0
        if self.crashes == CRASHES:
            text = f"{self.record.family}: {CRASHES} trials crashed one after another, so no more of them are started"
            self.notify(Note(f"{text}. See what they say; the same command goes on with the next.", warning=True))

    def _finish(self) -> StudyResults:
        completed = sum(trial.completed for trial in self.trials.ended.values())
        if self.ledger.importance_trials(self.record.name) != completed:
            importance = self.proposals.importance(self.trials.ended)
            self.ledger.write_importance(self.record.name, importance, completed)
        self.tracker.study_ended(self.record.name)
        results = self.ledger.results(self.record.name)
        self.notify(StudyFinished(results))
        return results


def _take_over(proposals: OptunaStudy, ledger: Ledger, notify: Notify) -> None:
    """Keep what a storage that the user named knows and the ledger does not: trials that another workspace ran."""
    record, shared = proposals.record, proposals.shared
    if shared is None:
        return
    taken = shared.take_over(ledger.owner(), [trial.number for trial in ledger.trials(record.name)])
    for trial in taken:
        ledger.write_trial(trial, None)
    if taken:
        trials = f"{len(taken)} trial{'s' * (len(taken) > 1)}"
        text = f"{record.family}: {trials} of {record.name} taken over from Optuna's storage"
        absent = "Their models and predictions are not here: champion and ensembles are chosen among the others."
        notify(Note(f"{text}. {absent}", warning=True))
