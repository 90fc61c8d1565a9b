"""A user's own modules, called like others that we need, are executed in no process of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import python_path
from harness.processes import child_environment, sheltered
from tests.helpers.command import ROOT

SHADOWS = ("random", "queue", "signal", "socket", "tempfile", "colorsys", "keras", "numpy", "mlflow", "typer")
"""Modules that our processes import, of Python's own and of other packages."""

WORKERS = """
from harness.parallel import map_items
from harness.units import format_size
{more}
print(map_items(format_size, [1024] * 20, workers=2)[-1])
"""

FORK_SERVER = """
import pkgutil
from harness.trials.local import fork_server
{more}
fork_server.PRELOAD = ("harness.units",)
server = fork_server.ForkServer.start()
print(server.call(pkgutil.resolve_name, "colorsys:__file__"))
"""

NOTEBOOK = "import sys; sys.path.insert(0, '')"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs Python in a folder with modules of a user's that end whatever process executes them."""
    folder = tmp_path / "current"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"import os\nos.write(2, b'{name}.py was executed')\nos._exit(9)\n")

    def run(*order: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        environment |= {"PYTHONPATH": str(ROOT), **variables}
        order = (sys.executable, *map(str, order))
        return subprocess.run(order, cwd=folder, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("more", ["", NOTEBOOK], ids=["command", "notebook"])
@pytest.mark.parametrize(("source", "answer"), [(WORKERS, "1.0 KiB\n"), (FORK_SERVER, "colorsys.py\n")])
def test_children_execute_no_module_of_the_current_folder(
    run: Run, tmp_path: Path, source: str, answer: str, more: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(source.format(more=more))
    done = run(script)
    assert done.stderr == ""
    assert Path(done.stdout).name == answer
    assert not done.stdout.startswith(str(tmp_path))


def test_our_command_as_a_module_executes_none_either(run: Run) -> None:
    done = run("-m", "harness.cli", "--version")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", ["", f"{os.pathsep}/nowhere"], ids=["unset", "with an empty name in it"])
def test_programs_in_python_execute_none_either(run: Run, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("PYTHONPATH", path)
    done = run("-c", "import random, colorsys; print(random.__file__)", **child_environment())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("start", "shelter"), [('sys.executable, "-m"', "child_environment()"), ("get_context(", "sheltered()")]
)
def test_every_process_in_python_is_started_so(start: str, shelter: str) -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "harness").rglob("*.py")}
    starts = [path for path, source in sources.items() if start in source]
    assert len(starts) >= 2
    assert [path for path in starts if shelter not in sources[path]] == []


def test_what_a_user_asks_for_stays_first_and_this_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    library = os.path.dirname(os.__file__)
    monkeypatch.chdir("/")
    monkeypatch.setenv("PYTHONPATH", "/asked")
    monkeypatch.setattr(sys, "path", ["", "/asked", str(ROOT), "/usr/lib/python3.zip", library, "/site-packages"])
    kept = ["/asked", str(ROOT), "/usr/lib/python3.zip", library, "/site-packages"]
    assert python_path.safe_path() == [*kept, ""]
    assert python_path.child_variables() == {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"/asked{os.pathsep}{ROOT}"}
    monkeypatch.setattr(sys, "path", ["/usr/bin", library, str(ROOT)])
    assert python_path.child_variables() == {"PYTHONSAFEPATH": "1", "PYTHONPATH": "/asked"}


def test_path_and_variables_are_as_they_were_after_children_started() -> None:
    path, before = sys.path, dict(os.environ)
    with sheltered():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert sys.path is path
    assert dict(os.environ) == before
