"""The floors of the house: what may import what. Read from the source, so nothing is executed."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.helpers.command import ROOT

PACKAGES = ("harness", "reports", "search_spaces")

# From the ground up; a module imports from its own floor and from those below.
FLOORS = (
    (
        "harness.passwords",
        "harness.errors",
        "harness.addresses",
        "harness.paths",
        "harness.interruption",
        "harness.units",
        "harness.markdown",
        "harness.hashing",
        "harness.files",
        "harness.python_path",
        "harness.caches",
        "harness.processes",
        "harness.workspace",
        "harness.settings",
        "harness.parallel",
        "harness.download",
        "harness.keras_backend",
    ),
    ("harness.records", "harness.events"),
    ("harness.scoring",),
    ("harness.analysis",),
    ("harness.datasets", "harness.synthetic"),
    ("harness.features",),
    ("harness.vram",),
    ("harness.models",),
    ("harness.families",),
    ("search_spaces",),
    ("harness.preparation",),
    ("harness.trials",),
    ("harness.tracking",),
    ("harness.inference",),
    ("reports",),
    ("harness.search",),
    ("harness.evaluation",),
    ("harness.workflows",),
    ("harness.testing",),
    ("harness.console",),
    ("harness.api", "harness.cli"),
)
# Packages that only these may import.
OWNERS = {
    "pynvml": ("harness.vram.nvml",),
    # MLflow itself executes pyfunc.py.
    "mlflow": ("harness.tracking.mlflow", "harness.inference.pyfunc"),
    # Embeddings read its file formats, whatever Keras runs on.
    "tensorflow": ("harness.trials.framework", "harness.features.embeddings"),
    "jax": ("harness.trials.framework",),
    # A family names the type of what it builds.
    "keras": (
        "harness.models",
        "harness.families",
        "harness.trials",
        "harness.features.embeddings",
        "harness.inference",
        "search_spaces",
    ),
    # Found through their entry points, so that anyone's package can add a family.
    "search_spaces": ("search_spaces",),
}
# Packages that these may not import.
BANNED = {
    "reports": {"optuna", "mlflow", "pynvml"},
    "harness.analysis": {"optuna", "mlflow", "matplotlib", "jinja2"},
    # Optuna is the search's business, and stands behind it.
    "harness.preparation": {"optuna"},
    "harness.evaluation": {"optuna"},
}
# Modules of the project that these may not import, although they stand below.
CLOSED = {"harness.search": ("reports", "harness.inference", "harness.tracking.mlflow")}
# All of the project that these may import, besides themselves.
REACH = {
    "reports": (
        "harness.records",
        "harness.units",
        "harness.markdown",
        "harness.errors",
        "harness.files",
        "harness.scoring",
        "harness.analysis",
    )
}
# These import nothing of third parties but pydantic and numpy.
LIGHT = (
    "harness.passwords",
    "harness.errors",
    "harness.addresses",
    "harness.paths",
    "harness.interruption",
    "harness.units",
    "harness.markdown",
    "harness.hashing",
    "harness.files",
    "harness.python_path",
    "harness.caches",
    "harness.workspace",
    "harness.records",
    "harness.settings",
)
WIDEST = 15
"""A module that knows more than so many others does too many things."""
LIGHT_PACKAGES = {*sys.stdlib_module_names, "pydantic", "pydantic_core", "numpy"}


def within(module: str, *homes: str) -> bool:
    return any(module == home or module.startswith(f"{home}.") for home in homes)


def floor(module: str) -> int | None:
    """The height of a module; the bare package `harness` is below all others."""
    if module == "harness":
        return -1
    return next((height for height, homes in enumerate(FLOORS) if within(module, *homes)), None)


def imports(source: str, modules: Mapping[str, str]) -> Iterator[str]:
    """Every module that the source imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            for alias in node.names:
                yield name if (name := f"{home}.{alias.name}") in modules else home


def breaches(modules: Mapping[str, str]) -> list[str]:
    """What breaks the rules of the house in these modules: dotted names to sources."""
    found = [f"{name} stands on no floor" for name in modules if floor(name) is None]
    graph: dict[str, set[str]] = {}
    for name, source in modules.items():
        graph[name] = set()
        if name == "harness":
            continue  # its face is imported when it is asked for
        for target in imports(source, modules):
            wrong = breach(name, target)
            if wrong:
                found.append(f"{name} imports {target}: {wrong}")
            if target in modules:
                graph[name].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"a cycle: {' -> '.join(error.args[1])}")
    return found


