"""Trials in children: whatever becomes of a child is noticed, named, and cleared away."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from model_helpers import FAMILY, ToneStore, order_for
from pool_children import Breeding, Stuck, trial_child

import harness.trials.pool as pool_module
from harness.errors import DeviceError, HarnessError, UnusableGpuError
from harness.records import EpochRecord, Outcome, Reading, Source
from harness.trials.outcome import Kill, judge
from harness.trials.pool import End, Epoch, Pool
from harness.trials.spec import Ended, TrialSpec
from harness.vram.admission import Lane
from harness.vram.device import Device, DeviceKind
from harness.vram.probes import NoProbe

DONE = Ended(Outcome.COMPLETED, valid_accuracy=0.5)
Order = Callable[..., TrialSpec]


@pytest.mark.parametrize(
    ("ended", "kill", "exit_code", "outcome", "message"),
    [
        (DONE, None, 0, Outcome.COMPLETED, ""),
        (DONE, Kill(Outcome.OVER_BUDGET, "held 9 GiB"), -9, Outcome.OVER_BUDGET, "held 9 GiB"),
        (None, Kill(Outcome.TIMEOUT, "late"), -15, Outcome.TIMEOUT, "late"),
        (DONE, None, -9, Outcome.COMPLETED, ""),
        (None, None, -9, Outcome.HOST_OOM, "main memory"),
        (None, None, -11, Outcome.CRASHED, "died of SIGSEGV; its log is trial.log"),
        (None, None, 1, Outcome.CRASHED, "exited with status 1 before it had ended; its log is trial.log"),
        (None, None, 0, Outcome.CRASHED, "exited with status 0 before it had ended; its log is trial.log"),
    ],
)
def test_the_end_of_a_child_has_one_name(
    ended: Ended | None, kill: Kill | None, exit_code: int, outcome: Outcome, message: str
) -> None:
    judged = judge(ended, kill, exit_code, Path("trial.log"))
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
        judged = judge(None, None, -sign, log, on_gpu=on_gpu)
        assert judged.outcome is outcome
        assert f"died of {sign.name}" in judged.message
        assert str(log) in judged.message


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    before = dict(os.environ)
    with closing(Pool()) as pool:
        yield pool
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def order(tone_store: ToneStore, tmp_path: Path) -> Order:
    return partial(order_for, *tone_store, tmp_path)


def endless(spec: TrialSpec) -> TrialSpec:
    """The same order for a trial that would train for hours."""
    return replace(spec, epochs=10**6, config=type(spec.config)({**spec.config, "patience": 10**6}))


def run(pool: Pool, each: Callable[[Epoch], bool] = lambda epoch: True) -> tuple[list[EpochRecord], End]:
    """Answer every epoch with what `each` says until the trial ends."""
    epochs = []
    while True:
        for event in pool.events():
            if isinstance(event, End):
                assert list(pool.events()) == []
                return epochs, event
            epochs.append(event.record)
            pool.reply(event.number, each(event))


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.slow
def test_a_trial_completes(pool: Pool, order: Order) -> None:
    """Starts the server, and trains."""
    spec = order()
    pool.start(spec)
    pid = trial_child()
    epochs, end = run(pool)
    assert end.ended.outcome is Outcome.COMPLETED, spec.log.read_text()
    assert end.ended.epochs == tuple(epochs)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert end.ended.predictions is not None
    assert end.ended.predictions.tracks == tuple(example.track for example in spec.folds[0].valid)
    assert end.reading == Reading()
    assert spec.model.exists()
    assert is_gone(pid)


@pytest.mark.slow
def test_equal_orders_end_equally(pool: Pool, order: Order) -> None:
    """Trains twice: what `--deterministic` promises."""
    predictions = []
    for _ in range(2):
        pool.start(replace(order(dropout=0.2, mixup=0.2, window="random"), deterministic=True))
        answer = run(pool)[1].ended.predictions
        assert answer is not None
        predictions.append(answer.probabilities.tobytes())
    assert predictions[0] == predictions[1]


@pytest.mark.slow
def test_a_trial_that_is_told_to_stop_is_pruned(pool: Pool, order: Order) -> None:
    """Trains two epochs."""
    pool.start(endless(order()))
    epochs, end = run(pool, lambda epoch: epoch.record.epoch < 2)
    assert end.ended.outcome is Outcome.PRUNED
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
    pool: Pool, order: Order, sign: signal.Signals, outcome: Outcome, message: str
) -> None:
    """Trains one epoch."""

    def kill(epoch: Epoch) -> bool:
        os.kill(trial_child(), sign)
        return True

    pool.start(endless(order()))
    epochs, end = run(pool, kill)
    assert end.ended.outcome is outcome
    assert message in end.ended.message
    assert len(epochs) == 1


@pytest.mark.slow
def test_a_child_that_fails_names_the_error_and_its_log(pool: Pool, order: Order) -> None:
    """Starts the server."""
    spec = order(kernel="three")
    pool.start(spec)
    _, end = run(pool)
    assert end.ended.outcome is Outcome.CRASHED
    assert f"its log is {spec.log}" in end.ended.message
    assert "Traceback" in spec.log.read_text()


@pytest.mark.slow
def test_what_a_child_started_goes_with_it(pool: Pool, order: Order, tmp_path: Path) -> None:
    """Trains."""
    spec = order(pid=str(tmp_path / "pid"))
    pool.start(replace(spec, config=Breeding(spec.config)))
    _, end = run(pool)
    assert end.ended.outcome is Outcome.COMPLETED, spec.log.read_text()
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_process(pool: Pool, order: Order, tmp_path: Path) -> None:
    """Trains one epoch."""
    spec = order(pid=str(tmp_path / "pid"))
    pool.start(endless(replace(spec, config=Breeding(spec.config))))
    pid = trial_child()
    assert isinstance(next(pool.events()), Epoch)
    pool.close()
    assert is_gone(pid)
    assert is_gone(int((tmp_path / "pid").read_text()))
    assert list(pool.events()) == []
    assert pool.call(math.hypot, 3, 4) == 5


@pytest.mark.slow
def test_a_child_that_outstays_its_limit_is_killed(pool: Pool, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts the server."""
    monkeypatch.setattr(pool_module, "GRACE_SECONDS", 0.1)
    pool.start(replace(order(), config=Stuck(), time_limit_seconds=0.1))
    _, end = run(pool)
    assert end.ended.outcome is Outcome.TIMEOUT
    assert "killed" in end.ended.message


