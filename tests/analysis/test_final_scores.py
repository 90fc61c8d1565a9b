"""Final scores in figures: known means, spreads, intervals and tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.comparison_group import analyse
from harness.analysis.final_scores import FinalScores, score_configuration, score_finals
from harness.analysis.pairwise import PairwiseTests, compare_pairs
from harness.analysis.score_intervals import accuracy_interval, intervals_of, validation_score
from harness.records.final import FinalRole
from harness.records.study import StudyResults
from harness.records.trial import Outcome
from harness.scoring.comparison import bootstrap_macro_f1, mcnemar
from harness.scoring.metrics import track_scores, wilson
from harness.tracking.mlflow.points import final_metrics
from tests.helpers.reports import failed, make_predictions, make_protocol, make_results, make_trial, opened

FOLDED = {"protocol": make_protocol("kfold:5", sizes={"folds": 200}, folds=5)}


def scored(results: StudyResults) -> FinalScores:
    final = score_finals(results)
    assert final is not None
    return final


def test_scores_over_seeds_have_mean_spread_and_intervals() -> None:
    final = scored(opened(make_results(), (0.6, 0.58, 0.62), (0.5, 0.52)))
    assert final.winner is not None
    assert final.baseline is not None
    right = [track_scores(make_predictions(accuracy, 190)) for accuracy in (0.6, 0.58, 0.62)]
    accuracies, macro_f1s = [each.accuracy for each in right], [each.macro_f1 for each in right]
    assert [seed for seed, _ in final.winner.seeds] == [0, 1, 2]
    assert final.winner.tracks == 190
    assert final.winner.accuracy == pytest.approx((np.mean(accuracies), np.std(accuracies, ddof=1)))
    assert final.winner.macro_f1 == pytest.approx((np.mean(macro_f1s), np.std(macro_f1s, ddof=1)))
    assert final.winner.accuracy_interval == wilson(114, 190)
    assert final.winner.macro_f1_interval == bootstrap_macro_f1(make_predictions(0.6, 190))
    assert final.baseline.accuracy.mean == pytest.approx((95 + 99) / 2 / 190)
    assert final.train_seconds == 400


def test_the_margin_is_the_winners_mean_minus_the_baselines_with_its_test() -> None:
    margin = scored(opened(make_results(), (0.6,), (0.5,))).margin
    assert margin is not None
    assert margin.accuracy == pytest.approx(0.1)
    assert margin.test == mcnemar(make_predictions(0.6, 190), make_predictions(0.5, 190))
    assert margin.accuracy_ahead
    assert margin.macro_f1_ahead
    equal = scored(opened(make_results(), (0.5,), (0.5,))).margin
    assert equal is not None
    assert not equal.accuracy_ahead
    assert not equal.macro_f1_ahead


def test_a_winner_that_is_the_baseline_has_no_margin() -> None:
    final = scored(opened(make_results(), (0.5, 0.5), (), trials=(0,)))
    assert final.baseline_won
    assert final.margin is None
    assert final.runs[FinalRole.BASELINE] == final.runs[FinalRole.WINNER]


def test_only_seeds_that_were_scored_on_all_tested_tracks_count() -> None:
    whole = opened(make_results(**FOLDED), (0.6, 0.2), (0.5,), tracks=200, folds=5)
    lost = scored(failed(whole, "winner-1-3", Outcome.OOM, "")).winner
    assert lost is not None
    assert [seed for seed, _ in lost.seeds] == [0]
    assert (lost.tracks, lost.accuracy.mean, lost.accuracy.deviation) == (200, pytest.approx(0.6), None)
    every = failed(
        failed(opened(make_results(), (0.6,), (0.5,)), "winner-0", Outcome.OOM, ""), "baseline-0", Outcome.OOM, ""
    )
    assert score_configuration(every, FinalRole.WINNER) is None


def test_without_stored_predictions_there_is_neither_interval_nor_test() -> None:
    final = scored(replace(opened(make_results(), (0.6,), (0.5,)), final_predictions={}))
    assert final.winner is not None
    assert final.winner.predictions is None
    assert final.winner.macro_f1_interval is None
    assert final.margin is not None
    assert final.margin.test is None


def test_nothing_is_scored_while_nothing_was_tested() -> None:
    assert score_finals(make_results()) is None
    assert score_configuration(make_results(), FinalRole.WINNER) is None


def test_mlflow_and_the_report_have_the_same_intervals() -> None:
    results = opened(make_results(), (0.6,), (0.5,))
    assert results.finals is not None
    winner = scored(results).winner
    assert winner is not None
    metrics = final_metrics(results.finals.runs[0], results.final_predictions["winner-0"])
    assert (metrics["test_accuracy_low"], metrics["test_accuracy_high"]) == winner.accuracy_interval
    assert (metrics["test_macro_f1_low"], metrics["test_macro_f1_high"]) == winner.macro_f1_interval


def test_intervals_follow_from_counts_of_tracks() -> None:
    predictions = make_predictions(0.61)
    assert intervals_of(predictions) == (wilson(122, 200), bootstrap_macro_f1(predictions))
    assert accuracy_interval(0.61, 200) == wilson(122, 200)


def test_validation_counts_predicted_tracks_else_those_of_the_protocol() -> None:
    results = make_results(0.6, tracks=40)
    assert validation_score(results) == (40, wilson(24, 40))
    assert validation_score(replace(results, predictions={})) == (200, wilson(120, 200))
    assert validation_score(make_results(None)) == (200, None)
    nan = make_trial(0, valid_accuracy=float("nan"), valid_macro_f1=0.5)
    assert validation_score(make_results(trials=(nan,))) == (200, None)


def pairs(*studies: StudyResults) -> PairwiseTests:
    (group,) = analyse(studies)
    assert group.pairwise is not None
    return group.pairwise


def test_pairs_are_compared_on_the_tested_tracks_and_corrected() -> None:
    accuracies = {"cnn2d-fusion": 0.6, "cnn2d-mfcc": 0.57, "cnn1d-raw": 0.545}
    studies = [opened(make_results(each, family=family), (each,)) for family, each in accuracies.items()]
    tests = pairs(*studies, make_results(None, family="cnn-transformer"))
    assert tests.tested
    assert (tests.tracks, tests.labels, tests.missing) == (190, tuple(accuracies), ("cnn-transformer",))
    # 6, 10 and 4 tracks that only the better one has right.
    assert [(pair.only_first, pair.only_second) for pair in tests.comparisons] == [(6, 0), (10, 0), (4, 0)]
    assert [pair.adjusted_p_value for pair in tests.comparisons] == pytest.approx([0.0625, 0.005859375, 0.125])
    assert [(pair.first, pair.second) for pair in tests.holding] == [("cnn2d-fusion", "cnn1d-raw")]


def test_validation_stands_in_where_fewer_than_two_families_are_tested() -> None:
    tests = pairs(
        opened(make_results()), make_results(0.3, family="cnn1d-raw"), make_results(0.2, family="a", tracks=9)
    )
    assert not tests.tested
    assert (tests.tracks, tests.labels, tests.missing) == (200, ("cnn2d-fusion", "cnn1d-raw"), ("a",))
    assert tests.comparisons[0].difference == pytest.approx(0.31)


def test_fewer_than_two_families_are_no_pair() -> None:
    known = make_predictions(0.5)
    assert compare_pairs({}, {}) is None
    assert compare_pairs({"a": known}, {"a": known, "b": None}) is None
