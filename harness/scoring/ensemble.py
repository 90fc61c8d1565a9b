"""Ensembles of models that are already trained: members chosen by their validation predictions, then blended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from harness.records.predictions import Predictions
from harness.scoring.comparison import align
from harness.scoring.metrics import confusion, f1_by_genre

Key = TypeVar("Key", bound=Hashable)


class Ensemble(NamedTuple, Generic[Key]):
    """The weights of the chosen models, which sum to 1, and their blend on the tracks that they were chosen by."""

    weights: dict[Key, float]
    predictions: Predictions


class Quality(NamedTuple):
    """What members are chosen by, larger is better: macro F1, and of equals the lower log loss."""

    macro_f1: float
    negative_log_loss: float


def select_members(candidates: Mapping[Key, Predictions], *, rounds: int = 25) -> Ensemble[Key]:
    """Choose an ensemble by greedy forward selection with replacement.

    The first member is the best single model. Each round adds the candidate, chosen before or not, whose joining makes
    the best mean of probabilities; of equals, the first in `candidates`. The rounds up to the best mean are kept, the
    fewest that reach it, and a model's weight is its share of them. So the ensemble is never worse than the best single
    model on these tracks; what it is worth must be measured on others.
    Source: R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, Ensemble selection from libraries of models,
    ICML 2004.

    Args:
        candidates: the models' predictions on the same tracks, in any order of tracks.
        rounds: the most models to choose, counted as often as chosen; at least 1.

    Raises:
        ValueError: `rounds` is not positive, or the candidates differ in genres, in tracks or in a track's label (see
            `align`).
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    aligned = align(candidates)
    chosen: list[Key] = []
    qualities: list[Quality] = []
    total: np.ndarray = np.zeros(1)
    for size in range(1, rounds + 1):
        joined = {key: _quality(model, (total + model.probabilities) / size) for key, model in aligned.items()}
        best = max(joined, key=joined.__getitem__)
        chosen.append(best)
        qualities.append(joined[best])
        total = total + aligned[best].probabilities
    size = 1 + qualities.index(max(qualities))
    weights = {key: times / size for key, times in Counter(chosen[:size]).items()}
    return Ensemble(weights, blend(aligned, weights))


def blend(members: Mapping[Key, Predictions], weights: Mapping[Key, float]) -> Predictions:
    """Return the weighted mean of the members' probabilities, float32, on the tracks of the first weighted member.

    Args:
        members: predictions on the same tracks; a member without a weight takes no part.
        weights: how much each counts, at least 0; they are divided by their sum.

    Raises:
        ValueError: a weight has no member, or the members differ in genres, in tracks or in a track's label (see
            `align`).
    """
    if missing := [str(key) for key in weights if key not in members]:
        raise ValueError(f"{', '.join(missing)}: a weight without predictions to blend")
    aligned = align({key: members[key] for key in weights})
    stacked = [model.probabilities for model in aligned.values()]
    probabilities = np.average(stacked, axis=0, weights=list(weights.values()))
    return replace(next(iter(aligned.values())), probabilities=probabilities.astype(np.float32))


def _quality(model: Predictions, probabilities: np.ndarray) -> Quality:
    """The quality of `probabilities`, shape (N, C), as answers to the tracks of `model`.

    Rounded, so that models whose scores differ by the order of a sum only are equals. Log loss takes no probability
    for less than float32's epsilon, as scikit-learn does.
    """
    answers = replace(model, probabilities=probabilities.astype(np.float32))
    f1 = np.nan_to_num(f1_by_genre(confusion(answers)))
    true = answers.probabilities[np.arange(len(answers.tracks)), answers.labels]
    log_likelihood = np.log(np.maximum(true, np.finfo(np.float32).eps), dtype=np.float64)
    return Quality(round(float(f1.mean()), 12), round(float(log_likelihood.mean()), 12))
