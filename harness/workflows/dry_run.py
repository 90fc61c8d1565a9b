"""`harness run --dry-run`: sizes, footprints of sampled configurations, and a guess at the time; nothing is trained."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from harness.events import Note, Notify, counter
from harness.families import Family
from harness.models import Config
from harness.preparation import PreparedData
from harness.records.study import StudyRecord
from harness.search.memory_limits import Fitter, Limits
from harness.search.space import points
from harness.settings import RunSettings
from harness.tracking.ledger import Ledger
from harness.trials.model_probes import FORWARD_SECONDS, time_forward
from harness.units import format_duration, format_size
from harness.vram.footprint import Footprint
from harness.vram.slots import roomiest
from harness.workflows.devices import Compute, computing
from harness.workflows.open_study import describe_study
from harness.workflows.prepare_data import prepare_search
from harness.workspace import Workspace

SAMPLED = 8
"""Configurations of each family that are looked at, the baseline among them."""

TIMED_CROPS = 8
"""Crops in the forward pass that is timed."""

BACKWARD_FACTOR = 3.0
"""A training step costs about three forward passes: one forward, two for the gradients."""


@dataclass(frozen=True)
class _Sampled:
    """What sampled configurations of a family ask for.

    Attributes:
        trials_left: how many the study has still to run.
        footprint_bytes: predicted peaks, of all of them.
        seconds: training times, of those that fit.
        limit: what they are held against, for a reader.
    """

    trials_left: int
    footprint_bytes: tuple[int, ...]
    seconds: tuple[float, ...]
    limit: str


def dry_run(settings: RunSettings, families: Sequence[Family], notify: Notify) -> None:
    """Tell what `run` with the same settings would do. Reads the data and fills the store; trains nothing.

    Args:
        families: those that the settings name.

    Raises:
        HarnessError: as `run` would.
    """
    with computing(settings, notify) as compute:
        prepared = prepare_search(settings, families, notify)
        for family in map(prepared.available, families):
            study = describe_study(settings, family, prepared, compute.slots[0].device)
            for line in _plan(settings, study, _sample(settings, study, family, prepared, compute, notify)):
                notify(Note(line))


def _sample(
    settings: RunSettings,
    study: StudyRecord,
    family: Family,
    prepared: PreparedData,
    compute: Compute,
    notify: Notify,
) -> _Sampled:
    """Fit the baseline and random configurations into the budget, and time one forward pass of those that fit."""
    backend, slots, genres = compute.backend, compute.slots, len(study.dataset.genres)
    known = Ledger(Workspace(settings.workspace)).trials(study.name)
    limits = Limits(settings.vram_budget, settings.min_micro_batch, settings.trial_time_limit, slots)

    def estimate(config: Config) -> Footprint:
        return backend.estimate_footprints(family.name, family.input_spec_of(config), [config], genres)[0]

    fitter = Fitter(limits, estimate)
    slot = roomiest(slots, settings.vram_budget)
    room = fitter.room(slot, known)
    tracks = sum(len(train) for train, _ in prepared.split.folds)
    fits, seconds = [], []
    configs = _configurations(family, settings.quick)
    sampled = counter(notify, f"sampling {family.name}")
    for place, config in enumerate(configs):
        sampled(place + 1, len(configs))
        found = fitter.fit(fitter.footprint(config), config, known, room)
        fits.append(found)
        if found.fits:
            crops = tracks * config.get("crops_per_track", 1)
            asked = family.name, family.input_spec_of(config), dict(config), genres, TIMED_CROPS
            environment = slot.device.environment()
            forward = backend.server.call(time_forward, *asked, environment=environment, seconds=FORWARD_SECONDS)
            seconds.append(BACKWARD_FACTOR * forward / TIMED_CROPS * crops * settings.epochs)
    limit = f"the budget of {format_size(settings.vram_budget)}"
    if room.total_bytes < settings.vram_budget:
        limit = f"the {format_size(room.total_bytes)} that {slot.device.name} has free"
    left = max(0, settings.trials - sum(trial.counted for trial in known))
    return _Sampled(left, tuple(found.footprint_bytes for found in fits), tuple(seconds), limit)


def _configurations(family: Family, quick: bool) -> list[Config]:
    sampled = islice(points(family, quick), SAMPLED - 1)
    return [dict(family.baseline), *(dict(config) for config, _ in sampled)]


def _plan(settings: RunSettings, study: StudyRecord, sampled: _Sampled) -> Iterator[str]:
    left, sizes = sampled.trials_left, sorted(sampled.footprint_bytes)
    refused = len(sizes) - len(sampled.seconds)
    yield (
        f"{study.family}: study {study.name}, {left} of {settings.trials} trials to run; "
        f"footprints of {SAMPLED} configurations {format_size(sizes[0])} to {format_size(sizes[-1])}, "
        f"{refused} over {sampled.limit}"
    )
    if sampled.seconds:
        trial = statistics.median(sampled.seconds)
        if settings.trial_time_limit is not None:
            trial = min(trial, settings.trial_time_limit)
        yield (
            f"{study.family}: a trial of {settings.epochs} epochs trains for about {format_duration(trial)} (median, "
            f"without early stopping), all of them for about {format_duration(trial * left)}"
        )
