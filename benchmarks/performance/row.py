"""A row of the benchmark: its contenders, what is read of them, and what the harness aims at."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Command = tuple[str, ...]
"""What is run in the root of the repository; see `processes.resolved` for its first word."""

Figures = Mapping[str, Any]
"""What a contender measured in one round, by name; the unit stands in the name: `_seconds`, `_bytes`, `_db`."""

Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""The lines of a picture by name: x and y."""


@dataclass(frozen=True)
class Setting:
    """How much is measured.

    Attributes:
        quick: the least that shows that everything works, instead of figures that mean something.
    """

    quick: bool

    @property
    def folder(self) -> Path:
        """Where everything is made that is measured, and figures are kept."""
        return Path("build", "bench-quick" if self.quick else "bench")

    @property
    def families(self) -> str:
        """The families that are trained, with commas between them."""
        return "cnn2d-mfcc" if self.quick else "cnn2d-mfcc,cnn2d-fusion,cnn-transformer,cnn1d-raw"

    @property
    def music(self) -> str:
        """The folder of tracks, in GTZAN's layout."""
        return str(self.folder / "music")

    @property
    def make_music(self) -> Command:
        """Makes a synthetic set there, unless there is music."""
        size = ("--artists", str(self.size(5, 2)), "--seconds", str(self.size(30, 6)))
        return ("python", "-m", "benchmarks.performance.music", "make", self.music, *size)

    @property
    def many_tracks(self) -> str:
        """The folder of tracks that are made out of pieces of the others."""
        return f"{self.music}-many"

    @property
    def make_many(self) -> Command:
        """Makes them, unless they are there."""
        size = ("--tracks", str(self.size(1_000, 20)), "--seconds", str(self.size(30, 6)))
        return ("python", "-m", "benchmarks.performance.music", "many", self.many_tracks, self.music, *size)

    def full(self, *contenders: Contender) -> tuple[Contender, ...]:
        """Return contenders that show nothing more than others do but their figures."""
        return () if self.quick else contenders

    def few(self, *contenders: Contender) -> tuple[Contender, ...]:
        """Return contenders that differ by arguments alone; the first shows that they work."""
        return contenders[:1] if self.quick else contenders

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full


@dataclass(frozen=True)
class Contender:
    """One way to do what a row measures.

    Attributes:
        command: prints figures as its last line, a JSON object, or nothing that counts where `prints` is False.
        before: is run before each round, and not measured.
    """

    name: str
    command: Command
    prints: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    before: tuple[Command, ...] = ()


@dataclass(frozen=True)
class Measured:
    """The figures of a row: of each contender, by name, those of its rounds."""

    rounds: Mapping[str, Sequence[Figures]]

    def values(self, contender: str, figure: str) -> list[float]:
        """Return a figure of each round; none where the contender did not run, or has no such figure.

        Args:
            figure: its name, with a place behind it where it is a list: `rss_bytes[-1]`.
        """
        name, _, place = figure.partition("[")
        found = [figures[name] for figures in self.rounds.get(contender, ()) if figures.get(name) is not None]
        return [each[int(place[:-1])] for each in found] if place else found

    def median(self, contender: str, figure: str) -> float:
        """Return the median of a figure over all rounds.

        Raises:
            LookupError: it was not measured.
        """
        values = self.values(contender, figure)
        if not values:
            raise LookupError(f"{contender}: no {figure}")
        return statistics.median(values)

    def times(self, figure: str, contender: str, reference: str) -> float:
        """Return how many times as large a figure is for a contender as it is for another."""
        return self.median(contender, figure) / self.median(reference, figure)

    def course(self, contender: str, figure: str) -> list[float]:
        """Return the median, place by place, of a figure that is a list."""
        courses = [figures[figure] for figures in self.rounds.get(contender, ()) if figures.get(figure)]
        return [statistics.median(place) for place in zip(*courses, strict=False)]


def median_of(contender: str, figure: str) -> Callable[[Measured], float]:
    """Return what reads the median of a contender's figure."""
    return lambda found: found.median(contender, figure)


def ratio_of(figure: str, contender: str, reference: str) -> Callable[[Measured], float]:
    """Return what reads how many times as large a figure is for a contender as it is for another."""
    return lambda found: found.times(figure, contender, reference)


@dataclass(frozen=True)
class Aim:
    """What a row should reach.

    Attributes:
        what: in words, without the limit.
        value: reads from the row's figures what is held against the limit; raises a LookupError where it is not there.
        why_missed: written by hand where the aim is missed.
    """

    what: str
    value: Callable[[Measured], float]
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    why_missed: str = ""

    def is_met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class Picture:
    """How something grows."""

    x: str
    y: str
    lines: Callable[[Measured], Lines]
    log: bool = False


@dataclass(frozen=True)
class Row:
    """One thing that is measured.

    Attributes:
        name: by which it is chosen; `page.md` has its title, and says what is measured.
        columns: headings by figure, in the order of the table.
        compared: the figure whose ratios stand in the last column, and the contender that counts as 1.
        prepare: commands that make what is measured, where it is not there.
        by_default, in_quick: whether it is measured without being named.
    """

    name: str
    contenders: tuple[Contender, ...]
    columns: Mapping[str, str]
    aims: tuple[Aim, ...] = ()
    compared: tuple[str, str] | None = None
    rounds: int = 5
    prepare: tuple[Command, ...] = ()
    picture: Picture | None = None
    by_default: bool = True
    in_quick: bool = True
