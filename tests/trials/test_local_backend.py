"""Trials in children: whatever becomes of a child is noticed, named, and cleared away."""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from harness.errors import BuildError, DeviceError, HarnessError, UnusableGpuError, WorkspaceError
from harness.records.trial import EpochRecord, Outcome, Reading, ReadingSource, ValidationScores
from harness.testing.backend_contract import BackendContract
from harness.trials.backend import BackendEvent, EpochReported, TrialBackend, TrialEnded, run_to_end
from harness.trials.job import TrialSpec
from harness.trials.local import fork_server as fork_server_module
from harness.trials.local import running as running_module
from harness.trials.local import self_test as self_test_module
from harness.trials.local.backend import LocalBackend
from harness.trials.local.exit_status import KillReason, classify_exit
from harness.trials.local.fork_server import ForkServer
from harness.trials.local.self_test import self_test_child
from harness.trials.report import TrialReport
from harness.vram.device import Device, DeviceKind
from harness.vram.slots import CPU_SLOT, DeviceSlot
from tests.helpers.command import ROOT, program
from tests.helpers.misbehaving import Breeding, Stuck, trial_child
from tests.helpers.models import FAMILY, ToneStore, changed, files_in, job_of

DONE = TrialReport(Outcome.COMPLETED, scores=ValidationScores(valid_accuracy=0.5))
Job = Callable[..., TrialSpec]


@pytest.mark.parametrize(
    ("ended", "kill", "exit_code", "outcome", "message"),
    [
        (DONE, None, 0, Outcome.COMPLETED, ""),
        (DONE, KillReason(Outcome.OVER_BUDGET, "held 9 GiB"), -9, Outcome.OVER_BUDGET, "held 9 GiB"),
        (None, KillReason(Outcome.TIMEOUT, "late"), -15, Outcome.TIMEOUT, "late"),
        (DONE, None, -9, Outcome.COMPLETED, ""),
        (None, None, -9, Outcome.HOST_OOM, "main memory"),
        (None, None, -11, Outcome.CRASHED, "died of SIGSEGV; its log is trial.log"),
        (None, None, 1, Outcome.CRASHED, "exited with status 1 before it had ended; its log is trial.log"),
        (None, None, 0, Outcome.CRASHED, "exited with status 0 before it had ended; its log is trial.log"),
    ],
)
def test_the_end_of_a_child_has_one_name(
    ended: TrialReport | None, kill: KillReason | None, exit_code: int, outcome: Outcome, message: str
) -> None:
    judged = classify_exit(ended, kill, exit_code, Path("trial.log"))
    assert judged.outcome is outcome
    assert message in judged.message


@pytest.mark.parametrize(
    ("said", "on_gpu", "outcome"),
    [
        ("F bfc_allocator.cc:1 Check failed: h != kInvalidChunkHandle", True, Outcome.OOM),
        ("EigenAllocator for GPU ran out of memory", True, Outcome.OOM),
        ("EigenAllocator for GPU ran out of memory", False, Outcome.CRASHED),
        ("Check failed: rank == 3", True, Outcome.CRASHED),
    ],
)
def test_a_child_that_dies_in_a_library_is_out_of_memory_if_its_log_says_so(
    tmp_path: Path, said: str, on_gpu: bool, outcome: Outcome
) -> None:
    log = tmp_path / "log"
    log.write_text("line of no use\n" * 10_000 + said)
    for sign in (signal.SIGABRT, signal.SIGSEGV):
        judged = classify_exit(None, None, -sign, log, on_gpu=on_gpu)
        assert judged.outcome is outcome
        assert f"died of {sign.name}" in judged.message
        assert str(log) in judged.message


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    before = dict(os.environ)
    yield ForkServer.start()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def backend(server: ForkServer, tone_store: ToneStore, tmp_path: Path) -> Iterator[LocalBackend]:
    with closing(LocalBackend(server, files_in(tmp_path, tone_store[0]))) as backend:
        yield backend


