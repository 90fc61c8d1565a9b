"""What a study does about memory, with a back end that trains nothing: smaller second attempts, caps, corrections."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from harness.errors import DeviceError
from harness.events import Event, TrialStarted
from harness.families import Suggest
from harness.models import Config
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import EpochRecord, Outcome, Reading, ReadingSource, TrialRecord, ValidationScores
from harness.search.study import StudyRunner
from harness.testing.backends import FakeBackend
from harness.testing.records import FAMILY, RECORD, study_config
from harness.tracking.base import NullTracker
from harness.tracking.ledger import Ledger
from harness.trials.backend import BackendEvent
from harness.trials.job import TrialSpec
from harness.trials.report import TrialReport
from harness.units import GIB, MIB
from harness.vram.correction import Correction, Need
from harness.vram.device import Device, DeviceKind
from harness.vram.footprint import Footprint
from harness.vram.room import UNMEASURED_SLACK_SHARE
from harness.vram.slots import CPU_SLOT, RESERVE_BYTES, DeviceSlot
from harness.workspace import Workspace
from tests.helpers.search import completed

BATCH = 32
EPOCH = EpochRecord(epoch=1, loss=1, accuracy=1, val_loss=1, val_accuracy=0.5, val_macro_f1=0.5, seconds=1)
OOM = TrialReport(Outcome.OOM, "RESOURCE_EXHAUSTED")
FOOTPRINT = Footprint(weights=0, trainable=40 * MIB, activations=MIB, workspace=MIB, parameters=1000)
CONTEXT = 500 * MIB
GPU = DeviceSlot(Device(DeviceKind.GPU, "GPU-a", "First", 8 * GIB), ReadingSource.PROCESS, CONTEXT)
OTHER_GPU = DeviceSlot(Device(DeviceKind.GPU, "GPU-b", "Second", 16 * GIB), ReadingSource.PROCESS, CONTEXT // 2)
UNMEASURED_GPU = replace(GPU, source=ReadingSource.NONE, overhead_bytes=0)
# What a trial may take of a card of 8 GiB, and the allocator of the whole of a room until trials have taught more.
ROOM = 8 * GIB - RESERVE_BYTES


def cap(room: int) -> int:
    return room - CONTEXT - round(UNMEASURED_SLACK_SHARE * room)


def with_slack(size: int) -> int:
    """The smallest room that leaves so much beside its slack."""
    return math.ceil(size / (1 - UNMEASURED_SLACK_SHARE))


def done(spec: TrialSpec) -> TrialReport:
    """How a trial ends that has memory enough. All score the same: no time goes into their importance."""
    return completed(spec, scores=ValidationScores(valid_macro_f1=0.5))


def space(trial: Suggest, quick: bool) -> Config:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "width": trial.suggest_int("width", 16, 64),
        "batch_size": trial.suggest_categorical("batch_size", [BATCH]),
    }


PLAIN = replace(FAMILY, space=space, baseline={"learning_rate": 1e-3, "width": 32, "batch_size": BATCH})


@dataclass
class LastInFirstOut(FakeBackend):
    """A back end in which the youngest trial ends first, after one epoch.

    Attributes:
        finish: how an attempt ends.
        peak: what an attempt was seen to hold; None for no reading.
        pool: what its allocator took; None where it does not tell.
        epochs: that an attempt tells of at its end.
    """

    finish: Callable[[TrialSpec], TrialReport] = done
    peak: Callable[[TrialSpec], int | None] = lambda spec: None
    pool: Callable[[TrialSpec], int | None] = lambda spec: None
    source: ReadingSource = ReadingSource.PROCESS
    epochs: tuple[EpochRecord, ...] = (EPOCH,)

    def __post_init__(self) -> None:
        self.youngest_first, self.most_epochs = True, 1
        self.end = lambda spec, epochs: replace(self.finish(spec), epochs=self.epochs, pool_bytes=self.pool(spec))
        self.reading = self.read

    def read(self, spec: TrialSpec) -> Reading:
        peak = self.peak(spec)
        return Reading() if peak is None else Reading(peak_bytes=peak, source=self.source)

    def attempts(self, number: int) -> list[tuple[int, set[int]]]:
        """The micro-batch and the neighbours of each attempt at a trial."""
        return [
            (job.spec.training.batch.micro_batch, {key.number for key in job.neighbours})
            for job in self.started
            if job.spec.key.number == number
        ]


def fake(finish: Callable[[TrialSpec], TrialReport] = done, **options: Any) -> LastInFirstOut:
    return LastInFirstOut(finish=finish, footprint=lambda config: FOOTPRINT, **options)


@dataclass
class StartTracker(NullTracker):
    """Keeps which trials it was told of at their start."""

    started: list[int] = field(default_factory=list)

    def trial_started(self, study: StudyRecord, number: int, params: Mapping[str, Any]) -> None:
        self.started.append(number)


@dataclass
class Bench:
    """A workspace; every `run` is a new process as far as the study can tell. `latest` is the one that was last."""

    folder: Path
    events: list[Event] = field(default_factory=list)
    tracker: StartTracker = field(default_factory=StartTracker)
    latest: StudyRunner | None = None

    def run(self, backend: LastInFirstOut, trials: int, *, budget: int = 8 * GIB, **changes: Any) -> StudyResults:
        ledger = Ledger(Workspace(self.folder))
        record = ledger.open_study(RECORD.model_copy(update={"budget_bytes": budget}))
        config = study_config(record, **{"family": PLAIN, "trials": trials, **changes})
        self.latest = StudyRunner.open(config, None, backend, ledger, self.tracker, self.events.append)
        return self.latest.run()

    @property
    def told(self) -> list[optuna.trial.FrozenTrial]:
        assert self.latest is not None
        return self.latest.proposals.study.trials


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield Bench(tmp_path)
    optuna.logging.set_verbosity(verbosity)


def out_of_memory(numbers: Collection[int], at_least: int = 0) -> Callable[[TrialSpec], TrialReport]:
    """Let these trials run out of memory at every micro-batch that is large enough."""
    return lambda spec: (
        OOM if spec.key.number in numbers and spec.training.batch.micro_batch >= at_least else done(spec)
    )


def trial(results: StudyResults, number: int) -> TrialRecord:
    return next(record for record in results.trials if record.number == number)


def test_a_trial_that_ran_by_itself_is_halved_down_to_the_floor_and_judged(bench: Bench) -> None:
    backend = fake(out_of_memory([1]))
    results = bench.run(backend, 3)
    assert backend.attempts(1) == [(32, set()), (16, set()), (8, set())]
    record = trial(results, 1)
    assert record.outcome is Outcome.OOM
    assert (record.batch.micro_batch, record.batch.accumulation) == (8, 4)
    assert record.message == (
        "out of memory at micro-batch 32; tried again with 16; "
        "out of memory at micro-batch 16; tried again with 8; RESOURCE_EXHAUSTED"
    )
    assert record.constraints["vram"] > 0
    assert bench.told[1].state is TrialState.PRUNED
    assert bench.told[1].constraints == record.constraints
    assert [record.outcome for record in results.trials] == [Outcome.COMPLETED, Outcome.OOM, Outcome.COMPLETED]


def test_a_trial_that_was_co_located_is_tried_alone_before_it_is_halved(bench: Bench) -> None:
    backend = fake(out_of_memory([1]))
    record = trial(bench.run(backend, 2, jobs=2), 1)
    assert backend.attempts(1) == [(32, {0}), (32, set()), (16, set()), (8, set())]
    assert backend.attempts(0) == [(32, {1})]
    assert record.outcome is Outcome.OOM
    assert record.message == (
        "out of memory at micro-batch 32 beside other trials; tried again alone; "
        "out of memory at micro-batch 32; tried again with 16; "
        "out of memory at micro-batch 16; tried again with 8; RESOURCE_EXHAUSTED"
    )
    assert bench.told[1].state is TrialState.PRUNED
    assert bench.told[1].constraints["vram"] > 0


def test_a_trial_that_needed_only_to_be_alone_keeps_its_micro_batch(bench: Bench) -> None:
    attempts: list[int] = []

    def end(spec: TrialSpec) -> TrialReport:
        attempts.append(spec.key.number)
        return OOM if spec.key.number == 1 and attempts.count(1) == 1 else done(spec)

    backend = fake(end)
    record = trial(bench.run(backend, 2, jobs=2), 1)
    assert backend.attempts(1) == [(32, {0}), (32, set())]
    assert record.outcome is Outcome.COMPLETED
    assert record.message == "out of memory at micro-batch 32 beside other trials; tried again alone"
    assert record.constraints["vram"] < 0
    assert bench.told[1].state is TrialState.COMPLETE


def test_whoever_was_joined_later_was_co_located_too(bench: Bench) -> None:
    backend = fake(out_of_memory([0], at_least=32))
    record = trial(bench.run(backend, 2, jobs=2), 0)
    assert backend.attempts(0) == [(32, {1}), (32, set()), (16, set())]
    assert record.outcome is Outcome.COMPLETED


def test_two_that_ran_out_of_memory_together_are_both_tried_alone(bench: Bench) -> None:
    backend = fake(out_of_memory([0, 1], at_least=32))
    results = bench.run(backend, 2, jobs=2)
    assert len(results.trials) == 2
    for number, neighbour in ((0, 1), (1, 0)):
        micro_batches = [micro_batch for micro_batch, _ in backend.attempts(number)]
        assert micro_batches == [32, 32, 16]
        assert backend.attempts(number)[0][1] == {neighbour}
        assert trial(results, number).outcome is Outcome.COMPLETED


def test_a_trial_that_is_tried_alone_stays_alone(bench: Bench) -> None:
    backend = fake(out_of_memory([1], at_least=32))
    bench.run(backend, 4, jobs=2)
    assert backend.attempts(1) == [(32, {0}), (32, set()), (16, set())]


def test_a_trial_on_another_gpu_is_no_neighbour(bench: Bench) -> None:
    backend = fake(out_of_memory([1], at_least=32))
    bench.run(backend, 2, jobs=2, slots=(GPU, OTHER_GPU))
    assert {job.spec.key.number: job.slot.device.uuid for job in backend.started[:2]} == {0: "GPU-a", 1: "GPU-b"}
    assert backend.attempts(1) == [(32, set()), (16, set())]


def test_a_half_that_fits_ends_as_one_completed_trial(bench: Bench) -> None:
    backend = fake(out_of_memory([0], at_least=32))
    results = bench.run(backend, 1)
    (record,) = results.trials
    assert record.outcome is Outcome.COMPLETED
    assert (record.batch.micro_batch, record.batch.accumulation) == (16, 2)
    assert record.memory.footprint_bytes == record.memory.model_footprint_bytes == FOOTPRINT.peak(16, 2)
    assert record.message == "out of memory at micro-batch 32; tried again with 16"
    assert [(spec.training.batch.micro_batch, spec.training.batch.accumulation) for spec in backend.specs] == [
        (32, 1),
        (16, 2),
    ]
    assert backend.specs[0].training.config == backend.specs[1].training.config
    assert backend.specs[0].training.seed == backend.specs[1].training.seed
    told = [event.micro_batch for event in bench.events if isinstance(event, TrialStarted)]
    assert told == [32, 16]
    assert bench.tracker.started == [0]


def test_optuna_is_told_each_epoch_of_a_trial_once(bench: Bench) -> None:
    # Another report of the same epoch would be a warning, which is an error here.
    bench.run(fake(out_of_memory([0])), 1)
    assert bench.told[0].intermediate_values == {1: 0.5}


@pytest.mark.parametrize(
    ("batch", "floor", "expected"), [(24, 8, [24, 12]), (8, 8, [8]), (4, 8, [4]), (20, 1, [20, 10, 5])]
)
def test_halving_ends_at_the_floor_and_before_a_remainder(
    bench: Bench, batch: int, floor: int, expected: list[int]
) -> None:
    def of_this_batch(suggest: Suggest, quick: bool) -> Config:
        return {**space(suggest, quick), "batch_size": batch}

    backend = fake(out_of_memory([0]))
    (record,) = bench.run(backend, 1, min_micro_batch=floor, family=replace(PLAIN, space=of_this_batch)).trials
    assert [micro_batch for micro_batch, _ in backend.attempts(0)] == expected
    assert record.outcome is Outcome.OOM
    assert record.batch.micro_batch == expected[-1]


@pytest.mark.parametrize(("held", "violation"), [(None, 0.01), (GIB, 0.01), (12 * GIB, 0.5)])
def test_out_of_memory_breaks_the_budget_whatever_was_measured(
    bench: Bench, held: int | None, violation: float
) -> None:
    (record,) = bench.run(fake(out_of_memory([0]), peak=lambda spec: held), 1).trials
    assert record.constraints == {"vram": pytest.approx(violation)}
    assert bench.told[0].constraints == record.constraints


def test_a_trial_is_sampled_when_it_can_start(bench: Bench) -> None:
    unfinished: list[int] = []

    def end(spec: TrialSpec) -> TrialReport:
        unfinished.append(sum(told.state is TrialState.RUNNING for told in bench.told))
        return done(spec)

    bench.run(fake(end), 3)
    assert unfinished == [1, 1, 1]


def test_on_a_cpu_nothing_is_capped(bench: Bench) -> None:
    backend = fake()
    (record,) = bench.run(backend, 1, slots=(CPU_SLOT,)).trials
    (job,) = backend.started
    assert job.spec.limits.cap_bytes is record.memory.cap_bytes is None
    assert job.slot is CPU_SLOT


def test_the_allocator_may_take_the_budget_less_the_overhead_and_a_slack(bench: Bench) -> None:
    backend = fake()
    (record,) = bench.run(backend, 1, slots=(GPU,), budget=2 * GIB).trials
    (spec,) = backend.specs
    assert spec.limits.cap_bytes == record.memory.cap_bytes == cap(2 * GIB)
    assert spec.limits.budget_bytes == 2 * GIB
    assert backend.started[0].slot is GPU


def test_each_gpu_has_its_own_limits(bench: Bench) -> None:
    small = replace(OTHER_GPU, device=replace(OTHER_GPU.device, total_bytes=2 * GIB))
    backend = fake()
    bench.run(backend, 2, slots=(GPU, small), jobs=None)
    caps = {job.slot.device.total_bytes: job.spec.limits.cap_bytes for job in backend.started}
    # Both may be shared, so each keeps to its own upper bound, which the card does not change.
    assert set(caps) == {8 * GIB, 2 * GIB}
    assert set(caps.values()) == {Correction().upper(FOOTPRINT.peak(32, 1))}
    held = [fake() for _ in range(2)]
    for backend, slot, room in zip(held, (GPU, small), (ROOM, 2 * GIB - RESERVE_BYTES), strict=True):
        Bench(bench.folder / slot.device.name).run(backend, 1, slots=(slot,))
        assert backend.specs[0].limits.cap_bytes == room - slot.overhead_bytes - round(UNMEASURED_SLACK_SHARE * room)


def test_what_a_card_is_short_of_the_budget_is_told_where_it_refuses(bench: Bench) -> None:
    small = replace(GPU, device=replace(GPU.device, total_bytes=CONTEXT + RESERVE_BYTES + 10 * MIB))
    record = bench.run(fake(), 1, slots=(small,)).trials[0]
    assert record.outcome is Outcome.REFUSED
    assert record.message.endswith("over the 510 MiB that First has free")


def test_the_overhead_counts_towards_the_budget(bench: Bench) -> None:
    smallest = FOOTPRINT.peak(8, 4)
    fitting = bench.run(fake(), 1, slots=(GPU,), budget=CONTEXT + smallest).trials[0]
    assert (fitting.outcome, fitting.batch.micro_batch) == (Outcome.COMPLETED, 8)
    assert fitting.memory.footprint_bytes == CONTEXT + smallest
    assert fitting.memory.beside_bytes == CONTEXT
    assert fitting.memory.model_footprint_bytes == smallest
    # At the floor, the slack is given up.
    assert fitting.memory.cap_bytes == smallest


def test_a_trial_that_passes_the_budget_by_its_overhead_is_refused(bench: Bench) -> None:
    backend = fake()
    results = bench.run(backend, 1, slots=(GPU,), budget=CONTEXT + Correction().lower(FOOTPRINT.peak(8, 4)) - 1)
    assert backend.specs == []
    assert {record.outcome for record in results.trials} == {Outcome.REFUSED}
    assert results.trials[0].constraints["vram"] > 0
    assert "at micro-batch 8, over the budget of" in results.trials[0].message


def test_measured_peaks_correct_what_comes_after_them(bench: Bench) -> None:
    footprint = FOOTPRINT.peak(32, 1)
    first = bench.run(fake(peak=lambda spec: CONTEXT + 3 * footprint), 1, slots=(GPU,))
    assert first.trials[0].memory.footprint_bytes == CONTEXT + footprint
    # What was learnt is read from the ledger, so it outlives the process.
    backend = fake()
    second = trial(bench.run(backend, 2, slots=(GPU,)), 1)
    assert [spec.key.number for spec in backend.specs] == [1]
    assert second.memory.footprint_bytes == CONTEXT + Correction.learn([Need(footprint, 3 * footprint)]).estimate(
        footprint
    )
    assert second.memory.footprint_bytes > CONTEXT + footprint
    assert second.memory.model_footprint_bytes == footprint


def test_what_was_learnt_makes_the_micro_batch_smaller(bench: Bench) -> None:
    footprint = FOOTPRINT.peak(32, 1)
    # Enough for the whole batch with the margin that nothing is known under, not with what will be known.
    budget = with_slack(CONTEXT + Correction().upper(footprint))
    backend = fake(
        peak=lambda spec: (
            CONTEXT + 2 * FOOTPRINT.peak(spec.training.batch.micro_batch, spec.training.batch.accumulation)
        )
    )
    bench.run(backend, 1, slots=(GPU,), budget=budget)
    bench.run(backend, 2, slots=(GPU,), budget=budget)
    assert [spec.training.batch.micro_batch for spec in backend.specs] == [32, 8]


@pytest.mark.parametrize(
    ("slot", "peak", "epochs"),
    [
        (UNMEASURED_GPU, 2 * GIB, (EPOCH,)),
        (GPU, None, (EPOCH,)),
        (GPU, CONTEXT, (EPOCH,)),
        (GPU, 2 * GIB, ()),
    ],
    ids=["no probe", "no reading", "nothing above the overhead", "no epoch"],
)
def test_a_trial_that_tells_nothing_about_its_peak_teaches_nothing(
    bench: Bench, slot: DeviceSlot, peak: int | None, epochs: tuple[EpochRecord, ...]
) -> None:
    bench.run(fake(peak=lambda spec: peak, epochs=epochs), 1, slots=(slot,))
    second = trial(bench.run(fake(), 2, slots=(slot,)), 1)
    assert second.memory.footprint_bytes == slot.overhead_bytes + FOOTPRINT.peak(32, 1)


def test_unmeasured_runs_keep_the_margin_that_nothing_is_known_under(bench: Bench) -> None:
    budget = with_slack(Correction().upper(FOOTPRINT.peak(32, 1)))
    backends = fake(), fake()
    for backend, less in zip(backends, (0, 2), strict=True):
        Bench(bench.folder / str(less)).run(backend, 1, slots=(UNMEASURED_GPU,), budget=budget - less)
    assert [spec.training.batch.micro_batch for backend in backends for spec in backend.specs] == [32, 8]


def test_measured_runs_keep_a_margin_from_the_first_trial_on(bench: Bench) -> None:
    budget = CONTEXT + FOOTPRINT.peak(32, 1)
    backend = fake()
    bench.run(backend, 1, slots=(GPU,), budget=budget)
    assert [spec.training.batch.micro_batch for spec in backend.specs] == [8]


def test_over_budget_breaks_the_budget_even_where_its_reading_is_void(bench: Bench) -> None:
    backend = fake(
        lambda spec: TrialReport(Outcome.OVER_BUDGET, "held too much; another process took memory after that")
    )
    (record,) = bench.run(backend, 1, slots=(GPU,)).trials
    assert record.constraints["vram"] > 0
    assert bench.told[0].state is TrialState.PRUNED


@pytest.mark.parametrize("jobs", [1, None])
def test_a_trial_whose_allocator_kept_to_its_cap_gets_a_second_attempt(bench: Bench, jobs: int | None) -> None:
    """What lies beside it grows by 200 MiB beyond what the self-test saw; the watchdog sees the first 4 of them."""
    budget, grown = 2 * GIB, CONTEXT + 200 * MIB

    def pool_of(spec: TrialSpec) -> int:
        assert spec.limits.cap_bytes is not None
        return spec.limits.cap_bytes

    def is_over(spec: TrialSpec) -> bool:
        return pool_of(spec) + grown > spec.limits.budget_bytes

    def held(spec: TrialSpec) -> int:
        return spec.limits.budget_bytes + 4 * MIB if is_over(spec) else pool_of(spec) + grown

    backend = fake(
        lambda spec: TrialReport(Outcome.OVER_BUDGET, "killed") if is_over(spec) else done(spec),
        peak=held,
        pool=pool_of,
    )
    # A footprint that asks for all that there is, so that a cap of its own does not come before the room's.
    backend.footprint = lambda config: Footprint(0, 0, activations=180 * MIB, workspace=0, parameters=1)
    results = bench.run(backend, 3, slots=(GPU,), budget=budget, jobs=jobs)
    assert [record.outcome for record in results.trials] == [Outcome.COMPLETED] * 3
    assert [spec.key.number for spec in backend.specs] == [0, 0, 1, 2]
    first, second, *later = [pool_of(spec) for spec in backend.specs]
    assert second < first - 200 * MIB
    assert (
        "over the budget with its allocator within its cap; tried again with a lower cap" in results.trials[0].message
    )
    # The trial taught what lies beside, so that no later one is killed.
    assert all(cap + grown <= budget for cap in later)


def test_a_trial_whose_allocator_passed_its_cap_gets_none(bench: Bench) -> None:
    backend = fake(
        lambda spec: TrialReport(Outcome.OVER_BUDGET, "killed"),
        peak=lambda spec: spec.limits.budget_bytes + MIB,
        pool=lambda spec: round(1.1 * (spec.limits.cap_bytes or 0)),
    )
    bench.run(backend, 1, slots=(GPU,))
    assert len(backend.specs) == 1


def test_a_pool_that_the_log_rounds_up_above_its_cap_is_within_it(bench: Bench) -> None:
    def hundredths_of_a_gib(spec: TrialSpec) -> int:
        assert spec.limits.cap_bytes is not None
        return math.ceil(spec.limits.cap_bytes / GIB * 100) * GIB // 100

    backend = fake(
        lambda spec: TrialReport(Outcome.OVER_BUDGET, "killed"),
        peak=lambda spec: spec.limits.budget_bytes + MIB,
        pool=hundredths_of_a_gib,
    )
    bench.run(backend, 1, slots=(GPU,))
    assert len(backend.specs) == 2


def test_what_a_desktop_took_teaches_nothing_where_the_whole_card_is_read(bench: Bench) -> None:
    backend = fake(peak=lambda spec: 3 * GIB, pool=lambda spec: GIB, source=ReadingSource.DEVICE_DELTA)
    results = bench.run(backend, 4, slots=(replace(GPU, source=ReadingSource.DEVICE_DELTA),))
    assert {record.memory.beside_bytes for record in results.trials} == {CONTEXT}


def test_a_trial_that_goes_over_its_budget_again_is_judged(bench: Bench) -> None:
    backend = fake(
        lambda spec: TrialReport(Outcome.OVER_BUDGET, "killed"), peak=lambda spec: spec.limits.budget_bytes + MIB
    )
    (record,) = bench.run(backend, 1, slots=(GPU,)).trials
    assert record.outcome is Outcome.OVER_BUDGET
    assert len(backend.specs) == 2
    assert bench.told[0].state is TrialState.PRUNED


def test_corrections_learn_the_need_and_not_the_allocators_staircase(bench: Bench) -> None:
    """The process holds twice what its network needs, which is what was predicted."""
    need = FOOTPRINT.peak(32, 1)
    backend = fake(
        lambda spec: replace(done(spec), allocator_peak_bytes=need),
        peak=lambda spec: CONTEXT + 2 * need,
        pool=lambda spec: 2 * need,
    )
    last = trial(bench.run(backend, 6, slots=(GPU,)), 5)
    assert last.memory.footprint_bytes == pytest.approx(CONTEXT + need, rel=0.02)
    assert last.constraints["vram"] == pytest.approx((CONTEXT + need) / ROOM - 1)


def test_a_trial_that_others_may_join_keeps_to_its_upper_bound_and_is_tried_with_more_alone(bench: Bench) -> None:
    attempts: list[int] = []

    def end(spec: TrialSpec) -> TrialReport:
        attempts.append(spec.key.number)
        return replace(OOM, allocator_peak_bytes=spec.limits.cap_bytes) if attempts == [0] else done(spec)

    backend = fake(end)
    (record,) = bench.run(backend, 1, slots=(GPU,), jobs=None).trials
    assert record.outcome is Outcome.COMPLETED
    assert [spec.limits.cap_bytes for spec in backend.specs] == [Correction().upper(FOOTPRINT.peak(32, 1)), cap(ROOM)]
    assert record.message == (
        "out of memory at micro-batch 32 under a cap of what it was predicted to need; tried again alone"
    )


class Lost(LastInFirstOut):
    """A back end whose GPU is gone when the second trial starts."""

    def events(self) -> Iterator[BackendEvent]:
        if self.specs[-1].key.number == 1:
            raise DeviceError("First, in trial 1: the framework cannot use the GPU any more")
        yield from super().events()


def test_a_gpu_that_is_lost_in_a_study_costs_no_trial(bench: Bench) -> None:
    with pytest.raises(DeviceError, match="cannot use the GPU any more"):
        bench.run(Lost(footprint=lambda config: FOOTPRINT), 3, slots=(GPU,))
    assert [record.number for record in Ledger(Workspace(bench.folder)).trials(RECORD.name)] == [0]
    undone = bench.told[1].params
    results = bench.run(fake(), 3, slots=(GPU,))
    assert [record.number for record in results.trials] == [0, 1, 2]
    assert trial(results, 1).params == undone
    assert {record.outcome for record in results.trials} == {Outcome.COMPLETED}


def test_what_lies_beside_an_allocator_is_learnt_for_each_gpu(bench: Bench) -> None:
    backend = fake(
        peak=lambda spec: (900 if backend.started[-1].slot is GPU else 300) * MIB + GIB,
        pool=lambda spec: GIB,
    )
    for trials, slot in enumerate((GPU, OTHER_GPU, GPU), start=1):
        results = bench.run(backend, trials, slots=(slot,))
    assert [record.memory.beside_bytes for record in results.trials] == [CONTEXT, CONTEXT // 2, 900 * MIB]
    assert [record.memory.device for record in results.trials] == ["GPU-a", "GPU-b", "GPU-a"]
