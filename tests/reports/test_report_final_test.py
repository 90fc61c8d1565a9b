"""The report after `harness final`: tested scores with their doubt, openings, paired tests, references, ensembles."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.analysis.comparison_group import analyse
from harness.markdown import genre_table
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.records.trial import Outcome
from harness.scoring.comparison import bootstrap_macro_f1, mcnemar
from harness.scoring.metrics import Interval, per_genre, track_scores, wilson
from harness.units import ratio_range
from reports import exports
from reports.document import build_report, results_table
from reports.sections import pairwise
from tests.helpers.records import changed
from tests.helpers.reports import (
    ensemble,
    failed,
    make_predictions,
    make_protocol,
    make_results,
    make_trial,
    opened,
    part_of,
    reference_pair,
    summary_rows,
    without_predictions,
)

ACCURACY, MACRO_F1 = "winner's accuracy (95 % interval)", "winner's macro F1 (95 % interval)"
FOLDED = {"protocol": make_protocol("kfold:5", sizes={"folds": 200}, folds=5)}


def text_of(*studies: StudyResults) -> str:
    return build_report(without_predictions(*studies)).markdown


def part(markdown: str, heading: str) -> str:
    """What stands under a heading of the third level; empty if there is none."""
    _, _, rest = markdown.partition(f"\n### {heading}\n")
    return re.split(r"\n##+ ", rest)[0]


def table_row(text: str, *starts: str) -> list[str]:
    """The cells of the only table row that starts with these cells."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    (found,) = [row for row in rows if tuple(row[: len(starts)]) == starts]
    return found


def test_tested_scores_stand_beside_validation_with_interval_and_spread():
    results = opened(make_results(), (0.6, 0.58, 0.62), (0.5, 0.52))
    (row,) = summary_rows(text_of(results))
    accuracies = [track_scores(make_predictions(accuracy, 190)).accuracy for accuracy in (0.6, 0.58, 0.62)]
    low, high = wilson(round(np.mean(accuracies) * 190), 190)
    assert row["Validation: best accuracy (95 % interval)"] == "61.0 % (54–68 %; 200 tracks)"
    assert (
        row[f"Test: {ACCURACY}"] == f"{100 * np.mean(accuracies):.1f} % ± {100 * np.std(accuracies, ddof=1):.1f} "
        f"({np.floor(100 * low):.0f}–{np.ceil(100 * high):.0f} %; 190 tracks, 3 seeds)"
    )
    interval = bootstrap_macro_f1(make_predictions(0.6, 190))
    f1 = [track_scores(make_predictions(accuracy, 190)).macro_f1 for accuracy in (0.6, 0.58, 0.62)]
    assert row[f"Test: {MACRO_F1}"].startswith(f"{np.mean(f1):.2f} ± {np.std(f1, ddof=1):.2f} (")
    shown = [float(end) for end in row[f"Test: {MACRO_F1}"].partition("(")[2].rstrip(")").split("–")]
    assert shown == pytest.approx(interval, abs=0.01)
    assert shown[0] <= interval.low
    assert interval.high <= shown[1]
    assert row["Test: baseline"].startswith("51.1 %, F1 0.")


def test_intervals_are_rounded_outward():
    assert ratio_range(Interval(0.526, 0.534)) == "0.52–0.54"
    assert ratio_range(Interval(0.5, 1.0)) == "0.50–1.00"


def test_one_seed_has_no_spread():
    (row,) = summary_rows(text_of(opened(make_results(), (0.6,), (0.5,))))
    assert row[f"Test: {ACCURACY}"] == "60.0 % (52–67 %; 190 tracks, 1 seed)"
    assert "±" not in row[f"Test: {MACRO_F1}"]


