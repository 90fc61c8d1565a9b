"""The back ends that train nothing keep the promises of all back ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.records.predictions import Predictions
from harness.records.trial import BatchShape, EpochRecord, Outcome
from harness.testing.backend_contract import BackendContract
from harness.testing.backends import FakeBackend, FoldFakeBackend
from harness.testing.records import FAMILY, FOLDS, TRACKS
from harness.trials.backend import EpochReported, FoldReported, run_to_end
from harness.trials.job import JobKey, JobKind, TrainingSpec, TrialLimits, TrialSpec
from harness.trials.report import TrialReport
from harness.vram.slots import CPU_SLOT
from tests.helpers.search import completed

SPEC = TrialSpec(
    JobKey("study", JobKind.TRIAL, 3),
    TrainingSpec(
        family=FAMILY.name,
        config=FAMILY.baseline,
        input_spec=FAMILY.input_spec,
        genres=("blues", "rock"),
        folds=FOLDS,
        epochs=3,
        seed=0,
        batch=BatchShape(micro_batch=8, accumulation=1),
        deterministic=False,
        threads=1,
    ),
    TrialLimits(budget_bytes=2**30),
)


def ended(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
    if not spec.training.config:
        return TrialReport(Outcome.CRASHED, "there is no configuration", epochs)
    return completed(spec, epochs)


class TestFakeBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> FakeBackend:
        return FakeBackend(end=ended)

    @pytest.fixture
    def spec(self) -> TrialSpec:
        return SPEC


def test_folds_are_reported_but_for_the_last() -> None:
    spec = replace(SPEC, training=replace(SPEC.training, folds=FOLDS * 3))
    seen: list[Predictions] = []

    def proceed(event: EpochReported | FoldReported) -> bool:
        assert isinstance(event, FoldReported)
        seen.append(event.predictions)
        return True

    end = run_to_end(FoldFakeBackend(certainty=lambda spec, track: 0.75), spec, CPU_SLOT, proceed)
    assert end.report.outcome is Outcome.COMPLETED
    assert [answer.tracks for answer in seen] == [tuple(track.track for track in TRACKS[2:])] * 2
    assert [float(answer.probabilities[at, label]) for answer in seen for at, label in enumerate(answer.labels)] == [
        0.75
    ] * 4


def test_a_run_can_be_interrupted_at_any_event() -> None:
    backend = FakeBackend(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(backend, SPEC, CPU_SLOT)
    assert backend.events_so_far == 2
