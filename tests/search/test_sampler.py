"""A sampler proposes the same whenever it is asked, and looks at no more trials than it must."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable
from typing import Any

import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import FrozenTrial, TrialState

from harness.hashing import seed_for
from harness.search import sampler as module
from harness.search.sampler import sampler
from harness.testing.records import space

SEED, TRIALS = 7, 30
FEW = 40


class FreshTPE(optuna.samplers.TPESampler):
    """Optuna's own, made for one trial, but for the seeds of parameters that are drawn by themselves."""

    def __init__(self, seed: int) -> None:
        super().__init__(**self.options(seed))
        self.own_seed = seed

    @staticmethod
    def options(seed: int) -> dict[str, Any]:
        return {"seed": seed, "n_startup_trials": 10, "multivariate": True, "group": True}

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, *rest: Any) -> Any:
        fresh = optuna.samplers.TPESampler(**self.options(seed_for(self.own_seed, param_name)))
        return fresh.sample_independent(study, trial, param_name, *rest)


def new_study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler(SEED, TRIALS))


def tell(study: optuna.Study, trial: optuna.Trial) -> None:
    """End a trial in one of many ways, by its number alone."""
    chance = random.Random(trial.number)
    trial.set_constraint("vram", chance.uniform(-1.0, 0.2))
    trial.report(chance.random(), 1)
    state = chance.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
    study.tell(trial, chance.random() if state is TrialState.COMPLETE else None, state)


def searched(study: optuna.Study, trials: int) -> optuna.Study:
    for _ in range(trials):
        trial = study.ask()
        space(trial, quick=True)
        tell(study, trial)
    return study


def again(ended: Iterable[FrozenTrial]) -> optuna.Study:
    """Return a study with trials that another one ended, and a sampler that has not seen them."""
    study = new_study()
    study.add_trials(ended)
    return study


def proposed(study: optuna.Study) -> dict[str, Any]:
    trial = study.ask()
    space(trial, quick=True)
    return trial.params


def test_proposals_are_those_of_a_tpe_that_is_made_for_each_trial() -> None:
    ours, reference = new_study(), optuna.create_study(direction="maximize")
    searched(ours, TRIALS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for number in range(TRIALS):
            reference.sampler = FreshTPE(seed_for(SEED, number))
            searched(reference, 1)
    assert [trial.params for trial in ours.trials] == [trial.params for trial in reference.trials]


@pytest.mark.parametrize("limit", [FEW, module.OBSERVED_TRIALS])
def test_a_study_that_is_taken_up_again_goes_on_as_it_would_have(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(module, "OBSERVED_TRIALS", limit)
    study = searched(new_study(), 2 * FEW)
    for _ in range(3):
        # They end in another order than they began, while the sampler looks on.
        started = [study.ask() for _ in range(4)]
        for trial in started:
            space(trial, quick=True)
        for trial in reversed(started):
            tell(study, trial)
        resumed = again(study.trials)
        trial = study.ask()
        space(trial, quick=True)
        assert proposed(resumed) == trial.params
        tell(study, trial)


def test_a_trial_that_runs_beside_is_looked_at_too() -> None:
    study = searched(new_study(), FEW)
    alone, beside = again(study.trials), again(study.trials)
    space(beside.ask(), quick=True)
    # The same number, and so the same seed.
    alone.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
    assert proposed(alone) != proposed(beside)


def test_the_best_trials_and_the_latest_of_the_others_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OBSERVED_TRIALS", FEW)
    study = searched(new_study(), 4 * FEW)
    looked_at: list[list[FrozenTrial]] = []
    relative = optuna.samplers.TPESampler.sample_relative

    def looking(self: Any, shown: optuna.Study, *arguments: Any) -> Any:
        looked_at.append(shown._get_trials(deepcopy=False))
        return relative(self, shown, *arguments)

    monkeypatch.setattr(optuna.samplers.TPESampler, "sample_relative", looking)
    trials = [trial for trial in study.trials if trial.state is not TrialState.FAIL]
    proposed(study)
    (shown,) = ({trial.number for trial in trials} for trials in looked_at)
    best, others = _split_trials(study, trials, 4)
    own = {study.trials[-1].number}
    assert shown == {trial.number for trial in best} | {trial.number for trial in others[-(FEW - 5) :]} | own


def test_parts_of_the_space_that_only_old_trials_have_are_still_sampled_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OBSERVED_TRIALS", FEW)
    study = new_study()
    for number in range(3 * FEW):
        trial = study.ask()
        trial.suggest_float("learning_rate", 0.0, 1.0)
        if number < FEW:
            trial.suggest_float("strength", 0.0, 1.0)
        study.tell(trial, number / 100)
    inferred = set(study.sampler.infer_relative_search_space(study, study.ask()._cached_frozen_trial))
    assert inferred == {"learning_rate", "strength"}
