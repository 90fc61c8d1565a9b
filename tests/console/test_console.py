"""What a run looks like: on a terminal, in a pipe, and to whoever asks for help."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from harness import cli
from harness.cli.command import Command
from harness.console import LiveView, receiving
from harness.console.lines import Lines
from harness.events import (
    EpochFinished,
    Event,
    Note,
    Progress,
    StudyFinished,
    StudyStarted,
    TrialFinished,
    TrialStarted,
)
from harness.families import families
from harness.records.trial import EpochRecord, Outcome, Reading, ReadingSource
from harness.units import GIB
from harness.workflows.list_families import families_page
from tests.helpers.command import ROOT, Benchmark
from tests.helpers.reports import make_results, make_trial
from tests.helpers.terminal import frames, in_terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m")
FUSION = make_results()


def epoch(number: int, score: float, fold: int | None = None) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        loss=1.0,
        accuracy=0.5,
        val_loss=1.0,
        val_accuracy=0.5,
        val_macro_f1=score,
        seconds=1.0,
        fold=fold,
    )


def started(number: int, footprint: int = 2 * GIB) -> TrialStarted:
    return TrialStarted("cnn2d-fusion", number, {}, 8, 1, footprint)


def shown(view: LiveView, events: Iterable[Event], width: int = 80) -> str:
    """What the view shows after these events."""
    for event in events:
        view.see(event)
    console = Console(file=io.StringIO(), width=width, force_terminal=True, no_color=True, color_system="truecolor")
    console.print(view.render())
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())


def completed(number: int, score: float, held: int | None = None) -> TrialFinished:
    reading = Reading(peak_bytes=held, source=ReadingSource.PROCESS) if held else Reading()
    return TrialFinished(make_trial(number, valid_accuracy=score, valid_macro_f1=score, reading=reading))


def bar(text: str) -> float:
    """The length of the one bar in a view, in cells."""
    (found,) = re.findall("━+╸?|╸", text)
    return found.count("━") + 0.5 * found.count("╸")


@pytest.fixture
def view() -> LiveView:
    return LiveView(1, Path("work"))


def test_a_running_trial_has_one_line_with_epoch_score_and_memory(view: LiveView) -> None:
    events = [StudyStarted(FUSION.study, 20, 0, None), started(7), EpochFinished("cnn2d-fusion", 7, epoch(12, 0.712))]
    text = shown(view, events)
    (line,) = (line for line in text.splitlines() if "cnn2d-fusion 7" in line)
    assert re.search(r"12/20 +0\.712 +━━━╸ +2\.00 GiB predicted", line)
    assert "VRAM not measured, of 8.00 GiB" in text
    assert max(map(len, text.splitlines())) <= 80


def test_memory_that_was_measured_takes_the_place_of_the_prediction(view: LiveView) -> None:
    begun = [StudyStarted(FUSION.study, 20, 0, None), started(7)]
    before = shown(view, begun)
    assert "not measured" not in before  # not yet
    assert "2.00 GiB predicted" in before
    text = shown(view, [EpochFinished("cnn2d-fusion", 7, epoch(1, 0.5), used_bytes=6 * GIB)])
    assert "VRAM, of 8.00 GiB" in text
    assert "6.00 GiB" in text
    assert "predicted" not in text
    assert (bar(before), bar(text)) == (3.5, 10.5)  # of 14 cells for 8 GiB
    # The next trial is predicted again until it is seen, and the heading does not flicker.
    text = shown(view, [completed(7, 0.5, 6 * GIB), started(8, GIB)])
    assert "VRAM, of 8.00 GiB" in text
    assert "1.00 GiB predicted" in text


def test_trials_side_by_side_have_a_line_each(view: LiveView) -> None:
    text = shown(view, [StudyStarted(FUSION.study, 20, 0, None), started(3), started(4)])
    assert [int(number) for number in re.findall(r"cnn2d-fusion (\d) ", text)] == [3, 4]
    text = shown(view, [completed(3, 0.5), EpochFinished("cnn2d-fusion", 4, epoch(2, 0.4, fold=1))])
    assert "cnn2d-fusion 3 " not in text
    assert "fold 2 · 2/20" in text


def test_the_panel_tells_the_best_the_outcomes_the_time_left_and_where_to_look() -> None:
    view = LiveView(2, Path("work"))
    text = shown(view, [StudyStarted(FUSION.study, 4, 1, 0.55)])
    assert re.search(r"cnn2d-fusion +0\.550 +1 of 4 trials", text)
    assert "no trial ended yet" in text
    assert "left" not in text
    ends = [
        completed(1, 0.61),
        completed(2, 0.58),
        TrialFinished(make_trial(3, Outcome.REFUSED)),
        TrialFinished(make_trial(4, Outcome.PRUNED, valid_macro_f1=0.9)),
    ]
    text = shown(view, ends)
    assert re.search(r"cnn2d-fusion +0\.610 +4 of 4 trials", text)
    assert "this run: 2 completed · 1 pruned · 1 refused" in text
    assert re.search(r"about [\d.]+ s left", text)  # for the family to come
    assert "work/report/RESULTS.md" in text
    assert "harness ui --workspace work" in text


def test_a_time_limit_bounds_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("harness.console.live.time.monotonic", lambda: now[0])
    texts = []
    for limit in (None, 90.0):
        now[0] = 100.0
        view = LiveView(1, Path("work"), limit)
        shown(view, [StudyStarted(FUSION.study, 11, 0, None)])
        now[0] = 130.0
        texts.append(shown(view, [completed(0, 0.5)]))
    assert "about 5 min 00 s left" in texts[0]
    assert "about 1 min 00 s left" in texts[1]


def test_work_before_the_search_has_a_bar(view: LiveView) -> None:
    assert shown(view, []) == "starting\n"
    text = shown(view, [Progress("reading tracks", 500, 1000)])
    assert re.fullmatch(r"reading tracks +━{7} +500 of 1,000 *\n", text)
    assert "reading" not in shown(view, [StudyStarted(FUSION.study, 4, 0, None)])


def test_lines_above_the_view_tell_what_ended(view: LiveView) -> None:
    assert view.see(Note("the GPU is busy", warning=True)) == "warning: the GPU is busy"
    assert view.see(Progress("reading tracks", 1, 2)) == ""
    assert "20 trials" in view.see(StudyStarted(FUSION.study, 20, 0, None))
    assert view.see(started(0)) == ""
    assert view.see(EpochFinished("cnn2d-fusion", 0, epoch(1, 0.5))) == ""
    assert "trial 0 · oom" in view.see(TrialFinished(make_trial(0, Outcome.OOM)))
    assert "best is trial 2" in view.see(StudyFinished(FUSION))


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(Console(highlight=False), as_json=False)
    events = [*(Progress("reading tracks", done, 3) for done in range(4)), StudyFinished(make_results(None))]
    for event in events:
        lines(event)
    assert capsys.readouterr().out.splitlines() == [
        "reading tracks: 0 of 3",
        "reading tracks: 3 of 3",
        "cnn2d-fusion: no trial completed",
    ]


def test_a_download_in_a_pipe_is_told_by_tenths(capsys: pytest.CaptureFixture[str]) -> None:
    with receiving("downloading") as progress:
        for done in range(0, 2001):
            progress(done * 1024, 2000 * 1024)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11
    assert told[-1] == "downloading: 2 MiB of 2 MiB"


WORK = """
from pathlib import Path
from harness.console import LiveView, watching
from harness.events import Note, Progress

