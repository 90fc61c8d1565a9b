"""The data of a run made ready, and what the user is told of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from harness.datasets.dataset import Dataset
from harness.datasets.split import Partition
from harness.datasets.track_groups import FROM_FOLDERS
from harness.events import Note, Notify
from harness.families import Family
from harness.features.store import FeatureStore
from harness.preparation import (
    IN_SEARCH,
    PreparationReport,
    PreparedData,
    SplitDataset,
    augmented_copies_needed,
    extract_features,
    named_extractors,
    scan_dataset,
    split_dataset,
)
from harness.settings import RunSettings
from harness.workflows.artists import artists_hint


def prepare_search(settings: RunSettings, families: Sequence[Family], notify: Notify) -> PreparedData:
    """Prepare the data of a search, embedded with the networks that a family needs.

    Raises:
        DataError: the data set cannot serve, or the protocol cannot split it.
        UsageError: such a network is not available, or none needs the one that was named.
    """
    # First, because what is missing there shows at once.
    networks = named_extractors(settings.dataset.embedding, families)
    return prepare_data(settings, families, IN_SEARCH, notify).with_embeddings(networks, notify)


def plan_search(settings: RunSettings, families: Sequence[Family], notify: Notify) -> PreparedData:
    """Return the data of a search as `prepare_search` would, but with nothing in the store: no track is extracted.

    Raises:
        HarnessError: as `prepare_search`.
    """
    networks = named_extractors(settings.dataset.embedding, families)
    found = _split(settings, notify, hints=True)
    return PreparedData(found.dataset, found.split, FeatureStore(settings.stores.place.store), (), networks)


def prepare_data(
    settings: RunSettings, families: Sequence[Family], partitions: Collection[Partition], notify: Notify
) -> PreparedData:
    """Scan, split and extract a data set, and tell what was found before the long work.

    Args:
        partitions: whose tracks are extracted.

    Raises:
        DataError: the data set cannot serve, or the protocol cannot split it.
    """
    found = _split(settings, notify, hints=Partition.TEST not in partitions)
    copies = augmented_copies_needed(families, settings.search.quick)
    return extract_features(found, FeatureStore(settings.stores.place.store), partitions, copies, notify)


def _split(settings: RunSettings, notify: Notify, hints: bool) -> SplitDataset:
    """Scan and split a data set, and tell what was found; with `hints`, what would make the split a better one."""
    dataset = scan_dataset(settings.dataset, notify)
    # Told first: what was skipped may be why the protocol cannot split the rest.
    for note in describe_scan(dataset):
        notify(note)
    # A final is of the split that its search had.
    if hints and (hint := artists_hint(dataset)):
        notify(Note(hint))
    found = split_dataset(dataset, settings.dataset.protocol, settings.search.seed)
    for note in describe_split(found.report):
        notify(note)
    return found


def describe_scan(dataset: Dataset) -> Iterator[Note]:
    """Yield what a user should read of the files of a data set."""
    for path, reason in dataset.quarantined.items():
        yield Note(f"skipped {path}: {reason}", warning=True)
    for names in dataset.replicas:
        reason = dataset.replica_reasons.get(names, "the same audio")
        yield Note(f"{reason}, kept on one side: {', '.join(names)}", warning=True)
    for text in dataset.notes:
        yield Note(text, warning=True)
    if dataset.groups_from == FROM_FOLDERS:
        yield Note(f"artists: {len(dataset.group_members)}, from {FROM_FOLDERS}")


def describe_split(report: PreparationReport) -> Iterator[Note]:
    """Yield what a user should read of a data set and its split."""
    dataset, protocol = report.dataset, report.protocol
    yield Note(f"{dataset.name}: {dataset.tracks} tracks, protocol {protocol.name}: {protocol.sizes_text}")
    if report.choice:
        yield Note(report.choice)
    kept = "track, replica or artist" if protocol.grouped else "track or replica"
    yield Note(f"checked: no {kept} stands on two sides, and statistics come from training tracks alone")
    if protocol.warning:
        yield Note(protocol.warning, warning=True)
