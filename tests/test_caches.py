"""Caches of libraries lie where one may write, whether there is a home or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import ROOT

NO_HOME = "/proc/nohome"
"""What nobody can make, root included."""

COMPILED = """
import numba

@numba.njit(cache=True)
def double(number):
    return 2 * number
"""

# Matplotlib speaks up where it can write to no folder of its own.
LIBRARIES = """
import harness, matplotlib, compiled
print(compiled.double(21))
"""


def run(source: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program that sees no cache of this machine's user."""
    ours = ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "KERAS_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "TMPDIR": str(folder / "tmp"), **variables}
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True)


def test_libraries_work_without_a_home_from_a_read_only_installation(tmp_path: Path) -> None:
    (tmp_path / "compiled.py").write_text(COMPILED)
    (tmp_path / "__pycache__").touch()  # so that nothing can be written beside the module, by root either
    done = run(LIBRARIES, tmp_path, HOME=NO_HOME)
    assert (done.stdout, done.stderr) == ("42\n", "")
    kept = tmp_path / "tmp" / f"harness-{os.getuid()}"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert list(kept.glob("numba/**/*.nbi"))


SHOW = """
import os
before = dict(os.environ)
import harness
from harness.settings import cache
changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
print(sorted(changed), cache())
"""


def test_a_home_that_can_be_written_changes_nothing(tmp_path: Path) -> None:
    done = run(SHOW, tmp_path, HOME=str(tmp_path))
    assert done.stdout == f"[] {tmp_path}/.cache/harness\n"


def test_a_cache_that_a_user_names_is_used_without_a_home(tmp_path: Path) -> None:
    done = run(SHOW, tmp_path, HOME=NO_HOME, XDG_CACHE_HOME=str(tmp_path / "named"), MPLCONFIGDIR="/named")
    assert done.stdout == f"['KERAS_HOME', 'NUMBA_CACHE_DIR'] {tmp_path}/named/harness\n"


def test_a_folder_that_somebody_else_has_put_there_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / f"harness-{os.getuid()}").symlink_to("/etc")
    done = run(SHOW, tmp_path, HOME=NO_HOME)
    assert done.stdout.split("] ")[1].startswith(f"{tmp_path}/tmp/harness-")
    assert f"harness-{os.getuid()}/" not in done.stdout


@pytest.mark.parametrize("where", [NO_HOME, "relative"])
def test_a_cache_that_cannot_be_written_or_has_no_place_is_not_used(tmp_path: Path, where: str) -> None:
    done = run(SHOW, tmp_path, HOME=str(tmp_path), XDG_CACHE_HOME=where)
    assert done.stdout.endswith(f"{tmp_path}/tmp/harness-{os.getuid()}/harness\n")
