"""A workspace to search and to test in where nothing is trained: children answer at once."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from optuna.storages import InMemoryStorage

from harness.evaluation.ensemble_predict import Member, MemberPredictions
from harness.events import Event
from harness.families import select
from harness.features.fold import LabelledTrack
from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.records.trial import EpochRecord, Outcome, ValidationScores
from harness.scoring.metrics import joined, track_scores
from harness.settings import RunSettings
from harness.tracking.base import NullTracker
from harness.trials.backend import BackendEvent, TrialBackend, TrialEnded
from harness.trials.job import JobKey, TrialSpec
from harness.trials.local.backend import JobFiles
from harness.trials.report import TrialReport
from harness.units import MIB
from harness.vram.footprint import Footprint
from harness.vram.slots import CPU_SLOT, DeviceSlot
from harness.workflows.final_test import final_test
from harness.workflows.run import run
from tests.helpers.models import ToneStore

GENRES = ("high", "low", "middle", "top")


def answers(examples: Sequence[LabelledTrack], skill: Callable[[LabelledTrack], bool]) -> Predictions:
    """Sure of the right genre where `skill` says so, and of the next one elsewhere."""
    labels = np.array([example.label for example in examples])
    shown = [example.label if skill(example) else (example.label + 1) % 4 for example in examples]
    probabilities = np.full((len(examples), 4), 0.1, np.float32)
    probabilities[np.arange(len(examples)), shown] = 0.7
    return Predictions(tuple(example.track for example in examples), GENRES, labels, probabilities)


class FakeServer:
    """Children that predict every track rightly."""

    def call(
        self, function: Any, members: list[Member], store: Path, tracks: Any, genres: Any, **_: Any
    ) -> MemberPredictions:
        return MemberPredictions([answers(tracks, lambda example: True) for _ in members], MIB, 0.01)


class Children(TrialBackend):
    """Children that answer at once, as well as `skill` says; what they were told is kept for the test."""

    specs: ClassVar[list[TrialSpec]] = []
    open: ClassVar[set[int]] = set()
    stop_at: ClassVar[int | None] = None
    skill: ClassVar[Callable[[TrialSpec, LabelledTrack], bool]]
    end: ClassVar[Callable[[TrialSpec, TrialReport], TrialReport]]

    def __init__(self, server: FakeServer, files: JobFiles) -> None:
        self.server, self.files = server, files
        self.waiting: list[TrialSpec] = []
        self.open.add(id(self))

    def with_files(self, files: JobFiles) -> Children:
        return Children(self.server, files)

    def slots(self) -> tuple[DeviceSlot, ...]:
        return (CPU_SLOT,)

    def device_used_bytes(self, slot: DeviceSlot) -> int | None:
        return None

    def close(self) -> None:
        self.open.discard(id(self))

    def reply(self, key: JobKey, proceed: bool) -> None: ...

    def memory_in_use(self) -> Mapping[JobKey, int | None]:
        return {}

    def estimate_footprints(
        self, family: str, input_spec: InputSpec, configs: Sequence[Config], genres: int
    ) -> list[Footprint]:
        return [Footprint(MIB, MIB, MIB, MIB, 1000) for _ in configs]

    def start(self, spec: TrialSpec, slot: DeviceSlot) -> None:
        if len(self.specs) == type(self).stop_at:
            type(self).stop_at = None
            raise KeyboardInterrupt
        self.specs.append(spec)
        self.waiting.append(spec)

    def events(self) -> Iterator[BackendEvent]:
        if not self.waiting:
            return
        spec = self.waiting.pop()
        folds = spec.training.folds

        def known(example: LabelledTrack) -> bool:
            return type(self).skill(spec, example)

        valid = joined([answers(fold.valid, known) for fold in folds])
        tests = [answers(fold.test, known) for fold in folds if fold.test]
        accuracy, macro_f1 = track_scores(valid)
        epoch = EpochRecord(
            epoch=1, loss=1, accuracy=1, val_loss=1, val_accuracy=accuracy, val_macro_f1=macro_f1, seconds=1
        )
        if spec.keep_model:
            model = self.files.model(spec.key)
            model.parent.mkdir(parents=True, exist_ok=True)
            model.touch()
        report = TrialReport(
            Outcome.COMPLETED,
            epochs=(epoch,),
            predictions=valid,
            test_predictions=joined(tests) if tests else None,
            scores=ValidationScores(valid_accuracy=accuracy, valid_macro_f1=macro_f1),
            train_seconds=1.0,
        )
        yield TrialEnded(spec.key, type(self).end(spec, report))


@dataclass
class Bench:
    """A workspace with a data set of four genres of five tracks, each by an artist of its own.

    Attributes:
        dashboards: files for optuna-dashboard, as often as one would have been written.
    """

    workspace: Path
    data: Path
    groups: Path
    events: list[Event] = field(default_factory=list)
    dashboards: list[Path] = field(default_factory=list)

    def run(
        self, protocol: str, trials: int = 4, epochs: int = 4, family: str = "cnn2d-mfcc", **options: Any
    ) -> tuple[StudyResults, ...]:
        settings = RunSettings(
            families=(family,),
            data=self.data,
            groups=self.groups,
            protocol=protocol,
            trials=trials,
            epochs=epochs,
            quick=True,
            workspace=self.workspace,
            **options,
        )
        return run(settings, select(settings.families), self.events.append)

    def finals(self, seeds: int = 2, reopen: bool = False, families: Sequence[str] = ()) -> tuple[StudyResults, ...]:
        return final_test(self.workspace, families, seeds, reopen, self.events.append)

    def final(self, seeds: int = 2, reopen: bool = False) -> StudyResults:
        (results,) = self.finals(seeds, reopen)
        return results


def make_bench(folder: Path, tones: Path, tone_store: ToneStore, monkeypatch: pytest.MonkeyPatch) -> Bench:
    shutil.copytree(tone_store[0], folder / "workspace" / "store")  # features are not what is tested
    groups = folder / "groups.csv"
    tracks = sorted(path.stem for path in tones.glob("*/*.wav"))
    groups.write_text("track,artist\n" + "".join(f"{track},artist {track}\n" for track in tracks))
    # Databases take longer to make than all the rest; a champion without weights could not be logged.
    storages: dict[str, InMemoryStorage] = defaultdict(InMemoryStorage)
    monkeypatch.setattr("harness.search.storage.open_storage", lambda url: storages[url])
    monkeypatch.setattr("harness.tracking.mlflow.tracker.MLflowTracker", lambda *about, **options: NullTracker())
    monkeypatch.setattr("harness.workflows.run.register_best_model", lambda *about: None)
    monkeypatch.setattr("harness.workflows.final_test.deliver", lambda *about: 0)
    monkeypatch.setattr("reports.figures.draw_svg", lambda *about: b"")  # nobody looks at the pictures
    monkeypatch.setattr(Children, "specs", [])
    monkeypatch.setattr(Children, "open", set())
    monkeypatch.setattr(Children, "stop_at", None)
    # The baseline knows the first two genres, every other trial one more.
    monkeypatch.setattr(
        Children, "skill", lambda spec, example: example.label < 2 + (spec.key.number > 0), raising=False
    )
    monkeypatch.setattr(Children, "end", lambda spec, report: report, raising=False)
    monkeypatch.setattr("harness.workflows.devices.LocalBackend", Children)
    monkeypatch.setattr("harness.workflows.devices.ForkServer", SimpleNamespace(start=FakeServer))
    bench = Bench(folder / "workspace", tones, groups)
    monkeypatch.setattr(
        "harness.workflows.dashboard.write_dashboard", lambda ledger, *about: bench.dashboards.append(about[0])
    )
    return bench