with watching(False, LiveView(1, Path("work"))) as notify:
    for done in range(11):
        notify(Progress("reading tracks", done, 10))
    notify(Note("[all] read"))
print("the end")
"""
SCRIPT = [sys.executable, "-c", WORK]


def test_on_a_terminal_the_view_goes_and_the_lines_stay() -> None:
    status, written = in_terminal(SCRIPT)
    assert status == 0, written
    assert COLOUR.search(written)
    seen = frames(written)
    assert any(re.search(r"reading tracks +━+ +10 of 10", frame) for frame in seen)
    assert any(frame.startswith("[all] read") for frame in seen)
    assert seen[-1] == "the end"


def test_no_colour_where_none_is_wanted() -> None:
    status, written = in_terminal(SCRIPT, NO_COLOR="1")
    assert status == 0, written
    assert "━" in written
    assert not COLOUR.search(written)


LINES = ["reading tracks: 0 of 10", "reading tracks: 10 of 10", "[all] read", "the end"]


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}])
def test_no_view_is_drawn_into_a_pipe(variables: dict[str, str]) -> None:
    done = subprocess.run(SCRIPT, capture_output=True, text=True, check=True, env=os.environ | variables)
    assert done.stdout.splitlines() == LINES


def test_no_view_is_drawn_on_a_dumb_terminal() -> None:
    _, written = in_terminal(SCRIPT, TERM="dumb")
    assert written.splitlines() == LINES


@pytest.mark.slow
def test_a_search_on_a_terminal_shows_its_trial(benchmark: Benchmark) -> None:
    """Runs a search."""
    status, written = benchmark.more
    assert status == 0, written
    seen = frames(written)
    assert any(re.search(r"cnn2d-mfcc 2 +[12]/2 +0\.\d{3} +.* predicted", frame) for frame in seen)
    assert any("2 of 3 trials" in frame for frame in seen)
    assert any("this run: 1 completed" in frame for frame in seen)
    assert not COLOUR.search(written)
    assert "browse: harness ui" in seen[-1]
    assert "Traceback" not in written


def commands(group: Any = None, path: tuple[str, ...] = ("harness",)) -> Iterator[tuple[str, Any]]:
    group = group or typer.main.get_command(cli.app)
    yield " ".join(path), group
    for name, each in getattr(group, "commands", {}).items():
        yield from commands(each, (*path, name))


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", [path for path, each in COMMANDS.items() if not hasattr(each, "commands")])
def test_every_command_takes_a_tilde_and_a_signal_alike(path: str) -> None:
    assert isinstance(COMMANDS[path], Command)


@pytest.mark.parametrize("path", COMMANDS)
def test_help_has_examples_that_the_command_takes(path: str) -> None:
    examples = [line.strip() for line in (COMMANDS[path].help or "").splitlines() if line.startswith("    harness ")]
    assert examples, f"{path} --help shows no example"
    for example in examples:
        words = example.partition(" && ")[0].split()[1:]
        if "--install-completion" in words:
            continue
        command, name = COMMANDS["harness"], "harness"
        while hasattr(command, "commands"):
            name = f"{name} {words.pop(0)}"
            command = COMMANDS[name]
        command.make_context(name, words)


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for words, nearest in ((["familes"], "families"), (["data", "chek"], "check")):
        with pytest.raises(SystemExit) as ended:
            cli.app(words)
        assert ended.value.code == 2
        assert f"Did you mean '{nearest}'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run", "final"])
def test_the_shell_completes_families_and_loads_none(name: str) -> None:
    code = """
import sys
from harness.cli import app
try:
    app(prog_name="harness")
finally:
    sys.stderr.write(" ".join(sys.modules))
"""
    words = {"_HARNESS_COMPLETE": "complete_bash", "COMP_WORDS": f"harness {name} c", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | words)
    assert done.stdout.split() == [family for family in families() if family.startswith("c")]
    heavy = {"numpy", "harness.records", "optuna", "keras", "tensorflow", "mlflow", "search_spaces", "harness.families"}
    assert heavy.isdisjoint(done.stderr.split())


def test_the_page_on_families_is_what_the_code_makes() -> None:
    page = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    assert page == families_page(), "make it again: harness families --markdown > docs/families.md"
    for family in families().values():
        assert f"## {family.name}\n" in page
    assert "(../CONTRIBUTING.md#adding-a-family)" in page
    assert "\n## Adding a family\n" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
