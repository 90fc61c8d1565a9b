"""What a reader must know of a report's figures: notices before a table, remarks on it, notes on all scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.analysis.comparison_group import GroupAnalysis, SplitGap, StudyAnalysis, split_gaps
from harness.markdown import escape
from harness.units import NOTHING, format_duration, percent, plural, ratio
from reports.formatting import accuracy_on, points, seconds, tested_word

SYNTHETIC = "Synthetic demo set: scores say nothing about real music."
PUBLISHED_NOTE = (
    "¹ Reported by the original author on GTZAN, with a random 80/20 split of their own: "
    "another data set or split than here, not comparable with the other columns."
)
_SCORE_NOTE = (
    "Scores count tracks: all crops of a track vote with their mean probability. Macro F1 is the plain mean of F1 over "
    "all genres. A trial's best epoch and a family's best trial (highest macro F1) are chosen by the validation "
    "tracks, so validation scores are optimistic; `harness run` never evaluates on the test set. The interval of an "
    "accuracy is Wilson's at 95 % and covers the chance of the tracks, not that choice. Peak VRAM is the best trial's "
    "as NVML counts it; `not measured` means that there was nothing to read it from. Latency is the time in which the "
    "best model answers for 30 s of audio whose features are there, on the device of the run."
)
_TESTED_NOTE = (
    "Tested scores (`harness final`) are of configurations trained again, on tracks by which nothing was chosen: means "
    "over seeds, ± the standard deviation over seeds. The interval of a tested macro F1 is a bootstrap over the tracks "
    "of the first seed; it is too narrow where genres have fewer than about 20 tracks. Both intervals take tracks as "
    "independent, which those of one artist are not, and neither covers the choice of a seed."
)
_FEW_TRACKS = 20


def score_notes(groups: Sequence[GroupAnalysis]) -> list[str]:
    """Write what is to be known of all groups' scores, paragraph by paragraph."""
    notes = [_SCORE_NOTE, _TESTED_NOTE] if any(group.tested for group in groups) else [_SCORE_NOTE]
    return [*notes, *map(_split_gap, split_gaps(groups))]


def notices(group: GroupAnalysis) -> str:
    """Write what a reader must know before the numbers, as block quotes; empty when there is nothing."""
    records = [study.record for study in group.studies]
    synthetic = any(record.dataset.synthetic for record in records)
    warnings = sorted({escape(record.protocol.warning) for record in records if record.protocol.warning})
    lines = [f"**{SYNTHETIC}**"] * synthetic + [f"**Protocol warning:** {warning}" for warning in warnings]
    return "\n>\n".join(f"> {line}" for line in lines)


def remarks(group: GroupAnalysis) -> str:
    """Write what a reader must know of the comparison table's figures, as a markdown list."""
    about_scores = (_folds, _frozen_embeddings, _not_ahead, _optimistic_ensembles, _few_tracks)
    parts = (*about_scores, _absent_predictions, _training_spent)
    return "\n".join(f"- {remark}" for part in parts for remark in part(group))


def best_accuracy(study: StudyAnalysis) -> str:
    """Write the best trial's validation accuracy with its interval, or a dash."""
    best, (tracks, interval) = study.results.best, study.validation
    if best is None:
        return NOTHING
    return (
        accuracy_on(best.scores.valid_accuracy, interval, tracks) if interval else percent(best.scores.valid_accuracy)
    )


def behind(study: StudyAnalysis) -> list[str]:
    """Name the measures in which the winner's mean does not exceed the baseline's, with both means."""
    final = study.final
    if final is None or final.margin is None or final.winner is None or final.baseline is None:
        return []
    winner, baseline = final.winner, final.baseline
    accuracy = f"accuracy ({percent(winner.accuracy.mean)} against {percent(baseline.accuracy.mean)})"
    macro_f1 = f"macro F1 ({ratio(winner.macro_f1.mean)} against {ratio(baseline.macro_f1.mean)})"
    return [accuracy] * (not final.margin.accuracy_ahead) + [macro_f1] * (not final.margin.macro_f1_ahead)


