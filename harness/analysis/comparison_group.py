"""Studies whose scores may be compared, best family first, with all figures of a report about them.

`analyse` computes each figure once; whatever reports on a group reads its `GroupAnalysis`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal, NamedTuple

from harness.analysis.final_scores import EnsembleScores, FinalScores, score_ensembles, score_finals
from harness.analysis.limitations import Limitation, find_limitations
from harness.analysis.memory_curve import GroupMemory, StudyMemory, budget_columns, group_memory, study_memory
from harness.analysis.memory_needs import HeldOverNeeded, PredictionErrors, held_over_needed, prediction_errors
from harness.analysis.pairwise import PairwiseTests, compare_pairs
from harness.analysis.score_intervals import ValidationScore, accuracy_interval, validation_score
from harness.analysis.search_course import SearchCourse, summarise_search
from harness.errors import UsageError
from harness.records.predictions import Predictions
from harness.records.study import ReferenceRecord, StudyRecord, StudyResults
from harness.scoring.metrics import Interval, confusion


@dataclass(frozen=True, eq=False)
class StudyAnalysis:
    """The figures of one study of a group.

    Attributes:
        label: names it in its group: the family, or the study where a family has several.
        limitations: what limits the family, the main limitation first.
        final: None while nothing was tested.
    """

    label: str
    results: StudyResults
    validation: ValidationScore
    limitations: tuple[Limitation, ...]
    search: SearchCourse
    memory: StudyMemory
    held_over_needed: HeldOverNeeded | None
    prediction_errors: PredictionErrors | None
    final: FinalScores | None

    @property
    def record(self) -> StudyRecord:
        """All that defines the study."""
        return self.results.study

    @property
    def best_predictions(self) -> Predictions | None:
        """Those of the best trial on the validation tracks; None where they are not stored."""
        best = self.results.best
        return self.results.predictions.get(best.number) if best else None


class SimpleBaseline(NamedTuple):
    """A classifier without a network, with the 95 % interval of its accuracy, Wilson's."""

    record: ReferenceRecord
    accuracy_interval: Interval


@dataclass(frozen=True, eq=False)
class GroupAnalysis:
    """All figures of the studies that may share a table.

    Attributes:
        number: counts the groups of a report from 1.
        studies: at least one, the best family first.
        tested_on: what final scores are on, or would be.
        simple_baselines: each once for a partition.
        ensembles: each once.
        pairwise: None where fewer than two families can be compared.
        rarest_genre_tracks: the fewest tested tracks of a genre, true ones; None where no tested predictions are
            stored.
    """

    number: int
    studies: tuple[StudyAnalysis, ...]
    tested_on: Literal["test", "outer folds"]
    memory: GroupMemory
    simple_baselines: tuple[SimpleBaseline, ...]
    ensembles: tuple[EnsembleScores, ...]
    pairwise: PairwiseTests | None
    rarest_genre_tracks: int | None

    @property
    def record(self) -> StudyRecord:
        """The record of the first study; the group shares what makes scores comparable."""
        return self.studies[0].record

    @property
    def tested(self) -> bool:
        """Whether any of the studies was tested."""
        return any(study.final is not None for study in self.studies)


class SplitGap(NamedTuple):
    """The best families of two groups that differ by their split only, of which one keeps artists together.

    Attributes:
        mixed: where artists stand on both sides.
        apart: where they do not.
        accuracy: the validation accuracy of `mixed` minus that of `apart`.
    """

    mixed: StudyAnalysis
    apart: StudyAnalysis
    accuracy: float


def analyse(studies: Sequence[StudyResults]) -> tuple[GroupAnalysis, ...]:
    """Group studies that may be compared, in a fixed order, and compute the figures of each group.

    Tested predictions are read here, once: they may lie on a server.

    Raises:
        UsageError: there is no study.
    """
    if not studies:
        raise UsageError("There is no study to report on. Start one with `harness run`, or name another --workspace.")
    groups: dict[tuple[object, ...], list[StudyResults]] = defaultdict(list)
    keys = sorted({results.study.comparable_key for results in studies})
    for results in studies:
        read = replace(results, final_predictions=dict(results.final_predictions))
        groups[results.study.comparable_key].append(read)
    return tuple(_analyse_group(number, sorted(groups[key], key=_rank)) for number, key in enumerate(keys, start=1))