def test_what_was_not_tested_is_said_to_be_so():
    alone = text_of(make_results())
    assert summary_rows(alone)[0]["Test"] == "not tested"
    assert "\n### Test\n" not in alone
    assert "Tested scores" not in alone
    beside = summary_rows(text_of(opened(make_results()), make_results(0.3, family="cnn1d-raw")))
    assert beside[1][f"Test: {ACCURACY}"] == "not tested"
    assert beside[1]["Test: baseline"] == "–"


def test_outer_folds_count_together_and_are_named_so():
    results = opened(make_results(**FOLDED), (0.5, 0.46), (0.4, 0.4), tracks=200, folds=5, trials=(2, 2, 0, 2, 1))
    markdown = text_of(results)
    (row,) = summary_rows(markdown)
    assert row[f"Outer folds: {ACCURACY}"] == "48.0 % ± 2.8 (41–55 %; 200 tracks, 2 seeds)"
    assert row["Validation: best accuracy (95 % interval)"].endswith("; 200 tracks)")
    f1 = [track_scores(make_predictions(accuracy, 200)).macro_f1 for accuracy in (0.5, 0.46)]
    assert row[f"Outer folds: {MACRO_F1}"].startswith(f"{np.mean(f1):.2f} ± ")
    assert not any(column.startswith("Test") for column in row)
    text = part(markdown, "Outer folds")
    assert "the trials' stored predictions on the other folds" in text
    assert table_row(text, "cnn2d-fusion", "Winner (by fold, trials 2, 2, 0, 2, 1)")
    assert "a trial trains 5 times, and its validation scores are over all 200 tracks" in markdown


def test_a_protocol_without_folds_and_test_tells_of_the_smaller_searches():
    protocol = make_protocol("random", sizes={"train": 160, "valid": 40, "test": 0, "excluded": 0})
    markdown = text_of(opened(make_results(protocol=protocol), tracks=200, folds=5))
    assert "by a smaller search, whose trials have numbers of their own" in part(markdown, "Outer folds")
    assert "The smaller searches without each outer fold come on top" in markdown


@pytest.mark.parametrize("key", ["winner-1", "winner-1-3"])
def test_a_seed_with_a_failed_training_is_named_and_in_no_mean(key: str):
    folds = 5 if key.count("-") > 1 else 0
    study = make_results(**FOLDED) if folds else make_results()
    whole = opened(study, (0.6, 0.2), (0.5, 0.5), tracks=200, folds=folds)
    markdown = text_of(failed(whole, key, Outcome.OOM, "no room | at all"))
    (row,) = summary_rows(markdown)
    word = "Outer folds" if folds else "Test"
    assert row[f"{word}: {ACCURACY}"] == "60.0 % (53–67 %; 200 tracks, 1 seed)"
    text = part(markdown, word)
    assert table_row(text, "cnn2d-fusion", "Winner (trial 2)")[2:4] == ["60.0 %, F1 0.60", "oom"]
    where = ", outer fold 4" if folds else ""
    assert rf"- cnn2d-fusion: winner, trial 2, seed 2{where}: oom (no room \| at all)" in text


def test_a_seed_that_is_not_tested_on_every_fold_yet_is_in_no_mean():
    whole = opened(make_results(**FOLDED), (0.6, 0.2), (0.5,), tracks=200, folds=5)
    assert whole.finals is not None
    runs = tuple(run for run in whole.finals.runs if run.key not in ("winner-1-4", "baseline-0-4"))
    markdown = text_of(replace(whole, finals=whole.finals.model_copy(update={"runs": runs})))
    (row,) = summary_rows(markdown)
    assert row[f"Outer folds: {ACCURACY}"].endswith("200 tracks, 1 seed)")
    assert row["Outer folds: baseline"] == "no complete seed"
    assert table_row(markdown, "cnn2d-fusion", "Winner (trial 2)")[3] == "not finished"