def _split_gap(gap: SplitGap) -> str:
    studies = (gap.mixed, gap.apart)
    names = [escape(study.record.protocol.name) for study in studies]
    scores = [f"{best_accuracy(study)}, {escape(study.record.family)}" for study in studies]
    trained = [study.record.protocol.sizes.get("train", 0) for study in studies]
    other = f"training on {trained[0]} tracks rather than {trained[1]} and of " if trained[0] != trained[1] else ""
    shown = (
        f"Some of that gap may come of {other}other validation tracks; the rest is artists on both sides"
        if gap.accuracy > 0
        else "That artists stand on both sides does not show in these scores"
    )
    warning = escape(gap.mixed.record.protocol.warning or "")
    return (
        f"**{names[0]} beside {names[1]}** ({escape(gap.mixed.record.dataset.name)}): the best family's validation "
        f"accuracy is {scores[0]}, with {names[0]}; {scores[1]}, with {names[1]}: {points(gap.accuracy)}. {shown}: "
        f"{warning}"
    )


def _folds(group: GroupAnalysis) -> list[str]:
    protocol = group.record.protocol
    if not protocol.folds:
        return []
    return [
        f"With {escape(protocol.name)} a trial trains {protocol.folds} times, and its validation scores are over all "
        f"{protocol.sizes.get('folds', 0)} tracks, each answered by a model that was not trained on it."
    ]


def _frozen_embeddings(group: GroupAnalysis) -> list[str]:
    return [
        f"**{escape(study.label)}** embeds tracks with {' and '.join(map(escape, study.record.embeddings))}, frozen, "
        "and trained elsewhere on far more music; parameters, latency and training seconds are of the head on top "
        "alone."
        for study in group.studies
        if study.record.embeddings
    ]


def _absent_predictions(group: GroupAnalysis) -> list[str]:
    return [
        f"The best trial of **{escape(study.label)}** ran in another workspace, which has its predictions: scores by "
        "genre and paired comparisons are missing here."
        for study in group.studies
        if study.results.best is not None and study.best_predictions is None
    ]


def _not_ahead(group: GroupAnalysis) -> list[str]:
    word, remarks = tested_word(group), []
    for study in group.studies:
        name = escape(study.label)
        if study.final is not None and study.final.baseline_won:
            remarks.append(f"{word}: the winner of **{name}** is its baseline; the search found nothing better.")
        elif measures := behind(study):
            remarks.append(
                f"{word}: the winner of **{name}** is not ahead of its baseline in {' and '.join(measures)}."
            )
    return remarks


def _optimistic_ensembles(group: GroupAnalysis) -> list[str]:
    """Warn where ensembles stand beside models that were trained without the tracks they answer."""
    if group.tested_on == "test" or not group.ensembles:
        return []
    return [
        f"{tested_word(group)}: an ensemble's models are the search's own. Their best epochs were chosen by the tracks "
        "that they answer here, and they trained on one fold more than winners and baselines, so their scores are "
        "optimistic beside those."
    ]


def _few_tracks(group: GroupAnalysis) -> list[str]:
    """Warn where a bootstrap interval stands beside genres of few tracks."""
    fewest = group.rarest_genre_tracks
    if fewest is None or fewest >= _FEW_TRACKS:
        return []
    tracks = plural(fewest, "tested track")
    return [f"The rarest genre has {tracks}: the intervals of macro F1 are too narrow here."]


def _training_spent(group: GroupAnalysis) -> list[str]:
    """Write what each family got: trials, and seconds of training in the search and in the finals."""
    studies = {escape(study.label): study for study in group.studies}
    counts = {name: study.results.counted_trials for name, study in studies.items()}
    if len(set(counts.values())) == 1:
        trials = f"Each family had {next(iter(counts.values()))} trials"
    else:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        trials = f"**Unequal numbers of trials**, as a time limit or an interruption leaves them: {listed}"
    limits = {study.record.trial_time_limit_seconds for study in group.studies}
    limit = ", ".join("none" if each is None else format_duration(each) for each in sorted(limits, key=str))
    sentences = [f"{trials} (refused ones not counted). Time limit a trial: {limit}."]
    search = {name: study.search.train_seconds for name, study in studies.items()}
    sentences.append(f"Seconds of training in the search: {_seconds(search)}.")
    finals = {name: study.final.train_seconds for name, study in studies.items() if study.final is not None}
    if finals:
        sentences.append(f"In the finals: {_seconds(finals)}.")
        if not group.record.protocol.folds and group.tested_on != "test":
            sentences.append("The smaller searches without each outer fold come on top and are not in these figures.")
    return [" ".join(sentences)]


def _seconds(spent: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds(each)}" for name, each in spent.items())
