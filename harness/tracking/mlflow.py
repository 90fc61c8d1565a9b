"""Everything that touches MLflow: live curves, delivery of what the ledger holds, reading back, the champion.

A study is a run, a trial is a run nested in it, and both live in the experiment `DATASET/PROTOCOL`. Runs are
found by their tags, never by ids kept elsewhere, so a delivery can be cut off anywhere and done again.
One thread of one process writes, through `MlflowClient`; MLflow's global state is left alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec

from harness.errors import TrackingError, WorkspaceError
from harness.records import (
    EpochRecord,
    Kind,
    Outcome,
    Predictions,
    StudyRecord,
    StudyResults,
    TrialRecord,
    Value,
    is_finite,
)
from harness.tracking.ledger import (
    Entry,
    LazyPredictions,
    Ledger,
    dump_record,
    load_predictions,
    load_record,
    save_predictions,
)

logger = logging.getLogger(__name__)

CHAMPION = "champion"

Artifacts = Callable[[StudyRecord, TrialRecord, Predictions], Mapping[str, bytes]]
"""Makes the artifacts of a completed trial, by file name; pictures are made above this floor."""

_SERIES = ("loss", "accuracy", "val_loss", "val_accuracy")
_FIGURES = (
    *("valid_accuracy", "valid_macro_f1", "train_accuracy", "allocator_peak_bytes", "footprint_bytes"),
    *("parameters", "train_seconds", "epoch_seconds"),
)
_METRICS = {*_SERIES, *_FIGURES, "vram_peak_bytes", "vram_bytes", "epochs"}
_STATUS = {Outcome.COMPLETED: "FINISHED", Outcome.PRUNED: "FINISHED", Outcome.INTERRUPTED: "KILLED"}

_METRICS_PER_BATCH = 800
_PAGE = 1000
_RETRY_SECONDS = 30.0
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}


@dataclass(frozen=True)
class Delivery:
    """What a delivery achieved: how many entries MLflow got, and why each of the others was refused."""

    delivered: int = 0
    refused: tuple[str, ...] = ()


@dataclass
class _Live:
    """A trial in training: its run, once there is one, and the epochs that MLflow has not got yet."""

    study: StudyRecord
    number: int
    params: Mapping[str, Value]
    started: int
    run_id: str | None = None
    epochs: list[tuple[int, EpochRecord]] = field(default_factory=list)


class Tracker:
    """Tells MLflow about a search while it runs, from one background thread.

    No method waits for MLflow, and none raises when it is away: the ledger keeps what MLflow has not
    got, and it is delivered with the next trial that ends, at `close`, or by `sync`.
    """

    def __init__(
        self,
        tracking_uri: str,
        ledger: Ledger,
        *,
        artifact_root: Path | None = None,
        artifacts: Artifacts | None = None,
        warn: Callable[[str], None] = logger.warning,
        interval_seconds: float = 3.0,
    ) -> None:
        """Start the thread.

        Args:
            tracking_uri: an MLflow server, or `sqlite:///FILE`.
            ledger: holds each trial before `trial_ended` is called for it.
            artifact_root: where a new experiment keeps its artifacts; None leaves it to the server.
            artifacts: makes the files of a completed trial.
            warn: told once, when MLflow cannot be reached or refuses something.
            interval_seconds: how often curves are sent.
        """
        self._tracking_uri = tracking_uri
        self._connect = partial(_Store, tracking_uri, artifact_root)
        self._ledger = ledger
        self._artifacts = artifacts
        self._warn = warn
        self._interval = interval_seconds
        self._store: _Store | None = None
        self._running: set[Entry] = set()
        self._live: dict[Entry, _Live] = {}
        self._open: dict[str, StudyRecord] = {}
        self._retry_at = 0.0
        self._warned = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._thread.start()

    def open_study(self, study: StudyRecord) -> None:
        """Show `study` as running."""

        def job() -> None:
            self._open[study.study] = study
            self._attempt(lambda store: store.set_status(store.parent(study), "RUNNING"))

        self._jobs.put(job)

    def trial_started(self, study: StudyRecord, number: int, params: Mapping[str, Value]) -> None:
        """Show trial `number` of `study` as running; what an interrupted attempt at it left is dropped."""
        entry = Entry(study.study, number)
        live = _Live(study, number, dict(params), _now())
        self._running.add(entry)

        def job() -> None:
            self._live[entry] = live
            self._attempt(self._flush)

        self._jobs.put(job)

    def epoch(self, study: str, number: int, epoch: EpochRecord) -> None:
        """Add a point to the curves of a trial in training; it is sent within `interval_seconds`."""
        moment = _now()

        def job() -> None:
            live = self._live.get(Entry(study, number))
            if live is not None:
                live.epochs.append((moment, epoch))

        self._jobs.put(job)

    def trial_ended(self, trial: TrialRecord) -> None:
        """Deliver `trial`, which the ledger holds, and all that waits."""
        entry = Entry(trial.study, trial.number)

        def job() -> None:
            self._live.pop(entry, None)
            self._running.discard(entry)
            self._attempt(self._deliver)

        self._jobs.put(job)

    def study_ended(self, study: str) -> None:
        """Deliver what `Ledger.end_study` stored, and show the study as finished."""

        def job() -> None:
            record = self._open.pop(study, None)
            self._attempt(self._deliver)
            if record is not None:
                self._attempt(lambda store: store.set_status(store.parent(record), "FINISHED"))

        self._jobs.put(job)

    def close(self, timeout_seconds: float = 60.0) -> None:
        """Deliver all that waits unless MLflow failed a moment ago, show what was cut off as killed, end the thread."""
        self._jobs.put(None)
        self._thread.join(timeout_seconds)
        if waiting := len(self._ledger.pending()):
            self._warn(
                f"MLflow has not got {waiting} results yet; they are kept. Deliver them with: harness sync "
                f"--workspace {self._ledger.workspace} --tracking-uri {self._tracking_uri}"
            )

    def _work(self) -> None:
        due = time.monotonic() + self._interval
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                self._attempt(self._flush)
                due = time.monotonic() + self._interval
                continue
            if job is None:
                break
            job()
        self._attempt(self._finish)

    def _attempt(self, action: Callable[[_Store], None]) -> None:
        """Do `action`, unless MLflow failed a moment ago. Whatever fails here, the search must not suffer."""
        if time.monotonic() < self._retry_at:
            return
        try:
            if self._store is None:
                self._store = self._connect()
            action(self._store)
        except Exception as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            self._warn_once(_first_line(error))

    def _warn_once(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"MLflow: {reason} The search goes on, and its results are kept for later delivery.")

    def _flush(self, store: _Store) -> None:
        for live in self._live.values():
            if live.run_id is None:
                live.run_id = store.restart_trial(live.study, live.number, live.params, live.started)
            metrics = [
                Metric(key, value, moment, step)
                for moment, epoch in live.epochs
                for key, step, value in _curve_points(epoch)
            ]
            store.log(live.run_id, metrics)
            live.epochs.clear()

    def _deliver(self, store: _Store) -> None:
        # The ledger may be ahead of this thread: a trial whose start has not been shown must wait for its turn.
        delivery = _deliver_pending(store, self._ledger, self._artifacts, self._open, self._running)
        for reason in delivery.refused:
            self._warn_once(reason)

    def _finish(self, store: _Store) -> None:
        self._flush(store)
        self._deliver(store)
        for live in self._live.values():
            if live.run_id is not None:
                store.set_status(live.run_id, "KILLED")
        for study in self._open.values():
            store.set_status(store.parent(study), "KILLED")


def sync(
    ledger: Ledger,
    tracking_uri: str,
    *,
    artifact_root: Path | None = None,
    artifacts: Artifacts | None = None,
) -> Delivery:
    """Deliver to MLflow what it missed. No search may be running: own the workspace first.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    return _deliver_pending(_Store(tracking_uri, artifact_root), ledger, artifacts)


