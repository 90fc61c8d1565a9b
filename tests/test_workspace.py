"""A workspace has one owner at a time, holds databases whatever its name, and commands on it can be pasted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from pathlib import Path

import optuna
import pytest

from harness.addresses import sqlite_url
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
    optuna.create_study(study_name="study", storage=open_storage(sqlite_url(workspace.root / "optuna.db")))
    client = connect(workspace.mlflow_url)
    experiment = client.create_experiment("music", artifact_location=workspace.artifacts.as_uri())
    client.log_text(client.create_run(experiment).info.run_id, "found", "note.txt")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in workspace.root.iterdir()} == {"optuna.db", "mlflow.db", "mlflow.db.lock", "artifacts"}
    (note,) = workspace.artifacts.rglob("note.txt")
    assert note.read_text() == "found"


@pytest.mark.parametrize("name", ["mein ws", "c#1 & co", "$(touch x)", "it's", "-odd", "Müsik"])
def test_a_command_that_is_printed_can_be_pasted(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / name)
    uri = "http://gpubox:5000/a?b&c"
    for printed, options in (
        (workspace.command("ui"), []),
        (workspace.sync_command(None), []),
        (workspace.sync_command(workspace.mlflow_url), []),
        (workspace.sync_command(uri), ["--tracking-uri", uri]),
    ):
        script = f"harness() {{ for each; do printf '%s\\n' \"$each\"; done; }}; {printed}"
        words = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
        assert words[1:] == ["--workspace", str(tmp_path / name), *options]


def test_a_command_on_the_default_workspace_names_none() -> None:
    assert Workspace(Path("workspace")).command("run all", "--quick") == "harness run all --quick"
