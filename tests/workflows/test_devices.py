"""The devices that a run trains on: proven, told apart by their size, and never the CPU under a GPU's name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DeviceError, UnusableGpuError
from harness.events import Note
from harness.records.trial import ReadingSource
from harness.settings import ComputeSettings
from harness.testing.nvml_stub.driver import STATE, Driver, build, describe, holding
from harness.testing.records import RECORD
from harness.tracking.ledger import Ledger
from harness.trials.local.backend import LocalBackend
from harness.units import GIB, MIB
from harness.vram.device import Device, DeviceKind
from harness.vram.self_test import SelfTest
from harness.vram.slots import DeviceSlot
from harness.workflows import devices
from harness.workflows.devices import slots_for
from harness.workflows.open_study import record_device
from harness.workspace import Workspace
from tests.helpers.command import command

BIG = ("card GPU-b1 25769803776 Big", f"base {300 * MIB}")
SMALL = ("card GPU-a1 2147483648 Small", f"base {300 * MIB}")
EQUAL = ("card GPU-c1 25769803776 Equal",)
HELD = 40


@dataclass(frozen=True)
class Chosen:
    slots: tuple[DeviceSlot, ...]
    notes: list[str]
    warnings: list[str]


def choose(cards: tuple[str, ...], useless: tuple[str, ...] = (), **settings: Any) -> Chosen:
    """Choose the slots of a run, in the process that sees the cards; its self-test holds real memory.

    On the GPUs of `useless` the framework computes on the CPU.
    """

    @contextmanager
    def self_test_child(server: Any, device: Device) -> Iterator[SelfTest]:
        if device.uuid in useless:
            raise UnusableGpuError(device.name, "tensorflow computes on the CPU: it cannot load X", "Install X")
        with holding(HELD) as child:
            at = next(place for place, line in enumerate(cards) if line.startswith(f"card {device.uuid}"))
            describe(*cards[: at + 1], f"process {child.pid} rss", *cards[at + 1 :])
            yield SelfTest(child.pid, HELD * MIB)
        describe(*cards)

    describe(*cards)
    said: list[Note] = []
    server: Any = None
    files: Any = None
    backend = LocalBackend(server, files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "self_test_child", self_test_child)
        compute = ComputeSettings(**settings)
        slots = slots_for(compute, 8 * GIB, backend, lambda event: said.append(event))  # type: ignore[arg-type]
    assert slots == backend.slots()
    warnings = [note.text for note in said if note.warning]
    return Chosen(slots, [note.text for note in said if not note.warning], warnings)


def test_a_gpu_is_proven_with_what_was_in_use_while_it_was_idle(driver: Driver) -> None:
    (slot,) = driver.run(choose, BIG).slots
    assert slot.device.uuid == "GPU-b1"
    assert slot.source is ReadingSource.PROCESS
    assert slot.idle_bytes == 300 * MIB
    assert slot.overhead_bytes > 0
    assert not slot.exclusive


def test_an_old_card_neither_joins_nor_limits_the_others(driver: Driver) -> None:
    cards = (*SMALL, *BIG, *EQUAL)
    found = [
        [slot.device.uuid for slot in driver.run(partial(choose, cards, **settings)).slots]
        for settings in ({"jobs": "auto"}, {"jobs": 1}, {"jobs": "auto", "device": "gpu:0"})
    ]
    assert found == [["GPU-b1", "GPU-c1"], ["GPU-b1"], ["GPU-a1"]]


def test_an_exclusive_gpu_is_known(driver: Driver) -> None:
    (slot,) = driver.run(choose, (*BIG, "exclusive")).slots
    assert slot.exclusive


def test_a_card_that_is_smaller_than_the_budget_says_what_is_there(driver: Driver) -> None:
    chosen = driver.run(choose, SMALL)
    assert chosen.warnings == ["Small: 8.00 GiB asked for, 1.58 GiB there for a trial; that is its limit."]


def test_where_no_gpu_is_of_use_the_cpu_is_taken_loudly(driver: Driver) -> None:
    chosen = driver.run(choose, BIG, ("GPU-b1",))
    (slot,) = chosen.slots
    assert slot.device == Device(DeviceKind.CPU)
    assert chosen.warnings == [
        "Big: tensorflow computes on the CPU: it cannot load X. Install X.",
        "TRIALS RUN ON THE CPU. Pass --device gpu:0 to stop here instead.",
    ]


def test_a_gpu_that_was_asked_for_and_is_of_no_use_is_an_error(driver: Driver) -> None:
    with pytest.raises(DeviceError, match=r"Big: tensorflow computes on the CPU: it cannot load X. Install X."):
        driver.run(partial(choose, BIG, ("GPU-b1",), device="gpu:0"))


def test_of_two_gpus_the_one_of_use_is_taken(driver: Driver) -> None:
    chosen = driver.run(partial(choose, (*BIG, *EQUAL), ("GPU-b1",), jobs="auto"))
    assert [slot.device.uuid for slot in chosen.slots] == ["GPU-c1"]
    assert chosen.warnings == ["Big: tensorflow computes on the CPU: it cannot load X. Install X."]


@pytest.fixture
def blind(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine whose driver shows a GPU, and whose framework finds none."""
    build(tmp_path / "driver")
    state = tmp_path / "driver" / "state"
    state.write_text("driver 550.54.14\ncard GPU-b1 25769803776 Big\n")
    return {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "driver"), STATE: str(state)}


