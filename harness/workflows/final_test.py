"""`harness final`: the test set opened for the studies of a workspace, once the search is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError, TrackingError, UsageError
from harness.evaluation.ensembles import evaluate_ensembles, on_one_split
from harness.evaluation.study_under_test import StudyUnderTest
from harness.events import Note, Notify
from harness.families import select
from harness.keras_backend import check_backend
from harness.records.study import StudyResults
from harness.tracking.ledger import Ledger
from harness.workflows.champion import renew_card
from harness.workflows.devices import ProvenDevices, local_backend
from harness.workflows.final_preparation import FinalPreparation
from harness.workflows.publish import deliver, write_report
from harness.workspace import Workspace


def final_test(
    workspace: Path, families: Sequence[str], seeds: int, reopen: bool, notify: Notify
) -> tuple[StudyResults, ...]:
    """Test winner and baseline of every study of the families in a workspace, and write the report.

    What was tested already is not tested again; a command that was interrupted goes on. A study that cannot be tested
    does not keep the others from it.

    Args:
        families: by name; none for all that the workspace holds.
        seeds: trainings of each configuration.
        reopen: open a test set again after more trials.

    Raises:
        UsageError: there is nothing to test, or a test set was opened before the last trials.
        WorkspaceError: there are no results, or the data set or its split is not what the studies ran on.
    """
    check_backend()
    place = Workspace(workspace)
    place.check_results()
    with place.lock():
        ledger = Ledger(place)
        tested = _test(ledger, families, seeds, reopen, notify)
        write_report(ledger)
        tracking_uri = ledger.settings(tested[0].record.name).stores.tracking_uri
        try:
            deliver(ledger, tracking_uri)
        except TrackingError as error:
            notify(Note(f"{error} Deliver it later with: {place.sync_command(tracking_uri)}", warning=True))
        for study in tested:
            renew_card(ledger.settings(study.record.name).moved(place.root), study.family, study.record, ledger, notify)
        return tuple(ledger.results(study.record.name) for study in tested)


def _test(ledger: Ledger, families: Sequence[str], seeds: int, reopen: bool, notify: Notify) -> list[StudyUnderTest]:
    """Test the studies of families, and their ensembles, and return those that were tested.

    Raises:
        UsageError: there is nothing to test.
    """
    known = [ledger.results(study.name) for study in ledger.studies()]
    wanted = families or sorted({results.study.family for results in known})
    chosen = {family.name: family for family in select(wanted)} if wanted else {}
    studies = [results for results in known if results.study.family in chosen and results.best is not None]
    if not studies:
        names = ", ".join(chosen) or "any family"
        raise UsageError(f"{ledger.workspace.root}: no completed trial of {names}. Run some first.")
    with local_backend(ledger) as backend:
        preparation = FinalPreparation(ledger, ProvenDevices(backend, notify), chosen, known, notify)
        evaluations = preparation.ready(studies, reopen)
        for evaluation in evaluations:
            evaluation.run(seeds)
        tested = [evaluation.study for evaluation in evaluations]
        environments = {each.study.record.name: each.slot.device.environment() for each in evaluations}
        for group in on_one_split(tested):
            try:
                evaluate_ensembles(group, ledger, backend.server, environments[group[0].record.name])
            except HarnessError as error:
                notify(Note(f"no ensemble was tested: {error}", warning=True))
    return tested
