"""The test set, opened on purpose: winner and baseline trained again with fresh seeds and scored on it.

The only module that hands test tracks to a child. Where a protocol has no test set, outer folds take its place: each
fold of the tracks is tested once, by the configuration that was chosen without it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.audio.crops import Example
from harness.audio.embeddings import known_extractors
from harness.audio.protocols import Partition
from harness.errors import HarnessError, TrackingError, UsageError, WorkspaceError
from harness.families import Family, select
from harness.inference.card import card_of
from harness.keras_backend import check_backend
from harness.models import Config
from harness.records import (
    FinalRecord,
    FinalsRecord,
    OpeningRecord,
    Outcome,
    Role,
    StudyRecord,
    StudyResults,
    TrialRecord,
    short_hash,
)
from harness.scoring.metrics import track_scores
from harness.search.benchmark import check_results, keep_references, open_storage, send, write_report
from harness.search.data import IN_SEARCH, Prepared, prepare
from harness.search.devices import lanes_for
from harness.search.ensembles import Candidate, Tested, ensemble, only
from harness.search.events import FinalEnded, Note, Notify
from harness.search.fitting import room_of
from harness.search.outer import outer_folds
from harness.search.sampler import seed_for
from harness.search.space import fixed
from harness.search.study import Plan, Study
from harness.settings import RunSettings, cache
from harness.tracking.base import NullTracker
from harness.tracking.ledger import Ledger
from harness.tracking.serialization import FINALS, dump_predictions, dump_record
from harness.trials.members import Answers, Member
from harness.trials.members import ask as ask_members
from harness.trials.pool import End, Pool
from harness.trials.spec import Fold, TrialSpec
from harness.vram.admission import Lane
from harness.workspace import Workspace

SMALLER = 4
"""An outer fold whose winner cannot be chosen from stored predictions gets a search of so many times fewer trials."""


@dataclass(frozen=True)
class Job:
    """One training: a configuration that is due with a seed, on what is tested."""

    role: Role
    trial: int
    config: Config
    micro_batch: int
    accumulation: int
    seed: int
    outer: int | None
    fold: Fold

    @property
    def key(self) -> str:
        return self._record(Outcome.INTERRUPTED).key

    def _record(self, outcome: Outcome, **known: object) -> FinalRecord:
        return FinalRecord.model_validate(
            {"role": self.role, "trial": self.trial, "seed": self.seed, "fold": self.outer, "outcome": outcome, **known}
        )

    def record(self, end: End) -> FinalRecord:
        """Return what the training left."""
        ended, tested = end.ended, end.ended.test_predictions
        scores = track_scores(tested) if tested is not None else None
        return self._record(
            ended.outcome,
            message=ended.message,
            tracks=len(tested.tracks) if tested is not None else 0,
            test_accuracy=scores.accuracy if scores else None,
            test_macro_f1=scores.macro_f1 if scores else None,
            reading=end.reading,
            allocator_peak_bytes=ended.allocator_peak_bytes,
            train_seconds=ended.train_seconds,
        )


def final(
    workspace: Path, families: Sequence[str], seeds: int, reopen: bool, notify: Notify
) -> tuple[StudyResults, ...]:
    """Test winner and baseline of every study of the families in a workspace, and write the report.

    What was tested already is not tested again; a command that was interrupted goes on. A study that cannot be tested
    does not keep the others from it.

    Args:
        families: by name; none for all that the workspace holds.
        seeds: trainings of each configuration.
        reopen: open a test set again after more trials.

    Raises:
        UsageError: there is nothing to test, or a test set was opened before the last trials.
        WorkspaceError: there are no results, or the data set or its split is not what the studies ran on.
    """
    check_backend()
    check_results(workspace)
    with Workspace(workspace).lock():
        ledger = Ledger(Workspace(workspace))
        known = [ledger.results(study.study) for study in ledger.studies()]
        wanted = families or sorted({results.study.family for results in known})
        chosen = {family.name: family for family in select(wanted)} if wanted else {}
        studies = [results for results in known if results.study.family in chosen and results.best is not None]
        if not studies:
            raise UsageError(f"{workspace}: no completed trial of {', '.join(chosen) or 'any family'}. Run some first.")
        with closing(Pool()) as pool:
            data = _Data(ledger, tuple(chosen), notify)
            opened = _openable(studies, known, chosen, reopen, _Tools(ledger, pool, data, notify))
            for each in opened:
                each.run(seeds)
            for group in _on_one_split(opened):
                try:
                    _test_ensembles(group, ledger, pool)
                except HarnessError as error:
                    notify(Note(f"no ensemble was tested: {error}", warning=True))
        write_report(workspace, ledger)
        try:
            send(ledger, opened[0].settings.tracking_uri)
        except TrackingError as error:
            notify(Note(f"{error} `harness sync` delivers it later.", warning=True))
        _renew_cards(opened, ledger, notify)
        return tuple(ledger.results(each.record.study) for each in opened)


def _renew_cards(opened: Sequence[_Opened], ledger: Ledger, notify: Notify) -> None:
    """Tell of the test where a champion is registered; a tracking server that is away costs only this."""
    from harness.tracking.mlflow.registry import describe_champion

    for each in opened:
        results = ledger.results(each.record.study)
        try:
            describe_champion(each.settings.tracking, each.record, partial(card_of, results, each.family))
        except TrackingError as error:
            notify(Note(f"the champion's card was not renewed: {error} The same command does it later.", warning=True))


def _openable(
    studies: Sequence[StudyResults],
    known: Sequence[StudyResults],
    chosen: Mapping[str, Family],
    reopen: bool,
    tools: _Tools,
) -> list[_Opened]:
    """Return the studies that may be opened, before any of them is.

    Raises:
        HarnessError: none may; it says why of the first.
    """
    opened, errors = [], []
    for results in studies:
        try:
            study = _Opened(results, chosen[results.study.family], known, tools)
            study.check(reopen)
        except HarnessError as error:
            errors.append(error)
        else:
            opened.append(study)
    if not opened:
        raise errors[0]
    for why in errors:
        tools.notify(Note(f"not tested: {why}", warning=True))
    return opened


class _Data:
    """Prepares each data set and split once."""

    def __init__(self, ledger: Ledger, families: tuple[str, ...], notify: Notify) -> None:
        self._ledger, self._families, self._notify = ledger, families, notify
        self._known: dict[str, Prepared] = {}

    def settings(self, study: str) -> RunSettings:
        """Return the settings that a study ran with, for the workspace as it lies now.

        Raises:
            WorkspaceError: there are none, or another version wrote them.
        """
        stored = self._ledger.settings(study)
        return stored.model_copy(update={"workspace": self._ledger.workspace.root, "families": self._families})

    def prepared(self, settings: RunSettings) -> Prepared:
        key = settings.model_dump_json(include={"data", "protocol", "groups", "seed", "skip_bad", "quick"})
        if key not in self._known:
            self._known[key] = prepare(settings, self._notify, opened=(*IN_SEARCH, Partition.TEST))
        return self._known[key]


@dataclass(frozen=True)
class _Tools:
    """What all studies of one command share."""

    ledger: Ledger
    pool: Pool
    data: _Data
    notify: Notify
    proven: dict[str, tuple[Lane, ...]] = field(default_factory=dict)

    def lanes(self, settings: RunSettings) -> tuple[Lane, ...]:
        """Return the lane of the device that a study asked for, proven once."""
        if settings.device not in self.proven:
            alone = settings.model_copy(update={"jobs": 1})
            self.proven[settings.device] = lanes_for(alone, self.pool, self.notify)
        return self.proven[settings.device]


class _Opened:
    """One study whose test set is open."""

    def __init__(self, results: StudyResults, family: Family, known: Sequence[StudyResults], tools: _Tools) -> None:
        self.results, self.record = results, results.study
        self.ledger, self.pool, self.notify = tools.ledger, tools.pool, tools.notify
        self.settings = tools.data.settings(results.study.study)
        self.prepared = tools.data.prepared(self.settings)
        _same_data(self.prepared, self.record)
        if family.on_embeddings:
            networks = known_extractors(self.record.embeddings, self.settings.embedding, cache())
            self.prepared = self.prepared.heard_with(networks, self.notify)
        self.family = self.prepared.at_hand(family)
        self.lanes = tools.lanes(self.settings)
        self.has_test = bool(self.prepared.split.tracks(Partition.TEST))
        self.folds = (
            [self._test_fold()] if self.has_test else outer_folds(self.prepared, self.record, self.family.views)
        )
        self.tracks = short_hash([[example.track for example in fold.test] for fold in self.folds])
        self.state = short_hash(
            [self.tracks, *([trial.number, trial.outcome, trial.valid_macro_f1] for trial in results.trials)]
        )
        self.earlier = _openings_before(results, known)

    def check(self, reopen: bool) -> None:
        """Make sure that nobody has looked before the last trials.

        Raises:
            UsageError: somebody has, and `reopen` does not allow it.
        """
        own = self.results.finals.openings if self.results.finals is not None else ()
        if reopen or not self.earlier or (own and own[-1].state == self.state):
            return
        more = sum(trial.ended > self.earlier[-1].opened for trial in self.results.trials)
        raise UsageError(
            f"{self.record.study}: its test set was opened {len(self.earlier)} times, and since then {more} trials "
            "ended or the split changed. What is chosen after looking is not tested honestly any more. Pass "
            "--reopen-test to do it all the same; the report counts openings."
        )

    def run(self, seeds: int) -> None:
        """Run what is missing, one training at a time, keeping each before the next."""
        finals = self._opening()
        # The opening counts from the moment in which a child may see the test tracks.
        self._keep(finals)
        keep_references(self.ledger, self.record, self.prepared.store, self.folds)
        done = {run.key for run in finals.runs if run.outcome in (Outcome.COMPLETED, Outcome.DIVERGED)}
        for job in self._jobs(self._winners(), seeds):
            if job.key in done:
                continue
            end = self._train(job)
            run = job.record(end)
            if end.ended.test_predictions is not None:
                content = dump_predictions(end.ended.test_predictions)
                self.ledger.write_study_files(self.record.study, {f"{job.key}.npz": content})
            others = (other for other in finals.runs if other.key != run.key)
            finals = finals.model_copy(update={"runs": (*others, run)})
            self._keep(finals)
            self.notify(FinalEnded(self.record.family, run))

    def _opening(self) -> FinalsRecord:
        """Return what is known of the present opening: the last one, unless trials ended since."""
        finals = self.results.finals
        if finals is not None and finals.openings[-1].state == self.state:
            return finals
        now = OpeningRecord(
            trials=len(self.results.trials),
            state=self.state,
            opened=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        return FinalsRecord(tested="test" if self.has_test else "outer folds", openings=(*self.earlier, now))

    def _winners(self) -> list[TrialRecord | None]:
        if self.has_test:
            return [self.results.best]
        return [self._winner_without(number, fold) for number, fold in enumerate(self.folds)]

    def _keep(self, finals: FinalsRecord) -> None:
        self.ledger.write_study_files(self.record.study, {FINALS: dump_record(finals)})

    def _test_fold(self) -> Fold:
        """Return the search's own split, with the test tracks."""
        (fold,) = self.prepared.folds(self.family.views)
        return replace(fold, test=self.prepared.examples(self.prepared.split.tracks(Partition.TEST)))

    def _winner_without(self, number: int, fold: Fold) -> TrialRecord | None:
        """Return the best configuration as far as can be known without the tracks that the fold tests.

        With folds, every trial has predicted each track by a model that had not seen it, and those of the others are
        left. Without, the stored predictions are of the same few tracks for all folds: a smaller search runs instead.
        """
        if not self.prepared.split.fold_of:
            return self._smaller_search(number, fold)
        hidden = frozenset(example.track for example in fold.test)

        def score(trial: TrialRecord) -> tuple[float, int]:
            seen = only(self.results.predictions[trial.number], hidden, keep=False)
            return track_scores(seen).macro_f1, -trial.number

        return max((trial for trial in self.results.trials if trial.completed), key=score)

    def _smaller_search(self, number: int, fold: Fold) -> TrialRecord | None:
        folder = self.ledger.outer_folder(self.record.study, f"{self.tracks}-{number}")
        trials = sum(trial.outcome is not Outcome.REFUSED for trial in self.results.trials)
        folder.mkdir(parents=True, exist_ok=True)
        plan = Plan(
            family=self.family,
            record=self.record,
            trials=max(2, trials // SMALLER),
            folds=(replace(fold, test=()),),
            store=self.prepared.store.root,
            min_micro_batch=self.settings.min_micro_batch,
            jobs=1,
            threads=os.cpu_count() or 1,
            deterministic=self.settings.deterministic,
            time_limit_seconds=None,
            trial_time_limit_seconds=self.settings.trial_time_limit,
            lanes=self.lanes,
        )
        self.notify(Note(f"{self.record.family}: a smaller search without outer fold {number + 1}"))
        storage = open_storage(f"sqlite:///{folder.resolve() / 'optuna.db'}")
        return Study(plan, storage, self.pool, Ledger(Workspace(folder)), NullTracker(), self.notify).run().best

    def _jobs(self, winners: Sequence[TrialRecord | None], seeds: int) -> Iterator[Job]:
        """Yield winner and baseline of every fold, seed by seed."""
        for seed in range(seeds):
            for number, (fold, winner) in enumerate(zip(self.folds, winners, strict=True)):
                for role, trial in ((Role.WINNER, winner), (Role.BASELINE, self.results.baseline)):
                    # A baseline beyond the limits has nothing to be compared with; one that won is tested once.
                    if trial is None or not trial.completed:
                        continue
                    if self.has_test and role is Role.BASELINE and winner is not None and winner.number == trial.number:
                        continue
                    config = self.family.space(fixed(trial.params), self.record.quick)
                    micro_batch, accumulation = trial.micro_batch, trial.accumulation
                    assert micro_batch is not None
                    assert accumulation is not None
                    outer = None if self.has_test else number
                    yield Job(role, trial.number, config, micro_batch, accumulation, seed, outer, fold)

    def _cap(self, lane: Lane, number: int) -> int | None:
        """Return what the allocator may take: what it had in the search, where that is there."""
        if lane.device.uuid is None:
            return None
        room = replace(room_of(lane, self.record.budget_bytes, self.results.trials), slack_bytes=0)
        trial = next(trial for trial in self.results.trials if trial.number == number)
        return min(room.cap_bytes, trial.cap_bytes or room.cap_bytes)

    def _train(self, job: Job) -> End:
        lane: Lane = self.lanes[0]
        spec = TrialSpec(
            family=self.family.name,
            study=self.record.study,
            number=job.trial,
            config=dict(job.config),
            view=self.family.view_of(job.config),
            store=self.prepared.store.root,
            genres=self.record.dataset.genres,
            folds=(job.fold,),
            epochs=self.record.epochs,
            seed=seed_for(self.record.seed, self.record.family, "final", job.seed, job.outer or 0),
            micro_batch=job.micro_batch,
            accumulation=job.accumulation,
            budget_bytes=self.record.budget_bytes,
            cap_bytes=self._cap(lane, job.trial),
            device_bytes=lane.device.total_bytes,
            time_limit_seconds=None,
            deterministic=self.settings.deterministic,
            threads=os.cpu_count() or 1,
            model=None,
            log=self.ledger.log_path(self.record.study, job.trial).with_name(f"final-{job.key}.log"),
            environment=lane.device.environment(),
        )
        self.pool.start(spec, lane)
        while True:
            for event in self.pool.events():
                if isinstance(event, End):
                    return event
                self.pool.reply(event.number, True)


def _same_data(prepared: Prepared, study: StudyRecord) -> None:
    dataset, protocol = prepared.dataset.record(), prepared.split.record()
    if (dataset.fingerprint, protocol.fingerprint) != (study.dataset.fingerprint, study.protocol.fingerprint):
        raise WorkspaceError(
            f"{study.study}: ran on other tracks of {study.dataset.name}, or on another split, than there are now. Put "
            "the data set back as it was, or start a new study with `harness run`."
        )


def _on_one_split(opened: Sequence[_Opened]) -> list[list[_Opened]]:
    groups: dict[tuple[object, ...], list[_Opened]] = defaultdict(list)
    for each in opened:
        study = each.record
        scale = study.budget_bytes, study.epochs, study.seed, study.quick
        groups[(study.dataset.fingerprint, study.protocol.fingerprint, *scale)].append(each)
    return list(groups.values())


def _test_ensembles(group: Sequence[_Opened], ledger: Ledger, pool: Pool) -> None:
    """Test the ensemble of each study, and that of all of them, and keep both with the study's finals."""
    first = group[0]
    split = first.prepared.split
    if not first.has_test and not split.fold_of:
        return  # stored predictions are of the same few tracks, and some were trained on in every fold
    examples = tuple(example for fold in first.folds for example in fold.test)
    outer = () if first.has_test else tuple(frozenset(example.track for example in fold.test) for fold in first.folds)
    tested = Tested(examples, outer)

    family_of = {each.record.study: each.family for each in group}
    trials = {(each.record.study, trial.number): trial for each in group for trial in each.results.trials}

    def member(candidate: Candidate) -> Member:
        params = trials[candidate.study, candidate.number].params
        return Member(family_of[candidate.study].view_of(params), ledger.model_path(candidate.study, candidate.number))

    def ask(candidates: Sequence[Candidate], tracks: Sequence[Example]) -> Answers:
        members = list(map(member, candidates))
        genres, environment = first.record.dataset.genres, first.lanes[0].device.environment()
        answers = pool.call(ask_members, members, first.prepared.store.root, tracks, genres, environment=environment)
        assert isinstance(answers, Answers)
        return answers

    results = [ledger.results(each.record.study) for each in group]
    names = " + ".join(dict.fromkeys(each.study.family for each in results))
    joint = ensemble(names, results, ledger, tested, ask) if len(group) > 1 else None
    for each in results:
        own = ensemble(each.study.family, [each], ledger, tested, ask)
        assert each.finals is not None
        # What was tested with other families in an earlier command still holds.
        others = (joint,) if joint else (old for old in each.finals.ensembles if old.name != each.study.family)
        found = tuple(record for record in (own, *others) if record is not None)
        finals = each.finals.model_copy(update={"ensembles": found})
        ledger.write_study_files(each.study.study, {FINALS: dump_record(finals)})


def _openings_before(results: StudyResults, known: Sequence[StudyResults]) -> tuple[OpeningRecord, ...]:
    """Return the openings that a study's trials may have been chosen after, in order of time.

    They are its own, and those of the family's other studies on the same split: with more epochs, say, or within
    another budget.
    """
    study = results.study
    before = set(results.finals.openings) if results.finals is not None else set()
    last = max(trial.ended for trial in results.trials)
    for other in known:
        split = other.study.family, other.study.dataset.fingerprint, other.study.protocol.fingerprint
        if other.finals is not None and split == (study.family, study.dataset.fingerprint, study.protocol.fingerprint):
            before |= {opening for opening in other.finals.openings if opening.opened < last}
    return tuple(sorted(before, key=lambda opening: opening.opened))
