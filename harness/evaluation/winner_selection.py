"""The configuration that is tested on tracks: the best as far as can be known without them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from harness.evaluation.nested_cv import restricted
from harness.evaluation.study_under_test import StudyUnderTest
from harness.events import Note, Notify
from harness.records.study import StudyResults
from harness.records.trial import TrialRecord
from harness.scoring.metrics import track_scores
from harness.search.config import StudyConfig
from harness.search.study import StudyRunner
from harness.tracking.base import NullTracker
from harness.tracking.job_files import job_files
from harness.tracking.ledger import Ledger
from harness.trials.local.backend import LocalBackend
from harness.vram.slots import DeviceSlot
from harness.workspace import Workspace

SMALLER = 4
"""An outer fold whose winner cannot be chosen from stored predictions gets a search of so many times fewer trials."""


def best_without(results: StudyResults, hidden: frozenset[str]) -> TrialRecord | None:
    """Return the completed trial that is best on the validation tracks that are not hidden; of equals, the first.

    A trial whose predictions are not here is passed over; None where no other is left. With folds, every trial has
    predicted each track by a model that had not seen it.

    Args:
        hidden: ids of tracks by which nothing may be chosen.
    """

    def score(trial: TrialRecord) -> tuple[float, int]:
        seen = restricted(results.predictions[trial.number], hidden, keep=False)
        return track_scores(seen).macro_f1, -trial.number

    return max((trial for trial in results.trials if trial.number in results.predictions), key=score, default=None)


def smaller_search(
    study: StudyUnderTest,
    number: int,
    folder: Path,
    backend: LocalBackend,
    slots: Sequence[DeviceSlot],
    notify: Notify,
) -> TrialRecord | None:
    """Search once more, with fewer trials, without the tracks that an outer fold tests.

    Args:
        number: the outer fold.
        folder: keeps the search's own ledger.

    Returns:
        The best completed trial; None if there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(folder)
    ledger = Ledger(workspace)
    config = StudyConfig(
        family=study.family,
        record=ledger.open_study(study.record),
        trials=max(2, study.results.counted_trials // SMALLER),
        folds=(replace(study.folds[number], test=()),),
        min_micro_batch=study.budget.min_micro_batch,
        jobs=1,
        threads=os.cpu_count() or 1,
        deterministic=study.search.deterministic,
        trial_time_limit_seconds=study.search.trial_time_limit,
        slots=tuple(slots),
    )
    notify(Note(f"{study.record.family}: a smaller search without outer fold {number + 1}"))
    with closing(backend.with_files(job_files(ledger, study.prepared.store.root))) as own:
        return StudyRunner.open(config, None, own, ledger, NullTracker(), notify).run().best