def test_nothing_is_made_up_when_every_training_failed():
    lost = opened(make_results(), (0.6,), (0.5,))
    for key in ("winner-0", "baseline-0"):
        lost = failed(lost, key, Outcome.CRASHED, "")
    (row,) = summary_rows(text_of(lost))
    assert row[f"Test: {ACCURACY}"] == row["Test: baseline"] == "no complete seed"
    assert row[f"Test: {MACRO_F1}"] == "–"


def test_a_winner_that_is_not_ahead_is_reported_in_words():
    behind, ahead = opened(make_results(), (0.4,), (0.5,)), opened(make_results(0.3, family="cnn1d-raw"))
    for markdown in (text_of(behind, ahead), results_table([behind, ahead])):
        assert (
            "the winner of **cnn2d-fusion** is not ahead of its baseline in accuracy (40.0 % against 50.0 %) and macro "
            "F1 (0.40 against 0.50)."
        ) in markdown
        assert "winner of **cnn1d-raw**" not in markdown
    text = part(text_of(behind, ahead), "Test")
    assert "- cnn2d-fusion: the winner is **not ahead** in accuracy" in text
    assert "- cnn1d-raw: the winner is ahead, +10.0 points of accuracy" in text


def test_equal_scores_are_not_ahead():
    assert "not ahead of its baseline in accuracy (50.0 %" in text_of(opened(make_results(), (0.5,), (0.5,)))


@pytest.mark.parametrize("baseline", [(0.5, 0.5), ()])
def test_a_winner_that_is_the_baseline_is_said_to_be_so(baseline: tuple[float, ...]):
    markdown = text_of(opened(make_results(), (0.5, 0.5), baseline, trials=(0,)))
    assert summary_rows(markdown)[0]["Test: baseline"] == "is the winner"
    assert "the winner of **cnn2d-fusion** is its baseline" in markdown


def test_a_fold_that_the_baseline_won_counts_for_both():
    whole = opened(make_results(**FOLDED), (0.6,), (0.5,), tracks=200, folds=5, trials=(0, 2, 2, 2, 2))
    assert whole.finals is not None
    runs = tuple(run for run in whole.finals.runs if run.key != "baseline-0-0")
    markdown = text_of(replace(whole, finals=whole.finals.model_copy(update={"runs": runs})))
    right = (
        part_of(make_predictions(0.6, 200), 0, 5),
        *(part_of(make_predictions(0.5, 200), fold, 5) for fold in range(1, 5)),
    )
    accuracy = np.mean([track_scores(answers).accuracy for answers in right])
    assert summary_rows(markdown)[0]["Outer folds: baseline"].startswith(f"{100 * accuracy:.1f} %, F1 0.")


def test_winner_and_baseline_are_tested_against_each_other():
    results = opened(make_results(), (0.6,), (0.5,))
    test = mcnemar(make_predictions(0.6, 190), make_predictions(0.5, 190))
    assert test.p_value < 0.001
    text = part(text_of(results), "Test")
    assert f"{test.only_first} tracks only the winner has right, 0 only the baseline, p < 0.001." in text


def test_openings_are_counted_with_their_trials():
    once = text_of(opened(make_results(), openings=(3,)))
    assert "- cnn2d-fusion: tested once, after 3 trials.\n" in once
    assert "not untouched" not in once
    twice = text_of(opened(make_results(), openings=(2, 3)))
    assert "- cnn2d-fusion: tested 2 times, after 2 and 3 trials. **What was chosen after the first" in twice
    assert "not untouched any more" in twice


def test_trials_that_ended_after_the_opening_are_told():
    text = text_of(opened(make_results(), openings=(2,)))
    assert "tested once, after 2 trials. 1 trial ended since, and had no part in it." in text


def test_the_winner_has_its_table_by_genre():
    text = part(text_of(opened(make_results())), "Test")
    assert "<summary>cnn2d-fusion: the winner by genre, seed 1, 190 tested tracks</summary>" in text
    assert genre_table(per_genre(make_predictions(0.6, 190))) in text


QUESTION = "Is the first really better than the second?"


