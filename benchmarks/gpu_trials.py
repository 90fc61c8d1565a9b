"""Trials for `gpu_check.py`: real ones, in the pool's children, on tracks of noise."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from harness.families import Family
from harness.features.extract import N_ROWS, n_frames
from harness.features.fold import Fold, LabelledTrack
from harness.features.input_spec import WAVEFORM_INPUT, InputSpec
from harness.features.store import FeatureStore
from harness.keras_backend import backend
from harness.models import Config
from harness.records.base import Value
from harness.records.study import DatasetRecord, ProtocolRecord, Provenance, StudyRecord, StudyResults
from harness.trials.pool import End, Event, Pool
from harness.trials.spec import TrialSpec
from harness.vram.admission import Lane
from harness.vram.device import memory_used
from harness.vram.footprint import Footprint

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
TRACKS, VALID = 128, 8
STEPS = 3
TRIAL_SECONDS = 120.0


@dataclass(frozen=True)
class Point:
    """A configuration of a family, under a name."""

    family: Family
    name: str
    config: Config

    def at(self, micro_batch: int) -> dict[str, Any]:
        """Return the configuration with a batch of one micro-batch; it never stops early."""
        return {**self.config, "batch_size": micro_batch, "patience": 10**6}


def points_of(families: Sequence[Family], wide: bool) -> list[Point]:
    """Return the baseline of each family, then, if asked for, a wide point of each family in `WIDE`."""
    found = [Point(family, "baseline", family.baseline) for family in families]
    if wide:
        known = [family for family in families if family.name in WIDE]
        found += [Point(family, "wide", {**family.baseline, **WIDE[family.name]}) for family in known]
    return found


@dataclass
class Bench:
    """Where trials run, and what was seen of their memory.

    Attributes:
        folder: holds the store, and what trials leave behind.
        returned: for each trial, device use before and after it, and the seconds until it was back.
    """

    pool: Pool
    lane: Lane
    folder: Path
    tracks: tuple[LabelledTrack, ...] = ()
    returned: list[dict[str, Any]] = field(default_factory=list)

    def fill(self) -> None:
        """Put noise, five seconds a track, into the store."""
        generator, store = np.random.default_rng(0), FeatureStore(self.folder / "store")
        samples = WAVEFORM_INPUT.length
        for number in range(TRACKS):
            rows = generator.normal(size=(N_ROWS, n_frames(samples))).astype(np.float32)
            store.put(f"{number:03d}", rows, generator.integers(-(2**12), 2**12, samples, np.int16))
        self.tracks = tuple(LabelledTrack(f"track {n}", f"{n:03d}", n % len(GENRES)) for n in range(TRACKS))


class Watched:
    """The pool as a study sees it; keeps how trials ended, how many ran at once, and whether their memory came back."""

    def __init__(self, bench: Bench, understate: int = 1) -> None:
        """Divide every footprint by `understate`."""
        self.bench, self.understate = bench, understate
        self.ends: list[End] = []
        self.at_once = 0
        self._before: dict[int, int | None] = {}

    def reckon(self, family: str, input_spec: InputSpec, config: Config, genres: int) -> Footprint:
        parts = asdict(self.bench.pool.reckon(family, input_spec, config, genres))
        return Footprint(**{name: part // self.understate for name, part in parts.items()})

    @property
    def held(self) -> Mapping[int, int]:
        return self.bench.pool.held

    def start(self, spec: TrialSpec, lane: Lane) -> None:
        self._before[spec.number] = memory_used(lane.device)
        self.bench.pool.start(spec, lane)
        self.at_once = max(self.at_once, len(self.held))

    def events(self) -> Iterator[Event]:
        for event in self.bench.pool.events():
            if isinstance(event, End):
                self.ends.append(event)
                self._keep_returned(event)
            yield event

    def reply(self, number: int, go_on: bool) -> None:
        self.bench.pool.reply(number, go_on)

    def _keep_returned(self, end: End) -> None:
        self.bench.returned.append(
            {
                "what": f"{end.spec.study}, trial {end.spec.number}, micro-batch {end.spec.micro_batch}",
                "outcome": end.ended.outcome,
                "in_company": self.at_once > 1,
                "before_bytes": self._before[end.spec.number],
                "after_bytes": memory_used(self.bench.lane.device),
                "seconds": end.returned_seconds,
            }
        )


def order(
    bench: Bench, point: Point, micro_batch: int, budget: int, epochs: int = 1, cap: int | None = None
) -> TrialSpec:
    """Return a trial of a handful of steps an epoch; with no cap unless one is named."""
    device = bench.lane.device
    train, store = bench.tracks[:-VALID][: STEPS * micro_batch], bench.folder / "store"
    input_spec = point.family.input_spec
    normalization = {
        input_spec: FeatureStore(store).normalization(input_spec, [example.digest for example in train[:VALID]])
    }
    return TrialSpec(
        family=point.family.name,
        study=f"{point.family.name}, {point.name}",
        number=0,
        config=point.at(micro_batch),
        input_spec=input_spec,
        store=store,
        genres=GENRES,
        folds=(Fold(train, bench.tracks[-VALID:], normalization),),
        epochs=epochs,
        seed=0,
        micro_batch=micro_batch,
        accumulation=1,
        budget_bytes=budget,
        cap_bytes=cap,
        device_bytes=device.total_bytes,
        time_limit_seconds=TRIAL_SECONDS,
        deterministic=False,
        threads=os.cpu_count() or 1,
        model=bench.folder / "model.keras",
        log=bench.folder / "log",
        environment=device.environment(),
    )


def run(bench: Bench, spec: TrialSpec) -> End:
    """Run one trial to its end; after `TRIAL_SECONDS` it is told to stop."""
    pool, until = Watched(bench), time.monotonic() + TRIAL_SECONDS
    pool.start(spec, bench.lane)
    while True:
        for event in pool.events():
            if isinstance(event, End):
                return event
            pool.reply(event.number, time.monotonic() < until)


def study(
    pool: Watched, lane: Lane, point: Point, batch: int, budget: int, trials: int, jobs: int | None
) -> StudyResults:
    """Run a study whose trials all have one configuration, two epochs each, as `harness run` would."""
    # Children import whatever the parent's `__main__` imports; Optuna would cost each of them half a second.
    import optuna

    from harness.search.study import Plan, Study
    from harness.tracking.base import NullTracker
    from harness.tracking.ledger import Ledger
    from harness.workspace import Workspace

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bench, family, device = pool.bench, point.family, lane.device
    spec = order(bench, point, batch, budget)
    record = StudyRecord(
        family=family.name,
        study=f"{spec.study}, jobs {jobs or 'auto'}",
        description=family.description,
        input=family.input_spec.describe(),
        space="one point",
        dataset=DatasetRecord(name="noise", fingerprint="", genres=GENRES, tracks=TRACKS, synthetic=True),
        protocol=ProtocolRecord(name="none", fingerprint="", sizes={}, grouped=False),
        budget_bytes=budget,
        epochs=2,
        seed=0,
        quick=False,
        trial_time_limit_seconds=TRIAL_SECONDS,
        published=None,
        provenance=Provenance(
            commit="",
            versions={},
            backend=backend(),
            device=device.name,
            driver=device.driver,
            platform="",
            cpu_count=spec.threads,
        ),
    )
    plan = Plan(
        family=replace(family, space=lambda trial, quick: point.at(batch)),
        record=record,
        trials=trials,
        folds=spec.folds,
        store=spec.store,
        min_micro_batch=8,
        jobs=jobs,
        threads=max(1, spec.threads // (jobs or 1)),
        deterministic=False,
        time_limit_seconds=None,
        trial_time_limit_seconds=TRIAL_SECONDS,
        lanes=(lane,),
    )
    with TemporaryDirectory(dir=bench.folder) as workspace:
        storage = optuna.storages.InMemoryStorage()
        return Study(plan, storage, pool, Ledger(Workspace(Path(workspace))), NullTracker(), lambda event: None).run()
