"""What this project takes for granted of libraries, beyond what they promise; each failure says what stands on it.

An upgrade that breaks an assumption fails here, with a sentence, and not in a trial.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


class TestMLflow:
    """Of MLflow's user interface, tags, limits and models that are logged by hand."""

    @pytest.fixture(scope="class")
    def interface(self) -> str:
        """The scripts of MLflow's web pages."""
        found = find_spec("mlflow")
        assert found is not None
        assert found.origin is not None
        scripts = Path(found.origin).parent.joinpath("server", "js", "build").rglob("*.js")
        return "\n".join(path.read_text(encoding="utf-8") for path in scripts)

    @pytest.mark.parametrize(
        "name",
        [
            *("mlflow.sharedViewState.", "viewStateShareKey", "workflowType", "machine_learning"),
            *("selectedColumns", "columnOrder", "columnWidths", "searchFilter", "orderByKey", "orderByAsc"),
        ],
    )
    def test_the_table_of_runs_reads_its_saved_views(self, interface: str, name: str) -> None:
        """`tracking/mlflow/views.py` writes them."""
        assert name in interface, f"MLflow's UI does not know {name!r} any more: `harness ui` opens without its views"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MLFLOW_RUN_NOTE", "mlflow.note.content"),
            ("MLFLOW_PARENT_RUN_ID", "mlflow.parentRunId"),
            ("MLFLOW_DATASET_CONTEXT", "mlflow.data.context"),
        ],
    )
    def test_tags_mean_what_they_meant(self, name: str, value: str) -> None:
        """`tracking/mlflow/schema.py` takes them from a module without a promise."""
        from mlflow.utils import mlflow_tags

        assert getattr(mlflow_tags, name, None) == value, f"{name} is another tag: runs lose their place or their text"

    def test_a_request_takes_as_much_as_is_sent(self) -> None:
        """`tracking/mlflow/runs.py` sends points of curves in batches, the first with parameters and tags."""
        from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_METRICS_PER_BATCH

        from harness.tracking.mlflow.runs import METRICS_PER_BATCH

        assert METRICS_PER_BATCH <= MAX_METRICS_PER_BATCH, "MLflow refuses a batch of so many points"
        assert METRICS_PER_BATCH + 100 <= MAX_ENTITIES_PER_BATCH, "MLflow refuses the points with their parameters"

    def test_a_description_is_not_cut_off(self) -> None:
        """`tracking/mlflow/registry.py` shortens model cards to what the database keeps."""
        from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

        from harness.tracking.mlflow.registry import MAX_DESCRIPTION

        kept = SqlModelVersion.description.type.length
        assert kept is None or kept >= MAX_DESCRIPTION, f"MLflow keeps {kept} characters of a model card"

    @pytest.mark.parametrize(
        "name",
        [
            "MLFLOW_HTTP_REQUEST_TIMEOUT",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
            "MLFLOW_UV_AUTO_DETECT",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
        ],
    )
    def test_its_settings_have_their_names(self, name: str) -> None:
        """`tracking/mlflow/connection.py` and `tracking/server.py` set them."""
        from mlflow import environment_variables

        assert hasattr(environment_variables, name), f"MLflow does not read {name}: it waits, prints or starts more"

    def test_a_model_can_be_put_together_by_hand(self) -> None:
        """`tracking/mlflow/logged_model.py` logs without the active run and the global store."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own models
            import mlflow.pyfunc
        from mlflow import MlflowClient
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        def lacking(function: Callable[..., Any], *names: str) -> set[str]:
            return set(names) - inspect.signature(function).parameters.keys()

        why = "champions cannot be logged"
        create = MlflowClient.create_logged_model
        assert not lacking(create, "experiment_id", "name", "source_run_id", "params", "tags"), why
        assert not lacking(MlflowClient.log_model_artifacts, "model_id", "local_dir"), why
        assert not lacking(MlflowClient.finalize_logged_model, "model_id", "status"), why
        assert not lacking(MlflowClient.log_outputs, "run_id", "models"), why
        assert not lacking(LoggedModelOutput, "model_id", "step"), why
        assert not lacking(Model, "artifact_path", "run_id", "model_uuid", "model_id"), why
        assert not lacking(mlflow.pyfunc.save_model, "python_model", "artifacts", "code_paths", "mlflow_model"), why
