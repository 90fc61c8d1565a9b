"""What a run may be told, in groups: the one source of options, of the keys of a TOML file, and of their help.

A setting has one name everywhere: the long option with underscores. Each part of the program is given the groups that
are its own.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

from harness.addresses import Address, check_tracking_uri, without_tilde
from harness.caches import user_cache
from harness.errors import UsageError
from harness.units import parse_duration, parse_size
from harness.workspace import Workspace

_FROM_USER = "from user"
"""In the context of a validation: the values are a user's, so that a number needs its unit; records hold bare ones."""


def _text(parse: Callable[[str], float]) -> BeforeValidator:
    """Parse text, and leave anything else to pydantic, but for a user's number without a unit."""

    def read(value: Any, info: ValidationInfo) -> Any:
        bare = isinstance(value, int | float) and _FROM_USER in (info.context or ())
        return _checked(parse)(str(value) if bare else value) if bare or isinstance(value, str) else value

    return BeforeValidator(read)


def _checked(check: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Make a check of a text one of pydantic's."""

    def read(value: Any) -> Any:
        try:
            return check(value) if isinstance(value, str) else value
        except UsageError as error:
            raise ValueError(str(error)) from error

    return read


def _some(value: Any) -> Any:
    """Take one text as a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"a text, or a list of texts, at least one, is needed, not {value!r}.")
    return value


def _count(value: Any) -> Any:
    """Take a number from text, and refuse less than one."""
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        value = int(value)
    if isinstance(value, int) and value < 1:
        raise ValueError(f"{value} trials at once are too few. Give a positive number, or auto.")
    return value


Size = Annotated[int, _text(parse_size)]
Duration = Annotated[float, _text(parse_duration)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_some)]
TrackingUri = Annotated[Address, BeforeValidator(_checked(check_tracking_uri))]
Jobs = Annotated[int | Literal["auto"], BeforeValidator(_count)]

MAX_SEED = 2**32 - 1
"""The largest that NumPy's old generator takes, which scikit-learn draws from."""

MUSICNN = "musicnn"
"""Names an embedding that is downloaded; others are named by their files."""


@dataclass(frozen=True)
class Shown:
    """How a setting looks as an option, and what `--quick` makes of it.

    Attributes:
        metavar: stands for its value in a help text; None for the name of its type.
        quick: its default with `--quick`; None for the same.
    """

    metavar: str | None = None
    quick: int | None = None


class Settings(BaseModel):
    """Base of all groups: immutable, and strict about unknown names. Sizes are in bytes, durations in seconds.

    Users give both as text with a unit (`8GiB`, `30m`). The description of a field is the help of its option, to which
    the command line adds the default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class DatasetSettings(Settings):
    """The music, and how it is split."""

    data: Path | None = Field(default=None, description="Folder of genre folders. (default: the synthetic set)")
    protocol: str = Field(default="auto", description="auto, random, fault_filtered, group, kfold:K or FILE.csv.")
    groups: Annotated[Path | None, Shown("FILE.csv")] = Field(default=None, description="Artists: track,artist.")
    skip_bad: bool = Field(default=False, description="Go on without unusable files.")
    embedding: Annotated[Texts, Shown("FILE|musicnn")] = Field(
        default=(MUSICNN,), description="What `pretrained` embeds with: YAMNet's .tflite, a SavedModel's folder, …"
    )


class SearchSettings(Settings):
    """How much is tried, and from which seed."""

    trials: Annotated[int, Shown(quick=3)] = Field(default=20, ge=1, description="Total of trials a family.")
    time_limit: Annotated[Duration | None, Shown("30m")] = Field(
        default=None, gt=0, description="For all families; split evenly."
    )
    trial_time_limit: Annotated[Duration | None, Shown("5m")] = Field(
        default=None, gt=0, description="Training time of one trial."
    )
    epochs: Annotated[int, Shown(quick=4)] = Field(default=30, ge=1, description="Most epochs a trial.")
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Another one, another search.")
    deterministic: bool = Field(default=False, description="Same bits on every run.")
    quick: bool = Field(default=False, description="Small spaces, few epochs, for two cores.")


class BudgetSettings(Settings):
    """What a trial may take of a device."""

    # As text, so that the help shows it as it is written.
    vram_budget: Annotated[Size, Shown("8GiB")] = Field(
        default="8GiB", gt=0, validate_default=True, description="Most GPU memory that a trial may hold."
    )
    min_micro_batch: int = Field(default=8, ge=1, description="Smallest micro-batch.")


class ComputeSettings(Settings):
    """Where trials run, and how many at once."""

    device: Annotated[str, Shown("auto|cpu|gpu:N")] = Field(default="auto", description="What trials compute on.")
    jobs: Annotated[Jobs, Shown("N|auto")] = Field(default=1, description="Trials at once.")


class StoreSettings(Settings):
    """Where results are kept."""

    workspace: Path = Field(default=Path("workspace"), description="Folder with everything a benchmark produced.")
    storage: Annotated[Address | None, Shown("URL")] = Field(
        default=None, description="Storage of Optuna's that is told of the search, too."
    )
    tracking_uri: Annotated[TrackingUri | None, Shown("URI")] = Field(
        default=None, description="MLflow's server or store."
    )

    @property
    def place(self) -> Workspace:
        return Workspace(self.workspace)

    @property
    def mlflow_uri(self) -> str:
        """Where MLflow keeps the runs; a file in the workspace unless told otherwise."""
        return self.tracking_uri or self.place.mlflow_url


class RunSettings(Settings):
    """The settings of `harness run`; made from their flat names, kept in groups."""

    families: tuple[str, ...] = ("all",)
    dry_run: bool = Field(default=False, description="Show the plan; train nothing.")
    dataset: DatasetSettings = Field(default_factory=DatasetSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    budget: BudgetSettings = Field(default_factory=BudgetSettings)
    compute: ComputeSettings = Field(default_factory=ComputeSettings)
    stores: StoreSettings = Field(default_factory=StoreSettings)

    @model_validator(mode="before")
    @classmethod
    def _grouped(cls, values: Any) -> Any:
        """Put flat names into their groups."""
        if not isinstance(values, Mapping):
            return values
        rest = dict(values)
        for group, kind in GROUPS.items():
            own = {name: rest.pop(name) for name in tuple(rest) if name in kind.model_fields}
            if own:
                rest[group] = {**rest.get(group, {}), **own}
        return rest

    def portable(self) -> RunSettings:
        """Return the same settings with paths that hold in any working directory."""
        music = self.dataset
        known: dict[str, Any] = {
            "data": music.data.resolve() if music.data is not None else None,
            "groups": music.groups.resolve() if music.groups is not None else None,
            "embedding": tuple(each if each == MUSICNN else str(Path(each).resolve()) for each in music.embedding),
        }
        if music.protocol.lower().endswith(".csv"):
            known["protocol"] = str(Path(music.protocol).resolve())
        dataset = music.model_copy(update=known)
        return self.model_copy(update={"dataset": dataset, "stores": self.moved(self.stores.workspace.resolve())})

    def moved(self, workspace: Path) -> StoreSettings:
        """Return where results are kept, for a workspace as it lies now."""
        return self.stores.model_copy(update={"workspace": workspace})


GROUPS: dict[str, type[Settings]] = {
    "dataset": DatasetSettings,
    "search": SearchSettings,
    "budget": BudgetSettings,
    "compute": ComputeSettings,
    "stores": StoreSettings,
}
"""The groups of `RunSettings`, by the names of their fields."""


def setting_fields() -> dict[str, FieldInfo]:
    """Return the fields of all settings but the families, by their flat names, in the order of the help."""
    found = {name: field for kind in GROUPS.values() for name, field in kind.model_fields.items()}
    return {**found, "dry_run": RunSettings.model_fields["dry_run"]}


def shown(field: FieldInfo) -> Shown:
    """Return how a setting looks as an option."""
    return next((each for each in field.metadata if isinstance(each, Shown)), Shown())


def cache() -> Path:
    """Return the folder for what can be made anew, shared by all workspaces of a user."""
    return user_cache() / "harness"


def run_settings(options: Mapping[str, Any], config: Path | None = None) -> RunSettings:
    """Put settings together: defaults, then `--quick`'s, then the file, then the command line; see `without_tilde`.

    Args:
        options: what the command line set, by flat names; values of None were not set.
        config: a TOML file whose keys are the flat names of settings.

    Raises:
        UsageError: the file cannot be read, or a setting is unknown or out of range.
    """
    given = {key: value for key, value in options.items() if value is not None}
    _check_names(name for name in given if name != "families")
    config = without_tilde(config)
    stored = _read(config) if config is not None else {}
    merged = {**stored, **given}
    if merged.get("quick"):
        small = {name: shown(field).quick for name, field in setting_fields().items()}
        merged = {**{name: value for name, value in small.items() if value is not None}, **merged}
    try:
        return RunSettings.model_validate({key: without_tilde(merged[key]) for key in merged}, context={_FROM_USER})
    except ValidationError as error:
        problem = error.errors()[0]
        place = [str(part) for part in problem["loc"] if part not in GROUPS]
        name = place[0] if place else ""
        where = f"{config}: {name}" if config is not None and name in stored and name not in given else _option(name)
        reason, got = problem["msg"].removeprefix("Value error, "), problem["input"]
        raise UsageError(f"{where}: {reason if reason.endswith('.') else f'{reason}, not {got!r}.'}") from error


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: not valid TOML ({error}).") from error
    _check_names(stored, f"{path}: ")
    return stored


def _check_names(names: Iterable[str], where: str = "") -> None:
    """Make sure that all names are those of settings.

    Raises:
        UsageError: one is not; the message begins with `where`, and suggests the nearest.
    """
    known = sorted(setting_fields())
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{where}no setting is called {name!r}.{hint} There are: {', '.join(known)}.")
