"""`harness families`: every family with its input, its baseline, its space, and what that asks of memory."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from harness.families import Family, families
from harness.search.space import distributions
from harness.trials.local.fork_server import ForkServer
from harness.workflows.family_memory import describe_footprints, space_footprints

PAGE = """\
# Families

<!-- Made from the code: harness families --markdown > docs/families.md -->

A family is an architecture with its input, its search space, and its baseline: the configuration that its original
author published, which is always trial 0. A hyperparameter with no baseline (–) is there only beside some values of
others. The small spaces of `--quick` lie within the full ones.

What a space asks of GPU memory is shown by `harness families`; it is estimated, which takes minutes, once. How to add
a family: [CONTRIBUTING.md](../CONTRIBUTING.md#adding-a-family).
"""


def describe_families(as_json: bool, samples: int, progress: Callable[[str, int, int], None]) -> Iterator[str]:
    """Yield every family with its input, its baseline, its space and its footprints, for a reader or as JSON lines.

    Args:
        samples: configurations of each family whose footprints are shown.
        progress: told of a family's name, the configurations whose footprints are known, and how many there will be.
    """
    server = cache(ForkServer.start)
    for family in families().values():
        described = _describe(family)
        if not as_json:
            yield _paragraph(described)
        sizes = space_footprints(family, samples, server, partial(progress, family.name))
        yield json.dumps({**described, "footprint_bytes": sorted(sizes)}) if as_json else describe_footprints(sizes)


def families_page() -> str:
    """Return a page of documentation on all families, without what their spaces ask of memory."""
    return "\n".join([PAGE, *map(_section, families().values())])


def _section(family: Family) -> str:
    about = inspect.getdoc(inspect.getmodule(family.build)) or f"{family.description}."
    full, quick = _describe(family)["space"], _describe(family, quick=True)["space"]
    rows = [
        f"| `{name}` | {family.baseline.get(name, '–')} | {reach.replace(' | ', ', ')} "
        f"| {'same' if quick.get(name) == reach else quick.get(name, '–').replace(' | ', ', ')} |"
        for name, reach in full.items()
    ]
    facts = [f"Input: {family.input_spec.describe()}."]
    if family.published is not None:
        facts.append(
            f"Published: accuracy {100 * family.published.accuracy:.0f} %, macro F1 {family.published.macro_f1:.2f}, "
            f"on a split of the author's own; named limitation: {family.published.limitation}."
        )
    if family.optional:
        facts.append("Optional: `run all` leaves it out.")
    table = ["| hyperparameter | baseline | space | with `--quick` |", "| --- | --- | --- | --- |", *rows]
    return "\n".join([f"## {family.name}", "", about, "", *(f"- {fact}" for fact in facts), "", *table, ""])


def _describe(family: Family, quick: bool = False) -> dict[str, Any]:
    """Return what is said of a family, as JSON can hold it."""
    return {
        "family": family.name,
        "description": family.description,
        "input": family.input_spec.describe(),
        "optional": family.optional,
        "baseline": dict(family.baseline),
        "space": {name: _range(part) for name, part in distributions(family, quick).items()},
    }


def _range(distribution: BaseDistribution) -> str:
    """Return a distribution for a reader: `16 to 64 by 8`, `0.0001 to 0.003 (log)`, `flatten | average | max`."""
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(map(str, distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    step = f" by {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{step}{' (log)' if distribution.log else ''}"


def _paragraph(described: dict[str, Any]) -> str:
    names = described["space"]
    width = max(map(len, names))
    rows = [
        f"    {name:{width}}  {described['baseline'].get(name, '–')!s:>10}  {reach}" for name, reach in names.items()
    ]
    head = f"{described['family']}: {described['description']}\n  input {described['input']}"
    return "\n".join([head, f"    {'hyperparameter':{width}}  {'baseline':>10}  space", *rows])
