"""Back ends that train nothing: their jobs reach and end as they are told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.features.fold import LabelledTrack
from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.records.predictions import Predictions
from harness.records.trial import NOT_MEASURED, EpochRecord, Outcome, Reading
from harness.trials.backend import BackendEvent, EpochReported, FoldReported, TrialBackend, TrialEnded
from harness.trials.job import JobKey, TrialSpec
from harness.trials.report import TrialReport
from harness.units import MIB
from harness.vram.footprint import Footprint
from harness.vram.slots import CPU_SLOT, DeviceSlot

SMALL = Footprint(weights=MIB, trainable=MIB, activations=MIB, workspace=MIB, parameters=1000)


def an_epoch(number: int, score: float) -> EpochRecord:
    """Return the record of an epoch, from 1, whose validation scores are `score`."""
    return EpochRecord(epoch=number, loss=1, accuracy=1, val_loss=1, val_accuracy=score, val_macro_f1=score, seconds=1)


def completed(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
    """Return the end of a job that completed, without scores."""
    return TrialReport(Outcome.COMPLETED, epochs=epochs)


@dataclass
class Started:
    """A job that was started.

    Attributes:
        neighbours: the jobs that ran on its slot at any time.
        passed: the epochs or folds that it has reported.
    """

    spec: TrialSpec
    slot: DeviceSlot
    neighbours: set[JobKey] = field(default_factory=set)
    passed: list[EpochRecord | Predictions] = field(default_factory=list)
    proceed: bool = True

    @property
    def epochs(self) -> tuple[EpochRecord, ...]:
        return tuple(record for record in self.passed if isinstance(record, EpochRecord))


@dataclass
class FakeBackend(TrialBackend):
    """A back end whose jobs report their epochs one after another, then end; a job at a time gets on.

    Attributes:
        end: makes the report of a job that was not told to stop.
        score: what a job reaches in an epoch, from 1.
        reading: what was seen of a job's memory.
        footprint: of a configuration.
        youngest_first: whether the job that was started last gets on first, not the one that waits longest.
        most_epochs: that a job reports; None for all that it is to train.
        stop_at: the event, counted over all jobs, in whose place the user interrupts the run; None for never.
        keep_model: told the key of each job that completed and whose model is to be kept.
        started: all jobs so far.
    """

    end: Callable[[TrialSpec, tuple[EpochRecord, ...]], TrialReport] = completed
    score: Callable[[TrialSpec, int], float] = lambda spec, epoch: 0.5
    reading: Callable[[TrialSpec], Reading] = lambda spec: NOT_MEASURED
    footprint: Callable[[Config], Footprint] = lambda config: SMALL
    youngest_first: bool = False
    most_epochs: int | None = None
    stop_at: int | None = None
    keep_model: Callable[[JobKey], None] = lambda key: None
    started: list[Started] = field(default_factory=list)
    events_so_far: int = 0
    _running: dict[JobKey, Started] = field(default_factory=dict)

    @property
    def specs(self) -> list[TrialSpec]:
        """The jobs so far."""
        return [job.spec for job in self.started]

    def slots(self) -> tuple[DeviceSlot, ...]:
        return (CPU_SLOT,)

    def device_used_bytes(self, slot: DeviceSlot) -> int | None:
        return None

    def estimate_footprints(
        self, family: str, input_spec: InputSpec, configs: Sequence[Config], genres: int
    ) -> list[Footprint]:
        return list(map(self.footprint, configs))

    def start(self, spec: TrialSpec, slot: DeviceSlot) -> None:
        job = Started(spec, slot)
        for key, other in self._running.items():
            if other.slot == slot:
                job.neighbours.add(key)
                other.neighbours.add(spec.key)
        self.started.append(job)
        self._running[spec.key] = job

    def events(self) -> Iterator[BackendEvent]:
        if not self._running:
            return
        if self.stop_at == self.events_so_far:
            raise KeyboardInterrupt
        self.events_so_far += 1
        job = list(self._running.values())[-1 if self.youngest_first else 0]
        message = self._next(job) if job.proceed else None
        if message is not None:
            job.passed.append(message)
            yield (
                EpochReported(job.spec.key, message)
                if isinstance(message, EpochRecord)
                else FoldReported(job.spec.key, message)
            )
            return
        del self._running[job.spec.key]
        yield self._ended(job)

    def reply(self, key: JobKey, proceed: bool) -> None:
        if key in self._running:
            self._running[key].proceed = proceed

    def memory_in_use(self) -> Mapping[JobKey, int | None]:
        return dict.fromkeys(self._running)

    def close(self) -> None:
        self._running.clear()

    def _next(self, job: Started) -> EpochRecord | Predictions | None:
        number = len(job.passed) + 1
        if number > (self.most_epochs or job.spec.training.epochs):
            return None
        return an_epoch(number, self.score(job.spec, number))

    def _ended(self, job: Started) -> TrialEnded:
        pruned = TrialReport(Outcome.PRUNED, f"behind after {len(job.passed)}", job.epochs)
        report = self.end(job.spec, job.epochs) if job.proceed else pruned
        if report.outcome is Outcome.COMPLETED and job.spec.keep_model:
            self.keep_model(job.spec.key)
        return TrialEnded(job.spec.key, report, self.reading(job.spec))


@dataclass
class FoldFakeBackend(FakeBackend):
    """A back end whose jobs go through folds, and are as sure of every track's genre as `certainty` says.

    Attributes:
        certainty: the probability that a job gives to a track's genre, from its configuration and the track's id.
    """

    certainty: Callable[[TrialSpec, str], float] = lambda spec, track: 0.5

    def _next(self, job: Started) -> EpochRecord | Predictions | None:
        fold, training = len(job.passed), job.spec.training
        if fold + 1 >= len(training.folds):
            return None
        return self.predictions(job.spec, training.folds[fold].valid)

    def predictions(self, spec: TrialSpec, tracks: Sequence[LabelledTrack]) -> Predictions:
        """Return what a job answers for tracks."""
        training = spec.training
        labels = np.array([track.label for track in tracks])
        sure = np.array([self.certainty(spec, track.track) for track in tracks])
        others = (1 - sure) / (len(training.genres) - 1)
        is_genre = labels[:, None] == np.arange(len(training.genres))
        probabilities = np.where(is_genre, sure[:, None], others[:, None]).astype(np.float32)
        return Predictions(tuple(track.track for track in tracks), training.genres, labels, probabilities)
