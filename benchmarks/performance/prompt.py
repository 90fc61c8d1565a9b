"""From the prompt to the answer: whole commands, as a user waits for them."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.performance.row import Aim, Contender, Measured, Row, Setting, median_of
from benchmarks.performance.workspaces import MAKE

_TENSORFLOW = "an import of TensorFlow"
_HELP, _DOCTOR, _REPORT, _PREDICT = (f"`harness {name}`" for name in ("--help", "doctor", "report", "predict"))
_FIRST, _AGAIN = "`harness data check`, 1,000 tracks", "the same, a second time"
_COLUMNS = {"cpu_seconds": "CPU", "wall_seconds": "wall", "first_line_seconds": "wall to the first line"}


def rows(setting: Setting) -> tuple[Row, ...]:
    small, ordinary = str(setting.folder / "workspace"), str(setting.folder / "workspace-ordinary")
    many = setting.many_tracks
    song = f"{many}/genre0/genre0.00000.wav"
    fresh = {"XDG_CACHE_HOME": str(setting.folder.resolve() / "cache-fresh")}
    prompt = Row(
        name="prompt",
        contenders=(
            Contender(_HELP, ("harness", "--help"), prints=False),
            Contender(_DOCTOR, ("harness", "doctor"), prints=False),
            Contender(_REPORT, ("harness", "report", "--workspace", ordinary), prints=False),
            Contender(_PREDICT, ("harness", "predict", song, "--workspace", small), prints=False),
            *setting.full(Contender(_TENSORFLOW, ("python", "-c", "import tensorflow"), prints=False)),
        ),
        columns=_COLUMNS,
        aims=(
            _most("wall of `--help`", median_of(_HELP, "wall_seconds"), 0.3),
            _most("wall to the first line of `doctor`", median_of(_DOCTOR, "first_line_seconds"), 1),
            _most("wall of `doctor`, beyond an import of TensorFlow", lambda found: _beyond(found, _DOCTOR), 3),
            _most("wall of `report`", median_of(_REPORT, "wall_seconds"), 2),
            _most("wall of `predict`, beyond an import of TensorFlow", lambda found: _beyond(found, _PREDICT), 3),
        ),
        prepare=(
            setting.make_music,
            (*MAKE, "run", small, setting.music, setting.families),
            (*MAKE, "fill", ordinary, small, str(setting.size(20, 4)), setting.families),
            setting.make_many,
        ),
    )
    check = Row(
        name="check",
        contenders=(
            Contender(
                _FIRST,
                ("harness", "data", "check", many),
                prints=False,
                environment=fresh,
                before=(("rm", "-rf", fresh["XDG_CACHE_HOME"]),),
            ),
            Contender(_AGAIN, ("harness", "data", "check", many), prints=False, environment=fresh),
        ),
        columns=_COLUMNS,
        aims=(
            _most("the first time", median_of(_FIRST, "wall_seconds"), 20),
            _most("the second time", median_of(_AGAIN, "wall_seconds"), 2),
        ),
        rounds=3,
        prepare=(setting.make_music, setting.make_many),
    )
    tests = Row(
        name="tests",
        contenders=(Contender("`make test`", ("make", "test"), prints=False),),
        columns=_COLUMNS,
        aims=(_most("wall", lambda found: found.median("`make test`", "wall_seconds") / 60, 8, "min"),),
        rounds=1,
        by_default=False,
    )
    return prompt, check, tests


def _most(what: str, value: Callable[[Measured], float], limit: float, unit: str = "s") -> Aim:
    return Aim(what, value, at_most=limit, unit=unit)


def _beyond(found: Measured, contender: str) -> float:
    """Return how many seconds more a user waits for a command than for an import of TensorFlow."""
    return found.median(contender, "wall_seconds") - found.median(_TENSORFLOW, "wall_seconds")
