"""`make test` leaves the machine as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.helpers.command import ROOT


def test_a_browser_is_asked_for_and_not_installed(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "id", "make"):
        (programs / name).symlink_to(shutil.which(name) or name)
    (programs / "apt-get").write_text(f"#!/bin/sh\n: > {tmp_path / 'installed'}\n")
    (programs / "apt-get").chmod(0o755)
    (programs / "python").symlink_to(shutil.which("true") or "true")  # the tests themselves are running already
    order = ["make", "--assume-old=env", "test", f"BIN={programs}"]
    environment = {"PATH": str(programs)}
    done = subprocess.run(order, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "sudo apt-get install chromium chromium-driver" in done.stdout
    assert os.listdir(tmp_path) == ["programs"]
