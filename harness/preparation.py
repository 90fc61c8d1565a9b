"""The data of a run: scanned, split, extracted, and handed out as training sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.datasets.dataset import Dataset, Track
from harness.datasets.protocols import assign
from harness.datasets.scan import scan
from harness.datasets.split import Partition, Split
from harness.errors import UsageError
from harness.events import Notify, counter
from harness.families import Family
from harness.features.augment import AUGMENTED_COPIES
from harness.features.embeddings.extractor import Extractor, extract_missing, extractors
from harness.features.fold import Fold, LabelledTrack
from harness.features.input_spec import InputSpec
from harness.features.store import FeatureStore
from harness.records.study import DatasetRecord, ProtocolRecord
from harness.settings import MUSICNN, DatasetSettings, cache
from harness.synthetic import dataset as synthetic

# The built-in set: whole artists split 60/20/20. Tracks of 12 s keep two cores busy for minutes, not hours.
DEMO_ARTISTS, DEMO_TRACKS, DEMO_SECONDS = 5, 2, 12.0

IN_SEARCH = (Partition.TRAIN, Partition.VALID, Partition.FOLDS)
"""Partitions that a search reads."""

WITH_TEST = (*IN_SEARCH, Partition.TEST)
"""Partitions that are read once the test set is opened."""


@dataclass(frozen=True)
class PreparationReport:
    """What was found in a data set, and how it was split; `choice` is that of the `Split`."""

    dataset: DatasetRecord
    protocol: ProtocolRecord
    choice: str | None = None


@dataclass(frozen=True)
class SplitDataset:
    """A data set with the partition of each of its tracks."""

    dataset: Dataset
    split: Split

    @property
    def report(self) -> PreparationReport:
        """What a user should know of it before anything is trained."""
        return PreparationReport(self.dataset.record(), self.split.record(), self.split.choice)


@dataclass(frozen=True)
class PreparedData:
    """The data that all studies of a run share.

    Attributes:
        tracks: those whose features the store holds.
        extractors: the frozen networks whose embeddings of them the store holds, by name.
    """

    dataset: Dataset
    split: Split
    store: FeatureStore
    tracks: tuple[Track, ...]
    extractors: Mapping[str, Extractor] = field(default_factory=dict)

    def with_embeddings(self, networks: Mapping[str, Extractor], notify: Notify) -> PreparedData:
        """Embed the tracks with `networks`, as far as the store lacks it, and return the same data with these.

        Raises:
            UsageError: a network gave something that is no embedding.
            WorkspaceError: the store cannot be written.
        """
        digests = [track.digest for track in self.tracks]
        for name, extractor in networks.items():
            extract_missing(self.store, digests, extractor, counter(notify, f"embedding tracks with {name}"))
        return replace(self, extractors=networks)

    def available(self, family: Family) -> Family:
        """Return a family as it can be searched here: one on embeddings with those that are available."""
        if not family.on_embeddings:
            return family
        return family.with_embeddings({name: extractor.input_spec for name, extractor in self.extractors.items()})

    def examples(self, tracks: Iterable[str]) -> tuple[LabelledTrack, ...]:
        """Return tracks, by their ids, as training sees them."""
        known = {track.id: track for track in self.dataset.tracks}
        label = {genre: index for index, genre in enumerate(self.dataset.genres)}
        return tuple(LabelledTrack(name, known[name].digest, label[known[name].genre]) for name in tracks)

    def fold(
        self, input_specs: Sequence[InputSpec], train: Iterable[str], valid: Iterable[str], test: Iterable[str] = ()
    ) -> Fold:
        """Return one training by the ids of its tracks, with the statistics of those that train."""
        examples = self.examples(train)
        normalization = {
            input_spec: self.store.normalization(input_spec, [example.digest for example in examples])
            for input_spec in input_specs
        }
        return Fold(examples, self.examples(valid), normalization, self.examples(test))

    def folds(self, input_specs: Sequence[InputSpec]) -> tuple[Fold, ...]:
        """Return what a trial trains and validates on."""
        return tuple(self.fold(input_specs, train, valid) for train, valid in self.split.folds)


def scan_dataset(settings: DatasetSettings, notify: Notify) -> Dataset:
    """Scan the data set: the built-in one, unless told otherwise.

    Raises:
        DataError: it cannot serve.
    """
    folder, progress = settings.data or _demo_set(notify), counter(notify, "reading tracks")
    return scan(folder, skip_bad=settings.skip_bad, groups=settings.groups, progress=progress, cache=cache())


def split_dataset(dataset: Dataset, protocol: str, seed: int) -> SplitDataset:
    """Split a data set.

    Raises:
        DataError: the protocol cannot split it.
    """
    return SplitDataset(dataset, assign(dataset, protocol, seed))


def extract_features(
    found: SplitDataset, store: FeatureStore, partitions: Collection[Partition], copies: int, notify: Notify
) -> PreparedData:
    """Extract the features that a store lacks.

    Args:
        partitions: whose tracks go into the store; a search does without those of the test.
        copies: how many augmented copies each training track is to have.

    Raises:
        DataError: a file changed or vanished since it was scanned.
        WorkspaceError: the store cannot be written.
    """
    dataset, split = found.dataset, found.split
    used = [track for track in dataset.tracks if split.assignment[track.id] in partitions]
    trained = {track for train, _ in split.folds for track in train}
    if Partition.TEST in partitions and not split.tracks(Partition.TEST):
        # Outer folds take the place of the test set, and every track trains in some of them.
        trained = set(split.assignment)
    store.prepare(
        used,
        augmented=[track for track in used if track.id in trained],
        copies=copies,
        progress=counter(notify, "extracting features"),
    )
    return PreparedData(dataset, split, store, tuple(used))


def augmented_copies_needed(families: Iterable[Family], quick: bool) -> int:
    """Return how many augmented copies of each training track any of the families may train on."""
    return AUGMENTED_COPIES if not quick and any(family.uses_augmented_copies for family in families) else 0


def named_extractors(embedding: tuple[str, ...], families: Sequence[Family]) -> dict[str, Extractor]:
    """Return the frozen networks that the families are to embed tracks with, by name; none where no family does.

    Raises:
        UsageError: such a network is not available, or none needs the one that was named.
    """
    if any(family.on_embeddings for family in families):
        return extractors(embedding, cache())
    if embedding != (MUSICNN,):
        names = ", ".join(family.name for family in families)
        raise UsageError(f"--embedding: {names} take no embeddings. Name the family pretrained, too.")
    return {}


def _demo_set(notify: Notify) -> Path:
    folder = cache() / f"synthetic-demo-{DEMO_ARTISTS}x{DEMO_TRACKS}x{DEMO_SECONDS:.0f}s-{synthetic.RECIPE}"
    return synthetic.make(
        folder,
        artists=DEMO_ARTISTS,
        tracks=DEMO_TRACKS,
        seconds=DEMO_SECONDS,
        progress=counter(notify, "making the demo set"),
    )
