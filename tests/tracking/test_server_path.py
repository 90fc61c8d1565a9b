"""`harness ui` in a folder with a user's own modules."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.command import ROOT, command
from tests.helpers.mlflow import new_store


@pytest.mark.slow
@pytest.mark.apart
def test_the_server_executes_no_module_of_the_current_folder(tmp_path: Path) -> None:
    """Starts a server."""
    (tmp_path / "work").mkdir()
    new_store(tmp_path / "work")
    for name in ("mlflow", "uvicorn", "random", "signal"):
        (tmp_path / f"{name}.py").write_text("from pathlib import Path\nPath('executed').touch()\nraise SystemExit\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    order = command("ui", "--workspace", "work")
    with subprocess.Popen(order, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("MLflow UI: http://")
        finally:
            process.terminate()
    assert not (tmp_path / "executed").exists()
