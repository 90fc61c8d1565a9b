"""One process at a time owns a workspace."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from harness.errors import WorkspaceError
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
