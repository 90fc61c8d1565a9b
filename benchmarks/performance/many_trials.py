"""What grows with the number of trials: the report, taking up a run again, and the search's own work for a trial."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from benchmarks.performance.contenders import Contenders
from benchmarks.performance.row import (
    Aim,
    Contender,
    Figures,
    Lines,
    Measured,
    Picture,
    Row,
    Setting,
    median_of,
    ratio_of,
)
from benchmarks.performance.workspaces import EPOCHS, MAKE
from harness.units import MIB

_HERE = ("python", "-m", "benchmarks.performance.many_trials")
_FAMILY = "cnn2d-mfcc"
_REPORT, _RESUME = "`harness report`", "`harness run` to its first new trial"

contenders = Contenders()


def rows(setting: Setting) -> tuple[Row, ...]:
    small, copied = str(setting.folder / "workspace"), str(setting.folder / "copy")
    most = setting.size(10_000, 100)
    large = str(setting.folder / f"workspace-{most}")
    counts = [100] if setting.quick else [100, 1_000, most]
    made_up = {count: str(setting.folder / f"made-up-{count}") for count in counts}
    ten_thousand = Row(
        name="many",
        contenders=(
            Contender(_REPORT, ("harness", "report", "--workspace", large), prints=False),
            Contender(
                _RESUME,
                (*_HERE, "resume", copied, setting.music, "--trials", str(most)),
                before=((*MAKE, "copy", large, copied),),
            ),
            Contender("an import of MLflow", ("python", "-c", "import mlflow"), prints=False),
        ),
        columns={
            "cpu_seconds": "CPU of all",
            "driver_cpu_seconds": "CPU of the command's process",
            "driver_rss_bytes": "its memory at most",
            "peak_rss_bytes": "the largest process",
        },
        aims=(
            Aim("CPU of the report", median_of(_REPORT, "cpu_seconds"), at_most=4, unit="s"),
            Aim(
                "CPU to the first ask, without MLflow",
                median_of(_RESUME, "driver_cpu_seconds"),
                at_most=5,
                unit="s",
            ),
            Aim(
                "memory there, without MLflow",
                lambda found: found.median(_RESUME, "driver_rss_bytes") / MIB,
                at_most=300,
                unit="MiB",
            ),
        ),
        rounds=3,
        prepare=(
            setting.make_music,
            (*MAKE, "run", small, setting.music, setting.families),
            (*MAKE, "fill", large, small, str(most), _FAMILY),
        ),
    )
    asks = str(setting.size(20, 3))
    sampling = Row(
        name="sampling",
        contenders=(
            *(
                Contender(
                    _ours(count),
                    (*_HERE, "sample", copied, "--trials", asks),
                    before=((*MAKE, "copy", folder, copied),),
                )
                for count, folder in made_up.items()
            ),
            *(
                Contender(
                    _theirs(count),
                    ("python", "-m", "benchmarks.peers.optuna_sampling", "--finished", str(count), "--asks", asks),
                )
                for count in made_up
            ),
        ),
        columns={
            "trial_cpu_seconds[0]": "CPU a trial",
            "ask_cpu_seconds": "of that, to its start",
            "report_cpu_seconds": "an epoch's report",
        },
        aims=(
            *(_beside_optuna(count) for count in counts),
            _growing("a trial", "trial_cpu_seconds[0]", counts),
            _growing(
                "an epoch's report",
                "report_cpu_seconds",
                counts,
                "Optuna's median pruner looks at all trials that ended.",
            ),
        ),
        rounds=3,
        prepare=tuple((*MAKE, "made-up", folder, str(count)) for count, folder in made_up.items()),
        picture=Picture("trials that ended", "CPU seconds a trial", lambda found: _growth(found, counts), log=True),
    )
    return ten_thousand, sampling


def _beside_optuna(count: int) -> Aim:
    said = f"CPU of a trial after {count:,}, in times Optuna's own"
    return Aim(said, ratio_of("trial_cpu_seconds[0]", _ours(count), _theirs(count)), at_most=1.25)


def _growing(what: str, figure: str, counts: Sequence[int], why_missed: str = "") -> Aim:
    most, fewer = counts[-1], counts[max(0, len(counts) - 2)]
    said = f"CPU of {what} after {most:,}, in times that after {fewer:,}, ours"
    return Aim(said, ratio_of(figure, _ours(most), _ours(fewer)), at_most=1.25, why_missed=why_missed)


def _ours(count: int) -> str:
    return f"harness after {count:,}"


def _theirs(count: int) -> str:
    return f"Optuna after {count:,}"


def _growth(found: Measured, counts: Sequence[int]) -> Lines:
    return {
        name: (counts, [found.median(called(count), "trial_cpu_seconds[0]") for count in counts])
        for name, called in (("harness", _ours), ("Optuna alone", _theirs))
    }


@contenders.command()
def resume(workspace: Path, music: Path, trials: int = 10_000) -> Figures:
    """Take a run up again whose trials all ended, to the start of one more."""
    from benchmarks.performance.workspaces import settings
    from harness.events import Event, TrialStarted
    from harness.families import families
    from harness.tracking.base import NullTracker
    from harness.workflows import run

    found: dict[str, float] = {}

    def notify(event: Event) -> None:
        if isinstance(event, TrialStarted):
            found["driver_cpu_seconds"] = time.process_time()
            found["driver_rss_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            raise KeyboardInterrupt

    # MLflow would be told of trials that were made up, in another thread of this process.
    run.open_tracker = lambda *arguments: NullTracker()  # type: ignore[attr-defined]
    with suppress(KeyboardInterrupt):
        run.run(settings(workspace, music, [_FAMILY], trials + 1), [families()[_FAMILY]], notify)
    if not found:
        raise RuntimeError(f"no trial started in {workspace}")
    return found


@contenders.command()
def sample(workspace: Path, trials: int = 20) -> Figures:
    """Run more trials of the one study of a workspace, which train nothing; medians of a trial."""
    from benchmarks.performance.searches import open_search
    from harness.events import EpochFinished, Event, TrialFinished, TrialStarted
    from harness.families import families
    from harness.testing.records import study_config
    from harness.tracking.ledger import Ledger
    from harness.workspace import Workspace

    ledger = Ledger(Workspace(workspace))
    (record,) = ledger.studies()
    moments: list[tuple[type[Event], float]] = []
    open_search(
        study_config(record, family=families()[record.family], trials=len(ledger.trials(record.name)) + trials),
        ledger,
        lambda epoch: 0.8 * epoch / EPOCHS,
        notify=lambda event: moments.append((type(event), time.thread_time())),
    ).run()
    pairs = list(pairwise(moments))

    def between(first: type[Event], then: type[Event]) -> list[float]:
        """Return the seconds from each event of a kind to the next one, where that is of another kind."""
        return [after[1] - before[1] for before, after in pairs if (before[0], after[0]) == (first, then)]

    asks, reports = between(TrialFinished, TrialStarted), between(EpochFinished, EpochFinished)
    # The last report is in it, too; it is one of many.
    ends = between(EpochFinished, TrialFinished)
    ask, end = statistics.median(asks), statistics.median(ends)
    return {
        "trial_cpu_seconds": [ask + end],
        "ask_cpu_seconds": ask,
        "report_cpu_seconds": statistics.median(reports),
    }


if __name__ == "__main__":
    contenders.print_figures()
