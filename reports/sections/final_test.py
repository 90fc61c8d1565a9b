"""Scores on tracks by which nothing was chosen: winner and baseline seed by seed, ensembles, and what failed."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparison_group import GroupAnalysis, StudyAnalysis
from harness.analysis.final_scores import ConfigurationScores, FinalScores
from harness.markdown import escape, folded, genre_table, table
from harness.records.base import RunLinks
from harness.records.final import FinalRecord, FinalRole
from harness.records.trial import Outcome
from harness.scoring.metrics import per_genre
from harness.units import NOTHING, format_size, percent, plural, ratio
from reports.formatting import accuracy_on, milliseconds, p_value, points, tested_word
from reports.notes import behind
from reports.templating import Section

_OUTER = (
    "The protocol keeps no test set, so outer folds take its place: each fold is tested by the configuration that was "
    "chosen without its tracks, {how}. Another fold stops each training and is not trained on either."
)
_SMALLER = "by a smaller search, whose trials have numbers of their own"
_STORED = "by the trials' stored predictions on the other folds (which trials there are was guided by all folds)"


def sections(group: GroupAnalysis, links: RunLinks) -> tuple[Section, ...]:
    """Write what came of testing; no section while nothing was tested."""
    tested = [(study, study.final) for study in group.studies if study.final is not None]
    if not tested:
        return ()
    parts = (
        "\n".join(f"- {escape(study.label)}: {_times_tested(study)}" for study in group.studies),
        _outer_folds(group),
        _seeds(tested),
        _verdicts(tested),
        _ensembles(group),
        *(_by_genre(study.label, final.winner) for study, final in tested),
        _failures(tested),
    )
    return (Section(tested_word(group), tuple(part for part in parts if part)),)


_Tested = Sequence[tuple[StudyAnalysis, FinalScores]]


def _times_tested(study: StudyAnalysis) -> str:
    if study.final is None:
        return "not tested."
    counts = [opening.trials for opening in study.final.record.openings]
    since = len(study.results.trials) - counts[-1]
    ended = f" {plural(since, 'trial')} ended since, and had no part in it." if since > 0 else ""
    if len(counts) == 1:
        return f"tested once, after {plural(counts[0], 'trial')}.{ended}"
    return (
        f"tested {len(counts)} times, after {' and '.join(map(str, counts))} trials.{ended} **What was chosen after "
        "the first test may follow what was seen: these scores, the last test's, are not untouched any more.**"
    )


def _outer_folds(group: GroupAnalysis) -> str:
    if group.tested_on == "test":
        return ""
    return _OUTER.format(how=_STORED if group.record.protocol.folds else _SMALLER)


def _seeds(tested: _Tested) -> str:
    numbers = sorted({run.seed for _, final in tested for run in final.record.runs})
    seeds = [f"Seed {number + 1}" for number in numbers]
    rows = [
        [escape(study.label), _configuration(final, role), *_scores(final, role, numbers)]
        for study, final in tested
        for role in FinalRole
        if any(run.role is role for run in final.record.runs)
    ]
    columns = ["Family", "Configuration", *seeds, "Mean ± standard deviation"]
    return table(columns, rows, numeric=columns[2:]) if rows else ""


def _scores(final: FinalScores, role: FinalRole, numbers: Sequence[int]) -> list[str]:
    """Write a configuration's cells: one a seed, and the mean."""
    configuration = final.winner if role is FinalRole.WINNER else final.baseline
    scored = dict(configuration.seeds) if configuration else {}
    cells = []
    for number in numbers:
        runs = final.runs[role].get(number, ())
        if number in scored:
            cells.append(f"{percent(scored[number].accuracy)}, F1 {ratio(scored[number].macro_f1)}")
        elif failed := [run for run in runs if run.outcome is not Outcome.COMPLETED]:
            cells.append(failed[0].outcome.label)
        else:
            cells.append("not finished" if runs else NOTHING)
    return [*cells, _mean(configuration) if configuration else NOTHING]


