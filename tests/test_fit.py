"""The predicted peak, what measured peaks teach about it, and the step that fits the budget."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from harness.units import GIB, MIB
from harness.vram.fit import Fit, fit
from harness.vram.footprint import Correction, Footprint

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


def test_with_nothing_measured_the_footprint_stands_with_a_margin() -> None:
    prior = Correction.learn([])
    assert prior == Correction()
    assert prior.estimate(GIB) == GIB
    assert prior.upper(GIB) == pytest.approx(GIB * 1.25**1.645)


def test_one_surprise_moves_the_factor_by_a_third_of_its_logarithm() -> None:
    # One pair against the two of the prior.
    learnt = Correction.learn([(100 * MIB, 800 * MIB)])
    assert learnt.factor == pytest.approx(2.0)
    assert learnt.margin > Correction().margin


def test_pairs_that_agree_take_over_and_narrow_the_margin() -> None:
    learnt = [Correction.learn([(100 * MIB, 150 * MIB)] * count) for count in (1, 4, 16, 256)]
    factors, margins = [one.factor for one in learnt], [one.margin for one in learnt]
    assert factors == sorted(factors)
    assert factors[-1] == pytest.approx(1.5, rel=0.01)
    assert margins == sorted(margins, reverse=True)
    assert 1 < margins[-1] < 1.05


def test_large_and_small_trials_teach_the_same() -> None:
    assert Correction.learn([(MIB, 2 * MIB)]) == Correction.learn([(GIB, 2 * GIB)])


def test_too_high_and_too_low_by_as_much_cancel_out() -> None:
    learnt = Correction.learn([(MIB, 2 * MIB), (2 * MIB, MIB)])
    assert learnt.factor == pytest.approx(1.0)
    assert learnt.margin > Correction().margin


def test_the_order_of_the_pairs_does_not_matter() -> None:
    pairs = [(100, 130), (200, 180), (300, 520)]
    one, other = Correction.learn(pairs), Correction.learn(pairs[::-1])
    assert (one.factor, one.margin) == pytest.approx((other.factor, other.margin))


def test_one_trial_in_twenty_passes_its_upper_bound() -> None:
    ratios = np.exp(np.random.default_rng(0).normal(0.5, 0.3, 4000))
    learnt = Correction.learn([(GIB, round(GIB * ratio)) for ratio in ratios[:400]])
    assert learnt.factor == pytest.approx(math.exp(0.5), rel=0.05)
    assert float(np.mean(GIB * ratios > learnt.upper(GIB))) == pytest.approx(0.05, abs=0.015)
    assert float(np.mean(GIB * ratios > learnt.estimate(GIB))) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(3200, (32, 1)), (3199, (16, 2)), (1600, (16, 2)), (1599, (8, 4)), (800, (8, 4))],
)
def test_the_largest_micro_batch_that_fits_is_taken(budget: int, expected: tuple[int, int]) -> None:
    found = fit(PLAIN, 32, budget * MIB, 8)
    assert (found.micro_batch, found.accumulation) == expected
    assert found.fits
    assert found.footprint_bytes == found.upper_bytes == found.micro_batch * 100 * MIB


def test_what_does_not_fit_at_the_floor_is_no_fit() -> None:
    assert fit(PLAIN, 32, 800 * MIB - 1, 8) == Fit(8, 4, 800 * MIB, 800 * MIB, False)


@pytest.mark.parametrize(
    ("batch", "floor", "smallest"), [(32, 8, 8), (32, 9, 16), (4, 8, 4), (24, 8, 12), (20, 4, 5), (7, 1, 7), (8, 1, 1)]
)
def test_micro_batches_are_halves_without_remainder_down_to_the_floor(batch: int, floor: int, smallest: int) -> None:
    found = fit(PLAIN, batch, 1, floor)
    assert found.micro_batch == smallest
    assert found.micro_batch * found.accumulation == batch


def test_gradients_that_are_kept_for_accumulation_count() -> None:
    model = Footprint(weights=0, trainable=10 * MIB, activations=MIB, workspace=0, parameters=1)
    assert fit(model, 32, 62 * MIB, 8).accumulation == 1
    assert fit(model, 32, 61 * MIB, 8) == Fit(16, 2, 56 * MIB, 56 * MIB, True)


def test_the_upper_bound_chooses_the_micro_batch() -> None:
    # 32 crops: 6400 MiB likely, 9600 MiB at most; 16 crops: half of both.
    found = fit(PLAIN, 32, 8000 * MIB, 8, correction=DOUBLE)
    assert found == Fit(16, 2, 3200 * MIB, 4800 * MIB, True)


@pytest.mark.parametrize(("budget", "fits"), [(1600, True), (1599, False)])
def test_at_the_floor_the_estimate_decides(budget: int, fits: bool) -> None:
    found = fit(PLAIN, 32, budget * MIB, 8, correction=DOUBLE)
    assert found == Fit(8, 4, 1600 * MIB, 2400 * MIB, fits)


def test_a_step_that_likely_fits_is_not_refused_for_the_cost_of_accumulation() -> None:
    # Whole batch: 324 MiB likely; halved: one more copy of the gradients, so 412 MiB.
    model = Footprint(weights=0, trainable=100 * MIB, activations=MIB, workspace=0, parameters=1)
    found = fit(model, 24, 400 * MIB, 8, correction=Correction(1.0, 1.4))
    assert (found.micro_batch, found.footprint_bytes, found.fits) == (24, 324 * MIB, True)


def test_the_overhead_is_added_once_and_never_scaled() -> None:
    found = fit(PLAIN, 32, 32 * GIB, 8, correction=DOUBLE, overhead_bytes=500 * MIB)
    assert (found.footprint_bytes, found.upper_bytes) == (6900 * MIB, 10100 * MIB)
    assert fit(PLAIN, 32, 3200 * MIB, 8, overhead_bytes=1).micro_batch == 16
    assert fit(PLAIN, 32, 3200 * MIB + 1, 8, overhead_bytes=1).micro_batch == 32
    assert not fit(PLAIN, 8, 800 * MIB, 8, overhead_bytes=1).fits


@pytest.mark.parametrize(("ceiling", "expected"), [(32, 32), (31, 16), (16, 16), (8, 8)])
def test_a_ceiling_holds_even_where_more_fits(ceiling: int, expected: int) -> None:
    assert fit(PLAIN, 32, 32 * GIB, 8, max_micro_batch=ceiling).micro_batch == expected


def test_a_ceiling_does_not_make_a_step_fit() -> None:
    assert fit(PLAIN, 32, 1600 * MIB, 8, max_micro_batch=16).micro_batch == 16
    assert fit(PLAIN, 32, 1599 * MIB, 8, max_micro_batch=16).micro_batch == 8


@pytest.mark.parametrize(
    ("micro_batch", "floor", "half"), [(32, 8, 16), (16, 8, 8), (8, 8, None), (8, 5, None), (12, 8, None), (7, 1, None)]
)
def test_halving_ends_at_the_floor_and_before_a_remainder(micro_batch: int, floor: int, half: int | None) -> None:
    assert Fit(micro_batch, 1, 0, 0, True).halved(floor) == half


def test_a_step_that_is_chosen_never_passes_the_budget_above_the_floor() -> None:
    corrections = (None, Correction(), DOUBLE, Correction(0.5, 1.1))
    for batch, floor, mib, correction in product((8, 16, 64), (1, 4, 8), range(50, 9000, 350), corrections):
        found = fit(PLAIN, batch, mib * MIB, floor, correction=correction, overhead_bytes=100 * MIB)
        assert found.fits == (found.footprint_bytes <= mib * MIB)
        if found.micro_batch > floor:
            assert found.upper_bytes <= mib * MIB
        if found.micro_batch < batch:
            twice = PLAIN.peak(2 * found.micro_batch, found.accumulation // 2)
            assert 100 * MIB + (correction.upper(twice) if correction else twice) > mib * MIB
