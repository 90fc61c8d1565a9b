"""Scores of winner and baseline, trained again with fresh seeds, on tracks by which nothing was chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.analysis.score_intervals import accuracy_interval
from harness.records.final import EnsembleRecord, FinalRecord, FinalRole, FinalsRecord
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.records.trial import Outcome
from harness.scoring.comparison import McNemar, Spread, bootstrap_macro_f1, mcnemar, seed_spread
from harness.scoring.metrics import Interval, Scores, joined, track_scores

RunsBySeed = Mapping[int, tuple[FinalRecord, ...]]
"""The final runs of one configuration by seed, in order of fold; a test set has one run a seed."""


class SeedScores(NamedTuple):
    """A configuration as trained with one seed and scored on all tested tracks."""

    seed: int
    scores: Scores


@dataclass(frozen=True, eq=False)
class ConfigurationScores:
    """A configuration's scores over the seeds that were scored on all tested tracks.

    Attributes:
        seeds: at least one, in order.
        tracks: how many were tested.
        accuracy_interval: Wilson's at 95 % of the mean accuracy, as if it were one model's.
        macro_f1_interval: a bootstrap's at 95 % of the first seed's macro F1; None where `predictions` is None.
        predictions: the first seed's; None where they are not stored.
    """

    seeds: tuple[SeedScores, ...]
    tracks: int
    accuracy: Spread
    macro_f1: Spread
    accuracy_interval: Interval
    macro_f1_interval: Interval | None
    predictions: Predictions | None


class WinnerMargin(NamedTuple):
    """The winner's mean scores minus the baseline's.

    Attributes:
        test: McNemar's of the first seeds' predictions; None where these are not stored.
    """

    accuracy: float
    macro_f1: float
    test: McNemar | None

    @property
    def accuracy_ahead(self) -> bool:
        return round(self.accuracy, 9) > 0

    @property
    def macro_f1_ahead(self) -> bool:
        return round(self.macro_f1, 9) > 0


@dataclass(frozen=True, eq=False)
class FinalScores:
    """What the final runs of a study measured.

    Attributes:
        record: the runs, and how often the tested tracks were evaluated on.
        runs: those of each configuration; a baseline that is the winner, too, shares its runs.
        winner: None without a seed that was scored on all tested tracks; `baseline` likewise.
        baseline_won: whether all configurations that were tested as the winner are the baseline.
        margin: of the winner over the baseline; None unless both were tested and are two configurations.
        train_seconds: of all final runs together.
    """

    record: FinalsRecord
    runs: Mapping[FinalRole, RunsBySeed]
    winner: ConfigurationScores | None
    baseline: ConfigurationScores | None
    baseline_won: bool
    margin: WinnerMargin | None
    train_seconds: float


class EnsembleScores(NamedTuple):
    """An ensemble with the 95 % interval of its accuracy, Wilson's."""

    record: EnsembleRecord
    accuracy_interval: Interval


def score_finals(results: StudyResults) -> FinalScores | None:
    """Score winner and baseline of a study; None while nothing was tested."""
    finals = results.finals
    if finals is None:
        return None
    winner, baseline = (score_configuration(results, role) for role in (FinalRole.WINNER, FinalRole.BASELINE))
    winners = [run for run in finals.runs if run.role is FinalRole.WINNER]
    baseline_won = bool(winners) and all(run.trial == 0 for run in winners)
    return FinalScores(
        record=finals,
        runs={role: _runs_by_seed(finals.runs, role) for role in FinalRole},
        winner=winner,
        baseline=baseline,
        baseline_won=baseline_won,
        margin=None if winner is None or baseline is None or baseline_won else _margin(winner, baseline),
        train_seconds=sum(run.timing.train_seconds or 0.0 for run in finals.runs),
    )


def score_configuration(results: StudyResults, role: FinalRole) -> ConfigurationScores | None:
    """Score one configuration over its seeds; None without a seed that was scored on all tested tracks."""
    finals = results.finals
    by_seed = _runs_by_seed(finals.runs, role) if finals is not None else {}
    complete = {seed: runs for seed, runs in by_seed.items() if _complete(results, runs)}
    seeds = tuple(
        SeedScores(seed, scores) for seed, runs in complete.items() if (scores := _scores(results, runs)) is not None
    )
    if not seeds:
        return None
    first = complete[seeds[0].seed]
    tracks = sum(run.tracks for run in first)
    accuracy = seed_spread([seed.scores.accuracy for seed in seeds])
    predictions = _predictions(results, first)
    return ConfigurationScores(
        seeds=seeds,
        tracks=tracks,
        accuracy=accuracy,
        macro_f1=seed_spread([seed.scores.macro_f1 for seed in seeds]),
        accuracy_interval=accuracy_interval(accuracy.mean, tracks),
        macro_f1_interval=None if predictions is None else bootstrap_macro_f1(predictions),
        predictions=predictions,
    )


def score_ensembles(studies: Sequence[StudyResults]) -> tuple[EnsembleScores, ...]:
    """Score the ensembles that were tested with the studies, each once, also where it stands with several."""
    found: list[EnsembleRecord] = []
    for results in studies:
        tested = results.finals.ensembles if results.finals is not None else ()
        found += [ensemble for ensemble in tested if ensemble not in found]
    return tuple(EnsembleScores(ensemble, accuracy_interval(ensemble.accuracy, ensemble.tracks)) for ensemble in found)


def _runs_by_seed(runs: Sequence[FinalRecord], role: FinalRole) -> RunsBySeed:
    own = {(run.seed, run.fold or 0): run for run in runs if run.role is role}
    if role is FinalRole.BASELINE:
        # Where the baseline itself won, it has no run of its own: the winner's is its run.
        own = {(run.seed, run.fold or 0): run for run in runs if run.trial == 0} | own
    by_seed: dict[int, list[FinalRecord]] = defaultdict(list)
    for (seed, _), run in sorted(own.items()):
        by_seed[seed].append(run)
    return {seed: tuple(runs) for seed, runs in by_seed.items()}


def _margin(winner: ConfigurationScores, baseline: ConfigurationScores) -> WinnerMargin:
    ours, theirs = winner.predictions, baseline.predictions
    return WinnerMargin(
        accuracy=winner.accuracy.mean - baseline.accuracy.mean,
        macro_f1=winner.macro_f1.mean - baseline.macro_f1.mean,
        test=None if ours is None or theirs is None else mcnemar(ours, theirs),
    )


def _complete(results: StudyResults, runs: tuple[FinalRecord, ...]) -> bool:
    """Whether all that is tested was: outer folds come one by one, and any run may have failed."""
    if any(run.outcome is not Outcome.COMPLETED for run in runs):
        return False
    if results.finals is not None and results.finals.tested == "test":
        return True
    sizes = results.study.protocol.sizes
    return sum(run.tracks for run in runs) >= sum(sizes.values()) - sizes.get("excluded", 0)


def _scores(results: StudyResults, runs: tuple[FinalRecord, ...]) -> Scores | None:
    if len(runs) == 1 and runs[0].test_accuracy is not None and runs[0].test_macro_f1 is not None:
        return Scores(runs[0].test_accuracy, runs[0].test_macro_f1)
    predictions = _predictions(results, runs)
    return track_scores(predictions) if predictions is not None else None


def _predictions(results: StudyResults, runs: tuple[FinalRecord, ...]) -> Predictions | None:
    parts = [results.final_predictions.get(run.key) for run in runs]
    stored = [part for part in parts if part is not None]
    return joined(stored) if len(stored) == len(parts) else None
