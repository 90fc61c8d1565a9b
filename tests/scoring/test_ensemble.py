"""An ensemble is chosen by what its members answered, and is at least as good there as the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from harness.records.predictions import Predictions
from harness.scoring.ensemble import blend, select_members
from harness.scoring.metrics import track_scores

GENRES = ("blues", "jazz", "metal", "rock")


def answers(labels: list[int], probabilities: np.ndarray) -> Predictions:
    return Predictions(
        tracks=tuple(f"{index:04}" for index in range(len(labels))),
        genres=GENRES[: np.shape(probabilities)[1]],
        labels=np.array(labels, dtype=np.int64),
        probabilities=np.asarray(probabilities, dtype=np.float32),
    )


def library(seed: int, models: int = 8, tracks: int = 40) -> dict[str, Predictions]:
    """Models of different skill and different mistakes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(GENRES), tracks)
    skills = random.uniform(0.5, 2.0, models)
    logits = skills[:, None, None] * np.eye(len(GENRES))[labels] + random.normal(size=(models, tracks, len(GENRES)))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return {f"model{index}": answers(labels.tolist(), each) for index, each in enumerate(probabilities)}


def macro_f1(predictions: Predictions) -> float:
    return track_scores(predictions).macro_f1


def sure_of(genres: list[int], confidence: list[float]) -> np.ndarray:
    """Two-genre probabilities: `confidence` for the genre named, the rest for the other."""
    return np.array([[p, 1 - p] if genre == 0 else [1 - p, p] for genre, p in zip(genres, confidence, strict=True)])


COMPLEMENTARY = {
    # Each is sure where it is right, and unsure where it is wrong.
    "left": answers([0, 0, 1, 1], sure_of([0, 1, 1, 0], [0.9, 0.6, 0.9, 0.6])),
    "right": answers([0, 0, 1, 1], sure_of([1, 0, 0, 1], [0.6, 0.9, 0.6, 0.9])),
}


@pytest.mark.parametrize("seed", range(10))
def test_an_ensemble_is_never_worse_than_its_best_member_where_it_was_chosen(seed: int):
    candidates = library(seed)
    ensemble = select_members(candidates)
    assert macro_f1(ensemble.predictions) >= max(map(macro_f1, candidates.values()))
    assert sum(ensemble.weights.values()) == pytest.approx(1)


def test_two_models_that_fail_on_different_tracks_beat_both():
    ensemble = select_members(COMPLEMENTARY)
    assert [macro_f1(each) for each in COMPLEMENTARY.values()] == [0.5, 0.5]
    assert ensemble.weights == {"left": 0.5, "right": 0.5}
    assert macro_f1(ensemble.predictions) == 1.0


def test_what_was_chosen_on_one_set_of_tracks_helps_on_others():
    both = library(1, models=12, tracks=2060)
    ensemble = select_members({name: rows(each, slice(60)) for name, each in both.items()})
    test = {name: rows(each, slice(60, None)) for name, each in both.items()}
    assert macro_f1(blend(test, ensemble.weights)) > max(map(macro_f1, test.values())) + 0.02


def rows(predictions: Predictions, part: slice) -> Predictions:
    return Predictions(
        predictions.tracks[part], predictions.genres, predictions.labels[part], predictions.probabilities[part]
    )


def greedy(candidates: Mapping[str, Predictions], rounds: int) -> list[str]:
    """The members that greedy selection keeps, every choice in turn, written out with scikit-learn's scores."""

    def quality(members: list[str]) -> tuple[float, float]:
        labels = candidates[members[0]].labels
        mean = np.mean([candidates[each].probabilities for each in members], axis=0, dtype=np.float64)
        f1 = f1_score(labels, mean.argmax(axis=1), average="macro")
        return round(f1, 9), -log_loss(labels, mean.astype(np.float32), labels=range(len(GENRES)))

    steps: list[list[str]] = [[]]
    for _ in range(rounds):
        steps.append(max(([*steps[-1], name] for name in candidates), key=quality))
    return max(steps[1:], key=quality)


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_is_the_greedy_one(seed: int):
    candidates = library(seed)
    for rounds in (1, 2, 3, 6):
        kept = greedy(candidates, rounds)
        weights = select_members(candidates, rounds=rounds).weights
        assert weights == pytest.approx({name: kept.count(name) / len(kept) for name in kept})


