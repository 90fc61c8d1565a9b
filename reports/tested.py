"""What the finals of a study measured: winner and baseline, on tracks by which nothing was chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from harness.records import EnsembleRecord, FinalRecord, Outcome, Predictions, Role, StudyResults
from harness.scoring.comparison import Spread, bootstrap_macro_f1, seed_spread
from harness.scoring.metrics import Interval, Scores, joined, track_scores, wilson
from reports.tables import percent, ratio


class Seed(NamedTuple):
    """A configuration as trained with one seed and scored on all that is tested; one run a fold."""

    number: int
    runs: tuple[FinalRecord, ...]
    scores: Scores


class Tested(NamedTuple):
    """A configuration over its seeds; `answers` are those of the first one, None where they are not stored."""

    seeds: tuple[Seed, ...]
    tracks: int
    accuracy: Spread
    macro_f1: Spread
    answers: Predictions | None

    @property
    def accuracy_interval(self) -> Interval:
        """Wilson's interval at 95 % of the mean accuracy, as if it were one model's."""
        return wilson(round(self.accuracy.mean * self.tracks), self.tracks)

    @property
    def macro_f1_interval(self) -> Interval | None:
        """The bootstrap interval at 95 % of the first seed's macro F1."""
        return bootstrap_macro_f1(self.answers) if self.answers is not None else None


def tested(results: StudyResults, role: Role) -> Tested | None:
    """Return how a configuration did, over the seeds that were scored on everything; None without such a seed."""
    seeds = tuple(
        Seed(number, runs, scores)
        for number, runs in sorted(runs_by_seed(results, role).items())
        if _complete(results, runs) and (scores := _scores(results, runs)) is not None
    )
    if not seeds:
        return None
    return Tested(
        seeds=seeds,
        tracks=sum(run.tracks for run in seeds[0].runs),
        accuracy=seed_spread([seed.scores.accuracy for seed in seeds]),
        macro_f1=seed_spread([seed.scores.macro_f1 for seed in seeds]),
        answers=_answers(results, seeds[0].runs),
    )


def runs_by_seed(results: StudyResults, role: Role) -> dict[int, tuple[FinalRecord, ...]]:
    """Return the runs of a configuration by seed, in order of fold.

    Where the baseline itself won and has no run of its own, the winner's is its run.
    """
    runs = results.finals.runs if results.finals is not None else ()
    own = {(run.seed, run.fold or 0): run for run in runs if run.role is role}
    if role is Role.BASELINE:
        own = {(run.seed, run.fold or 0): run for run in runs if run.trial == 0} | own
    by_seed: dict[int, list[FinalRecord]] = defaultdict(list)
    for (seed, _), run in sorted(own.items()):
        by_seed[seed].append(run)
    return {seed: tuple(runs) for seed, runs in by_seed.items()}


def baseline_won(results: StudyResults) -> bool:
    """Whether the configurations that were tested as winner are all the baseline."""
    runs = [run for run in results.finals.runs if run.role is Role.WINNER] if results.finals is not None else []
    return bool(runs) and all(run.trial == 0 for run in runs)


def winner_and_baseline(results: StudyResults) -> tuple[Tested, Tested] | None:
    """Return both where both were tested and are two configurations."""
    winner, baseline = tested(results, Role.WINNER), tested(results, Role.BASELINE)
    return None if winner is None or baseline is None or baseline_won(results) else (winner, baseline)


def not_ahead(winner: Tested, baseline: Tested) -> list[str]:
    """Return the measures in which the winner's mean does not exceed the baseline's, with both means."""
    figures = {
        "accuracy": (winner.accuracy.mean, baseline.accuracy.mean, percent),
        "macro F1": (winner.macro_f1.mean, baseline.macro_f1.mean, ratio),
    }
    return [
        f"{measure} ({written(ours)} against {written(theirs)})"
        for measure, (ours, theirs, written) in figures.items()
        if round(ours - theirs, 9) <= 0
    ]


def ensembles(studies: Sequence[StudyResults]) -> list[EnsembleRecord]:
    """Return the ensembles that were tested with the studies, each once, also where it stands with several."""
    found: list[EnsembleRecord] = []
    for results in studies:
        own = results.finals.ensembles if results.finals is not None else ()
        found += [each for each in own if each not in found]
    return found


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
    answers = _answers(results, runs)
    return track_scores(answers) if answers is not None else None


def _answers(results: StudyResults, runs: tuple[FinalRecord, ...]) -> Predictions | None:
    parts = [results.final_predictions.get(run.key) for run in runs]
    stored = [part for part in parts if part is not None]
    return joined(stored) if len(stored) == len(parts) else None