def question(*studies: StudyResults) -> str:
    """The answer alone, without drawing a picture."""
    (group,) = analyse(studies)
    (section,) = pairwise.sections(group, {})
    assert section.heading == QUESTION
    return " ".join(section.parts)


def test_families_are_compared_on_the_tested_tracks():
    first, second = opened(make_results(0.61), (0.6,)), opened(make_results(0.6, family="cnn1d-raw"), (0.58,))
    third = opened(make_results(0.2, family="cnn2d-mfcc"), (0.2,))
    text = part(text_of(first, second, third, make_results(None, family="cnn-transformer")), QUESTION)
    test = mcnemar(make_predictions(0.6, 190), make_predictions(0.58, 190))
    assert "winners' answers to the 190 tested tracks" in text
    cells = table_row(text, "cnn2d-fusion")
    assert cells[1] == f"+2.1 points, p = {test.p_value:.3g}, Holm = {test.p_value:.3g}"
    assert cells[2] == "+40.0 points, p < 0.001, Holm < 0.001"
    assert "2 of 3 (cnn2d-fusion over cnn2d-mfcc, cnn1d-raw over cnn2d-mfcc)." in text
    assert "cnn2d-fusion, is not shown to be better than the second, cnn1d-raw (+2.1 points" in text
    assert "Without such answers: cnn-transformer." in text


def test_a_difference_must_hold_after_the_correction():
    accuracies = {"cnn2d-fusion": 0.6, "cnn2d-mfcc": 0.57, "cnn1d-raw": 0.545}
    studies = [opened(make_results(each, family=family), (each,)) for family, each in accuracies.items()]
    text = question(*studies)
    # 6, 10 and 4 tracks that only the better one has right.
    assert table_row(text, "cnn2d-fusion")[1:] == [
        "+3.2 points, p = 0.0312, Holm = 0.0625",
        "+5.3 points, p = 0.00195, Holm = 0.00586",
    ]
    assert "after Holm's correction: 1 of 3 (cnn2d-fusion over cnn1d-raw)." in text
    assert "cnn2d-fusion, is not shown to be better than the second, cnn2d-mfcc" in text


def test_the_second_may_be_better_than_the_first():
    text = part(
        text_of(opened(make_results(), (0.3,)), opened(make_results(0.6, family="cnn1d-raw"), (0.6,))), QUESTION
    )
    assert "(cnn1d-raw over cnn2d-fusion)." in text
    assert "**So the second of them, cnn1d-raw, is better than the first, cnn2d-fusion (−30.0 points" in text


def test_before_a_test_the_validation_answers_are_compared_and_labelled():
    studies = [opened(make_results(0.61)), make_results(0.3, family="cnn1d-raw")]
    text = question(*studies)
    assert "best trials' answers to the 200 **validation** tracks" in text
    assert "**So the first of them, cnn2d-fusion, is better than the second, cnn1d-raw (+31.0 points" in text


def test_what_cannot_be_paired_is_left_out():
    assert QUESTION not in text_of(make_results(), make_results(0.3, family="cnn1d-raw"))
    fewer = make_results(0.5, family="cnn2d-mfcc", tracks=100)
    text = question(make_results(), make_results(0.3, family="cnn1d-raw"), fewer)
    assert "Without such answers: cnn2d-mfcc." in text


def test_references_stand_under_the_families_in_the_column_of_their_tracks():
    known = reference_pair("valid", 200) + reference_pair("test", 190)
    studies = [replace(opened(make_results()), references=known)]
    studies += [replace(make_results(0.3, family="cnn1d-raw"), references=known[:2])]
    rows = summary_rows(text_of(*studies))
    assert len(rows) == 4
    majority, regression = rows[2:]
    assert majority["Family"] == "*majority class*"
    assert regression["Validation: best accuracy (95 % interval)"] == "40.0 % (33–47 %; 200 tracks)"
    assert regression["Validation: best macro F1"] == "0.38"
    assert regression[f"Test: {ACCURACY}"] == "40.0 % (33–48 %; 190 tracks)"
    closed = summary_rows(text_of(replace(make_results(), references=known[:2])))
    assert closed[1]["Test"] == "–"


