"""The project as it is installed: a wheel in a folder of its own, with no clone in sight."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from harness.tracking.ledger import Ledger
from harness.workspace import Workspace
from tests.helpers.command import ROOT
from tests.helpers.reports import make_results

FAMILIES = ("cnn1d-raw", "cnn2d-fusion", "cnn2d-mfcc", "cnn-transformer")
HEAVY = ("jax", "keras", "mlflow", "tensorflow")


@dataclass(frozen=True)
class Installed:
    """What a user has.

    Attributes:
        wheel: as it was built.
        home: the folder that it was installed into.
        folder: where commands run, and nothing lies.
    """

    wheel: Path
    home: Path
    folder: Path

    def run(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a script that sees the wheel and the libraries that it depends on, but not this clone.

        Without `site` no `.pth` file counts, so neither does an editable install.
        """
        libraries = [path for path in sys.path if path.endswith("-packages")]
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        paths = f"import sys; sys.path[:0] = [{str(self.home)!r}]; sys.path += {libraries!r}\n"
        command = [sys.executable, "-I", "-S", "-c", paths + script, *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def harness(self, *arguments: object) -> list[str]:
        """Run the command line, make sure that it imported nothing heavy, and return the lines that it printed."""
        said = "import harness, sys; print(harness.__file__, *({*sys.modules} & {*HEAVY}), file=sys.stderr)"
        script = f"HEAVY = {HEAVY}\nfrom harness.cli import main\ntry: main()\nfinally:\n    {said}"
        done = self.run(script, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines() == [str(self.home / "harness" / "__init__.py")]
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built from a copy: a build leaves files behind, and takes along what an earlier one left."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("harness", "reports", "search_spaces", "tests", "benchmarks"):
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    install = ["install", "--no-deps", "--no-index", "--no-compile", "--target", folder / "home", wheel]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    (folder / "empty").mkdir()
    return Installed(wheel, folder / "home", folder / "empty")


@pytest.mark.slow
def test_a_wheel_holds_what_runs_and_nothing_else(installed: Installed) -> None:
    """Builds a wheel."""
    with zipfile.ZipFile(installed.wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
        metadata = {
            name.name: archive.read(str(name)).decode() for name in names if name.parts[0].endswith("dist-info")
        }
    packages = {name.parts[0] for name in names if not name.parts[0].endswith("dist-info")}
    assert packages == {"harness", "reports", "search_spaces"}
    here = {path.relative_to(ROOT) for package in packages for path in (ROOT / package).rglob("*") if path.is_file()}
    assert {name for name in names if name.parts[0] in packages} == {
        path for path in here if "__pycache__" not in path.parts
    }
    assert {".py", ".csv", ".toml", ".j2"} <= {name.suffix for name in names}
    assert "harness = harness.cli:main" in metadata["entry_points.txt"]
    assert {"METADATA", "LICENSE"} <= metadata.keys()


@pytest.mark.slow
def test_an_installed_harness_knows_its_families(installed: Installed) -> None:
    """Builds a wheel."""
    headings = [line for line in installed.harness("families", "--markdown") if line.startswith("## ")]
    assert {f"## {name}" for name in FAMILIES} <= set(headings)


@pytest.mark.slow
def test_an_installed_harness_writes_a_report(installed: Installed, tmp_path: Path) -> None:
    """Builds a wheel."""
    results = make_results()
    ledger = Ledger(Workspace(tmp_path))
    ledger.open_study(results.study)
    for trial in results.trials:
        ledger.write_trial(trial, results.predictions.get(trial.number))
    page, document = tmp_path / "page.html", tmp_path / "RESULTS.md"
    written = installed.harness("report", "--workspace", tmp_path, "--html", page, "--output", document)
    assert {str(page), str(document)} <= set(written)
    assert "data:image/svg+xml" in page.read_text(encoding="utf-8")
    assert "cnn2d-fusion" in document.read_text(encoding="utf-8")
