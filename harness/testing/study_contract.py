"""The promises of `harness.search.optuna_study` as tests: a class for a study, told to a storage or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.families import Suggest
from harness.models import Config
from harness.records.base import Value
from harness.records.study import StudyRecord
from harness.records.trial import Outcome, TrialRecord, ValidationScores
from harness.search.optuna_study import OpenTrial, OptunaStudy
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

    def test_a_later_attempt_replaces_all_that_an_earlier_one_reported(self, storages: Storages) -> None:
        # Optuna warns of another report of a step, and a warning is an error in these tests.
        study, _ = self.take_up(storages, {})
        trial = study.ask()
        study.sample(trial, space)
        assert trial.report({1: 0.25, 2: 0.125})
        trial.begin_attempt()
        assert trial.last_report is None
        assert trial.report({1: 0.75})
        assert study.study.trials[0].intermediate_values == {1: 0.75}
        assert trial.last_report == (1, 0.75)
        trial.begin_attempt()
        trial.tell(record_of(trial, Outcome.OOM))
        (told,) = study.study.trials
        assert (told.state, told.value, told.intermediate_values) == (TrialState.PRUNED, None, {})

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

    def test_the_importance_of_many_trials_is_that_of_some_spread_over_the_search(
        self, storages: Storages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended: dict[int, TrialRecord] = {}
        study = self.run(storages, TRIALS, ended)
        monkeypatch.setattr("harness.search.optuna_study.IMPORTANCE_TRIALS", 3)
        some = {number: ended[number] for number in (0, 2, 4)}
        assert study.importance(ended) == study.importance(some) != {}


def facts(trials: list[FrozenTrial]) -> list[Any]:
    """Return what was told of trials, without clocks."""
    parts = ("number", "state", "value", "params", "distributions", "constraints", "intermediate_values")
    return [[getattr(trial, part) for part in parts] for trial in trials]