@pytest.fixture
def job(tone_store: ToneStore) -> Job:
    return partial(job_of, *tone_store)


def endless(spec: TrialSpec) -> TrialSpec:
    """The same job for a trial that would train for hours."""
    config = spec.training.config
    return changed(spec, epochs=10**6, config=type(config)({**config, "patience": 10**6}))


def run(
    backend: LocalBackend, spec: TrialSpec, proceed: Callable[[EpochReported], bool] = lambda epoch: True
) -> tuple[list[EpochRecord], TrialEnded]:
    """Run a job to its end, answering every epoch with what `proceed` says."""
    epochs = []

    def answer(event: BackendEvent) -> bool:
        assert isinstance(event, EpochReported)
        epochs.append(event.record)
        return proceed(event)

    end = run_to_end(backend, spec, CPU_SLOT, answer)
    assert list(backend.events()) == []
    return epochs, end


def log_of(backend: LocalBackend, spec: TrialSpec) -> Path:
    return backend.files.log(spec.key)


@pytest.mark.slow
class TestLocalBackend(BackendContract):
    """Starts the server, and trains."""

    @pytest.fixture
    def spec(self, job: Job) -> TrialSpec:
        return job()

    @pytest.fixture
    def backend(self, server: ForkServer, tone_store: ToneStore, tmp_path: Path) -> Iterator[TrialBackend]:
        with closing(LocalBackend(server, files_in(tmp_path, tone_store[0]))) as backend:
            yield backend


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.slow
def test_a_trial_completes(backend: LocalBackend, job: Job) -> None:
    """Starts the server, and trains."""
    spec, pids = job(), []
    epochs, end = run(backend, spec, lambda epoch: pids.append(trial_child()) is None)
    assert end.report.outcome is Outcome.COMPLETED, log_of(backend, spec).read_text()
    assert end.report.epochs == tuple(epochs)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert end.report.predictions is not None
    assert end.report.predictions.tracks == tuple(example.track for example in spec.training.folds[0].valid)
    assert end.reading == Reading()
    assert backend.files.model(spec.key).exists()
    assert all(map(is_gone, pids))


@pytest.mark.slow
def test_equal_jobs_end_equally(backend: LocalBackend, job: Job) -> None:
    """Trains twice: what `--deterministic` promises."""
    predictions = []
    for _ in range(2):
        spec = changed(job(dropout=0.2, mixup=0.2, window="random"), deterministic=True)
        answer = run(backend, spec)[1].report.predictions
        assert answer is not None
        predictions.append(answer.probabilities.tobytes())
    assert predictions[0] == predictions[1]


@pytest.mark.slow
def test_a_trial_that_is_told_to_stop_is_pruned(backend: LocalBackend, job: Job) -> None:
    """Trains two epochs."""
    epochs, end = run(backend, endless(job()), lambda epoch: epoch.record.epoch < 2)
    assert end.report.outcome is Outcome.PRUNED
    assert len(epochs) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "outcome", "message"),
    [
        (signal.SIGKILL, Outcome.HOST_OOM, "main memory"),
        (signal.SIGSEGV, Outcome.CRASHED, "died of SIGSEGV; its log is "),
    ],
)
def test_a_child_that_is_killed_is_noticed(
    backend: LocalBackend, job: Job, sign: signal.Signals, outcome: Outcome, message: str
) -> None:
    """Trains one epoch."""

    def kill(epoch: EpochReported) -> bool:
        os.kill(trial_child(), sign)
        return True

    epochs, end = run(backend, endless(job()), kill)
    assert end.report.outcome is outcome
    assert message in end.report.message
    assert len(epochs) == 1


@pytest.mark.slow
def test_a_child_that_fails_names_the_error_and_its_log(backend: LocalBackend, job: Job) -> None:
    """Starts the server."""
    spec = job(kernel="three")
    _, end = run(backend, spec)
    assert end.report.outcome is Outcome.CRASHED
    assert f"its log is {log_of(backend, spec)}" in end.report.message
    assert "Traceback" in log_of(backend, spec).read_text()


