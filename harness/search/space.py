"""Looking at a space from outside: what it holds, its identity, and points of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.families import Family, Suggest
from harness.hashing import short_hash
from harness.models import Config

PROBES = 200
"""Random points that are drawn to see every branch of a conditional space."""


class RandomPoint:
    """Stands in for an Optuna trial: draws every parameter at random, and remembers the distributions."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._draw(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._draw(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._draw(name, CategoricalDistribution(choices))

    def _draw(self, name: str, distribution: BaseDistribution) -> Any:
        self.distributions[name] = distribution
        if isinstance(distribution, CategoricalDistribution):
            return self._random.choice(distribution.choices)
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.log:
            drawn = math.exp(self._random.uniform(math.log(distribution.low), math.log(distribution.high)))
        else:
            drawn = self._random.uniform(distribution.low, distribution.high)
        if distribution.step is not None:
            drawn = distribution.low + round((drawn - distribution.low) / distribution.step) * distribution.step
        return min(max(drawn, distribution.low), distribution.high)


class RecordedPoint:
    """Stands in for an Optuna trial: answers as on record, and remembers the distributions; raises `UnknownPoint`.

    Args:
        params: as they were sampled.
        known: distributions of other trials, which are the same objects where they are equal; new ones are added.
    """

    def __init__(self, params: Mapping[str, Any], known: dict[tuple[Any, ...], BaseDistribution]) -> None:
        self._params, self._known = params, known
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._recorded(name, low <= self._value(name) <= high, FloatDistribution, low, high, log, step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._recorded(name, low <= self._value(name) <= high, IntDistribution, low, high, log, step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._recorded(name, self._value(name) in choices, CategoricalDistribution, tuple(choices))

    def _value(self, name: str) -> Any:
        if name not in self._params:
            raise UnknownPoint(name)
        return self._params[name]

    def _recorded(self, name: str, contained: bool, kind: Callable[..., BaseDistribution], *bounds: Any) -> Any:
        if not contained:
            raise UnknownPoint(name)
        key = (name, kind, *bounds)
        if key not in self._known:
            self._known[key] = kind(*bounds)
        self.distributions[name] = self._known[key]
        return self._params[name]


class UnknownPoint(Exception):
    """A space asks for what is not on record, or stands there with a value that the space does not have."""


def fixed(params: Mapping[str, Any]) -> Suggest:
    """Return what suggests the values of a trial that was sampled before."""
    return optuna.trial.FixedTrial(dict(params))


def points(family: Family, quick: bool, count: int = PROBES) -> Iterator[tuple[Config, dict[str, BaseDistribution]]]:
    """Yield `count` seeded random configurations of the family's space, with the distributions they came from."""
    for number in range(count):
        point = RandomPoint(f"{family.name}/{number}")
        yield family.space(point, quick), point.distributions


def distributions(family: Family, quick: bool) -> dict[str, BaseDistribution]:
    """Return every parameter of the family's space, conditional ones included, by name."""
    found: dict[str, BaseDistribution] = {}
    for _, part in points(family, quick):
        found.update(part)
    return found


def space_hash(family: Family, quick: bool) -> str:
    """Return a short hash of what can be sampled: names and distributions, whatever the code looks like."""
    encoded = {
        name: optuna.distributions.distribution_to_json(distribution)
        for name, distribution in distributions(family, quick).items()
    }
    return short_hash(encoded)
