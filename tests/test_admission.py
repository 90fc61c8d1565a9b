"""Which trials share a device, and which devices there are to share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from nvml_stub import Driver, build, describe

from harness.errors import DeviceError
from harness.units import GIB, MIB
from harness.vram.admission import CPU_LANE, RESERVE_BYTES, Admission, Lane
from harness.vram.device import Device, DeviceKind, visible_gpus
from harness.vram.probes import AccountingProbe, DeviceDeltaProbe, NoProbe, Probe, ProcessProbe

TOTAL = 8 * GIB
ROOM = TOTAL - RESERVE_BYTES
FIRST = Lane(Device(DeviceKind.GPU, "GPU-a", "First", TOTAL), ProcessProbe("GPU-a"))
SECOND = Lane(Device(DeviceKind.GPU, "GPU-b", "Second", TOTAL), AccountingProbe("GPU-b"))


def admission(*lanes: Lane, jobs: int | None = None, used: int | None = 0) -> Admission:
    """Rules for lanes whose devices all have so many bytes in use."""
    return Admission(lanes, jobs, lambda device: used)


@pytest.mark.parametrize(
    ("probe", "total", "used"),
    [
        (NoProbe(), TOTAL, 0),
        (DeviceDeltaProbe("GPU-a", 0, lists_pids=True), TOTAL, 0),
        (ProcessProbe("GPU-a"), None, 0),
        (ProcessProbe("GPU-a"), TOTAL, None),
    ],
    ids=["no probe", "whole device", "unknown size", "unknown use"],
)
def test_without_measured_memory_trials_take_turns(probe: Probe, total: int | None, used: int | None) -> None:
    lane = Lane(replace(FIRST.device, total_bytes=total), probe)
    rules = admission(lane, used=used)
    assert rules.place(0, 1, {}) is lane
    assert rules.place(1, 1, {}) is None
    rules.release(0)
    assert rules.place(1, 1, {}) is lane


def test_a_number_of_jobs_is_taken_at_its_word() -> None:
    rules = admission(CPU_LANE, jobs=3, used=None)
    assert [rules.place(number, 100 * TOTAL, {}) for number in range(4)] == [CPU_LANE] * 3 + [None]
    rules.release(1)
    assert rules.place(3, 100 * TOTAL, {}) is CPU_LANE


def test_jobs_count_over_all_devices() -> None:
    rules = admission(FIRST, SECOND, jobs=1)
    assert rules.place(0, 1, {}) is FIRST
    assert rules.place(1, 1, {}) is None


def test_trials_share_a_gpu_up_to_its_reserve() -> None:
    rules = admission(FIRST)
    assert rules.place(0, 3 * GIB, {}) is FIRST
    assert rules.place(1, ROOM - 3 * GIB + 1, {}) is None
    assert rules.place(1, ROOM - 3 * GIB, {}) is FIRST
    assert rules.place(2, 1, {}) is None


def test_what_other_people_use_is_not_handed_out() -> None:
    rules = admission(FIRST, used=2 * GIB)
    rules.place(0, 3 * GIB, {})
    assert rules.place(1, ROOM - 5 * GIB + 1, {}) is None
    assert rules.place(1, ROOM - 5 * GIB, {}) is FIRST


def test_what_a_trial_holds_is_not_counted_twice() -> None:
    held = {0: 2 * GIB}
    rules = admission(FIRST, used=2 * GIB)
    rules.place(0, 3 * GIB, held)
    assert rules.place(1, ROOM - 3 * GIB + 1, held) is None
    assert rules.place(1, ROOM - 3 * GIB, held) is FIRST


def test_a_trial_that_gave_memory_back_leaves_no_more_than_its_bound() -> None:
    held = {0: 2 * GIB}
    rules = admission(FIRST, used=1 * GIB)
    rules.place(0, 3 * GIB, held)
    assert rules.place(1, ROOM - 3 * GIB + 1, held) is None


def test_a_trial_above_its_bound_counts_with_what_it_holds() -> None:
    held = {0: 5 * GIB}
    rules = admission(FIRST, used=5 * GIB)
    rules.place(0, 3 * GIB, held)
    assert rules.place(1, ROOM - 5 * GIB + 1, held) is None
    assert rules.place(1, ROOM - 5 * GIB, held) is FIRST


def test_what_is_held_on_another_gpu_does_not_matter() -> None:
    held = {0: 4 * GIB, 1: 4 * GIB}
    rules = admission(FIRST, SECOND, used=5 * GIB)
    assert [rules.place(number, 4 * GIB, held) for number in (0, 1)] == [FIRST, SECOND]
    assert rules.place(2, ROOM - 5 * GIB + 1, held) is None
    assert rules.place(2, ROOM - 5 * GIB, held) is FIRST


def test_the_emptiest_gpu_comes_first() -> None:
    rules = admission(FIRST, SECOND)
    assert [rules.place(number, MIB, {}) for number in range(4)] == [FIRST, SECOND, FIRST, SECOND]
    rules.release(0)
    rules.release(2)
    assert [rules.place(number, MIB, {}) for number in (4, 5)] == [FIRST, FIRST]


def test_a_full_gpu_is_passed_over_for_one_with_room() -> None:
    rules = admission(FIRST, SECOND)
    rules.place(0, 7 * GIB, {})
    assert [rules.place(number, GIB, {}) for number in (1, 2, 3)] == [SECOND] * 3


def test_an_empty_gpu_takes_what_fits_nowhere() -> None:
    rules = admission(FIRST, used=TOTAL)
    assert rules.place(0, 9 * GIB, {}) is FIRST


def test_a_slot_is_free_as_long_as_somebody_might_be_placed() -> None:
    by_jobs, measured, by_turns = admission(FIRST, jobs=2), admission(FIRST), admission(CPU_LANE, used=None)
    for rules, expected in ((by_jobs, [True, True, False]), (measured, [True] * 3), (by_turns, [True, False, False])):
        free = []
        for number in range(3):
            free.append(rules.has_slot)
            rules.place(number, MIB, {})
        assert free == expected


@pytest.mark.parametrize("jobs", [None, 2])
def test_a_trial_that_must_be_alone_waits_for_an_empty_gpu(jobs: int | None) -> None:
    rules = admission(FIRST, jobs=jobs)
    rules.place(0, MIB, {})
    assert rules.place(1, MIB, {}, alone=True) is None
    rules.release(0)
    assert rules.place(1, MIB, {}, alone=True) is FIRST


@pytest.mark.parametrize("jobs", [None, 3])
def test_nobody_joins_a_trial_that_must_be_alone(jobs: int | None) -> None:
    rules = admission(FIRST, SECOND, jobs=jobs)
    assert rules.place(0, MIB, {}, alone=True) is FIRST
    assert [rules.place(number, MIB, {}) for number in (1, 2)] == [SECOND, SECOND]
    rules.release(0)
    assert rules.place(3, MIB, {}) is FIRST


def test_company_is_who_shares_the_gpu_now() -> None:
    rules = admission(FIRST, SECOND)
    for number in range(4):
        rules.place(number, MIB, {})
    assert [rules.company(number) for number in range(4)] == [{2}, {3}, {0}, {1}]
    rules.release(2)
    assert rules.company(0) == frozenset()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    folder = tmp_path_factory.mktemp("driver") / "current"
    build(folder)
    driver = Driver(folder)
    yield driver
    driver.close()


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
    with closing(Driver(tmp_path)) as driver, pytest.raises(DeviceError, match="cannot be listed: no NVIDIA driver"):
        driver.run(list_gpus, CARDS, None)
