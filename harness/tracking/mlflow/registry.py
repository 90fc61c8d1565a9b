"""The registry of models: the champion of each data set and family, logged, registered and fetched."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, Schema, TensorSpec

from harness.errors import TrackingError
from harness.records import StudyRecord
from harness.tracking.mlflow.connection import connect, first_line, pages, sqlite_file, unreachable
from harness.tracking.mlflow.store import find_trial

CHAMPION = "champion"

INPUTS = Schema(
    [
        ColSpec("string", "audio", required=False),
        ColSpec(Array("double"), "samples", required=False),
        ColSpec("long", "rate", required=False),
    ]
)
"""What a model takes, a table of either kind: `audio`, paths of files where the model runs; or `samples`, waveforms of
one channel in [-1, 1], with their `rate` in Hz."""

_EXAMPLE_RATE, _EXAMPLE_SECONDS = 4_000, 3.5
_MOST_TEXT = 5_000
"""Characters that MLflow's database keeps of a description."""


def register_champion(
    tracking_uri: str,
    study: StudyRecord,
    number: int,
    *,
    model_dir: Path,
    python_model: Path,
    code_paths: Sequence[Path],
    pip_requirements: Sequence[str],
    description: str = "",
) -> str:
    """Log the model of trial `number` with its run, and make it the champion of its data set and family.

    The model takes a table of `INPUTS` and answers with the column `genre` and, for each genre, a column of its name
    with the probability. Doing it again for the same trial changes nothing but the description.

    Args:
        tracking_uri: where the trial was delivered to.
        study: the trial's study.
        number: the trial.
        model_dir: what the model loads; it finds the folder at `context.artifacts["model"]`.
        python_model: a file that calls `mlflow.models.set_model`; it is executed here, so it must import
            frameworks only when it loads.
        code_paths: packages that the model imports, logged with it.
        pip_requirements: what must be installed to load it.
        description: the model card, as markdown.

    Returns:
        The model's address: `models:/DATASET-FAMILY@champion`.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such trial.
    """
    name, description = champion_name(study), description[:_MOST_TEXT]
    client = connect(tracking_uri)
    try:
        run = find_trial(client, study, number)
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
                name, model.artifact_location, run_id=run.info.run_id, model_id=model.model_id, description=description
            )
        if description != (version.description or ""):
            client.update_model_version(name, version.version, description)
        if CHAMPION not in version.aliases:
            client.set_registered_model_alias(name, CHAMPION, version.version)
    except MlflowException as error:
        raise unreachable(tracking_uri, error) from error
    return f"models:/{name}@{CHAMPION}"


def describe_champion(tracking_uri: str, study: StudyRecord, describe: Callable[[int], str | None]) -> None:
    """Renew the description of the champion of `study`'s data set and family, where it is a trial of this study.

    Args:
        tracking_uri: where it is registered, if it is.
        study: what became known of this one.
        describe: returns the model card of a trial, as markdown, by its number; None if it knows no such trial.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    database = sqlite_file(tracking_uri)
    if database is not None and not database.exists():
        return
    client, name = connect(tracking_uri), champion_name(study)
    try:
        if not any(CHAMPION in model.aliases for model in client.search_registered_models(f"name = '{name}'")):
            return
        version = client.get_model_version_by_alias(name, CHAMPION)
        tags = client.get_run(version.run_id).data.tags
        if tags.get("study") == study.study and (card := describe(int(tags["trial"]))) is not None:
            client.update_model_version(name, version.version, card[:_MOST_TEXT])
    except MlflowException as error:
        raise unreachable(tracking_uri, error) from error


def champion_name(study: StudyRecord) -> str:
    """Return the name under which the champion of `study`'s data set and family is registered."""
    return re.sub(r"[/:]", "-", f"{study.dataset.name}-{study.family}")


def download_model(tracking_uri: str, model_uri: str, folder: Path) -> Path:
    """Fetch a logged model into `folder`, and return where it lies.

    Args:
        tracking_uri: the store that knows the model.
        model_uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/ID`, `runs:/RUN` or `runs:/RUN/NAME`, or any
            address of its artifacts.
        folder: made if it is not there.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such model.
    """
    database = sqlite_file(tracking_uri)
    if database is not None and not database.exists():
        raise TrackingError(f"{database}: there is no MLflow store. Check --workspace or --tracking-uri.")
    client = connect(tracking_uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        uri = _artifact_uri(client, model_uri)
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=_as_moved(uri, database) if database else uri, dst_path=str(folder), tracking_uri=tracking_uri
        )
    except Exception as error:  # stores of all kinds fail in ways of their own
        raise TrackingError(
            f"{model_uri}: cannot be fetched from {tracking_uri} ({first_line(error)}). "
            "Check --model, and --workspace or --tracking-uri."
        ) from error
    return Path(path)


def _artifact_uri(client: MlflowClient, model_uri: str) -> str:
    """Return where the artifacts of a model lie. MLflow itself would look `models:/` up in its global store."""
    if match := re.fullmatch(r"runs:/([^/]+)(?:/(.+))?", model_uri):
        location: str = _logged_with(client, *match.groups()).artifact_location
        return location
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


def _as_moved(artifact_uri: str, database: Path) -> str:
    """Return where a model lies that lay beside its database, in `artifacts/models/ID/artifacts`, before both moved."""
    path = Path(artifact_uri.removeprefix("file://"))
    moved = database.parent.joinpath(*path.parts[-4:])
    return str(moved) if not path.exists() and moved.exists() else artifact_uri


def _logged_with(client: MlflowClient, run_id: str, name: str | None) -> LoggedModel:
    """Return the model that was logged with a run, by its name if there is one.

    Raises:
        MlflowException: there is no such run, or no such model.
    """
    experiment = client.get_run(run_id).info.experiment_id
    for model in pages(lambda token: client.search_logged_models([experiment], page_token=token)):
        if model.source_run_id == run_id and name in (None, model.name):
            return model
    raise MlflowException("no such model was logged with this run; champions are logged, and no others")


def _example() -> pd.DataFrame:
    """Return an input that is good anywhere: a tone."""
    times = np.arange(round(_EXAMPLE_SECONDS * _EXAMPLE_RATE)) / _EXAMPLE_RATE
    return pd.DataFrame({"samples": [np.sin(2 * np.pi * 440 * times).round(3).tolist()], "rate": [_EXAMPLE_RATE]})


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
            import mlflow.pyfunc  # warns of MLflow's own models

            mlflow.pyfunc.save_model(
                path=str(path),
                python_model=str(python_model),
                artifacts={"model": str(model_dir)},
                code_paths=[str(each) for each in code_paths] or None,
                pip_requirements=list(pip_requirements),
                signature=ModelSignature(INPUTS, Schema(outputs)),
                input_example=_example(),
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
