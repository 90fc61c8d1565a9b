"""How far scores can be trusted: a bootstrap over tracks, spread over seeds, and paired tests between models."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np

from harness.records.predictions import Predictions
from harness.scoring.metrics import Interval, confusion, f1_by_genre

Key = TypeVar("Key", bound=Hashable)


class McNemar(NamedTuple):
    """How many tracks only one of two models answered correctly, and the two-sided p-value of "equally good"."""

    only_first: int
    only_second: int
    p_value: float


class Comparison(NamedTuple):
    """Two models on the same tracks; `difference` is the accuracy of the first minus that of the second."""

    first: str
    second: str
    difference: float
    only_first: int
    only_second: int
    p_value: float
    adjusted_p_value: float


class Spread(NamedTuple):
    """Mean and standard deviation (divisor n - 1) of one score over seeds; one seed has no deviation."""

    mean: float
    deviation: float | None


def align(predictions: Mapping[Key, Predictions]) -> dict[Key, Predictions]:
    """Return the same answers with every model's tracks in the order of the first model's.

    Raises:
        ValueError: there is no model or no track, a model answers a track twice, or two models differ in genres, in
            tracks or in a track's label; the message names both models and what differs.
    """
    aligned = dict(predictions)
    name, first = next(iter(aligned.items()), (None, None))
    if first is None or not first.tracks:
        raise ValueError("there are no predictions of any track")
    for key, other in aligned.items():
        pair, advice = f"{name} and {key}", "Take predictions on one partition of one protocol."
        if other.genres != first.genres:
            raise ValueError(f"{pair}: genres {', '.join(first.genres)} are not {', '.join(other.genres)}. {advice}")
        rows = {track: row for row, track in enumerate(other.tracks)}
        if len(rows) != len(other.tracks):
            raise ValueError(f"{key}: {len(other.tracks) - len(rows)} answers are to tracks that it answers again.")
        if unmatched := sorted(rows.keys() ^ set(first.tracks)):
            named = ", ".join(unmatched[:3]) + ", ..." * (len(unmatched) > 3)
            raise ValueError(f"{pair}: only one of them answers {named} ({len(unmatched)} tracks). {advice}")
        order = [rows[track] for track in first.tracks]
        if (relabelled := other.labels[order] != first.labels).any():
            track = first.tracks[int(relabelled.argmax())]
            raise ValueError(f"{pair}: {track} has two genres ({relabelled.sum()} tracks differ). {advice}")
        aligned[key] = replace(first, probabilities=other.probabilities[order])
    return aligned


def bootstrap_macro_f1(
    predictions: Predictions, *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return a percentile bootstrap interval of macro F1 over tracks.

    Tracks are drawn with replacement from all tracks, not within each genre: which tracks a partition got is part of
    the doubt. That is one multinomial draw of the confusion matrix a resample. A genre that the partition lacks counts
    as F1 = 0 in every resample, as in `track_scores`. A genre that only a resample lacks has no F1 there and is left
    out of that resample's mean: counted as 0, it would charge the model with the luck of the draw.

    The interval is too narrow where genres have few tracks: in simulations of ten genres, 95 % intervals covered 92 to
    95 % of the time with 20 tracks a genre, 85 to 92 % with five, less with two. It is also too narrow where one artist
    stands behind several tracks, since tracks count as independent. Where no answer is wrong it has no width.
    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        predictions: at least one track.
        resamples: number of resamples.
        confidence: coverage, in (0, 1).
        seed: of the draws; equal seeds give equal intervals.

    Raises:
        ValueError: there is no track.
    """
    counts = confusion(predictions)
    total = counts.sum()
    if not total:
        raise ValueError("an interval needs at least one track")
    draws = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=resamples)
    occurring = np.isfinite(f1_by_genre(counts)).mean()
    scores = occurring * np.nanmean(f1_by_genre(draws.reshape(-1, *counts.shape)), axis=1)
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high))


def seed_spread(scores: Sequence[float]) -> Spread:
    """Return mean and standard deviation of one score over the seeds that a configuration was trained with.

    Raises:
        ValueError: there is no score.
    """
    if not scores:
        raise ValueError("a spread needs at least one score")
    return Spread(float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else None)


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """Return McNemar's exact test of two models' accuracies on the same tracks.

    Of the tracks that exactly one model answers correctly, each has it half the time if the models are equally good:
    the p-value is the two-sided binomial one, and 1 if there is no such track. The test is about these two trained
    models; what another seed would change is not in it.
    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12 (1947), 153-157.

    Raises:
        ValueError: the models differ in genres, in tracks or in a track's label, or there is no track (see `align`).
    """
    models = align({"first": first, "second": second})
    right, other_right = (model.predicted == model.labels for model in models.values())
    only_first, only_second = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    discordant = only_first + only_second
    return McNemar(only_first, only_second, _coin_p_value(discordant, min(only_first, only_second)))


def _coin_p_value(tosses: int, fewest: int) -> float:
    """Return how probable it is that a fair coin shows one of its sides `fewest` times or less often."""
    ways = sum(math.comb(tosses, heads) for heads in range(fewest + 1))
    return min(1.0, 2 * ways / (1 << tosses))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given; they hold the family-wise error rate.

    The k-th smallest of m p-values is multiplied by m - k + 1, is at least its predecessor's result, and at most 1.
    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6
    (1979), 65-70.
    """
    given = np.asarray(p_values, dtype=np.float64)
    ascending = given.argsort(kind="stable")
    steps = given[ascending] * np.arange(given.size, 0, -1)
    adjusted = np.empty_like(given)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def compare(predictions: Mapping[str, Predictions]) -> list[Comparison]:
    """Return every pair of models with McNemar's test, Holm-adjusted over all pairs; of fewer than two models, none.

    Pairs stand in the order of `predictions`.

    Raises:
        ValueError: the models were not scored on the same tracks (see `align`).
    """
    if len(predictions) < 2:
        return []
    models = align(predictions)
    pairs = list(combinations(models, 2))
    tests = [mcnemar(models[first], models[second]) for first, second in pairs]
    adjusted = holm([test.p_value for test in tests])
    return [
        Comparison(
            first=first,
            second=second,
            difference=(test.only_first - test.only_second) / len(models[first].tracks),
            only_first=test.only_first,
            only_second=test.only_second,
            p_value=test.p_value,
            adjusted_p_value=adjusted_p_value,
        )
        for (first, second), test, adjusted_p_value in zip(pairs, tests, adjusted, strict=True)
    ]
