"""Delivery: what the ledger's outbox holds goes to MLflow, once."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.errors import WorkspaceError, first_line
from harness.records.final import FinalRecord
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.tracking.ledger import Entry, Ledger
from harness.tracking.mlflow.runs import RunStore
from harness.tracking.mlflow.schema import final_name, trial_name
from harness.tracking.serialization import assemble_results, dump_predictions

Artifacts = Callable[[str, Predictions], Mapping[str, bytes]]
"""Makes files, by name, that show predictions under a title; pictures are made above this floor."""
Describe = Callable[[StudyResults], str]
"""Tells of a study, so far as it has come, in markdown."""


@dataclass(frozen=True)
class Delivery:
    """What a delivery achieved: how many entries MLflow got, and why each of the others was refused."""

    delivered: int = 0
    refused: tuple[str, ...] = ()


def sync(
    ledger: Ledger,
    tracking_uri: str,
    *,
    artifact_root: Path | None = None,
    artifacts: Artifacts | None = None,
    describe: Describe | None = None,
) -> Delivery:
    """Deliver to MLflow what it missed. No search may be running: own the workspace first.

    Raises:
        TrackingError: MLflow cannot be reached.
        WorkspaceError: the ledger cannot be read.
    """
    ledger.check_readable()
    return deliver_pending(RunStore.open(tracking_uri, artifact_root), ledger, artifacts, describe)


def deliver_pending(
    store: RunStore,
    ledger: Ledger,
    artifacts: Artifacts | None,
    describe: Describe | None,
    open_studies: Container[str] = (),
    running: Container[Entry] = (),
) -> Delivery:
    """Deliver all that waits and is not running, and synchronise the pages of the studies concerned.

    What fails while MLflow answers stays in the outbox.

    Raises:
        TrackingError: MLflow does not answer any more.
    """
    delivered: list[Entry] = []
    refused: list[str] = []

    def attempt(what: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:
            store.ping()
            refused.append(f"{what} could not be delivered ({first_line(error)}).")
            return False
        return True

    for entry in ledger.pending():
        if entry in running:
            continue
        status = "RUNNING" if entry.study in open_studies else "FINISHED"
        what = entry.study if entry.number is None else f"trial {entry.number} of {entry.study}"
        if attempt(what, partial(_deliver_entry, store, ledger, artifacts, describe, entry, status)):
            ledger.delivered(entry)
            delivered.append(entry)
    behind = {entry.study for entry in delivered} - {entry.study for entry in delivered if entry.number is None}
    for study in sorted(behind):
        attempt(f"the page of {study}", partial(_describe, store, ledger, describe, study))
    return Delivery(len(delivered), tuple(refused))


def _describe(store: RunStore, ledger: Ledger, describe: Describe | None, study: str) -> None:
    results = ledger.results(study)
    store.describe(results, describe(results) if describe is not None else results.study.description)


def _deliver_entry(
    store: RunStore, ledger: Ledger, artifacts: Artifacts | None, describe: Describe | None, entry: Entry, status: str
) -> None:
    study = ledger.study(entry.study)

    def shown(title: str, predictions: Predictions) -> dict[str, bytes]:
        made = artifacts(title, predictions) if artifacts is not None else {}
        return {**made, "predictions.npz": dump_predictions(predictions)}

    if entry.number is None:
        files = ledger.files(entry.study)
        store.deliver_study(study, files, status)
        opened = assemble_results(study, (), {}, files.get)
        tested = opened.final_predictions

        def final_files(final: FinalRecord) -> dict[str, bytes]:
            return shown(f"{final_name(study, final)}: tested tracks", tested[final.key]) if final.key in tested else {}

        if opened.finals is not None:
            store.deliver_finals(study, opened.finals, tested, final_files)
        _describe(store, ledger, describe, entry.study)
        return
    trial = ledger.trial(entry.study, entry.number)
    if trial is None:
        raise WorkspaceError(f"{entry.study}: the record of trial {entry.number} is gone.")
    title = f"{trial_name(study, trial.number)}: validation tracks"
    store.deliver_trial(
        study, trial, shown(title, ledger.predictions(study.name, trial.number)) if trial.completed else {}
    )