def test_each_familys_training_is_accounted_for():
    results = opened(make_results(), (0.6, 0.6), (0.5, 0.5))
    more = make_trial(3, Outcome.REFUSED, family="cnn1d-raw", study="cnn1d-raw-1a2b3c4d")
    other = make_results(0.3, family="cnn1d-raw")
    equal = text_of(results, replace(other, trials=(*other.trials, more)))
    assert "Each family had 3 trials (refused ones not counted). Time limit a trial: 5 min 00 s." in equal
    assert (
        "Seconds of training in the search: cnn2d-fusion 180, cnn1d-raw 180. In the finals: cnn2d-fusion 320." in equal
    )
    unequal = text_of(results, replace(other, trials=other.trials[:2]))
    assert "**Unequal numbers of trials**" in unequal
    assert "cnn2d-fusion 3, cnn1d-raw 2" in unequal


def split(name: str, train: int, **changes: Any) -> dict[str, Any]:
    sizes = {"train": train, "valid": 200, "test": 200, "excluded": 0}
    return {"protocol": make_protocol(name, sizes=sizes, **changes)}


WARNING = "random splits artists: 180 of 200 held-out tracks have their artist in training."
RANDOM = split("random", 800, grouped=False, warning=WARNING)


def test_the_gap_between_random_and_group_is_explained():
    studies = [make_results(0.9, **RANDOM), make_results(0.61, **split("group", 600))]
    studies += [make_results(0.4, family="cnn1d-raw", **RANDOM)]
    for markdown in (text_of(*studies), results_table(studies)):
        (line,) = [line for line in markdown.splitlines() if line.startswith("**random beside group**")]
        assert "90.0 % (85–94 %; 200 tracks), cnn2d-fusion, with random" in line
        assert "61.0 % (54–68 %; 200 tracks), cnn2d-fusion, with group: +29.0 points." in line
        assert "training on 800 tracks rather than 600" in line
        assert line.endswith(f"artists on both sides: {WARNING}")


@pytest.mark.parametrize(
    ("group", "shown"),
    [
        ({"epochs": 5}, False),
        ({"seed": 1}, False),
        (split("kfold:5", 0, folds=5), False),
        (split("random", 800, grouped=False, fingerprint="other"), False),
        ({}, True),
    ],
)
def test_only_splits_that_differ_by_their_artists_are_set_beside_each_other(group: dict[str, Any], shown: bool):
    studies = [make_results(0.9, **RANDOM), make_results(**(split("group", 600) | group))]
    assert ("the best family's validation accuracy is" in text_of(*studies)) is shown


def test_without_a_gap_artists_are_not_blamed():
    text = text_of(make_results(0.6, **RANDOM), make_results(0.65, **split("group", 800)))
    assert "−5.0 points. That artists stand on both sides does not show in these scores" in text
    assert "tracks rather than" not in text


def test_few_tracks_are_said_to_narrow_the_interval():
    few = text_of(opened(make_results(), (0.5,), tracks=50))
    assert "The rarest genre has 5 tested tracks: the intervals of macro F1 are too narrow here." in few
    assert "The rarest genre" not in text_of(opened(make_results(), (0.5,), tracks=200))
    assert "too narrow where genres have fewer than about 20 tracks" in few
    assert "take tracks as independent, which those of one artist are not" in few


