"""Memory: of a run that goes through many trials, and of a trial beside a data set that grows."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.performance.contenders import Contenders
from benchmarks.performance.processes import PEERS
from benchmarks.performance.row import Aim, Contender, Lines, Measured, Picture, Row, Setting, ratio_of
from harness.units import MIB

_HERE = ("python", "-m", "benchmarks.performance.memory")
_OURS, _TUNER, _LOOP = "harness", "KerasTuner, random search", "Optuna in one process"
_FEW, _MANY = "1,000 tracks", "20,000 tracks"

contenders = Contenders()


def rows(setting: Setting) -> tuple[Row, ...]:
    trials = str(setting.size(30, 2))
    crops = str(setting.folder / "crops.npz")
    peer = ("--crops", crops, "--trials", trials)
    run = Row(
        name="memory",
        contenders=(
            Contender(_OURS, (*_HERE, "run", setting.music, "--trials", trials)),
            Contender(_TUNER, (PEERS, "-m", "benchmarks.peers.keras_tuner_search", *peer)),
            Contender(_LOOP, (PEERS, "-m", "benchmarks.peers.optuna_loop", *peer)),
        ),
        columns={
            "rss_bytes[0]": "after the first trial",
            "rss_bytes[-1]": "after the last",
            "driver_bytes": "of that, the driver",
            "cpu_seconds": "CPU of all",
        },
        aims=(Aim("memory after the last trial, in times that after the tenth", _growth, at_most=1.05),),
        rounds=2,
        prepare=(setting.make_music, ("python", "-m", "benchmarks.performance.music", "crops", crops, setting.music)),
        picture=Picture("trials that ended", "MiB held by all processes", _courses),
        in_quick=False,
    )
    tracks = Row(
        name="tracks",
        contenders=setting.few(
            Contender(_FEW, (*_HERE, "trial", "--tracks", str(setting.size(1_000, 100)))),
            Contender(_MANY, (*_HERE, "trial", "--tracks", "20000")),
        ),
        columns={
            "anonymous_bytes": "anonymous",
            "private_bytes": "of that, its own alone",
            "cpu_seconds": "CPU of all",
        },
        aims=(
            Aim(
                "anonymous memory at 20,000 tracks, in times that at 1,000",
                ratio_of("anonymous_bytes", _MANY, _FEW),
                at_most=1.05,
            ),
        ),
        rounds=2,
    )
    return run, tracks


@contenders.command()
def run(music: Path, trials: int = 30) -> dict[str, Any]:
    """Search with one epoch a trial, and return what all processes held at the end of each."""
    from benchmarks.performance.workspaces import settings
    from harness.events import EpochFinished, Event
    from harness.families import family
    from harness.workflows.run import run as run_benchmark

    held: list[tuple[int, int]] = []

    def notify(event: Event) -> None:
        if isinstance(event, EpochFinished):
            driver = psutil.Process()
            shares = [process.memory_full_info().pss for process in (driver, *driver.children(recursive=True))]
            held.append((sum(shares), shares[0]))

    with TemporaryDirectory() as folder:
        chosen = settings(Path(folder), music, ["cnn2d-mfcc"], trials)
        run_benchmark(chosen, [family("cnn2d-mfcc")], notify)
    return {"rss_bytes": [everything for everything, _ in held], "driver_bytes": held[-1][1]}


@contenders.command()
def trial(tracks: int = 1_000) -> dict[str, Any]:
    """Train an epoch in a child, and return what it held at the end of it."""
    from benchmarks.gpu.trials import Bench, Point, Size, open_backend, short_job
    from harness.families import family
    from harness.features.extract import N_ROWS, n_frames
    from harness.features.fold import LabelledTrack
    from harness.trials.backend import run_to_end
    from harness.units import GIB
    from harness.vram.slots import CPU_SLOT

    mfcc, valid = family("cnn2d-mfcc"), 50
    with TemporaryDirectory(dir="build") as folder:
        bench = Bench(open_backend(Path(folder)), CPU_SLOT, Path(folder), Size(valid=valid, steps=tracks, seconds=1e6))
        digests = _store_of_links(bench.store.root, tracks + valid, (N_ROWS, n_frames(30 * 22_050)))
        bench.tracks = tuple(LabelledTrack(name, name, number % 10) for number, name in enumerate(digests))
        spec = short_job(bench, Point(mfcc, "narrow", {**mfcc.baseline, "width": 16, "dense_units": 0}), 8, GIB)
        found: dict[str, int] = {}
        run_to_end(bench.backend, spec, CPU_SLOT, lambda event: _read_child(found))
        bench.backend.close()
    return found


def _store_of_links(root: Path, tracks: int, shape: tuple[int, int]) -> list[str]:
    """Make a store of so many tracks, of which fifty are stored and the others are links to them."""
    import numpy as np

    from harness.features.store import FeatureStore

    store, generator, stored = FeatureStore(root), np.random.default_rng(0), 50
    digests = [f"{number:06d}" for number in range(tracks)]
    waveform = generator.integers(-(2**12), 2**12, (shape[1] - 1) * 512, np.int16)
    for digest in digests[:stored]:
        store.put(digest, generator.normal(size=shape).astype(np.float32), waveform)
    files = {digest: [*root.rglob(f"{digest}.*")] for digest in digests[:stored]}
    for place, digest in enumerate(digests[stored:]):
        for file in files[digests[place % stored]]:
            link = file.parent.parent / digest[:2] / file.name.replace(digests[place % stored], digest)
            link.parent.mkdir(exist_ok=True)
            os.link(file, link)
    return digests


def _read_child(found: dict[str, int]) -> bool:
    """Read the memory of the one child of the fork server, which waits."""
    (child,) = [each for each in psutil.Process().children(recursive=True) if each.ppid() != os.getpid()]
    lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    found["anonymous_bytes"], found["private_bytes"] = 1024 * kib["Anonymous"], 1024 * kib["Private_Dirty"]
    return True


def _growth(found: Measured) -> float:
    course = found.course(_OURS, "rss_bytes")
    return course[-1] / course[9]


def _courses(found: Measured) -> Lines:
    courses = {name: found.course(name, "rss_bytes") for name in (_OURS, _TUNER, _LOOP)}
    return {
        name: (range(1, len(course) + 1), [size / MIB for size in course]) for name, course in courses.items() if course
    }


if __name__ == "__main__":
    contenders.print_figures()