@pytest.mark.slow
def test_no_record_names_a_gpu_that_did_not_compute(blind: dict[str, str], tones: Path, tmp_path: Path) -> None:
    """Trains a trial, and starts two servers."""
    options = ("--quick", "--epochs", 1, "--trials", 1, "--data", tones, "--protocol", "random")
    order = command("run", "cnn2d-mfcc", *options, "--workspace", tmp_path / "work")
    asked = subprocess.run([*order, "--device", "gpu:0"], env=blind, capture_output=True, text=True)
    assert asked.returncode == 2
    assert "Big (GPU-b1): tensorflow computes on the CPU: it cannot load libcuda.so.1" in asked.stderr
    assert "Traceback" not in asked.stderr
    assert not list(tmp_path.glob("work/results/*/trial-*"))

    done = subprocess.run(order, env=blind, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "TRIALS RUN ON THE CPU" in done.stdout
    (study,) = tmp_path.glob("work/results/*/study.json")
    assert json.loads(study.read_text())["provenance"]["device"] == "CPU"
    (trial,) = tmp_path.glob("work/results/*/trial-00000.json")
    assert json.loads(trial.read_text())["memory"]["cap_bytes"] is None
    assert "Big" not in (tmp_path / "work" / "report" / "RESULTS.md").read_text()


def test_a_study_that_goes_on_elsewhere_says_so(tmp_path: Path) -> None:
    ledger, gpu, cpu = Ledger(Workspace(tmp_path)), Device(DeviceKind.GPU, "GPU-b1", "Big"), Device(DeviceKind.CPU)
    ran_on_gpu = RECORD.model_copy(update={"provenance": RECORD.provenance.model_copy(update={"device": "Big"})})
    record = ledger.open_study(ran_on_gpu)
    assert record_device(record, gpu, "auto", ledger) == record
    with pytest.raises(DeviceError, match=r"ran on Big, and now there is CPU. .* pass --device cpu to go on"):
        record_device(record, cpu, "auto", ledger)
    record = record_device(record, cpu, "cpu", ledger)
    assert record.provenance.device == ledger.study(record.name).provenance.device == "Big, then CPU"
    assert record_device(record, cpu, "cpu", ledger) == record
    with pytest.raises(DeviceError, match="pass --device gpu:0 to go on"):
        record_device(record, gpu, "auto", ledger)
