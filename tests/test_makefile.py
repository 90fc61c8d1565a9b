"""`make test` leaves the machine as it is, and fails when any part of the tests does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.command import ROOT

PYTEST = """#!/bin/sh
case "$*" in *"not slow or apart"*) echo second; exit {second};; esac
echo first; exit {first}
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with all programs that there are; the tests themselves are running already."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "id", "make", "cat"):
        (programs / name).symlink_to(shutil.which(name) or name)
    return programs


def make_test(programs: Path, second: int = 0, first: int = 0) -> subprocess.CompletedProcess[str]:
    (programs / "python").write_text(PYTEST.format(second=second, first=first))
    (programs / "python").chmod(0o755)
    order = ["make", "--assume-old=env", "test", f"BIN={programs}", f"LOG={programs / 'log'}"]
    return subprocess.run(order, cwd=ROOT, env={"PATH": str(programs)}, capture_output=True, text=True)


def test_a_browser_is_asked_for_and_not_installed(programs: Path, tmp_path: Path) -> None:
    (programs / "apt-get").write_text(f"#!/bin/sh\n: > {tmp_path / 'installed'}\n")
    (programs / "apt-get").chmod(0o755)
    done = make_test(programs)
    assert done.returncode == 0, done.stderr
    assert "sudo apt-get install chromium chromium-driver" in done.stdout
    assert os.listdir(tmp_path) == ["programs"]


@pytest.mark.parametrize(("second", "first"), [(0, 0), (1, 0), (0, 1)])
def test_both_parts_of_the_tests_count_and_are_shown(programs: Path, second: int, first: int) -> None:
    done = make_test(programs, second, first)
    assert (done.returncode != 0) == (second != 0 or first != 0)
    assert done.stdout.splitlines()[-2:] == ["first", "second"]
