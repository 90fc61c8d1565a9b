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

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import classification_report

from harness.errors import UsageError
from harness.records import (
    DatasetRecord,
    EpochRecord,
    Outcome,
    Predictions,
    ProtocolRecord,
    Provenance,
    Published,
    Reading,
    Source,
    StudyRecord,
    StudyResults,
    TrialRecord,
)
from harness.scoring.metrics import confusion, track_scores
from harness.units import GIB
from reports import figures, render, tables
from reports.diagnosis import main_limitation

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
SYNTHETIC = "Synthetic demo set: scores say nothing about real music."
MARKED = "# Read me\n\n<!-- harness:results -->\nold\n<!-- /harness:results -->\n\nThe end.\n"


def make_predictions(accuracy: float, tracks: int = 200, genres: tuple[str, ...] = GENRES) -> Predictions:
    """The first share of the tracks is answered correctly, the others as a genre further on."""
    random = np.random.default_rng(7)
    labels = np.arange(tracks) % len(genres)
    wrong = random.permutation(tracks) >= round(accuracy * tracks)
    predicted = (labels + wrong * random.integers(1, len(genres), tracks)) % len(genres)
    probabilities = np.eye(len(genres), dtype=np.float32)[predicted]
    return Predictions(tuple(f"track{i:04}" for i in range(tracks)), genres, labels.astype(np.int64), probabilities)


def make_trial(number: int, outcome: Outcome = Outcome.COMPLETED, **changes: Any) -> TrialRecord:
    fields: dict[str, Any] = {"family": "cnn2d-fusion", "study": "cnn2d-fusion-1a2b3c4d", "number": number}
    fields |= {"outcome": outcome, "params": {"batch_size": 8, "learning_rate": 0.001 * (number + 1), "flatten": True}}
    if outcome is Outcome.COMPLETED:
        epoch = {
            "loss": 1.0,
            "accuracy": 0.6,
            "val_loss": 1.0,
            "val_accuracy": 0.6,
            "val_macro_f1": 0.6,
            "seconds": 1.0,
        }
        fields |= {"epochs": tuple(EpochRecord(epoch=index, **epoch) for index in range(20)), "best_epoch": 8}
        fields |= {"train_accuracy": 0.7, "micro_batch": 8, "accumulation": 2, "parameters": 1_234_567}
        fields |= {"train_seconds": 90.0, "footprint_bytes": 3 * GIB}
        fields |= {"reading": Reading(peak_bytes=2 * GIB, source=Source.PROCESS)}
    return TrialRecord(**(fields | changes))


def make_results(
    accuracy: float | None = 0.61,
    *,
    tracks: int = 200,
    trials: tuple[TrialRecord, ...] | None = None,
    best: dict[str, Any] | None = None,
    **study: Any,
) -> StudyResults:
    """A study with a baseline, a pruned and a best trial; `accuracy=None` leaves no completed trial."""
    fields: dict[str, Any] = {
        "family": "cnn2d-fusion",
        "description": "Stacked features through a deep 2D network.",
        "input": "(187, 130, 1)",
        "space": "5e6f7a8b",
        "dataset": DatasetRecord(name="mymusic", fingerprint="d1", genres=GENRES, tracks=1000, synthetic=False),
        "protocol": make_protocol(),
        "budget_bytes": 8 * GIB,
        "epochs": 20,
        "seed": 0,
        "quick": False,
        "trial_time_limit_seconds": 300.0,
        "published": Published(accuracy=0.61, macro_f1=0.59, limitation="out of memory beyond batch 8"),
        "provenance": Provenance(
            commit="abc1234",
            versions={"keras": "3.15", "tensorflow": "2.21"},
            backend="tensorflow",
            device="NVIDIA H200",
            driver="550.1",
            platform="Linux",
            cpu_count=8,
        ),
    }
    fields |= study
    fields.setdefault("study", f"{fields['family']}-1a2b3c4d")
    names = {"family": fields["family"], "study": fields["study"]}
    predictions: dict[int, Predictions] = {}
    if trials is None and accuracy is None:
        trials = (make_trial(0, Outcome.OOM), make_trial(1, Outcome.TIMEOUT))
    elif trials is None:
        assert accuracy is not None
        predictions = {0: make_predictions(accuracy / 2, tracks), 2: make_predictions(accuracy, tracks)}
        first, last = track_scores(predictions[0]), track_scores(predictions[2])
        trials = (
            make_trial(0, valid_accuracy=first.accuracy, valid_macro_f1=first.macro_f1),
            make_trial(1, Outcome.PRUNED),
            make_trial(2, **({"valid_accuracy": last.accuracy, "valid_macro_f1": last.macro_f1} | (best or {}))),
        )
    named = tuple(trial.model_copy(update=names) for trial in trials)
    return StudyResults(StudyRecord(**fields), named, predictions)


