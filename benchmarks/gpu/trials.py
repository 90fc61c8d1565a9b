"""Real trials of a handful of steps, in children of the local back end, on tracks of noise."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna

from benchmarks.gpu.recording import RecordingBackend
from harness.families import Family
from harness.features.extract import N_ROWS, n_frames
from harness.features.fold import Fold, LabelledTrack
from harness.features.input_spec import WAVEFORM_INPUT, InputSpec
from harness.features.store import FeatureStore
from harness.keras_backend import backend as keras_backend
from harness.models import Config
from harness.records.base import Value
from harness.records.study import DatasetRecord, ProtocolRecord, Provenance, StudyRecord, StudyResults
from harness.records.trial import BatchShape
from harness.search.study import StudyRunner
from harness.testing.records import study_config
from harness.tracking.base import NullTracker
from harness.tracking.ledger import Ledger
from harness.trials.backend import TrialEnded, run_to_end
from harness.trials.job import JobKey, JobKind, TrainingSpec, TrialLimits, TrialSpec
from harness.trials.local.backend import JobFiles, LocalBackend
from harness.trials.local.fork_server import ForkServer
from harness.vram.device import Device
from harness.vram.slots import DeviceSlot
from harness.workspace import Workspace

WIDE: dict[str, dict[str, Value]] = {
    "cnn2d-mfcc": {
        **{"blocks": 5, "width": 128, "convolutions": 2, "residual": True, "head": "average"},
        **{"batch_norm": True, "batch_norm_momentum": 0.9},
    },
    "cnn2d-fusion": {"width": 128, "residual": True, "head": "average"},
    "cnn1d-raw": {"width": 128, "stages": 6, "residual": True, "head": "average"},
    "cnn-transformer": {"stem_width": 64, "width": 192, "layers": 3},
}
"""What makes a wide point of each family's space out of its baseline."""

GENRES = tuple(f"genre {number}" for number in range(10))
PATIENCE = 10**6
"""In epochs: no trial stops early."""

THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Point:
    """A configuration of a family, under a name."""

    family: Family
    name: str
    config: Config

    def at(self, batch: int) -> dict[str, Any]:
        """Return the configuration with another batch, in crops; it never stops early."""
        return {**self.config, "batch_size": batch, "patience": PATIENCE}


def points_of(families: Sequence[Family], wide: bool) -> list[Point]:
    """Return the baseline of each family, then, if asked for, a wide point of each family in `WIDE`."""
    found = [Point(family, "baseline", family.baseline) for family in families]
    if wide:
        known = [family for family in families if family.name in WIDE]
        found += [Point(family, "wide", {**family.baseline, **WIDE[family.name]}) for family in known]
    return found


@dataclass(frozen=True)
class Size:
    """How much a trial trains on, and for how long.

    Attributes:
        tracks: of noise, of five seconds each.
        valid: so many of them are validated on.
        steps: batches of an epoch.
        seconds: a trial that still runs after them is told to stop.
    """

    tracks: int = 128
    valid: int = 8
    steps: int = 3
    seconds: float = 120.0


@dataclass
class Bench:
    """Where trials run, and what was seen of their memory.

    Attributes:
        folder: holds the store, and what trials leave behind.
        returned: for each trial, device use before and after it, and the seconds until it was back.
    """

    backend: LocalBackend
    slot: DeviceSlot
    folder: Path
    size: Size = field(default_factory=Size)
    tracks: tuple[LabelledTrack, ...] = ()
    returned: list[dict[str, Any]] = field(default_factory=list)

    @property
    def store(self) -> FeatureStore:
        """The tracks' features and waveforms."""
        return FeatureStore(self.folder / "store")

    def fill(self) -> None:
        """Put noise into the store."""
        generator, store = np.random.default_rng(0), self.store
        samples = WAVEFORM_INPUT.length
        for number in range(self.size.tracks):
            rows = generator.normal(size=(N_ROWS, n_frames(samples))).astype(np.float32)
            store.put(f"{number:03d}", rows, generator.integers(-(2**12), 2**12, samples, np.int16))
        self.tracks = tuple(LabelledTrack(f"track {n}", f"{n:03d}", n % len(GENRES)) for n in range(self.size.tracks))

    def fold(self, input_spec: InputSpec, batch: int) -> Fold:
        """Return what a trial with batches of so many crops trains on, and validates on."""
        valid = self.size.valid
        train = self.tracks[:-valid][: self.size.steps * batch]
        normalization = self.store.normalization(input_spec, [example.digest for example in train[:valid]])
        return Fold(train, self.tracks[-valid:], {input_spec: normalization})

    def recorded(self, understate: int = 1) -> RecordingBackend:
        """Return the back end with a memory of its jobs; footprints are divided by `understate`."""
        return RecordingBackend(self.backend, self.returned, understate)