@pytest.mark.slow
def test_a_child_that_its_machine_fails_ends_the_run_without_an_end_of_its_own(
    backend: LocalBackend, job: Job, tmp_path: Path
) -> None:
    """Starts the server."""
    (tmp_path / "models").write_text("in the way")  # of the trained model
    with pytest.raises(WorkspaceError, match=r"^trial 3: .*models/.* cannot be written \(File exists\)"):
        run(backend, job())
    (tmp_path / "models").unlink()
    backend.close()
    assert run(backend, job())[1].report.outcome is Outcome.COMPLETED


@pytest.mark.slow
def test_what_a_child_started_goes_with_it(backend: LocalBackend, job: Job, tmp_path: Path) -> None:
    """Trains."""
    spec = job(pid=str(tmp_path / "pid"))
    spec = changed(spec, config=Breeding(spec.training.config))
    _, end = run(backend, spec)
    assert end.report.outcome is Outcome.COMPLETED, log_of(backend, spec).read_text()
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process(
    backend: LocalBackend, job: Job, server: ForkServer, tmp_path: Path
) -> None:
    """Trains one epoch."""
    spec = job(pid=str(tmp_path / "pid"))
    backend.start(endless(changed(spec, config=Breeding(spec.training.config))), CPU_SLOT)
    pid = trial_child()
    assert isinstance(next(backend.events()), EpochReported)
    backend.close()
    assert is_gone(pid)
    assert is_gone(int((tmp_path / "pid").read_text()))
    assert list(backend.events()) == []
    assert server.call(math.hypot, 3, 4) == 5


