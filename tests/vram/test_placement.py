"""Which trials share a device, and which devices there are to share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import DeviceError
from harness.records.trial import ReadingSource
from harness.testing.nvml_stub.driver import Driver, describe
from harness.units import GIB, MIB
from harness.vram import slots as slots_module
from harness.vram.device import Device, DeviceKind, visible_gpus
from harness.vram.placement import SHARED_RESERVE_BYTES, Placed, Placement
from harness.vram.slots import CPU_SLOT, RESERVE_BYTES, WSL_RESERVE_BYTES, DeviceSlot

TOTAL = 8 * GIB
ROOM = TOTAL - RESERVE_BYTES - 2 * SHARED_RESERVE_BYTES
"""What two trials on one card may take together."""

FIRST = DeviceSlot(Device(DeviceKind.GPU, "GPU-a", "First", TOTAL), ReadingSource.PROCESS)
SECOND = DeviceSlot(Device(DeviceKind.GPU, "GPU-b", "Second", TOTAL), ReadingSource.ACCOUNTING)


class Rules:
    """A placement with the trials that run by it, by number."""

    def __init__(self, *slots: DeviceSlot, jobs: int | None = None, used: int | None = 0) -> None:
        """Let all devices have so many bytes in use."""
        self.placement = Placement(slots, jobs, lambda slot: used)
        self.placed: dict[int, Placed] = {}

    def place(
        self,
        number: int,
        upper: int | Callable[[DeviceSlot], int | None],
        held: Mapping[int, int] | None = None,
        *,
        exclusive: bool = False,
    ) -> DeviceSlot | None:
        """Place a trial that will hardly pass so many bytes, by what the others are known to hold."""
        running = [replace(trial, in_use_bytes=(held or {}).get(key)) for key, trial in self.placed.items()]
        wanted = upper if callable(upper) else lambda slot: upper
        placed = self.placement.choose(running, wanted, exclusive=exclusive)
        if placed is None:
            return None
        self.placed[number] = placed
        return placed.slot

    def release(self, number: int) -> None:
        del self.placed[number]


@pytest.mark.parametrize(
    ("source", "total", "used"),
    [
        (ReadingSource.NONE, TOTAL, 0),
        (ReadingSource.DEVICE_DELTA, TOTAL, 0),
        (ReadingSource.PROCESS, None, 0),
        (ReadingSource.PROCESS, TOTAL, None),
    ],
    ids=["no probe", "whole device", "unknown size", "unknown use"],
)
def test_without_measured_memory_trials_take_turns(source: ReadingSource, total: int | None, used: int | None) -> None:
    slot = DeviceSlot(replace(FIRST.device, total_bytes=total), source)
    rules = Rules(slot, used=used)
    assert rules.place(0, 1) is slot
    assert rules.place(1, 1) is None
    rules.release(0)
    assert rules.place(1, 1) is slot


def test_a_number_of_jobs_is_taken_at_its_word() -> None:
    rules = Rules(CPU_SLOT, jobs=3, used=None)
    assert [rules.place(number, 100 * TOTAL) for number in range(4)] == [CPU_SLOT] * 3 + [None]
    rules.release(1)
    assert rules.place(3, 100 * TOTAL) is CPU_SLOT


def test_a_number_of_jobs_is_a_most_where_memory_is_short() -> None:
    rules = Rules(FIRST, jobs=3)
    assert [rules.place(number, 3 * GIB) for number in range(3)] == [FIRST, FIRST, None]


@pytest.mark.parametrize("jobs", [None, 3])
def test_an_exclusive_gpu_takes_one_trial_at_a_time(jobs: int | None) -> None:
    slot = replace(FIRST, exclusive=True)
    rules = Rules(slot, jobs=jobs)
    assert [rules.place(number, MIB) for number in range(2)] == [slot, None]
    assert not rules.placement.shares(slot)


def test_who_others_may_join_must_keep_to_what_it_is_predicted_to_need() -> None:
    unmeasured = DeviceSlot(FIRST.device)
    assert [Rules(FIRST, jobs=jobs).placement.shares(FIRST) for jobs in (None, 2, 1)] == [True, True, False]
    assert [Rules(unmeasured, jobs=jobs).placement.shares(unmeasured) for jobs in (None, 2, 1)] == [False, True, False]
    assert not Rules(CPU_SLOT, jobs=2).placement.shares(CPU_SLOT)


def test_trials_that_each_grow_to_their_bound_fit_together() -> None:
    rules, bounds = Rules(FIRST), [2 * GIB, 1 * GIB, 2 * GIB, 3 * GIB, GIB // 2, GIB // 2]
    placed = [bound for number, bound in enumerate(bounds) if rules.place(number, bound) is not None]
    assert len(placed) > 3
    beside = len(placed) * SHARED_RESERVE_BYTES
    assert sum(placed) + beside + RESERVE_BYTES <= TOTAL


def test_a_trial_waits_for_the_gpu_that_it_fits() -> None:
    rules = Rules(FIRST, SECOND)
    fits_second = {FIRST: None, SECOND: GIB}
    assert rules.place(0, fits_second.get) is SECOND
    assert rules.place(1, lambda slot: None) is None


def test_what_is_in_use_while_idle_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    desktop = replace(FIRST, idle_bytes=700 * MIB)
    monkeypatch.setattr(slots_module, "is_wsl", lambda: False)
    assert desktop.room_bytes(TOTAL) == desktop.free_bytes == TOTAL - 700 * MIB - RESERVE_BYTES
    assert desktop.room_bytes(2 * GIB) == 2 * GIB
    assert replace(desktop, device=replace(FIRST.device, total_bytes=None)).room_bytes(TOTAL) == TOTAL
    monkeypatch.setattr(slots_module, "is_wsl", lambda: True)
    assert desktop.free_bytes == TOTAL - 700 * MIB - WSL_RESERVE_BYTES
    assert CPU_SLOT.room_bytes(TOTAL) == TOTAL


def test_jobs_count_over_all_devices() -> None:
    rules = Rules(FIRST, SECOND, jobs=1)
    assert rules.place(0, 1) is FIRST
    assert rules.place(1, 1) is None


def test_trials_share_a_gpu_up_to_its_reserve() -> None:
    rules = Rules(FIRST)
    assert rules.place(0, 3 * GIB) is FIRST
    assert rules.place(1, ROOM - 3 * GIB + 1) is None
    assert rules.place(1, ROOM - 3 * GIB) is FIRST
    assert rules.place(2, 1) is None
    rules.release(1)
    rules.place(1, GIB)
    assert rules.place(2, ROOM - 4 * GIB - SHARED_RESERVE_BYTES + 1) is None
    assert rules.place(2, ROOM - 4 * GIB - SHARED_RESERVE_BYTES) is FIRST


def test_what_other_people_use_is_not_handed_out() -> None:
    rules = Rules(FIRST, used=2 * GIB)
    rules.place(0, 3 * GIB)
    assert rules.place(1, ROOM - 5 * GIB + 1) is None
    assert rules.place(1, ROOM - 5 * GIB) is FIRST


def test_what_a_trial_holds_is_not_counted_twice() -> None:
    held = {0: 2 * GIB}
    rules = Rules(FIRST, used=2 * GIB)
    rules.place(0, 3 * GIB, held)
    assert rules.place(1, ROOM - 3 * GIB + 1, held) is None
    assert rules.place(1, ROOM - 3 * GIB, held) is FIRST


def test_a_trial_that_gave_memory_back_leaves_no_more_than_its_bound() -> None:
    held = {0: 2 * GIB}
    rules = Rules(FIRST, used=1 * GIB)
    rules.place(0, 3 * GIB, held)
    assert rules.place(1, ROOM - 3 * GIB + 1, held) is None


def test_a_trial_above_its_bound_counts_with_what_it_holds() -> None:
    held = {0: 5 * GIB}
    rules = Rules(FIRST, used=5 * GIB)
    rules.place(0, 3 * GIB, held)
    assert rules.place(1, ROOM - 5 * GIB + 1, held) is None
    assert rules.place(1, ROOM - 5 * GIB, held) is FIRST


def test_what_is_held_on_another_gpu_does_not_matter() -> None:
    held = {0: 4 * GIB, 1: 4 * GIB}
    rules = Rules(FIRST, SECOND, used=5 * GIB)
    assert [rules.place(number, 4 * GIB, held) for number in (0, 1)] == [FIRST, SECOND]
    assert rules.place(2, ROOM - 5 * GIB + 1, held) is None
    assert rules.place(2, ROOM - 5 * GIB, held) is FIRST


def test_the_emptiest_gpu_comes_first() -> None:
    rules = Rules(FIRST, SECOND)
    assert [rules.place(number, MIB) for number in range(4)] == [FIRST, SECOND, FIRST, SECOND]
    rules.release(0)
    rules.release(2)
    assert [rules.place(number, MIB) for number in (4, 5)] == [FIRST, FIRST]


def test_a_full_gpu_is_passed_over_for_one_with_room() -> None:
    rules = Rules(FIRST, SECOND)
    rules.place(0, 7 * GIB)
    assert [rules.place(number, GIB) for number in (1, 2, 3)] == [SECOND] * 3


def test_an_empty_gpu_takes_what_fits_nowhere() -> None:
    rules = Rules(FIRST, used=TOTAL)
    assert rules.place(0, 9 * GIB) is FIRST


def test_a_slot_is_free_as_long_as_somebody_might_be_placed() -> None:
    by_jobs, measured, by_turns = Rules(FIRST, jobs=2), Rules(FIRST), Rules(CPU_SLOT, used=None)
    for rules, expected in ((by_jobs, [True, True, False]), (measured, [True] * 3), (by_turns, [True, False, False])):
        free = []
        for number in range(3):
            free.append(rules.placement.may_place(list(rules.placed.values())))
            rules.place(number, MIB)
        assert free == expected


@pytest.mark.parametrize("jobs", [None, 2])
def test_a_trial_that_must_run_by_itself_waits_for_an_empty_gpu(jobs: int | None) -> None:
    rules = Rules(FIRST, jobs=jobs)
    rules.place(0, MIB)
    assert rules.place(1, MIB, exclusive=True) is None
    rules.release(0)
    assert rules.place(1, MIB, exclusive=True) is FIRST


@pytest.mark.parametrize("jobs", [None, 3])
def test_nobody_joins_a_trial_that_must_run_by_itself(jobs: int | None) -> None:
    rules = Rules(FIRST, SECOND, jobs=jobs)
    assert rules.place(0, MIB, exclusive=True) is FIRST
    assert [rules.place(number, MIB) for number in (1, 2)] == [SECOND, SECOND]
    rules.release(0)
    assert rules.place(3, MIB) is FIRST


CARDS = (
    "card GPU-aa00 8589934592 First",
    "card GPU-ab11 4294967296 Second",
    "partitioned",
    "instance MIG-7777 GPU-ab11 2147483648 Half",
    "instance MIG-8888 GPU-ab11 1073741824 Quarter",
)


def list_gpus(cards: tuple[str, ...], visible: str | None) -> tuple[Device, ...]:
    describe(*cards)
    return visible_gpus({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aa00", "MIG-7777", "MIG-8888"]),
        ("1,0", ["MIG-7777", "MIG-8888", "GPU-aa00"]),
        ("MIG-8888,GPU-aa", ["MIG-8888", "GPU-aa00"]),
        ("0,5,1", ["GPU-aa00"]),
        ("", []),
        ("-1", []),
    ],
)
def test_every_visible_gpu_and_instance_is_listed(driver: Driver, visible: str | None, expected: list[str]) -> None:
    found = driver.run(list_gpus, CARDS, visible)
    assert [device.uuid for device in found] == expected
    assert {device.kind for device in found} <= {DeviceKind.GPU}


@pytest.mark.parametrize("visible", ["0,0", "0,GPU-aa00"])
def test_a_gpu_is_listed_once(driver: Driver, visible: str) -> None:
    assert [device.uuid for device in driver.run(list_gpus, CARDS, visible)] == ["GPU-aa00"]


def test_listed_gpus_know_their_size_and_driver(driver: Driver) -> None:
    first, half, _ = driver.run(list_gpus, CARDS, None)
    assert first == Device(DeviceKind.GPU, "GPU-aa00", "First", 8 * GIB, "550.54.14")
    assert (half.name, half.total_bytes) == ("Half", 2 * GIB)
    assert half.environment()["CUDA_VISIBLE_DEVICES"] == "MIG-7777"


def test_without_a_driver_no_gpu_can_be_listed(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()
    with (
        closing(Driver.start(tmp_path)) as driver,
        pytest.raises(DeviceError, match="cannot be listed: no NVIDIA driver"),
    ):
        driver.run(list_gpus, CARDS, None)
