"""GPU memory without a GPU: the real NVML binding on a stand-in driver that reports what processes really hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import pytest

from harness.errors import DeviceError, UsageError
from harness.processes import kill_group
from harness.records.trial import Reading, ReadingSource
from harness.testing.nvml_stub.driver import Driver, Holder, build, describe, holding
from harness.units import MIB
from harness.vram.device import Device, DeviceKind, memory_returned, memory_used, resolve_device
from harness.vram.meter import Meter
from harness.vram.nvml import compute_capability, cuda_version, is_exclusive, persistence_is_on, process_memory
from harness.vram.probes import (
    DEVICE_SECONDS,
    AccountingProbe,
    DeviceDeltaProbe,
    NoProbe,
    Probe,
    ProcessProbe,
    has_returned,
)
from harness.vram.self_test import SelfTest, choose_probe
from harness.vram.slots import DeviceSlot

UUID = "GPU-0a1b2c3d-0000"
CARD = f"card {UUID} 8589934592 Stub GPU"
BASE = 300 * MIB
HELD = 48
NOT_MEASURED = "GPU memory is not measured: only the predicted footprint keeps trials within the budget."


@pytest.fixture
def other_driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A driver built with the flag that the test names; None: a library that cannot be loaded."""
    folder = tmp_path_factory.mktemp("driver") / "other"
    if request.param is None:
        folder.mkdir()
        (folder / "libnvidia-ml.so.1").touch()
    else:
        build(folder, request.param)
    driver = Driver.start(folder)
    yield driver
    driver.close()


# What follows up to the first test runs inside the process that sees the stand-in driver.


@dataclass(frozen=True)
class Choice:
    device: Device
    probe: Probe
    said: str
    overhead_bytes: int
    idle_bytes: int


def choose(card: list[str], listing: str, environ: dict[str, str], later: tuple[str, ...] = ()) -> Choice:
    """Choose a probe as `harness` does at start-up, on a card that shows the self-test child in this way.

    `later` is what else the card shows from the self-test on.
    """
    describe(*card)
    device = resolve_device("auto", environ)

    @contextmanager
    def start() -> Iterator[SelfTest]:
        with holding(HELD) as child:
            describe(*card, f"process {child.pid} {listing}", *later)
            yield SelfTest(child.pid, HELD * MIB)

    found = choose_probe(device, start, patience_seconds=0)
    return Choice(device, found.probe, "\n".join(found.sentences), found.overhead_bytes, found.idle_bytes)


def resolve(card: list[str], choice: str, environ: dict[str, str]) -> Device:
    describe(*card)
    return resolve_device(choice, environ)


def choose_on_lost_card() -> None:
    describe(CARD, "fails all 15")
    choose_probe(Device(DeviceKind.GPU, UUID, "Stub GPU"), lambda: pytest.fail("no child may start"))


@dataclass(frozen=True)
class Watched:
    reading: Reading
    held: list[int]
    alarms: list[int | None]
    message: str


@dataclass
class Scripted:
    """A probe whose questions for the device's use are the clock of a story: `story[n]` comes right before the n-th."""

    probe: Probe
    story: dict[int, object]
    asked: int = 0

    @property
    def source(self) -> ReadingSource:
        return self.probe.source

    def device_used_bytes(self) -> int | None:
        self.asked += 1
        step = self.story.get(self.asked)
        if callable(step):
            step()
        return self.probe.device_used_bytes()

    def process_used_bytes(self, pids: Collection[int]) -> int | None:
        return self.probe.process_used_bytes(pids)


def figure(holder: Holder, how: str = "") -> str:
    return f"process {holder.pid} file:{holder.figure} {how}"


def short_excursion() -> Watched:
    """A trial within its budget of 40 MiB takes 30 MiB more for as long as one interval."""
    alarms: list[int | None] = []
    over, settled = threading.Event(), threading.Event()
    with holding(20) as trial:
        describe(CARD, figure(trial))
        story = {3: lambda: trial.hold(30), 4: trial.drop, 6: settled.set}

        def alarm(reading: Reading) -> None:
            alarms.append(reading.peak_bytes)
            over.set()

        meter = Meter(Scripted(ProcessProbe(UUID), story), trial.pid, 40 * MIB, on_over_budget=alarm)
        meter.start()
        over.wait(20)
        settled.wait(20)
        meter.stop()
    return Watched(meter.reading, [held for _, held in meter.series], alarms, meter.message)