def split_gaps(groups: Sequence[GroupAnalysis]) -> tuple[SplitGap, ...]:
    """Compare the best families of each two groups that differ by their split only, where one mixes artists."""
    pairs = [(mixed.studies[0], apart.studies[0]) for mixed, apart in permutations(groups, 2)]
    return tuple(
        SplitGap(mixed, apart, (mixed_best.scores.valid_accuracy or 0.0) - (apart_best.scores.valid_accuracy or 0.0))
        for mixed, apart in pairs
        if _but_for_the_split(mixed.record) == _but_for_the_split(apart.record)
        and mixed.record.protocol.warning
        and apart.record.protocol.grouped
        and (mixed_best := mixed.results.best)
        and (apart_best := apart.results.best)
    )


def _analyse_group(number: int, group: Sequence[StudyResults]) -> GroupAnalysis:
    labels, budgets = _labels(group), budget_columns(group)
    studies = tuple(_analyse_study(results, label, budgets) for results, label in zip(group, labels, strict=True))
    winners = {study.label: study.final.winner for study in studies if study.final is not None}
    tested = {label: winner.predictions for label, winner in winners.items() if winner is not None}
    return GroupAnalysis(
        number=number,
        studies=studies,
        tested_on=_tested_on(group),
        memory=group_memory(group, budgets, [point for study in studies for point in study.memory.points]),
        simple_baselines=_simple_baselines(group),
        ensembles=score_ensembles(group),
        pairwise=compare_pairs(tested, {study.label: study.best_predictions for study in studies}),
        rarest_genre_tracks=next((_rarest_genre_tracks(found) for found in tested.values() if found is not None), None),
    )


def _analyse_study(results: StudyResults, label: str, budgets: Sequence[int]) -> StudyAnalysis:
    validation = validation_score(results)
    return StudyAnalysis(
        label=label,
        results=results,
        validation=validation,
        limitations=find_limitations(results, validation),
        search=summarise_search(results),
        memory=study_memory(results, label, budgets),
        held_over_needed=held_over_needed(results.trials),
        prediction_errors=prediction_errors(results.trials),
        final=score_finals(results),
    )


def _rank(results: StudyResults) -> tuple[float, str, str]:
    score = results.best.scores.valid_macro_f1 if results.best else None
    return (1.0 if score is None else -score, results.study.family, results.study.name)


def _labels(group: Sequence[StudyResults]) -> list[str]:
    families = Counter(results.study.family for results in group)
    return [results.study.family if families[results.study.family] == 1 else results.study.name for results in group]


def _tested_on(group: Sequence[StudyResults]) -> Literal["test", "outer folds"]:
    known = next((results.finals.tested for results in group if results.finals is not None), None)
    has_test_set = group[0].study.protocol.sizes.get("test", 0) > 0
    return known or ("test" if has_test_set else "outer folds")


def _simple_baselines(group: Sequence[StudyResults]) -> tuple[SimpleBaseline, ...]:
    first: dict[tuple[str, str], ReferenceRecord] = {}
    for results in group:
        for record in results.references:
            first.setdefault((record.name, record.partition), record)
    return tuple(SimpleBaseline(record, accuracy_interval(record.accuracy, record.tracks)) for record in first.values())


def _rarest_genre_tracks(predictions: Predictions) -> int:
    return int(confusion(predictions).sum(axis=1).min())


def _but_for_the_split(study: StudyRecord) -> tuple[object, ...]:
    name, _, *scale, data, _ = study.comparable_key
    return (name, data, *scale, study.protocol.folds)