def without_predictions(*studies: StudyResults) -> list[StudyResults]:
    """The same studies with nothing to draw, for tests that look at no picture."""
    return [StudyResults(results.study, results.trials, {}) for results in studies]


def make_protocol(name: str = "group", **changes: Any) -> ProtocolRecord:
    sizes = {"train": 600, "valid": 200, "test": 190, "excluded": 10}
    return ProtocolRecord(**({"name": name, "fingerprint": f"p-{name}", "sizes": sizes, "grouped": True} | changes))


def four_families() -> list[StudyResults]:
    unmeasured = {"reading": Reading()}
    return [
        make_results(0.35, family="cnn2d-mfcc"),
        make_results(0.61),
        make_results(0.17, family="cnn1d-raw", best=unmeasured, published=None),
        make_results(None, family="cnn-transformer"),
    ]


@pytest.fixture(scope="module")
def markdown() -> str:
    return render.report(four_families()).markdown


def summary_rows(markdown: str) -> list[dict[str, str]]:
    """The rows of every summary table, as a reader sees them."""
    rows, header = [], None
    for line in markdown.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        header = cells if cells[:2] == ["Family", "Published¹"] else header if cells else None
        if header and cells and cells != header and not cells[0].startswith("---"):
            assert len(cells) == len(header)
            rows.append(dict(zip(header, cells, strict=True)))
    return rows


def test_every_family_has_its_row_best_first(markdown: str):
    rows = summary_rows(markdown)
    assert [row["Family"] for row in rows] == ["cnn2d-fusion", "cnn2d-mfcc", "cnn1d-raw", "cnn-transformer"]
    best = rows[0]
    assert best["Published¹"] == "61.0 %, F1 0.59"
    assert best["Baseline"].startswith("30.5 %, F1 0.")
    assert best["Best accuracy (95 % interval)"] == "61.0 % (54–68 %; 200 tracks)"
    assert best["Peak VRAM of best (source)"] == "2.00 GiB of 8.00 GiB, 25 % (process)"
    assert best["Parameters of best"] == "1.23 M"
    assert best["Trials"] == "3: 2 completed, 1 pruned"
    assert best["Training time"] == "3 min 00 s"
    assert best["Main limitation"] == "none found"


def memory_table(markdown: str, title: str) -> dict[str, list[str]]:
    """The other cells of a table of the memory part by its first cell; the header's is `Family`."""
    _, found, rest = markdown.partition(f"**{title}")
    assert found
    lines = rest.split("\n\n")[1].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert {len(row) for row in cells} == {len(cells[0])}
    return {row[0]: row[1:] for row in cells}


def memory_of(*studies: StudyResults) -> str:
    """The memory part of the only section, as a reader finds it."""
    _, _, rest = render.report(without_predictions(*studies)).markdown.partition("### Memory\n")
    return rest.partition("\n### ")[0]


def measured(gib: float, source: Source = Source.PROCESS) -> Reading:
    return Reading(peak_bytes=int(gib * GIB), source=source)


def scored(number: int, gib: float | None, macro_f1: float, footprint: float | None = 3) -> TrialRecord:
    """A completed trial; `gib` None was not measured."""
    return make_trial(
        number,
        reading=Reading() if gib is None else measured(gib),
        footprint_bytes=None if footprint is None else int(footprint * GIB),
        valid_macro_f1=macro_f1,
        valid_accuracy=macro_f1 + 0.02,
    )


