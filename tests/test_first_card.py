"""The notebook for a first card: whole, without outputs, and its cells run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import ROOT

NOTEBOOK: dict[str, Any] = json.loads((ROOT / "docs" / "first_card.ipynb").read_text(encoding="utf-8"))
SCRIPTS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
MAGIC = "%%bash\n"


def test_the_notebook_is_whole_and_stores_no_outputs() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(ids) == len(set(ids)) >= 10
    for cell in NOTEBOOK["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    assert all(script.startswith(MAGIC) for script in SCRIPTS)


def test_without_an_address_it_asks_for_one(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", SCRIPTS[0].removeprefix(MAGIC)], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True
    )
    assert done.returncode == 1
    assert b"set REPOSITORY above" in done.stdout


@pytest.mark.slow
def test_every_cell_runs_on_a_machine_without_a_gpu(tones: Path, tmp_path: Path) -> None:
    """Trains a trial."""
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **{
            "FAMILIES": "cnn2d-mfcc",
            "TRIALS": "1",
            "EPOCHS": "1",
            "DATA": str(tones),
            "OPTIONS": "--protocol random",
            "CLONE": str(ROOT),
        },
    }
    said = []
    for script in SCRIPTS:
        command = ["bash", "-euo", "pipefail", "-c", script.removeprefix(MAGIC)]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, (script, done.stderr)
        said.append(done.stdout + done.stderr)
    installed, doctor, check, search, table = said
    assert "installed already" in installed
    assert "device       Trials run on the CPU." in doctor
    assert "finds none to use" in check
    assert "gpu-check ended with status 2" in check
    assert "cnn2d-mfcc" in search
    assert "| cnn2d-mfcc |" in table
