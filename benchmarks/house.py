"""Counts how a source tree is built, for a comparison of two states: python benchmarks/house.py [ROOT]... [--json]

Read from the source alone, so nothing is executed. One markdown table, a column a root, and the names below it.

A container of trial state is a dict, a list or a set that an object of harness keeps, and that knows trials. It counts
where

1. it is assigned to `self.NAME` in a method, or declared in the body of a class, and the class is not frozen;
2. its annotation, or the comprehension that it is assigned, says dict, list or set (or deque, Counter, ...);
3. its key or element is an `int`, which is a trial's number, or a `.number`; or its annotation names a class of a
   trial: one that ends on `Trial`, `Attempt` or `JobKey`, or `Entry`, `_Running`, `_Leaving` or `_Live`.

`Ledger._changed` is left out: it knows deliveries, of studies and of trials.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from retired_words import PACKAGES, identifiers, texts

MAX_LINES, HARD_MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, WIDEST = 300, 350, 60, 7, 5

_CONTAINER = r"(?:dict|list|set|deque|defaultdict|OrderedDict|Counter)"
_OF_TRIALS = re.compile(rf"{_CONTAINER}\[(?:int\b|.*(?:Trial|Attempt|JobKey|\bEntry|\b_Running|\b_Leaving|\b_Live)\b)")
_NO_TRIALS = {"Ledger._changed"}

_PRODUCT, _ALL = PACKAGES, (*PACKAGES, "benchmarks", "tests")
_COUNTERS = ("house.py", "retired_words.py", "test_words.py", "test_assumptions.py")
"""Files that spell what is looked for."""


@dataclass(frozen=True)
class Said:
    """Something that should be said once.

    Attributes:
        by_hand: how often a reader found it at c2c9409.
        pattern: what it looks like, matched over the whole text of a module.
        home: files in which it belongs.
        of_modules: whether modules count, and not places in them.
    """

    what: str
    by_hand: int
    pattern: str
    home: tuple[str, ...] = ()
    packages: tuple[str, ...] = _PRODUCT
    of_modules: bool = False


_ENVIRONMENT = ("harness/keras_backend.py", "harness/processes.py")
_DRAFT = r"(?:temporary|unfinished|draft|made|weights|\w*partial\w*)"
TWICE = (
    # By hand the two of the embeddings counted once, and the export's folder not at all.
    Said("whole file or none", 7, rf"\bos\.replace\(|\b{_DRAFT}\.(?:replace|rename)\(", ("harness/files.py",)),
    Said("seed from parts", 5, r"\.from_bytes\(|\bcrc32\(|% 2 ?\*\* ?32", ("harness/hashing.py",)),
    Said("end with the parent", 2, r"(?<!def )\bparent_process\(\)", ("harness/processes.py",)),
    Said("process pool of its own", 2, r"\bProcessPoolExecutor\("),
    Said("redirected fd 2 (modules)", 4, r"\bos\.dup2\(", ("harness/processes.py",), of_modules=True),
    # One more than by hand: a device's own, which is no copy.
    Said("environment blocks", 6, r'\{\n?(?:\s*(?:#.*|\*\*.*,)\n)*\s*"[A-Z]\w+_\w+": ', _ENVIRONMENT),
    Said(
        "os.environ written",
        10,
        r"os\.environ\.(?:update|setdefault|pop|clear)\(|os\.environ\[[^\]]+\] = |del os\.environ\[",
        _ENVIRONMENT,
    ),
    Said("TrialSpec(...)", 4, r"\bTrialSpec\((?:\s|\*)", packages=_ALL),
    Said("Plan(...) or StudyConfig(...)", 6, r"\b(?:Plan|StudyConfig)\((?:\s|\*)", packages=_ALL),
    Said("event pump to one trial's end", 4, r"while True:\n\s+for \w+ in [\w.]+\.events\(\)", packages=_ALL),
    Said("tracker that does nothing", 3, r"class (?:NoTracker|NullTracker|_Untracked)\b", packages=_ALL),
    # By hand those of test_final.py, test_gpu_check.py and test_oom.py did not count.
    Said(
        "back end that trains nothing",
        4,
        r"^class \w+\(\w*(?:Pool|Backend)\):|^class \w+:(?:\n(?!\S).*)*?\n    def events\(",
        packages=("benchmarks", "tests"),
    ),
    Said("which studies are comparable", 4, r"(\w+)\.epochs, \1\.seed, \1\.quick|identity = \{"),
    Said(
        "trials that count",
        6,
        r'is not Outcome\.REFUSED|!= "refused"|- \w+\._\w+\[Outcome\.REFUSED\]|- self\._outcomes\[',
    ),
    Said('", outer fold {n + 1}"', 4, r", outer fold \{"),
    Said("Wilson outside of scoring", 5, r"(?<!def )\bwilson\(", ("harness/scoring/metrics.py",)),
    Said("first line of an error", 4, r"\bstr\(error\)[^\n]*(?:partition|splitlines)\("),
    Said("SQLite file must exist", 3, r"\bnot database\.exists\(\)"),
    Said("best trial by empty StudyResults", 2, r"\bStudyResults\([^\n]*\{\}\)\.best"),
    Said("final scores computed anew", 9, r"(?<!def )(?<![\w.])(?:tested|final_scores)\("),
    Said("labels of a group computed anew", 19, r"(?<!def )(?:plain_)?labels\(group\)"),
)


@dataclass
class House:
    """What was counted: rows of a table, and the names behind them, by what they are of."""

    rows: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def count(self, what: str, names: list[str]) -> None:
        self.rows[what] = len(names)
        self.names[what] = names


def measure(root: Path) -> House:
    """Count the house at `root`."""
    sources = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in _files(root, _ALL)}
    product = {name: source for name, source in sources.items() if name.startswith(tuple(f"{p}/" for p in _PRODUCT))}
    trees = {name: ast.parse(source) for name, source in product.items()}
    house = House()
    _modules(house, product, trees)
    _functions(house, trees)
    _imports(house, trees)
    house.count("containers of trial state", [each for name in trees for each in _containers(name, trees[name])])
    for said in TWICE:
        found = [where for name, source in sources.items() for where in _places(said, name, source)]
        house.count(f"said twice: {said.what} (by hand at c2c9409: {said.by_hand})", found)
    _words(house, root, trees)
    return house


def _files(root: Path, packages: tuple[str, ...]) -> Iterator[Path]:
    for package in packages:
        yield from (path for path in sorted((root / package).rglob("*.py")) if path.name not in _COUNTERS)


def _modules(house: House, sources: Mapping[str, str], trees: Mapping[str, ast.Module]) -> None:
    lines = {name: len(source.splitlines()) for name, source in sources.items()}
    house.rows |= {"modules": len(lines), "lines": sum(lines.values())}
    code = [name for name in sorted(lines, key=lines.__getitem__, reverse=True) if not _is_data(trees[name])]
    for limit in (MAX_LINES, HARD_MAX_LINES):
        house.count(f"modules over {limit} lines", [f"{name} {lines[name]}" for name in code if lines[name] > limit])


def _is_data(tree: ast.Module) -> bool:
    """Whether a module holds nothing but values."""
    return not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(tree))


def _functions(house: House, trees: Mapping[str, ast.Module]) -> None:
    found = [
        (name, node) for name, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    house.rows["functions"] = len(found)
    sizes: tuple[tuple[str, int, Callable[[ast.FunctionDef], int]], ...] = (
        (f"functions over {MAX_FUNCTION_LINES} lines, docstring included", MAX_FUNCTION_LINES, _lines),
        (f"functions over {MAX_FUNCTION_LINES} lines, docstring left out", MAX_FUNCTION_LINES, _body_lines),
        (f"functions over {MAX_PARAMETERS} parameters", MAX_PARAMETERS, _parameters),
    )
    for what, limit, size in sizes:
        over = [(size(node), f"{name}:{node.lineno} {node.name}") for name, node in found if size(node) > limit]
        house.count(what, [f"{where} {number}" for number, where in sorted(over, reverse=True)])


def _lines(node: ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _body_lines(node: ast.FunctionDef) -> int:
    """Count a function's lines without its docstring."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return _lines(node) - ((first.end_lineno or first.lineno) - first.lineno + 1 if has_docstring else 0)


