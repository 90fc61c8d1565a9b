"""What is trained again when a test set is opened, and what is chosen without the tracks that it tests."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.evaluation.final_jobs import FinalJob, final_jobs
from harness.evaluation.nested_cv import restricted
from harness.evaluation.winner_selection import best_without
from harness.records.final import FinalRecord, FinalRole
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.records.trial import MemoryRecord, Outcome, TimingRecord, TrialRecord
from harness.testing.records import FAMILY, FOLDS, RECORD
from harness.trials.backend import TrialEnded
from harness.trials.job import JobKey, JobKind
from harness.trials.report import TrialReport
from tests.helpers.reports import make_results, make_trial

WINNER, BASELINE = make_trial(1, valid_macro_f1=0.8), make_trial(0, valid_macro_f1=0.5)


def jobs(
    folds: int, winner: TrialRecord | None = WINNER, baseline: TrialRecord = BASELINE, seeds: int = 2
) -> list[FinalJob]:
    results = make_results(trials=(baseline, WINNER))
    study: Any = SimpleNamespace(results=results, folds=[object()] * max(folds, 1), has_test_set=not folds)
    return list(final_jobs(study, [winner] * max(folds, 1), seeds))


def test_winner_and_baseline_take_turns_seed_by_seed() -> None:
    assert [job.key for job in jobs(0)] == ["winner-0", "baseline-0", "winner-1", "baseline-1"]
    assert [job.key for job in jobs(2, seeds=1)] == ["winner-0-0", "baseline-0-0", "winner-0-1", "baseline-0-1"]


def test_a_baseline_that_won_is_tested_once_on_a_test_set() -> None:
    assert [job.role for job in jobs(0, winner=BASELINE, seeds=1)] == [FinalRole.WINNER]
    assert [job.role for job in jobs(1, winner=BASELINE, seeds=1)] == [FinalRole.WINNER, FinalRole.BASELINE]


def test_what_did_not_complete_is_not_tested() -> None:
    assert [job.role for job in jobs(0, baseline=make_trial(0, Outcome.TIMEOUT), seeds=1)] == [FinalRole.WINNER]
    assert [job.role for job in jobs(0, winner=None, seeds=1)] == [FinalRole.BASELINE]


@pytest.mark.parametrize("outer", [None, 3])
def test_a_training_is_called_as_its_record_is(outer: int | None) -> None:
    fold: Any = None
    job = FinalJob(FinalRole.WINNER, WINNER, 1, outer, fold)
    key = JobKey("study", JobKind.WINNER, 1, seed=1, fold=outer)
    record = job.record(TrialEnded(key, TrialReport(Outcome.HOST_OOM, "no memory")), 2**30, "GPU-1", "now")
    assert record == FinalRecord(
        role=FinalRole.WINNER,
        trial=1,
        seed=1,
        fold=outer,
        outcome=Outcome.HOST_OOM,
        message="no memory",
        memory=MemoryRecord(cap_bytes=2**30, device="GPU-1"),
        timing=TimingRecord(started="now", ended=record.timing.ended),
    )
    assert record.key == job.key


def test_a_constant_that_a_space_does_not_suggest_is_trained_with() -> None:
    """The baseline and the winner of a fold may be the same trial, and are told apart all the same."""
    family = replace(FAMILY, space=lambda trial, quick: {"width": trial.suggest_int("width", 8, 64), "patience": 5})
    trial = make_trial(0, params={"width": 16})
    settings = SimpleNamespace(deterministic=False)
    study: Any = SimpleNamespace(record=RECORD, family=family, search=settings)
    jobs = [FinalJob(role, trial, 0, 1, FOLDS[0]).spec(study, None) for role in FinalRole]
    assert [job.training.config for job in jobs] == [{"width": 16, "patience": 5}] * 2
    assert {str(job.key) for job in jobs} == {"winner-00000-seed-0-fold-1", "baseline-00000-seed-0-fold-1"}


def predictions(right: str) -> Predictions:
    """Right on the tracks that are named, wrong on the others of `abcd`."""
    labels = np.array([0, 1, 0, 1])
    shown = np.where([track in right for track in "abcd"], labels, 1 - labels)
    return Predictions(tuple("abcd"), ("blues", "rock"), labels, np.eye(2, dtype=np.float32)[shown])


def test_the_tested_tracks_have_no_say() -> None:
    """Trial 1 knows all of what is hidden, trial 2 the rest."""
    trials = (BASELINE, WINNER, make_trial(2), make_trial(3, Outcome.OOM))
    told = {0: predictions(""), 1: predictions("ab"), 2: predictions("cd")}
    results: StudyResults = replace(make_results(trials=trials), predictions=told)
    for hidden, number in (("ab", 2), ("cd", 1)):
        best = best_without(results, frozenset(hidden))
        assert best is not None
        assert best.number == number


def test_a_trial_whose_predictions_are_in_another_workspace_is_passed_over() -> None:
    results: StudyResults = replace(make_results(), predictions={})
    assert any(trial.completed for trial in results.trials)
    assert best_without(results, frozenset("a")) is None


def test_predictions_are_divided_by_track() -> None:
    told = predictions("abc")
    inside, outside = restricted(told, frozenset("bd")), restricted(told, frozenset("bd"), keep=False)
    assert (inside.tracks, outside.tracks) == (("b", "d"), ("a", "c"))
    np.testing.assert_array_equal(inside.labels, [1, 1])
    np.testing.assert_array_equal(outside.probabilities, told.probabilities[[0, 2]])
