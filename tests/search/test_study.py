"""A study with a back end that trains nothing: what is asked, kept and told, and what an interruption costs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from harness.errors import BuildError, HarnessError, ProtocolError, WorkspaceError
from harness.events import Event, Note, StudyFinished, StudyStarted, TrialFinished
from harness.features.fold import Fold, LabelledTrack
from harness.features.input_spec import MFCC_INPUT
from harness.models import Config
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import EpochRecord, Outcome, RunningTrial, TrialRecord
from harness.search.optuna_study import OptunaStudy
from harness.search.storage import open_storage
from harness.search.study import REFUSED_PER_TRIAL, StudyRunner
from harness.testing.backends import FakeBackend, FoldFakeBackend
from harness.testing.records import EPOCHS, FAMILY, RECORD, TRACKS, study_config
from harness.tracking.base import NullTracker
from harness.tracking.ledger import Ledger
from harness.trials.job import JobKey, TrialSpec
from harness.trials.report import TrialReport
from harness.units import GIB, MIB
from harness.vram.footprint import Footprint
from harness.workspace import Workspace
from tests.helpers.search import completed, score


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the harness catches it."""


def fake(**options: Any) -> FakeBackend:
    """A back end whose trials climb to the score of their configuration."""

    def reached(spec: TrialSpec, epoch: int) -> float:
        return score(spec.training.config) * epoch / spec.training.epochs

    return FakeBackend(**({"end": completed, "score": reached} | options))


TWENTY = tuple(LabelledTrack(f"f{number:02}", f"digest of f{number:02}", number % 2) for number in range(20))
FIVE_FOLDS = tuple(
    Fold(
        tuple(t for t in TWENTY if t not in TWENTY[at : at + 4]),
        TWENTY[at : at + 4],
        {MFCC_INPUT: (np.zeros(40), np.ones(40))},
    )
    for at in range(0, 20, 4)
)


def fold_fake(**options: Any) -> FoldFakeBackend:
    """A back end whose trials go through folds, and are as sure of every track's genre as their score is high."""

    def certainty(spec: TrialSpec, track: str) -> float:
        # Tracks differ in how hard they are, the same for every trial.
        return 0.5 + 0.4 * score(spec.training.config) + int(track[1:]) / 300

    made = FoldFakeBackend(**({"certainty": certainty} | options))
    made.end = lambda spec, epochs: completed(spec, epochs, predictions=made.predictions(spec, TWENTY))
    return made


