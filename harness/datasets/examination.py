"""Audio files are examined: what each holds, or why it cannot serve; unchanged files are not read anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.datasets.decode import CRASH_ADVICE, ContentAddress, open_blocks
from harness.datasets.fingerprint import MAX_SECONDS, fingerprint
from harness.datasets.scan_cache import SCANNED_TRACKS, Examined, ScanCache
from harness.errors import DataError
from harness.parallel import Progress, map_items
from harness.paths import storable


def examine_all(
    paths: Sequence[Path],
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[Examined | str]:
    """Return what each file holds, or why it cannot serve.

    Args:
        paths: of the files.
        cache: a folder for what files held, which is made anew at need; None for none.
        progress: told after every file how many are done, and of how many.
        workers: processes; by default as many as are worth it.

    Raises:
        DataError: a worker process died.
    """
    memory = ScanCache(cache / SCANNED_TRACKS) if cache is not None else None
    known = memory.known(paths) if memory is not None else {}
    unknown = [path for path in paths if path not in known]

    def told(done: int, total: int) -> None:
        if progress is not None:
            progress(done + len(known), total + len(known))

    found = dict(
        zip(unknown, map_items(examine, unknown, progress=told, workers=workers, advice=CRASH_ADVICE), strict=True)
    )
    if memory is not None:
        memory.remember({path: seen for path, seen in found.items() if not isinstance(seen, str)})
    return [known[path] if path in known else found[path] for path in paths]


def examine(path: Path) -> Examined | str:
    """Return what a file holds, or why it cannot serve. Runs in a worker."""
    if storable(str(path)) != str(path):
        return "its name is not UTF-8: rename it"
    try:
        rate, blocks = open_blocks(path)
        address, first, total = ContentAddress(rate), [], 0
        for block in blocks:
            address.update(block)
            # Of a track of hours, no more is kept than is looked at.
            if total < MAX_SECONDS * rate:
                first.append(block)
            total += len(block)
    except DataError as error:
        return str(error)
    return Examined(address.hexdigest(), total / rate, fingerprint(np.concatenate(first), rate))