def read_studies(tracking_uri: str) -> tuple[StudyResults, ...]:
    """Return all studies that MLflow holds, by family, then by name, with the trials that were delivered.

    The records equal those of the ledger they came from. Predictions are fetched when they are asked for.

    Raises:
        TrackingError: MLflow cannot be reached, or there is no such store.
    """
    database = _sqlite_file(tracking_uri)
    if database is not None and not database.exists():
        raise TrackingError(f"{database}: there is no MLflow store. Check --workspace or --tracking-uri.")
    client = _connect(tracking_uri)
    try:
        experiments = [each.experiment_id for each in _pages(lambda token: client.search_experiments(page_token=token))]
        parents: dict[str, Run] = {}
        for run in _search(client, experiments, {"kind": Kind.STUDY}) if experiments else []:
            parents.setdefault(run.data.tags["study"], run)
        results = [_read_study(client, run) for run in parents.values()]
    except MlflowException as error:
        raise _unreachable(tracking_uri, error) from error
    found = [result for result in results if result is not None]
    return tuple(sorted(found, key=lambda result: (result.study.family, result.study.study)))


def register_champion(
    tracking_uri: str,
    study: StudyRecord,
    number: int,
    *,
    model_dir: Path,
    python_model: Path,
    code_paths: Sequence[Path],
    pip_requirements: Sequence[str],
) -> str:
    """Log the model of trial `number` with its run, and make it the champion of its data set and family.

    The model takes a table with the column `audio` (paths) and answers with the column `genre` and, for each
    genre, a column of its name with the probability. Doing it again for the same trial changes nothing.

    Args:
        tracking_uri: where the trial was delivered to.
        study: the trial's study.
        number: the trial.
        model_dir: what the model loads; it finds the folder at `context.artifacts["model"]`.
        python_model: a file that calls `mlflow.models.set_model`; it is executed here, so it must import
            frameworks only when it loads.
        code_paths: packages that the model imports, logged with it.
        pip_requirements: what must be installed to load it.

    Returns:
        The model's address: `models:/DATASET-FAMILY@champion`.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such trial.
    """
    name = champion_name(study)
    client = _connect(tracking_uri)
    try:
        run = _Store.find(client, study, number)
        if run is None:
            raise TrackingError(
                f"{tracking_uri}: has no run of trial {number} of {study.study}. Deliver it first with: harness sync "
                f"--tracking-uri {tracking_uri}"
            )
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run.info.run_id}'")
        if versions:
            version = max(versions, key=lambda each: int(each.version))
        else:
            model = _log_model(client, study, run, model_dir, python_model, code_paths, pip_requirements)
            with suppress(MlflowException):
                client.create_registered_model(name)
            version = client.create_model_version(
                name, model.artifact_location, run_id=run.info.run_id, model_id=model.model_id
            )
        if CHAMPION not in version.aliases:
            client.set_registered_model_alias(name, CHAMPION, version.version)
    except MlflowException as error:
        raise _unreachable(tracking_uri, error) from error
    return f"models:/{name}@{CHAMPION}"


