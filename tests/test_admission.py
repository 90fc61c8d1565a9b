"""Which trials share a device, and which devices there are to share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from nvml_stub import Driver, describe

from harness.errors import DeviceError
from harness.units import GIB, MIB
from harness.vram import admission as rules_of
from harness.vram.admission import CPU_LANE, RESERVE_BYTES, SHARED_RESERVE_BYTES, WSL_RESERVE_BYTES, Admission, Lane
from harness.vram.device import Device, DeviceKind, visible_gpus
from harness.vram.probes import AccountingProbe, DeviceDeltaProbe, NoProbe, Probe, ProcessProbe

TOTAL = 8 * GIB
ROOM = TOTAL - RESERVE_BYTES - 2 * SHARED_RESERVE_BYTES
"""What two trials on one card may take together."""

FIRST = Lane(Device(DeviceKind.GPU, "GPU-a", "First", TOTAL), ProcessProbe("GPU-a"))
SECOND = Lane(Device(DeviceKind.GPU, "GPU-b", "Second", TOTAL), AccountingProbe("GPU-b"))


def admission(*lanes: Lane, jobs: int | None = None, used: int | None = 0) -> Admission:
    """Rules for lanes whose devices all have so many bytes in use."""
    return Admission(lanes, jobs, lambda device: used)


def place(
    rules: Admission, number: int, upper_bytes: int, held: Mapping[int, int], *, alone: bool = False
) -> Lane | None:
    """Place a trial that will hardly pass so many bytes, wherever it runs."""
    return rules.place(number, lambda lane: upper_bytes, held, alone=alone)


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
    assert place(rules, 0, 1, {}) is lane
    assert place(rules, 1, 1, {}) is None
    rules.release(0)
    assert place(rules, 1, 1, {}) is lane


def test_a_number_of_jobs_is_taken_at_its_word() -> None:
    rules = admission(CPU_LANE, jobs=3, used=None)
    assert [place(rules, number, 100 * TOTAL, {}) for number in range(4)] == [CPU_LANE] * 3 + [None]
    rules.release(1)
    assert place(rules, 3, 100 * TOTAL, {}) is CPU_LANE


def test_a_number_of_jobs_is_a_most_where_memory_is_short() -> None:
    rules = admission(FIRST, jobs=3)
    assert [place(rules, number, 3 * GIB, {}) for number in range(3)] == [FIRST, FIRST, None]


@pytest.mark.parametrize("jobs", [None, 3])
def test_an_exclusive_gpu_takes_one_trial_at_a_time(jobs: int | None) -> None:
    lane = replace(FIRST, exclusive=True)
    rules = admission(lane, jobs=jobs)
    assert [place(rules, number, MIB, {}) for number in range(2)] == [lane, None]
    assert not rules.shares(lane)


def test_who_may_get_company_must_keep_to_what_it_is_predicted_to_need() -> None:
    unmeasured = Lane(FIRST.device, NoProbe())
    assert [admission(FIRST, jobs=jobs).shares(FIRST) for jobs in (None, 2, 1)] == [True, True, False]
    assert [admission(unmeasured, jobs=jobs).shares(unmeasured) for jobs in (None, 2, 1)] == [False, True, False]
    assert not admission(CPU_LANE, jobs=2).shares(CPU_LANE)


def test_trials_that_each_grow_to_their_bound_fit_together() -> None:
    rules, bounds = admission(FIRST), [2 * GIB, 1 * GIB, 2 * GIB, 3 * GIB, GIB // 2, GIB // 2]
    placed = [bound for number, bound in enumerate(bounds) if place(rules, number, bound, {}) is not None]
    assert len(placed) > 3
    beside = len(placed) * SHARED_RESERVE_BYTES
    assert sum(placed) + beside + RESERVE_BYTES <= TOTAL


def test_a_trial_waits_for_the_gpu_that_it_fits() -> None:
    rules = admission(FIRST, SECOND)
    fits_second = {FIRST: None, SECOND: GIB}
    assert rules.place(0, fits_second.get, {}) is SECOND
    assert rules.place(1, lambda lane: None, {}) is None


def test_what_is_in_use_while_idle_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    desktop = replace(FIRST, idle_bytes=700 * MIB)
    monkeypatch.setattr(rules_of, "is_wsl", lambda: False)
    assert desktop.room_bytes(TOTAL) == desktop.free_bytes == TOTAL - 700 * MIB - RESERVE_BYTES
    assert desktop.room_bytes(2 * GIB) == 2 * GIB
    assert replace(desktop, device=replace(FIRST.device, total_bytes=None)).room_bytes(TOTAL) == TOTAL
    monkeypatch.setattr(rules_of, "is_wsl", lambda: True)
    assert desktop.free_bytes == TOTAL - 700 * MIB - WSL_RESERVE_BYTES
    assert CPU_LANE.room_bytes(TOTAL) == TOTAL


def test_jobs_count_over_all_devices() -> None:
    rules = admission(FIRST, SECOND, jobs=1)
    assert place(rules, 0, 1, {}) is FIRST
    assert place(rules, 1, 1, {}) is None


def test_trials_share_a_gpu_up_to_its_reserve() -> None:
    rules = admission(FIRST)
    assert place(rules, 0, 3 * GIB, {}) is FIRST
    assert place(rules, 1, ROOM - 3 * GIB + 1, {}) is None
    assert place(rules, 1, ROOM - 3 * GIB, {}) is FIRST
    assert place(rules, 2, 1, {}) is None
    rules.release(1)
    place(rules, 1, GIB, {})
    assert place(rules, 2, ROOM - 4 * GIB - SHARED_RESERVE_BYTES + 1, {}) is None
    assert place(rules, 2, ROOM - 4 * GIB - SHARED_RESERVE_BYTES, {}) is FIRST


def test_what_other_people_use_is_not_handed_out() -> None:
    rules = admission(FIRST, used=2 * GIB)
    place(rules, 0, 3 * GIB, {})
    assert place(rules, 1, ROOM - 5 * GIB + 1, {}) is None
    assert place(rules, 1, ROOM - 5 * GIB, {}) is FIRST


def test_what_a_trial_holds_is_not_counted_twice() -> None:
    held = {0: 2 * GIB}
    rules = admission(FIRST, used=2 * GIB)
    place(rules, 0, 3 * GIB, held)
    assert place(rules, 1, ROOM - 3 * GIB + 1, held) is None
    assert place(rules, 1, ROOM - 3 * GIB, held) is FIRST


def test_a_trial_that_gave_memory_back_leaves_no_more_than_its_bound() -> None:
    held = {0: 2 * GIB}
    rules = admission(FIRST, used=1 * GIB)
    place(rules, 0, 3 * GIB, held)
    assert place(rules, 1, ROOM - 3 * GIB + 1, held) is None


def test_a_trial_above_its_bound_counts_with_what_it_holds() -> None:
    held = {0: 5 * GIB}
    rules = admission(FIRST, used=5 * GIB)
    place(rules, 0, 3 * GIB, held)
    assert place(rules, 1, ROOM - 5 * GIB + 1, held) is None
    assert place(rules, 1, ROOM - 5 * GIB, held) is FIRST


def test_what_is_held_on_another_gpu_does_not_matter() -> None:
    held = {0: 4 * GIB, 1: 4 * GIB}
    rules = admission(FIRST, SECOND, used=5 * GIB)
    assert [place(rules, number, 4 * GIB, held) for number in (0, 1)] == [FIRST, SECOND]
    assert place(rules, 2, ROOM - 5 * GIB + 1, held) is None
    assert place(rules, 2, ROOM - 5 * GIB, held) is FIRST


def test_the_emptiest_gpu_comes_first() -> None:
    rules = admission(FIRST, SECOND)
    assert [place(rules, number, MIB, {}) for number in range(4)] == [FIRST, SECOND, FIRST, SECOND]
    rules.release(0)
    rules.release(2)
    assert [place(rules, number, MIB, {}) for number in (4, 5)] == [FIRST, FIRST]


def test_a_full_gpu_is_passed_over_for_one_with_room() -> None:
    rules = admission(FIRST, SECOND)
    place(rules, 0, 7 * GIB, {})
    assert [place(rules, number, GIB, {}) for number in (1, 2, 3)] == [SECOND] * 3


def test_an_empty_gpu_takes_what_fits_nowhere() -> None:
    rules = admission(FIRST, used=TOTAL)
    assert place(rules, 0, 9 * GIB, {}) is FIRST


def test_a_slot_is_free_as_long_as_somebody_might_be_placed() -> None:
    by_jobs, measured, by_turns = admission(FIRST, jobs=2), admission(FIRST), admission(CPU_LANE, used=None)
    for rules, expected in ((by_jobs, [True, True, False]), (measured, [True] * 3), (by_turns, [True, False, False])):
        free = []
        for number in range(3):
            free.append(rules.has_slot)
            place(rules, number, MIB, {})
        assert free == expected


@pytest.mark.parametrize("jobs", [None, 2])
def test_a_trial_that_must_be_alone_waits_for_an_empty_gpu(jobs: int | None) -> None:
    rules = admission(FIRST, jobs=jobs)
    place(rules, 0, MIB, {})
    assert place(rules, 1, MIB, {}, alone=True) is None
    rules.release(0)
    assert place(rules, 1, MIB, {}, alone=True) is FIRST


@pytest.mark.parametrize("jobs", [None, 3])
def test_nobody_joins_a_trial_that_must_be_alone(jobs: int | None) -> None:
    rules = admission(FIRST, SECOND, jobs=jobs)
    assert place(rules, 0, MIB, {}, alone=True) is FIRST
    assert [place(rules, number, MIB, {}) for number in (1, 2)] == [SECOND, SECOND]
    rules.release(0)
    assert place(rules, 3, MIB, {}) is FIRST


def test_company_is_who_shares_the_gpu_now() -> None:
    rules = admission(FIRST, SECOND)
    for number in range(4):
        place(rules, number, MIB, {})
    assert [rules.company(number) for number in range(4)] == [{2}, {3}, {0}, {1}]
    rules.release(2)
    assert rules.company(0) == frozenset()


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