@pytest.mark.slow
def test_a_child_that_outstays_its_limit_is_killed(
    backend: LocalBackend, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts the server."""
    monkeypatch.setattr(running_module, "GRACE_SECONDS", 0.1)
    spec = changed(job(), config=Stuck())
    _, end = run(backend, replace(spec, limits=replace(spec.limits, seconds=0.1)))
    assert end.report.outcome is Outcome.TIMEOUT
    assert "killed" in end.report.message


@pytest.mark.slow
def test_a_child_over_the_budget_is_killed(backend: LocalBackend, job: Job) -> None:
    """Starts the server."""

    class Greedy:
        """Sees more than the budget."""

        source = ReadingSource.PROCESS

        def device_used_bytes(self) -> int | None:
            return 2**31

        def process_used_bytes(self, pids: Collection[int]) -> int | None:
            return 2**31

    backend.add_slot(CPU_SLOT, Greedy())
    _, end = run(backend, endless(job()))
    assert end.report.outcome is Outcome.OVER_BUDGET
    assert "held 2.00 GiB of GPU memory, over the budget of 1.00 GiB" in end.report.message
    assert end.reading == Reading(peak_bytes=2**31, source=ReadingSource.PROCESS)


GPU = Device(DeviceKind.GPU, "GPU-0a1b", "Stub GPU", 2**33)


@pytest.mark.slow
def test_no_trial_trains_on_the_cpu_under_a_gpus_name(backend: LocalBackend, job: Job) -> None:
    """Starts the server."""
    spec = job()
    backend.start(spec, DeviceSlot(GPU))
    with pytest.raises(
        DeviceError, match=r"Stub GPU, in trial \d: the framework cannot use the GPU any more, it cannot"
    ):
        list(backend.events())
    with pytest.raises(DeviceError):
        backend.start(spec, DeviceSlot(GPU))
    backend.close()
    assert list(backend.events()) == []
    assert not backend.files.model(spec.key).exists()


@pytest.mark.slow
def test_the_self_test_tells_why_the_framework_is_on_the_cpu(server: ForkServer) -> None:
    """Starts the server."""
    with pytest.raises(UnusableGpuError) as error, self_test_child(server, GPU):
        pytest.fail("it passed")
    assert str(error.value).startswith("Stub GPU (GPU-0a1b): tensorflow computes on the CPU: ")
    assert error.value.advice


@pytest.mark.slow
def test_a_driver_that_never_answers_is_not_waited_for(server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts the server."""
    monkeypatch.setattr(self_test_module, "ANSWER_SECONDS", 0.0)
    with (
        pytest.raises(UnusableGpuError, match="nothing came back within 0 s, so the driver hangs"),
        self_test_child(server, GPU),
    ):
        pytest.fail("it passed")


@pytest.mark.slow
def test_a_trial_that_hangs_in_the_driver_stops_the_run(
    backend: LocalBackend, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts the server."""
    kill_group = fork_server_module.kill_group
    monkeypatch.setattr(fork_server_module, "kill_group", lambda pid: kill_group(pid) and False)
    backend.start(endless(job()), CPU_SLOT)
    assert isinstance(next(backend.events()), EpochReported)
    os.kill(trial_child(), signal.SIGKILL)
    with pytest.raises(DeviceError, match=r"process \d+ outlives SIGKILL, so it hangs in the driver. Restart"):
        list(backend.events())
    backend.close()
    assert list(backend.events()) == []


@pytest.mark.slow
def test_while_one_trials_memory_is_waited_for_others_are_answered(
    backend: LocalBackend, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts the server, and trains two."""
    answered: list[int] = []
    monkeypatch.setattr(running_module, "has_returned", lambda *known: None if answered.count(1) > 1 else False)
    backend.start(changed(job(number=0), epochs=1), CPU_SLOT)
    backend.start(changed(job(number=1), epochs=3), CPU_SLOT)
    ends: list[int] = []
    while len(ends) < 2:
        for event in backend.events():
            if isinstance(event, TrialEnded):
                ends.append(event.key.number)
                continue
            answered.append(event.key.number)
            backend.reply(event.key, True)
    assert ends == [0, 1]
    assert answered.count(1) == 3


@pytest.mark.slow
def test_a_call_answers_or_says_why_not(server: ForkServer) -> None:
    """Starts the server."""
    assert server.call(math.sqrt, 9.0) == 3
    with pytest.raises(HarnessError, match=r"sqrt failed in a child process: ValueError: .*domain error"):
        server.call(math.sqrt, -1.0)
    with pytest.raises(HarnessError, match="_exit failed in a child process: the child process died"):
        server.call(os._exit, 3)


@pytest.mark.slow
def test_the_server_is_fit_to_fork(server: ForkServer) -> None:
    """Starts the server."""
    server.check()


@pytest.mark.slow
def test_children_share_what_the_server_imported(server: ForkServer) -> None:
    """Starts the server. A collector that wrote into its objects would copy them into each child."""
    assert server.call(gc.get_freeze_count) > 100_000


@pytest.mark.slow
def test_a_footprint_is_estimated_for_the_whole_model(backend: LocalBackend) -> None:
    """Starts the server."""
    configs = [FAMILY.baseline, {**FAMILY.baseline, "width": 64}]
    small, wide = backend.estimate_footprints(FAMILY.name, FAMILY.input_spec, configs, 4)
    assert small.parameters < wide.parameters
    assert small.activations < wide.activations
    with pytest.raises(BuildError, match="estimate_footprints failed in a child process: KeyError"):
        backend.estimate_footprints(FAMILY.name, FAMILY.input_spec, [{}], 4)


@pytest.mark.slow
def test_a_child_does_not_outlive_a_parent_that_is_killed(tone_store: ToneStore, tmp_path: Path) -> None:
    """Starts a server of its own, and trains."""
    store, examples = tone_store
    tracks = [f"{example.track}:{example.digest}:{example.label}" for example in examples]
    order = program("misbehaving", store, tmp_path, *tracks)
    with subprocess.Popen(order, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        server = child.parent()
        parent.kill()
    assert server is not None
    _, alive = psutil.wait_procs([child, server], timeout=30)
    assert all(is_gone(process.pid) for process in alive)