@pytest.mark.slow
def test_a_child_over_the_budget_is_killed(pool: Pool, order: Order) -> None:
    """Starts the server."""

    class Greedy:
        """Sees more than the budget."""

        source = Source.PROCESS

        def glance(self) -> int | None:
            return 2**31

        def read(self, pids: Collection[int]) -> int | None:
            return 2**31

    pool.start(endless(order()), Lane(Device(DeviceKind.CPU), Greedy()))
    _, end = run(pool)
    assert end.ended.outcome is Outcome.OVER_BUDGET
    assert "held 2.00 GiB of GPU memory, over the budget of 1.00 GiB" in end.ended.message
    assert end.reading == Reading(peak_bytes=2**31, source=Source.PROCESS)


GPU = Device(DeviceKind.GPU, "GPU-0a1b", "Stub GPU", 2**33)


@pytest.mark.slow
def test_no_trial_trains_on_the_cpu_under_a_gpus_name(pool: Pool, order: Order) -> None:
    """Starts the server."""
    spec = replace(order(), environment=GPU.environment())
    pool.start(spec, Lane(GPU, NoProbe()))
    with pytest.raises(
        DeviceError, match=r"Stub GPU, in trial \d: the framework cannot use the GPU any more, it cannot"
    ):
        list(pool.events())
    with pytest.raises(DeviceError):
        pool.start(spec, Lane(GPU, NoProbe()))
    pool.close()
    assert list(pool.events()) == []
    assert not spec.model.exists()