def _mean(configuration: ConfigurationScores) -> str:
    (accuracy, deviation), (macro_f1, f1_deviation) = configuration.accuracy, configuration.macro_f1
    if deviation is None:
        return f"{percent(accuracy)}, F1 {ratio(macro_f1)}"
    return f"{percent(accuracy)} ± {100 * deviation:.1f}, F1 {ratio(macro_f1)} ± {ratio(f1_deviation)}"


def _configuration(final: FinalScores, role: FinalRole) -> str:
    """Say whose configuration it is, by its trial or, where they differ, by that of each outer fold."""
    trials = [str(run.trial) for run in next(iter(final.runs[role].values()))]
    which = f"trial {trials[0]}" if len(set(trials)) == 1 else f"by fold, trials {', '.join(trials)}"
    return f"{role.capitalize()} ({which})"


def _verdicts(tested: _Tested) -> str:
    """Say whether each search was worth it: winner against baseline."""
    verdicts = [(study, _verdict(study, final)) for study, final in tested]
    lines = [f"- {escape(study.label)}: {verdict}" for study, verdict in verdicts if verdict]
    if not lines:
        return ""
    lead = (
        "**Winner against baseline.** Ahead means a higher mean of accuracy and of macro F1. The p-value is exact "
        "McNemar's, of the first seeds' answers, two-sided and not corrected for the number of families."
    )
    return "\n".join([lead, "", *lines])


def _verdict(study: StudyAnalysis, final: FinalScores) -> str:
    if final.baseline_won:
        return "the winner is the baseline, so there is nothing to compare."
    if final.margin is None:
        return ""
    accuracy, macro_f1, test = final.margin
    if measures := behind(study):
        verdict = f"the winner is **not ahead** in {' and '.join(measures)}"
    else:
        verdict = f"the winner is ahead, {points(accuracy)} of accuracy and {macro_f1:+.2f} of macro F1"
    if test is None:
        return f"{verdict}."
    return (
        f"{verdict}; {plural(test.only_first, 'track')} only the winner has right, {test.only_second} only the "
        f"baseline, p {p_value(test.p_value)}."
    )


def _ensembles(group: GroupAnalysis) -> str:
    """Write who answers together, how well, and at what cost."""
    rows = [
        [
            escape(record.name),
            ", ".join(f"{100 * share:.0f} % {escape(member)}" for member, share in record.members.items()),
            accuracy_on(record.accuracy, interval, record.tracks),
            ratio(record.macro_f1),
            NOTHING if record.peak_bytes is None else format_size(record.peak_bytes),
            milliseconds(record.inference_seconds),
        ]
        for record, interval in group.ensembles
    ]
    if not rows:
        return ""
    lead = (
        "**Ensembles** of trials as the search trained them, chosen by validation predictions, each with its share of "
        "the answer. Peak: what the framework's allocator held with all members loaded; time: of all members in turn, "
        "for one track whose features are there."
    )
    if group.tested_on != "test":
        lead += (
            " Members are chosen anew for each outer fold, without its tracks; shares are means. Their best epochs "
            "were chosen by the tracks that they answer here, so these scores are optimistic beside the winners'."
        )
    columns = ["Ensemble", "Members", "Accuracy (95 % interval)", "Macro F1", "Peak", "Time a track"]
    return f"{lead}\n\n{table(columns, rows, numeric=columns[2:])}"


def _by_genre(label: str, winner: ConfigurationScores | None) -> str:
    if winner is None or winner.predictions is None:
        return ""
    title = f"{label}: the winner by genre, seed {winner.seeds[0].seed + 1}, {winner.tracks} tested tracks"
    return folded(title, genre_table(per_genre(winner.predictions)))


def _failures(tested: _Tested) -> str:
    lines = [
        f"- {escape(study.label)}: {_failure(run)}"
        for study, final in tested
        for run in final.record.runs
        if run.outcome is not Outcome.COMPLETED
    ]
    lead = "**Failed.** A seed with a failed training is in no mean."
    return "\n".join([lead, "", *lines]) if lines else ""


def _failure(run: FinalRecord) -> str:
    message = f" ({escape(run.message)})" if run.message else ""
    return f"{run.role}, trial {run.trial}, {run.label}: {run.outcome.label}{message}"