def test_more_rounds_never_lower_the_score_that_members_are_chosen_by():
    candidates = library(4)
    scores = [macro_f1(select_members(candidates, rounds=rounds).predictions) for rounds in (1, 2, 5, 10, 25)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_a_model_may_be_chosen_more_than_once():
    # Only two parts of the first to one of the second answer all four tracks.
    labels = [0, 0, 1, 1]
    first = answers(labels, sure_of([0, 1, 1, 1], [0.7, 0.55, 0.7, 0.7]))
    second = answers(labels, sure_of([1, 0, 0, 0], [0.8, 0.9, 0.8, 0.8]))
    ensemble = select_members({"first": first, "second": second})
    assert ensemble.weights["first"] > ensemble.weights["second"] > 0
    assert macro_f1(ensemble.predictions) == 1.0


def test_the_same_models_make_the_same_ensemble_in_any_order_of_tracks():
    candidates = library(5)
    ensemble = select_members(candidates)
    order = np.random.default_rng(0).permutation(40)
    moved = candidates["model3"]
    candidates["model3"] = Predictions(
        tuple(moved.tracks[row] for row in order), GENRES, moved.labels[order], moved.probabilities[order]
    )
    again = select_members(candidates)
    assert again.weights == ensemble.weights
    assert again.predictions.tracks == ensemble.predictions.tracks
    np.testing.assert_array_equal(again.predictions.probabilities, ensemble.predictions.probabilities)


def test_of_equal_macro_f1_the_lower_log_loss_is_chosen():
    labels = [0, 1]
    unsure, sure = (answers(labels, sure_of(labels, [p, p])) for p in (0.6, 0.9))
    assert select_members({"unsure": unsure, "sure": sure}).weights == {"sure": 1.0}


def test_equal_macro_f1_is_equal_in_whatever_order_it_was_summed():
    # Each gives the second genre to one track of the first or of the third. The genres' F1 are the same numbers in
    # turned order, and their sums differ in the last bit, in favour of the unsure one.
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    tables = []
    for wrong, p in ((8, 0.5), (0, 0.9)):
        predicted = np.array(labels)
        predicted[wrong] = 1
        tables.append(np.where(np.eye(3)[predicted] > 0, p, (1 - p) / 2))
    unsure, sure = (answers(labels, table) for table in tables)
    assert select_members({"unsure": unsure, "sure": sure}, rounds=1).weights == {"sure": 1.0}
    assert select_members({"sure": sure, "unsure": unsure}, rounds=1).weights == {"sure": 1.0}


def test_of_equal_models_the_first_is_chosen_once():
    model = COMPLEMENTARY["left"]
    assert select_members({"first": model, "twin": model}).weights == {"first": 1.0}
    assert select_members({("family", 3): model, ("family", 1): model}).weights == {("family", 3): 1.0}


def test_a_certain_mistake_does_not_break_the_choice():
    wrong = answers([0, 1], np.array([[0.0, 1.0], [1.0, 0.0]]))
    right = answers([0, 1], np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert select_members({"wrong": wrong, "right": right}).weights == {"right": 1.0}


def test_a_blend_is_the_weighted_mean_on_the_tracks_of_another_partition():
    left, right = COMPLEMENTARY.values()
    mean = blend(COMPLEMENTARY, {"left": 0.25, "right": 0.75})
    assert mean.probabilities.dtype == np.float32
    np.testing.assert_allclose(mean.probabilities, 0.25 * left.probabilities + 0.75 * right.probabilities, rtol=1e-6)
    np.testing.assert_array_equal(mean.labels, left.labels)
    # Members without a weight need not even answer the same tracks.
    assert blend({**COMPLEMENTARY, "other": library(0)["model0"]}, {"left": 1.0}).tracks == left.tracks


def test_the_ensembles_predictions_are_the_blend_of_its_members():
    candidates = library(6)
    ensemble = select_members(candidates)
    again = blend(candidates, ensemble.weights)
    np.testing.assert_array_equal(ensemble.predictions.probabilities, again.probabilities)


def test_models_with_different_tracks_or_genres_make_no_ensemble():
    left, right = COMPLEMENTARY.values()
    for other, complaint in (
        (replace(right, tracks=("0000", "0001", "0002", "0009")), "left and right: only one .* 0003, 0009"),
        (replace(right, genres=("jazz", "blues")), "left and right: genres blues, jazz are not jazz, blues"),
        (replace(right, labels=1 - right.labels), "left and right: 0000 has two genres"),
    ):
        with pytest.raises(ValueError, match=complaint):
            select_members({"left": left, "right": other})
        with pytest.raises(ValueError, match=complaint):
            blend({"left": left, "right": other}, {"left": 0.5, "right": 0.5})


def test_what_cannot_be_chosen_or_blended_is_an_error():
    with pytest.raises(ValueError, match="no predictions"):
        select_members({})
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        select_members(COMPLEMENTARY, rounds=0)
    with pytest.raises(ValueError, match="middle: a weight without predictions"):
        blend(COMPLEMENTARY, {"left": 0.5, "middle": 0.5})
