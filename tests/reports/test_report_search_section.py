"""What a report shows of a search: its course, its trials, its hyperparameters, and scores against memory."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from harness.analysis.memory_curve import MemoryPoint
from harness.records.study import StudyResults
from harness.records.trial import Outcome, Reading, ReadingSource, TrialRecord
from harness.units import GIB
from reports import figures, svg
from reports.document import build_report
from tests.helpers.records import changed
from tests.helpers.reports import GENRES, make_results, make_trial, without_predictions

TRIALS = (
    make_trial(0, valid_macro_f1=0.3, valid_accuracy=0.32, allocator_peak_bytes=GIB),
    make_trial(1, Outcome.PRUNED),
    make_trial(2, Outcome.REFUSED, footprint_bytes=9 * GIB, message="would take 9.00 GiB\nat micro-batch 8"),
    make_trial(3, valid_macro_f1=0.5, valid_accuracy=0.52),
    make_trial(4, Outcome.OVER_BUDGET),
    make_trial(5, Outcome.OVER_BUDGET),
    make_trial(6, valid_macro_f1=float("nan"), valid_accuracy=float("nan")),
)


def searched(*trials: TrialRecord, importance: dict[str, float] | None = None) -> StudyResults:
    return replace(make_results(trials=trials or TRIALS), importance=importance or {})


def texts(picture: bytes) -> list[str]:
    """What can be read in a picture."""
    root = ElementTree.fromstring(picture)
    return ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]


def marks(picture: bytes, kind: str) -> int:
    """How many marks a picture has whose style says `kind`."""
    uses = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}use")
    return sum(kind in use.attrib.get("style", "") for use in uses)


def pictures_of(*studies: StudyResults) -> dict[str, bytes]:
    return build_report(without_predictions(*studies)).pictures


def scored(number: int, gib: float, macro_f1: float, measured: bool = True) -> TrialRecord:
    reading = Reading(peak_bytes=int(gib * GIB), source=ReadingSource.PROCESS) if measured else Reading()
    return make_trial(number, reading=reading, footprint_bytes=int(gib * GIB), valid_macro_f1=macro_f1)


def test_the_history_shows_every_trial_by_how_it_ended():
    (history,) = (picture for name, picture in pictures_of(searched()).items() if name.startswith("search-"))
    words = texts(history)
    # A completed trial without a finite score has no place on the scale.
    for word in ("completed (2)", "best so far", "baseline", "pruned (1)", "refused (1)", "over budget (2)"):
        assert word in words
    assert "completed (1)" in words
    in_legend = 1
    assert marks(history, f"fill: {svg.SERIES[0]}") == 2 + in_legend
    assert marks(history, f"stroke: {svg.SERIES[4]}") == 5


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.OOM])
def test_a_search_of_one_kind_has_its_picture(outcome: Outcome):
    scores = {0: 0.5} if outcome is Outcome.COMPLETED else {}
    picture = figures.search_history_svg(scores, {} if scores else {outcome: [0]}, "one")
    assert ("completed (1)" if scores else "oom (1)") in texts(picture)
    assert ("macro F1, validation" in texts(picture)) == bool(scores)


def test_every_trial_has_its_row():
    markdown = build_report(without_predictions(searched())).markdown
    table = markdown.partition("<summary>All 7 trials</summary>")[2].partition("</details>")[0]
    rows = {cells[1].strip(): cells for line in table.splitlines() if len(cells := line.split("|")) > 2}
    assert list(rows)[2:] == ["0", "1", "2", "3", "4", "5", "6"]
    assert [cell.strip() for cell in rows["0"][2:11]] == [
        *("completed", "0.30", "32.0 %", "3.00 GiB", "1.00 GiB", "2.00 GiB", "8 × 2", "90", "–"),
    ]
    assert [cell.strip() for cell in rows["2"][2:11]] == [
        *("refused", "–", "–", "9.00 GiB", "–", "–", "–", "–", "would take 9.00 GiB at micro-batch 8"),
    ]


def test_a_long_message_is_cut():
    broken = make_trial(0, Outcome.CRASHED, message="x" * 5000)
    assert "x" * 160 + "… |" in build_report(without_predictions(searched(broken))).markdown


def test_importance_is_the_search_s_own_and_orders_the_table():
    shares = {"learning_rate": 0.25, "flatten": 0.7, "batch_size": 0.05, "gone": float("nan")}
    markdown = build_report(without_predictions(searched(importance=shares))).markdown
    assert "flatten 70.0 %, learning_rate 25.0 %, batch_size 5.0 %. It rests on 3 completed trials" in markdown
    table = markdown.partition("<summary>Hyperparameters</summary>")[2].partition("</details>")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n") if line.startswith("|")]
    assert rows[0] == ["Hyperparameter", "Best (trial 3)", "Baseline (trial 0)", "Importance"]
    assert rows[2:] == [
        ["flatten", "True", "True", "70.0 %"],
        ["learning_rate", "0.004", "0.001", "25.0 %"],
        ["batch_size", "8", "8", "5.0 %"],
    ]


def test_without_importance_it_is_said_to_be_unknown():
    markdown = build_report(without_predictions(searched(TRIALS[0]))).markdown
    assert "not known; it takes two completed trials with different scores, and there are 1." in markdown
    assert "| learning_rate | 0.001 | 0.001 | – |" in markdown


def test_the_pareto_front_is_what_none_beats_with_as_little_memory():
    first = searched(scored(0, 2, 0.4), scored(1, 1, 0.3), scored(2, 3, 0.35), scored(3, 4, 0.4), scored(4, 2, 0.2))
    second = make_results(trials=(scored(0, 6, 0.6, measured=False),), family="cnn1d-raw")
    markdown = build_report(without_predictions(first, second)).markdown
    assert (
        "with as little memory: cnn2d-fusion trial 1 (0.30 at 1.00 GiB), cnn2d-fusion trial 0 (0.40 at 2.00 GiB), "
        "cnn1d-raw trial 0 (0.60 at ~6.00 GiB). `~` marks a size that is predicted, not measured." in markdown
    )


def test_the_pareto_front_is_of_the_budgets_that_trials_fit_into():
    # Trial 0 held 2 GiB, and would fit into the 0.75 GiB that it needed with 0.25 GiB beside.
    needed = changed(scored(0, 2, 0.4), allocator_peak_bytes=int(0.75 * GIB), beside_bytes=GIB // 4)
    markdown = build_report(without_predictions(searched(needed, scored(1, 1.5, 0.3)))).markdown
    assert "with as little memory: cnn2d-fusion trial 0 (0.40 at 1.00 GiB)." in markdown


@pytest.mark.parametrize(
    ("measured", "label"),
    [
        ((True, True), "smallest budget, measured"),
        ((False, False), "smallest budget, predicted: nothing was measured"),
        ((True, False), "smallest budget: filled marks measured, hollow ones predicted"),
    ],
)
def test_the_picture_of_memory_says_what_was_measured(measured: tuple[bool, bool], label: str):
    points = [
        MemoryPoint("cnn2d-fusion", index, (1 + index) * GIB, each, 0.5 + index / 10)
        for index, each in enumerate(measured)
    ]
    picture = figures.score_memory_svg({"cnn2d-fusion": points}, points, 8 * GIB)
    assert label in texts(picture)
    assert "budget, 8.00 GiB" in texts(picture)
    in_legend = 1
    assert marks(picture, f"fill: {svg.SERIES[0]}") == sum(measured) + in_legend
    assert marks(picture, f"fill: {svg.PAPER}; stroke: {svg.SERIES[0]}") == 2 - sum(measured)


def test_without_a_score_and_a_peak_there_is_no_picture_of_memory():
    bare = make_trial(0, valid_macro_f1=0.5, reading=Reading(), footprint_bytes=None)
    for results in (searched(bare), make_results(None), searched(TRIALS[6])):
        assert not [name for name in pictures_of(results) if name.startswith("memory-")]
        assert "Pareto front" not in build_report(without_predictions(results)).markdown


def test_every_colour_has_its_dark_counterpart():
    pictures = pictures_of(searched(), make_results(0.4, family="cnn1d-raw"))
    pictures["confusion"] = figures.confusion_matrix_svg(np.eye(10, dtype=int) * 3 + 1, GENRES, "ten")
    assert len(pictures) == 4
    for picture in pictures.values():
        style, _, drawing = picture.decode().partition("</style>")
        assert "@media (prefers-color-scheme: dark)" in style
        for what, colour in re.findall(r"\b(fill|stroke): (#[0-9a-f]{6})", drawing):
            assert colour == svg.ON_COLOUR or f'[style*="{what}: {colour}"]' in style
        assert all(re.search(r"\bfill: #", line) for line in drawing.splitlines() if "<text" in line)


def test_pictures_are_equal_whatever_the_user_s_own_settings_are():
    def draw() -> bytes:
        return figures.confusion_matrix_svg(np.eye(3, dtype=int), GENRES[:3], "three")

    expected = draw()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert draw() == expected


def test_a_name_is_no_mathematics():
    picture = figures.confusion_matrix_svg(np.eye(2, dtype=int), ("$a$", "<b> & c"), "$x_1$ & <y>")
    assert {"$a$", "<b> & c", "$x_1$ & <y>"} <= set(texts(picture))


def test_a_best_trial_that_another_workspace_ran_is_named_where_its_predictions_are_missing():
    said = "ran in another workspace, which has its predictions"
    missing, there = (
        build_report([study]).markdown for study in (replace(make_results(), predictions={}), make_results())
    )
    assert said in missing
    assert said not in there
