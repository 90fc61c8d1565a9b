"""One process at a time owns a workspace."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import optuna
import pytest

from harness.errors import WorkspaceError
from harness.search.storage import open_storage
from harness.tracking.mlflow.connection import connect
from harness.workspace import Workspace


def test_a_second_run_is_told_who_owns_the_workspace(tmp_path: Path) -> None:
    second = Workspace(tmp_path).lock()
    with Workspace(tmp_path).lock(), pytest.raises(WorkspaceError, match=f"process {os.getpid()}"):
        second.__enter__()
    with Workspace(tmp_path).lock():
        pass


def test_a_killed_run_lets_go_of_the_workspace(tmp_path: Path) -> None:
    def own_and_die() -> None:
        with Workspace(tmp_path).lock():
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=own_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with Workspace(tmp_path).lock():
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_file_in_the_way_of_the_workspace_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(WorkspaceError, match="taken"), Workspace(tmp_path / "taken").lock():
        pass


@pytest.mark.parametrize("name", ["100%41 what? c#1 & {SCHEMA_VERSION} Mü音", "?mode=memory"])
def test_both_databases_lie_in_the_workspace_whatever_its_name(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / name)
    workspace.root.mkdir()
    optuna.create_study(study_name="study", storage=open_storage(workspace.optuna_url))
    client = connect(workspace.mlflow_url)
    experiment = client.create_experiment("music", artifact_location=workspace.artifacts.as_uri())
    client.log_text(client.create_run(experiment).info.run_id, "found", "note.txt")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in workspace.root.iterdir()} == {"optuna.db", "mlflow.db", "mlflow.db.lock", "artifacts"}
    (note,) = workspace.artifacts.rglob("note.txt")
    assert note.read_text() == "found"
