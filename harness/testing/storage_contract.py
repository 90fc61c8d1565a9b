"""The promises of `harness.search.optuna_study` as tests: a class that each kind of storage inherits from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.errors import WorkspaceError
from harness.families import Suggest
from harness.models import Config
from harness.records.study import StudyRecord
from harness.records.trial import Outcome, TrialRecord, ValidationScores
from harness.search.optuna_study import OpenTrial, OptunaStudy
from harness.testing.records import RECORD

TRIALS = 6
BASELINE = {"learning_rate": 1e-3, "width": 32}

Storages = Callable[[], BaseStorage]


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


class StorageContract:
    """Inherit from it in a class that has the fixture `storages`.

    `storages` opens the same empty storage again at each call, as a new process would.
    """

    @pytest.fixture
    def storages(self) -> Storages:
        raise NotImplementedError

    @staticmethod
    def open(storages: Storages, record: StudyRecord = RECORD) -> OptunaStudy:
        return OptunaStudy.open(record, TRIALS, 1, storages())

    @staticmethod
    def told(storages: Storages) -> list[FrozenTrial]:
        return optuna.load_study(study_name=RECORD.name, storage=storages()).trials

    def run(self, storages: Storages, trials: int, ended: dict[int, TrialRecord]) -> None:
        """Take up a study, and run it until so many trials have ended."""
        study = self.open(storages)
        study.check_ownership("mine", ended)
        unfinished = study.resume(ended, BASELINE)
        while len(ended) < trials:
            trial = unfinished.pop(0) if unfinished else study.ask()
            study.sample(trial, space)
            ended[trial.number] = record_of(trial)
            trial.tell(ended[trial.number])

    def test_the_baseline_is_trial_0_and_numbers_have_no_gaps(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 3, ended)
        assert list(ended) == [0, 1, 2]
        assert ended[0].params == BASELINE
        assert [trial.state for trial in self.told(storages)] == [TrialState.COMPLETE] * 3

    def test_a_study_that_is_taken_up_again_and_again_proposes_what_an_undisturbed_one_does(
        self, storages: Storages
    ) -> None:
        whole: dict[int, TrialRecord] = {}
        optuna_memory = optuna.storages.InMemoryStorage()
        self.run(lambda: optuna_memory, TRIALS, whole)
        ended: dict[int, TrialRecord] = {}
        for trials in range(1, TRIALS + 1):
            self.run(storages, trials, ended)
        assert [ended[number].params for number in ended] == [whole[number].params for number in whole]

    def test_a_trial_that_is_cut_off_while_it_is_sampled_becomes_what_it_would_have_been(
        self, storages: Storages
    ) -> None:
        whole: dict[int, TrialRecord] = {}
        optuna_memory = optuna.storages.InMemoryStorage()
        self.run(lambda: optuna_memory, 3, whole)
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 2, ended)

        def cut(trial: Suggest, quick: bool) -> Config:
            trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
            raise Interrupted

        study = self.open(storages)
        with pytest.raises(Interrupted):
            study.sample(study.ask(), cut)
        self.run(storages, 3, ended)
        assert ended[2].params == whole[2].params

    def test_what_neither_has_ended_is_returned_under_its_number(self, storages: Storages) -> None:
        study = self.open(storages)
        study.resume({}, BASELINE)
        study.sample(study.ask(), space)
        again = self.open(storages)
        (trial,) = again.resume({}, BASELINE)
        assert (trial.number, trial.params) == (0, BASELINE)
        assert again.sample(trial, space) == BASELINE

    def test_what_only_the_ledger_knows_is_told_once(self, storages: Storages) -> None:
        study = self.open(storages)
        study.resume({}, BASELINE)
        trial = study.ask()
        study.sample(trial, space)
        ended = {0: record_of(trial)}
        for _ in range(2):
            again = self.open(storages)
            again.check_ownership("mine", ended)
            assert again.resume(ended, BASELINE) == []
            (told,) = self.told(storages)
            assert (told.state, told.value, told.constraints) == (TrialState.COMPLETE, 0.0, ended[0].constraints)

    def test_constraints_that_were_set_before_the_process_ended_are_kept(self, storages: Storages) -> None:
        study = self.open(storages)
        study.resume({}, BASELINE)
        trial = study.ask()
        study.sample(trial, space)
        (frozen,) = study.study.get_trials(deepcopy=False)
        optuna.Trial(study.study, frozen._trial_id).set_constraint("vram", -0.5)
        self.open(storages).resume({0: record_of(trial)}, BASELINE)
        assert self.told(storages)[0].constraints == {"vram": -0.5, "seconds": -0.25}

    def test_a_step_is_reported_once_however_many_attempts_reach_it(self, storages: Storages) -> None:
        # Optuna warns of another report of a step, and a warning is an error in these tests.
        study = self.open(storages)
        study.resume({}, BASELINE)
        trial = study.ask()
        study.sample(trial, space)
        assert trial.report({1: 0.25})
        trial.begin_attempt()
        assert trial.report({1: 0.75})
        assert trial.report({2: 0.5})
        (again,) = self.open(storages).resume({}, BASELINE)
        again.begin_attempt()
        assert again.report({1: 0.9, 2: 0.9, 3: 0.125})
        assert self.told(storages)[0].intermediate_values == {1: 0.25, 2: 0.5, 3: 0.125}

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
        study = self.open(storages)
        study.resume({}, BASELINE)
        trial = study.ask()
        study.sample(trial, space)
        trial.tell(record_of(trial, outcome, constraints={"vram": 0.5}))
        (told,) = self.told(storages)
        assert (told.state, told.constraints) == (state, {"vram": 0.5})

    def test_another_workspace_is_turned_away_before_it_changes_anything(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 2, ended)
        before = self.told(storages)
        for records in ({}, ended):
            with pytest.raises(WorkspaceError, match="that another workspace made"):
                self.open(storages).check_ownership("somebody else's", records)
        assert self.told(storages) == before

    def test_a_storage_that_lost_trials_goes_on_as_if_it_had_not(self, storages: Storages) -> None:
        whole: dict[int, TrialRecord] = {}
        optuna_memory = optuna.storages.InMemoryStorage()
        self.run(lambda: optuna_memory, TRIALS, whole)
        ended = {number: whole[number] for number in range(TRIALS - 2)}
        for _ in range(2):
            study = self.open(storages)
            study.check_ownership("mine", ended)
            study.restore(ended, BASELINE, space, lambda record: {1: record.number / 8})
            assert study.resume(ended, BASELINE) == []
            for record, told in zip(ended.values(), self.told(storages), strict=True):
                assert (told.state, told.value) == (TrialState.COMPLETE, record.scores.valid_macro_f1)
                assert (told.params, told.constraints) == (record.params, record.constraints)
                assert told.intermediate_values == {1: record.number / 8}
        self.run(storages, TRIALS, ended)
        assert [ended[number].params for number in ended] == [whole[number].params for number in whole]

    def test_what_the_workspace_does_not_hold_either_is_run_under_its_number(self, storages: Storages) -> None:
        whole: dict[int, TrialRecord] = {}
        optuna_memory = optuna.storages.InMemoryStorage()
        self.run(lambda: optuna_memory, 3, whole)
        for lost in (0, 1):
            ended = {number: record for number, record in whole.items() if number != lost}
            study = self.open(storages, RECORD.model_copy(update={"name": f"made-up-{lost}"}))
            study.restore(ended, BASELINE, space, lambda record: {})
            (trial,) = study.resume(ended, BASELINE)
            assert trial.number == lost
            assert study.sample(trial, space) == (BASELINE if lost == 0 else trial.params)
            assert [each.number for each in study.study.trials] == [0, 1, 2]

    def test_studies_of_one_storage_do_not_mix(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 2, ended)
        other = self.open(storages, RECORD.model_copy(update={"name": "made-up-ffffffff"}))
        assert other.resume({}, BASELINE) == []
        assert other.ask().number == 0
        assert len(self.told(storages)) == 2

    def test_importance_needs_scores_that_differ(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 1, ended)
        assert self.open(storages).importance(ended) == {}
        self.run(storages, TRIALS, ended)
        shares = self.open(storages).importance(ended)
        assert sum(shares.values()) == pytest.approx(1)
        assert set(shares) <= {"learning_rate", "width", "dropout"}