def watch_epochs(source: str, happening: str) -> Watched:
    """Sample a trial of 10 MiB after two epochs; between them it grows to 30 MiB and something happens."""
    alarms: list[int | None] = []
    probe: Probe = DeviceDeltaProbe(UUID, 0, lists_pids=True) if source == "device_delta" else ProcessProbe(UUID)
    with holding(10, in_grandchild=happening == "grandchild") as trial, holding(64) as other:
        describe(CARD, figure(trial))
        meter = Meter(probe, trial.root, 40 * MIB, on_over_budget=lambda reading: alarms.append(reading.peak_bytes))
        meter.sample_now()
        trial.hold(20)
        match happening:
            case "other process":
                describe(CARD, figure(trial), figure(other))
            case "lost":
                describe(CARD, "fails all 15", figure(trial))
            case "silent":
                describe(CARD, "fails processes 999", figure(trial))
        meter.sample_now()
        describe(CARD, figure(trial))
        meter.stop()
    return Watched(meter.reading, [held for _, held in meter.series], alarms, meter.message)


def unseen_excursion() -> Watched:
    """A trial takes 30 MiB more and gives them back between two looks, and ends before the last one."""
    alarms: list[int | None] = []
    probe = AccountingProbe(UUID)
    with holding(10) as trial:
        describe(CARD, "accounting", f"process {trial.pid} rss")
        meter = Meter(probe, trial.pid, 40 * MIB, on_over_budget=lambda reading: alarms.append(reading.peak_bytes))
        meter.sample_now()
        trial.hold(60)
        trial.drop()
        memory_used(Device(DeviceKind.GPU, UUID))
    meter.sample_now()
    reading = meter.stop()
    return Watched(reading, [held for _, held in meter.series], alarms, meter.message)


def read_through(source: str) -> list[int | None]:
    """What a probe reads of nobody, of a child with 10 MiB, with 30 MiB, and ended; then the card's use."""
    probes: dict[str, Probe] = {
        "accounting": AccountingProbe(UUID),
        "process": ProcessProbe(UUID),
        "device_delta": DeviceDeltaProbe(UUID, BASE, lists_pids=True),
        "none": NoProbe(),
    }
    probe = probes[source]
    card = [CARD, f"base {BASE}", "accounting"]
    describe(*card)
    read = [probe.process_used_bytes([])]
    with holding(10) as child:
        describe(*card, figure(child))
        read.append(probe.process_used_bytes([child.pid]))
        child.hold(20)
        read.append(probe.process_used_bytes([child.pid]))
    read.append(probe.process_used_bytes([child.pid]))
    return [*read, probe.device_used_bytes()]


def give_back() -> list[bool]:
    """Whether memory is back: while a child holds it, after it ended, and when the GPU is lost."""
    device = Device(DeviceKind.GPU, UUID)
    card = [CARD, f"base {BASE}"]
    with holding(HELD) as child:
        describe(*card, figure(child))
        answers = [memory_returned(device, BASE, timeout=0)]
    return [*answers, memory_returned(device, BASE, timeout=0)]


def give_back_beside_a_desktop() -> list[bool]:
    """Whether a trial's memory is back by its own processes, and by device use, though a desktop took 200 MiB more.

    First while the trial holds it, then after its end.
    """
    device, probe = Device(DeviceKind.GPU, UUID), ProcessProbe(UUID)
    answers = []
    with holding(HELD) as child:
        describe(CARD, f"base {BASE + 200 * MIB}", figure(child))
        pids = {child.pid}
        answers.append(has_returned(probe, device, pids, BASE, HELD * MIB))
    answers.append(has_returned(probe, device, pids, BASE, HELD * MIB))
    delta = DeviceDeltaProbe(UUID, BASE, lists_pids=True)
    answers.append(has_returned(delta, device, pids, BASE, HELD * MIB))
    return [*answers, has_returned(delta, device, pids, BASE, 3000 * MIB)]


def list_two_processes() -> tuple[dict[int, int | None], dict[int, int | None]]:
    with holding(10) as one, holding(20) as two:
        describe("driver 535.54.03", "long_entries", CARD, figure(one), figure(two))
        return process_memory(UUID), {one.pid: 10 * MIB, two.pid: 20 * MIB}


