"""One study: Optuna is asked, trials run, results are kept first and told after; killed anywhere, it goes on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import optuna

from harness.audio.features import InputView
from harness.errors import HarnessError, WorkspaceError
from harness.families import Family
from harness.models import Config
from harness.records import (
    Outcome,
    Predictions,
    Reading,
    StudyRecord,
    StudyResults,
    TrialRecord,
)
from harness.scoring.metrics import log_likelihoods
from harness.search.events import EpochEnded, Notify, StudyEnded, StudyStarted, TrialEnded, TrialStarted
from harness.search.fitting import Fitter, Limits
from harness.search.sampler import pruner, sampler, seed_for
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger
from harness.tracking.serialization import IMPORTANCE, dump_importance
from harness.trials.pool import End, Epoch, Event, FoldEnd
from harness.trials.spec import Ended, Fold, TrialSpec
from harness.units import format_size
from harness.vram.admission import CPU_LANE, Admission, Lane, widest
from harness.vram.fit import Fit, micro_batches
from harness.vram.footprint import Footprint
from harness.vram.room import Room

POOL_ROUNDING = 1.01
"""TensorFlow's log rounds what its allocator took to hundredths of a GiB, so a pool at its cap may seem to pass it."""

REFUSED_PER_TRIAL = 3
"""Refused trials cost no training; a study may have this many for each trial that it is to run."""

NOT_MEASURED = Reading()

# Told as PRUNED: samplers ignore failed trials, and would propose the same again.
_PRUNED = {
    Outcome.PRUNED,
    Outcome.REFUSED,
    Outcome.OVER_BUDGET,
    Outcome.OOM,
    Outcome.TIMEOUT,
    Outcome.DIVERGED,
}


