"""What limits a family, as a reader is told."""

from __future__ import annotations

import re

import pytest

from harness.analysis import limitations
from harness.analysis.comparison_group import StudyAnalysis, analyse
from harness.records.study import StudyResults
from harness.records.trial import Outcome, Reading
from harness.units import GIB
from reports.document import build_report
from reports.limitation_texts import limitation_text, main_limitation
from tests.helpers.command import ROOT
from tests.helpers.reports import make_results, make_trial

UNMEASURED = {"reading": Reading()}


def analysed(results: StudyResults) -> StudyAnalysis:
    """The figures of a study that stands alone."""
    ((study,),) = (group.studies for group in analyse([results]))
    return study


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
        (make_results(budget_bytes=12 * GIB), "unused budget: no trial peaked above 2.00 of 12.00 GiB (measured)"),
        (make_results(budget_bytes=16 * GIB, best=UNMEASURED), "unused budget: no trial peaked above 3.00 of 16.00"),
        (make_results(), "none found"),
    ],
)
def test_the_main_limitation_comes_with_its_figure(results: StudyResults, limitation: str):
    assert main_limitation(analysed(results)).startswith(limitation)


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
    assert (
        main_limitation(analysed(StudyResults(results.study, results.trials + lost, results.predictions))) == limitation
    )


def test_the_rules_are_documented_as_they_stand():
    page = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page.partition("## Main limitation")[2], re.MULTILINE)
    rules = re.findall(r"^\| \d \| ([^|]+) \| ([^|]+) \|$", limitations.__doc__ or "", re.MULTILINE)
    assert len(rules) == 8
    assert [name for name, _ in documented][2:] == [*(name for name, _ in rules), "none found"]
    for (_, told), (_, rule) in zip(documented[2:], rules, strict=False):
        assert told.startswith(rule)


def test_no_budget_is_unused_that_refused_a_trial():
    results = make_results(budget_bytes=16 * GIB)
    refused = make_trial(3, Outcome.REFUSED, footprint_bytes=17 * GIB)
    assert main_limitation(analysed(results)).startswith("unused budget")
    assert (
        main_limitation(analysed(StudyResults(results.study, (*results.trials, refused), results.predictions)))
        == "none found"
    )


def test_all_limitations_are_told_the_main_one_first():
    results = make_results(0.6, tracks=40, best={"train_accuracy": 0.98, "best_epoch": 19})
    found = [limitation.partition(":")[0] for limitation in map(limitation_text, analysed(results).limitations)]
    assert found == ["over-fitting", "too few epochs", "few validation tracks"]
    markdown = build_report([results]).markdown
    assert "Main limitation: over-fitting: accuracy 98.0 %" in markdown
    assert "Also: too few epochs: best after 20 of 20; few validation tracks: 40 leave" in markdown
