"""`harness data check`: what a folder holds, and which protocols it can serve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from harness.datasets.dataset import Dataset
from harness.datasets.gtzan import compare
from harness.datasets.protocols import offered
from harness.datasets.scan import Inspection, inspect
from harness.errors import DataError, combined
from harness.settings import cache
from harness.workflows.artists import artists_hint


def check_data(
    directory: Path, groups: Path | None, seed: int, progress: Callable[[str, int, int], None]
) -> Iterator[str]:
    """Yield lines on what a folder holds, what is quarantined and why, replicas, and the protocols that it can serve.

    Args:
        progress: told of the folder's name, the tracks that were read, and how many there are.

    Raises:
        DataError: the folder holds no usable data set; all that is known of it was yielded before.
    """
    found = inspect(directory, groups=groups, progress=partial(progress, directory.name), cache=cache())
    yield from _describe(found, seed)
    if found.problems:
        raise combined(found.problems)


def check_fetched(directory: Path, progress: Callable[[str, int, int], None]) -> Iterator[str]:
    """Yield the lines of `check_data`, and those on how the folder differs from the whole of GTZAN.

    Raises:
        DataError: tracks are missing or damaged that are not known to be.
    """
    found = inspect(directory, progress=partial(progress, directory.name), cache=cache())
    yield from _describe(found, seed=0)
    problems = list(found.problems)
    try:
        yield from compare(found.dataset)
    except DataError as error:
        problems.append(error)
    if problems:
        raise combined(problems)


def _describe(found: Inspection, seed: int) -> Iterator[str]:
    dataset = found.dataset
    synthetic = " (synthetic)" if dataset.synthetic else ""
    hours = sum(track.seconds for track in dataset.tracks) / 3600
    yield f"{dataset.name}{synthetic}: {len(dataset.tracks)} tracks, {len(dataset.genres)} genres, {hours:.1f} hours"
    for genre in dataset.genres:
        yield f"  {genre}: {sum(track.genre == genre for track in dataset.tracks)}"
    yield f"artists: {f'{len(dataset.group_members)}, from {dataset.groups_from}' if dataset.groups else 'unknown'}"
    if hint := artists_hint(dataset):
        yield f"  {hint}"
    for note in dataset.notes:
        yield f"note: {note}"
    if found.ignored:
        yield f"not read, since it is no audio: {', '.join(found.ignored)}"
    yield f"quarantined: {len(dataset.quarantined)}"
    for path, reason in dataset.quarantined.items():
        yield f"  {path}: {reason}"
    yield f"replicas: {len(dataset.replicas)}"
    for names in dataset.replicas:
        yield f"  {dataset.replica_reasons[names]}: {', '.join(names)}"
    yield from _protocols(dataset, seed)


def _protocols(dataset: Dataset, seed: int) -> Iterator[str]:
    if len(dataset.genres) < 2:
        yield "protocols: none, with fewer than two genres"
        return
    yield "protocols:"
    for protocol, offer in offered(dataset, seed):
        yield f"  {protocol}: {offer if isinstance(offer, str) else offer.sizes_text}"