@dataclass
class Bench:
    """One workspace; every `run` is a new process as far as the study can tell.

    Attributes:
        folder: with an Optuna database in it, if a storage is to be told of the search.
        latest: the run in progress, or the one that was last.
    """

    folder: Path
    events: list[Event] = field(default_factory=list)
    latest: StudyRunner | None = None

    @property
    def ledger(self) -> Ledger:
        return Ledger(Workspace(self.folder))

    @property
    def storage(self) -> BaseStorage | None:
        database = self.folder / "optuna.db"
        return open_storage(f"sqlite:///{database}") if database.exists() else None

    def study(self, backend: FakeBackend, trials: int, record: StudyRecord = RECORD, **changes: Any) -> StudyRunner:
        config = study_config(self.ledger.open_study(record), trials=trials, **changes)
        self.latest = StudyRunner.open(config, self.storage, backend, self.ledger, NullTracker(), self.events.append)
        return self.latest

    def run(self, backend: FakeBackend, trials: int, **options: Any) -> StudyResults:
        return self.study(backend, trials, **options).run()

    @property
    def told(self) -> list[optuna.trial.FrozenTrial]:
        """What Optuna was told in the latest run, and a storage in all of them."""
        assert self.latest is not None
        told = self.latest.proposals.study.trials
        if self.storage is not None:
            stored = optuna.load_study(study_name=RECORD.name, storage=self.storage).trials
            assert [(trial.state, trial.params, trial.constraints) for trial in stored] == [
                (trial.state, trial.params, trial.constraints) for trial in told
            ]
        return told

    @property
    def cut_off(self) -> dict[int, dict[str, Any]]:
        """What the records of running trials tell, by number."""
        paths = (self.folder / "results" / RECORD.name).glob("*.running.json")
        stored = [json.loads(path.read_bytes()) for path in sorted(paths)]
        return {trial["number"]: trial["params"] for trial in stored}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Optuna database without studies: making its tables takes longer than all the rest."""
    folder = tmp_path_factory.mktemp("empty")
    open_storage(f"sqlite:///{folder / 'optuna.db'}")
    return folder


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "work")


@pytest.fixture(params=["ledger", "storage"])
def durable(request: pytest.FixtureRequest, tmp_path: Path, empty: Path) -> Bench:
    """A workspace by itself, and one that tells a storage, too."""
    folder = tmp_path / "durable"
    return Bench(folder) if request.param == "ledger" else Bench(shutil.copytree(empty, folder))


def essence(trial: TrialRecord) -> dict[str, Any]:
    """A trial without its clocks."""
    return trial.model_dump(exclude={"timing": {"started", "ended"}})


def test_the_baseline_comes_first_and_the_best_is_found(bench: Bench) -> None:
    backend = fake()
    results = bench.run(backend, 5)
    assert [trial.number for trial in results.trials] == [0, 1, 2, 3, 4]
    assert results.trials[0].params == FAMILY.baseline
    assert backend.specs[0].training.config == FAMILY.baseline
    assert len({json.dumps(trial.params, sort_keys=True) for trial in results.trials}) == 5
    assert results.best is not None
    assert results.best.scores.valid_macro_f1 == max(trial.scores.valid_macro_f1 or 0 for trial in results.trials)
    assert set(results.predictions) == {trial.number for trial in results.trials if trial.completed}


def test_optuna_is_told_what_the_ledger_holds(bench: Bench) -> None:
    results = bench.run(fake(), 5)
    assert [(trial.number, trial.params) for trial in bench.told] == [
        (trial.number, trial.params) for trial in results.trials
    ]
    for told, kept in zip(bench.told, results.trials, strict=True):
        assert told.value == kept.scores.valid_macro_f1 if kept.completed else told.state is TrialState.PRUNED
        assert told.intermediate_values == {epoch.epoch: epoch.val_macro_f1 for epoch in kept.epochs}


def test_a_trial_is_proposed_once_the_one_before_has_been_told(bench: Bench) -> None:
    backend = fake()
    states: list[list[TrialState]] = []

    def end(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
        states.append([trial.state for trial in bench.told])
        return completed(spec, epochs)

    backend.end = end
    bench.run(backend, 3)
    assert [len(at_the_end) for at_the_end in states] == [1, 2, 3]


def test_more_trials_later_are_those_that_there_would_have_been(durable: Bench, bench: Bench) -> None:
    durable.run(fake(), 4)
    later = durable.run(fake(), 8)
    assert [essence(trial) for trial in later.trials] == [essence(trial) for trial in bench.run(fake(), 8).trials]


@pytest.mark.parametrize("folds", [(), FIVE_FOLDS], ids=["one fold", "five folds"])
def test_a_study_that_goes_on_is_told_what_one_in_a_single_run_is(tmp_path: Path, folds: tuple[Fold, ...]) -> None:
    def told(bench: Bench, all_reports: bool) -> list[Any]:
        return [
            (trial.state, trial.params, trial.constraints, trial.value, trial.last_step if all_reports else None)
            for trial in bench.told
        ]

    made, more = (fold_fake, {"folds": folds}) if folds else (fake, {})
    whole, parted = Bench(tmp_path / "whole"), Bench(tmp_path / "parted")
    whole.run(made(), 8, **more)
    parted.run(made(), 6, **more)
    again = made()
    results = parted.run(again, 8, **more)
    assert {spec.key.number for spec in again.specs} == {6, 7}
    assert [trial.number for trial in results.trials] == list(range(8))
    assert {trial.outcome for trial in results.trials} == {Outcome.COMPLETED, Outcome.PRUNED}
    # With folds, what completed trials reported on their way matters of the best alone.
    assert told(parted, not folds) == told(whole, not folds)
    best = results.best.number if results.best is not None else 0
    assert parted.told[best].intermediate_values == pytest.approx(whole.told[best].intermediate_values)


@pytest.mark.parametrize("lost", ["all", "some"])
def test_a_storage_that_was_lost_is_made_again_from_the_ledger(tmp_path: Path, empty: Path, lost: str) -> None:
    whole, lossy = Bench(tmp_path / "whole"), Bench(shutil.copytree(empty, tmp_path / "lossy"))
    whole.run(fake(), 6)
    lossy.run(fake(), 2)
    copied = (lossy.folder / "optuna.db").read_bytes()
    lossy.run(fake(), 4)
    (lossy.folder / "optuna.db").write_bytes(copied if lost == "some" else (empty / "optuna.db").read_bytes())
    again = fake()
    lossy.run(again, 6)
    assert [spec.key.number for spec in again.specs] == [4, 5]
    assert [trial.params for trial in lossy.told] == [trial.params for trial in whole.told]


def test_listeners_are_told_of_every_trial_and_of_the_end(bench: Bench) -> None:
    bench.run(fake(), 2)
    assert isinstance(bench.events[0], StudyStarted)
    assert [event.trial.number for event in bench.events if isinstance(event, TrialFinished)] == [0, 1]
    assert isinstance(bench.events[-1], StudyFinished)


def test_the_number_of_trials_is_a_total(durable: Bench) -> None:
    first = durable.run(fake(), 3)

    again = fake()
    assert durable.run(again, 3).trials == first.trials
    assert again.specs == []

    more = fake()
    assert durable.run(more, 4).trials[:3] == first.trials
    assert [spec.key.number for spec in more.specs] == [3]


def test_the_model_of_every_completed_trial_is_kept_for_ensembles(bench: Bench) -> None:
    kept: list[JobKey] = []
    results = bench.run(fake(keep_model=kept.append), 6)
    assert [key.number for key in kept] == [trial.number for trial in results.trials if trial.completed]


def test_every_trial_has_a_seed_of_its_own(bench: Bench) -> None:
    backend = fake()
    bench.run(backend, 3)
    assert len({spec.training.seed for spec in backend.specs}) == 3


def test_refused_trials_do_not_count(bench: Bench) -> None:
    backend = fake(footprint=lambda config: Footprint(0, 0, (64 if config["width"] > 40 else 1) * 10 * MIB, 0, 1000))
    record = RECORD.model_copy(update={"budget_bytes": 1 * GIB, "seed": 1})
    results = bench.run(backend, 6, record=record)
    refused = [trial for trial in results.trials if trial.outcome is Outcome.REFUSED]
    assert refused
    assert len(results.trials) - len(refused) == 6
    assert {spec.key.number for spec in backend.specs}.isdisjoint(trial.number for trial in refused)
    for trial in refused:
        told = bench.told[trial.number]
        assert told.state is TrialState.PRUNED
        assert told.constraints["vram"] == trial.constraints["vram"] > 0
        assert trial.params["width"] > 40
        assert "over the budget of 1.00 GiB" in trial.message
    for trial in results.trials:
        assert (trial.constraints["vram"] > 0) == (trial in refused)


def test_a_budget_that_nothing_fits_ends_the_study(bench: Bench) -> None:
    backend = fake(footprint=lambda config: Footprint(9 * GIB, 0, 0, 0, 1000))
    results = bench.run(backend, 2)
    assert backend.specs == []
    assert [trial.outcome for trial in results.trials] == [Outcome.REFUSED] * 2 * REFUSED_PER_TRIAL
    assert results.best is None
    # Another run with the same budget refuses no more of them.
    assert len(bench.run(backend, 2).trials) == 2 * REFUSED_PER_TRIAL


def test_a_batch_that_does_not_fit_is_accumulated(bench: Bench) -> None:
    backend = fake(footprint=lambda config: Footprint(0, 0, 60 * MIB, 0, 1000))
    bench.run(backend, 6, record=RECORD.model_copy(update={"budget_bytes": 1 * GIB}))
    assert {spec.training.config["batch_size"] for spec in backend.specs} > {8}
    for spec in backend.specs:
        assert spec.training.batch.micro_batch * spec.training.batch.accumulation == spec.training.config["batch_size"]
        assert spec.training.batch.micro_batch == min(16, spec.training.config["batch_size"])


@pytest.mark.parametrize(
    ("ended", "state", "constraint"),
    [
        (TrialReport(Outcome.TIMEOUT, "slow", projected_seconds=90.0), TrialState.PRUNED, ("seconds", 0.5)),
        (TrialReport(Outcome.OOM, "out of memory"), TrialState.PRUNED, ("vram", 0.01)),
        (TrialReport(Outcome.OVER_BUDGET, "held too much"), TrialState.PRUNED, None),
        (TrialReport(Outcome.DIVERGED, "nan"), TrialState.PRUNED, None),
        (TrialReport(Outcome.CRASHED, "broken"), TrialState.FAIL, None),
        (TrialReport(Outcome.HOST_OOM, "killed"), TrialState.FAIL, None),
    ],
)
def test_a_trial_that_ends_badly_is_kept_told_and_counted(
    bench: Bench, ended: TrialReport, state: TrialState, constraint: tuple[str, float] | None
) -> None:
    backend = fake(end=lambda spec, epochs: ended if spec.key.number == 1 else completed(spec, epochs))
    results = bench.run(backend, 3, trial_time_limit_seconds=60.0)
    assert [trial.outcome for trial in results.trials] == [Outcome.COMPLETED, ended.outcome, Outcome.COMPLETED]
    assert ended.message in results.trials[1].message
    assert 1 not in results.predictions
    told = bench.told[1]
    assert told.state is state
    assert told.constraints == results.trials[1].constraints
    if constraint is not None:
        assert told.constraints[constraint[0]] == pytest.approx(constraint[1])
    assert bench.told[0].constraints == {"vram": pytest.approx(-1, abs=0.02), "seconds": pytest.approx(2 / 60 - 1)}


def test_a_model_that_cannot_be_built_costs_one_trial(bench: Bench) -> None:
    def footprint(config: Config) -> Footprint:
        if config != FAMILY.baseline:
            raise BuildError("estimate_footprints failed in a child process: ValueError: negative dimension.")
        return Footprint(MIB, MIB, MIB, MIB, 1000)

    backend = fake(footprint=footprint)
    results = bench.run(backend, 3)
    assert [trial.outcome for trial in results.trials] == [Outcome.COMPLETED, Outcome.CRASHED, Outcome.CRASHED]
    assert "negative dimension" in results.trials[1].message
    assert [trial.state for trial in bench.told] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert [spec.key.number for spec in backend.specs] == [0]


def test_what_no_configuration_is_to_blame_for_ends_the_run_and_costs_no_trial(bench: Bench) -> None:
    def no_server(config: Config) -> Footprint:
        raise HarnessError("the fork server died.")

    def full_disk(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
        raise WorkspaceError("trial 0: cannot be written (No space left on device).")

    for backend, message in ((fake(footprint=no_server), "server died"), (fake(end=full_disk), "No space left")):
        with pytest.raises(HarnessError, match=message):
            bench.run(backend, 2)
        assert bench.ledger.trials(RECORD.name) == ()
    results = bench.run(fake(), 2)
    assert [trial.outcome for trial in results.trials] == [Outcome.COMPLETED] * 2
    assert results.trials[0].params == FAMILY.baseline


def test_crashes_one_after_another_end_the_study_for_now(bench: Bench) -> None:
    def end(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
        return TrialReport(Outcome.CRASHED) if 1 <= spec.key.number <= 6 else completed(spec, epochs)

    assert len(bench.run(fake(end=end), 20).trials) == 6
    (note,) = [event for event in bench.events if isinstance(event, Note)]
    assert note.warning
    assert "5 trials crashed one after another" in note.text
    # The next run finds out anew.
    assert len(bench.run(fake(end=end), 20).trials) == 20


def test_a_hopeless_trial_is_pruned(bench: Bench) -> None:
    results = bench.run(fake(), 12)
    pruned = [trial for trial in results.trials if trial.outcome is Outcome.PRUNED]
    assert pruned
    best = max(trial.scores.valid_macro_f1 or 0 for trial in results.trials)
    for trial in pruned:
        assert 3 <= len(trial.epochs) < EPOCHS
        assert trial.epochs[-1].val_macro_f1 < best * len(trial.epochs) / EPOCHS
        assert bench.told[trial.number].state is TrialState.PRUNED


def test_the_importance_of_hyperparameters_is_kept(bench: Bench) -> None:
    bench.run(fake(), 12)
    shares = json.loads(bench.ledger.files(RECORD.name)["importance.json"])["importance"]
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) <= set(bench.told[0].params)


def test_importance_is_computed_again_only_when_more_trials_completed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []

    def importance(self: OptunaStudy, ended: Mapping[int, TrialRecord]) -> dict[str, float]:
        computed.append(len(ended))
        return {"width": 1.0}

    monkeypatch.setattr(OptunaStudy, "importance", importance)
    for trials in (2, 2, 3, 3):
        bench.run(fake(), trials)
    assert computed == [2, 3]
    (bench.ledger.workspace.results / RECORD.name / "files" / "importance.json").unlink()
    assert bench.run(fake(), 3).importance == {"width": 1.0}
    assert computed == [2, 3, 3]


def test_no_trial_starts_when_time_is_up(bench: Bench) -> None:
    backend = fake()
    assert bench.run(backend, 3, time_limit_seconds=0.0).trials == ()
    assert backend.specs == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyResults, int]:
    """A run that nobody interrupts, and how many events it had."""
    bench = Bench(tmp_path_factory.mktemp("undisturbed"))
    backend = fake()
    results = bench.run(backend, 7)
    assert {trial.outcome for trial in results.trials} == {Outcome.COMPLETED, Outcome.PRUNED}
    return results, backend.events_so_far


def test_an_interrupted_study_goes_on_as_if_nothing_had_been(
    tmp_path: Path, undisturbed: tuple[StudyResults, int]
) -> None:
    results, count = undisturbed
    # Each attempt is cut off a few events later than the last one, so that every kind of moment is met.
    for stop_at in range(0, count, 4):
        bench = Bench(tmp_path / str(stop_at))
        with pytest.raises(KeyboardInterrupt):
            bench.run(fake(stop_at=stop_at), 7)
        finished = {trial.number for trial in bench.ledger.trials(RECORD.name)}
        backend = fake()
        resumed = bench.run(backend, 7)
        assert {spec.key.number for spec in backend.specs} == set(range(7)) - finished
        assert [essence(trial) for trial in resumed.trials] == [essence(trial) for trial in results.trials], stop_at


def test_a_trial_that_is_cut_off_while_it_is_pruned_is_pruned_at_the_same_epoch_again(
    durable: Bench, undisturbed: tuple[StudyResults, int]
) -> None:
    results, _ = undisturbed
    first = next(trial.number for trial in results.trials if trial.outcome is Outcome.PRUNED)
    # Every epoch is an event, and so is every end; the last event left out is the end of the pruned trial.
    events = sum(len(trial.epochs) + 1 for trial in results.trials[: first + 1])
    with pytest.raises(KeyboardInterrupt):
        durable.run(fake(stop_at=events - 1), 7)
    assert [essence(trial) for trial in durable.run(fake(), 7).trials] == [essence(trial) for trial in results.trials]


def test_a_study_that_is_cut_off_again_and_again_ends_all_the_same(
    durable: Bench, undisturbed: tuple[StudyResults, int]
) -> None:
    started: list[int] = []
    for stop_at in (3, 0, 9, 2, 17, 5, None):
        backend = fake(stop_at=stop_at)
        try:
            resumed = durable.run(backend, 7)
        except KeyboardInterrupt:
            started += [spec.key.number for spec in backend.specs]
    assert len(started) > 6
    assert [essence(trial) for trial in resumed.trials] == [essence(trial) for trial in undisturbed[0].trials]


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [
        ("before the ledger", Outcome.TIMEOUT),
        ("before Optuna", Outcome.COMPLETED),
        ("before Optuna", Outcome.TIMEOUT),
        ("before Optuna", Outcome.CRASHED),
        ("in between constraints", Outcome.TIMEOUT),
        ("after Optuna", Outcome.TIMEOUT),
    ],
)
def test_killed_around_the_end_of_a_trial_nothing_is_lost_or_repeated(
    durable: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, outcome: Outcome
) -> None:
    def end(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
        return completed(spec, epochs) if spec.key.number != 1 else completed(spec, epochs, outcome=outcome)

    limit = {"trial_time_limit_seconds": 60.0}
    whole = Bench(tmp_path / "whole").run(fake(end=end), 4, **limit)

    study = durable.study(fake(end=end), 4, **limit)
    ends: list[int] = []

    def kill_at_second(original: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        def cut(*arguments: Any, **options: Any) -> Any:
            ends.append(1)
            if len(ends) == 2 and not after:
                raise Killed
            answer = original(*arguments, **options)
            if len(ends) == 2:
                raise Killed
            return answer

        return cut

    with monkeypatch.context() as patch:
        if moment == "before the ledger":
            patch.setattr(study.ledger, "write_trial", kill_at_second(study.ledger.write_trial))
        elif moment == "before Optuna":
            patch.setattr(study.ledger, "write_trial", kill_at_second(study.ledger.write_trial, after=True))
        elif moment == "in between constraints":
            # The first trial sets two of them, so this is after the first of the second trial's.
            ends.append(-1)
            original = optuna.Trial.set_constraint

            def cut(self: optuna.Trial, *arguments: Any) -> None:
                original(self, *arguments)
                if self.number == 1:
                    raise Killed

            patch.setattr(optuna.Trial, "set_constraint", cut)
        else:
            told = study.proposals.study
            patch.setattr(told, "tell", kill_at_second(told.tell, after=True))
        with pytest.raises(Killed):
            study.run()

    backend = fake(end=end)
    resumed = durable.run(backend, 4, **limit)
    assert {1, 2, 3} >= {spec.key.number for spec in backend.specs} >= {2, 3}
    assert (1 in {spec.key.number for spec in backend.specs}) == (moment == "before the ledger")
    assert [essence(trial) for trial in resumed.trials] == [essence(trial) for trial in whole.trials]
    assert [trial.state for trial in durable.told].count(TrialState.RUNNING) == 0
    assert durable.told[1].constraints == resumed.trials[1].constraints
    assert (
        durable.told[1].state
        is {
            Outcome.COMPLETED: TrialState.COMPLETE,
            Outcome.TIMEOUT: TrialState.PRUNED,
            Outcome.CRASHED: TrialState.FAIL,
        }[outcome]
    )


def test_studies_of_other_seeds_try_other_things(bench: Bench) -> None:
    one = bench.run(fake(), 3)
    other = bench.run(fake(), 3, record=RECORD.model_copy(update={"seed": 8, "name": "made-up-ffffffff"}))
    assert one.trials[0].params == other.trials[0].params
    assert one.trials[1].params != other.trials[1].params


def test_with_folds_a_hopeless_trial_ends_before_the_last(bench: Bench) -> None:
    results = bench.run(fold_fake(), 12, folds=FIVE_FOLDS)
    pruned = [trial for trial in results.trials if trial.outcome is Outcome.PRUNED]
    assert results.best is not None
    assert pruned
    for trial in pruned:
        reports = bench.told[trial.number].intermediate_values
        assert len(reports) in (4, 8, 12, 16)  # whole folds
        assert score(bench.told[trial.number].params) < (results.best.scores.valid_macro_f1 or 0)


@pytest.mark.parametrize("stop_at", [2, 7, 22])
def test_an_interrupted_study_with_folds_ends_like_an_undisturbed_one(stop_at: int, tmp_path: Path) -> None:
    def ended(name: str, stop: int | None) -> list[Any]:
        bench = Bench(tmp_path / name)
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                bench.run(fold_fake(stop_at=stop), 12, folds=FIVE_FOLDS)
        results = bench.run(fold_fake(), 12, folds=FIVE_FOLDS)
        assert Outcome.PRUNED in {trial.outcome for trial in results.trials}
        return [essence(trial) for trial in results.trials]

    assert ended("interrupted", stop_at) == ended("undisturbed", None)


def test_with_folds_others_are_judged_by_the_best_trial_that_kept_to_its_limits(tmp_path: Path) -> None:
    options: dict[str, Any] = {"folds": FIVE_FOLDS, "trial_time_limit_seconds": 10.0}

    def slow_at_best() -> FoldFakeBackend:
        backend = fold_fake()
        end = backend.end
        backend.end = lambda spec, epochs: replace(
            end(spec, epochs), train_seconds=20.0 if score(spec.training.config) > 0.37 else 2.0
        )
        return backend

    whole, parted = Bench(tmp_path / "whole"), Bench(tmp_path / "parted")
    whole.run(slow_at_best(), 8, **options)
    first = parted.run(slow_at_best(), 6, **options)
    assert first.best is not None
    assert not first.best.feasible
    study = parted.study(slow_at_best(), 8, **options)
    best = study.proposals.study.best_trial
    assert best.number != first.best.number
    assert best.intermediate_values == pytest.approx(whole.told[best.number].intermediate_values)
    assert [essence(trial) for trial in study.run().trials] == [
        essence(trial) for trial in whole.ledger.trials(RECORD.name)
    ]


@pytest.mark.parametrize("moment", ["before it is on record", "after it is on record"])
def test_killed_around_the_start_of_a_trial_it_is_proposed_again(
    durable: Bench, undisturbed: tuple[StudyResults, int], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    study = durable.study(fake(), 7)
    write = study.ledger.running.write

    def cut(trial: RunningTrial) -> None:
        if trial.number == 3 and moment == "before it is on record":
            raise Killed
        write(trial)
        if trial.number == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(study.ledger.running, "write", cut)
        with pytest.raises(Killed):
            study.run()
    expected = undisturbed[0].trials
    assert durable.cut_off == ({} if moment == "before it is on record" else {3: expected[3].params})
    backend = fake()
    resumed = durable.run(backend, 7)
    assert [spec.key.number for spec in backend.specs] == [3, 4, 5, 6]
    assert [essence(trial) for trial in resumed.trials] == [essence(trial) for trial in expected]
    assert durable.cut_off == {}


def test_a_running_trial_is_on_record_before_it_starts_and_until_it_has_ended(bench: Bench) -> None:
    seen: list[dict[int, dict[str, Any]]] = []

    def end(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
        seen.append(bench.cut_off)
        return completed(spec, epochs)

    results = bench.run(fake(end=end), 2)
    assert seen == [{trial.number: trial.params} for trial in results.trials]
    assert bench.cut_off == {}


def test_a_trial_that_was_refused_never_ran(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[RunningTrial] = []
    study = bench.study(fake(footprint=lambda config: Footprint(9 * GIB, 0, 0, 0, 1000)), 1)
    monkeypatch.setattr(study.ledger.running, "write", written.append)
    study.run()
    assert written == []


@pytest.mark.parametrize("content", [b"", b'{"format": 1, "study": "another", "number": 2, "params": {}}'])
def test_a_damaged_record_of_a_running_trial_is_told_of_and_the_trial_asked_anew(
    bench: Bench, undisturbed: tuple[StudyResults, int], content: bytes
) -> None:
    bench.run(fake(), 2)
    path = bench.folder / "results" / RECORD.name / "trial-00002.running.json"
    path.write_bytes(content)
    resumed = bench.run(fake(), 7)
    assert [event.text for event in bench.events if isinstance(event, Note)] == [
        f"{path}: cannot be read. The trial is sampled anew, under its number."
    ]
    assert [essence(trial) for trial in resumed.trials] == [essence(trial) for trial in undisturbed[0].trials]
    assert not path.exists()


def test_a_record_of_a_running_trial_that_ended_is_removed(bench: Bench) -> None:
    bench.run(fake(), 2)
    path = bench.folder / "results" / RECORD.name / "trial-00001.running.json"
    path.write_bytes(b"")
    bench.run(fake(), 2)
    assert not path.exists()
    assert not any(isinstance(event, Note) for event in bench.events)


def test_another_workspace_takes_a_study_over_from_a_storage(tmp_path: Path, empty: Path) -> None:
    mine, whole = Bench(shutil.copytree(empty, tmp_path / "mine")), Bench(tmp_path / "whole")
    mine.run(fake(), 3)
    whole.run(fake(), 5)
    running = mine.study(fake(), 5)
    theirs = Bench(shutil.copytree(empty, tmp_path / "theirs"))
    shutil.copyfile(mine.folder / "optuna.db", theirs.folder / "optuna.db")
    backend = fake()
    results = theirs.run(backend, 5)
    assert [spec.key.number for spec in backend.specs] == [3, 4]
    assert [essence(trial) for trial in results.trials] == [
        essence(trial) for trial in whole.ledger.trials(RECORD.name)
    ]
    assert results.trials[:3] == mine.ledger.trials(RECORD.name)
    assert set(results.predictions) <= {3, 4}
    assert {entry.number for entry in theirs.ledger.pending()} == {None, 0, 1, 2, 3, 4}
    (note,) = [event for event in theirs.events if isinstance(event, Note)]
    assert note.warning
    assert note.text == (
        f"made-up: 3 trials of {RECORD.name} taken over from Optuna's storage. Their models and predictions are not "
        "here: champion and ensembles are chosen among the others."
    )
    # The earlier owner, which still runs, keeps what ended there and stops.
    shutil.copyfile(theirs.folder / "optuna.db", mine.folder / "optuna.db")
    with pytest.raises(WorkspaceError, match="taken over by another workspace"):
        running.run()


def test_a_workspace_that_was_copied_goes_on(tmp_path: Path, empty: Path) -> None:
    mine = Bench(shutil.copytree(empty, tmp_path / "mine"))
    mine.run(fake(), 2)
    copied = Bench(shutil.copytree(mine.folder, tmp_path / "copied"))
    assert len(copied.run(fake(), 3).trials) == 3
    assert not any(isinstance(event, Note) for event in copied.events)


def test_the_same_audio_on_two_sides_of_a_fold_is_refused() -> None:
    twin = LabelledTrack("another name", TRACKS[0].digest, 0)
    with pytest.raises(ProtocolError, match="two sides"):
        Fold(TRACKS[:2], (*TRACKS[2:], twin), {MFCC_INPUT: (np.zeros(40), np.ones(40))})
