"""`harness run --dry-run`: sizes, footprints of sampled configurations, and a guess at the time; nothing is trained."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from harness.events import Note, Notify, counter
from harness.families import Family
from harness.preparation import PreparedData
from harness.records.study import StudyRecord
from harness.search.memory_limits import Limits
from harness.search.space_sample import SAMPLED, SpaceSample, sample_space
from harness.settings import RunSettings
from harness.units import format_duration, format_size
from harness.workflows.devices import Compute, computing
from harness.workflows.open_study import describe_study
from harness.workflows.prepare_data import plan_search


def dry_run(settings: RunSettings, families: Sequence[Family], notify: Notify) -> None:
    """Tell what `run` with the same settings would do. Reads the data; trains nothing, and makes nothing.

    Args:
        families: those that the settings name.

    Raises:
        HarnessError: as `run` would.
    """
    with computing(settings, notify, own=False) as compute:
        prepared = plan_search(settings, families, notify)
        for family in map(prepared.available, families):
            for line in _plan(settings, family, prepared, compute, notify):
                notify(Note(line))


def _plan(
    settings: RunSettings, family: Family, prepared: PreparedData, compute: Compute, notify: Notify
) -> Iterator[str]:
    search, budget = settings.search, settings.budget
    study = describe_study(settings, family, prepared, compute.slots[0].device)
    known = compute.ledger.trials(study.name)
    limits = Limits(budget.vram_budget, budget.min_micro_batch, search.trial_time_limit, compute.slots)
    tracks = sum(len(train) for train, _ in prepared.split.folds)
    progress = counter(notify, f"sampling {family.name}")
    sample = sample_space(family, study, limits, known, tracks, compute.backend, progress)
    left = max(0, search.trials - sum(trial.counted for trial in known))
    yield _memory_line(study, sample, left, search.trials)
    if sample.seconds:
        trial = statistics.median(sample.seconds)
        if search.trial_time_limit is not None:
            trial = min(trial, search.trial_time_limit)
        yield (
            f"{study.family}: a trial of {search.epochs} epochs trains for about {format_duration(trial)} (median, "
            f"without early stopping), all of them for about {format_duration(trial * left)}"
        )


def _memory_line(study: StudyRecord, sample: SpaceSample, left: int, trials: int) -> str:
    sizes = sorted(sample.footprint_bytes)
    limit = f"the budget of {format_size(study.budget_bytes)}"
    if sample.room.total_bytes < study.budget_bytes:
        limit = f"the {format_size(sample.room.total_bytes)} that {sample.device} has free"
    return (
        f"{study.family}: study {study.name}, {left} of {trials} trials to run; "
        f"footprints of {SAMPLED} configurations {format_size(sizes[0])} to {format_size(sizes[-1])}, "
        f"{len(sizes) - len(sample.seconds)} over {limit}"
    )
