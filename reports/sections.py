"""A section of the report: the studies that may share a table, their summary, and where the figures come from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from harness.errors import UsageError
from harness.records import StudyRecord, StudyResults
from harness.units import format_count, format_duration, format_size
from reports import tables
from reports.diagnosis import accuracy_interval, main_limitation, measured_peak, outcomes, validation_tracks
from reports.tables import NOTHING, escape, one_line, percent, percent_range, ratio

SYNTHETIC = "Synthetic demo set: scores say nothing about real music."

PUBLISHED_NOTE = (
    "¹ Reported by the original author on GTZAN, with a random 80/20 split of their own: "
    "another data set or split than here, not comparable with the other columns."
)
SCORE_NOTE = (
    "Scores are validation scores and count tracks: all crops of a track vote with their mean probability. Macro F1 "
    "is the plain mean of F1 over all genres. A trial's best epoch and a family's best trial (highest macro F1) are "
    "chosen by the same validation tracks, so these numbers are optimistic; the test set is not opened by "
    "`harness run`. The interval is Wilson's at 95 % and covers the chance of the tracks, not that choice. Peak VRAM "
    "is the best trial's as NVML counts it; `not measured` means that there was nothing to read it from."
)

_PARTITIONS = ("train", "valid", "test", "excluded")
_SUMMARY_COLUMNS = (
    "Family",
    "Published¹",
    "Baseline",
    "Best accuracy (95 % interval)",
    "Best macro F1",
    "Peak VRAM of best (source)",
    "Parameters of best",
    "Trials",
    "Training time",
    "Main limitation",
)

Group = tuple[StudyResults, ...]


def grouped(studies: Sequence[StudyResults]) -> list[Group]:
    """Return the studies that may share a table, groups in a fixed order, the best family first in each.

    Raises:
        UsageError: there is no study.
    """
    if not studies:
        raise UsageError("There is no study to report on. Start one with `harness run`, or name another --workspace.")
    groups: dict[tuple[object, ...], list[StudyResults]] = defaultdict(list)
    for results in studies:
        groups[_comparable(results.study)].append(results)
    return [tuple(sorted(groups[key], key=_rank)) for key in sorted(groups)]


def _comparable(study: StudyRecord) -> tuple[str, str, int, int, int, bool, str, str]:
    data, split = study.dataset, study.protocol
    scale = (study.budget_bytes, study.epochs, study.seed, study.quick)
    return (data.name, split.name, *scale, data.fingerprint, split.fingerprint)


def _rank(results: StudyResults) -> tuple[float, str, str]:
    score = results.best.valid_macro_f1 if results.best else None
    return (1.0 if score is None else -score, results.study.family, results.study.study)


def labels(group: Group) -> dict[str, str]:
    """Return each study's name for the reader: its family, or the study where a family has several."""
    families = Counter(results.study.family for results in group)
    return {
        results.study.study: escape(
            results.study.family if families[results.study.family] == 1 else results.study.study
        )
        for results in group
    }


def heading(group: Group) -> str:
    """Return what the studies of the group have in common, as one line."""
    study = group[0].study
    parts = [
        escape(study.dataset.name),
        f"protocol {escape(study.protocol.name)}",
        format_size(study.budget_bytes),
        f"{study.epochs} epoch{'s' * (study.epochs != 1)}",
        f"seed {study.seed}",
    ]
    return " · ".join([*parts, "quick"] if study.quick else parts)


def notices(group: Group) -> str:
    """Return what a reader must know before the numbers, as block quotes; empty when there is nothing."""
    synthetic = any(results.study.dataset.synthetic for results in group)
    warnings = sorted({one_line(results.study.protocol.warning) for results in group if results.study.protocol.warning})
    lines = [f"**{SYNTHETIC}**"] * synthetic + [f"**Protocol warning:** {warning}" for warning in warnings]
    return "\n>\n".join(f"> {line}" for line in lines)


def summary(group: Group) -> str:
    """Return the comparison itself, one row a study, as a markdown table."""
    names = labels(group)
    rows = [
        [
            names[results.study.study],
            _published(results),
            _baseline(results),
            _best_accuracy(results),
            ratio(results.best.valid_macro_f1) if results.best else NOTHING,
            _peak(results),
            format_count(results.best.parameters) if results.best and results.best.parameters is not None else NOTHING,
            f"{len(results.trials)}: {outcomes(results.trials)}" if results.trials else "0",
            _training_time(results),
            escape(main_limitation(results)),
        ]
        for results in group
    ]
    return tables.markdown_table(_SUMMARY_COLUMNS, rows, numeric=_SUMMARY_COLUMNS[1:7])


