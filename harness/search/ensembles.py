"""Ensembles of trials that are trained already: chosen by validation predictions, scored on what is tested."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.features.fold import Example
from harness.records import EnsembleRecord, Predictions, StudyResults
from harness.scoring.ensemble import blend, select_members
from harness.scoring.metrics import joined, track_scores
from harness.tracking.ledger import Ledger
from harness.trials.members import TIMED_TRACKS, Answers


class Candidate(NamedTuple):
    """A completed trial."""

    study: str
    family: str
    number: int

    def __str__(self) -> str:
        return f"{self.family} trial {self.number}"


class Tested(NamedTuple):
    """The tracks that are tested.

    Attributes:
        examples: all of them.
        outer: the ids of each outer fold; empty where there is a test set.
    """

    examples: tuple[Example, ...]
    outer: tuple[frozenset[str], ...]


Ask = Callable[[Sequence[Candidate], Sequence[Example]], Answers]


def ensemble(
    name: str, studies: Sequence[StudyResults], ledger: Ledger, tested: Tested, ask: Ask
) -> EnsembleRecord | None:
    """Choose an ensemble among the completed trials of `studies` and score it; None with fewer than two trials.

    With a test set, members are chosen by their validation predictions, and their saved models answer for the test
    tracks. With outer folds, they are chosen anew for each fold without its tracks, by predictions that every trial
    made of tracks it had not seen; nothing is asked again but for the cost.

    Args:
        studies: on the same split.
        ask: lets saved models answer for tracks, in a child.
    """
    candidates = {
        Candidate(results.study.study, results.study.family, trial.number): results.predictions[trial.number]
        for results in studies
        for trial in results.trials
        if trial.completed and ledger.model_path(results.study.study, trial.number).exists()
    }
    if len(candidates) < 2:
        return None
    if tested.outer:
        weights, answer = _nested(candidates, tested.outer)
        cost = ask(list(weights), tested.examples[:TIMED_TRACKS])
    else:
        weights = select_members(candidates).weights
        cost = ask(list(weights), tested.examples)
        answer = blend(dict(zip(weights, cost.predictions, strict=True)), weights)
    accuracy, macro_f1 = track_scores(answer)
    return EnsembleRecord(
        name=name,
        members={str(candidate): round(share, 4) for candidate, share in weights.items()},
        tracks=len(answer.tracks),
        accuracy=accuracy,
        macro_f1=macro_f1,
        peak_bytes=cost.peak_bytes,
        track_seconds=cost.track_seconds,
    )


def _nested(
    candidates: Mapping[Candidate, Predictions], outer: Sequence[frozenset[str]]
) -> tuple[dict[Candidate, float], Predictions]:
    """Return the weights, averaged over outer folds, and the answers for each fold's tracks of those chosen without."""
    shares: dict[Candidate, float] = defaultdict(float)
    parts = []
    for fold in outer:
        others = {key: only(predictions, fold, keep=False) for key, predictions in candidates.items()}
        chosen = select_members(others).weights
        parts.append(blend({key: only(candidates[key], fold) for key in chosen}, chosen))
        for key, weight in chosen.items():
            shares[key] += weight / len(outer)
    return dict(shares), joined(parts)


def only(predictions: Predictions, tracks: frozenset[str], *, keep: bool = True) -> Predictions:
    """Return the predictions of `tracks` alone, or, with `keep=False`, of all others."""
    shown = np.array([(track in tracks) is keep for track in predictions.tracks])
    names = tuple(track for track, is_shown in zip(predictions.tracks, shown, strict=True) if is_shown)
    return Predictions(names, predictions.genres, predictions.labels[shown], predictions.probabilities[shown])
