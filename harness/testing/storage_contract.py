"""The promises of `harness.search.optuna_study` as tests: a class for a study, and one for each kind of storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.errors import WorkspaceError
from harness.families import Suggest
from harness.models import Config
from harness.records.base import Value
from harness.records.study import StudyRecord
from harness.records.trial import Outcome, TrialRecord, ValidationScores
from harness.search.optuna_study import OpenTrial, OptunaStudy
from harness.search.shared_study import SharedStudy
from harness.testing.records import RECORD

TRIALS = 6
BASELINE = {"learning_rate": 1e-3, "width": 32}

Storages = Callable[[], BaseStorage | None]


class Interrupted(BaseException):
    """Stands for the end of the process."""


def space(trial: Suggest, quick: bool) -> Config:
    """Suggest a point of a small conditional space."""
    config: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "width": trial.suggest_int("width", 16, 64),
    }
    if config["width"] > 32:
        config["dropout"] = trial.suggest_float("dropout", 0.0, 0.5)
    return config


def record_of(trial: OpenTrial, outcome: Outcome = Outcome.COMPLETED, **changes: Any) -> TrialRecord:
    """Return the record of a trial that ended at a score of its parameters."""
    score = round(trial.number / 10, 3) if outcome is Outcome.COMPLETED else None
    fields: dict[str, Any] = {
        "family": RECORD.family,
        "study": RECORD.name,
        "number": trial.number,
        "outcome": outcome,
        "params": trial.params,
        "scores": ValidationScores(valid_macro_f1=score),
        "constraints": {"vram": -0.5, "seconds": -0.25},
    }
    return TrialRecord(**(fields | changes))


class StudyContract:
    """What a study promises, whether it is told to a storage or not. It has the fixture `storages`.

    `storages` opens the same storage again at each call, as a new process would: an empty one, or None for none.
    """

    @pytest.fixture
    def storages(self) -> Storages:
        raise NotImplementedError

    @staticmethod
    def take_up(
        storages: Storages,
        ended: Mapping[int, TrialRecord],
        running: Mapping[int, Mapping[str, Value]] | None = None,
        record: StudyRecord = RECORD,
        workspace: str = "mine",
    ) -> tuple[OptunaStudy, list[OpenTrial]]:
        """Open a study of a workspace that holds so much of it."""
        study = OptunaStudy.open(record, TRIALS, 1, storages())
        if study.shared is not None:
            assert study.shared.take_over(workspace, ended) == []
        return study, study.restore(ended, running or {}, BASELINE, space, lambda trial: {1: trial.number / 8})

    def run(self, storages: Storages, trials: int, ended: dict[int, TrialRecord]) -> OptunaStudy:
        """Take up a study, and run it until so many trials have ended."""
        study, unfinished = self.take_up(storages, ended)
        while len(ended) < trials:
            trial = unfinished.pop(0) if unfinished else study.ask()
            study.sample(trial, space)
            trial.report({1: trial.number / 8})
            ended[trial.number] = record_of(trial)
            trial.tell(ended[trial.number])
        return study

    def undisturbed(self, trials: int = TRIALS) -> dict[int, TrialRecord]:
        """Return the trials of a study that nothing cuts off."""
        ended: dict[int, TrialRecord] = {}
        self.run(lambda: None, trials, ended)
        return ended

    def test_the_baseline_is_trial_0_and_numbers_have_no_gaps(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        study = self.run(storages, 3, ended)
        assert list(ended) == [0, 1, 2]
        assert ended[0].params == BASELINE
        assert [trial.state for trial in study.study.trials] == [TrialState.COMPLETE] * 3

    def test_a_study_that_is_taken_up_again_and_again_proposes_what_an_undisturbed_one_does(
        self, storages: Storages
    ) -> None:
        whole = self.undisturbed()
        ended: dict[int, TrialRecord] = {}
        for trials in range(1, TRIALS + 1):
            self.run(storages, trials, ended)
        assert [ended[number].params for number in ended] == [whole[number].params for number in whole]

    def test_a_trial_that_is_cut_off_while_it_is_sampled_becomes_what_it_would_have_been(
        self, storages: Storages
    ) -> None:
        whole = self.undisturbed(3)
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 2, ended)

        def cut(trial: Suggest, quick: bool) -> Config:
            trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
            raise Interrupted

        study, _ = self.take_up(storages, ended)
        with pytest.raises(Interrupted):
            study.sample(study.ask(), cut)
        self.run(storages, 3, ended)
        assert ended[2].params == whole[2].params

    def test_a_trial_that_was_sampled_is_taken_up_under_its_number_as_it_was(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        study = self.run(storages, 2, ended)
        trial = study.ask()
        sampled = study.sample(trial, space)
        trial.report({1: 0.25})
        # Not what a sampler would choose again, to see that none is asked.
        params = {**trial.params, "learning_rate": 5e-3}
        again, (unfinished,) = self.take_up(storages, ended, {2: params})
        assert unfinished.number == 2
        assert again.sample(unfinished, space) == {**sampled, **params}
        unfinished.begin_attempt()
        assert unfinished.report({1: 0.75})
        assert again.study.trials[2].intermediate_values == {1: 0.75}

    def test_a_study_that_is_restored_is_what_it_was_told(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        study, _ = self.take_up(storages, ended)
        for outcome in Outcome:
            trial = study.ask()
            study.sample(trial, space)
            trial.report({1: trial.number / 8})
            ended[trial.number] = record_of(trial, outcome)
            trial.tell(ended[trial.number])
        again, unfinished = self.take_up(storages, ended)
        assert unfinished == []
        assert facts(again.study.trials) == facts(study.study.trials)

    def test_a_step_is_reported_once_however_many_attempts_reach_it(self, storages: Storages) -> None:
        # Optuna warns of another report of a step, and a warning is an error in these tests.
        study, _ = self.take_up(storages, {})
        trial = study.ask()
        study.sample(trial, space)
        assert trial.report({1: 0.25})
        trial.begin_attempt()
        assert trial.report({1: 0.75})
        assert trial.report({2: 0.5})
        assert study.study.trials[0].intermediate_values == {1: 0.25, 2: 0.5}
        assert trial.last_report == (2, 0.5)

    @pytest.mark.parametrize(
        ("outcome", "state"),
        [
            *((outcome, TrialState.PRUNED) for outcome in (Outcome.PRUNED, Outcome.REFUSED, Outcome.OVER_BUDGET)),
            *((outcome, TrialState.PRUNED) for outcome in (Outcome.OOM, Outcome.TIMEOUT, Outcome.DIVERGED)),
            *((outcome, TrialState.FAIL) for outcome in (Outcome.CRASHED, Outcome.HOST_OOM)),
        ],
    )
    def test_what_says_something_about_a_configuration_is_no_failure(
        self, storages: Storages, outcome: Outcome, state: TrialState
    ) -> None:
        study, _ = self.take_up(storages, {})
        trial = study.ask()
        study.sample(trial, space)
        trial.tell(record_of(trial, outcome, constraints={"vram": 0.5}))
        (told,) = study.study.trials
        assert (told.state, told.constraints) == (state, {"vram": 0.5})

    def test_what_is_not_on_record_is_run_under_its_number(self, storages: Storages) -> None:
        whole = self.undisturbed(3)
        for lost in (0, 1):
            ended = {number: record for number, record in whole.items() if number != lost}
            record = RECORD.model_copy(update={"name": f"made-up-{lost}"})
            study, (trial,) = self.take_up(storages, ended, record=record)
            assert trial.number == lost
            assert study.sample(trial, space) == (BASELINE if lost == 0 else trial.params)
            assert [each.number for each in study.study.trials] == [0, 1, 2]

    def test_studies_do_not_mix(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        study = self.run(storages, 2, ended)
        other, unfinished = self.take_up(storages, {}, record=RECORD.model_copy(update={"name": "made-up-ffffffff"}))
        assert unfinished == []
        assert other.ask().number == 0
        assert len(study.study.trials) == 2

    def test_importance_needs_scores_that_differ(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        assert self.run(storages, 1, ended).importance(ended) == {}
        shares = self.run(storages, TRIALS, ended).importance(ended)
        assert sum(shares.values()) == pytest.approx(1)
        assert set(shares) <= {"learning_rate", "width", "dropout"}


class StorageContract(StudyContract):
    """What holds of a storage beside: it is told of all, and a study is taken over from it. See `StudyContract`."""

    @staticmethod
    def told(storages: Storages) -> list[FrozenTrial]:
        storage = storages()
        assert storage is not None
        return optuna.load_study(study_name=RECORD.name, storage=storage).trials

    def test_a_storage_is_told_of_all(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        study = self.run(storages, 3, ended)
        trial = study.ask()
        study.sample(trial, space)
        trial.report({1: 0.25})
        assert facts(self.told(storages)) == facts(study.study.trials)

    def test_what_only_the_ledger_knows_is_told_once(self, storages: Storages) -> None:
        study, _ = self.take_up(storages, {})
        trial = study.ask()
        study.sample(trial, space)
        ended = {0: record_of(trial)}
        for _ in range(2):
            again, unfinished = self.take_up(storages, ended)
            assert unfinished == []
            assert facts(self.told(storages)) == facts(again.study.trials)

    def test_an_end_that_was_told_by_halves_is_told_whole(
        self, storages: Storages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study, _ = self.take_up(storages, {})
        trial = study.ask()
        study.sample(trial, space)
        record = record_of(trial, Outcome.TIMEOUT)

        def cut(*about: object, **more: object) -> None:
            raise Interrupted

        assert study.shared is not None
        with monkeypatch.context() as patch:
            patch.setattr(study.shared._storage, "set_trial_state_values", cut)
            with pytest.raises(Interrupted):
                trial.tell(record)
        assert [told.state for told in self.told(storages)] == [TrialState.RUNNING]
        # Here, or where the record is not: it was written before the state.
        assert SharedStudy(RECORD.name, existing(storages)).take_over("theirs", {}) == [record]
        self.take_up(storages, {0: record})
        (told,) = self.told(storages)
        assert (told.state, told.constraints) == (TrialState.PRUNED, record.constraints)

    def test_a_storage_that_lost_trials_gets_them_again(self, storages: Storages) -> None:
        whole = self.undisturbed()
        ended = {number: whole[number] for number in range(TRIALS - 2)}
        for _ in range(2):
            study, unfinished = self.take_up(storages, ended)
            assert unfinished == []
            assert facts(self.told(storages)) == facts(study.study.trials)
        self.run(storages, TRIALS, ended)
        assert [ended[number].params for number in ended] == [whole[number].params for number in whole]

    def test_where_both_tell_of_a_trial_the_ledger_is_right(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 2, ended)
        score = ValidationScores(valid_macro_f1=0.875)
        ended[1] = ended[1].model_copy(update={"scores": score})
        study, _ = self.take_up(storages, ended)
        assert study.study.best_value == 0.875
        # Optuna changes nothing of a trial that has ended.
        assert self.told(storages)[1].value == 0.1

    def test_another_workspace_takes_a_study_over_and_the_earlier_owner_stops(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        first = self.run(storages, 2, ended)
        running = first.ask()
        sampled = first.sample(running, space)

        shared = SharedStudy(RECORD.name, existing(storages))
        taken = shared.take_over("theirs", {})
        assert taken == list(ended.values())
        second, (again,) = self.take_up(storages, ended, workspace="theirs")
        assert again.number == 2
        assert second.sample(again, space) == sampled
        for tell in (lambda: running.tell(record_of(running)), lambda: first.sample(first.ask(), space)):
            with pytest.raises(WorkspaceError, match="was taken over by another workspace"):
                tell()
        again.tell(record_of(again))
        assert [told.state for told in self.told(storages)] == [TrialState.COMPLETE] * 3

    def test_a_trial_that_ended_without_its_record_cannot_be_taken_over(self, storages: Storages) -> None:
        study = optuna.create_study(study_name=RECORD.name, storage=storages(), direction="maximize")
        study.add_trial(optuna.trial.create_trial(value=0.5))
        before = self.told(storages)
        with pytest.raises(WorkspaceError, match=r"trial 0 of made-up-.* ended without its record"):
            self.take_up(storages, {})
        assert self.told(storages) == before
        assert study.user_attrs == {}


def facts(trials: list[FrozenTrial]) -> list[Any]:
    """Return what was told of trials, without clocks."""
    parts = ("number", "state", "value", "params", "distributions", "constraints", "intermediate_values")
    return [[getattr(trial, part) for part in parts] for trial in trials]


def existing(storages: Storages) -> BaseStorage:
    storage = storages()
    assert storage is not None
    return storage