def test_ensembles_stand_with_their_members_and_their_cost():
    joint = ensemble("all families", {"cnn2d-fusion trial 2": 0.6, "cnn1d-raw trial 1": 0.4}, accuracy=0.7)
    own = ensemble("cnn2d-fusion", {"cnn2d-fusion trial 2": 1.0}, peak_bytes=None)
    studies = [opened(make_results(), ensembles=(own, joint))]
    studies += [opened(make_results(0.3, family="cnn1d-raw"), ensembles=(joint,))]
    markdown = text_of(*studies)
    rows = {row["Family"]: row for row in summary_rows(markdown)}
    assert list(rows)[2:] == ["*ensemble: cnn2d-fusion*", "*ensemble: all families*"]
    assert rows["*ensemble: all families*"][f"Test: {ACCURACY}"] == "70.0 % (63–77 %; 190 tracks)"
    # NVML read nothing of it; the allocator's peak is another measure, and stands in the table of ensembles.
    assert rows["*ensemble: all families*"]["Peak VRAM of best (source)"] == "–"
    cells = table_row(part(markdown, "Test"), "all families")
    assert cells[1] == "60 % cnn2d-fusion trial 2, 40 % cnn1d-raw trial 1"
    assert cells[4:] == ["310 MiB", "42 ms"]


def test_ensembles_on_outer_folds_are_told_to_be_optimistic_and_on_a_test_set_are_not():
    own = (ensemble("cnn2d-fusion", {"cnn2d-fusion trial 2": 1.0}),)
    folded = text_of(opened(make_results(**FOLDED), tracks=200, folds=5, ensembles=own))
    assert "Outer folds: an ensemble's models are the search's own. Their best epochs were chosen by" in folded
    assert "an ensemble's models" not in text_of(opened(make_results(**FOLDED), tracks=200, folds=5))
    assert "an ensemble's models" not in text_of(opened(make_results(), ensembles=own))


def test_the_scores_file_holds_what_was_tested_but_no_clock_and_no_memory():
    own = ensemble("cnn2d-fusion", {"cnn2d-fusion trial 2": 1.0})
    results = replace(opened(make_results(), ensembles=(own,)), references=reference_pair("test", 190))
    (study,) = json.loads(exports.scores_json([results]))["studies"]
    assert study["references"][0]["name"] == "majority class"
    assert len(study["finals"]["runs"]) == 6
    run = study["finals"]["runs"][-1]
    assert (run["role"], run["trial"], run["seed"], run["fold"], run["outcome"]) == ("winner", 2, 2, None, "completed")
    assert run["test_accuracy"] == pytest.approx(118 / 190)
    assert run["test_macro_f1"] == pytest.approx(track_scores(make_predictions(0.62, 190)).macro_f1)
    assert study["finals"]["ensembles"][0]["members"] == {"cnn2d-fusion trial 2": 1.0}

    assert results.finals is not None
    later = {
        "openings": tuple(opening.model_copy(update={"opened": "later"}) for opening in results.finals.openings),
        "runs": tuple(changed(run, train_seconds=999.0) for run in results.finals.runs),
        "ensembles": (own.model_copy(update={"peak_bytes": None, "inference_seconds": 9.0}),),
    }
    slower = replace(results, finals=results.finals.model_copy(update=later))
    assert exports.scores_json([slower]) == exports.scores_json([results])
    (bare,) = json.loads(exports.scores_json([make_results()]))["studies"]
    assert (bare["references"], bare["finals"]) == ([], None)


def test_a_report_with_finals_is_written_twice_the_same():
    studies = [opened(make_results(**FOLDED), tracks=200, folds=5), make_results(0.3, family="cnn1d-raw", **FOLDED)]
    assert text_of(*studies) == text_of(*studies[::-1]) == text_of(*studies)


def test_answers_are_read_once_however_often_they_are_shown():
    results = opened(make_results(), (0.6,), (0.5,))
    asked: list[str] = []

    class Counted(dict[str, Predictions]):
        def __getitem__(self, key: str) -> Predictions:
            asked.append(key)
            return super().__getitem__(key)

    text_of(replace(results, final_predictions=Counted(results.final_predictions)))
    assert len(asked) <= 2
