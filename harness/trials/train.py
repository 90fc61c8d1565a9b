"""Training of one configuration, inside the child: epochs, validation by vote, early stopping."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from harness.families import Family
from harness.features.augment import VARIANTS
from harness.features.crops import voting_batches
from harness.features.fold import Example
from harness.features.input_spec import InputView
from harness.features.store import FeatureStore
from harness.models import Config, Shapes
from harness.records import EpochRecord, Outcome, Predictions
from harness.scoring.metrics import joined, log_likelihoods, track_scores, vote
from harness.trials import framework
from harness.trials.spec import Ended, TrialSpec
from harness.trials.training.batches import CropSampling, TrainingCrops

UNTIMED_STEPS = 1
"""The first step traces and compiles."""

PROJECTION_STEPS = 5
"""Steps that are timed after those before a trial projects its own time."""

HOPELESS = 3.0
"""A trial that would take this many times its limit by its first timed step ends there."""

TIMED_SECONDS, TIMED_ANSWERS = 30.0, 3
"""The track that a trained model is timed on, in seconds of audio, and how often; the median counts."""


class Stopped(Exception):
    """Training ends here, with an outcome other than `completed`."""

    def __init__(self, outcome: Outcome, message: str, projected_seconds: float | None = None) -> None:
        super().__init__(message)
        self.outcome, self.message, self.projected_seconds = outcome, message, projected_seconds


@keras.saving.register_keras_serializable(package="harness")
class PerUpdate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that counts updates where the optimizer counts micro-batches (gradient accumulation)."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, accumulation: int) -> None:
        self.schedule, self.accumulation = schedule, accumulation

    def __call__(self, step: Any) -> Any:
        return self.schedule(step // self.accumulation)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.optimizers.schedules.serialize(self.schedule),
            "accumulation": self.accumulation,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PerUpdate:
        return cls(keras.optimizers.schedules.deserialize(config["schedule"]), config["accumulation"])


def optimizer(config: Config, updates: int, accumulation: int) -> keras.optimizers.Optimizer:
    """Build Adam or AdamW with the configured schedule over `updates` updates in all."""
    rate: Any = config["learning_rate"]
    if config["schedule"] == "cosine":
        warmup = round(config["warmup"] * updates)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else rate,
            decay_steps=max(1, updates - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
        if accumulation > 1:
            rate = PerUpdate(rate, accumulation)
    options: dict[str, Any] = {"learning_rate": rate}
    if config["clip_gradients"]:
        options["clipnorm"] = 1.0
    if accumulation > 1:
        options["gradient_accumulation_steps"] = accumulation
    if config["optimizer"] == "adamw":
        return keras.optimizers.AdamW(weight_decay=config["weight_decay"], **options)
    return keras.optimizers.Adam(**options)


def compile_model(model: keras.Model, config: Config, updates: int, accumulation: int) -> None:
    """Compile `model` in place as every trial does."""
    model.compile(
        optimizer=optimizer(config, updates, accumulation),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config["label_smoothing"]),
        weighted_metrics=[],
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def predict_tracks(
    model: keras.Model,
    store: FeatureStore,
    view: InputView,
    examples: Sequence[Example],
    genres: tuple[str, ...],
    size: int,
) -> Predictions:
    """Let every crop of every track vote; `size` crops go through the model at once."""
    probabilities, owners = [], []
    for inputs, batch_owners in voting_batches(store, view, examples, size):
        real = batch_owners >= 0
        probabilities.append(np.asarray(model.predict_on_batch(inputs))[real])
        owners.append(batch_owners[real])
    return Predictions(
        tracks=tuple(example.track for example in examples),
        genres=genres,
        labels=np.array([example.label for example in examples], np.int64),
        probabilities=vote(np.concatenate(probabilities), np.concatenate(owners), len(examples)),
    )


def spread(examples: Sequence[Example], count: int) -> tuple[Example, ...]:
    """Return `count` examples at even distances (all, if there are fewer): genres come in nearly their own shares."""
    ordered = sorted(examples, key=lambda example: (example.label, example.track))
    if len(ordered) <= count:
        return tuple(ordered)
    return tuple(ordered[place] for place in np.linspace(0, len(ordered) - 1, count).round().astype(int))


class Watch(keras.callbacks.Callback):
    """Times steps, stops what diverges or would take too long, and scores every epoch on the validation tracks."""

    def __init__(
        self,
        predict: Callable[[], Predictions],
        report: Callable[[EpochRecord], bool],
        *,
        total_epochs: int,
        steps: int,
        patience: int,
        limit: float | None,
        started: float,
        fold: int | None,
        later_seconds: Callable[[float], float],
    ) -> None:
        """Prepare to watch one fold.

        Args:
            predict: answers for the validation tracks.
            report: told of every epoch; answers whether to go on.
            total_epochs, steps: the most epochs, and the micro-batches of one.
            patience: epochs without a better score after which training stops.
            limit, started: seconds that the trial may take, and when it started.
            fold: number of this fold; None where there is but one.
            later_seconds: the time of the folds to come, given this one's if it trains to the end.
        """
        super().__init__()
        self.predict, self.report = predict, report
        self.total_epochs, self.steps, self.patience = total_epochs, steps, patience
        self.limit, self.started, self.fold, self.later_seconds = limit, started, fold, later_seconds
        self.records: list[EpochRecord] = []
        self.best: EpochRecord | None = None
        self.best_weights: list[np.ndarray] = []
        self.best_predictions: Predictions | None = None
        self.seen_steps = 0
        self.timed_from = self.epoch_started = started

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch_started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise Stopped(
                Outcome.DIVERGED, f"the loss became {loss} in epoch {len(self.records) + 1}, step {batch + 1}"
            )
        self.seen_steps += 1
        timed = self.seen_steps - UNTIMED_STEPS
        if timed == 0:
            self.timed_from = time.perf_counter()
        elif timed in (1, PROJECTION_STEPS):
            step = (time.perf_counter() - self.timed_from) / timed
            # One step alone is a rough measure: it ends only what is hopeless.
            step *= 1.0 if timed == PROJECTION_STEPS else 1 / HOPELESS
            whole = self.steps * self.total_epochs
            self._project(step * (whole - self.seen_steps), step * whole)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        predictions = self.predict()
        accuracy, macro_f1 = track_scores(predictions)
        record = EpochRecord(
            epoch=epoch + 1,
            loss=float((logs or {})["loss"]),
            accuracy=float((logs or {})["accuracy"]),
            val_loss=-float(log_likelihoods(predictions).mean()),
            val_accuracy=accuracy,
            val_macro_f1=macro_f1,
            seconds=time.perf_counter() - self.epoch_started,
            fold=self.fold,
        )
        if not math.isfinite(record.val_loss):
            raise Stopped(Outcome.DIVERGED, f"the validation loss became {record.val_loss} in epoch {epoch + 1}")
        self.records.append(record)
        if self.best is None or (macro_f1, -record.val_loss) > (self.best.val_macro_f1, -self.best.val_loss):
            self.best, self.best_weights, self.best_predictions = record, self.model.get_weights(), predictions
        if not self.report(record):
            raise Stopped(Outcome.PRUNED, f"behind the other trials of the study after epoch {epoch + 1}")
        if epoch + 1 - self.best.epoch >= self.patience:
            self.model.stop_training = True
        elif epoch + 1 < self.total_epochs:
            # The first epoch also traced and compiled; later ones tell what the rest will cost.
            later = [record.seconds for record in self.records[1:]]
            mean = sum(later) / max(1, len(later))
            self._project((self.total_epochs - epoch - 1) * mean, self.total_epochs * mean)

    def _project(self, remaining: float, whole: float) -> None:
        projected = time.perf_counter() - self.started + remaining + self.later_seconds(whole)
        if self.limit is not None and projected > self.limit:
            raise Stopped(
                Outcome.TIMEOUT,
                f"would take {projected:.0f} s, over the limit of {self.limit:.0f} s a trial",
                projected,
            )


@dataclass(frozen=True)
class Trained:
    """What one fold left."""

    best: EpochRecord
    predictions: Predictions
    train_accuracy: float
    test_predictions: Predictions | None
    seconds: float


def train(
    spec: TrialSpec,
    family: Family,
    report: Callable[[EpochRecord], bool],
    fold_ended: Callable[[Predictions], bool],
) -> Ended:
    """Train one configuration, fold by fold, and score it on the validation tracks of all folds.

    Args:
        spec: what to train, on what.
        family: builds the model.
        report: told of every epoch; answers whether to go on.
        fold_ended: told of the predictions of every fold but the last; answers whether to go on.

    Returns:
        The end of the trial: `completed`, or why training stopped early. The trained model of a completed
        trial lies at `spec.model`, with the weights of its best epoch: the highest validation macro F1, of equals
        the lowest validation loss.
    """
    started = time.perf_counter()
    epochs: list[EpochRecord] = []
    done: list[Trained] = []
    model: keras.Model | None = None

    def keep(record: EpochRecord) -> bool:
        epochs.append(record)
        return report(record)

    def ended(outcome: Outcome, message: str = "", projected: float | None = None, **learnt: Any) -> Ended:
        return Ended(
            outcome,
            message,
            epochs=tuple(epochs),
            parameters=int(model.count_params()) if model is not None else None,
            allocator_peak_bytes=framework.allocator_peak(),
            pool_bytes=framework.pool_bytes(spec.log) if spec.on_gpu else None,
            train_seconds=time.perf_counter() - started,
            projected_seconds=projected,
            **learnt,
        )

    for number, fold in enumerate(spec.folds):
        if number:
            model = None
            keras.utils.clear_session()
            keras.utils.set_random_seed((spec.seed + number) % 2**32)
        model = family.build(spec.config, Shapes(spec.view.shape, len(spec.genres), *fold.moments[spec.view]))
        try:
            done.append(_train_fold(model, spec, number, keep, [each.seconds for each in done], started))
            if number + 1 < len(spec.folds) and not fold_ended(done[-1].predictions):
                raise Stopped(Outcome.PRUNED, f"behind the best trial of the study after fold {number + 1}")
        except Stopped as stop:
            return ended(stop.outcome, stop.message, stop.projected_seconds)

    predictions = joined([fold.predictions for fold in done])
    accuracy, macro_f1 = track_scores(predictions)
    tests = [fold.test_predictions for fold in done if fold.test_predictions is not None]
    assert model is not None
    if spec.model is not None:
        save(model, spec.model)
    completed = ended(
        Outcome.COMPLETED,
        best_epoch=statistics.median_low([fold.best.epoch for fold in done]),
        valid_accuracy=accuracy,
        valid_macro_f1=macro_f1,
        train_accuracy=statistics.fmean(fold.train_accuracy for fold in done),
        predictions=predictions,
        test_predictions=joined(tests) if tests else None,
    )
    # Last, for it belongs neither to the training's time nor to its peak.
    return replace(completed, track_seconds=track_seconds(model, spec.view))


def track_seconds(model: keras.Model, view: InputView) -> float:
    """Return the seconds in which `model` answers for a track of `TIMED_SECONDS` whose features are there."""
    inputs = np.zeros((math.ceil(TIMED_SECONDS / view.seconds), *view.shape), np.float32)
    model.predict_on_batch(inputs)  # traces
    seconds = []
    for _ in range(TIMED_ANSWERS):
        started = time.perf_counter()
        model.predict_on_batch(inputs)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _train_fold(
    model: keras.Model,
    spec: TrialSpec,
    number: int,
    report: Callable[[EpochRecord], bool],
    earlier_seconds: list[float],
    started: float,
) -> Trained:
    """Train on one fold and leave `model` with the weights of its best epoch.

    Raises:
        Stopped: training must not go on.
    """
    begun = time.perf_counter()
    store, view, config, fold = FeatureStore(spec.store), spec.view, spec.config, spec.folds[number]
    sampling = CropSampling(
        micro_batch=spec.micro_batch,
        accumulation=spec.accumulation,
        window=config["window"],
        crops_per_track=config.get("crops_per_track", 1),
        mixup=config["mixup"],
        weighted=config["class_weights"],
        variant_share=config.get("variant_share", 0.0),
        variants=VARIANTS,
        seed=(spec.seed + number) % 2**32,
    )
    crops = TrainingCrops(store, view, fold.train, len(spec.genres), sampling)
    compile_model(model, config, crops.updates * spec.epochs, spec.accumulation)

    def predict(examples: Sequence[Example]) -> Predictions:
        return predict_tracks(model, store, view, examples, spec.genres, max(spec.micro_batch, 8))

    def later_seconds(this_fold: float) -> float:
        one = statistics.fmean(earlier_seconds) if earlier_seconds else this_fold
        return one * (len(spec.folds) - number - 1)

    watch = Watch(
        lambda: predict(fold.valid),
        report,
        total_epochs=spec.epochs,
        steps=len(crops),
        patience=config["patience"],
        limit=spec.time_limit_seconds,
        started=started,
        fold=number if len(spec.folds) > 1 else None,
        later_seconds=later_seconds,
    )
    # Keras would shuffle whole micro-batches, and mix those of one update with another's.
    model.fit(crops, epochs=spec.epochs, shuffle=False, callbacks=[watch], verbose=0)
    assert watch.best is not None  # an epoch ended, or `fit` raised
    assert watch.best_predictions is not None
    model.set_weights(watch.best_weights)
    train_accuracy, _ = track_scores(predict(spread(fold.train, len(fold.valid))))
    test = predict(fold.test) if fold.test else None
    return Trained(watch.best, watch.best_predictions, train_accuracy, test, time.perf_counter() - begun)


def save(model: keras.Model, path: Path) -> None:
    """Save `model` without its optimizer at `path` (`.keras`), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    # A `.keras` file takes whatever optimizer a model was compiled with; this one, of the same layers, never was.
    keras.Model(model.inputs, model.outputs, name=model.name).save(partial)
    partial.replace(path)
