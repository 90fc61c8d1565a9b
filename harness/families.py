"""What a family is, and how it is found.

A family is a module-level `Family` that an entry point of the group `harness.families` names; any
installed package may add one. This module knows no family by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import FamilyError
from harness.features.input_spec import InputSpec
from harness.models import Config, ModelInputs
from harness.records.study import Published

if TYPE_CHECKING:
    import keras

GROUP = "harness.families"


class Suggest(Protocol):
    """The part of an Optuna trial that a space may use."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


@dataclass(frozen=True)
class Family:
    """An architecture with its input, its search space and its baseline.

    Attributes:
        name: as in the command line and the entry point.
        description: one line for readers.
        input_spec: the part of the stored features, or the waveform, that a crop holds; of a family on embeddings, an
            example of those that may be available.
        space: suggests every hyperparameter and returns them by name, nothing else; `quick=True` asks for the small
            space of `--quick`, which lies within the full one, and still contains the baseline. That of a family on
            embeddings takes the names of those available as `embeddings`, and suggests one of them as `embedding`.
        baseline: the original author's configuration, a point of both spaces; always trial 0.
        build: configuration and shapes to an uncompiled `keras.Model` that answers with probabilities.
        published: the original author's scores, if there are any.
        optional: left out of `run all`.
        uses_augmented_copies: whether its full space may suggest `variant_share`, so that it trains on augmented copies
            of tracks; False spares extracting them. The small space of `--quick` never does.
        embeddings: the input specs that `embedding` chooses among, by name.
    """

    name: str
    description: str
    input_spec: InputSpec
    space: Callable[[Suggest, bool], Config]
    baseline: Config
    build: Callable[[Config, ModelInputs], keras.Model]
    published: Published | None = None
    optional: bool = False
    uses_augmented_copies: bool = True
    embeddings: Mapping[str, InputSpec] = field(default_factory=dict)

    @property
    def on_embeddings(self) -> bool:
        """Whether it needs to be told which embeddings are available."""
        return self.input_spec.kind == "embedding"

    @property
    def input_specs(self) -> tuple[InputSpec, ...]:
        """What its configurations may see."""
        return tuple(self.embeddings.values()) or (self.input_spec,)

    def input_spec_of(self, config: Config) -> InputSpec:
        """Return what a configuration sees."""
        return self.embeddings[config["embedding"]] if self.embeddings else self.input_spec

    def with_embeddings(self, embeddings: Mapping[str, InputSpec]) -> Family:
        """Return a family on embeddings with those that are available; the baseline takes the first."""
        names = tuple(embeddings)
        space: Callable[..., Config] = self.space
        return replace(
            self,
            space=partial(space, embeddings=names),
            baseline={**self.baseline, "embedding": names[0]},
            embeddings=embeddings,
        )


def families() -> dict[str, Family]:
    """Return every installed family by name, in the order of their entry points' names.

    Raises:
        FamilyError: an entry point cannot be loaded, or does not name a `Family`.
    """
    return {name: _load(entry) for name, entry in _entries().items()}


def family(name: str) -> Family:
    """Return one family; a package of another that is broken is no matter.

    Raises:
        FamilyError: the name is unknown (the message suggests the nearest), or its entry point names no `Family`.
    """
    known = _entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise FamilyError(f"no family is called {name!r}.{hint} There are: {', '.join(known)}, or all.")
    return _load(known[name])


def select(names: Iterable[str]) -> tuple[Family, ...]:
    """Return the families that `names` asks for, without repeats; `all` means every one that is not optional.

    Raises:
        FamilyError: a name is unknown (the message suggests the nearest), or what was asked for cannot be loaded.
    """
    chosen: dict[str, Family] = {}
    for name in names:
        if name == "all":
            chosen.update({key: each for key, each in families().items() if not each.optional})
        else:
            chosen[name] = family(name)
    if not chosen:
        raise FamilyError(f"no family was named. Name one or more of: {', '.join(_entries())}, or all.")
    return tuple(chosen.values())


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def _load(entry: EntryPoint) -> Family:
    where = f"family {entry.name!r} ({entry.value})"
    try:
        loaded = entry.load()
    except Exception as error:
        raise FamilyError(f"{where} cannot be loaded: {error}. Mend or uninstall its package.") from error
    if not isinstance(loaded, Family):
        raise FamilyError(f"{where} is no harness.families.Family. Mend or uninstall its package.")
    return loaded
