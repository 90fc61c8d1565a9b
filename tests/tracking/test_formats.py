"""A workspace of another format: every command that reads one says so at once, and leaves it as it is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.records.base import FORMAT
from harness.tracking.ledger import Ledger
from harness.workspace import Workspace
from tests.helpers.command import command
from tests.helpers.ledger import PREDICTIONS, STUDY, completed


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "all", "--quick"),
        ("run", "all", "--dry-run"),
        ("final",),
        ("report",),
        ("predict", "song.wav"),
        ("sync",),
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_command_names_the_format_of_its_workspace(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ledger = Ledger(Workspace(tmp_path))
    ledger.open_study(STUDY)
    ledger.write_trial(completed(0), PREDICTIONS)
    path = tmp_path / "results" / STUDY.name / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": FORMAT + 1}))
    before = path.read_bytes()
    done = subprocess.run(command(*arguments, "--workspace", tmp_path), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {path}: written in format {FORMAT + 1}, and this version reads format {FORMAT}. Use the version of "
        "harness that wrote it, or start a new --workspace.\n"
    )
    assert path.read_bytes() == before
    assert {found.name for found in tmp_path.iterdir()} <= {"results", "lock"}
