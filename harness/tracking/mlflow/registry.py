"""The registry of models: the champion of each data set and family, registered and described."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from harness.errors import TrackingError
from harness.passwords import shown_address
from harness.records.study import StudyRecord
from harness.tracking.mlflow.connection import connect, is_missing, unreachable
from harness.tracking.mlflow.logged_model import ModelFiles, log_model
from harness.tracking.mlflow.runs import find_trial

CHAMPION = "champion"

_DATASET = "dataset.fingerprint"
"""The tag of a registered model that tells two data sets of one name apart."""

MAX_DESCRIPTION = 5_000
"""Characters that MLflow's database keeps of a description."""


def register_champion(
    tracking_uri: str,
    study: StudyRecord,
    number: int,
    model: ModelFiles,
    description: str = "",
) -> str:
    """Log the model of trial `number` with its run, and make it the champion of its data set and family.

    Doing it again for the same trial changes nothing but the description.

    Args:
        tracking_uri: where the trial was delivered to.
        study: the trial's study.
        number: the trial.
        model: its files, which are logged unless the trial's model was logged before.
        description: the model card, as markdown.

    Returns:
        The model's address, such as `models:/DATASET-FAMILY@champion`; see `champion_name`.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such trial.
    """
    description = description[:MAX_DESCRIPTION]
    client = connect(tracking_uri)
    try:
        run = find_trial(client, study, number)
        if run is None:
            raise TrackingError(f"{shown_address(tracking_uri)}: has no run of trial {number} of {study.name}.")
        name = champion_name(client, study)
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run.info.run_id}'")
        if versions:
            version = max(versions, key=lambda each: int(each.version))
        else:
            logged = log_model(client, study, run, model)
            with suppress(MlflowException):
                client.create_registered_model(name, tags={_DATASET: study.dataset.fingerprint})
            version = client.create_model_version(
                name,
                logged.artifact_location,
                run_id=run.info.run_id,
                model_id=logged.model_id,
                description=description,
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
    if is_missing(tracking_uri):
        return
    client = connect(tracking_uri)
    try:
        name = champion_name(client, study)
        if not any(CHAMPION in model.aliases for model in client.search_registered_models(f"name = '{name}'")):
            return
        version = client.get_model_version_by_alias(name, CHAMPION)
        tags = client.get_run(version.run_id).data.tags
        if tags.get("study") == study.name and (card := describe(int(tags["trial"]))) is not None:
            client.update_model_version(name, version.version, card[:MAX_DESCRIPTION])
    except MlflowException as error:
        raise unreachable(tracking_uri, error) from error


def champion_name(client: MlflowClient, study: StudyRecord) -> str:
    """Return the name under which the champion of `study`'s data set and family is registered, or would be.

    It is `DATASET-FAMILY` for the first data set of that name that a store sees. Another one, of other audio or genres,
    has its fingerprint in the name, too: two data sets never share a champion.
    """
    data = study.dataset
    plain, exact = (
        re.sub(r"[/:]", "-", f"{known}-{study.family}") for known in (data.name, f"{data.name}-{data.fingerprint}")
    )
    found = client.search_registered_models(f"name = '{plain}'")
    return exact if found and found[0].tags.get(_DATASET) != data.fingerprint else plain
