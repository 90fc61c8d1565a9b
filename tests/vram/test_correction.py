"""What trials that ended teach about predictions of memory."""

from __future__ import annotations

import numpy as np
import pytest

from harness.units import GIB, MIB
from harness.vram.correction import Correction, Need


def needs(constant: int, factor: float, spread: float, count: int, seed: int = 0) -> list[Need]:
    """Trials of so many predicted bytes, whose needs lie on a line, but for a log-normal error."""
    generator = np.random.default_rng(seed)
    predicted = generator.uniform(10 * MIB, 400 * MIB, count)
    needed = (constant + factor * predicted) * np.exp(generator.normal(0, spread, count))
    return [Need(int(one), int(other)) for one, other in zip(predicted, needed, strict=True)]


def test_with_nothing_measured_the_footprint_stands_with_a_margin() -> None:
    prior = Correction.learn([])
    assert prior == Correction()
    assert prior.estimate(GIB) == GIB
    assert prior.upper(GIB) == pytest.approx(GIB * 1.25**1.645)
    assert prior.lower(GIB) == pytest.approx(GIB / 1.25**0.842)


@pytest.mark.parametrize(
    ("constant", "factor"), [(0, 1.0), (40 * MIB, 1.0), (40 * MIB, 1.4), (0, 0.7), (300 * MIB, 1.1)]
)
def test_the_part_that_does_not_grow_is_told_from_the_part_that_does(constant: int, factor: float) -> None:
    learnt = Correction.learn(needs(constant, factor, 0.03, 20))
    for predicted in (20 * MIB, 200 * MIB, 1000 * MIB):
        assert learnt.estimate(predicted) == pytest.approx(constant + factor * predicted, rel=0.1)


def test_small_networks_do_not_make_large_ones_look_larger() -> None:
    # 40 MiB that do not grow: small needs are three times what was predicted, large ones hardly more.
    small = [Need(size * MIB, (size + 40) * MIB) for size in (15, 18, 20, 22, 25)]
    learnt = Correction.learn(small)
    assert learnt.estimate(400 * MIB) < 1.35 * 400 * MIB
    assert learnt.estimate(20 * MIB) == pytest.approx(60 * MIB, rel=0.1)


def test_one_trial_out_of_line_rules_nothing() -> None:
    plain = needs(40 * MIB, 1.0, 0.03, 12)
    odd = [*plain, Need(100 * MIB, 2000 * MIB)]
    assert Correction.learn(odd).estimate(200 * MIB) == pytest.approx(
        Correction.learn(plain).estimate(200 * MIB), rel=0.05
    )
    assert Correction.learn(odd).margin < 1.5


def test_trials_that_agree_narrow_the_margin() -> None:
    margins = [Correction.learn(needs(0, 1.5, 0.02, count)).margin for count in (1, 4, 16, 128)]
    assert margins == sorted(margins, reverse=True)
    assert 1 < margins[-1] < 1.1


def test_a_trial_that_was_stopped_says_at_least_so_much() -> None:
    known = needs(0, 1.0, 0.02, 8)
    more = Correction.learn([*known, *[Need(200 * MIB, 400 * MIB, stopped=True)] * 8])
    less = Correction.learn([*known, *[Need(200 * MIB, 100 * MIB, stopped=True)] * 8])
    assert more.estimate(200 * MIB) > 1.1 * Correction.learn(known).estimate(200 * MIB)
    assert less.estimate(200 * MIB) == pytest.approx(Correction.learn(known).estimate(200 * MIB), rel=1e-6)


def test_the_order_of_trials_does_not_matter() -> None:
    found = needs(40 * MIB, 1.2, 0.1, 9)
    one, other = Correction.learn(found), Correction.learn(found[::-1])
    assert (one.factor, one.constant, one.margin) == pytest.approx(
        (other.factor, other.constant, other.margin), rel=1e-3
    )


def test_one_trial_in_twenty_passes_its_upper_bound_and_one_in_five_stays_under_the_lower() -> None:
    found = needs(40 * MIB, 1.3, 0.2, 4000)
    learnt = Correction.learn(found[:400])
    for bound, expected in ((learnt.upper, 0.05), (learnt.estimate, 0.5), (learnt.lower, 0.8)):
        share = float(np.mean([need.needed > bound(need.predicted) for need in found]))
        assert share == pytest.approx(expected, abs=0.03)
