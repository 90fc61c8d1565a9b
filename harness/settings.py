"""What a run may be told, from the command line and from a TOML file."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.units import parse_duration, parse_size
from harness.workspace import Workspace


def _text(parse: Callable[[str], float]) -> BeforeValidator:
    """Parse text, and leave anything else to pydantic."""

    def read(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value
        except UsageError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(read)


def _some(value: Any) -> Any:
    """Take one text as a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"a text, or a list of texts, at least one, is needed, not {value!r}.")
    return value


Size = Annotated[int, _text(parse_size)]
Duration = Annotated[float, _text(parse_duration)]

QUICK_EPOCHS = 4

MUSICNN = "musicnn"
"""Names an embedding that is downloaded; others are named by their files."""


class RunSettings(BaseModel):
    """The settings of `harness run`; field names are the long options, with underscores.

    Sizes are in bytes and durations in seconds; both may be given as text (`8GiB`, `30m`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[str, ...] = ("all",)
    data: Path | None = None
    protocol: str = "auto"
    groups: Path | None = None
    trials: int = Field(default=20, ge=1)
    time_limit: Duration | None = Field(default=None, gt=0)
    trial_time_limit: Duration | None = Field(default=None, gt=0)
    epochs: int = Field(default=30, ge=1)
    vram_budget: Size = Field(default=8 * 2**30, gt=0)
    min_micro_batch: int = Field(default=8, ge=1)
    jobs: int | Literal["auto"] = 1
    seed: int = Field(default=0, ge=0)
    deterministic: bool = False
    workspace: Path = Path("workspace")
    storage: str | None = None
    tracking_uri: str | None = None
    device: str = "auto"
    skip_bad: bool = False
    embedding: Annotated[tuple[str, ...], BeforeValidator(_some)] = (MUSICNN,)
    quick: bool = False
    dry_run: bool = False

    def portable(self) -> RunSettings:
        """Return the same settings with paths that hold in any working directory."""
        paths = {name: getattr(self, name) for name in ("data", "groups", "workspace")}
        known: dict[str, Any] = {name: path.resolve() for name, path in paths.items() if path is not None}
        known["embedding"] = tuple(each if each == MUSICNN else str(Path(each).resolve()) for each in self.embedding)
        if self.protocol.lower().endswith(".csv"):
            return self.model_copy(update={**known, "protocol": str(Path(self.protocol).resolve())})
        return self.model_copy(update=known)

    @property
    def storage_url(self) -> str:
        """Where Optuna keeps the studies; a file in the workspace unless told otherwise."""
        return self.storage or Workspace(self.workspace).optuna_url

    @property
    def tracking(self) -> str:
        """Where MLflow keeps the runs; a file in the workspace unless told otherwise."""
        return self.tracking_uri or Workspace(self.workspace).mlflow_url


def cache() -> Path:
    """Return the folder for what can be made anew, shared by all workspaces of a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness"


def run_settings(options: Mapping[str, Any], config: Path | None = None) -> RunSettings:
    """Put settings together: defaults, then `--quick`'s, then the file, then the command line.

    Args:
        options: what the command line set; values of None were not set.
        config: a TOML file whose keys are the names of the settings.

    Raises:
        UsageError: the file cannot be read, or a setting is unknown or out of range.
    """
    given = {key: value for key, value in options.items() if value is not None}
    stored = _read(config) if config is not None else {}
    merged = {**stored, **given}
    if merged.get("quick"):
        merged = {"trials": 3, "epochs": QUICK_EPOCHS, **merged}
    try:
        settings = RunSettings.model_validate(merged)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]) if problem["loc"] else ""
        where = f"{config}: {name}" if config is not None and name in stored and name not in given else _option(name)
        reason, got = problem["msg"].removeprefix("Value error, "), problem["input"]
        raise UsageError(f"{where}: {reason if reason.endswith('.') else f'{reason}, not {got!r}.'}") from error
    if isinstance(settings.jobs, int) and settings.jobs < 1:
        raise UsageError(f"--jobs {settings.jobs}: at least one trial must run. Give a positive number, or auto.")
    return settings


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: not valid TOML ({error}).") from error
    known = set(RunSettings.model_fields) - {"families"}
    for key in stored:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{path}: no setting is called {key!r}.{hint} There are: {', '.join(sorted(known))}.")
    return stored
