"""Where the figures of a group come from: data, protocol, limits, machine and versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from harness.analysis.comparison_group import GroupAnalysis
from harness.markdown import escape, table
from harness.records.base import RunLinks
from harness.records.study import StudyRecord
from harness.units import format_duration, format_size
from reports.templating import Section


def sections(group: GroupAnalysis, links: RunLinks) -> tuple[Section, ...]:
    """Write where the figures come from, as a table."""
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
    rows = [[name, _values(group, fact)] for name, fact in facts.items()]
    return (Section("Provenance", (table(["What", "Value"], rows),)),)


def _values(group: GroupAnalysis, fact: Callable[[StudyRecord], str]) -> str:
    """Write what holds for all studies of the group; where they differ, each value with the studies it holds for."""
    labels: dict[str, list[str]] = defaultdict(list)
    for study in group.studies:
        labels[fact(study.record)].append(escape(study.label))
    if len(labels) == 1:
        return next(iter(labels))
    return "; ".join(f"{', '.join(sorted(names))}: {value}" for value, names in sorted(labels.items()))


def _dataset(study: StudyRecord) -> str:
    data = study.dataset
    parts = [
        f"{escape(data.name)}{' (synthetic)' if data.synthetic else ''}",
        f"{data.tracks} tracks",
        f"{len(data.genres)} genres",
        f"fingerprint {escape(data.fingerprint)}",
    ]
    if data.replicas:
        parts.append(f"{len(data.replicas)} sets of replicas")
    if data.quarantined:
        parts.append(f"{len(data.quarantined)} files left out as unusable")
    return ", ".join(parts)


def _protocol(study: StudyRecord) -> str:
    split = study.protocol
    grouped = "groups kept together" if split.grouped else "groups not known"
    return f"{escape(split.name)}: {escape(split.sizes_text)}; {grouped}; fingerprint {escape(split.fingerprint)}"
