"""The headline: one row a family, what any family must beat beneath, and what a reader must know of the figures."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import Outcome, Role, StudyResults
from harness.scoring.metrics import confusion, wilson
from harness.units import format_count, format_duration
from reports.diagnosis import main_limitation, measured_peak, outcomes, part_of_budget
from reports.sections import Group, best_accuracy, labels
from reports.tables import (
    NOTHING,
    escape,
    markdown_table,
    milliseconds,
    percent,
    percent_range,
    ratio,
    ratio_range,
    seconds,
)
from reports.tested import Tested, baseline_won, ensembles, not_ahead, tested, winner_and_baseline

PUBLISHED_NOTE = (
    "¹ Reported by the original author on GTZAN, with a random 80/20 split of their own: "
    "another data set or split than here, not comparable with the other columns."
)
SCORE_NOTE = (
    "Scores count tracks: all crops of a track vote with their mean probability. Macro F1 is the plain mean of F1 over "
    "all genres. A trial's best epoch and a family's best trial (highest macro F1) are chosen by the validation "
    "tracks, so validation scores are optimistic; the test set is not opened by `harness run`. The interval of an "
    "accuracy is Wilson's at 95 % and covers the chance of the tracks, not that choice. Peak VRAM is the best trial's "
    "as NVML counts it; `not measured` means that there was nothing to read it from. Latency is the time in which the "
    "best model answers for 30 s of audio whose features are there, on the device of the run."
)
TESTED_NOTE = (
    "Tested scores (`harness final`) are of configurations trained again, on tracks by which nothing was chosen: means "
    "over seeds, ± the standard deviation over seeds. The interval of a tested macro F1 is a bootstrap over the tracks "
    "of the first seed; it is too narrow where genres have fewer than about 20 tracks. Both intervals take tracks as "
    "independent, which those of one artist are not, and neither covers the choice of a seed."
)

_BASELINE = "Validation: baseline"
_ACCURACY, _MACRO_F1 = "Validation: best accuracy (95 % interval)", "Validation: best macro F1"
_PEAK, _PARAMETERS = "Peak VRAM of best (source)", "Parameters of best"
_LATENCY, _SECONDS = "Latency of best, 30 s track", "Training seconds of best"
_FEW_TRACKS = 20


def tested_word(group: Group) -> str:
    """Return what the group's final scores are on: `Test`, or `Outer folds` where the protocol keeps no test set."""
    words = [results.finals.tested for results in group if results.finals is not None]
    has_test = group[0].study.protocol.sizes.get("test", 0) > 0
    return (words[0] if words else "test" if has_test else "outer folds").capitalize()


def summary(group: Group) -> str:
    """Return the comparison itself as a markdown table: one row a study, then references and ensembles."""
    word = tested_word(group)
    opened = any(results.finals is not None for results in group)
    tested_columns = [f"{word}: baseline", *_winner_columns(word)] if opened else [word]
    costs = [_PEAK, _PARAMETERS, _LATENCY, _SECONDS]
    numbers = ["Published¹", _BASELINE, _ACCURACY, _MACRO_F1, *tested_columns, *costs]
    columns = ["Family", *numbers, "Trials", "Main limitation"]
    rows = [*(_study_row(results, group) for results in group), *_reference_rows(group), *_ensemble_rows(group)]
    return markdown_table(columns, [[row.get(column, NOTHING) for column in columns] for row in rows], numeric=numbers)


def remarks(group: Group) -> str:
    """Return what a reader must know of this table's figures, as a markdown list."""
    parts = (_folds, _heads, _not_ahead, _together, _few, _budgets)
    return "\n".join(f"- {remark}" for part in parts for remark in part(group))


def scored(accuracy: float, tracks: int) -> str:
    """Return one model's accuracy with Wilson's interval."""
    return f"{percent(accuracy)} ({percent_range(wilson(round(accuracy * tracks), tracks))}; {tracks} tracks)"


def _winner_columns(word: str) -> tuple[str, str]:
    return f"{word}: winner's accuracy (95 % interval)", f"{word}: winner's macro F1 (95 % interval)"