def test_plain_card_is_measured_by_process(driver: Driver) -> None:
    choice = driver.run(choose, [CARD, f"base {BASE}"], "rss", {})
    assert choice.probe == ProcessProbe(UUID)
    assert (
        f"accounting: not used, it is off; an administrator can turn it on with `nvidia-smi -i {UUID} -am 1`, and "
        f"keep it on with `nvidia-smi -i {UUID} -pm 1`."
    ) in choice.said
    assert "for the self-test child, whose framework had taken 48 MiB: the other" in choice.said
    assert "Measuring costs" in choice.said
    assert choice.device == Device(DeviceKind.GPU, UUID, "Stub GPU", 8 * 2**30, "550.54.14")
    assert choice.idle_bytes == BASE
    assert 0 < choice.overhead_bytes < 48 * MIB


def test_accounting_is_preferred_when_it_is_on(driver: Driver) -> None:
    choice = driver.run(choose, [CARD, "accounting"], "rss", {})
    assert choice.probe == AccountingProbe(UUID)
    assert choice.said.startswith("accounting: used; it showed")


def test_wsl_lists_processes_without_their_memory(driver: Driver) -> None:
    choice = driver.run(choose, [CARD, f"base {BASE}"], "rss unmeasured", {})
    assert choice.probe == DeviceDeltaProbe(UUID, BASE, lists_pids=True)
    assert "process: not used, the driver lists the process without its memory, as under WSL" in choice.said
    assert "run one trial at a time" in choice.said


@pytest.mark.parametrize("listing", ["rss unlisted", "rss as 40001"])
def test_container_hides_its_pids(driver: Driver, listing: str) -> None:
    choice = driver.run(choose, [CARD, f"base {BASE}"], listing, {})
    assert choice.probe == DeviceDeltaProbe(UUID, BASE, lists_pids=False)
    assert "process: not used, it shows 0 B where the self-test child" in choice.said
    assert "update the driver to 570 or later, or start the container with `--pid=host`" in choice.said
    assert "another process may stay unnoticed" in choice.said


def test_busy_card_is_not_measured_as_a_whole(driver: Driver) -> None:
    busy = [CARD, f"process {os.getpid()} 1000000"]
    choice = driver.run(choose, busy, "rss unmeasured", {})
    assert choice.probe == NoProbe()
    assert f"device_delta: not used, other processes use the GPU (pids {os.getpid()}); end them." in choice.said
    assert choice.said.endswith(NOT_MEASURED)


def test_another_process_during_the_self_test_is_noticed_by_what_stays(driver: Driver) -> None:
    choice = driver.run(choose, [CARD], "rss unlisted", {}, (f"base {BASE}",))
    assert choice.probe == NoProbe()
    assert "device_delta: not used, device use did not come back after the self-test" in choice.said
    assert "device_delta: used" not in choice.said
    assert choice.said.endswith(NOT_MEASURED)


def test_mig_parent_without_permission(driver: Driver) -> None:
    card = [CARD, "partitioned", "fails instances 4", "fails memory 4", "fails processes 4"]
    choice = driver.run(choose, card, "rss", {"CUDA_VISIBLE_DEVICES": UUID})
    assert choice.probe == NoProbe()
    assert choice.device.total_bytes is None
    assert "process: not used, the driver keeps this for administrators. On a GPU split by MIG, name one" in choice.said
    assert choice.said.endswith(NOT_MEASURED)
    assert "CUDA_VISIBLE_DEVICES=MIG-..." in "\n".join(choice.device.notes)


@pytest.mark.parametrize("visible", ["0", UUID, "MIG-77", None], ids=["index", "parent", "uuid", "unset"])
def test_mig_instance_is_a_device_of_its_own(driver: Driver, visible: str | None) -> None:
    card = [CARD, "partitioned", "fails processes 4", f"instance MIG-7777 {UUID} 5368709120 Stub MIG 1g.5gb"]
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    choice = driver.run(choose, card, "rss", environ)
    assert choice.probe == ProcessProbe("MIG-7777")
    assert choice.device.environment() == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "MIG-7777"}
    assert choice.device.total_bytes == 5 * 2**30


def test_a_card_that_shares_the_machines_memory_is_measured_by_process(driver: Driver) -> None:
    choice = driver.run(choose, [CARD, "fails memory 3"], "rss", {})
    assert choice.probe == ProcessProbe(UUID)
    assert choice.device.total_bytes is None
    slot = DeviceSlot(choice.device, choice.probe.source, choice.overhead_bytes, choice.idle_bytes)
    assert slot.free_bytes is None
    assert slot.room_bytes(8 * 2**30) == 8 * 2**30


