"""The live view of a run in a notebook; IPython is stood in for."""

from __future__ import annotations

import builtins
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from harness.console import LiveView, watching
from harness.events import Note, Progress, StudyStarted
from tests.helpers.reports import make_results


class ZMQInteractiveShell:
    """By this name a kernel's shell is known."""


class HTML(str):
    """Stands for IPython's class of the same name."""


class Cell:
    """What stands beneath a cell: everything that was drawn in its one place, in order."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def display(self, content: HTML, *, display_id: bool) -> Cell:
        assert display_id
        self.update(content)
        return self

    def update(self, content: HTML) -> None:
        assert isinstance(content, HTML)
        self.drawn.append(content)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    cell = Cell()
    module: Any = types.ModuleType("IPython.display")
    module.HTML, module.display = HTML, cell.display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    return cell


def test_the_view_is_redrawn_in_one_place_and_goes_and_the_lines_stay(
    cell: Cell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.console.notebook._REDRAW_SECONDS", -1.0)
    with watching(False, LiveView(1, Path("work"))) as notify:
        notify(Progress("reading tracks", 5, 10))
        notify(Note("[all] <read>"))
    first, reading, _, last = cell.drawn
    assert "starting" in first
    assert "reading tracks" in reading
    assert "5 of 10" in reading
    assert last == ""
    assert capsys.readouterr().out == "[all] <read>\n"


def test_a_stopped_run_leaves_no_view_behind(cell: Cell) -> None:
    with pytest.raises(KeyboardInterrupt), watching(False, LiveView(1, Path("work"))):
        raise KeyboardInterrupt
    assert cell.drawn[-1] == ""


def test_quick_progress_is_not_drawn_every_time(cell: Cell) -> None:
    with watching(False, LiveView(1, Path("work"))) as notify:
        for done in range(1000):
            notify(Progress("reading tracks", done, 1000))
    assert len(cell.drawn) < 100


def test_what_is_drawn_needs_no_script_and_escapes_names(cell: Cell) -> None:
    results = make_results()
    with watching(False, LiveView(1, Path("<b>"))) as notify:
        notify(StudyStarted(results.study, 20, 0, None))
    drawn = cell.drawn[-2]
    assert results.study.family in drawn
    assert "<script" not in drawn
    assert "<b>" not in drawn
