"""The promises of `harness.trials.backend` as tests: a class that each implementation's tests inherit from."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.trial import Outcome
from harness.trials.backend import BackendEvent, EpochReported, TrialBackend, TrialEnded, run_to_end
from harness.trials.job import JobKey, JobKind, TrialSpec


class BackendContract:
    """Inherit from it in a class that has the fixtures `backend` and `spec`.

    `backend` is a `TrialBackend` on which nothing runs. `spec` is a job of three epochs that completes there. Without a
    configuration it has nothing to build a model from, and is to fail.
    """

    @pytest.fixture
    def backend(self) -> TrialBackend:
        raise NotImplementedError

    @pytest.fixture
    def spec(self) -> TrialSpec:
        raise NotImplementedError

    def test_a_job_reports_its_epochs_in_order_and_ends_once(self, backend: TrialBackend, spec: TrialSpec) -> None:
        seen: list[int] = []

        def proceed(event: BackendEvent) -> bool:
            assert isinstance(event, EpochReported)
            assert event.key == spec.key
            seen.append(event.record.epoch)
            return True

        end = run_to_end(backend, spec, backend.slots()[0], proceed)
        assert seen == [1, 2, 3]
        assert end.key == spec.key
        assert end.report.outcome is Outcome.COMPLETED, end.report.message
        assert [epoch.epoch for epoch in end.report.epochs] == seen
        assert list(backend.events()) == []

    def test_where_no_job_runs_there_are_no_events(self, backend: TrialBackend) -> None:
        assert list(backend.events()) == []
        assert dict(backend.memory_in_use()) == {}

    def test_a_job_that_is_told_to_stop_ends_as_pruned(self, backend: TrialBackend, spec: TrialSpec) -> None:
        end = run_to_end(backend, spec, backend.slots()[0], lambda event: False)
        assert end.report.outcome is Outcome.PRUNED
        assert len(end.report.epochs) == 1

    def test_a_job_that_fails_is_an_outcome_and_the_next_one_runs(self, backend: TrialBackend, spec: TrialSpec) -> None:
        failing = replace(spec, training=replace(spec.training, config={}))
        end = run_to_end(backend, failing, backend.slots()[0])
        assert (end.key, end.report.outcome) == (spec.key, Outcome.CRASHED)
        assert end.report.message
        assert run_to_end(backend, spec, backend.slots()[0]).report.outcome is Outcome.COMPLETED

    def test_a_reply_to_a_job_that_ended_is_thrown_away(self, backend: TrialBackend, spec: TrialSpec) -> None:
        run_to_end(backend, spec, backend.slots()[0])
        backend.reply(spec.key, True)
        assert list(backend.events()) == []

    def test_jobs_of_the_same_number_are_told_apart_by_their_keys(self, backend: TrialBackend, spec: TrialSpec) -> None:
        others = [
            replace(spec.key, study=f"another {spec.key.study}"),
            JobKey(spec.key.study, JobKind.WINNER, spec.key.number, seed=0, fold=1),
        ]
        ends = _run_together(backend, [spec, *(replace(spec, key=key) for key in others)])
        assert {key: end.report.outcome for key, end in ends.items()} == dict.fromkeys(
            [spec.key, *others], Outcome.COMPLETED
        )

    def test_a_second_attempt_is_a_job_of_its_own(self, backend: TrialBackend, spec: TrialSpec) -> None:
        again = replace(spec, key=replace(spec.key, attempt=1))
        for job in (spec, again):
            assert run_to_end(backend, job, backend.slots()[0]).key == job.key

    def test_the_memory_of_running_jobs_is_told_by_their_keys(self, backend: TrialBackend, spec: TrialSpec) -> None:
        backend.start(spec, backend.slots()[0])
        assert set(backend.memory_in_use()) == {spec.key}
        while not isinstance(event := _next(backend), TrialEnded):
            assert set(backend.memory_in_use()) == {spec.key}
            backend.reply(event.key, True)
        assert dict(backend.memory_in_use()) == {}

    def test_closing_ends_every_job_without_an_end_and_frees_its_key(
        self, backend: TrialBackend, spec: TrialSpec
    ) -> None:
        backend.start(spec, backend.slots()[0])
        assert isinstance(_next(backend), EpochReported)
        backend.close()
        assert list(backend.events()) == []
        assert dict(backend.memory_in_use()) == {}
        assert run_to_end(backend, spec, backend.slots()[0]).report.outcome is Outcome.COMPLETED

    def test_a_job_can_cross_to_another_machine(self, spec: TrialSpec) -> None:
        found: list[Path] = []
        _walk(spec, found.append)
        assert found == []
        assert pickle.loads(pickle.dumps(spec)).key == spec.key

    def test_there_is_a_slot_and_its_use_is_told_or_is_not(self, backend: TrialBackend) -> None:
        slots = backend.slots()
        assert slots
        for slot in slots:
            used = backend.device_used_bytes(slot)
            assert used is None or used >= 0
            assert slot.on_gpu or used is None

    def test_footprints_come_in_the_order_of_their_configurations(self, backend: TrialBackend, spec: TrialSpec) -> None:
        training = spec.training
        arguments = training.family, training.input_spec, [training.config] * 2, len(training.genres)
        with ThreadPoolExecutor() as threads:
            elsewhere = threads.submit(backend.estimate_footprints, *arguments)
            first, second = backend.estimate_footprints(*arguments)
        assert elsewhere.result() == [first, second]
        assert first == second
        assert first.peak(8, 1) > 0


def _next(backend: TrialBackend) -> BackendEvent:
    while True:
        for event in backend.events():
            return event


def _run_together(backend: TrialBackend, specs: list[TrialSpec]) -> dict[JobKey, TrialEnded]:
    """Run jobs at once; each must report its epochs in order, and end once."""
    for spec in specs:
        backend.start(spec, backend.slots()[0])
    ends: dict[JobKey, TrialEnded] = {}
    seen: dict[JobKey, list[int]] = {spec.key: [] for spec in specs}
    while len(ends) < len(specs):
        event = _next(backend)
        assert event.key not in ends
        if isinstance(event, TrialEnded):
            ends[event.key] = event
            continue
        assert isinstance(event, EpochReported)
        seen[event.key].append(event.record.epoch)
        backend.reply(event.key, True)
    assert list(seen.values()) == [[1, 2, 3]] * len(specs)
    return ends


def _walk(value: object, found: Callable[[Path], object]) -> None:
    """Call `found` with every path within a value of dataclasses and containers."""
    if isinstance(value, Path):
        found(value)
    elif isinstance(value, dict):
        for part in value.values():
            _walk(part, found)
    elif isinstance(value, tuple | list):
        for part in value:
            _walk(part, found)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            _walk(getattr(value, name), found)
