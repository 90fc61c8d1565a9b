"""The predicted peak, and the step that fits the room on a device."""

from __future__ import annotations

from itertools import product

import pytest

from harness.units import GIB, MIB
from harness.vram.correction import Correction
from harness.vram.fit import Fit, fit, micro_batches
from harness.vram.footprint import Footprint
from harness.vram.room import Room, room

PLAIN = Footprint(weights=0, trainable=0, activations=60 * MIB, workspace=40 * MIB, parameters=1)
"""A model of 100 MiB a crop and no weights."""

DOUBLE = Correction(factor=2.0, margin=1.5)


def test_the_peak_holds_weights_gradients_moments_and_every_crop() -> None:
    model = Footprint(weights=1_000_000, trainable=10_000, activations=100, workspace=7, parameters=1)
    gradients_and_two_moments = 3 * 10_000
    assert model.peak(1, 1) == 1_000_000 + gradients_and_two_moments + 107
    assert model.peak(32, 1) - model.peak(1, 1) == 31 * 107


def test_accumulation_costs_one_more_copy_of_the_gradients_however_often() -> None:
    model = Footprint(weights=1_000_000, trainable=10_000, activations=100, workspace=7, parameters=1)
    assert model.peak(8, 2) - model.peak(8, 1) == 10_000
    assert model.peak(8, 16) == model.peak(8, 2)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(3200, (32, 1)), (3199, (16, 2)), (1600, (16, 2)), (1599, (8, 4)), (800, (8, 4))],
)
def test_the_largest_micro_batch_that_fits_is_taken(budget: int, expected: tuple[int, int]) -> None:
    found = fit(PLAIN, 32, Room(budget * MIB), 8)
    assert (found.micro_batch, found.accumulation) == expected
    assert found.fits
    assert found.footprint_bytes == found.upper_bytes == found.micro_batch * 100 * MIB


def test_what_does_not_fit_at_the_floor_is_no_fit() -> None:
    assert fit(PLAIN, 32, Room(800 * MIB - 1), 8) == Fit(8, 4, 800 * MIB, 800 * MIB, 0, 800 * MIB - 1, False)


@pytest.mark.parametrize(
    ("batch", "floor", "smallest"), [(32, 8, 8), (32, 9, 16), (4, 8, 4), (24, 8, 12), (20, 4, 5), (7, 1, 7), (8, 1, 1)]
)
def test_micro_batches_are_halves_without_remainder_down_to_the_floor(batch: int, floor: int, smallest: int) -> None:
    found = fit(PLAIN, batch, Room(1), floor)
    assert found.micro_batch == smallest
    assert found.micro_batch * found.accumulation == batch


def test_gradients_that_are_kept_for_accumulation_count() -> None:
    model = Footprint(weights=0, trainable=10 * MIB, activations=MIB, workspace=0, parameters=1)
    assert fit(model, 32, Room(62 * MIB), 8).accumulation == 1
    assert fit(model, 32, Room(61 * MIB), 8) == Fit(16, 2, 56 * MIB, 56 * MIB, 0, 61 * MIB, True)


def test_the_upper_bound_chooses_the_micro_batch() -> None:
    # 32 crops: 6400 MiB likely, 9600 MiB at most; 16 crops: half of both.
    found = fit(PLAIN, 32, Room(8000 * MIB), 8, correction=DOUBLE)
    assert found == Fit(16, 2, 3200 * MIB, 4800 * MIB, 0, 8000 * MIB, True)


@pytest.mark.parametrize(("budget", "fits"), [(1301, True), (1300, False)])
def test_at_the_floor_the_lower_bound_decides(budget: int, fits: bool) -> None:
    # 1600 MiB likely, 1301 MiB in one of five: what may fit is tried, for a trial that is refused teaches nothing.
    found = fit(PLAIN, 32, Room(budget * MIB), 8, correction=DOUBLE)
    assert found == Fit(8, 4, 1600 * MIB, 2400 * MIB, 0, budget * MIB, fits)


def test_a_step_that_likely_fits_is_not_refused_for_the_cost_of_accumulation() -> None:
    # Whole batch: 324 MiB likely; halved: one more copy of the gradients, so 412 MiB.
    model = Footprint(weights=0, trainable=100 * MIB, activations=MIB, workspace=0, parameters=1)
    found = fit(model, 24, Room(400 * MIB), 8, correction=Correction(margin=1.4))
    assert (found.micro_batch, found.footprint_bytes, found.fits) == (24, 324 * MIB, True)


