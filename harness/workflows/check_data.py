"""`harness data check`: what a folder holds, and which protocols it can serve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from harness.datasets.dataset import Dataset
from harness.datasets.gtzan import compare
from harness.datasets.protocols import offered
from harness.datasets.scan import scan
from harness.workflows.artists import artists_hint


def check_data(
    directory: Path, groups: Path | None, seed: int, progress: Callable[[str, int, int], None]
) -> Iterator[str]:
    """Yield lines on what a folder holds, what is quarantined and why, replicas, and the protocols that it can serve.

    Args:
        progress: told of the folder's name, the tracks that were read, and how many there are.

    Raises:
        DataError: the folder holds no usable data set.
    """
    yield from _describe(
        scan(directory, skip_bad=True, groups=groups, progress=partial(progress, directory.name)), seed
    )


def check_fetched(directory: Path, progress: Callable[[str, int, int], None]) -> Iterator[str]:
    """Yield the lines of `check_data`, and those on how the folder differs from the whole of GTZAN.

    Raises:
        DataError: tracks are missing or damaged that are not known to be.
    """
    dataset = scan(directory, skip_bad=True, progress=partial(progress, directory.name))
    yield from _describe(dataset, seed=0)
    yield from compare(dataset)


def _describe(dataset: Dataset, seed: int) -> Iterator[str]:
    synthetic = " (synthetic)" if dataset.synthetic else ""
    hours = sum(track.seconds for track in dataset.tracks) / 3600
    yield f"{dataset.name}{synthetic}: {len(dataset.tracks)} tracks, {len(dataset.genres)} genres, {hours:.1f} hours"
    for genre in dataset.genres:
        yield f"  {genre}: {sum(track.genre == genre for track in dataset.tracks)}"
    yield f"artists: {len(set(dataset.groups.values())) if dataset.groups else 'unknown'}"
    if hint := artists_hint(dataset):
        yield f"  {hint}"
    yield f"quarantined: {len(dataset.quarantined)}"
    for path, reason in dataset.quarantined.items():
        yield f"  {path}: {reason}"
    yield f"replicas: {len(dataset.replicas)}"
    digests = {track.id: track.digest for track in dataset.tracks}
    for names in dataset.replicas:
        equal = len({digests[name] for name in names}) == 1
        yield f"  {'the same audio' if equal else 'the same recording in another coding'}: {', '.join(names)}"
    yield "protocols:"
    for protocol, offer in offered(dataset, seed):
        sizes = (
            offer.removeprefix(f"{protocol}: ").partition("\n")[0]
            if isinstance(offer, str)
            else ", ".join(f"{size} {name}" for name, size in offer.items() if size)
        )
        yield f"  {protocol}: {sizes}"