def breach(name: str, target: str) -> str:
    """Why `name` may not import `target`; empty if it may."""
    package = target.partition(".")[0]
    if target.startswith("."):
        return "write the whole name"
    if package in OWNERS and not within(name, *OWNERS[package]):
        return f"only {' and '.join(OWNERS[package])} may"
    if any(within(name, home) and package in banned for home, banned in BANNED.items()):
        return f"{package} has no business there"
    if package in PACKAGES:
        own, other = floor(name), floor(target)
        if own is not None and other is not None and other > own:
            return "upward"
        if any(within(name, home) and not within(target, home, *reach) for home, reach in REACH.items()):
            return "out of its reach"
        if any(within(name, home) and within(target, *closed) for home, closed in CLOSED.items()):
            return "closed to it"
    elif name in LIGHT and package not in LIGHT_PACKAGES:
        return "too heavy for the ground floor"
    return ""


def project() -> dict[str, str]:
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return {name: path.read_text(encoding="utf-8") for path, name in names.items()}


def test_imports_run_one_way() -> None:
    modules = project()
    assert len(modules) > 50
    assert breaches(modules) == []


def test_no_module_knows_the_whole_house() -> None:
    modules = project()
    known = {name: {target for target in imports(modules[name], modules) if target in modules} for name in modules}
    assert [name for name in known if len(known[name]) > WIDEST] == []


UNIT = "harness.units"


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"harness.datasets.a": "import harness.vram.device"}, "upward"),
        ({"harness.datasets.a": "def f():\n    from harness.search import study"}, "upward"),
        ({"harness.datasets.a": "from harness import search", "harness.search": ""}, "upward"),
        (
            {"harness.models.a": "if TYPE_CHECKING:\n    from harness.families import Family"},
            "harness.models.a imports harness.families: upward",
        ),
        ({"reports.a": "from harness.tracking.ledger import Ledger"}, "out of its reach"),
        ({"harness.tracking.a": "import reports.document"}, "upward"),
        ({"reports.a": "from harness.datasets.dataset import Dataset"}, "out of its reach"),
        ({"reports.a": "def f():\n    import optuna.importance"}, "optuna has no business there"),
        ({"harness.search.a": "import keras"}, "only harness.models and"),
        ({"harness.search.a": "from harness.inference import bundle"}, "closed to it"),
        ({"harness.evaluation.a": "import optuna"}, "optuna has no business there"),
        ({"harness.vram.meter": "import pynvml"}, "only harness.vram.nvml may"),
        ({"harness.search.a": "from mlflow import MlflowClient"}, "only harness.tracking.mlflow and"),
        ({"harness.trials.train": "import tensorflow as tf"}, "only harness.trials.framework and"),
        ({"harness.cli": "from search_spaces import common"}, "only search_spaces may"),
        ({"harness.units": "import rich"}, "too heavy for the ground floor"),
        ({"harness.datasets.a": "from . import b"}, "write the whole name"),
        ({"harness.new": ""}, "harness.new stands on no floor"),
        (
            {"harness.datasets.a": "from harness.datasets import b", "harness.datasets.b": "import harness.datasets.a"},
            "a cycle: harness.datasets.",
        ),
    ],
)
def test_a_breach_is_found(modules: dict[str, str], message: str) -> None:
    (found,) = breaches(modules)
    assert message in found


def test_what_is_allowed_passes() -> None:
    assert not breaches({UNIT: "import re\nimport numpy", "reports.a": f"from {UNIT} import GIB\nimport matplotlib"})


def test_every_module_has_its_line_in_the_documentation() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page[page.index("## Modules") : page.index("## One walk")]
    listed = re.findall(r"^\| `([\w/]+\.py)`", table, re.MULTILINE)
    paths = [
        path.relative_to(ROOT).as_posix()
        for package in (*PACKAGES, "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if not path.stem.startswith("__")
    ]
    assert [path for path in paths if not any(path.endswith(f"/{line}") or path == line for line in listed)] == []
    assert [line for line in listed if not any(path.endswith(f"/{line}") or path == line for path in paths)] == []
