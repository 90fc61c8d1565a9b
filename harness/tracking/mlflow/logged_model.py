"""Models as MLflow logs them: put together from a folder and its code, and fetched by any address."""

from __future__ import annotations

import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Array, ColSpec, Schema, TensorSpec

from harness.addresses import sqlite_file
from harness.errors import TrackingError, first_line
from harness.passwords import without_passwords
from harness.records.base import FORMAT
from harness.records.study import StudyRecord
from harness.tracking.mlflow.connection import connect_existing, pages
from harness.tracking.mlflow.relocation import where_now

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


@dataclass(frozen=True)
class ModelFiles:
    """What is logged of a model. It takes a table of `INPUTS` and answers with the column `genre` and, for each genre,
    a column of its name with the probability.

    Attributes:
        folder: what the model loads; it finds the folder at `context.artifacts["model"]`.
        python_model: a file that calls `mlflow.models.set_model`; it is executed when the model is logged, so it must
            import frameworks only when it loads.
        code_paths: packages that the model imports, logged with it.
        pip_requirements: what must be installed to load it.
    """

    folder: Path
    python_model: Path
    code_paths: tuple[Path, ...]
    pip_requirements: tuple[str, ...]


def log_model(client: MlflowClient, study: StudyRecord, run: Run, model: ModelFiles) -> LoggedModel:
    """Log a model with the run of its trial, without loading it, and return it.

    MLflow's own `log_model` would go by the active run and the global store. So the model is put together by hand: its
    entry is created, filled, and declared ready.

    Raises:
        MlflowException: MLflow cannot be reached, or refuses it.
    """
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec("string", "genre"),
        *(ColSpec("double", genre) for genre in study.dataset.genres),
    ]
    logged = client.create_logged_model(
        run.info.experiment_id,
        name=study.family,
        source_run_id=run.info.run_id,
        params=run.data.params,
        tags={
            "format": str(FORMAT),
            "family": study.family,
            "study": study.name,
            "dataset": study.dataset.name,
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to authors of models, which the user is not
            import mlflow.pyfunc  # warns of MLflow's own models

            mlflow.pyfunc.save_model(
                path=str(path),
                python_model=str(model.python_model),
                artifacts={"model": str(model.folder)},
                code_paths=[str(each) for each in model.code_paths] or None,
                pip_requirements=list(model.pip_requirements),
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


def _example() -> pd.DataFrame:
    """Return an input that is good anywhere: a tone."""
    times = np.arange(round(_EXAMPLE_SECONDS * _EXAMPLE_RATE)) / _EXAMPLE_RATE
    return pd.DataFrame({"samples": [np.sin(2 * np.pi * 440 * times).round(3).tolist()], "rate": [_EXAMPLE_RATE]})


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
    client, database = connect_existing(tracking_uri), sqlite_file(tracking_uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        uri = _artifact_uri(client, model_uri)
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=where_now(uri, database) if database else uri, dst_path=str(folder), tracking_uri=tracking_uri
        )
    except Exception as error:  # stores of all kinds fail in ways of their own
        text = (
            f"{model_uri}: cannot be fetched from {tracking_uri} ({first_line(error)}). Check --model, and --workspace"
        )
        raise TrackingError(without_passwords(f"{text} or --tracking-uri.", tracking_uri)) from error
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