def test_the_budget_curve_gives_the_best_score_that_fits_each_budget():
    pruned = make_trial(4, Outcome.PRUNED, reading=measured(0.5), valid_macro_f1=0.9, valid_accuracy=0.9)
    trials = (scored(0, 1.5, 0.3), scored(1, 2, 0.5), scored(2, 3, 0.4), scored(3, 7.5, 0.61), pruned)
    text = memory_of(make_results(trials=trials), make_results(None, family="cnn1d-raw"))
    curve = memory_table(text, "Best score within a budget")
    assert curve["Family"] == ["1 GiB", "2 GiB", "4 GiB", "8 GiB"]
    assert curve["cnn2d-fusion"] == ["–", "0.50 (52.0 %)", "0.50 (52.0 %)", "0.61 (63.0 %)"]
    assert curve["cnn1d-raw"] == ["–"] * 4
    assert "~" not in text
    assert "predicted footprints" not in text.partition("|")[0]


@pytest.mark.parametrize(
    ("peaks", "budget", "columns"),
    [
        ((1.0, 2.0), 2.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB"),
        ((1.0, 2.0), 24.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB, 16 GiB, 32 GiB"),
        ((1.0, 8.5), 8.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB, 16 GiB"),
        ((0.25, 1.0), 8.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB"),
        ((0.25, 0.9), 8.0, "0.25 GiB, 0.5 GiB, 1 GiB, 2 GiB, 4 GiB, 8 GiB"),
        ((0.05, 0.12), 8.0, "32 MiB, 64 MiB, 128 MiB, 1 GiB, 2 GiB, 4 GiB, 8 GiB"),
    ],
)
def test_the_columns_hold_every_peak_and_tell_small_peaks_apart(peaks: tuple[float, ...], budget: float, columns: str):
    trials = tuple(scored(number, peak, 0.5) for number, peak in enumerate(peaks))
    text = memory_of(make_results(trials=trials, budget_bytes=int(budget * GIB)))
    assert ", ".join(memory_table(text, "Best score within a budget")["Family"]) == columns


def test_what_rests_on_predictions_is_marked_in_its_cell_and_counted():
    mixed = make_results(trials=(scored(0, None, 0.5, footprint=1), scored(1, 3.5, 0.6), scored(2, None, 0.2)))
    gone = make_results(trials=(scored(0, 4, 0.3), scored(1, None, 0.9, footprint=None)), family="cnn1d-raw")
    text = memory_of(mixed, gone)
    curve = memory_table(text, "Best score within a budget")
    assert curve["cnn2d-fusion"] == ["~0.50 (52.0 %)", "~0.50 (52.0 %)", "0.60 (62.0 %)", "0.60 (62.0 %)"]
    assert curve["cnn1d-raw"] == ["–", "–", "0.30 (32.0 %)", "0.30 (32.0 %)"]
    assert "some completed trials were not measured: 2 of 3 of cnn2d-fusion." in text
    assert "with neither a measured nor a predicted peak: 1 of 2 of cnn1d-raw." in text
    assert "nothing was measured" not in text


def test_a_reading_without_a_source_is_no_measurement():
    trial = make_trial(0, reading=Reading(peak_bytes=GIB), valid_macro_f1=0.5, valid_accuracy=0.6)
    text = memory_of(make_results(trials=(trial,)))
    assert memory_table(text, "Best score within a budget")["cnn2d-fusion"] == ["–", "–"] + ["~0.50 (60.0 %)"] * 2
    assert "predicted footprints: nothing was measured." in text


def test_without_a_completed_trial_there_is_no_budget_curve():
    text = memory_of(make_results(None), make_results(trials=(), family="cnn1d-raw"))
    assert "No completed trial has a peak to hold against a budget." in text
    assert "|" not in text.replace("|predicted / measured − 1|", "")


def test_each_third_of_the_search_tells_how_often_it_broke_the_budget():
    kinds = [Outcome.REFUSED, Outcome.OVER_BUDGET, Outcome.OOM, Outcome.REFUSED, Outcome.COMPLETED, Outcome.HOST_OOM]
    trials = tuple(make_trial(number, kind) for number, kind in enumerate([*kinds, Outcome.OOM]))
    text = memory_of(make_results(trials=trials[::-1]), make_results(trials=trials[:2], family="cnn1d-raw"))
    thirds = memory_table(text, "Over the budget")
    assert thirds["Family"] == ["First third", "Second third", "Last third"]
    assert thirds["cnn2d-fusion"] == ["1 of 2 over, 1 refused", "1 of 2 over, 1 refused", "1 of 3 over, 0 refused"]
    assert thirds["cnn1d-raw"] == ["–"] * 3
    assert "Over the budget" not in memory_of(make_results(trials=trials[:2]))


def test_predictions_are_held_against_each_measure_by_itself():
    # 3 GiB were predicted for each: off by 50 %, 0 %, 25 % from NVML, and by 20 % from the one allocator's peak.
    trials = (
        make_trial(0, reading=measured(2), allocator_peak_bytes=int(2.5 * GIB)),
        make_trial(1, reading=measured(3)),
        make_trial(2, Outcome.OVER_BUDGET, reading=measured(4), footprint_bytes=3 * GIB),
        make_trial(3, Outcome.CRASHED, reading=measured(0.5), footprint_bytes=3 * GIB),
        make_trial(4, reading=measured(0)),
        make_trial(5, reading=Reading()),
        make_trial(6, reading=measured(1), footprint_bytes=None),
    )
    text = memory_of(make_results(trials=trials))
    rows = [line for line in text.partition("**Predicted against measured")[2].splitlines() if "| cnn2d" in line]
    assert rows == [
        "| cnn2d-fusion | NVML reading | 3 | 25.0 % | 47.5 % |",
        "| cnn2d-fusion | framework's allocator | 1 | 20.0 % | 20.0 % |",
    ]
    assert "No trial has both figures." in memory_of(make_results(trials=trials[3:]))


def test_the_guards_are_told_apart():
    trials = (
        make_trial(0, cap_bytes=7 * GIB),
        make_trial(1, Outcome.OOM, cap_bytes=7 * GIB, reading=measured(6.9)),
        make_trial(2, Outcome.OVER_BUDGET, cap_bytes=7 * GIB, reading=measured(8.1)),
        make_trial(3, Outcome.OOM),
        make_trial(4, Outcome.REFUSED, footprint_bytes=9 * GIB),
    )
    capped = memory_of(make_results(trials=trials))
    assert (
        "inside the framework stopped 1 of 3 trials that had one; the watchdog outside stopped 1 of 3 trials" in capped
    )
    assert "by predicted footprint: 1 refused. Out of device memory without a cap: 1." in capped
    blind = memory_of(make_results(trials=(make_trial(0, Outcome.OOM, cap_bytes=7 * GIB),)))
    assert "stopped 1 of 1 trials that had one; the watchdog outside measured nothing." in blind
    uncapped = memory_of(make_results(trials=(*trials[3:], scored(5, 2, 0.5))))
    assert "inside the framework was not set; the watchdog outside stopped 0 of 1 trials that it measured." in uncapped


def test_without_a_gpu_no_guard_is_said_to_have_held():
    trials = (scored(0, None, 0.5), make_trial(1, Outcome.REFUSED), make_trial(2, Outcome.REFUSED))
    text = memory_of(make_results(trials=trials))
    assert "No trial was measured, so neither guard was tried" in text
    assert "the budget was held against predicted footprints: 2 refused." in text


def test_what_was_not_measured_is_said_to_be_so(markdown: str):
    row = summary_rows(markdown)[2]
    assert row["Family"] == "cnn1d-raw"
    assert row["Peak VRAM of best (source)"] == "not measured"
    assert row["Published¹"] == "–"


def test_a_study_without_a_completed_trial_says_so(markdown: str):
    row = summary_rows(markdown)[3]
    assert row["Best accuracy (95 % interval)"] == row["Best macro F1"] == row["Peak VRAM of best (source)"] == "–"
    assert row["Baseline"] == "oom"
    assert row["Trials"] == "2: 1 oom, 1 timeout"
    assert row["Main limitation"] == "no completed trial: 1 oom, 1 timeout"


def test_the_published_column_is_marked_as_another_split(markdown: str):
    for text in (markdown, render.results_table(four_families())):
        assert "¹ Reported by the original author on GTZAN" in text
        assert "not comparable" in text


def test_the_report_says_how_optimistic_it_is(markdown: str):
    assert "the test set is not opened by `harness run`" in markdown
    assert "optimistic" in markdown


def test_equal_records_make_equal_files(tmp_path: Path):
    studies = [make_results(), *without_predictions(*four_families()[2:])]
    first = render.write(studies, tmp_path / "one" / "RESULTS.md")
    made = [path.read_bytes() for path in first]
    assert len(made) == 3
    second = render.write(studies[::-1], tmp_path / "two" / "RESULTS.md")
    assert [path.read_bytes() for path in second] == made
    assert render.write(studies, tmp_path / "one" / "RESULTS.md") == first
    assert [path.read_bytes() for path in first] == made


def test_every_picture_that_is_linked_exists_and_nothing_else_is_left(tmp_path: Path):
    output = tmp_path / "report" / "RESULTS.md"
    written = render.write(four_families()[1:], output)
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", output.read_text(encoding="utf-8"))
    assert len(links) == 2
    for link in links:
        with Image.open(output.parent / link) as picture:
            assert picture.format == "PNG"
            assert 850 <= picture.width <= 950
            picture.verify()
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)


def test_a_place_that_cannot_be_written_to_is_the_users_to_mend(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot write the report"):
        render.write(without_predictions(make_results()), tmp_path / "file" / "RESULTS.md")


def test_the_synthetic_set_is_named_before_any_number():
    data = DatasetRecord(name="demo", fingerprint="d2", genres=GENRES, tracks=200, synthetic=True)
    markdown = render.report(without_predictions(make_results(dataset=data))).markdown
    assert markdown.splitlines()[2] == f"> **{SYNTHETIC}**"
    assert SYNTHETIC in render.results_table([make_results(dataset=data)])
    assert SYNTHETIC not in render.report(without_predictions(make_results())).markdown


def test_the_protocols_warning_stands_with_its_table():
    protocol = make_protocol("random", warning="Tracks of one artist\nare on both sides.", grouped=False)
    for markdown in (
        render.report(without_predictions(make_results(protocol=protocol))).markdown,
        render.results_table([make_results(protocol=protocol)]),
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
    studies = [make_results(), make_results(family="cnn1d-raw"), make_results(study="cnn2d-fusion-other", **change)]
    for markdown in (render.report(without_predictions(*studies)).markdown, render.results_table(studies)):
        blocks = [block for block in markdown.split("\n\n") if block.startswith("| Family | Published¹")]
        assert sorted(len(summary_rows(block)) for block in blocks) == [1, 2]


def test_two_spaces_of_one_family_are_told_apart():
    rows = summary_rows(render.results_table([make_results(), make_results(0.5, study="cnn2d-fusion-99999999")]))
    assert [row["Family"] for row in rows] == ["cnn2d-fusion-1a2b3c4d", "cnn2d-fusion-99999999"]


def test_provenance_names_what_the_figures_rest_on():
    markdown = render.report(without_predictions(make_results())).markdown
    for fact in (
        "train 600, valid 200, test 190, excluded 10",
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
    markdown = render.report(studies).markdown
    assert "| Commit | cnn2d-fusion: abc1234; cnn1d-raw: def5678 |" in markdown


def test_names_from_outside_cannot_break_the_tables():
    genres = ("r|b", "<b>*loud*", "_x_", "hip_hop")
    results = make_results()
    data = DatasetRecord(name="a|b", fingerprint="d", genres=genres, tracks=8, synthetic=False)
    odd = StudyResults(
        results.study.model_copy(update={"dataset": data}), results.trials, {2: make_predictions(0.5, 8, genres)}
    )
    markdown = render.report([odd]).markdown
    for cell in (r"| r\|b |", r"| \<b\>\*loud\* |", r"| \_x\_ |", "| hip_hop |", r"| a\|b, 8 tracks"):
        assert cell in markdown


def test_numbers_by_genre_are_scikit_learns(markdown: str):
    predictions = make_predictions(0.61)
    expected = classification_report(
        predictions.labels, predictions.predicted, target_names=GENRES, output_dict=True, zero_division=0
    )
    rows = {row["genre"]: row for row in csv.DictReader(io.StringIO(tables.per_genre_csv(predictions)))}
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
    document = json.loads(tables.confusion_json(predictions))
    assert document == {"genres": list(GENRES), "matrix": confusion(predictions).tolist()}


def test_a_trial_whose_predictions_are_gone_still_has_its_row():
    markdown = render.report(without_predictions(make_results())).markdown
    assert "61.0 % (54–68 %; 200 tracks)" in markdown
    assert "predictions of this trial are not stored" in markdown
    assert "](pictures/" not in markdown


def test_scores_leave_out_clocks_and_memory():
    results = make_results()
    memory = {"reading": Reading(), "vram_series": ((0.5, GIB),), "allocator_peak_bytes": GIB}
    memory |= {"footprint_bytes": GIB, "cap_bytes": GIB}
    slower = [
        trial.model_copy(update={"train_seconds": 999.0, "started": "later", **memory}) for trial in results.trials
    ]
    other = StudyResults(results.study, tuple(slower), results.predictions)
    assert tables.scores_json([results]) == tables.scores_json([other])
    (study,) = json.loads(tables.scores_json([results]))["studies"]
    assert [trial["outcome"] for trial in study["trials"]] == ["completed", "pruned", "completed"]
    assert study["trials"][2]["valid_accuracy"] == pytest.approx(0.61)
    assert study["trials"][2]["best_epoch"] == 8


def test_no_study_is_the_users_to_mend():
    with pytest.raises(UsageError, match="harness run"):
        render.report([])


def test_inject_renews_what_stands_between_the_markers_only():
    renewed = render.inject("| new |\n", MARKED)
    assert renewed == MARKED.replace("\nold\n", "\n\n| new |\n\n")
    assert render.inject("| new |\n", renewed) == renewed
    assert render.inject("a\nb", MARKED.replace("\n", "\r\n")).count("\n") == render.inject("a\nb", MARKED).count("\n")


def test_markers_that_a_text_only_mentions_are_no_markers():
    document = f"Write `<!-- harness:results -->` in your file.\n{MARKED}"
    assert render.inject("new", document).startswith("Write `<!-- harness:results -->` in your file.\n# Read me")


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
        render.inject("new", document)


@pytest.mark.parametrize(
    ("results", "limitation"),
    [
        (make_results(None), "no completed trial: 1 oom, 1 timeout"),
        (make_results(trials=()), "no trial has ended yet"),
        (make_results(0.12), "at chance: accuracy 8–18 %, chance 10.0 %"),
        (make_results(0.3, best={"valid_macro_f1": 0.31, "train_accuracy": 0.5}), "over-fitting: accuracy 50.0 %"),
        (
            make_results(best={"train_accuracy": 0.98}),
            "over-fitting: accuracy 98.0 % in training, 61.0 % in validation",
        ),
        (make_results(best={"best_epoch": 18}), "too few epochs: best after 19 of 20"),
        (make_results(0.6, tracks=40), "few validation tracks: 40 leave accuracy at 44–74 %"),
        (make_results(), "none found"),
    ],
)
def test_the_main_limitation_comes_with_its_figure(results: StudyResults, limitation: str):
    assert main_limitation(results).startswith(limitation)


@pytest.mark.parametrize(
    ("outcomes", "limitation"),
    [
        ([Outcome.REFUSED, Outcome.OOM], "GPU memory: 2 of 5 trials refused, over budget or out of memory"),
        ([Outcome.TIMEOUT] * 2, "time: 2 of 5 trials over the time limit"),
        ([Outcome.TIMEOUT], "none found"),
    ],
)
def test_a_third_of_the_trials_lost_is_the_limitation(outcomes: list[Outcome], limitation: str):
    results = make_results()
    lost = tuple(make_trial(3 + index, outcome) for index, outcome in enumerate(outcomes))
    assert main_limitation(StudyResults(results.study, results.trials + lost, results.predictions)) == limitation


def test_forty_genres_get_a_larger_picture():
    genres = [f"a genre with a long name {index}" for index in range(40)]
    with Image.open(io.BytesIO(figures.confusion_matrix_png(np.eye(40, dtype=int), genres, "many"))) as picture:
        assert picture.width > 1500


def test_importing_the_reports_is_light():
    heavy = "{'matplotlib', 'sklearn', 'scipy', 'jinja2'}"
    program = f"import sys, reports.render; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