def _study_row(results: StudyResults, group: Group) -> Mapping[str, str]:
    published, best = results.study.published, results.best
    row = {
        "Family": labels(group)[results.study.study],
        _BASELINE: _baseline(results),
        _PEAK: _peak(results),
        "Trials": f"{len(results.trials)}: {outcomes(results.trials)}" if results.trials else "0",
        "Main limitation": escape(main_limitation(results)),
        **_tested_cells(results, tested_word(group)),
    }
    if published:
        row["Published¹"] = f"{percent(published.accuracy)}, F1 {ratio(published.macro_f1)}"
    if best:
        row[_ACCURACY], row[_MACRO_F1] = best_accuracy(results), ratio(best.valid_macro_f1)
        row[_PARAMETERS] = NOTHING if best.parameters is None else format_count(best.parameters)
        row[_LATENCY] = NOTHING if best.track_seconds is None else milliseconds(best.track_seconds)
        row[_SECONDS] = seconds(best.train_seconds)
        if results.study.embeddings:
            row |= {column: f"{row[column]} (head)" for column in (_PARAMETERS, _LATENCY, _SECONDS)}
    return row


def _reference_rows(group: Group) -> list[Mapping[str, str]]:
    """Return a row for each classifier without a network; the studies of a group share them."""
    places = {"valid": (_ACCURACY, _MACRO_F1), "test": _winner_columns(tested_word(group))}
    rows: dict[str, dict[str, str]] = {}
    for results in group:
        for record in results.references:
            row = rows.setdefault(record.name, {"Family": f"*{escape(record.name)}*"})
            accuracy, macro_f1 = places[record.partition]
            row.setdefault(accuracy, scored(record.accuracy, record.tracks))
            row.setdefault(macro_f1, ratio(record.macro_f1))
    return list(rows.values())


def _ensemble_rows(group: Group) -> list[Mapping[str, str]]:
    accuracy, macro_f1 = _winner_columns(tested_word(group))
    return [
        {
            "Family": f"*ensemble: {escape(each.name)}*",
            accuracy: scored(each.accuracy, each.tracks),
            macro_f1: ratio(each.macro_f1),
        }
        for each in ensembles(group)
    ]


def _tested_cells(results: StudyResults, word: str) -> Mapping[str, str]:
    accuracy, macro_f1 = _winner_columns(word)
    if results.finals is None:
        return {word: "not opened", accuracy: "not opened"}
    winner, baseline = tested(results, Role.WINNER), tested(results, Role.BASELINE)
    cells = {accuracy: "no complete seed"}
    if winner is not None:
        cells = {accuracy: _tested_accuracy(winner), macro_f1: _tested_macro_f1(winner)}
    if baseline_won(results):
        return cells | {f"{word}: baseline": "is the winner"}
    if baseline is None:
        return cells | {f"{word}: baseline": "no complete seed"}
    return cells | {f"{word}: baseline": f"{percent(baseline.accuracy.mean)}, F1 {ratio(baseline.macro_f1.mean)}"}


def _tested_accuracy(configuration: Tested) -> str:
    mean, deviation = configuration.accuracy
    seeds = len(configuration.seeds)
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    counts = f"{configuration.tracks} tracks, {seeds} seed{'s' * (seeds != 1)}"
    return f"{percent(mean)}{spread} ({percent_range(configuration.accuracy_interval)}; {counts})"


def _tested_macro_f1(configuration: Tested) -> str:
    mean, deviation = configuration.macro_f1
    interval = configuration.macro_f1_interval
    spread = "" if deviation is None else f" ± {ratio(deviation)}"
    return f"{ratio(mean)}{spread}" + ("" if interval is None else f" ({ratio_range(interval)})")


def _baseline(results: StudyResults) -> str:
    trial = results.baseline
    if trial is None:
        return NOTHING
    if not trial.completed:
        return trial.outcome.replace("_", " ")
    return f"{percent(trial.valid_accuracy)}, F1 {ratio(trial.valid_macro_f1)}"


