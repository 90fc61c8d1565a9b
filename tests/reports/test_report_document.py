"""The report: what a reader finds in it, and that equal records make equal bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import classification_report

from harness.errors import UsageError, WorkspaceError
from harness.records.study import DatasetRecord, StudyResults
from harness.records.trial import Reading, ReadingSource
from harness.scoring.metrics import confusion
from harness.units import GIB
from reports import exports, figures
from reports.document import build_report, results_table
from reports.markers import inject
from reports.write import inject_into, write_markdown, write_page
from tests.helpers.records import changed
from tests.helpers.reports import (
    GENRES,
    four_families,
    make_predictions,
    make_protocol,
    make_results,
    summary_rows,
    without_predictions,
)

SYNTHETIC = "Synthetic demo set: scores say nothing about real music."
UNMEASURED = {"reading": Reading()}
MARKED = "# Read me\n\n<!-- harness:results -->\nold\n<!-- /harness:results -->\n\nThe end.\n"


@pytest.fixture(scope="module")
def markdown() -> str:
    return build_report(four_families()).markdown


def test_every_family_has_its_row_best_first(markdown: str):
    rows = summary_rows(markdown)
    assert [row["Family"] for row in rows] == ["cnn2d-fusion", "cnn2d-mfcc", "cnn1d-raw", "cnn-transformer"]
    best = rows[0]
    assert best["Published¹"] == "61.0 %, F1 0.59"
    assert best["Validation: baseline"].startswith("30.5 %, F1 0.")
    assert best["Validation: best accuracy (95 % interval)"] == "61.0 % (54–68 %; 200 tracks)"
    assert best["Peak VRAM of best (source)"] == "2.00 of 8.00 GiB (process)"
    assert best["Parameters of best"] == "1.23 M"
    assert best["Latency of best, 30 s track"] == "42 ms"
    assert best["Training seconds of best"] == "90"
    assert best["Trials"] == "3: 2 completed, 1 pruned"
    assert best["Main limitation"] == "none found"


def test_what_was_not_measured_is_said_to_be_so(markdown: str):
    row = summary_rows(markdown)[2]
    assert row["Family"] == "cnn1d-raw"
    assert row["Peak VRAM of best (source)"] == "not measured"
    assert row["Published¹"] == "–"


def test_the_best_trial_s_memory_is_told_as_needed_and_held(markdown: str):
    assert "predicted footprint 3.00 GiB; held: 2.00 GiB (process)." in markdown
    best = {"allocator_peak_bytes": GIB, "reading": Reading(peak_bytes=2 * GIB, source=ReadingSource.DEVICE_DELTA)}
    (row,) = summary_rows(results_table([make_results(best=best)]))
    assert row["Peak VRAM of best (source)"] == "2.00 of 8.00 GiB (device delta)"
    told = build_report(without_predictions(make_results(best=best))).markdown
    assert "predicted footprint 3.00 GiB; needed: 1.00 GiB; held: 2.00 GiB (device delta)." in told
    on_a_cpu = build_report(without_predictions(make_results(best=best | UNMEASURED))).markdown
    assert "predicted footprint 3.00 GiB; needed: 1.00 GiB; held: not measured." in on_a_cpu


def test_what_older_records_do_not_have_is_a_dash():
    results = make_results(best={"inference_seconds": None, "train_seconds": None})
    (row,) = summary_rows(results_table([results]))
    assert row["Latency of best, 30 s track"] == row["Training seconds of best"] == "–"


def test_a_study_without_a_completed_trial_says_so(markdown: str):
    row = summary_rows(markdown)[3]
    assert (
        row["Validation: best accuracy (95 % interval)"]
        == row["Validation: best macro F1"]
        == row["Peak VRAM of best (source)"]
        == "–"
    )
    assert row["Validation: baseline"] == "oom"
    assert row["Trials"] == "2: 1 oom, 1 timeout"
    assert row["Main limitation"] == "no completed trial: 1 oom, 1 timeout"


def test_the_published_column_is_marked_as_another_split(markdown: str):
    for text in (markdown, results_table(four_families())):
        assert "¹ Reported by the original author on GTZAN" in text
        assert "not comparable" in text


def test_the_report_says_how_optimistic_it_is(markdown: str):
    assert "`harness run` never evaluates on the test set" in markdown
    assert "optimistic" in markdown


def test_equal_records_make_equal_files(tmp_path: Path):
    studies = [make_results(), *without_predictions(*four_families()[2:])]
    first = write_markdown(studies, tmp_path / "one" / "RESULTS.md")
    made = [path.read_bytes() for path in first]
    assert [path.name for path in first] == [
        "confusion-cnn2d-fusion-1a2b3c4d.svg",
        "memory-section-1.svg",
        "search-cnn-transformer-1a2b3c4d.svg",
        "search-cnn1d-raw-1a2b3c4d.svg",
        "search-cnn2d-fusion-1a2b3c4d.svg",
        "scores.json",
        "RESULTS.md",
    ]
    second = write_markdown(studies[::-1], tmp_path / "two" / "RESULTS.md")
    assert [path.read_bytes() for path in second] == made
    assert write_markdown(studies, tmp_path / "one" / "RESULTS.md") == first
    assert [path.read_bytes() for path in first] == made


def test_every_picture_that_is_linked_exists_and_nothing_else_is_left(tmp_path: Path):
    output = tmp_path / "report" / "RESULTS.md"
    written = write_markdown(four_families()[1:], output)
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", output.read_text(encoding="utf-8"))
    assert len(links) == len(set(links)) == 6
    for link in links:
        assert ElementTree.parse(output.parent / link).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)


def test_a_place_that_cannot_be_written_to_is_the_users_to_mend(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        write_markdown(without_predictions(make_results()), tmp_path / "file" / "RESULTS.md")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "folder"])
def test_a_folder_is_no_place_for_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    studies = without_predictions(make_results())
    with pytest.raises(UsageError, match=r"--output \S+: a folder\. Name a file"):
        write_markdown(studies, Path(name))
    with pytest.raises(UsageError, match=r"--html \S+: a folder\. Name a file"):
        write_page(studies, Path(name))
    with pytest.raises(UsageError, match=r"--inject \S+: a folder\. Name a file"):
        inject_into(Path(name), studies)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_the_synthetic_set_is_named_before_any_number():
    data = DatasetRecord(name="demo", fingerprint="d2", genres=GENRES, tracks=200, synthetic=True)
    markdown = build_report(without_predictions(make_results(dataset=data))).markdown
    assert markdown.splitlines()[2] == f"> **{SYNTHETIC}**"
    assert SYNTHETIC in results_table([make_results(dataset=data)])
    assert SYNTHETIC not in build_report(without_predictions(make_results())).markdown


def test_the_protocols_warning_stands_with_its_table():
    protocol = make_protocol("random", warning="Tracks of one artist\nare on both sides.", grouped=False)
    for markdown in (
        build_report(without_predictions(make_results(protocol=protocol))).markdown,
        results_table([make_results(protocol=protocol)]),
    ):
        assert "> **Protocol warning:** Tracks of one artist are on both sides." in markdown
        assert markdown.index("Protocol warning") < markdown.index("| Family")


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": make_protocol("random")},
        {"protocol": make_protocol(fingerprint="other")},
        {"dataset": DatasetRecord(name="mymusic", fingerprint="d9", genres=GENRES, tracks=9, synthetic=False)},
        {"budget_bytes": 2 * GIB},
        {"epochs": 5},
        {"seed": 1},
        {"quick": True},
    ],
)
def test_what_is_not_comparable_never_shares_a_table(change: dict[str, Any]):
    studies = [make_results(), make_results(family="cnn1d-raw"), make_results(name="cnn2d-fusion-other", **change)]
    for markdown in (build_report(without_predictions(*studies)).markdown, results_table(studies)):
        blocks = [block for block in markdown.split("\n\n") if block.startswith("| Family | Published¹")]
        assert sorted(len(summary_rows(block)) for block in blocks) == [1, 2]


def test_two_spaces_of_one_family_are_told_apart():
    rows = summary_rows(results_table([make_results(), make_results(0.5, name="cnn2d-fusion-99999999")]))
    assert [row["Family"] for row in rows] == ["cnn2d-fusion-1a2b3c4d", "cnn2d-fusion-99999999"]


def test_provenance_names_what_the_figures_rest_on():
    markdown = build_report(without_predictions(make_results())).markdown
    for fact in (
        "600 train, 200 valid, 190 test, 10 excluded",
        "NVIDIA H200",
        "550.1",
        "abc1234",
        "keras 3.15",
        "8 CPU",
    ):
        assert fact in markdown


def test_provenance_that_differs_names_the_family_it_holds_for():
    other = make_results().study.provenance.model_copy(update={"commit": "def5678"})
    studies = without_predictions(make_results(), make_results(0.3, family="cnn1d-raw", provenance=other))
    markdown = build_report(studies).markdown
    assert "| Commit | cnn2d-fusion: abc1234; cnn1d-raw: def5678 |" in markdown


def test_names_from_outside_cannot_break_the_tables():
    genres = ("r|b", "<b>*loud*", "_x_", "hip_hop")
    results = make_results()
    data = DatasetRecord(name="a|b", fingerprint="d", genres=genres, tracks=8, synthetic=False)
    odd = StudyResults(
        results.study.model_copy(update={"dataset": data}), results.trials, {2: make_predictions(0.5, 8, genres)}
    )
    markdown = build_report([odd]).markdown
    for cell in (r"| r\|b |", r"| \<b\>\*loud\* |", r"| \_x\_ |", "| hip_hop |", r"| a\|b, 8 tracks"):
        assert cell in markdown


def test_numbers_by_genre_are_scikit_learns(markdown: str):
    predictions = make_predictions(0.61)
    expected = classification_report(
        predictions.labels, predictions.predicted, target_names=GENRES, output_dict=True, zero_division=0
    )
    rows = {row["genre"]: row for row in csv.DictReader(io.StringIO(exports.per_genre_csv(predictions)))}
    assert list(rows) == list(GENRES)
    for genre in GENRES:
        precision, recall, f1, support = (
            expected[genre][key] for key in ("precision", "recall", "f1-score", "support")
        )
        assert f"| {genre} | {precision:.2f} | {recall:.2f} | {f1:.2f} | {support:.0f} |" in markdown
        assert float(rows[genre]["f1"]) == pytest.approx(f1)
        assert rows[genre]["support"] == f"{support:.0f}"


def test_the_confusion_matrix_is_kept_as_json():
    predictions = make_predictions(0.61)
    document = json.loads(exports.confusion_json(predictions))
    assert document == {"genres": list(GENRES), "matrix": confusion(predictions).tolist()}


def test_a_trial_whose_predictions_are_gone_still_has_its_row():
    markdown = build_report(without_predictions(make_results())).markdown
    assert "61.0 % (54–68 %; 200 tracks)" in markdown
    assert "predictions of this trial are not stored" in markdown
    assert "](pictures/confusion" not in markdown


def test_scores_leave_out_clocks_and_memory():
    results = make_results()
    memory = {"reading": Reading(), "series": ((0.5, GIB),), "allocator_peak_bytes": GIB}
    memory |= {"pool_bytes": GIB, "beside_bytes": GIB, "footprint_bytes": GIB, "cap_bytes": GIB}
    slower = [changed(trial, train_seconds=999.0, started="later", **memory) for trial in results.trials]
    other = StudyResults(results.study, tuple(slower), results.predictions)
    assert exports.scores_json([results]) == exports.scores_json([other])
    (study,) = json.loads(exports.scores_json([results]))["studies"]
    assert [trial["outcome"] for trial in study["trials"]] == ["completed", "pruned", "completed"]
    assert study["trials"][2]["valid_accuracy"] == pytest.approx(0.61)
    assert study["trials"][2]["best_epoch"] == 8


def test_no_study_is_the_users_to_mend():
    with pytest.raises(UsageError, match="harness run"):
        build_report([])


def test_inject_renews_what_stands_between_the_markers_only():
    renewed = inject("| new |\n", MARKED)
    assert renewed == MARKED.replace("\nold\n", "\n\n| new |\n\n")
    assert inject("| new |\n", renewed) == renewed
    assert inject("a\nb", MARKED.replace("\n", "\r\n")).count("\n") == inject("a\nb", MARKED).count("\n")


def test_markers_that_a_text_only_mentions_are_no_markers():
    document = f"Write `<!-- harness:results -->` in your file.\n{MARKED}"
    assert inject("new", document).startswith("Write `<!-- harness:results -->` in your file.\n# Read me")


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("no markers", "is missing"),
        ("<!-- harness:results -->\n", "<!-- /harness:results --> is missing"),
        ("<!-- /harness:results -->\n<!-- harness:results -->\n", "stands before"),
        (MARKED + MARKED, "stands 2 times"),
    ],
)
def test_a_document_without_proper_markers_is_refused(document: str, complaint: str):
    with pytest.raises(UsageError, match=complaint):
        inject("new", document)


def test_forty_genres_get_a_larger_picture():
    genres = [f"a genre with a long name {index}" for index in range(40)]
    with Image.open(io.BytesIO(figures.confusion_matrix_png(np.eye(40, dtype=int), genres, "many"))) as picture:
        assert picture.width > 1500
    ten = io.BytesIO(figures.confusion_matrix_png(np.eye(10, dtype=int), GENRES, "ten"))
    with Image.open(ten) as picture:
        assert picture.format == "PNG"
        assert 850 <= picture.width <= 950


def test_importing_the_reports_is_light():
    heavy = "{'matplotlib', 'sklearn', 'scipy', 'jinja2', 'markdown_it'}"
    program = f"import sys, reports.write; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_cost_of_a_head_is_not_passed_off_as_that_of_its_frozen_network() -> None:
    studies = without_predictions(make_results(family="pretrained", embeddings={"yamnet": "f1"}), make_results())
    text = build_report(studies).markdown
    assert "| 1.23 M (head) | 42 ms (head) | 90 (head) |" in text
    assert "**pretrained** embeds tracks with yamnet, frozen, and trained elsewhere" in text
    assert "**cnn2d-fusion** embeds" not in text