def open_backend(folder: Path) -> LocalBackend:
    """Return the back end of this machine, whose store, models and logs lie in a folder."""
    left = folder / "jobs"
    files = JobFiles(
        folder / "store",
        model=lambda key: left / key.study / f"{key}.keras",
        log=lambda key: left / key.study / f"{key}.log",
    )
    return LocalBackend(ForkServer.start(), files)


def short_job(
    bench: Bench,
    point: Point,
    batch: int,
    budget_bytes: int,
    *,
    accumulation: int = 1,
    epochs: int = 1,
    cap_bytes: int | None = None,
) -> TrialSpec:
    """Return a job of a handful of steps an epoch; with no cap unless one is named."""
    training = TrainingSpec(
        family=point.family.name,
        config=point.at(batch),
        input_spec=point.family.input_spec,
        genres=GENRES,
        folds=(bench.fold(point.family.input_spec, batch),),
        epochs=epochs,
        seed=0,
        batch=BatchShape(micro_batch=batch // accumulation, accumulation=accumulation),
        deterministic=False,
        threads=THREADS,
    )
    key = JobKey(f"{point.family.name}, {point.name}", JobKind.TRIAL, 0)
    return TrialSpec(key, training, TrialLimits(budget_bytes, cap_bytes, bench.size.seconds))


def run(bench: Bench, spec: TrialSpec) -> TrialEnded:
    """Run one trial to its end; after `Size.seconds` it is told to stop."""
    until = time.monotonic() + bench.size.seconds
    return run_to_end(bench.recorded(), spec, bench.slot, lambda event: time.monotonic() < until)


@dataclass(frozen=True)
class FixedStudy:
    """A study whose configurations are given and not sampled, each trained for two epochs.

    Attributes:
        name: for a reader.
        configs: of the trials in turn, with as many more as may be refused.
        batch: the largest batch among them, in crops.
        jobs: trials at once; None for as many as fit.
    """

    name: str
    family: Family
    configs: Iterable[Config]
    batch: int
    budget_bytes: int
    trials: int
    jobs: int | None


def run_study(bench: Bench, backend: RecordingBackend, slot: DeviceSlot, study: FixedStudy) -> StudyResults:
    """Run a study on a slot as `harness run` would."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    family, configs, seconds = study.family, iter(study.configs), bench.size.seconds
    with TemporaryDirectory(dir=bench.folder) as workspace:
        ledger = Ledger(Workspace(Path(workspace)))
        config = study_config(
            ledger.open_study(_record(study, bench.size, slot.device)),
            family=replace(family, space=lambda trial, quick: next(configs)),
            trials=study.trials,
            folds=(bench.fold(family.input_spec, study.batch),),
            jobs=study.jobs,
            threads=max(1, THREADS // (study.jobs or 1)),
            trial_time_limit_seconds=seconds,
            slots=(slot,),
        )
        return StudyRunner.open(config, None, backend, ledger, NullTracker(), lambda event: None).run()


def _record(study: FixedStudy, size: Size, device: Device) -> StudyRecord:
    family = study.family
    return StudyRecord(
        family=family.name,
        name=f"{family.name}, {study.name}, jobs {study.jobs or 'auto'}",
        description=family.description,
        input=family.input_spec.describe(),
        space="one point",
        dataset=DatasetRecord(name="noise", fingerprint="", genres=GENRES, tracks=size.tracks, synthetic=True),
        protocol=ProtocolRecord(name="none", fingerprint="", sizes={}, grouped=False),
        budget_bytes=study.budget_bytes,
        epochs=2,
        seed=0,
        quick=False,
        trial_time_limit_seconds=size.seconds,
        published=None,
        provenance=Provenance(
            commit="",
            versions={},
            backend=keras_backend(),
            device=device.name,
            driver=device.driver,
            platform="",
            cpu_count=THREADS,
        ),
    )
