"""A whole run: data, split, store, children, one study after another, champions, report."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

import harness
from harness import keras_backend
from harness.audio.store import Store
from harness.errors import DeviceError, TrackingError, UsageError, WorkspaceError
from harness.families import Family, select
from harness.inference.bundle import CARD, PACKAGE, requirements
from harness.inference.choice import best_model, bundle_trial
from harness.records import Predictions, Provenance, StudyRecord, StudyResults, short_hash
from harness.search.data import Prepared, prepare_search
from harness.search.devices import lanes_for
from harness.search.events import Note, Notify
from harness.search.references import references
from harness.search.space import space_hash
from harness.search.study import Plan, Study
from harness.settings import RunSettings, default_artifact_root, default_tracking_uri
from harness.tracking.ledger import REFERENCES, Ledger, dump_records, lock_workspace
from harness.trials.pool import Pool
from harness.trials.spec import Fold
from harness.vram.admission import CPU_LANE, Lane
from harness.vram.device import Device
from reports.document import results_table
from reports.exports import confusion_json, per_genre_csv
from reports.figures import confusion_matrix_png
from reports.write import write_markdown


def run(settings: RunSettings, notify: Notify) -> tuple[StudyResults, ...]:
    """Run a benchmark in its workspace, or go on with one, and return the studies that were asked for.

    Raises:
        HarnessError: something is the user's to mend; nothing finished is lost.
        KeyboardInterrupt: the user stopped the run, which can be taken up again.
    """
    chosen = select(settings.families)
    keras_backend.check_backend()
    with lock_workspace(settings.workspace), closing(Pool()) as pool:
        # Before the data: that a GPU cannot be used is not to be learnt after minutes. Without one, the server of the
        # children imports the framework while the data is read.
        lanes = lanes_for(settings, pool, notify)
        prepared = prepare_search(settings, notify)
        chosen = tuple(map(prepared.at_hand, chosen))
        return _studies(settings, chosen, prepared, lanes, pool, notify)


def study_record(settings: RunSettings, family: Family, prepared: Prepared, device: Device) -> StudyRecord:
    """Describe the study of one family. Its name is the family and a hash of all that makes results comparable."""
    dataset, protocol, space = prepared.dataset.record(), prepared.split.record(), space_hash(family, settings.quick)
    embeddings = {name: view.source for name, view in family.embeddings.items()}
    identity = {
        "dataset": dataset.fingerprint,
        "protocol": protocol.fingerprint,
        "budget": settings.vram_budget,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "space": space,
    }
    if embeddings:
        identity["embeddings"] = embeddings
    return StudyRecord(
        family=family.name,
        study=f"{family.name}-{short_hash(identity)}",
        description=family.description,
        input="; ".join(view.describe() for view in family.views),
        space=space,
        dataset=dataset,
        protocol=protocol,
        budget_bytes=settings.vram_budget,
        epochs=settings.epochs,
        seed=settings.seed,
        quick=settings.quick,
        trial_time_limit_seconds=settings.trial_time_limit,
        published=family.published,
        provenance=provenance(device),
        embeddings=embeddings,
    )


def provenance(device: Device) -> Provenance:
    """Describe this machine and what is installed on it."""
    return Provenance(
        commit=_commit(),
        versions=keras_backend.versions(),
        backend=keras_backend.backend(),
        device=device.name,
        driver=device.driver,
        platform=platform.platform(),
        cpu_count=os.cpu_count() or 1,
    )


def artifacts(title: str, predictions: Predictions) -> dict[str, bytes]:
    """Make the files, by name, that show predictions under a title."""
    from harness.scoring.metrics import confusion

    return {
        "confusion_matrix.png": confusion_matrix_png(confusion(predictions), predictions.genres, title),
        "confusion_matrix.json": confusion_json(predictions).encode(),
        "per_genre.csv": per_genre_csv(predictions).encode(),
    }


def describe(results: StudyResults) -> str:
    """Tell of a study on the page of its MLflow run: what it is, and its row of the report."""
    return f"{results.study.description}.\n\n{results_table([results])}"


def _studies(
    settings: RunSettings,
    chosen: tuple[Family, ...],
    prepared: Prepared,
    lanes: tuple[Lane, ...],
    pool: Pool,
    notify: Notify,
) -> tuple[StudyResults, ...]:
    # Importing MLflow takes seconds; the children's server uses them to import the framework.
    from harness.tracking.mlflow.live import Tracker

    ledger = Ledger(settings.workspace)
    storage = open_storage(settings.storage_url)
    own_store = settings.tracking_uri is None
    tracker = Tracker(
        settings.tracking,
        ledger,
        artifact_root=default_artifact_root(settings.workspace) if own_store else None,
        artifacts=artifacts,
        describe=describe,
        warn=lambda text: notify(Note(text, warning=True)),
    )
    jobs = settings.jobs if isinstance(settings.jobs, int) else None
    results = []
    try:
        for family in chosen:
            folds = prepared.folds(family.views)
            record = ledger.open_study(study_record(settings, family, prepared, lanes[0].device))
            record = _on_device(record, lanes[0].device, settings, ledger)
            ledger.keep_settings(record.study, settings.portable().model_dump_json(indent=2))
            keep_references(ledger, record, prepared.store, folds)
            plan = Plan(
                family=family,
                record=record,
                trials=settings.trials,
                folds=folds,
                store=prepared.store.root,
                min_micro_batch=settings.min_micro_batch,
                jobs=jobs,
                threads=max(1, (os.cpu_count() or 1) // (jobs or len(lanes))),
                deterministic=settings.deterministic,
                time_limit_seconds=settings.time_limit / len(chosen) if settings.time_limit else None,
                trial_time_limit_seconds=settings.trial_time_limit,
                lanes=lanes,
            )
            results.append(Study(plan, storage, pool, ledger, tracker, notify).run())
            write_report(settings.workspace, ledger)
    finally:
        tracker.close()
    for family, result in zip(chosen, results, strict=True):
        _crown(settings, prepared, family, result.study, ledger, notify)
    return tuple(results)


def _on_device(record: StudyRecord, device: Device, settings: RunSettings, ledger: Ledger) -> StudyRecord:
    """Return the record of a study that goes on on a device, which it names.

    Raises:
        DeviceError: the study ran on a GPU and would go on on the CPU, or the other way round, without being told to.
    """
    last = record.provenance.device.rpartition(", then ")[2]
    if last == device.name:
        return record
    if settings.device == "auto" and CPU_LANE.device.name in (last, device.name):
        choice = "cpu" if device.uuid is None else "gpu:0"
        raise DeviceError(
            f"{record.study}: its trials ran on {last}, and now there is {device.name}. See `harness doctor`; "
            f"or pass --device {choice} to go on there all the same, and the report names both."
        )
    return ledger.add_device(record, device.name)


def _rivals(study: StudyRecord, ledger: Ledger) -> list[StudyRecord]:
    """Return the studies among which the champion of a family on a data set is chosen."""
    name = (study.family, study.dataset.name)
    return [other for other in ledger.studies() if (other.family, other.dataset.name) == name]


def keep_references(ledger: Ledger, study: StudyRecord, store: Store, folds: Sequence[Fold]) -> None:
    """Score the reference classifiers on what the folds hold out, and keep that beside what is known of others."""
    scored = references(store, folds, study.dataset.genres, study.seed)
    others = (each for each in ledger.results(study.study).references if each.partition != scored[0].partition)
    ledger.keep_files(study.study, {REFERENCES: dump_records((*others, *scored))})


def write_report(workspace: Path, ledger: Ledger) -> list[Path]:
    """Write the report of everything in the workspace and return the files."""
    studies = [ledger.results(study.study) for study in ledger.studies()]
    return write_markdown([study for study in studies if study.trials], workspace / "report" / "RESULTS.md")


def deliver(workspace: Path, tracking_uri: str | None) -> int:
    """Deliver to MLflow what it missed and return how many results it got.

    Raises:
        TrackingError: MLflow cannot be reached, or refused some of them.
        WorkspaceError: a run owns the workspace.
    """
    check_results(workspace)
    with lock_workspace(workspace):
        return send(Ledger(workspace), tracking_uri)


def check_results(workspace: Path) -> None:
    """Raises: WorkspaceError: the folder holds no results. Locking it would make it."""
    if not (workspace / "results").exists():
        raise WorkspaceError(f"{workspace}: holds no results. Name another folder with --workspace.")


def send(ledger: Ledger, tracking_uri: str | None) -> int:
    """Do what `deliver` does, for whoever owns the workspace."""
    from harness.tracking.mlflow.delivery import sync

    own = default_tracking_uri(ledger.workspace)
    root = default_artifact_root(ledger.workspace) if tracking_uri in (None, own) else None
    delivery = sync(ledger, tracking_uri or own, artifact_root=root, artifacts=artifacts, describe=describe)
    if delivery.refused:
        raise TrackingError(f"{delivery.delivered} results were delivered, others not: {'; '.join(delivery.refused)}")
    return delivery.delivered


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open Optuna's storage.

    Raises:
        UsageError: there is no such database, or it cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"--storage {url}: cannot be opened ({first_line}). Give a database address such as sqlite:///FILE, and "
            "check that its server runs."
        ) from error


def _crown(
    settings: RunSettings,
    prepared: Prepared,
    family: Family,
    study: StudyRecord,
    ledger: Ledger,
    notify: Notify,
) -> None:
    """Log the best model of a study's family and make it the champion; a tracking server that is away costs only this.

    The best model that heard with other networks stays what it is: they may not be at hand.
    """
    from harness.tracking.mlflow.registry import register_champion

    best = best_model(ledger, _rivals(study, ledger))
    if best is None or best[0].study.embeddings != study.embeddings:
        return
    results, trial = best
    with TemporaryDirectory() as folder:
        bundle = Path(folder) / "model"
        bundle_trial(ledger, results, trial, family, prepared.extractors, bundle)
        try:
            register_champion(
                settings.tracking,
                results.study,
                trial.number,
                model_dir=bundle,
                python_model=PACKAGE / "inference" / "pyfunc.py",
                code_paths=[PACKAGE],
                pip_requirements=requirements(),
                description=(bundle / CARD).read_text(encoding="utf-8"),
            )
        except TrackingError as error:
            notify(Note(f"the champion of {family.name} was not registered: {error}", warning=True))


def _commit() -> str:
    """Return the commit of the checkout that runs, `+` where it was changed since; empty outside of one."""
    root = Path(harness.__file__).parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
