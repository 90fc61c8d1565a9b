"""What happens between the steps and epochs of a training: its limits are kept, and its tracks are scored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from harness.records.predictions import Predictions
from harness.records.trial import EpochRecord, Outcome
from harness.scoring.metrics import log_likelihoods, track_scores

UNTIMED_STEPS = 1
"""The first step traces and compiles."""

PROJECTION_STEPS = 5
"""Steps that are timed after those before a trial projects its own time."""

EARLY_ABORT_FACTOR = 3.0
"""A trial that would take this many times its limit by its first timed step ends there."""

CANDIDATES = 2
"""The best epochs by some crops: they are kept until all crops vote, in the end. Each takes memory for its weights."""


class StopTraining(Exception):
    """Training ends here, with an outcome other than `completed`."""

    def __init__(self, outcome: Outcome, message: str, projected_seconds: float | None = None) -> None:
        super().__init__(message)
        self.outcome, self.message, self.projected_seconds = outcome, message, projected_seconds


@dataclass(frozen=True)
class TimeLimit:
    """The time that a trial may take, all folds together.

    Attributes:
        started: when the trial started, by `time.perf_counter`.
        seconds: that it may take; None for no limit.
        later_seconds: tells the time of the folds to come, given this one's if it trains to the end.
    """

    started: float
    seconds: float | None
    later_seconds: Callable[[float], float]

    def check(self, remaining: float, whole: float) -> None:
        """Stop a trial that would take too long.

        Args:
            remaining: seconds that this fold is projected to take from now on.
            whole: seconds of this fold from its start to its end.

        Raises:
            StopTraining: the projected end lies beyond the limit.
        """
        projected = time.perf_counter() - self.started + remaining + self.later_seconds(whole)
        if self.seconds is not None and projected > self.seconds:
            raise StopTraining(
                Outcome.TIMEOUT,
                f"would take {projected:.0f} s, over the limit of {self.seconds:.0f} s a trial",
                projected,
            )


@dataclass(frozen=True)
class Schedule:
    """The course of one fold.

    Attributes:
        epochs: the most that there are.
        steps: micro-batches of one.
        patience: epochs without a better score after which training stops.
        final_votes: what is voted after the last epoch, in votes of as many crops as vote after each.
        fold: number of this fold; None where there is but one.
    """

    epochs: int
    steps: int
    patience: int
    final_votes: float
    fold: int | None


@dataclass(frozen=True)
class Candidate:
    """An epoch that a fold's model may be taken from."""

    record: EpochRecord
    weights: list[np.ndarray]


class TrialCallback(keras.callbacks.Callback):
    """Times steps, stops what diverges or would take too long, and scores every epoch on the validation tracks."""

    def __init__(
        self,
        predict: Callable[[], Predictions],
        report: Callable[[EpochRecord], bool],
        schedule: Schedule,
        time_limit: TimeLimit,
    ) -> None:
        """Prepare for one fold.

        Args:
            predict: answers for the validation tracks.
            report: told of every epoch; answers whether to go on.
        """
        super().__init__()
        self.predict, self.report, self.schedule, self.time_limit = predict, report, schedule, time_limit
        self.records: list[EpochRecord] = []
        self.vote_seconds: list[float] = []
        self.candidates: list[Candidate] = []
        self.seen_steps = 0
        self.timed_from = self.epoch_started = time_limit.started

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch_started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise StopTraining(
                Outcome.DIVERGED, f"the loss became {loss} in epoch {len(self.records) + 1}, step {batch + 1}"
            )
        self.seen_steps += 1
        timed = self.seen_steps - UNTIMED_STEPS
        if timed == 0:
            self.timed_from = time.perf_counter()
        elif timed in (1, PROJECTION_STEPS):
            step = (time.perf_counter() - self.timed_from) / timed
            # One step alone is a rough measure: it ends only what is hopeless.
            step *= 1.0 if timed == PROJECTION_STEPS else 1 / EARLY_ABORT_FACTOR
            whole = self.schedule.steps * self.schedule.epochs
            self.time_limit.check(step * (whole - self.seen_steps), step * whole)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        vote_started = time.perf_counter()
        predictions = self.predict()
        self.vote_seconds.append(time.perf_counter() - vote_started)
        accuracy, macro_f1 = track_scores(predictions)
        record = EpochRecord(
            epoch=epoch + 1,
            loss=float((logs or {})["loss"]),
            accuracy=float((logs or {})["accuracy"]),
            val_loss=-float(log_likelihoods(predictions).mean()),
            val_accuracy=accuracy,
            val_macro_f1=macro_f1,
            seconds=time.perf_counter() - self.epoch_started,
            fold=self.schedule.fold,
        )
        if not math.isfinite(record.val_loss):
            raise StopTraining(Outcome.DIVERGED, f"the validation loss became {record.val_loss} in epoch {epoch + 1}")
        self.records.append(record)
        self._consider(record)
        if not self.report(record):
            raise StopTraining(Outcome.PRUNED, f"behind the other trials of the study after epoch {epoch + 1}")
        if epoch + 1 - self.candidates[0].record.epoch >= self.schedule.patience:
            self.model.stop_training = True
        left = 0 if self.model.stop_training else self.schedule.epochs - epoch - 1
        # The first epoch also traced and compiled; later ones tell what the rest will cost.
        mean = _mean([record.seconds for record in self.records[1:]])
        end = self.schedule.final_votes * _mean(self.vote_seconds[1:])
        self.time_limit.check(left * mean + end, self.schedule.epochs * mean + end)

    def _consider(self, record: EpochRecord) -> None:
        """Keep the epoch if it is among the best, of which the first stands first."""
        if len(self.candidates) == CANDIDATES and _rank(record) <= _rank(self.candidates[-1].record):
            return
        del self.candidates[CANDIDATES - 1 :]
        self.candidates.append(Candidate(record, self.model.get_weights()))
        self.candidates.sort(key=lambda candidate: _rank(candidate.record), reverse=True)


def _mean(seconds: Sequence[float]) -> float:
    """Return the mean; 0 where nothing was timed."""
    return sum(seconds) / max(1, len(seconds))


def _rank(record: EpochRecord) -> tuple[float, float]:
    return record.val_macro_f1, -record.val_loss
