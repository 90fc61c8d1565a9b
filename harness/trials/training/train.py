"""Training of one configuration, fold by fold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import keras

from harness.families import Family
from harness.features.store import FeatureStore
from harness.files import replacing
from harness.hashing import nth_seed
from harness.models import ModelInputs
from harness.records.predictions import Predictions
from harness.records.trial import EpochRecord, Outcome, ValidationScores
from harness.scoring.metrics import joined, track_scores
from harness.trials import framework
from harness.trials.job import TrainingSpec
from harness.trials.report import TrialReport
from harness.trials.training.callback import StopTraining, TimeLimit
from harness.trials.training.fold import TrainedFold, train_fold
from harness.trials.training.predict import measure_inference_seconds


def train(
    spec: TrainingSpec,
    family: Family,
    store: FeatureStore,
    listen: Callable[[EpochRecord | Predictions], bool],
    limit_seconds: float | None = None,
    model_file: Path | None = None,
) -> TrialReport:
    """Train one configuration, fold by fold, and score it on the validation tracks of all folds.

    Args:
        family: builds the model.
        store: holds the tracks.
        listen: told of every epoch, and of the predictions of every fold but the last; answers whether to go on.
        limit_seconds: that the trial may take, all folds together; None for no limit.
        model_file: where to save the model of a trial that completed, as `.keras`; None for nowhere. It has the weights
            of its best epoch: of the two that are best by some crops, the one that is better by all. Better is the
            higher validation macro F1, of equals the lower validation loss.

    Returns:
        The end of the trial: `completed`, or why training stopped early.
    """
    started = time.perf_counter()
    epochs: list[EpochRecord] = []
    done: list[TrainedFold] = []
    model: keras.Model | None = None

    def keep(record: EpochRecord) -> bool:
        epochs.append(record)
        return listen(record)

    def report(outcome: Outcome, message: str = "", projected_seconds: float | None = None) -> TrialReport:
        return TrialReport(
            outcome,
            message,
            epochs=tuple(epochs),
            parameters=int(model.count_params()) if model is not None else None,
            allocator_peak_bytes=framework.allocator_peak(),
            train_seconds=time.perf_counter() - started,
            projected_seconds=projected_seconds,
        )

    for number in range(len(spec.folds)):
        model = None  # one network at a time
        model = _fresh_model(family, spec, number)
        time_limit = TimeLimit(started, limit_seconds, _later_seconds(done, len(spec.folds) - number - 1))
        try:
            done.append(train_fold(model, spec, number, store, keep, time_limit))
            if number + 1 < len(spec.folds) and not listen(done[-1].predictions):
                raise StopTraining(Outcome.PRUNED, f"behind the best trial of the study after fold {number + 1}")
        except StopTraining as stop:
            return report(stop.outcome, stop.message, stop.projected_seconds)

    assert model is not None
    if model_file is not None:
        save(model, model_file)
    completed = _with_scores(report(Outcome.COMPLETED), done)
    # Last, for it belongs neither to the training's time nor to its peak.
    return replace(completed, inference_seconds=measure_inference_seconds(model, spec.input_spec))


def _fresh_model(family: Family, spec: TrainingSpec, number: int) -> keras.Model:
    """Build the model of a fold, and forget what the framework keeps of the one before."""
    if number:
        keras.utils.clear_session()
        keras.utils.set_random_seed(nth_seed(spec.seed, number))
    normalization = spec.folds[number].normalization[spec.input_spec]
    return family.build(spec.config, ModelInputs(spec.input_spec.shape, len(spec.genres), *normalization))


def _later_seconds(done: Sequence[TrainedFold], folds: int) -> Callable[[float], float]:
    """Return what tells the time of so many folds to come: as much as those that are done, or as this one."""
    seconds = [fold.seconds for fold in done]
    return lambda this_fold: folds * (statistics.fmean(seconds) if seconds else this_fold)


def _with_scores(report: TrialReport, done: Sequence[TrainedFold]) -> TrialReport:
    predictions = joined([fold.predictions for fold in done])
    tests = [fold.test_predictions for fold in done if fold.test_predictions is not None]
    accuracy, macro_f1 = track_scores(predictions)
    return replace(
        report,
        best_epoch=statistics.median_low([fold.best_epoch for fold in done]),
        scores=ValidationScores(
            valid_accuracy=accuracy,
            valid_macro_f1=macro_f1,
            train_accuracy=statistics.fmean(fold.train_accuracy for fold in done),
        ),
        predictions=predictions,
        test_predictions=joined(tests) if tests else None,
    )


def save(model: keras.Model, path: Path) -> None:
    """Save `model` without its optimizer at `path` (`.keras`), whole or not at all."""
    with replacing(path) as unfinished:
        # A `.keras` file takes whatever optimizer a model was compiled with; this one, of the same layers, never was.
        keras.Model(model.inputs, model.outputs, name=model.name).save(unfinished)
