"""What a family's space asks of GPU memory: footprints of sampled configurations, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from harness.families import Family
from harness.files import write_atomically
from harness.hashing import short_hash
from harness.keras_backend import versions
from harness.search.space import points, space_hash
from harness.settings import cache
from harness.trials import model_probes
from harness.trials.local.fork_server import ForkServer
from harness.units import GIB, format_size

MICRO_BATCH = 8
CHUNK = 10
"""Configurations whose footprints one child estimates."""

GENRES = 10
"""As many classes as GTZAN has; a softmax more or less weighs nothing."""

CARDS = tuple(size * GIB for size in (2, 4, 8, 24))
"""Memory of the graphics cards that a space is held against, in bytes."""


def space_footprints(
    family: Family, samples: int, server: Callable[[], ForkServer], progress: Callable[[int, int], None]
) -> list[int]:
    """Return the footprints of random configurations at a micro-batch of `MICRO_BATCH` crops, in bytes.

    They are estimated once, which takes a minute or two for a space of large networks.

    Args:
        samples: how many configurations.
        server: gives the children that estimate them; not called for what is known.
        progress: told of how many configurations footprints are known, and of all.

    Raises:
        HarnessError: a model cannot be built.
    """
    file = cache() / "footprints" / f"{family.name}-{samples}-{_identity(family)}.json"
    if file.exists():
        return list(json.loads(file.read_text(encoding="utf-8")))
    configs = [config for config, _ in points(family, quick=False, count=samples)]
    chunks = [configs[start : start + CHUNK] for start in range(0, samples, CHUNK)]
    sizes: list[int] = []
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        call, estimate = server().call, model_probes.estimate_footprints
        for found in executor.map(lambda chunk: call(estimate, family.name, family.input_spec, chunk, GENRES), chunks):
            sizes += [footprint.peak(MICRO_BATCH, accumulation=1) for footprint in found]
            progress(len(sizes), samples)
    write_atomically(file, json.dumps(sizes))
    return sizes


def describe_footprints(sizes: Sequence[int]) -> str:
    """Return what a space asks of memory, against the sizes that graphics cards have, for a reader.

    Args:
        sizes: footprints of random configurations, in bytes.
    """
    smallest, median, largest = map(format_size, (min(sizes), statistics.median(sizes), max(sizes)))
    over = [f"{sum(size > card for size in sizes) / len(sizes):.0%} over {card // GIB} GiB" for card in CARDS]
    return (
        f"    footprint at micro-batch {MICRO_BATCH}: {smallest} to {largest}, median {median}; {', '.join(over)} "
        f"({len(sizes)} random configurations)\n"
    )


def _identity(family: Family) -> str:
    """Return a hash of all that the footprints depend on: the space, and the code that builds and estimates."""
    here = Path(harness.__file__).parent
    built_by = Path(sys.modules[family.build.__module__].__file__ or "")
    code = hashlib.sha256()
    for file in [*sorted((here / "models").glob("*.py")), here / "vram" / "footprint.py", built_by]:
        code.update(file.read_bytes())
    return short_hash([space_hash(family, quick=False), code.hexdigest(), versions().get("keras")])
