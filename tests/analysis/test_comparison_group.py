"""Which studies stand together, under which names, and that a report computes the figures of each group once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.comparison_group import GroupAnalysis, analyse, split_gaps
from harness.errors import UsageError
from harness.records.study import StudyResults
from harness.records.trial import Outcome
from harness.scoring.metrics import wilson
from harness.units import GIB
from reports.document import build_report, results_table
from reports.write import write_markdown
from tests.helpers.reports import (
    ensemble,
    four_families,
    make_predictions,
    make_protocol,
    make_results,
    make_trial,
    opened,
    reference_pair,
    without_predictions,
)


def only_group(*studies: StudyResults) -> GroupAnalysis:
    (group,) = analyse(studies)
    return group


def test_studies_of_one_key_stand_together_best_first_under_their_families() -> None:
    group = only_group(*four_families()[::-1])
    assert [study.label for study in group.studies] == ["cnn2d-fusion", "cnn2d-mfcc", "cnn1d-raw", "cnn-transformer"]
    assert group.record is group.studies[0].results.study
    assert not group.tested
    assert group.tested_on == "test"


def test_a_family_with_several_studies_is_named_by_the_study() -> None:
    group = only_group(make_results(), make_results(0.5, name="cnn2d-fusion-99999999"), make_results(0.2, family="a"))
    assert [study.label for study in group.studies] == ["cnn2d-fusion-1a2b3c4d", "cnn2d-fusion-99999999", "a"]


def test_groups_are_numbered_in_an_order_that_does_not_depend_on_the_given_one() -> None:
    studies = [make_results(), make_results(epochs=5), make_results(budget_bytes=2 * GIB), make_results(seed=1)]
    groups = analyse(studies)
    assert [group.number for group in groups] == [1, 2, 3, 4]
    assert [group.record for group in analyse(studies[::-1])] == [group.record for group in groups]


def test_the_analysis_cannot_be_changed() -> None:
    group = only_group(make_results())
    with pytest.raises(FrozenInstanceError):
        group.number = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        group.studies[0].label = "other"  # type: ignore[misc]


def test_no_study_is_the_users_to_mend() -> None:
    with pytest.raises(UsageError, match="harness run"):
        analyse([])


def test_what_final_scores_are_on_follows_the_records_else_the_protocol() -> None:
    without_test = {"protocol": make_protocol("random", sizes={"train": 160, "valid": 40, "test": 0, "excluded": 0})}
    assert only_group(make_results(**without_test)).tested_on == "outer folds"
    assert only_group(opened(make_results(**without_test), tracks=200, folds=5)).tested_on == "outer folds"
    assert only_group(opened(make_results())).tested_on == "test"


def test_simple_baselines_and_ensembles_count_once_with_their_intervals() -> None:
    known = reference_pair("valid", 200) + reference_pair("test", 190)
    joint, own = ensemble("all", {"a": 1.0}, accuracy=0.7), ensemble("own", {"b": 1.0})
    first = replace(opened(make_results(), ensembles=(own, joint)), references=known)
    second = replace(opened(make_results(0.3, family="cnn1d-raw"), ensembles=(joint,)), references=known[:2])
    group = only_group(first, second)
    assert [(record.name, record.partition) for record, _ in group.simple_baselines] == [
        (record.name, record.partition) for record in known
    ]
    assert [record.name for record, _ in group.ensembles] == ["own", "all"]
    assert group.simple_baselines[1].accuracy_interval == wilson(80, 200)
    assert group.ensembles[1].accuracy_interval == wilson(133, 190)


def test_the_rarest_genre_is_counted_among_the_tested_tracks() -> None:
    assert only_group(opened(make_results(), (0.5,), tracks=52)).rarest_genre_tracks == 5
    assert only_group(make_results()).rarest_genre_tracks is None


def test_splits_that_differ_by_their_artists_have_a_gap() -> None:
    mixed = make_results(0.9, protocol=make_protocol("random", grouped=False, warning="artists on both sides"))
    apart = make_results(0.61)
    (gap,) = split_gaps(analyse([apart, mixed]))
    assert (gap.mixed.results.study, gap.apart.results.study) == (mixed.study, apart.study)
    assert gap.accuracy == pytest.approx(0.29)
    assert split_gaps(analyse([mixed, make_results(epochs=5)])) == ()


def test_a_search_is_summed_up() -> None:
    trials = (
        make_trial(0, valid_macro_f1=0.3, valid_accuracy=0.3),
        make_trial(1, Outcome.PRUNED, train_seconds=5.0),
        make_trial(2, Outcome.REFUSED),
        make_trial(3, valid_macro_f1=float("nan")),
        make_trial(4, valid_macro_f1=0.5, valid_accuracy=0.5),
        make_trial(5, Outcome.PRUNED),
    )
    shares = {"learning_rate": 0.25, "flatten": 0.7, "gone": float("nan")}
    (study,) = only_group(replace(make_results(trials=trials), importance=shares)).studies
    search = study.search
    assert search.scores == {0: 0.3, 4: 0.5}
    assert search.unscored == {Outcome.COMPLETED: (3,), Outcome.PRUNED: (1, 5), Outcome.REFUSED: (2,)}
    assert list(search.outcomes.items()) == [(Outcome.COMPLETED, 3), (Outcome.PRUNED, 2), (Outcome.REFUSED, 1)]
    assert list(search.hyperparameters.items()) == [("flatten", 0.7), ("learning_rate", 0.25), ("batch_size", None)]
    assert search.train_seconds == 275
    assert study.results.counted_trials == 5


COSTLY = (
    *("harness.analysis.final_scores.bootstrap_macro_f1", "harness.analysis.final_scores.mcnemar"),
    *("harness.analysis.comparison_group.score_finals", "harness.analysis.comparison_group.compare_pairs"),
    *("harness.analysis.comparison_group.find_limitations", "harness.analysis.comparison_group.group_memory"),
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each costly computation ran."""
    counted: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            counted[name] += 1
            return function(*values, **named)

        return call

    for path in COSTLY:
        module, _, name = path.rpartition(".")
        function = getattr(__import__(module, fromlist=[name]), name)
        monkeypatch.setattr(path, counting(name, function))
    return counted


def test_a_report_computes_the_figures_of_each_group_once(calls: Counter[str], tmp_path: Path) -> None:
    first, second = opened(make_results()), opened(make_results(0.3, family="cnn1d-raw"), (0.3,), (0.2,))
    alone = opened(make_results(seed=1, name="cnn2d-fusion-seed1"), (0.6,), (0.5,))
    studies = without_predictions(first, second, alone)
    # Two groups of three studies in all, each with a winner and a baseline.
    once = {"score_finals": 3, "find_limitations": 3, "bootstrap_macro_f1": 6, "mcnemar": 3}
    once |= {"compare_pairs": 2, "group_memory": 2}
    for write in (build_report, results_table, lambda found: write_markdown(found, tmp_path / "RESULTS.md")):
        calls.clear()
        write(studies)
        assert calls == once


def test_the_best_predictions_are_those_of_the_best_trial() -> None:
    results = make_results()
    (study,) = only_group(results).studies
    assert study.best_predictions is results.predictions[2]
    (gone,) = only_group(replace(results, predictions={0: make_predictions(0.3)})).studies
    assert gone.best_predictions is None