class Trials(Protocol):
    """The part of `harness.trials.pool.Pool` that a study uses."""

    def reckon(self, family: str, view: InputView, config: Config, genres: int) -> Footprint: ...

    @property
    def held(self) -> Mapping[int, int]: ...

    def start(self, spec: TrialSpec, lane: Lane) -> None: ...

    def events(self) -> Iterator[Event]: ...

    def reply(self, number: int, go_on: bool) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What a study needs besides its record.

    Attributes:
        trials: total of trials; those that ended count, refused ones do not.
        folds: what each trial trains on, and validates on, in turn.
        store: root folder of the feature store.
        jobs: trials at once; None for as many as predicted memory allows.
        lanes: the devices to run on.
        time_limit_seconds: no trial starts once the study has run for so long in this run.
        trial_time_limit_seconds: training time of one trial.
    """

    family: Family
    record: StudyRecord
    trials: int
    folds: tuple[Fold, ...]
    store: Path
    min_micro_batch: int
    jobs: int | None
    threads: int
    deterministic: bool
    time_limit_seconds: float | None
    trial_time_limit_seconds: float | None
    lanes: tuple[Lane, ...] = (CPU_LANE,)


@dataclass(frozen=True)
class _Attempt:
    """A trial as it is tried now: again with a smaller micro-batch or alone, after it ran out of memory.

    Attributes:
        room: what it may take of the device that it is placed on.
        fit: how it is fitted into that.
        reported: steps that Optuna was told of by earlier attempts: epochs, or validation tracks where there are folds.
        passed: steps that this attempt has reached.
        max_micro_batch: ceiling, after it ran out of memory above it.
        more_beside: bytes that it holds beside its allocator beyond what was estimated, after it passed its budget.
        alone: whether it must not share its device.
        capped_low: whether its cap was what it was predicted to need, since others may share its device.
        notes: what happened to the attempts before.
    """

    trial: optuna.Trial
    config: Config
    footprint: Footprint
    room: Room
    fit: Fit
    started: str
    reported: frozenset[int]
    max_micro_batch: int | None = None
    more_beside: int = 0
    alone: bool = False
    capped_low: bool = False
    notes: tuple[str, ...] = ()
    passed: set[int] = field(default_factory=set)

    @property
    def reckoned_bytes(self) -> int:
        return self.footprint.peak(self.fit.micro_batch, self.fit.accumulation)

    @property
    def cap_bytes(self) -> int:
        """What the allocator may take; a trial that may get company keeps to its own upper bound."""
        need = max(self.fit.upper_bytes - self.fit.beside_bytes - self.more_beside, 1)
        return min(self.fit.cap_bytes, need) if self.capped_low else self.fit.cap_bytes


class Study:
    """A study in progress; `run` is all that a caller needs."""

    def __init__(
        self,
        plan: Plan,
        storage: optuna.storages.BaseStorage,
        pool: Trials,
        ledger: Ledger,
        tracker: Tracker,
        notify: Notify,
    ) -> None:
        self.plan, self.pool, self.ledger, self.tracker, self.notify = plan, pool, ledger, tracker, notify
        self.record = ledger.open_study(plan.record)
        self.optuna = optuna.create_study(
            study_name=plan.record.study,
            storage=storage,
            pruner=pruner(plan.record.epochs, len(plan.folds)),
            direction="maximize",
            load_if_exists=True,
        )
        self.ended = {trial.number: trial for trial in ledger.trials(plan.record.study)}
        self.admission = Admission(plan.lanes, plan.jobs)
        self.widest = widest(plan.lanes, plan.record.budget_bytes)
        self.running: dict[int, _Attempt] = {}
        self.shared: set[int] = set()
        self.waiting: list[_Attempt] = []
        self.cut_off: list[optuna.Trial] = []
        limits = Limits(plan.record.budget_bytes, plan.min_micro_batch, plan.trial_time_limit_seconds, plan.lanes)
        genres = len(plan.record.dataset.genres)
        family = plan.family
        self.fitter = Fitter(limits, lambda config: pool.reckon(family.name, family.view_of(config), config, genres))
        held_out = sorted(example.track for fold in plan.folds for example in fold.valid)
        self.steps = {track: step for step, track in enumerate(held_out)}

    def run(self) -> StudyResults:
        """Run until the plan's trials have ended, and return what the study holds then."""
        started = time.monotonic()
        self._catch_up()
        self.tracker.study_started(self.record)
        best = self.best.valid_macro_f1 if self.best is not None else None
        self.notify(StudyStarted(self.record, self.plan.trials, self._counted(), best))
        while True:
            self._fill(started)
            if not self.running:
                return self._finish()
            for event in self.pool.events():
                match event:
                    case Epoch():
                        self._epoch_ended(event)
                    case FoldEnd():
                        self._fold_ended(event)
                    case End():
                        self._trial_ended(event)

    def _fill(self, started: float) -> None:
        """Start trials until no device has room, or no more are wanted."""
        while self.admission.has_slot and (self.waiting or self._may_start(time.monotonic() - started)):
            if not self.waiting:
                attempt = self._sample(self.cut_off.pop(0) if self.cut_off else self.optuna.ask())
                if attempt is None:
                    continue
                self.waiting.append(attempt)
            attempt = self.waiting[0]
            number = attempt.trial.number
            lane = self.admission.place(number, partial(self._upper, attempt), self.pool.held, alone=attempt.alone)
            if lane is None:
                return
            self._start(self._fitted(self.waiting.pop(0), lane), lane)

    def _fitted(self, attempt: _Attempt, lane: Lane) -> _Attempt:
        """Fit an attempt into the room on a lane."""
        room = self.fitter.room(lane, self.ended.values(), attempt.more_beside)
        ended = self.ended.values()
        found = self.fitter.fit(attempt.footprint, attempt.config, ended, room, attempt.max_micro_batch)
        return replace(attempt, room=room, fit=found, capped_low=self.admission.shares(lane) and not attempt.alone)

    def _upper(self, attempt: _Attempt, lane: Lane) -> int | None:
        """Return what an attempt will hardly pass on a lane; None where it is to wait for a lane with more room."""
        found = self._fitted(attempt, lane).fit
        return found.upper_bytes if found.fits or lane is self.widest else None

    def _catch_up(self) -> None:
        """Tell Optuna what the ledger knows, and take up the trials that an earlier run left unfinished."""
        frozen_trials = self.optuna.get_trials(deepcopy=False)
        self._claim({frozen.number for frozen in frozen_trials if frozen.state.is_finished()})
        if not frozen_trials:
            self.optuna.enqueue_trial(dict(self.plan.family.baseline))
        for frozen in frozen_trials:
            if frozen.state is not optuna.trial.TrialState.RUNNING:
                continue
            self.optuna.sampler = self._sampler(frozen.number)
            trial = optuna.Trial(self.optuna, frozen._trial_id)
            if frozen.number in self.ended:
                self._tell(trial, self.ended[frozen.number])
            else:
                self.cut_off.append(trial)

    def _claim(self, finished: set[int]) -> None:
        """Make sure that Optuna's storage and this workspace tell of the same study.

        Raises:
            WorkspaceError: another workspace made the study in this storage, or the storage lost trials.
        """
        name, owner = self.record.study, self.ledger.owner
        known = {frozen.number for frozen in self.optuna.get_trials(deepcopy=False)}
        if self.optuna.user_attrs.setdefault("workspace", owner) != owner or not finished <= self.ended.keys():
            raise WorkspaceError(
                f"Optuna's storage holds trials of {name} that another workspace made. Go on there, or name another "
                "--storage."
            )
        if not self.ended.keys() <= known:
            raise WorkspaceError(
                f"Optuna's storage does not know {len(self.ended.keys() - known)} trials of {name} that this workspace "
                "holds. Name the --storage that they were made with, put it back, or start a new --workspace."
            )
        self.optuna.set_user_attr("workspace", owner)

    def _counted(self) -> int:
        return sum(trial.outcome is not Outcome.REFUSED for trial in self.ended.values())

    def _may_start(self, seconds: float) -> bool:
        if self.cut_off:
            return True
        if self.plan.time_limit_seconds is not None and seconds >= self.plan.time_limit_seconds:
            return False
        refused = len(self.ended) - self._counted()
        return self._counted() + len(self.running) < self.plan.trials and refused < REFUSED_PER_TRIAL * self.plan.trials

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        return sampler(self.record.seed, number, self.plan.trials)

    def _sample(self, trial: optuna.Trial) -> _Attempt | None:
        """Sample the configuration and fit it into the budget; None if that ended the trial."""
        # Sampling happens when the space asks for values, so the sampler may be set after the ask.
        self.optuna.sampler = self._sampler(trial.number)
        config = self.plan.family.space(trial, self.record.quick)
        try:
            footprint = self.fitter.footprint(config)
        except HarnessError as error:
            message = f"the model could not be built: {error}"
            self._keep(self._record(trial, _now(), Ended(Outcome.CRASHED, message)), trial, None)
            return None
        reported = frozenset(self._frozen(trial.number).intermediate_values)
        room = self.fitter.room(self.widest, self.ended.values())
        found = self.fitter.fit(footprint, config, self.ended.values(), room)
        attempt = _Attempt(trial, config, footprint, room, found, _now(), reported)
        if attempt.fit.fits:
            return attempt
        smallest = f"{format_size(attempt.fit.footprint_bytes)} at micro-batch {attempt.fit.micro_batch}"
        limit = f"the budget of {format_size(self.record.budget_bytes)}"
        if room.total_bytes < self.record.budget_bytes:
            limit = f"the {format_size(room.total_bytes)} that {self.widest.device.name} has free"
        self._end(attempt, Ended(Outcome.REFUSED, f"would take {smallest}, over {limit}"))
        return None

    def _start(self, attempt: _Attempt, lane: Lane) -> None:
        number, found = attempt.trial.number, attempt.fit
        self.running[number] = attempt
        company = self.admission.company(number)
        self.shared |= company | ({number} if company else set())
        if not attempt.notes:
            self.tracker.trial_started(self.record, number, attempt.trial.params)
        self.notify(
            TrialStarted(
                self.record.family,
                number,
                attempt.trial.params,
                found.micro_batch,
                found.accumulation,
                found.footprint_bytes,
            )
        )
        self.pool.start(self._spec(attempt, lane), lane)

    def _spec(self, attempt: _Attempt, lane: Lane) -> TrialSpec:
        plan, record, number = self.plan, self.record, attempt.trial.number
        return TrialSpec(
            family=record.family,
            study=record.study,
            number=number,
            config=dict(attempt.config),
            view=plan.family.view_of(attempt.config),
            store=plan.store,
            genres=record.dataset.genres,
            folds=plan.folds,
            epochs=record.epochs,
            seed=seed_for(record.seed, record.family, number),
            micro_batch=attempt.fit.micro_batch,
            accumulation=attempt.fit.accumulation,
            budget_bytes=record.budget_bytes,
            cap_bytes=attempt.cap_bytes if lane.device.uuid is not None else None,
            device_bytes=lane.device.total_bytes,
            time_limit_seconds=plan.trial_time_limit_seconds,
            deterministic=plan.deterministic,
            threads=plan.threads,
            model=self.ledger.model_path(record.study, number),
            log=self.ledger.log_path(record.study, number),
            environment=lane.device.environment(),
        )

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        return self.optuna.get_trials(deepcopy=False)[number]

    def _epoch_ended(self, event: Epoch) -> None:
        epoch = event.record
        self.tracker.epoch_ended(self.record.study, event.number, epoch)
        held = self.pool.held.get(event.number) or None
        self.notify(EpochEnded(self.record.family, event.number, epoch, held))
        # Epochs of different folds saw different tracks; with folds, the pruner hears of tracks instead.
        go_on = len(self.plan.folds) > 1 or self._report(event.number, {epoch.epoch: epoch.val_macro_f1})
        self.pool.reply(event.number, go_on)

    def _fold_ended(self, event: FoldEnd) -> None:
        """Report the log probability of every track's genre: the pruner compares trials track by track."""
        logs = log_likelihoods(event.predictions)
        values = {self.steps[track]: float(log) for track, log in zip(event.predictions.tracks, logs, strict=True)}
        self.pool.reply(event.number, self._report(event.number, values))

    def _report(self, number: int, values: Mapping[int, float]) -> bool:
        """Tell Optuna what a running trial reached, by step; return whether the trial should go on."""
        attempt = self.running[number]
        attempt.passed.update(values)
        for step, value in values.items():
            if step not in attempt.reported:
                # Reports are write-once: an interrupted attempt at this trial may have made some.
                attempt.trial.report(value, step)
        # Before the last step that an earlier attempt reported, the pruner would judge by that one.
        return not (attempt.reported <= attempt.passed and attempt.trial.should_prune())

    def _trial_ended(self, event: End) -> None:
        number = event.spec.number
        attempt, in_company = self.running.pop(number), number in self.shared
        self.admission.release(number)
        self.shared.discard(number)
        again = self._another_attempt(attempt, event, in_company)
        if again is not None:
            reported = frozenset(self._frozen(number).intermediate_values)
            self.waiting.insert(0, replace(again, reported=reported, passed=set()))
        else:
            self._end(attempt, event.ended, event.reading, event)

    def _another_attempt(self, attempt: _Attempt, event: End, in_company: bool) -> _Attempt | None:
        """Return how to try a trial once more whose end says little about its configuration; None if it has ended."""
        if event.ended.outcome is Outcome.OOM:
            return self._after_oom(attempt, event, in_company)
        if event.ended.outcome is Outcome.OVER_BUDGET:
            return self._after_over_budget(attempt, event)
        return None

    def _after_oom(self, attempt: _Attempt, event: End, in_company: bool) -> _Attempt | None:
        """Try alone, then with half the micro-batch."""
        where = f"out of memory at micro-batch {attempt.fit.micro_batch}"
        had_company, had_less = in_company and not attempt.alone, attempt.cap_bytes < attempt.fit.cap_bytes
        if had_company or had_less:
            how = "beside other trials" if had_company else "under a cap of what it was predicted to need"
            return replace(attempt, alone=True, notes=(*attempt.notes, f"{where} {how}; tried again alone"))
        half = attempt.fit.micro_batch // 2
        if half in micro_batches(int(attempt.config["batch_size"]), self.plan.min_micro_batch):
            ended, room = self.ended.values(), attempt.room
            smaller = self.fitter.fit(attempt.footprint, attempt.config, ended, room, half).micro_batch
            notes = (*attempt.notes, f"{where}; tried again with {smaller}")
            return replace(attempt, max_micro_batch=smaller, notes=notes)
        return None

    def _after_over_budget(self, attempt: _Attempt, event: End) -> _Attempt | None:
        """Try once with a lower cap: the allocator kept to its own, and what lay beside it was too much."""
        cap, pool, held = event.spec.cap_bytes, event.pool_bytes, event.reading.peak_bytes
        if cap is None or held is None or attempt.more_beside or (pool or 0) > POOL_ROUNDING * cap:
            return None
        over = held - event.spec.budget_bytes
        note = f"{format_size(over)} over the budget with its allocator within its cap; tried again with a lower cap"
        # It was ended at its first reading above the budget, and would have held more: so much as twice the slack.
        beside = held - (cap if pool is None else pool)
        more = max(2 * over, beside - attempt.fit.beside_bytes + 2 * attempt.room.slack_bytes)
        return replace(attempt, more_beside=more, notes=(*attempt.notes, note))

    def _end(
        self,
        attempt: _Attempt,
        ended: Ended,
        reading: Reading = NOT_MEASURED,
        event: End | None = None,
    ) -> None:
        record = self._record(
            attempt.trial,
            attempt.started,
            ended,
            message="; ".join(filter(None, (*attempt.notes, ended.message))),
            micro_batch=attempt.fit.micro_batch,
            accumulation=attempt.fit.accumulation,
            reading=reading,
            vram_series=event.series if event is not None else (),
            pool_bytes=event.pool_bytes if event is not None else None,
            device=event.spec.gpu if event is not None else None,
            footprint_bytes=attempt.fit.footprint_bytes,
            beside_bytes=attempt.fit.beside_bytes,
            reckoned_bytes=attempt.reckoned_bytes,
            cap_bytes=event.spec.cap_bytes if event is not None else None,
            parameters=attempt.footprint.parameters,
            constraints=self.fitter.constraints(attempt.fit, ended, reading),
        )
        self._keep(record, attempt.trial, ended.predictions)

    def _record(self, trial: optuna.Trial, started: str, ended: Ended, **known: Any) -> TrialRecord:
        """Return the record of a trial that ended, with what else is `known` of it."""
        seconds = [epoch.seconds for epoch in ended.epochs]
        fields: dict[str, Any] = {
            "family": self.record.family,
            "study": self.record.study,
            "number": trial.number,
            "outcome": ended.outcome,
            "params": trial.params,
            "message": ended.message,
            "epochs": ended.epochs,
            "best_epoch": ended.best_epoch,
            "valid_accuracy": ended.valid_accuracy,
            "valid_macro_f1": ended.valid_macro_f1,
            "train_accuracy": ended.train_accuracy,
            "allocator_peak_bytes": ended.allocator_peak_bytes,
            "train_seconds": ended.train_seconds,
            "epoch_seconds": statistics.median(seconds) if seconds else None,
            "track_seconds": ended.track_seconds,
            "started": started,
            "ended": _now(),
        }
        return TrialRecord(**{**fields, **known})

    def _keep(self, record: TrialRecord, trial: optuna.Trial, predictions: Predictions | None) -> None:
        """Keep the result, then tell Optuna, then everyone else."""
        self.ledger.write_trial(record, predictions)
        self.ended[record.number] = record
        self._tell(trial, record)
        self.tracker.trial_ended(record)
        self.notify(TrialEnded(record))

    def _tell(self, trial: optuna.Trial, record: TrialRecord) -> None:
        """Tell Optuna; constraints first, for nothing can be set on a trial that has ended."""
        already = self._frozen(trial.number).constraints
        for name, value in record.constraints.items():
            if name not in already:
                trial.set_constraint(name, value)
        if record.completed:
            self.optuna.tell(trial, record.valid_macro_f1)
        elif record.outcome in _PRUNED:
            self.optuna.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self.optuna.tell(trial, state=optuna.trial.TrialState.FAIL)

    @property
    def best(self) -> TrialRecord | None:
        """The best completed trial so far."""
        return StudyResults(self.record, tuple(self.ended.values()), {}).best

    def _finish(self) -> StudyResults:
        self.ledger.write_study_files(self.record.study, {IMPORTANCE: dump_importance(self._importance())})
        self.tracker.study_ended(self.record.study)
        results = self.ledger.results(self.record.study)
        self.notify(StudyEnded(results))
        return results

    def _importance(self) -> dict[str, float]:
        """Return each hyperparameter's share of the variance of the score (fANOVA); empty with too few trials."""
        completed = [trial for trial in self.ended.values() if trial.completed]
        if len({trial.valid_macro_f1 for trial in completed}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.record.seed)
        return optuna.importance.get_param_importances(self.optuna, evaluator=evaluator)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