def _parameters(node: ast.FunctionDef) -> int:
    """Count a function's parameters, without an object's or a class's own."""
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return (
        sum(each.arg not in ("self", "cls") for each in named)
        + (node.args.vararg is not None)
        + (node.args.kwarg is not None)
    )


def _imports(house: House, trees: Mapping[str, ast.Module]) -> None:
    """Count the modules of the house that each module imports, wherever in it the import stands."""
    modules = {_dotted(name) for name in trees}
    widths = {_dotted(name): len(set(_imported(tree, modules)) - {_dotted(name)}) for name, tree in trees.items()}
    widest = sorted(widths, key=lambda name: (-widths[name], name))[:WIDEST]
    house.rows["modules that the widest module imports"] = widths[widest[0]] if widest else 0
    house.names["widest modules"] = [f"{name} {widths[name]}" for name in widest]


def _imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in inside)


def _dotted(name: str) -> str:
    return name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def _containers(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield the containers of trial state in a module; the module's docstring has the rule."""
    for node in ast.walk(tree) if name.startswith("harness/") else ():
        if not isinstance(node, ast.ClassDef) or any(
            "frozen" in ast.unparse(each) for each in (*node.decorator_list, *node.keywords)
        ):
            continue
        methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
        inside = [each for method in methods for each in ast.walk(method)]
        for statement in (*node.body, *inside):
            if not isinstance(statement, ast.Assign | ast.AnnAssign):
                continue
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            # In a method only what is assigned to the object is kept.
            kept = isinstance(target, ast.Attribute) or statement in node.body
            where = f"{node.name}.{ast.unparse(target).removeprefix('self.')}"
            if kept and _knows_trials(statement) and where not in _NO_TRIALS:
                yield where


def _knows_trials(statement: ast.Assign | ast.AnnAssign) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return _OF_TRIALS.match(ast.unparse(statement.annotation)) is not None
    match statement.value:
        case ast.DictComp(key=element) | ast.SetComp(elt=element) | ast.ListComp(elt=element):
            return ast.unparse(element).endswith(".number")
    return False


def _places(said: Said, name: str, source: str) -> list[str]:
    if name.partition("/")[0] not in said.packages or name in said.home:
        return []
    lines = [source.count("\n", 0, match.start()) + 1 for match in re.finditer(said.pattern, source, re.MULTILINE)]
    return [name] * bool(lines) if said.of_modules else [f"{name}:{line}" for line in lines]


def _words(house: House, root: Path, trees: Mapping[str, ast.Module]) -> None:
    found = [(name, each) for name, tree in trees.items() for each in identifiers(_dotted(name), tree) if each.instead]
    house.rows["retired words: names, each use"] = len(found)
    house.names["retired words: names, each use"] = [
        f"{name} {number}" for name, number in Counter(each.name for _, each in found).most_common()
    ]
    public = {(name, each.name) for name, each in found if each.public}
    house.rows["retired words: public names"] = len(public)
    told = [(text, word.lower()) for text in texts(root) for word in text.dialect]
    for what, is_help in (("README, docs, templates, help", True), ("messages", False)):
        counts = Counter(word for text, word in told if text.help is is_help)
        house.rows[f"retired words: {what}"] = counts.total()
        house.names[f"retired words: {what}"] = [f"{word} {number}" for word, number in counts.most_common()]


def table(houses: Mapping[str, House]) -> str:
    """Return what was counted as markdown, by the name of each house."""
    rows = list(dict.fromkeys(what for house in houses.values() for what in house.rows))
    lines = [f"| | {' | '.join(houses)} |", f"| --- |{' ---: |' * len(houses)}"]
    lines += [
        f"| {what} | {' | '.join(f'{house.rows.get(what, 0):,}' for house in houses.values())} |" for what in rows
    ]
    for name, house in houses.items():
        lines += ["", f"{name}:", ""]
        lines += [f"- {what}: {', '.join(names)}" for what, names in house.names.items() if names]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("roots", nargs="*", type=Path, default=[Path()], metavar="ROOT", help="a checkout")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    houses = {root.resolve().name: measure(root) for root in options.roots}
    if options.json:
        print(
            json.dumps({name: {"rows": house.rows, "names": house.names} for name, house in houses.items()}, indent=2)
        )
    else:
        print(table(houses))


if __name__ == "__main__":
    main()
