"""What points of a space ask for, before anything is trained: memory, and training time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import islice

from harness.families import Family
from harness.models import Config
from harness.records.study import StudyRecord
from harness.records.trial import TrialRecord
from harness.search.memory_limits import Fitter, Limits
from harness.search.space import points
from harness.trials.local.backend import LocalBackend
from harness.trials.model_probes import FORWARD_SECONDS, time_forward
from harness.vram.footprint import Footprint
from harness.vram.room import Room
from harness.vram.slots import roomiest

SAMPLED = 8
"""Configurations of each family that are sampled, the baseline among them."""

TIMED_CROPS = 8
"""Crops in the forward pass that is timed."""

BACKWARD_FACTOR = 3.0
"""A training step costs about three forward passes: one forward, two for the gradients."""


@dataclass(frozen=True)
class SpaceSample:
    """What sampled configurations of a family ask for.

    Attributes:
        footprint_bytes: predicted peaks, of all of them.
        seconds: training times of those that fit, all epochs.
        room: what a trial may take where there is most, and whose device that is.
    """

    footprint_bytes: tuple[int, ...]
    seconds: tuple[float, ...]
    room: Room
    device: str


def sample_space(
    family: Family,
    study: StudyRecord,
    limits: Limits,
    known: Collection[TrialRecord],
    tracks: int,
    backend: LocalBackend,
    progress: Callable[[int, int], None],
) -> SpaceSample:
    """Fit the baseline and random configurations into the budget, and time one forward pass of those that fit.

    Args:
        known: trials of the study that ended; they teach the predictions.
        tracks: that a trial trains on, all folds together.
        progress: told how many configurations were tried, and of how many.

    Raises:
        HarnessError: a model cannot be built.
    """
    genres = len(study.dataset.genres)

    def estimate(config: Config) -> Footprint:
        return backend.estimate_footprints(family.name, family.input_spec_of(config), [config], genres)[0]

    fitter, slot = Fitter(limits, estimate), roomiest(limits.slots, limits.budget_bytes)
    room = fitter.room(slot, known)
    sizes, seconds = [], []
    sampled = islice(points(family, study.quick), SAMPLED - 1)
    configs = [dict(family.baseline), *(dict(config) for config, _ in sampled)]
    for place, config in enumerate(configs, start=1):
        progress(place, len(configs))
        found = fitter.fit(fitter.footprint(config), config, known, room)
        sizes.append(found.footprint_bytes)
        if found.fits:
            crops = tracks * config.get("crops_per_track", 1)
            asked = family.name, family.input_spec_of(config), config, genres, TIMED_CROPS
            environment = slot.device.environment()
            forward = backend.server.call(time_forward, *asked, environment=environment, seconds=FORWARD_SECONDS)
            seconds.append(BACKWARD_FACTOR * forward / TIMED_CROPS * crops * study.epochs)
    return SpaceSample(tuple(sizes), tuple(seconds), room, slot.device.name)
