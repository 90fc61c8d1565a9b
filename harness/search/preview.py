"""The plan of a run, with nothing trained: sizes, footprints of sampled configurations, and a guess at the time."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

from harness.families import Family, select
from harness.keras_backend import check_backend
from harness.records import Outcome
from harness.search.benchmark import study_record
from harness.search.data import Prepared, prepare_search
from harness.search.devices import lanes_for
from harness.search.events import Note, Notify, Progress
from harness.search.fitting import Fitter, Limits
from harness.search.space import points
from harness.settings import RunSettings
from harness.tracking.ledger import Ledger
from harness.trials.pool import Pool
from harness.units import format_duration, format_size
from harness.vram.admission import Lane, widest
from harness.workspace import Workspace

SAMPLED = 8
"""Configurations of each family that are looked at, the baseline among them."""

TIMED_CROPS = 8
"""Crops in the forward pass that is timed."""

BACKWARD_FACTOR = 3.0
"""A training step costs about three forward passes: one forward, two for the gradients."""


def dry_run(settings: RunSettings, notify: Notify) -> None:
    """Tell what `run` with the same settings would do. Reads the data and fills the store; trains nothing.

    Raises:
        HarnessError: as `run` would.
    """
    check_backend()
    Ledger(Workspace(settings.workspace)).check_readable()
    with Workspace(settings.workspace).lock(), closing(Pool()) as pool:
        lanes = lanes_for(settings, pool, notify)
        prepared = prepare_search(settings, notify)
        for family in map(prepared.at_hand, select(settings.families)):
            for line in _family(settings, family, prepared, lanes, pool, notify):
                notify(Note(line))


def _family(
    settings: RunSettings, family: Family, prepared: Prepared, lanes: tuple[Lane, ...], pool: Pool, notify: Notify
) -> Iterator[str]:
    record = study_record(settings, family, prepared, lanes[0].device)
    known = Ledger(Workspace(settings.workspace)).trials(record.study)
    ended = sum(trial.outcome is not Outcome.REFUSED for trial in known)
    limits = Limits(settings.vram_budget, settings.min_micro_batch, settings.trial_time_limit, lanes)
    fitter = Fitter(limits, lambda config: pool.reckon(family.name, family.view_of(config), config, genres))
    lane = widest(lanes, settings.vram_budget)
    room = fitter.room(lane, known)
    configs = [
        dict(family.baseline),
        *(dict(config) for config, _ in islice(points(family, settings.quick), SAMPLED - 1)),
    ]
    genres = len(prepared.dataset.genres)
    fits, seconds = [], []
    for place, config in enumerate(configs):
        notify(Progress(f"looking at {family.name}", place + 1, len(configs)))
        found = fitter.fit(fitter.footprint(config), config, known, room)
        fits.append(found)
        if found.fits:
            crops = sum(len(train) for train, _ in prepared.split.folds) * config.get("crops_per_track", 1)
            view, environment = family.view_of(config), lane.device.environment()
            forward = pool.time_forward(family.name, view, config, genres, TIMED_CROPS, environment)
            seconds.append(BACKWARD_FACTOR * forward / TIMED_CROPS * crops * settings.epochs)
    sizes = sorted(found.footprint_bytes for found in fits)
    refused = sum(not found.fits for found in fits)
    limit = f"the budget of {format_size(settings.vram_budget)}"
    if room.total_bytes < settings.vram_budget:
        limit = f"the {format_size(room.total_bytes)} that {lane.device.name} has free"
    yield (
        f"{family.name}: study {record.study}, {max(0, settings.trials - ended)} of {settings.trials} trials to run; "
        f"footprints of {SAMPLED} configurations {format_size(sizes[0])} to {format_size(sizes[-1])}, "
        f"{refused} over {limit}"
    )
    if seconds:
        trial = statistics.median(seconds)
        if settings.trial_time_limit is not None:
            trial = min(trial, settings.trial_time_limit)
        total = trial * max(0, settings.trials - ended)
        yield (
            f"{family.name}: a trial of {settings.epochs} epochs trains for about {format_duration(trial)} (median, "
            f"without early stopping), all of them for about {format_duration(total)}"
        )
