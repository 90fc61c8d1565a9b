"""A section of the report: the studies that may share a table, what they share, and where the figures come from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.errors import UsageError
from harness.records import StudyRecord, StudyResults
from harness.units import format_duration, format_size
from reports import tables
from reports.diagnosis import accuracy_interval, validation_tracks
from reports.tables import NOTHING, escape, percent, percent_range, points

SYNTHETIC = "Synthetic demo set: scores say nothing about real music."

_PARTITIONS = ("train", "valid", "test", "excluded")

Group = tuple[StudyResults, ...]


def grouped(studies: Sequence[StudyResults]) -> list[Group]:
    """Return the studies that may share a table, groups in a fixed order, the best family first in each.

    Tested answers are read here, once: they may lie on a server.

    Raises:
        UsageError: there is no study.
    """
    if not studies:
        raise UsageError("There is no study to report on. Start one with `harness run`, or name another --workspace.")
    groups: dict[tuple[object, ...], list[StudyResults]] = defaultdict(list)
    for results in studies:
        read = replace(results, final_predictions=dict(results.final_predictions))
        groups[_comparable(results.study)].append(read)
    return [tuple(sorted(groups[key], key=_rank)) for key in sorted(groups)]


def _comparable(study: StudyRecord) -> tuple[str, str, int, int, int, bool, str, str]:
    data, split = study.dataset, study.protocol
    scale = (study.budget_bytes, study.epochs, study.seed, study.quick)
    return (data.name, split.name, *scale, data.fingerprint, split.fingerprint)


def _rank(results: StudyResults) -> tuple[float, str, str]:
    score = results.best.valid_macro_f1 if results.best else None
    return (1.0 if score is None else -score, results.study.family, results.study.study)


def plain_labels(group: Group) -> dict[str, str]:
    """Return each study's name for the reader: its family, or the study where a family has several."""
    families = Counter(results.study.family for results in group)
    return {
        results.study.study: results.study.family if families[results.study.family] == 1 else results.study.study
        for results in group
    }


def labels(group: Group) -> dict[str, str]:
    """Return `plain_labels` as markdown."""
    return {study: escape(label) for study, label in plain_labels(group).items()}


def best_accuracy(results: StudyResults) -> str:
    """Return the best trial's validation accuracy with its interval, or a dash."""
    if results.best is None:
        return NOTHING
    accuracy, interval = percent(results.best.valid_accuracy), accuracy_interval(results)
    return f"{accuracy} ({percent_range(interval)}; {validation_tracks(results)} tracks)" if interval else accuracy


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
    warnings = sorted({escape(results.study.protocol.warning) for results in group if results.study.protocol.warning})
    lines = [f"**{SYNTHETIC}**"] * synthetic + [f"**Protocol warning:** {warning}" for warning in warnings]
    return "\n>\n".join(f"> {line}" for line in lines)


def artist_gaps(groups: Sequence[Group]) -> list[str]:
    """Return one line for each two groups that differ by their split only, of which one keeps artists together.

    It gives the gap between their best families, and what else than the artists may make it.
    """
    return [
        _gap(mixed[0], apart[0])
        for mixed in groups
        for apart in groups
        if _but_for_the_split(mixed[0].study) == _but_for_the_split(apart[0].study)
        and mixed[0].study.protocol.warning
        and apart[0].study.protocol.grouped
        and mixed[0].best
        and apart[0].best
    ]


def _but_for_the_split(study: StudyRecord) -> tuple[object, ...]:
    data, scale = study.dataset, (study.budget_bytes, study.epochs, study.seed, study.quick)
    return (data.name, data.fingerprint, *scale, study.protocol.folds)


def _gap(mixed: StudyResults, apart: StudyResults) -> str:
    splits = mixed.study.protocol, apart.study.protocol
    names = [escape(split.name) for split in splits]
    scores = [each.best.valid_accuracy or 0.0 for each in (mixed, apart) if each.best is not None]
    told = [f"{best_accuracy(each)}, {escape(each.study.family)}" for each in (mixed, apart)]
    trained = [split.sizes.get("train", 0) for split in splits]
    other = f"training on {trained[0]} tracks rather than {trained[1]} and of " if trained[0] != trained[1] else ""
    gap = scores[0] - scores[1]
    shown = (
        f"Some of that gap may come of {other}other validation tracks; the rest is artists on both sides"
        if gap > 0
        else "That artists stand on both sides does not show in these scores"
    )
    return (
        f"**{names[0]} beside {names[1]}** ({escape(mixed.study.dataset.name)}): the best family's validation accuracy "
        f"is {told[0]}, with {names[0]}; {told[1]}, with {names[1]}: {points(gap)}. {shown}: "
        f"{escape(splits[0].warning or '')}"
    )


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
