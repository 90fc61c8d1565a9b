"""Training on one fold: epochs, validation by vote, early stopping."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras

from harness.features.augment import AUGMENTED_COPIES
from harness.features.crops import count_voting
from harness.features.fold import LabelledTrack
from harness.features.store import FeatureStore
from harness.hashing import nth_seed
from harness.records.predictions import Predictions
from harness.records.trial import EpochRecord
from harness.scoring.metrics import log_likelihoods, track_scores
from harness.trials.job import TrainingSpec
from harness.trials.training.batches import CropSampling, TrainingCrops
from harness.trials.training.callback import CANDIDATES, Candidate, Schedule, TimeLimit, TrialCallback
from harness.trials.training.optimizer import compile_model
from harness.trials.training.predict import evenly_spaced_subset, predict_tracks


@dataclass(frozen=True)
class TrainedFold:
    """What one fold left."""

    best_epoch: int
    predictions: Predictions
    train_accuracy: float
    test_predictions: Predictions | None
    seconds: float


def train_fold(
    model: keras.Model,
    spec: TrainingSpec,
    number: int,
    store: FeatureStore,
    report: Callable[[EpochRecord], bool],
    time_limit: TimeLimit,
) -> TrainedFold:
    """Train on one fold and leave `model` with the weights of its best epoch.

    Args:
        model: built for the fold.
        number: of the fold, from 0.
        store: holds the tracks.
        report: told of every epoch; answers whether to go on.

    Raises:
        StopTraining: training must not go on.
    """
    started = time.perf_counter()
    fold = spec.folds[number]
    crops = _crops(spec, number, store)
    compile_model(model, spec.config, crops.updates * spec.epochs, spec.batch.accumulation)

    def predict(examples: Sequence[LabelledTrack], every_crop: bool) -> Predictions:
        size = max(spec.batch.micro_batch, 8)
        return predict_tracks(model, store, spec.input_spec, examples, spec.genres, size, every_crop=every_crop)

    schedule = Schedule(
        epochs=spec.epochs,
        steps=len(crops),
        patience=spec.config["patience"],
        final_votes=final_votes(spec, number, store),
        fold=number if len(spec.folds) > 1 else None,
    )
    callback = TrialCallback(lambda: predict(fold.valid, every_crop=False), report, schedule, time_limit)
    # Keras would shuffle whole micro-batches, and mix those of one update with another's.
    model.fit(crops, epochs=spec.epochs, shuffle=False, callbacks=[callback], verbose=0)
    best_epoch, predictions = _take_best(model, callback.candidates, lambda: predict(fold.valid, every_crop=True))
    train_accuracy, _ = track_scores(predict(evenly_spaced_subset(fold.train, len(fold.valid)), every_crop=True))
    test = predict(fold.test, every_crop=True) if fold.test else None
    return TrainedFold(best_epoch, predictions, train_accuracy, test, time.perf_counter() - started)


def final_votes(spec: TrainingSpec, number: int, store: FeatureStore) -> float:
    """Return what is voted after the last epoch of a fold, in votes of as many crops as vote after each."""
    every, some = (
        count_voting(store, spec.input_spec, spec.folds[number].valid, every_crop=every) for every in (True, False)
    )
    # One more, about, is for the training accuracy.
    return (min(CANDIDATES, spec.epochs) + 1) * every / some


def _take_best(
    model: keras.Model, candidates: Sequence[Candidate], predict: Callable[[], Predictions]
) -> tuple[int, Predictions]:
    """Give `model` the weights that are best by `predict`; return the number of their epoch, and their predictions."""
    answers = []
    for candidate in candidates:
        model.set_weights(candidate.weights)
        answers.append(predict())
    ranks = [(track_scores(answer).macro_f1, float(log_likelihoods(answer).mean())) for answer in answers]
    best = ranks.index(max(ranks))
    model.set_weights(candidates[best].weights)
    return candidates[best].record.epoch, answers[best]


def _crops(spec: TrainingSpec, number: int, store: FeatureStore) -> TrainingCrops:
    config = spec.config
    sampling = CropSampling(
        micro_batch=spec.batch.micro_batch,
        accumulation=spec.batch.accumulation,
        window=config["window"],
        crops_per_track=config.get("crops_per_track", 1),
        mixup=config["mixup"],
        weighted=config["class_weights"],
        augmented_share=config.get("variant_share", 0.0),
        copies=AUGMENTED_COPIES,
        seed=nth_seed(spec.seed, number),
    )
    return TrainingCrops(store, spec.input_spec, spec.folds[number].train, len(spec.genres), sampling)