@pytest.mark.slow
def test_the_self_test_tells_why_the_framework_is_on_the_cpu(pool: Pool) -> None:
    """Starts the server."""
    with pytest.raises(UnusableGpuError) as error, pool.self_test(GPU):
        pytest.fail("it passed")
    assert str(error.value).startswith("Stub GPU (GPU-0a1b): tensorflow computes on the CPU: ")
    assert error.value.advice


@pytest.mark.slow
def test_a_driver_that_never_answers_is_not_waited_for(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts the server."""
    monkeypatch.setattr(pool_module, "ANSWER_SECONDS", 0.0)
    with (
        pytest.raises(UnusableGpuError, match="nothing came back within 0 s, so the driver hangs"),
        pool.self_test(GPU),
    ):
        pytest.fail("it passed")


@pytest.mark.slow
def test_a_trial_that_hangs_in_the_driver_stops_the_run(
    pool: Pool, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts the server."""
    kill_group = pool_module.kill_group
    monkeypatch.setattr(pool_module, "kill_group", lambda pid: kill_group(pid) and False)
    pool.start(endless(order()))
    assert isinstance(next(pool.events()), Epoch)
    os.kill(trial_child(), signal.SIGKILL)
    with pytest.raises(DeviceError, match=r"process \d+ outlives SIGKILL, so it hangs in the driver. Restart"):
        run(pool)
    pool.close()
    assert list(pool.events()) == []


@pytest.mark.slow
def test_while_one_trials_memory_is_waited_for_others_are_answered(
    pool: Pool, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts the server, and trains two."""
    answered: list[int] = []
    monkeypatch.setattr(pool_module, "has_returned", lambda *known: None if answered.count(1) > 1 else False)
    pool.start(replace(order(), number=0, epochs=1))
    pool.start(replace(order(), number=1, epochs=3))
    ends: list[int] = []
    while len(ends) < 2:
        for event in pool.events():
            if isinstance(event, End):
                ends.append(event.spec.number)
                continue
            answered.append(event.number)
            pool.reply(event.number, True)
    assert ends == [0, 1]
    assert answered.count(1) == 3


@pytest.mark.slow
def test_a_call_answers_or_says_why_not(pool: Pool) -> None:
    """Starts the server."""
    assert pool.call(math.sqrt, 9.0) == 3
    with pytest.raises(HarnessError, match=r"sqrt failed in a child process: ValueError: .*domain error"):
        pool.call(math.sqrt, -1.0)
    with pytest.raises(HarnessError, match="_exit failed in a child process: the child process died"):
        pool.call(os._exit, 3)


@pytest.mark.slow
def test_the_server_is_fit_to_fork(pool: Pool) -> None:
    """Starts the server."""
    pool.check()


@pytest.mark.slow
def test_a_footprint_is_reckoned_for_the_whole_model(pool: Pool) -> None:
    """Starts the server."""
    small = pool.reckon(FAMILY.name, FAMILY.view, FAMILY.baseline, 4)
    wide = pool.reckon(FAMILY.name, FAMILY.view, {**FAMILY.baseline, "width": 64}, 4)
    assert small.parameters < wide.parameters
    assert small.activations < wide.activations
    with pytest.raises(HarnessError, match="reckon failed in a child process: KeyError"):
        pool.reckon(FAMILY.name, FAMILY.view, {}, 4)


@pytest.mark.slow
def test_a_child_does_not_outlive_a_parent_that_is_killed(tone_store: ToneStore, tmp_path: Path) -> None:
    """Starts a server of its own, and trains."""
    store, examples = tone_store
    tracks = [f"{example.track}:{example.digest}:{example.label}" for example in examples]
    script = Path(__file__).parent / "pool_children.py"
    with subprocess.Popen([sys.executable, script, store, tmp_path, *tracks], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        server = child.parent()
        parent.kill()
    assert server is not None
    _, alive = psutil.wait_procs([child, server], timeout=30)
    assert all(is_gone(process.pid) for process in alive)
