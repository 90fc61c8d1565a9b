"""The champion: the best model of a family on a data set, registered with MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import TrackingError, UsageError
from harness.events import Note, Notify
from harness.families import Family
from harness.features.embeddings.extractor import Extractor
from harness.inference.bundle import CARD, PACKAGE, requirements
from harness.inference.card import card_of
from harness.inference.resolve import available, best_model, bundle_trial
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import TrialRecord
from harness.settings import StoreSettings, cache
from harness.tracking.ledger import Ledger


def competing_studies(study: StudyRecord, ledger: Ledger) -> list[StudyRecord]:
    """Return the studies among which the champion of a family is chosen: of the same tracks and genres."""
    return [other for other in ledger.studies() if _field(other) == _field(study)]


def register_best_model(
    stores: StoreSettings,
    family: Family,
    extractors: Mapping[str, Extractor],
    study: StudyRecord,
    ledger: Ledger,
    notify: Notify,
) -> None:
    """Log the best model of a study's family and make it the champion; a tracking server that is away costs only this.

    A best model on the embeddings of other networks stays what it is: they may not be available.

    Args:
        family: with the embeddings that are available.
        extractors: the networks that make them, by name.
    """
    best = best_model(ledger, competing_studies(study, ledger))
    if best is None or best[0].study.embeddings != study.embeddings:
        return
    try:
        notify(Note(f"champion of {family.name}: {_register(stores.mlflow_uri, ledger, best, family, extractors)}"))
    except TrackingError as error:
        later = f"Later: {ledger.workspace.sync_command(stores.tracking_uri)}"
        notify(Note(f"the champion of {family.name} was not registered: {error} {later}", warning=True))


def register_all(tracking_uri: str, ledger: Ledger, notify: Notify) -> None:
    """Make the best model of each family on each data set its champion in an MLflow store, as runs did in theirs.

    A family that is not installed, or whose frozen network is gone, is told of and left out.
    """
    # In the order in which they were first trained: the first data set of a name has that name in the registry.
    by_field: dict[tuple[str, str, str], StudyRecord] = {}
    for study in sorted(ledger.studies(), key=partial(_begun, ledger)):
        by_field.setdefault(_field(study), study)
    for study in by_field.values():
        best = best_model(ledger, competing_studies(study, ledger))
        if best is None:
            continue
        try:
            family, extractors = available(ledger, best[0].study, cache())
            notify(Note(f"champion of {study.family}: {_register(tracking_uri, ledger, best, family, extractors)}"))
        except (TrackingError, UsageError) as error:
            notify(Note(f"the champion of {study.family} was not registered: {error}", warning=True))


def renew_card(stores: StoreSettings, family: Family, study: StudyRecord, ledger: Ledger, notify: Notify) -> None:
    """Describe the test where a study's champion is registered; a tracking server that is away costs only this."""
    from harness.tracking.mlflow.registry import describe_champion

    try:
        describe_champion(stores.mlflow_uri, study, partial(card_of, ledger.results(study.name), family))
    except TrackingError as error:
        later = f"Later: {ledger.workspace.sync_command(stores.tracking_uri)}"
        notify(Note(f"the champion's card was not renewed: {error} {later}", warning=True))


def _field(study: StudyRecord) -> tuple[str, str, str]:
    """Return what is equal for studies whose models compete; the fingerprint is of tracks and genres."""
    return study.family, study.dataset.name, study.dataset.fingerprint


def _begun(ledger: Ledger, study: StudyRecord) -> str:
    """Return when the first trial of a study began, in UTC, ISO 8601; of a study without trials, a later time."""
    return min((trial.timing.started for trial in ledger.trials(study.name) if trial.timing.started), default="~")


def _register(
    tracking_uri: str,
    ledger: Ledger,
    best: tuple[StudyResults, TrialRecord],
    family: Family,
    extractors: Mapping[str, Extractor],
) -> str:
    """Log the model of a trial, make it the champion of its family and data set, and return its address.

    Raises:
        TrackingError: MLflow cannot be reached, or has no run of the trial.
    """
    from harness.tracking.mlflow.logged_model import ModelFiles
    from harness.tracking.mlflow.registry import register_champion

    results, trial = best
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / "model"
        bundle_trial(ledger, results, trial, family, extractors, bundle)
        files = ModelFiles(bundle, PACKAGE / "inference" / "pyfunc.py", (PACKAGE,), tuple(requirements()))
        card = (bundle / CARD).read_text(encoding="utf-8")
        return register_champion(tracking_uri, results.study, trial.number, files, description=card)
