"""Answers that need no run: which families there are, what will be measured, what a data set can serve."""

from __future__ import annotations

import inspect
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness.datasets.dataset import Dataset
from harness.datasets.gtzan import compare
from harness.datasets.protocols import offered
from harness.datasets.scan import scan
from harness.families import Family, families
from harness.search.footprints import MICRO_BATCH, space_footprints
from harness.search.space import distributions
from harness.trials.pool import Pool
from harness.units import GIB, format_size

CARDS = tuple(size * GIB for size in (2, 4, 8, 24))
"""Memory of the graphics cards that a space is held against, in bytes."""


def describe_families(as_json: bool, samples: int, progress: Callable[[str, int, int], None]) -> Iterator[str]:
    """Yield every family with its input, its baseline, its space and its footprints, for a reader or as JSON lines.

    Args:
        samples: configurations of each family whose footprints are shown.
        progress: told of a family's name, the configurations whose footprints are known, and how many there will be.
    """
    with ExitStack() as stack:
        pool = cache(lambda: stack.enter_context(closing(Pool())))
        for family in families().values():
            described = _describe(family)
            if not as_json:
                yield _paragraph(described)
            sizes = space_footprints(family, samples, pool, partial(progress, family.name))
            yield json.dumps({**described, "footprint_bytes": sorted(sizes)}) if as_json else _reach(sizes)


PAGE = """\
# Families

<!-- Made from the code: harness families --markdown > docs/families.md -->

A family is an architecture with its input, its search space, and its baseline: the configuration that its original
author published, which is always trial 0. A hyperparameter with no baseline (–) is there only beside some values of
others. The small spaces of `--quick` lie within the full ones.

What a space asks of GPU memory is shown by `harness families`; it is reckoned, which takes minutes, once. How to add a
family: [CONTRIBUTING.md](../CONTRIBUTING.md#adding-a-family).
"""


def families_page() -> str:
    """Return a page of documentation on all families, without what their spaces ask of memory."""
    return "\n".join([PAGE, *map(_section, families().values())])


def _section(family: Family) -> str:
    about = inspect.getdoc(inspect.getmodule(family.build)) or f"{family.description}."
    full, quick = _describe(family)["space"], _describe(family, quick=True)["space"]
    rows = [
        f"| `{name}` | {family.baseline.get(name, '–')} | {reach.replace(' | ', ', ')} "
        f"| {'same' if quick.get(name) == reach else quick.get(name, '–').replace(' | ', ', ')} |"
        for name, reach in full.items()
    ]
    facts = [f"Input: {family.view.describe()}."]
    if family.published is not None:
        facts.append(
            f"Published: accuracy {100 * family.published.accuracy:.0f} %, macro F1 {family.published.macro_f1:.2f}, "
            f"on a split of the author's own; named limitation: {family.published.limitation}."
        )
    if family.optional:
        facts.append("Optional: `run all` leaves it out.")
    table = ["| hyperparameter | baseline | space | with `--quick` |", "| --- | --- | --- | --- |", *rows]
    return "\n".join([f"## {family.name}", "", about, "", *(f"- {fact}" for fact in facts), "", *table, ""])


def _describe(family: Family, quick: bool = False) -> dict[str, Any]:
    return {
        "family": family.name,
        "description": family.description,
        "input": family.view.describe(),
        "optional": family.optional,
        "baseline": dict(family.baseline),
        "space": {name: _range(part) for name, part in distributions(family, quick).items()},
    }


def _reach(sizes: Sequence[int]) -> str:
    """Return what a space asks of memory, against the sizes that graphics cards have."""
    smallest, median, largest = map(format_size, (min(sizes), statistics.median(sizes), max(sizes)))
    over = [f"{sum(size > card for size in sizes) / len(sizes):.0%} over {card // GIB} GiB" for card in CARDS]
    return (
        f"    footprint at micro-batch {MICRO_BATCH}: {smallest} to {largest}, median {median}; {', '.join(over)} "
        f"({len(sizes)} random configurations)\n"
    )


def _range(distribution: Any) -> str:
    """Return a distribution for a reader: `16 to 64 by 8`, `0.0001 to 0.003 (log)`, `flatten | average | max`."""
    if hasattr(distribution, "choices"):
        return " | ".join(map(str, distribution.choices))
    step = f" by {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{step}{' (log)' if distribution.log else ''}"


def _paragraph(described: dict[str, Any]) -> str:
    names = described["space"]
    width = max(map(len, names))
    rows = [
        f"    {name:{width}}  {described['baseline'].get(name, '–')!s:>10}  {reach}" for name, reach in names.items()
    ]
    head = f"{described['family']}: {described['description']}\n  input {described['input']}"
    return "\n".join([head, f"    {'hyperparameter':{width}}  {'baseline':>10}  space", *rows])


def check_data(
    directory: Path, groups: Path | None, seed: int, progress: Callable[[str, int, int], None]
) -> Iterator[str]:
    """Yield lines on what a folder holds, what is quarantined and why, replicas, and the protocols that it can serve.

    Args:
        progress: told of the folder's name, the tracks that were read, and how many there are.

    Raises:
        DataError: the folder holds no usable data set.
    """
    yield from _holds(scan(directory, skip_bad=True, groups=groups, progress=partial(progress, directory.name)), seed)


def check_fetched(directory: Path, progress: Callable[[str, int, int], None]) -> Iterator[str]:
    """Yield the lines of `check_data`, and those on how the folder differs from the whole of GTZAN.

    Raises:
        DataError: tracks are missing or damaged that are not known to be.
    """
    dataset = scan(directory, skip_bad=True, progress=partial(progress, directory.name))
    yield from _holds(dataset, seed=0)
    yield from compare(dataset)


def _holds(dataset: Dataset, seed: int) -> Iterator[str]:
    synthetic = " (synthetic)" if dataset.synthetic else ""
    hours = sum(track.seconds for track in dataset.tracks) / 3600
    yield f"{dataset.name}{synthetic}: {len(dataset.tracks)} tracks, {len(dataset.genres)} genres, {hours:.1f} hours"
    for genre in dataset.genres:
        yield f"  {genre}: {sum(track.genre == genre for track in dataset.tracks)}"
    yield f"artists: {len(set(dataset.groups.values())) if dataset.groups else 'unknown'}"
    yield f"quarantined: {len(dataset.quarantined)}"
    for path, reason in dataset.quarantined.items():
        yield f"  {path}: {reason}"
    yield f"replicas: {len(dataset.replicas)}"
    for names in dataset.replicas:
        yield f"  the same audio: {', '.join(names)}"
    yield "protocols:"
    for protocol, offer in offered(dataset, seed):
        sizes = (
            offer.removeprefix(f"{protocol}: ").partition("\n")[0]
            if isinstance(offer, str)
            else ", ".join(f"{size} {name}" for name, size in offer.items() if size)
        )
        yield f"  {protocol}: {sizes}"