def champion_name(study: StudyRecord) -> str:
    """Return the name under which the champion of `study`'s data set and family is registered."""
    return re.sub(r"[/:]", "-", f"{study.dataset.name}-{study.family}")


def download_model(tracking_uri: str, model_uri: str, folder: Path) -> Path:
    """Fetch a logged model into `folder`, and return where it lies.

    Args:
        tracking_uri: the store that knows the model.
        model_uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/ID`, or any address of its artifacts.
        folder: made if it is not there.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such model.
    """
    client = _connect(tracking_uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=_artifact_uri(client, model_uri), dst_path=str(folder), tracking_uri=tracking_uri
        )
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{model_uri}: cannot be fetched from {tracking_uri} ({_first_line(error)}). "
            "Check --model, and --workspace or --tracking-uri."
        ) from error
    return Path(path)


def _artifact_uri(client: MlflowClient, model_uri: str) -> str:
    """Return where the artifacts of a model lie. MLflow itself would look `models:/` up in its global store."""
    match = re.fullmatch(r"models:/([^/@]+)(?:@([^/]+)|/(\d+))?", model_uri)
    if match is None:
        return model_uri
    name, alias, version = match.groups()
    if alias:
        version = client.get_model_version_by_alias(name, alias).version
    uri: str = (
        client.get_model_version_download_uri(name, version)
        if version
        else client.get_logged_model(name).artifact_location
    )
    return uri


