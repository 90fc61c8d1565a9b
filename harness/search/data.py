"""The data of a run: scanned, split, extracted, and handed out as training sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.datasets.dataset import Dataset, Track
from harness.datasets.protocols import assign
from harness.datasets.scan import scan
from harness.datasets.split import Partition, Split
from harness.errors import UsageError
from harness.families import Family, select
from harness.features.augment import VARIANTS
from harness.features.embeddings.extractor import Extractor, extract_missing, extractors
from harness.features.fold import Example, Fold
from harness.features.input_spec import InputView
from harness.features.store import FeatureStore
from harness.search.events import Note, Notify, Progress
from harness.search.space import distributions
from harness.settings import MUSICNN, RunSettings, cache
from harness.synthetic import dataset as synthetic

# The built-in set: whole artists split 60/20/20. Tracks of 12 s keep two cores busy for minutes, not hours.
DEMO_ARTISTS, DEMO_TRACKS, DEMO_SECONDS = 5, 2, 12.0

IN_SEARCH = (Partition.TRAIN, Partition.VALID, Partition.FOLDS)


@dataclass(frozen=True)
class Prepared:
    """The data that all studies of a run share.

    Attributes:
        tracks: those whose features the store holds.
        extractors: the frozen networks that heard them, by name.
    """

    dataset: Dataset
    split: Split
    store: FeatureStore
    tracks: tuple[Track, ...]
    extractors: Mapping[str, Extractor] = field(default_factory=dict)

    def heard_with(self, networks: Mapping[str, Extractor], notify: Notify) -> Prepared:
        """Return the same data with the embeddings of `networks` in the store."""
        digests = [track.digest for track in self.tracks]
        for name, extractor in networks.items():
            extract_missing(self.store, digests, extractor, _progress(notify, f"hearing tracks with {name}"))
        return replace(self, extractors=networks)

    def at_hand(self, family: Family) -> Family:
        """Return a family as it can be searched here: one on embeddings with those at hand."""
        if not family.on_embeddings:
            return family
        return family.hearing({name: extractor.view for name, extractor in self.extractors.items()})

    def examples(self, tracks: Iterable[str]) -> tuple[Example, ...]:
        """Return tracks as training sees them."""
        known = {track.id: track for track in self.dataset.tracks}
        label = {genre: index for index, genre in enumerate(self.dataset.genres)}
        return tuple(Example(name, known[name].digest, label[known[name].genre]) for name in tracks)

    def fold(
        self, views: Sequence[InputView], train: Iterable[str], valid: Iterable[str], test: Iterable[str] = ()
    ) -> Fold:
        """Return one training by the ids of its tracks, with the statistics of those that train."""
        examples = self.examples(train)
        moments = {view: self.store.moments(view, [example.digest for example in examples]) for view in views}
        return Fold(examples, self.examples(valid), moments, self.examples(test))

    def folds(self, views: Sequence[InputView]) -> tuple[Fold, ...]:
        """Return what a trial trains and validates on."""
        return tuple(self.fold(views, train, valid) for train, valid in self.split.folds)


def prepare(settings: RunSettings, notify: Notify, opened: Collection[Partition] = IN_SEARCH) -> Prepared:
    """Scan the data set (the built-in one, unless told otherwise), split it, and fill the store.

    Args:
        opened: partitions whose tracks go into the store; a search does without those of the test.

    Raises:
        DataError: the data set cannot serve, or the protocol cannot split it.
    """
    folder = settings.data or _demo_set(notify)
    dataset = scan(
        folder, skip_bad=settings.skip_bad, groups=settings.groups, progress=_progress(notify, "reading tracks")
    )
    for path, reason in dataset.quarantined.items():
        notify(Note(f"skipped {path}: {reason}", warning=True))
    for names in dataset.replicas:
        notify(Note(f"the same audio, kept on one side: {', '.join(names)}", warning=True))
    split = assign(dataset, settings.protocol, settings.seed)
    sizes = ", ".join(f"{size} {name}" for name, size in split.sizes.items() if size)
    notify(Note(f"{dataset.name}: {len(dataset.tracks)} tracks, protocol {split.protocol}: {sizes}"))
    kept = "track, replica or artist" if split.grouped else "track or replica"
    notify(Note(f"checked: no {kept} stands on two sides, and statistics come from training tracks alone"))
    if split.warning:
        notify(Note(split.warning, warning=True))
    store = FeatureStore(settings.workspace / "store")
    used = [track for track in dataset.tracks if split.assignment[track.id] in opened]
    trained = {track for train, _ in split.folds for track in train}
    if Partition.TEST in opened and not split.tracks(Partition.TEST):
        # Outer folds take the place of the test set, and every track trains in some of them.
        trained = set(split.assignment)
    store.prepare(
        used,
        varied=[track for track in used if track.id in trained],
        variants=VARIANTS if _may_vary(settings) else 0,
        progress=_progress(notify, "extracting features"),
    )
    return Prepared(dataset, split, store, tuple(used))


def prepare_search(settings: RunSettings, notify: Notify) -> Prepared:
    """Do what `prepare` does for a search, and have its tracks heard by the networks that a family needs.

    Raises:
        UsageError: such a network is not at hand, or none needs the one that was named.
    """
    # First, because what is missing there shows at once.
    networks = _networks(settings)
    return prepare(settings, notify).heard_with(networks, notify)


def _networks(settings: RunSettings) -> dict[str, Extractor]:
    if any(family.on_embeddings for family in select(settings.families)):
        return extractors(settings.embedding, cache())
    if settings.embedding != (MUSICNN,):
        raise UsageError(
            f"--embedding: {', '.join(settings.families)} hear with none. Name the family pretrained, too."
        )
    return {}


def _demo_set(notify: Notify) -> Path:
    folder = cache() / f"synthetic-demo-{DEMO_ARTISTS}x{DEMO_TRACKS}x{DEMO_SECONDS:.0f}s-{synthetic.RECIPE}"
    return synthetic.make(
        folder,
        artists=DEMO_ARTISTS,
        tracks=DEMO_TRACKS,
        seconds=DEMO_SECONDS,
        progress=_progress(notify, "making the demo set"),
    )


def _progress(notify: Notify, task: str) -> Callable[[int, int], None]:
    return lambda done, total: notify(Progress(task, done, total))


def _may_vary(settings: RunSettings) -> bool:
    """Whether any family of the run can ask for variants of its training tracks."""
    return any("variant_share" in distributions(family, settings.quick) for family in select(settings.families))