@pytest.mark.parametrize("other_driver", ["OLD_DRIVER"], indirect=True)
def test_old_driver_lacks_the_process_list(other_driver: Driver) -> None:
    choice = other_driver.run(choose, [CARD, f"base {BASE}"], "rss", {})
    assert choice.probe == DeviceDeltaProbe(UUID, BASE, lists_pids=False)
    assert "process: not used, the driver is too old to be asked this, update it." in choice.said


def test_driver_535_answers_with_longer_entries(driver: Driver) -> None:
    listed, held = driver.run(list_two_processes)
    assert listed == held


def test_lost_card_is_reported_before_any_trial(driver: Driver) -> None:
    with pytest.raises(DeviceError, match=r"Stub GPU .*: the GPU is lost.* or pass --device cpu"):
        driver.run(choose_on_lost_card)


@pytest.mark.parametrize("other_driver", [None], indirect=True)
def test_without_a_driver_trials_run_on_the_cpu_unmeasured(other_driver: Driver) -> None:
    choice = other_driver.run(choose, [], "rss", {})
    assert choice.device.kind is DeviceKind.CPU
    assert choice.device.environment()["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "no NVIDIA driver was found" in "\n".join(choice.device.notes)
    assert choice.probe == NoProbe()
    assert choice.said == "GPU memory is not measured, since trials run on the CPU."
    with pytest.raises(DeviceError, match=r"--device gpu:0: no NVIDIA driver was found .* or pass --device cpu"):
        other_driver.run(resolve, [], "gpu:0", {})


@pytest.mark.parametrize("other_driver", ["INIT=18"], indirect=True)
def test_updated_driver_asks_for_a_restart(other_driver: Driver) -> None:
    with pytest.raises(DeviceError, match="restart the machine"):
        other_driver.run(resolve, [CARD], "gpu:0", {})


@pytest.mark.parametrize(
    ("choice", "visible", "expected"),
    [
        ("auto", None, "GPU-aa00"),
        ("gpu:1", None, "GPU-ab11"),
        ("gpu:0", "1", "GPU-ab11"),
        ("gpu:1", "1,0", "GPU-aa00"),
        ("auto", "GPU-ab11", "GPU-ab11"),
        ("gpu:1", "GPU-AB,GPU-aa00", "GPU-aa00"),
        ("auto", "", None),
        ("auto", "-1", None),
        ("auto", "NoDevFiles", None),
        ("auto", "GPU-a", None),
        ("cpu", "0", None),
    ],
)
def test_two_cards(driver: Driver, choice: str, visible: str | None, expected: str | None) -> None:
    cards = ["card GPU-aa00 8589934592 First", "card GPU-ab11 4294967296 Second"]
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    device = driver.run(resolve, cards, choice, environ)
    assert device.uuid == expected
    assert device.environment()["CUDA_VISIBLE_DEVICES"] == (expected or "-1")


def test_card_that_is_not_visible_is_named_with_what_is(driver: Driver) -> None:
    with pytest.raises(DeviceError) as error:
        driver.run(resolve, [CARD, "card GPU-bbbb 1 Second"], "gpu:1", {"CUDA_VISIBLE_DEVICES": "1,7,0"})
    assert str(error.value) == (
        "--device gpu:1: not there, CUDA_VISIBLE_DEVICES=1,7,0 shows gpu:0 is Second. "
        "Name one that is shown, or pass --device cpu."
    )


@pytest.mark.parametrize("choice", ["gpu", "gpu:-1", "cuda:0", "GPU-aa00"])
def test_device_in_no_known_form(choice: str) -> None:
    with pytest.raises(UsageError, match="Write auto, cpu, or gpu:N"):
        resolve_device(choice, {})


@pytest.mark.parametrize("source", ["accounting", "process", "device_delta", "none"])
def test_every_probe_keeps_the_contract(driver: Driver, source: str) -> None:
    nobody, held, grown, ended, use = driver.run(read_through, source)
    if source == "none":
        assert [nobody, held, grown, ended, use] == [None] * 5
        return
    assert nobody == 0
    assert held == 10 * MIB
    assert grown == 30 * MIB
    assert ended == (grown if source == "accounting" else 0)
    assert use == BASE


def test_excursion_that_lasts_one_interval_is_over_budget(driver: Driver) -> None:
    watched = driver.run(short_excursion)
    assert DEVICE_SECONDS < 0.3
    assert watched.alarms == [50 * MIB]
    assert watched.reading == Reading(peak_bytes=50 * MIB, source=ReadingSource.PROCESS)
    assert watched.held[:2] == [20 * MIB, 50 * MIB]
    assert watched.message == ""


def test_accounting_knows_a_peak_that_nobody_sampled(driver: Driver) -> None:
    watched = driver.run(unseen_excursion)
    assert watched.reading.source is ReadingSource.ACCOUNTING
    assert watched.held[0] < 40 * MIB
    assert watched.reading.peak_bytes >= 70 * MIB
    assert watched.alarms == [watched.reading.peak_bytes]


@pytest.mark.parametrize("happening", ["nothing", "other process", "grandchild"])
def test_process_readings_are_the_trials_own(driver: Driver, happening: str) -> None:
    watched = driver.run(watch_epochs, "process", happening)
    assert watched.reading == Reading(peak_bytes=30 * MIB, source=ReadingSource.PROCESS)
    assert watched.held == [10 * MIB, 30 * MIB, 30 * MIB]
    assert watched.alarms == []
    assert watched.message == ""


def test_another_process_makes_a_device_reading_void(driver: Driver) -> None:
    assert driver.run(watch_epochs, "device_delta", "nothing").reading.peak_bytes == 30 * MIB
    watched = driver.run(watch_epochs, "device_delta", "other process")
    assert watched.reading == Reading()
    assert watched.alarms == []
    assert "another process took memory on the GPU (pid" in watched.message
    assert "so this trial counts as not measured" in watched.message


def test_gpu_lost_mid_trial_keeps_the_peak_so_far(driver: Driver) -> None:
    watched = driver.run(watch_epochs, "process", "lost")
    assert watched.reading == Reading(peak_bytes=10 * MIB, source=ReadingSource.PROCESS)
    assert watched.held == [10 * MIB]
    assert "the GPU is lost: it fell off the bus" in watched.message


def test_looks_that_fail_are_counted(driver: Driver) -> None:
    watched = driver.run(watch_epochs, "process", "silent")
    assert watched.held == [10 * MIB, 30 * MIB]
    assert watched.message == "1 samples of GPU memory failed: the driver answered: Unknown Error."


def test_memory_must_be_seen_returned(driver: Driver) -> None:
    assert driver.run(give_back) == [False, True]
    assert memory_returned(Device(DeviceKind.CPU), 0, timeout=0)


def test_a_desktop_may_take_memory_while_a_trials_is_waited_for(driver: Driver) -> None:
    assert driver.run(give_back_beside_a_desktop) == [False, True, False, True]


def list_in_container() -> tuple[dict[int, int | None], int]:
    with holding(10) as one:
        describe(CARD, f"{figure(one)} twice")
        return process_memory(UUID), one.pid


def test_a_process_that_a_container_lists_twice_counts_once(driver: Driver) -> None:
    listed, pid = driver.run(list_in_container)
    assert listed == {pid: 10 * MIB}


def ask_the_card(*card: str) -> tuple[bool, bool, tuple[int, int], tuple[int, int]]:
    describe(*card)
    return is_exclusive(UUID), persistence_is_on(UUID), compute_capability(UUID), cuda_version()


def test_what_kind_of_card_and_driver_it_is(driver: Driver) -> None:
    card = ["cuda 12040", CARD, "exclusive", "persistent", "capability 8 9"]
    assert driver.run(ask_the_card, *card) == (True, True, (8, 9), (12, 4))


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"])
child.wait()
"""


@pytest.mark.parametrize("grace", [0.0, 0.2])
def test_group_that_ignores_sigterm_is_killed_with_its_children(grace: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as trial:
        assert trial.stdout is not None
        assert trial.stdout.readline() == "ready\n"
        family = [psutil.Process(trial.pid), *psutil.Process(trial.pid).children()]
        assert kill_group(trial.pid, grace_seconds=grace)
        assert len(family) == 2
        assert not [process for process in family if process.is_running() and process.status() != "zombie"]
        assert trial.wait() == -signal.SIGKILL
    assert kill_group(trial.pid), "a group that is gone is no error"


def test_own_group_is_never_killed() -> None:
    with pytest.raises(ValueError, match="not one to kill"):
        kill_group(os.getpgrp())
