"""The champion: the best model of a family on a data set, registered with MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import TrackingError
from harness.events import Note, Notify
from harness.families import Family
from harness.features.embeddings.extractor import Extractor
from harness.inference.bundle import CARD, PACKAGE, requirements
from harness.inference.card import card_of
from harness.inference.resolve import best_model, bundle_trial
from harness.records.study import StudyRecord
from harness.settings import StoreSettings
from harness.tracking.ledger import Ledger


def competing_studies(study: StudyRecord, ledger: Ledger) -> list[StudyRecord]:
    """Return the studies among which the champion of a family on a data set is chosen."""
    name = (study.family, study.dataset.name)
    return [other for other in ledger.studies() if (other.family, other.dataset.name) == name]


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
    from harness.tracking.mlflow.logged_model import ModelFiles
    from harness.tracking.mlflow.registry import register_champion

    best = best_model(ledger, competing_studies(study, ledger))
    if best is None or best[0].study.embeddings != study.embeddings:
        return
    results, trial = best
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / "model"
        bundle_trial(ledger, results, trial, family, extractors, bundle)
        try:
            register_champion(
                stores.mlflow_uri,
                results.study,
                trial.number,
                ModelFiles(bundle, PACKAGE / "inference" / "pyfunc.py", (PACKAGE,), tuple(requirements())),
                description=(bundle / CARD).read_text(encoding="utf-8"),
            )
        except TrackingError as error:
            notify(Note(f"the champion of {family.name} was not registered: {error}", warning=True))


def renew_card(stores: StoreSettings, family: Family, study: StudyRecord, ledger: Ledger, notify: Notify) -> None:
    """Describe the test where a study's champion is registered; a tracking server that is away costs only this."""
    from harness.tracking.mlflow.registry import describe_champion

    try:
        describe_champion(stores.mlflow_uri, study, partial(card_of, ledger.results(study.name), family))
    except TrackingError as error:
        notify(Note(f"the champion's card was not renewed: {error} The same command does it later.", warning=True))
