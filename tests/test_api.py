"""The face in Python: what it exports, what it loads, and that a script or a notebook can run a benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

import harness
from harness.errors import UsageError
from harness.settings import RunSettings
from harness.tracking.ledger import Ledger
from harness.units import GIB
from harness.workspace import Workspace
from tests.helpers.command import ROOT
from tests.helpers.ledger import PREDICTIONS, STUDY, completed

DOCS = ROOT / "docs" / "python.md"


def test_what_is_exported_is_what_the_documentation_shows() -> None:
    assert harness.__all__ == ["Results", "load_results", "run"]
    assert all(callable(getattr(harness, name)) for name in harness.__all__)
    assert "from harness import load_results, run" in DOCS.read_text(encoding="utf-8")
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        harness.runs  # noqa: B018


def test_importing_it_loads_no_framework() -> None:
    script = "import harness, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "jax", "keras", "optuna", "mlflow", "numpy", "pandas", "librosa", "typer", "rich"}
    assert heavy.isdisjoint(done.stdout.split())


def test_results_come_as_frames(tmp_path: Path) -> None:
    ledger = Ledger(Workspace(tmp_path))
    ledger.open_study(STUDY)
    ledger.write_trial(completed(0), PREDICTIONS)
    results = harness.load_results(tmp_path)
    (study,) = results.studies().to_dict("records")
    assert (study["family"], study["study"], study["trials"], study["best_trial"]) == (STUDY.family, STUDY.name, 1, 0)
    assert study["valid_macro_f1"] == completed(0).scores.valid_macro_f1
    assert study["vram_peak_bytes"] == completed(0).memory.reading.peak_bytes
    (trial,) = results.trials().to_dict("records")
    assert (trial["trial"], trial["outcome"], trial["params.layers"]) == (0, "completed", 3)
    assert results.best(STUDY.family) == completed(0)
    assert results.best("another") is None
    assert results.report().startswith("# ")
    assert all(picture.lstrip().startswith(b"<") for picture in results.figures().values())
    assert STUDY.name in results._repr_html_()
    assert repr(results) == f"Results of {STUDY.name}"
    assert results.figures()._repr_html_().count("<img ") == len(results.figures()) > 0


def test_studies_that_cannot_be_compared_have_no_best_trial(tmp_path: Path) -> None:
    ledger = Ledger(Workspace(tmp_path))
    longer = STUDY.model_copy(update={"name": f"{STUDY.name}-longer", "epochs": STUDY.epochs + 1})
    for study in (STUDY, longer):
        ledger.open_study(study)
        ledger.write_trial(completed(0).model_copy(update={"study": study.name}), PREDICTIONS)
    with pytest.raises(UsageError, match=f"cannot be compared: .*{longer.name}"):
        harness.load_results(tmp_path).best(STUDY.family)


def test_a_folder_without_results_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no finished trial"):
        harness.load_results(tmp_path)


def test_a_function_is_told_what_the_command_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    told: list[RunSettings] = []
    monkeypatch.setattr("harness.workflows.run.run", lambda settings, families, notify: told.append(settings) or ())
    monkeypatch.setattr("harness.workflows.dry_run.dry_run", lambda settings, families, notify: told.append(settings))
    (tmp_path / "more.toml").write_text("epochs = 7\ntrials = 9\n")
    ran = harness.run("all", data="~/music", trials=2, vram_budget="2GiB", embedding=["~/net"], config="~/more.toml")
    planned = harness.run(["cnn1d-raw", "cnn2d-mfcc"], dry_run=True, quick=True, workspace=tmp_path)
    assert not ran.results
    assert repr(planned) == "Results of no study"
    first, second = told
    assert (first.dataset.data, first.dataset.embedding) == (tmp_path / "music", (str(tmp_path / "net"),))
    assert (first.search.trials, first.search.epochs, first.budget.vram_budget) == (2, 7, 2 * GIB)
    assert (second.families, second.search.trials, second.stores.workspace) == (
        ("cnn1d-raw", "cnn2d-mfcc"),
        3,
        tmp_path,
    )
    assert second.dry_run


def test_a_setting_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no setting is called 'trails'\. Did you mean 'trials'"):
        harness.run("cnn2d-mfcc", trails=3)


SCRIPT = """
import json, sys
from harness import load_results, run
with open("ran", "a") as file:
    file.write("once ")
few = {{"quick": True, "epochs": 1, "trials": 1, "protocol": "random"}}
results = run("cnn2d-mfcc", data={data!r}, device="cpu", workspace="work", **few)
loaded = load_results("work")
print(json.dumps([results.trials()["outcome"].tolist(), len(loaded.trials()), results.best("cnn2d-mfcc").number]))
"""


@pytest.mark.slow
@pytest.mark.apart
def test_a_script_without_a_guard_runs_once(tones: Path, tmp_path: Path) -> None:
    """Trains a trial: a child that imported `__main__` again would run the script again."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(data=str(tones)))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [["completed"], 1, 0]
    assert (tmp_path / "ran").read_text() == "once "


@pytest.mark.slow
@pytest.mark.apart
def test_a_notebook_s_kernel_runs_a_benchmark(tones: Path, tmp_path: Path) -> None:
    """Trains a trial, in a kernel, whose `__main__` has no file that a child could import."""
    kernel, client = start_new_kernel(cwd=str(tmp_path), env={**os.environ, "PYTHONPATH": str(ROOT)})
    shown: list[dict[str, Any]] = []
    try:
        for cell in (SCRIPT.format(data=str(tones)), "results", "results.figures()"):
            answer = client.execute_interactive(cell, output_hook=shown.append, timeout=600)
            assert answer["content"]["status"] == "ok", answer["content"]
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    printed = "".join(each["content"]["text"] for each in shown if each["msg_type"] == "stream")
    assert '[["completed"], 1, 0]' in printed
    assert "cnn2d-mfcc · trial 0 · completed" in printed
    drawn = [each["content"]["data"]["text/html"] for each in shown if each["msg_type"] == "update_display_data"]
    assert any("cnn2d-mfcc 0" in each for each in drawn)
    assert drawn[-1] == ""
    table, pictures = (each["content"]["data"]["text/html"] for each in shown if each["msg_type"] == "execute_result")
    assert "cnn2d-mfcc" in table
    assert "<img " in pictures
    assert (tmp_path / "ran").read_text() == "once "