def _published(results: StudyResults) -> str:
    published = results.study.published
    return f"{percent(published.accuracy)}, F1 {ratio(published.macro_f1)}" if published else NOTHING


def _baseline(results: StudyResults) -> str:
    trial = results.baseline
    if trial is None:
        return NOTHING
    if not trial.completed:
        return trial.outcome.replace("_", " ")
    return f"{percent(trial.valid_accuracy)}, F1 {ratio(trial.valid_macro_f1)}"


def _best_accuracy(results: StudyResults) -> str:
    if results.best is None:
        return NOTHING
    accuracy, interval = percent(results.best.valid_accuracy), accuracy_interval(results)
    return f"{accuracy} ({percent_range(interval)}; {validation_tracks(results)} tracks)" if interval else accuracy


def _peak(results: StudyResults) -> str:
    if results.best is None:
        return NOTHING
    peak, budget = measured_peak(results.best), results.study.budget_bytes
    if peak is None:
        return "not measured"
    source = results.best.reading.source.replace("_", " ")
    return f"{format_size(peak)} of {format_size(budget)}, {100 * peak / budget:.0f} % ({source})"


def _training_time(results: StudyResults) -> str:
    seconds = [trial.train_seconds for trial in results.trials if trial.train_seconds is not None]
    return format_duration(sum(seconds)) if seconds else NOTHING


def provenance(group: Group) -> str:
    """Return where the figures come from as a markdown table."""
    facts: dict[str, Callable[[StudyRecord], str]] = {
        "Data set": _dataset,
        "Protocol": _protocol,
        "VRAM budget": lambda study: format_size(study.budget_bytes),
        "Time limit a trial": lambda study: (
            "none" if study.trial_time_limit_seconds is None else format_duration(study.trial_time_limit_seconds)
        ),
        "Epochs": lambda study: str(study.epochs),
        "Seed": lambda study: str(study.seed),
        "Spaces": lambda study: "quick" if study.quick else "full",
        "Device": lambda study: escape(study.provenance.device),
        "GPU driver": lambda study: escape(study.provenance.driver or "none"),
        "Back end": lambda study: escape(study.provenance.backend),
        "Versions": lambda study: ", ".join(
            f"{escape(name)} {escape(version)}" for name, version in sorted(study.provenance.versions.items())
        ),
        "Platform": lambda study: f"{escape(study.provenance.platform)}, {study.provenance.cpu_count} CPU cores",
        "Commit": lambda study: escape(study.provenance.commit),
    }
    rows = [[name, _told_by(group, fact)] for name, fact in facts.items()]
    return tables.markdown_table(["What", "Value"], rows)


def _told_by(group: Group, fact: Callable[[StudyRecord], str]) -> str:
    """Return what all studies of the group say; where they differ, each value with the studies it holds for."""
    names = labels(group)
    told: dict[str, list[str]] = defaultdict(list)
    for results in group:
        told[fact(results.study)].append(names[results.study.study])
    if len(told) == 1:
        return next(iter(told))
    return "; ".join(f"{', '.join(sorted(who))}: {text}" for text, who in sorted(told.items()))


def _dataset(study: StudyRecord) -> str:
    data = study.dataset
    parts = [
        f"{escape(data.name)}{' (synthetic)' if data.synthetic else ''}",
        f"{data.tracks} tracks",
        f"{len(data.genres)} genres",
        f"fingerprint {escape(data.fingerprint)}",
    ]
    if data.replicas:
        parts.append(f"{len(data.replicas)} sets of exact replicas")
    if data.quarantined:
        parts.append(f"{len(data.quarantined)} files left out as unusable")
    return ", ".join(parts)


def _protocol(study: StudyRecord) -> str:
    split = study.protocol
    names = [*_PARTITIONS, *sorted(set(split.sizes) - set(_PARTITIONS))]
    sizes = [f"{escape(name)} {split.sizes[name]}" for name in names if name in split.sizes]
    grouped = "groups kept together" if split.grouped else "groups not known"
    return f"{escape(split.name)}: {', '.join(sizes)} tracks; {grouped}; fingerprint {escape(split.fingerprint)}"
