"""The test set as it was opened: how often, winner and baseline seed by seed, the winner by genre, and what failed."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records import FinalRecord, FinalsRecord, Outcome, Role, StudyResults
from harness.scoring.comparison import mcnemar
from harness.units import format_size
from reports.sections import Group, labels, plain_labels
from reports.summary import scored, tested_word
from reports.tables import (
    NOTHING,
    count,
    escape,
    folded,
    markdown_table,
    milliseconds,
    p_value,
    per_genre_table,
    percent,
    points,
    ratio,
)
from reports.tested import Tested, baseline_won, ensembles, not_ahead, runs_by_seed, tested, winner_and_baseline

_OUTER = (
    "The protocol keeps no test set, so outer folds take its place: each fold is tested by the configuration that was "
    "chosen without its tracks, {how}. Another fold stops each training and is not trained on either."
)
_SMALLER = "by a smaller search, whose trials have numbers of their own"
_STORED = "by the trials' stored predictions on the other folds (which trials there are was guided by all folds)"


def finals(group: Group) -> tuple[str, ...]:
    """Return what came of opening the test set, part by part as markdown; empty while it is closed."""
    opened = tuple(results for results in group if results.finals is not None)
    if not opened:
        return ()
    names = labels(group)
    parts = [_openings(group), _outer(group), _seeds(opened, names), _verdicts(opened, names), _ensembles(group)]
    plain = plain_labels(group)
    parts += [_by_genre(results, plain[results.study.study]) for results in opened]
    return tuple(part for part in (*parts, _failures(opened, names)) if part)


def _openings(group: Group) -> str:
    names = labels(group)
    return "\n".join(f"- {names[results.study.study]}: {_opening(results)}" for results in group)


def _opening(results: StudyResults) -> str:
    if results.finals is None:
        return "not opened."
    counts = [opening.trials for opening in results.finals.openings]
    since = len(results.trials) - counts[-1]
    ended = f" {count(since, 'trial')} ended since, and had no part in it." if since > 0 else ""
    if len(counts) == 1:
        return f"opened once, after {count(counts[0], 'trial')}.{ended}"
    return (
        f"opened {len(counts)} times, after {' and '.join(map(str, counts))} trials.{ended} **What was chosen after "
        "the first opening may follow what was seen: these scores, the last opening's, are not untouched any more.**"
    )


def _outer(group: Group) -> str:
    if tested_word(group) == "Test":
        return ""
    return _OUTER.format(how=_STORED if group[0].study.protocol.folds else _SMALLER)


def _seeds(opened: Group, names: dict[str, str]) -> str:
    numbers = sorted({run.seed for results in opened for run in _finals(results).runs})
    seeds = [f"Seed {number + 1}" for number in numbers]
    rows = [
        [names[results.study.study], _configuration(results, role), *_scores(results, role, numbers)]
        for results in opened
        for role in Role
        if any(run.role is role for run in _finals(results).runs)
    ]
    columns = ["Family", "Configuration", *seeds, "Mean ± standard deviation"]
    return markdown_table(columns, rows, numeric=columns[2:]) if rows else ""


def _scores(results: StudyResults, role: Role, numbers: Sequence[int]) -> list[str]:
    """Return a configuration's cells: one a seed, and the mean."""
    configuration, started = tested(results, role), runs_by_seed(results, role)
    whole = {seed.number: seed.scores for seed in configuration.seeds} if configuration else {}
    cells = []
    for number in numbers:
        runs = started.get(number, ())
        if number in whole:
            cells.append(f"{percent(whole[number].accuracy)}, F1 {ratio(whole[number].macro_f1)}")
        elif failed := [run for run in runs if run.outcome is not Outcome.COMPLETED]:
            cells.append(failed[0].outcome.replace("_", " "))
        else:
            cells.append("not finished" if runs else NOTHING)
    return [*cells, _mean(configuration) if configuration else NOTHING]


def _mean(configuration: Tested) -> str:
    (accuracy, deviation), (macro_f1, f1_deviation) = configuration.accuracy, configuration.macro_f1
    if deviation is None:
        return f"{percent(accuracy)}, F1 {ratio(macro_f1)}"
    return f"{percent(accuracy)} ± {100 * deviation:.1f}, F1 {ratio(macro_f1)} ± {ratio(f1_deviation)}"