def _peak(results: StudyResults) -> str:
    if results.best is None:
        return NOTHING
    peak, budget = measured_peak(results.best), results.study.budget_bytes
    if peak is None:
        return "not measured"
    return f"{part_of_budget(peak, budget)} ({results.best.reading.source.replace('_', ' ')})"


def _search_seconds(results: StudyResults) -> float:
    return sum(trial.train_seconds or 0.0 for trial in results.trials)


def _final_seconds(results: StudyResults) -> float:
    return sum(run.train_seconds or 0.0 for run in results.finals.runs) if results.finals is not None else 0.0


def _folds(group: Group) -> list[str]:
    protocol = group[0].study.protocol
    if not protocol.folds:
        return []
    return [
        f"With {escape(protocol.name)} a trial trains {protocol.folds} times, and its validation scores are over all "
        f"{protocol.sizes.get('folds', 0)} tracks, each answered by a model that was not trained on it."
    ]


def _heads(group: Group) -> list[str]:
    names = labels(group)
    return [
        f"**{names[results.study.study]}** hears with {' and '.join(map(escape, results.study.embeddings))}, frozen, "
        "and trained elsewhere on far more music; parameters, latency and training seconds are of the head on top "
        "alone."
        for results in group
        if results.study.embeddings
    ]


def _not_ahead(group: Group) -> list[str]:
    names, word = labels(group), tested_word(group)
    told = []
    for results in group:
        name = names[results.study.study]
        if baseline_won(results):
            told.append(f"{word}: the winner of **{name}** is its baseline; the search found nothing better.")
        elif (both := winner_and_baseline(results)) and (measures := not_ahead(*both)):
            told.append(f"{word}: the winner of **{name}** is not ahead of its baseline in {' and '.join(measures)}.")
    return told


def _together(group: Group) -> list[str]:
    """Return a warning where ensembles stand beside models that were trained without the tracks they answer."""
    word = tested_word(group)
    if word == "Test" or not ensembles(group):
        return []
    return [
        f"{word}: an ensemble's models are the search's own. Their best epochs were chosen by the tracks that they "
        "answer here, and they trained on one fold more than winners and baselines, so their scores are optimistic "
        "beside those."
    ]


def _few(group: Group) -> list[str]:
    """Return a warning where a bootstrap interval stands beside genres of few tracks."""
    answers = [
        winner.answers for results in group if (winner := tested(results, Role.WINNER)) and winner.answers is not None
    ]
    if not answers or (fewest := int(confusion(answers[0]).sum(axis=1).min())) >= _FEW_TRACKS:
        return []
    tracks = f"{fewest} tested track{'s' * (fewest != 1)}"
    return [f"The rarest genre has {tracks}: the intervals of macro F1 are too narrow here."]


def _budgets(group: Group) -> list[str]:
    """Return what each family got: trials, and seconds of training in the search and in the finals."""
    names = labels(group)
    counts = {names[results.study.study]: _counted(results) for results in group}
    if len(set(counts.values())) == 1:
        trials = f"Each family had {next(iter(counts.values()))} trials"
    else:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        trials = f"**Unequal numbers of trials**, as a time limit or an interruption leaves them: {listed}"
    limits = {results.study.trial_time_limit_seconds for results in group}
    limit = ", ".join("none" if each is None else format_duration(each) for each in sorted(limits, key=str))
    told = [f"{trials} (refused ones not counted). Time limit a trial: {limit}."]
    search = {names[results.study.study]: _search_seconds(results) for results in group}
    told.append(f"Seconds of training in the search: {_seconds(search)}.")
    finals = {names[results.study.study]: _final_seconds(results) for results in group if results.finals is not None}
    if finals:
        told.append(f"In the finals: {_seconds(finals)}.")
        if not group[0].study.protocol.folds and tested_word(group) != "Test":
            told.append("The smaller searches without each outer fold come on top and are not in these figures.")
    return [" ".join(told)]


def _counted(results: StudyResults) -> int:
    return sum(trial.outcome is not Outcome.REFUSED for trial in results.trials)


def _seconds(spent: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds(each)}" for name, each in spent.items())
