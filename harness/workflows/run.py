"""`harness run`: data, split, store, children, one study after another, champions, report."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.storages import BaseStorage

from harness.evaluation.simple_baselines import keep_simple_baselines
from harness.events import Note, Notify
from harness.families import Family
from harness.preparation import PreparedData
from harness.records.study import StudyResults
from harness.search.storage import searching_in
from harness.search.study import StudyRunner
from harness.settings import RunSettings
from harness.units import format_duration
from harness.workflows.champion import register_best_model
from harness.workflows.dashboard import renew_dashboard
from harness.workflows.devices import Compute, computing
from harness.workflows.open_study import describe_study, open_study, study_config
from harness.workflows.prepare_data import prepare_search
from harness.workflows.publish import open_tracker, write_report


def run(settings: RunSettings, families: Sequence[Family], notify: Notify) -> tuple[StudyResults, ...]:
    """Run a benchmark in its workspace, or go on with one, and return the studies that were asked for.

    Args:
        families: those that the settings name.

    Raises:
        HarnessError: something is the user's to mend; nothing finished is lost.
        KeyboardInterrupt: the user stopped the run, which can be taken up again.
    """
    with computing(settings, notify) as compute, searching_in(settings.stores.storage) as storage:
        prepared = prepare_search(settings, families, notify)
        available = [prepared.available(family) for family in families]
        return _run_studies(settings, available, prepared, compute, storage, notify)


def _run_studies(
    settings: RunSettings,
    families: Sequence[Family],
    prepared: PreparedData,
    compute: Compute,
    storage: BaseStorage | None,
    notify: Notify,
) -> tuple[StudyResults, ...]:
    """Search each family in turn, renewing the report after each, and register the best models at the end."""
    ledger = compute.ledger
    tracker = open_tracker(settings.stores, ledger, notify)
    device = compute.slots[0].device
    results = []
    try:
        for family in families:
            folds = prepared.folds(family.input_specs)
            record = open_study(settings, describe_study(settings, family, prepared, device), device, ledger)
            keep_simple_baselines(ledger, record, prepared.store, folds)
            config = study_config(settings, family, record, folds, compute.slots, 1 / len(families))
            runner = StudyRunner.open(config, storage, compute.backend, ledger, tracker, notify)
            results.append(runner.run())
            if not results[-1].trials:
                notify(Note(_none_started(family, config.time_limit_seconds), warning=True))
            write_report(ledger)
            if storage is None:
                renew_dashboard(ledger, notify)
    finally:
        tracker.close()
    for family, result in zip(families, results, strict=True):
        register_best_model(settings.stores, family, prepared.extractors, result.study, ledger, notify)
    return tuple(results)


def _none_started(family: Family, seconds: float | None) -> str:
    limit = f" within {format_duration(seconds)}" if seconds is not None else ""
    return f"{family.name}: no trial started{limit}. Raise --time-limit, which is shared out between the families."
