"""The data of a run: scanned, split, extracted, and handed out as training sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.audio import demo
from harness.audio.augment import VARIANTS
from harness.audio.crops import Example
from harness.audio.features import InputView
from harness.audio.protocols import Partition, Split, assign
from harness.audio.store import Store
from harness.audio.tracks import Dataset, scan
from harness.families import select
from harness.search.events import Note, Notify, Progress
from harness.search.footprints import cache
from harness.search.space import distributions
from harness.settings import RunSettings
from harness.trials.spec import Fold

# The built-in set: whole artists split 60/20/20. Tracks of 12 s keep two cores busy for minutes, not hours.
DEMO_ARTISTS, DEMO_TRACKS, DEMO_SECONDS = 5, 2, 12.0

IN_SEARCH = (Partition.TRAIN, Partition.VALID, Partition.FOLDS)


@dataclass(frozen=True)
class Prepared:
    """The data that all studies of a run share."""

    dataset: Dataset
    split: Split
    store: Store

    def examples(self, tracks: Iterable[str]) -> tuple[Example, ...]:
        """Return tracks as training sees them."""
        known = {track.id: track for track in self.dataset.tracks}
        label = {genre: index for index, genre in enumerate(self.dataset.genres)}
        return tuple(Example(name, known[name].digest, label[known[name].genre]) for name in tracks)

    def fold(self, view: InputView, train: Iterable[str], valid: Iterable[str], test: Iterable[str] = ()) -> Fold:
        """Return one training by the ids of its tracks, with the statistics of those that train."""
        examples = self.examples(train)
        moments = self.store.moments(view, [example.digest for example in examples])
        return Fold(examples, self.examples(valid), moments, self.examples(test))

    def folds(self, view: InputView) -> tuple[Fold, ...]:
        """Return what a trial trains and validates on."""
        return tuple(self.fold(view, train, valid) for train, valid in self.split.folds)


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
    store = Store(settings.workspace / "store")
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
    return Prepared(dataset, split, store)


def _demo_set(notify: Notify) -> Path:
    folder = cache() / f"synthetic-demo-{DEMO_ARTISTS}x{DEMO_TRACKS}x{DEMO_SECONDS:.0f}s-{demo.RECIPE}"
    return demo.make(
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
