"""The doubt about a score agrees with statsmodels, scipy and scikit-learn, and intervals cover what they say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from harness.records.predictions import Predictions
from harness.scoring.comparison import align, bootstrap_macro_f1, compare, holm, mcnemar, seed_spread
from harness.scoring.metrics import Interval, confusion, f1_by_genre, track_scores

GENRES = ("blues", "jazz", "metal", "rock")


def answers(labels: np.ndarray, predicted: np.ndarray, genres: tuple[str, ...] = GENRES) -> Predictions:
    return Predictions(
        tracks=tuple(f"{index:04}" for index in range(len(labels))),
        genres=genres,
        labels=np.asarray(labels, dtype=np.int64),
        probabilities=np.eye(len(genres), dtype=np.float32)[np.asarray(predicted, dtype=int)],
    )


def model(seed: int, accuracy: float, tracks: int = 120, wrong: int | None = None) -> Predictions:
    """Answers to tracks of evenly spread genres, right with probability `accuracy`, else any genre or `wrong`."""
    random = np.random.default_rng(seed)
    labels = np.arange(tracks) % len(GENRES)
    guesses = random.integers(0, len(GENRES), tracks) if wrong is None else np.full(tracks, wrong)
    return answers(labels, np.where(random.random(tracks) < accuracy, labels, guesses))


def shuffled(predictions: Predictions, seed: int = 0) -> Predictions:
    order = np.random.default_rng(seed).permutation(len(predictions.tracks))
    return Predictions(
        tuple(predictions.tracks[row] for row in order),
        predictions.genres,
        predictions.labels[order],
        predictions.probabilities[order],
    )


def macro_f1(labels: np.ndarray, predicted: np.ndarray, axis: int = -1) -> np.ndarray:
    """Macro F1 of many draws of tracks at once, by its definition."""
    by_genre = [
        2 * (true & called).sum(axis) / (true.sum(axis) + called.sum(axis))
        for true, called in ((labels == genre, predicted == genre) for genre in range(len(GENRES)))
    ]
    return np.mean(by_genre, axis=0)


def test_f1_from_counts_equals_scikit_learn():
    predictions = model(3, 0.5)
    expected = f1_score(predictions.labels, predictions.predicted, average=None)
    np.testing.assert_allclose(f1_by_genre(confusion(predictions)), expected)


def test_a_genre_without_any_case_has_no_f1():
    np.testing.assert_array_equal(f1_by_genre(confusion(answers([0, 0], [0, 1]))), [2 / 3, 0, np.nan, np.nan])


@pytest.mark.parametrize("accuracy", [0.4, 0.7])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_bootstrap_agrees_with_scipys(accuracy: float, confidence: float):
    predictions = model(1, accuracy)
    expected = scipy.stats.bootstrap(
        (predictions.labels, predictions.predicted),
        macro_f1,
        paired=True,
        n_resamples=10_000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    interval = bootstrap_macro_f1(predictions, resamples=10_000, confidence=confidence)
    # A 2.5 % quantile of 10,000 normal draws has a standard error of 0.027 standard deviations, here 0.0012.
    assert interval == pytest.approx((expected.low, expected.high), abs=0.005)


def test_the_interval_holds_the_score_and_narrows_with_tracks():
    few, many = model(2, 0.6, tracks=80), model(2, 0.6, tracks=1280)
    for predictions in (few, many):
        low, high = bootstrap_macro_f1(predictions)
        assert low < track_scores(predictions).macro_f1 < high
    assert bootstrap_macro_f1(many).width == pytest.approx(bootstrap_macro_f1(few).width / 4, rel=0.15)


def test_a_higher_confidence_widens_the_interval_and_a_seed_repeats_it():
    predictions = model(2, 0.6)
    assert bootstrap_macro_f1(predictions, confidence=0.99).width > bootstrap_macro_f1(predictions).width
    assert bootstrap_macro_f1(predictions, seed=4) == bootstrap_macro_f1(shuffled(predictions), seed=4)
    assert bootstrap_macro_f1(predictions, seed=4) != bootstrap_macro_f1(predictions, seed=5)


def test_a_perfect_model_is_not_charged_for_genres_that_a_draw_misses():
    labels = np.arange(8) % len(GENRES)
    assert bootstrap_macro_f1(answers(labels, labels)) == Interval(1.0, 1.0)


def test_genres_that_the_partition_lacks_count_as_in_the_score():
    labels = np.arange(8) % 2
    predictions = answers(labels, labels)
    assert bootstrap_macro_f1(predictions) == Interval(0.5, 0.5)
    assert track_scores(predictions).macro_f1 == 0.5


def test_the_interval_covers_the_true_score_about_as_often_as_it_says():
    """400 partitions of 200 tracks each are drawn from one model whose true macro F1 is known."""
    random = np.random.default_rng(0)
    hits = np.array([0.9, 0.7, 0.5, 0.4])
    rates = np.where(np.eye(4, dtype=bool), hits, (1 - hits[:, None]) / 3)
    truth = f1_by_genre(rates).mean()
    covered = 0
    for seed in range(400):
        labels = np.arange(200) % 4
        predicted = (random.random((200, 1)) > rates[labels].cumsum(axis=1)).sum(axis=1)
        low, high = bootstrap_macro_f1(answers(labels, predicted.clip(max=3)), resamples=500, seed=seed)
        covered += low <= truth <= high
    # Two-sided 99.9 % limits of 400 throws at 0.95, and one point for the percentile bootstrap's own error.
    assert 0.90 <= covered / 400 <= 0.985


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4), (5, 6)])
@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.8])
def test_mcnemar_equals_statsmodels(seeds: tuple[int, int], accuracy: float):
    first, second = model(seeds[0], 0.6), model(seeds[1], accuracy)
    right, other = first.predicted == first.labels, second.predicted == second.labels
    table = [[(right & other).sum(), (right & ~other).sum()], [(~right & other).sum(), (~right & ~other).sum()]]
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (table[0][1], table[1][0])
    assert result.p_value == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)


def test_mcnemar_is_symmetric_and_matches_tracks_by_name():
    first, second = model(1, 0.8), model(2, 0.5)
    result = mcnemar(first, second)
    assert result.p_value < 0.05
    assert mcnemar(second, first) == (result.only_second, result.only_first, result.p_value)
    assert mcnemar(first, shuffled(second)) == result


def test_models_that_are_right_on_the_same_tracks_are_not_told_apart():
    # Both fail on the same tracks, though with other genres.
    first, second = (model(1, 0.5, wrong=wrong) for wrong in (0, 1))
    both = (first.labels > 1) | (first.predicted == first.labels)
    tracks = [row for row in range(120) if both[row] and first.labels[row] > 1]
    first, second = (answers(each.labels[tracks], each.predicted[tracks]) for each in (first, second))
    assert (first.predicted != second.predicted).any()
    assert mcnemar(first, second) == (0, 0, 1.0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"genres": ("blues", "jazz", "metal", "pop")}, "genres blues, jazz, metal, rock are not .* pop"),
        ({"tracks": ("0000", "0001", "new")}, r"only one of them answers 0002, new \(2 tracks\)"),
        ({"tracks": ("0000", "0001", "0001")}, "second: 1 answers are to tracks that it answers again"),
        ({"labels": np.array([0, 2, 2])}, "0001 has two genres"),
    ],
)
def test_models_scored_on_different_tracks_are_not_compared(change: dict[str, object], complaint: str):
    first = answers([0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match=complaint):
        mcnemar(first, replace(first, **change))
    with pytest.raises(ValueError, match="cnn1d" if "answers again" not in complaint else "fusion"):
        compare({"cnn1d": first, "fusion": replace(first, **change)})


def test_no_track_is_compared_with_nothing():
    nothing = answers([], [])
    for call in (lambda: align({}), lambda: mcnemar(nothing, nothing)):
        with pytest.raises(ValueError, match="no predictions of any track"):
            call()
    with pytest.raises(ValueError, match="at least one track"):
        bootstrap_macro_f1(nothing)


@pytest.mark.parametrize(
    "p_values", [[], [0.04], [0.01, 0.04, 0.03, 0.005], [0.5, 0.5, 0.9], [0.02, 0.02, 0.02], [0.0, 1.0, 0.3, 0.049]]
)
def test_holm_equals_statsmodels_in_the_order_given(p_values: list[float]):
    expected = multipletests(p_values, method="holm")[1].tolist() if p_values else []
    assert holm(p_values) == pytest.approx(expected)


def test_every_pair_of_models_is_compared_and_corrected_together():
    models = {"strong": model(1, 0.9), "fair": model(2, 0.6), "weak": shuffled(model(3, 0.3))}
    rows = compare(models)
    assert [(row.first, row.second) for row in rows] == [("strong", "fair"), ("strong", "weak"), ("fair", "weak")]
    for row in rows:
        first, second = models[row.first], models[row.second]
        assert row.difference == pytest.approx(track_scores(first).accuracy - track_scores(second).accuracy)
        assert (row.only_first, row.only_second, row.p_value) == mcnemar(first, second)
    assert [row.adjusted_p_value for row in rows] == pytest.approx(holm([row.p_value for row in rows]))
    assert all(row.adjusted_p_value >= row.p_value for row in rows)


def test_one_model_has_nothing_to_be_compared_with():
    assert compare({"alone": model(1, 0.5)}) == compare({}) == []


def test_spread_over_seeds():
    mean, deviation = seed_spread([0.6, 0.7, 0.8])
    assert (mean, deviation) == pytest.approx((0.7, 0.1))
    assert seed_spread([0.6]) == (0.6, None)
    with pytest.raises(ValueError, match="at least one score"):
        seed_spread([])


def test_scores_need_no_library_that_takes_a_second_to_import():
    code = """import sys
import numpy as np
from harness.records.predictions import Predictions
from harness.scoring import comparison, metrics
answers = Predictions(("a", "b"), ("blues", "rock"), np.array([0, 1]), np.eye(2, dtype=np.float32))
metrics.track_scores(answers), metrics.per_genre(answers), metrics.wilson(1, 2)
comparison.bootstrap_macro_f1(answers), comparison.compare({"one": answers, "other": answers})
print(*sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"sklearn", "scipy", "pandas"}.isdisjoint(done.stdout.split())
