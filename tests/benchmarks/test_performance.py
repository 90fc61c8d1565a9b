"""The frame of `make bench`: what a command took, what is kept of a row, and the page made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.performance import document
from benchmarks.performance.measure import stored
from benchmarks.performance.processes import CommandError, figures_of
from benchmarks.performance.row import Aim, Contender, Measured, Picture, Row, Setting
from benchmarks.performance.rows import rows
from tests.helpers.command import ROOT

SPIN = "import time\nwhile time.process_time() < 0.3: pass"
ORPHAN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SPIN!r}], stdout=subprocess.DEVNULL)"

# In a process of its own: it waits for every child that there is, and would wait for those of other tests.
MEASURE = f"""
from benchmarks.performance.measure import measure
from benchmarks.performance.row import Contender, Row, Setting
contenders = (
    Contender("orphan", ("python", "-c", {ORPHAN!r}), prints=False),
    Contender("printing", ("python", "-c", 'print("chatter"); print("{{\\\\"held_bytes\\\\": 7}}")')),
    Contender("broken", ("python", "-c", "raise SystemExit('no such thing')")),
    Contender("late", ("python", "-c", "print(5)")),
)
measure(Row("made", contenders, {{}}, rounds=2), Setting(quick=False))
"""

ROW = Row(
    name="child",
    contenders=(Contender("ours", ("python", "-m", "ours")), Contender("theirs", ("peers-python", "-m", "theirs"))),
    columns={"cpu_seconds": "CPU", "rss_bytes[-1]": "memory"},
    compared=("cpu_seconds", "ours"),
    aims=(
        Aim("times", lambda found: found.times("cpu_seconds", "theirs", "ours"), at_least=50, why_missed="It rained."),
        Aim("memory", lambda found: found.median("theirs", "rss_bytes[-1]"), at_most=1),
    ),
)
ROUNDS: dict[str, list[dict[str, Any]]] = {
    "ours": [{"cpu_seconds": 0.5, "rss_bytes": [1, 2**20]}, {"cpu_seconds": 1.5, "rss_bytes": [1, 3 * 2**20]}],
    "theirs": [{"cpu_seconds": 20.0}, {"cpu_seconds": 20.0}],
}
MACHINE = dict.fromkeys(("processor", "memory", "system", "versions", "commit", "music"), "known")
RESULT = {"rounds": ROUNDS, "failed": {}, "machine": MACHINE, "date": "2026-01-01", "load": 0.1}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    subprocess.run([sys.executable, "-c", MEASURE], cwd=folder, env=environment, check=True, capture_output=True)
    result: dict[str, Any] = json.loads((folder / "build" / "bench" / "made.json").read_text())
    return result


def test_what_outlives_a_command_is_counted(measured: dict[str, Any]) -> None:
    rounds = measured["rounds"]["orphan"]
    assert len(rounds) == 2
    assert all(each["cpu_seconds"] > 0.3 for each in rounds)


def test_a_contender_prints_figures_of_its_own(measured: dict[str, Any]) -> None:
    first = measured["rounds"]["printing"][0]
    assert first["held_bytes"] == 7
    assert first["cpu_seconds"] > 0
    assert first["peak_rss_bytes"] > 2**20
    assert first["first_line_seconds"] <= first["wall_seconds"]


def test_a_contender_that_fails_does_not_stop_the_others(measured: dict[str, Any]) -> None:
    assert "no such thing" in measured["failed"]["broken"]
    assert "printed no figures" in measured["failed"]["late"]
    assert "broken" not in measured["rounds"]


def test_figures_in_parts_stand_beside_the_others() -> None:
    assert figures_of('{"a": 1, "differences": {"mel_db": 2}}')["mel_db"] == 2
    with pytest.raises(CommandError, match="no figures"):
        figures_of("[1]")


def test_a_row_is_measured_again_only_where_a_contender_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    setting = Setting(quick=False)
    assert stored(ROW, setting) is None
    setting.folder.mkdir(parents=True)
    file = setting.folder / "child.json"
    file.write_text(json.dumps(RESULT))
    assert stored(ROW, setting) == RESULT
    file.write_text(json.dumps({**RESULT, "failed": {"ours": "no"}}))
    assert stored(ROW, setting) is None


def test_a_section_has_medians_ratios_and_verdicts() -> None:
    text = document.section(ROW, RESULT)
    assert "| ours | 1 s (0.5 s to 1.5 s) | 2 MiB (1 MiB to 3 MiB) | 1 |" in text
    assert "| theirs | 20 s | – | 20 |" in text
    assert "Aim: times: at least 50. Measured: 20, **missed**. It rained." in text
    assert "Aim: memory: at most 1. Measured: –, not measured." in text
    assert "build/peers/bin/python -m theirs" in text
    met = replace(ROW, aims=(replace(ROW.aims[0], at_least=20),))
    assert "Measured: 20, met." in document.section(met, RESULT)


def test_the_page_has_a_place_for_every_row() -> None:
    known = rows(Setting(quick=False))
    empty = document.page(known, {})
    assert empty.count("Not measured.") == len(known)
    assert "[child](#child)" in empty
    page = document.page(known, {"child": {**RESULT, "rounds": {}}})
    assert page.count("Not measured.") == len(known) - 1
    assert all(f'<a id="{row.name}"></a>' in page for row in known)


def test_a_picture_is_the_same_for_the_same_figures() -> None:
    picture = Picture("trials", "MiB", lambda found: {"ours": ([1, 2], found.course("ours", "rss_bytes"))})
    assert Measured(ROUNDS).course("ours", "rss_bytes") == [1, 2**21]
    assert document.drawn(picture, Measured(ROUNDS)) == document.drawn(picture, Measured(ROUNDS))
