"""Scores count tracks and agree with scikit-learn and with published formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score

from harness.records.predictions import Predictions
from harness.scoring.metrics import confusion, per_genre, track_scores, vote, wilson

GENRES = ("blues", "jazz", "metal", "rock")


def make_predictions(labels: list[int], predicted: list[int], genres: tuple[str, ...] = GENRES) -> Predictions:
    return Predictions(
        tracks=tuple(f"{index:03}" for index in range(len(labels))),
        genres=genres,
        labels=np.array(labels, dtype=np.int64),
        probabilities=np.eye(len(genres), dtype=np.float32)[predicted].reshape(len(labels), len(genres)),
    )


@pytest.fixture(params=[0, 1, 2])
def random_predictions(request: pytest.FixtureRequest) -> Predictions:
    """Forty answers; the last genre is never true, and the third is never predicted."""
    random = np.random.default_rng(request.param)
    return make_predictions(random.integers(0, 3, 40).tolist(), random.choice([0, 1, 3], 40).tolist())


def test_a_track_answers_with_the_mean_of_its_crops():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]], dtype=np.float32)
    voted = vote(probabilities, np.array([0, 1, 0, 0]), n_tracks=2)
    assert voted.dtype == np.float32
    np.testing.assert_allclose(voted, [[(0.9 + 0.4 + 0.3) / 3, (0.1 + 0.6 + 0.7) / 3], [0.2, 0.8]], rtol=1e-6)
    # One sure crop outvotes two unsure ones: probabilities are averaged, not ballots counted.
    assert voted[0].argmax() == 0


def test_the_order_of_crops_does_not_change_the_vote():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), size=30).astype(np.float32)
    owners = np.repeat(np.arange(6), 5)
    shuffled = random.permutation(30)
    np.testing.assert_allclose(
        vote(probabilities, owners, 6), vote(probabilities[shuffled], owners[shuffled], 6), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("owners", "n_tracks", "complaint"),
    [([0, 0], 2, "track 1 has no crop"), ([0, 2], 2, "owners must lie in"), ([0], 1, "are not")],
)
def test_a_vote_that_cannot_be_held_is_an_error(owners: list[int], n_tracks: int, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        vote(np.full((2, 3), 1 / 3, dtype=np.float32), np.array(owners), n_tracks)


def test_scores_equal_scikit_learn(random_predictions: Predictions):
    labels, predicted = random_predictions.labels, random_predictions.predicted
    scores = track_scores(random_predictions)
    assert scores.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert scores.macro_f1 == pytest.approx(
        f1_score(labels, predicted, labels=[0, 1, 2, 3], average="macro", zero_division=0)
    )


def test_macro_f1_counts_genres_that_never_occur():
    perfect_on_half = make_predictions([0, 1], [0, 1])
    assert track_scores(perfect_on_half) == (1.0, 0.5)


def test_no_track_has_no_score():
    with pytest.raises(ValueError, match="no track"):
        track_scores(make_predictions([], []))


def test_confusion_has_true_genres_as_rows(random_predictions: Predictions):
    expected = confusion_matrix(random_predictions.labels, random_predictions.predicted, labels=range(4))
    np.testing.assert_array_equal(confusion(random_predictions), expected)
    assert confusion(make_predictions([0], [3]))[0, 3] == 1


def test_per_genre_scores_equal_scikit_learns_report(random_predictions: Predictions):
    expected = classification_report(
        random_predictions.labels,
        random_predictions.predicted,
        labels=range(4),
        target_names=GENRES,
        output_dict=True,
        zero_division=0,
    )
    rows = per_genre(random_predictions)
    assert [row.genre for row in rows] == list(GENRES)
    for genre, *scores in rows:
        assert scores == pytest.approx([expected[genre][key] for key in ("precision", "recall", "f1-score", "support")])


@pytest.mark.parametrize(("successes", "total"), [(0, 20), (1, 7), (122, 200), (20, 20)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_equals_scipys(successes: int, total: int, confidence: float):
    expected = scipy.stats.binomtest(successes, total).proportion_ci(confidence_level=confidence, method="wilson")
    interval = wilson(successes, total, confidence)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= interval.low < interval.high <= 1


def test_61_percent_of_200_tracks_is_known_to_seven_points_either_way():
    assert wilson(122, 200) == pytest.approx((0.5409, 0.6749), abs=1e-4)
    assert wilson(122, 200).width == pytest.approx(0.1340, abs=1e-4)


def test_no_interval_without_tracks():
    with pytest.raises(ValueError, match="at least one track"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="8 of 7 tracks"):
        wilson(8, 7)
