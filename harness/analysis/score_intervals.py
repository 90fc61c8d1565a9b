"""How far a score on tracks can be trusted: 95 % intervals of accuracy and macro F1."""

from __future__ import annotations

from typing import NamedTuple

from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.scoring.comparison import bootstrap_macro_f1
from harness.scoring.metrics import Interval, wilson
from harness.units import is_finite


class ScoreIntervals(NamedTuple):
    """The 95 % intervals of one model's scores on tracks."""

    accuracy: Interval
    macro_f1: Interval


class ValidationScore(NamedTuple):
    """The tracks that a study's best trial was validated on, and the interval of its accuracy there.

    Attributes:
        tracks: how many; 0 where that is not known.
        accuracy_interval: None without a completed trial with a finite accuracy, or without tracks.
    """

    tracks: int
    accuracy_interval: Interval | None


def intervals_of(predictions: Predictions) -> ScoreIntervals:
    """Estimate the intervals of a model's scores from its predictions.

    Wilson's interval for accuracy, a bootstrap over tracks for macro F1; both take tracks as independent.

    Raises:
        ValueError: there is no track.
    """
    correct = int((predictions.predicted == predictions.labels).sum())
    return ScoreIntervals(wilson(correct, len(predictions.tracks)), bootstrap_macro_f1(predictions))


def accuracy_interval(accuracy: float, tracks: int) -> Interval:
    """Estimate Wilson's interval of an accuracy on so many tracks; that of a mean over seeds as if it were one model's.

    Raises:
        ValueError: there is no track, or `accuracy` lies outside [0, 1].
    """
    return wilson(round(accuracy * tracks), tracks)


def validation_score(results: StudyResults) -> ValidationScore:
    """Estimate how far the best trial's validation accuracy can be trusted.

    The tracks are those of its predictions; where these are not stored, as many as the protocol validates on.
    """
    best = results.best
    predictions = results.predictions.get(best.number) if best else None
    sizes = results.study.protocol.sizes
    tracks = len(predictions.labels) if predictions else sizes.get("folds", 0) or sizes.get("valid", 0)
    if best is None or best.scores.valid_accuracy is None or not is_finite(best.scores.valid_accuracy) or not tracks:
        return ValidationScore(tracks, None)
    return ValidationScore(tracks, accuracy_interval(best.scores.valid_accuracy, tracks))
