"""The styles that songs are made from, as `styles.toml` holds them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from harness.records.base import Record


class Genre(Record):
    """What songs of one genre are made from; `styles.toml` explains the notation."""

    neighbours: tuple[str, ...]
    tempo: tuple[float, float]
    swing: tuple[float, float]
    waltz: float = 0.0
    drive: tuple[float, ...]
    brightness: float
    mix: dict[str, float]
    progressions: tuple[str, ...]
    scales: tuple[str, ...]
    bass: tuple[str, ...]
    bass_figures: tuple[str, ...]
    comping: tuple[str, ...]
    comping_figures: tuple[str, ...]
    lead: tuple[str, ...]
    backing: tuple[str, ...]
    grooves: tuple[dict[str, str], ...]


class Crossover(Record):
    """How likely an artist, or a song, takes an ingredient from a neighbouring genre."""

    artist: float
    song: float


class Styles(Record):
    """The whole of `styles.toml`."""

    crossover: Crossover
    degrees: dict[str, int]
    qualities: dict[str, tuple[int, ...]]
    scales: dict[str, tuple[int, ...]]
    drums: dict[str, int]
    figures: dict[str, tuple[str, ...]]
    genres: dict[str, Genre]


def styles_text() -> str:
    """Return `styles.toml` as it is."""
    return resources.files("harness.synthetic").joinpath("styles.toml").read_text(encoding="utf-8")


@cache
def load_styles() -> Styles:
    """Return the styles that come with the program."""
    return Styles.model_validate(tomllib.loads(styles_text()))
