"""The registry of models: the champion of each data set and family, registered and described."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from mlflow.exceptions import MlflowException

from harness.errors import TrackingError
from harness.records.study import StudyRecord
from harness.tracking.mlflow.connection import connect, is_missing, unreachable
from harness.tracking.mlflow.logged_model import ModelFiles, log_model
from harness.tracking.mlflow.runs import find_trial

CHAMPION = "champion"

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
        The model's address: `models:/DATASET-FAMILY@champion`.

    Raises:
        TrackingError: MLflow cannot be reached, or has no such trial.
    """
    name, description = champion_name(study), description[:MAX_DESCRIPTION]
    client = connect(tracking_uri)
    try:
        run = find_trial(client, study, number)
        if run is None:
            raise TrackingError(
                f"{tracking_uri}: has no run of trial {number} of {study.name}. Deliver it first with: harness sync "
                f"--tracking-uri {tracking_uri}"
            )
        versions = client.search_model_versions(f"name = '{name}' and run_id = '{run.info.run_id}'")
        if versions:
            version = max(versions, key=lambda each: int(each.version))
        else:
            logged = log_model(client, study, run, model)
            with suppress(MlflowException):
                client.create_registered_model(name)
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
    client, name = connect(tracking_uri), champion_name(study)
    try:
        if not any(CHAMPION in model.aliases for model in client.search_registered_models(f"name = '{name}'")):
            return
        version = client.get_model_version_by_alias(name, CHAMPION)
        tags = client.get_run(version.run_id).data.tags
        if tags.get("study") == study.name and (card := describe(int(tags["trial"]))) is not None:
            client.update_model_version(name, version.version, card[:MAX_DESCRIPTION])
    except MlflowException as error:
        raise unreachable(tracking_uri, error) from error


def champion_name(study: StudyRecord) -> str:
    """Return the name under which the champion of `study`'s data set and family is registered."""
    return re.sub(r"[/:]", "-", f"{study.dataset.name}-{study.family}")
