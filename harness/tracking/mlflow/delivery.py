"""Delivery: what an MLflow store lacks of a ledger goes there, once.

The outbox tells what no store has got yet, without asking one. What a store got is noted with its runs, by digest: so
one that is new, was lost, or was away while another was told, is brought to what the ledger holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.errors import TrackingError, WorkspaceError, first_line
from harness.hashing import short_hash
from harness.records.final import FinalRecord
from harness.records.predictions import Predictions
from harness.records.study import StudyRecord, StudyResults
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.runs import RunStore
from harness.tracking.mlflow.schema import final_name, trial_name
from harness.tracking.outbox import Entry
from harness.tracking.serialization import assemble_results, dump_predictions, dump_record

Artifacts = Callable[[str, Predictions], Mapping[str, bytes]]
"""Makes files, by name, that show predictions under a title; pictures are made above this floor."""
Describe = Callable[[StudyResults], str]
"""Tells of a study, so far as it has come, in markdown."""

_DIGITS = 16


@dataclass(frozen=True)
class Delivery:
    """What a delivery achieved: how many entries MLflow got, and why each of the others was refused.

    `behind` are studies of which it got trials, and whose pages do not tell of them yet.
    """

    delivered: int = 0
    refused: tuple[str, ...] = ()
    behind: frozenset[str] = frozenset()


def sync(
    ledger: Ledger,
    tracking_uri: str,
    *,
    artifact_root: Path | None = None,
    artifacts: Artifacts | None = None,
    describe: Describe | None = None,
) -> Delivery:
    """Bring an MLflow store to what the ledger holds. No search may be running: own the workspace first.

    Raises:
        TrackingError: MLflow cannot be reached.
        WorkspaceError: the ledger cannot be read.
    """
    ledger.check_readable()
    store = RunStore.open(tracking_uri, artifact_root)
    # What keeps all of a study out, as a deleted experiment does, is said once.
    kept_out: dict[str, str] = {}
    lacking = set(ledger.pending())
    for study in ledger.studies():
        try:
            store.parent(study)
        except TrackingError as error:
            store.ping()
            kept_out[study.name] = str(error)
        else:
            lacking.update(lacks(store, ledger, study))
    entries = sorted((entry for entry in lacking if entry.study not in kept_out), key=lambda entry: entry.order)
    done = deliver(store, ledger, entries, artifacts, describe)
    refused = renew_pages(store, ledger, done.behind, describe)
    return Delivery(done.delivered, (*dict.fromkeys(kept_out.values()), *done.refused, *refused))


def lacks(store: RunStore, ledger: Ledger, study: StudyRecord) -> list[Entry]:
    """Return what a store has not got of a study as the ledger holds it: the study itself, then trials."""
    entries = [Entry(study.name, None), *(Entry(study.name, trial.number) for trial in ledger.trials(study.name))]
    delivered = store.delivered(study)
    return [entry for entry in entries if delivered.get(entry.number) != _digest(ledger, entry)]


def deliver(
    store: RunStore,
    ledger: Ledger,
    entries: Iterable[Entry],
    artifacts: Artifacts | None,
    describe: Describe | None,
    open_studies: Container[str] = (),
    running: Container[Entry] = (),
) -> Delivery:
    """Deliver what is not running; a study with its page, a trial without that of its study.

    What fails while MLflow answers is still lacking then.

    Raises:
        TrackingError: MLflow does not answer any more.
    """
    delivered: list[Entry] = []
    refused: list[str] = []
    for entry in entries:
        if entry in running:
            continue
        status = "RUNNING" if entry.study in open_studies else "FINISHED"
        what = entry.study if entry.number is None else f"trial {entry.number} of {entry.study}"
        reason = _refused(store, what, partial(_deliver_entry, store, ledger, artifacts, describe, entry, status))
        if reason is None:
            ledger.delivered(entry)
            delivered.append(entry)
        else:
            refused.append(reason)
    behind = {entry.study for entry in delivered} - {entry.study for entry in delivered if entry.number is None}
    return Delivery(len(delivered), tuple(refused), frozenset(behind))


def renew_pages(store: RunStore, ledger: Ledger, studies: Iterable[str], describe: Describe | None) -> list[str]:
    """Let the pages of studies tell how far they have come, and return why one could not.

    It takes a look at all their trials: whoever delivers one after another does this now and then.

    Raises:
        TrackingError: MLflow does not answer any more.
    """
    reasons = [
        _refused(store, f"the page of {study}", partial(_describe, store, ledger, describe, study))
        for study in sorted(studies)
    ]
    return [reason for reason in reasons if reason is not None]


def _refused(store: RunStore, what: str, action: Callable[[], None]) -> str | None:
    """Do `action`, and return why it failed, if it did while MLflow answers."""
    try:
        action()
    except Exception as error:
        store.ping()
        return f"{what} could not be delivered ({first_line(error)})."
    return None


def _describe(store: RunStore, ledger: Ledger, describe: Describe | None, study: str) -> None:
    results = ledger.results(study)
    store.describe(results, describe(results) if describe is not None else results.study.description)


def _deliver_entry(
    store: RunStore, ledger: Ledger, artifacts: Artifacts | None, describe: Describe | None, entry: Entry, status: str
) -> None:
    study, digest = ledger.study(entry.study), _digest(ledger, entry)

    def shown(title: str, predictions: Predictions) -> dict[str, bytes]:
        made = artifacts(title, predictions) if artifacts is not None else {}
        return {**made, "predictions.npz": dump_predictions(predictions)}

    if entry.number is None:
        files = ledger.files(entry.study)
        run_id = store.deliver_study(study, files, status)
        opened = assemble_results(study, (), {}, files.get)
        tested = opened.final_predictions

        def final_files(final: FinalRecord) -> dict[str, bytes]:
            return shown(f"{final_name(study, final)}: tested tracks", tested[final.key]) if final.key in tested else {}

        if opened.finals is not None:
            store.deliver_finals(study, opened.finals, tested, final_files)
        _describe(store, ledger, describe, entry.study)
        store.mark_delivered(run_id, digest)
        return
    trial = ledger.trial(entry.study, entry.number)
    if trial is None:
        raise WorkspaceError(f"{entry.study}: the record of trial {entry.number} is gone.")
    title = f"{trial_name(study, trial.number)}: validation tracks"
    there = trial.completed and ledger.has_predictions(study.name, trial.number)
    files = shown(title, ledger.predictions(study.name, trial.number)) if there else {}
    store.deliver_trial(study, trial, files, digest)


def _digest(ledger: Ledger, entry: Entry) -> str:
    """Return a digest of all that is delivered of an entry."""
    if entry.number is None:
        parts = {"study.json": dump_record(ledger.study(entry.study)), **ledger.files(entry.study)}
    else:
        trial = ledger.trial(entry.study, entry.number)
        parts = {"trial.json": dump_record(trial)} if trial is not None else {}
    return short_hash({name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}, _DIGITS)