def test_what_lies_beside_is_added_once_and_never_scaled() -> None:
    found = fit(PLAIN, 32, Room(32 * GIB, 500 * MIB), 8, correction=DOUBLE)
    assert (found.footprint_bytes, found.upper_bytes, found.beside_bytes) == (6900 * MIB, 10100 * MIB, 500 * MIB)
    assert fit(PLAIN, 32, Room(3200 * MIB, 1), 8).micro_batch == 16
    assert fit(PLAIN, 32, Room(3200 * MIB + 1, 1), 8).micro_batch == 32
    assert not fit(PLAIN, 8, Room(800 * MIB, 1), 8).fits


def test_the_slack_bounds_the_micro_batch_and_refuses_nothing() -> None:
    found = fit(PLAIN, 32, Room(3200 * MIB, 0, slack_bytes=1), 8)
    assert (found.micro_batch, found.cap_bytes) == (16, 3200 * MIB - 1)
    at_the_floor = fit(PLAIN, 8, Room(800 * MIB, 0, slack_bytes=100 * MIB), 8)
    assert at_the_floor.fits
    assert at_the_floor.cap_bytes == 800 * MIB


def test_an_allocator_that_fills_its_cap_leaves_room_for_all_that_lies_beside_it() -> None:
    taught = [[], [300], [300, 900], [300, 900, 400], [300] * 40]
    rooms = [room(8 * GIB, 500 * MIB, [size * MIB for size in sizes]) for sizes in taught]
    for found in rooms:
        assert found.cap_bytes + found.beside_bytes + found.slack_bytes == found.total_bytes == 8 * GIB
        assert found.cap_bytes >= 0.83 * 8 * GIB
    assert [found.beside_bytes // MIB for found in rooms] == [500, 500, 900, 900, 500]
    assert rooms[0].slack_bytes == rooms[2].slack_bytes > 2 * rooms[3].slack_bytes > 0
    assert room(100, 200, []).cap_bytes == 1


@pytest.mark.parametrize(("ceiling", "expected"), [(32, 32), (31, 16), (16, 16), (8, 8)])
def test_a_ceiling_holds_even_where_more_fits(ceiling: int, expected: int) -> None:
    assert fit(PLAIN, 32, Room(32 * GIB), 8, max_micro_batch=ceiling).micro_batch == expected


def test_a_ceiling_does_not_make_a_step_fit() -> None:
    assert fit(PLAIN, 32, Room(1600 * MIB), 8, max_micro_batch=16).micro_batch == 16
    assert fit(PLAIN, 32, Room(1599 * MIB), 8, max_micro_batch=16).micro_batch == 8


@pytest.mark.parametrize(
    ("batch", "floor", "expected"),
    [(32, 8, [32, 16, 8]), (8, 8, [8]), (8, 5, [8]), (24, 8, [24, 12]), (7, 1, [7]), (4, 8, [4])],
)
def test_halving_ends_at_the_floor_and_before_a_remainder(batch: int, floor: int, expected: list[int]) -> None:
    assert list(micro_batches(batch, floor)) == expected


def test_a_step_that_is_chosen_never_passes_the_budget_above_the_floor() -> None:
    corrections = (None, Correction(), DOUBLE, Correction(0.5, 40.0 * MIB, 1.1))
    for batch, floor, mib, correction in product((8, 16, 64), (1, 4, 8), range(50, 9000, 350), corrections):
        found = fit(PLAIN, batch, Room(mib * MIB, 100 * MIB, 20 * MIB), floor, correction=correction)
        peak = PLAIN.peak(found.micro_batch, found.accumulation)
        assert found.fits == (100 * MIB + (correction.lower(peak) if correction else peak) <= mib * MIB)
        if found.micro_batch > floor:
            assert found.upper_bytes <= (mib - 20) * MIB
        if found.micro_batch < batch:
            twice = PLAIN.peak(2 * found.micro_batch, found.accumulation // 2)
            assert 120 * MIB + (correction.upper(twice) if correction else twice) > mib * MIB
