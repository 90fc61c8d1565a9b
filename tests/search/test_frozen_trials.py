"""A trial that is made from its record shares what it can, and a space that changed meanwhile breaks nothing."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from harness.records.trial import Outcome, TrialRecord, ValidationScores
from harness.search.frozen_trials import FrozenTrials
from harness.testing.records import FAMILY, RECORD, space

PARAMS = {"learning_rate": 1e-3, "width": 40, "batch_size": 16, "augment": True, "strength": 0.5}


def record(number: int, **params: Any) -> TrialRecord:
    return TrialRecord(
        family=FAMILY.name,
        study=RECORD.name,
        number=number,
        outcome=Outcome.COMPLETED,
        params={**PARAMS, **params},
        scores=ValidationScores(valid_macro_f1=0.5),
    )


def test_trials_share_their_distributions_in_a_storage_too() -> None:
    trials, storage = FrozenTrials(space, quick=False), InMemoryStorage()
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "study")
    for number in range(2):
        storage.create_new_trial(study, trials.ended(record(number), {}))
    first, second = storage.get_all_trials(study, deepcopy=False)
    assert first.params == second.params == PARAMS
    assert all(first.distributions[name] is second.distributions[name] for name in PARAMS)
    storage.set_trial_user_attr(storage.create_new_trial(study, trials.running(2, PARAMS, {})), "note", "own")
    assert first.user_attrs == second.user_attrs == {}


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"unknown": 1}, list(PARAMS)),
        ({"batch_size": 12}, ["learning_rate", "width"]),
        ({"width": 400}, ["learning_rate"]),
    ],
)
def test_what_a_space_does_not_know_is_left_out(changed: dict[str, Any], kept: list[str]) -> None:
    trial = FrozenTrials(space, quick=False).ended(record(0, **changed), {})
    assert list(trial.params) == list(trial.distributions) == kept
    assert trial.value == 0.5


def test_a_space_that_asks_for_more_is_answered_as_far_as_is_on_record() -> None:
    without = {name: value for name, value in PARAMS.items() if name != "augment"}
    trial = FrozenTrials(space, quick=False).running(0, without, {})
    assert list(trial.params) == ["learning_rate", "width", "batch_size"]


def test_the_last_report_of_a_stopped_trial_is_its_value_unless_it_is_none() -> None:
    trials, stopped = FrozenTrials(space, quick=False), record(0).model_copy(update={"outcome": Outcome.PRUNED})
    assert trials.ended(stopped, {2: 0.25, 1: 0.5}).value == 0.25
    assert trials.ended(stopped, {1: 0.5, 2: float("nan")}).value is None
    assert trials.ended(stopped, {}).value is None