def _configuration(results: StudyResults, role: Role) -> str:
    """Return whose configuration it is, by its trial or, where they differ, by that of each outer fold."""
    runs = next(iter(runs_by_seed(results, role).values()))
    trials = [str(run.trial) for run in runs]
    which = f"trial {trials[0]}" if len(set(trials)) == 1 else f"by fold, trials {', '.join(trials)}"
    return f"{role.capitalize()} ({which})"


def _verdicts(opened: Group, names: dict[str, str]) -> str:
    """Return whether each search was worth it: winner against baseline, in words."""
    lines = [f"- {names[results.study.study]}: {verdict}" for results in opened if (verdict := _verdict(results))]
    if not lines:
        return ""
    lead = (
        "**Winner against baseline.** Ahead means a higher mean of accuracy and of macro F1. The p-value is exact "
        "McNemar's, of the first seeds' answers, two-sided and not corrected for the number of families."
    )
    return "\n".join([lead, "", *lines])


def _verdict(results: StudyResults) -> str:
    if baseline_won(results):
        return "the winner is the baseline, so there is nothing to compare."
    both = winner_and_baseline(results)
    if both is None:
        return ""
    winner, baseline = both
    if measures := not_ahead(winner, baseline):
        verdict = f"the winner is **not ahead** in {' and '.join(measures)}"
    else:
        lead = points(winner.accuracy.mean - baseline.accuracy.mean)
        f1 = f"{winner.macro_f1.mean - baseline.macro_f1.mean:+.2f}"
        verdict = f"the winner is ahead, {lead} of accuracy and {f1} of macro F1"
    if winner.answers is None or baseline.answers is None:
        return f"{verdict}."
    test = mcnemar(winner.answers, baseline.answers)
    return (
        f"{verdict}; {count(test.only_first, 'track')} only the winner has right, {test.only_second} only the "
        f"baseline, p {p_value(test.p_value)}."
    )


def _ensembles(group: Group) -> str:
    """Return who answers together, how well, and at what cost."""
    rows = [
        [
            escape(each.name),
            ", ".join(f"{100 * share:.0f} % {escape(member)}" for member, share in each.members.items()),
            scored(each.accuracy, each.tracks),
            ratio(each.macro_f1),
            NOTHING if each.peak_bytes is None else format_size(each.peak_bytes),
            milliseconds(each.track_seconds),
        ]
        for each in ensembles(group)
    ]
    if not rows:
        return ""
    lead = (
        "**Ensembles** of trials as the search trained them, chosen by validation predictions, each with its share of "
        "the answer. Peak: what the framework's allocator held with all members loaded; time: of all members in turn, "
        "for one track whose features are there."
    )
    if tested_word(group) != "Test":
        lead += (
            " Members are chosen anew for each outer fold, without its tracks; shares are means. Their best epochs "
            "were chosen by the tracks that they answer here, so these scores are optimistic beside the winners'."
        )
    columns = ["Ensemble", "Members", "Accuracy (95 % interval)", "Macro F1", "Peak", "Time a track"]
    return f"{lead}\n\n{markdown_table(columns, rows, numeric=columns[2:])}"


def _by_genre(results: StudyResults, name: str) -> str:
    winner = tested(results, Role.WINNER)
    if winner is None or winner.answers is None:
        return ""
    title = f"{name}: the winner by genre, seed {winner.seeds[0].number + 1}, {winner.tracks} tested tracks"
    return folded(title, per_genre_table(winner.answers))


def _failures(opened: Group, names: dict[str, str]) -> str:
    lines = [
        f"- {names[results.study.study]}: {_failure(run)}"
        for results in opened
        for run in _finals(results).runs
        if run.outcome is not Outcome.COMPLETED
    ]
    lead = "**Failed.** A seed with a failed training is in no mean."
    return "\n".join([lead, "", *lines]) if lines else ""


def _failure(run: FinalRecord) -> str:
    fold = "" if run.fold is None else f", outer fold {run.fold + 1}"
    message = f" ({escape(run.message)})" if run.message else ""
    return f"{run.role}, trial {run.trial}, seed {run.seed + 1}{fold}: {run.outcome.replace('_', ' ')}{message}"


def _finals(results: StudyResults) -> FinalsRecord:
    if results.finals is None:
        raise ValueError(f"{results.study.study}: its test set is not opened")
    return results.finals