class _Store:
    """The runs of studies and trials in one MLflow store."""

    def __init__(self, tracking_uri: str, artifact_root: Path | None) -> None:
        self.client = _connect(tracking_uri)
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        self._experiments: dict[str, str] = {}
        self._parents: dict[str, str] = {}

    def ping(self) -> None:
        """Raises: TrackingError: the store does not answer."""
        try:
            self.client.search_experiments(max_results=1)
        except MlflowException as error:
            raise _unreachable(self._uri, error) from error

    def parent(self, study: StudyRecord) -> str:
        """Return the id of the study's run, made if there is none."""
        if study.study not in self._parents:
            runs = _search(self.client, [self._experiment(study)], {"kind": Kind.STUDY, "study": study.study})
            self._parents[study.study] = runs[0].info.run_id if runs else self._create_parent(study)
        return self._parents[study.study]

    def restart_trial(self, study: StudyRecord, number: int, params: Mapping[str, Value], started: int) -> str:
        """Return the id of a fresh run of a trial; one that an interrupted attempt left is deleted."""
        run = self.find(self.client, study, number)
        if run is not None:
            self.client.delete_run(run.info.run_id)
        run_id = self._create_trial(study, number, started)
        self.log(run_id, [], {**params, "budget_bytes": study.budget_bytes})
        return run_id

    def deliver_study(self, study: StudyRecord, files: Mapping[str, bytes], status: str) -> None:
        run_id = self.parent(study)
        self._upload(run_id, {**files, "study.json": dump_record(study)})
        self.set_status(run_id, status)

    def deliver_trial(self, study: StudyRecord, trial: TrialRecord, files: Mapping[str, bytes]) -> None:
        """Bring the run of `trial` to what the record says, from whatever state an earlier attempt left it in."""
        points = _trial_points(trial)
        params: dict[str, Value] = {**trial.params, "budget_bytes": study.budget_bytes}
        if trial.micro_batch is not None:
            params["micro_batch"] = trial.micro_batch
        run = self.find(self.client, study, trial.number)
        logged: set[tuple[str, int, float]] = set()
        if run is not None:
            logged = self._points(run)
            same_params = all(run.data.params.get(key, str(value)) == str(value) for key, value in params.items())
            if not same_params or not logged <= points.keys():
                self.client.delete_run(run.info.run_id)
                run, logged = None, set()
        started, ended = _milliseconds(trial.started), _milliseconds(trial.ended)
        run_id = run.info.run_id if run is not None else self._create_trial(study, trial.number, started or _now())
        self._upload(run_id, {**files, "trial.json": dump_record(trial)})
        missing = [
            Metric(key, value, moment, step)
            for (key, step, value), moment in points.items()
            if (key, step, value) not in logged
        ]
        self.log(run_id, missing, params, {"outcome": trial.outcome, "vram.source": trial.reading.source})
        result = f"{trial.valid_macro_f1:.2f}" if trial.completed and trial.valid_macro_f1 else str(trial.outcome)
        self.client.update_run(run_id, name=f"{_trial_name(study, trial.number)} · {result}")
        self.set_status(run_id, _STATUS.get(trial.outcome, "FAILED"), ended)

    def set_status(self, run_id: str, status: str, ended: int | None = None) -> None:
        if status == "RUNNING":
            self.client.update_run(run_id, status=status)
        else:
            self.client.set_terminated(run_id, status, ended)

    def log(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Mapping[str, Value] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log all in one request, or in as few as MLflow's limits allow; parameters that are there already stay."""
        head = [Param(key, str(value)) for key, value in (params or {}).items()]
        labels = [RunTag(key, str(value)) for key, value in (tags or {}).items()]
        if head or labels or metrics:
            self.client.log_batch(run_id, metrics[:_METRICS_PER_BATCH], head, labels)
        for start in range(_METRICS_PER_BATCH, len(metrics), _METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics[start : start + _METRICS_PER_BATCH])

    @staticmethod
    def find(client: MlflowClient, study: StudyRecord, number: int) -> Run | None:
        """Return the run of a trial. A second one, which a repeated request can leave, is deleted."""
        experiment = client.get_experiment_by_name(_experiment_name(study))
        if experiment is None:
            return None
        tags = {"kind": Kind.TRIAL, "study": study.study, "trial": str(number)}
        runs = _search(client, [experiment.experiment_id], tags)
        for extra in runs[1:]:
            client.delete_run(extra.info.run_id)
        return runs[0] if runs else None

    def _experiment(self, study: StudyRecord) -> str:
        name = _experiment_name(study)
        if name not in self._experiments:
            experiment = self.client.get_experiment_by_name(name)
            if experiment is not None and experiment.lifecycle_stage == "deleted":
                raise TrackingError(
                    f"{self._uri}: the experiment {name} was deleted. Restore it with: "
                    f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
                )
            location = self._artifact_root.resolve().as_uri() if self._artifact_root is not None else None
            self._experiments[name] = (
                experiment.experiment_id if experiment is not None else self.client.create_experiment(name, location)
            )
        return self._experiments[name]

    def _create_parent(self, study: StudyRecord) -> str:
        tags = {**_tags(study), "kind": Kind.STUDY, "mlflow.note.content": study.description}
        name = f"{study.family} · {study.study.removeprefix(f'{study.family}-')}"
        run_id: str = self.client.create_run(self._experiment(study), tags=tags, run_name=name).info.run_id
        self.log(run_id, [], {"budget_bytes": study.budget_bytes})
        return run_id

    def _create_trial(self, study: StudyRecord, number: int, started: int) -> str:
        links = {"kind": Kind.TRIAL, "trial": str(number), "mlflow.parentRunId": self.parent(study)}
        run = self.client.create_run(
            self._experiment(study), started, {**_tags(study), **links}, run_name=_trial_name(study, number)
        )
        run_id: str = run.info.run_id
        return run_id

    def _points(self, run: Run) -> set[tuple[str, int, float]]:
        return {
            (point.key, point.step, point.value)
            for key in _METRICS & run.data.metrics.keys()
            for point in self.client.get_metric_history(run.info.run_id, key)
        }

    def _upload(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            self.client.log_artifacts(run_id, folder)


def _deliver_pending(
    store: _Store,
    ledger: Ledger,
    artifacts: Artifacts | None,
    open_studies: Container[str] = (),
    running: Container[Entry] = (),
) -> Delivery:
    """Deliver all that waits and is not running. What fails while MLflow answers stays in the outbox.

    Raises:
        TrackingError: MLflow does not answer any more.
    """
    delivered, refused = 0, []
    for entry in ledger.pending():
        if entry in running:
            continue
        try:
            _deliver_entry(store, ledger, artifacts, entry, "RUNNING" if entry.study in open_studies else "FINISHED")
        except Exception as error:
            store.ping()
            what = entry.study if entry.number is None else f"trial {entry.number} of {entry.study}"
            refused.append(f"{what} could not be delivered ({_first_line(error)}).")
        else:
            ledger.delivered(entry)
            delivered += 1
    return Delivery(delivered, tuple(refused))


def _deliver_entry(store: _Store, ledger: Ledger, artifacts: Artifacts | None, entry: Entry, status: str) -> None:
    study = ledger.study(entry.study)
    if entry.number is None:
        store.deliver_study(study, ledger.files(entry.study), status)
        return
    trial = ledger.trial(entry.study, entry.number)
    if trial is None:
        raise WorkspaceError(f"{entry.study}: the record of trial {entry.number} is gone.")
    files: dict[str, bytes] = {}
    if trial.completed:
        predictions = ledger.predictions(entry.study, entry.number)
        files |= artifacts(study, trial, predictions) if artifacts is not None else {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "predictions.npz")
            save_predictions(path, predictions)
            files[path.name] = path.read_bytes()
    store.deliver_trial(study, trial, files)


def _read_study(client: MlflowClient, parent: Run) -> StudyResults | None:
    """Return the study of run `parent`, or None where it was not delivered yet."""
    if not _has(client, parent, "study.json"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        study = load_record(StudyRecord, _fetch(client, parent, "study.json", folder))
    trials: dict[int, tuple[TrialRecord, Run]] = {}
    for run in _search(client, [parent.info.experiment_id], {"kind": Kind.TRIAL, "study": study.study}):
        if "outcome" in run.data.tags:
            with tempfile.TemporaryDirectory() as folder:
                trial = load_record(TrialRecord, _fetch(client, run, "trial.json", folder))
            trials.setdefault(trial.number, (trial, run))

    def fetch_predictions(number: int) -> Predictions:
        with tempfile.TemporaryDirectory() as folder:
            return load_predictions(_fetch(client, trials[number][1], "predictions.npz", folder))

    ordered = tuple(trials[number][0] for number in sorted(trials))
    completed = tuple(trial.number for trial in ordered if trial.completed)
    return StudyResults(study, ordered, LazyPredictions(completed, fetch_predictions))


def _log_model(
    client: MlflowClient,
    study: StudyRecord,
    run: Run,
    model_dir: Path,
    python_model: Path,
    code_paths: Sequence[Path],
    pip_requirements: Sequence[str],
) -> LoggedModel:
    """Return a logged model, made from its code without loading it."""
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec("string", "genre"),
        *(ColSpec("double", genre) for genre in study.dataset.genres),
    ]
    logged = client.create_logged_model(
        run.info.experiment_id,
        name=study.family,
        source_run_id=run.info.run_id,
        params=run.data.params,
        tags={"family": study.family, "study": study.study, "dataset": study.dataset.name},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to authors of models, which the user is not
            import mlflow.pyfunc

            mlflow.pyfunc.save_model(
                path=str(path),
                python_model=str(python_model),
                artifacts={"model": str(model_dir)},
                code_paths=[str(each) for each in code_paths] or None,
                pip_requirements=list(pip_requirements),
                signature=ModelSignature(Schema([ColSpec("string", "audio")]), Schema(outputs)),
                mlflow_model=Model(
                    artifact_path=logged.artifact_location,
                    run_id=run.info.run_id,
                    model_uuid=logged.model_id,
                    model_id=logged.model_id,
                ),
            )
        client.log_model_artifacts(logged.model_id, str(path))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged


def _connect(tracking_uri: str) -> MlflowClient:
    """Return a client of a store that answers.

    Raises:
        TrackingError: it does not.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL", "ERROR"))
    try:
        with _opening(tracking_uri):
            client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
            client.search_experiments(max_results=1)
    except Exception as error:
        raise _unreachable(tracking_uri, error) from error
    return client


@contextmanager
def _opening(tracking_uri: str) -> Iterator[None]:
    """Let one process at a time open an SQLite store: two that create its tables at once crash each other."""
    database = _sqlite_file(tracking_uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sqlite_file(tracking_uri: str) -> Path | None:
    path = tracking_uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(path) if tracking_uri.startswith("sqlite:///") and path not in ("", ":memory:") else None


def _unreachable(tracking_uri: str, error: Exception) -> TrackingError:
    return TrackingError(
        f"{tracking_uri}: the MLflow store cannot be used ({_first_line(error)}). Check the address and that it is up."
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _pages(fetch: Callable[[str | None], Any]) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = fetch(token)
        yield from page
        token = page.token
        if not token:
            return


def _search(client: MlflowClient, experiments: Sequence[str], tags: Mapping[str, str]) -> list[Run]:
    """Return the runs that carry `tags`, the oldest first."""
    condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    order = ["attributes.start_time ASC"]
    return list(
        _pages(
            lambda token: client.search_runs(
                list(experiments), condition, max_results=_PAGE, order_by=order, page_token=token
            )
        )
    )


def _has(client: MlflowClient, run: Run, name: str) -> bool:
    return any(file.path == name for file in client.list_artifacts(run.info.run_id))


def _fetch(client: MlflowClient, run: Run, name: str, folder: str) -> Path:
    """Fetch one artifact of `run`. Going by its address spares the look-ups that MLflow makes for a run's id."""
    uri = f"{run.info.artifact_uri}/{name}"
    return Path(
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=client.tracking_uri)
    )


def _experiment_name(study: StudyRecord) -> str:
    return f"{study.dataset.name}/{study.protocol.name}"


def _trial_name(study: StudyRecord, number: int) -> str:
    return f"{study.family} · trial {number}"


def _tags(study: StudyRecord) -> dict[str, str]:
    return {
        "family": study.family,
        "study": study.study,
        "space": study.space,
        "dataset": study.dataset.name,
        "protocol": study.protocol.name,
        "commit": study.provenance.commit,
    }


def _curve_points(epoch: EpochRecord) -> list[tuple[str, int, float]]:
    values = ((key, float(getattr(epoch, key))) for key in _SERIES)
    return [(key, epoch.epoch, value) for key, value in values if is_finite(value)]


def _trial_points(trial: TrialRecord) -> dict[tuple[str, int, float], int]:
    """Return each (metric, step, value) of `trial` with its time in ms since 1970."""
    start, end = _milliseconds(trial.started) or _now(), _milliseconds(trial.ended) or _now()
    seconds = accumulate(epoch.seconds for epoch in trial.epochs)
    points = {
        point: start + round(1000 * passed)
        for epoch, passed in zip(trial.epochs, seconds, strict=True)
        for point in _curve_points(epoch)
    }
    points |= {
        ("vram_bytes", step, float(held)): start + round(1000 * passed)
        for step, (passed, held) in enumerate(trial.vram_series)
    }
    figures = {key: getattr(trial, key) for key in _FIGURES}
    figures |= {"vram_peak_bytes": trial.reading.peak_bytes, "epochs": len(trial.epochs)}
    return points | {(key, 0, float(value)): end for key, value in figures.items() if is_finite(value)}


def _milliseconds(moment: str) -> int | None:
    """Return an ISO 8601 moment, UTC unless it says otherwise, in ms since 1970; None where there is none."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return round(1000 * (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def _now() -> int:
    return round(time.time() * 1000)
