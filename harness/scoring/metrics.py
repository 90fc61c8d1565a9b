"""Scores count tracks: the vote of a track's crops, accuracy, macro F1, the per-genre table and an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from harness.records.predictions import Predictions


class Scores(NamedTuple):
    """Fractions in [0, 1]; macro F1 is the plain mean of F1 over all genres of the data set."""

    accuracy: float
    macro_f1: float


class GenreScore(NamedTuple):
    """One genre's scores as fractions in [0, 1]; `support` counts its true tracks."""

    genre: str
    precision: float
    recall: float
    f1: float
    support: int


class Interval(NamedTuple):
    """The two ends of a confidence interval, fractions in [0, 1]."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


def vote(probabilities: np.ndarray, owners: np.ndarray, n_tracks: int) -> np.ndarray:
    """Return each track's mean crop probabilities, float32, shape (n_tracks, C).

    Args:
        probabilities: the model's answer for each crop, shape (crops, C).
        owners: the index of the track that each crop was cut from, integers in [0, n_tracks), shape (crops,).
        n_tracks: number of tracks; each must own at least one crop.

    Raises:
        ValueError: the shapes disagree, an owner is no track, or a track has no crop.
    """
    if probabilities.ndim != 2 or owners.shape != probabilities.shape[:1]:
        raise ValueError(
            f"probabilities {probabilities.shape} and owners {owners.shape} are not (crops, C) and (crops,)"
        )
    if owners.size and not 0 <= owners.min() <= owners.max() < n_tracks:
        raise ValueError(f"owners must lie in [0, {n_tracks}), got {owners.min()} to {owners.max()}")
    crops = np.bincount(owners, minlength=n_tracks)
    if not crops.all():
        raise ValueError(f"track {int(crops.argmin())} has no crop to vote with")
    sums = np.zeros((n_tracks, probabilities.shape[1]), dtype=np.float64)
    np.add.at(sums, owners, probabilities)
    return (sums / crops[:, None]).astype(np.float32)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several partitions as one, tracks sorted.

    Raises:
        ValueError: the genres differ, or a track is in two parts.
    """
    tracks = np.array([track for part in parts for track in part.tracks])
    if len({part.genres for part in parts}) != 1 or len(set(tracks.tolist())) < len(tracks):
        raise ValueError("the parts must have the same genres, and no track in common")
    order = np.argsort(tracks)
    return Predictions(
        tracks=tuple(tracks[order].tolist()),
        genres=parts[0].genres,
        labels=np.concatenate([part.labels for part in parts])[order],
        probabilities=np.concatenate([part.probabilities for part in parts])[order],
    )


def log_likelihoods(predictions: Predictions) -> np.ndarray:
    """Return the log probability of each track's true genre in nats, shape (N,); probabilities are floored at 1e-7."""
    chosen = predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]
    logs: np.ndarray = np.log(np.maximum(chosen, 1e-7))
    return logs


def track_scores(predictions: Predictions) -> Scores:
    """Return accuracy and macro F1 over tracks.

    A genre that is neither true nor predicted anywhere counts as F1 = 0, so that scores on different partitions of
    one data set are means over the same genres.

    Raises:
        ValueError: there is no track.
    """
    labels, predicted = predictions.labels, predictions.predicted
    if labels.size == 0:
        raise ValueError("there is no track to score")
    f1 = np.nan_to_num(f1_by_genre(confusion(predictions)))
    return Scores(accuracy=float(np.mean(labels == predicted)), macro_f1=float(f1.mean()))


def confusion(predictions: Predictions) -> np.ndarray:
    """Return the counts of tracks, int64, shape (C, C): rows are the true genre, columns the predicted one."""
    n_genres = len(predictions.genres)
    matrix = np.zeros((n_genres, n_genres), dtype=np.int64)
    np.add.at(matrix, (predictions.labels, predictions.predicted), 1)
    return matrix


def f1_by_genre(confusions: np.ndarray) -> np.ndarray:
    """Return F1 = 2TP / (2TP + FP + FN), shape (..., C), from confusion counts (..., C, C).

    It is NaN for a genre that is neither true nor predicted.
    """
    cases = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    f1: np.ndarray = np.divide(2.0 * hits, cases, out=np.full(cases.shape, np.nan), where=cases > 0)
    return f1


def per_genre(predictions: Predictions) -> list[GenreScore]:
    """Return precision, recall, F1 and support for each genre, in the order of `predictions.genres`.

    A ratio without cases (a genre never predicted, or never true) is 0.
    """
    counts = confusion(predictions)
    hits, support, answered = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall = hits / np.maximum(answered, 1), hits / np.maximum(support, 1)
    columns = precision, recall, np.nan_to_num(f1_by_genre(counts)), support
    return list(map(GenreScore, predictions.genres, *(column.tolist() for column in columns)))


def wilson(successes: int, total: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion.

    With p = successes / total, n = total and z the normal quantile of (1 + confidence) / 2, its ends are
    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n).
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927),
    209-212.

    Args:
        successes: number of tracks answered correctly, in [0, total].
        total: number of tracks, at least 1.
        confidence: coverage, in (0, 1).

    Raises:
        ValueError: `successes` lies outside [0, total], or `total` is not positive.
    """
    if total < 1:
        raise ValueError("an interval needs at least one track")
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} of {total} tracks cannot be right")
    # Not scipy's: its statistics take a second to import, more than all else that a report computes.
    p, z = successes / total, NormalDist().inv_cdf((1 + confidence) / 2)
    centre, reach = p + z**2 / (2 * total), z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    low, high = ((centre + side * reach) / (1 + z**2 / total) for side in (-1, 1))
    return Interval(max(0.0, low), min(1.0, high))
