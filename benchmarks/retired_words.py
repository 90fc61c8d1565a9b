"""Words that this project does not use, with what to say instead, and where they stand in a source tree.

They are words of no field: a reader who knows machine learning would have to learn them. `tests/test_words.py` keeps
them out, and `house.py` counts them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGES = ("harness", "reports", "search_spaces")

Kind = Literal["module", "class", "function", "attribute", "parameter", "variable", "keyword"]

PARTS = {
    **dict.fromkeys(("hear", "hears", "heard", "hearing"), "embed"),
    **dict.fromkeys(("reckon", "reckons", "reckoned", "reckoning", "reckoner"), "estimate"),
    **dict.fromkeys(("lane", "lanes"), "device slot"),
    **dict.fromkeys(("glance", "glances"), "memory in use"),
    **dict.fromkeys(("stranger", "strangers"), "other processes"),
    "company": "co_located",
    "alone": "exclusive",
    "unfit": "ProbeRejected",
    **dict.fromkeys(("crown", "crowned", "crowns"), "register the best model"),
    **dict.fromkeys(("rival", "rivals"), "competing studies"),
    "moments": "normalization",
    **dict.fromkeys(("variant", "variants"), "augmented copy"),
    "hopeless": "EARLY_ABORT_FACTOR",
}
"""What no part of a name may be: `heard_with` and `HeardTrack` have the part `heard`; `held_out` is none of them."""

WHOLE = {
    "at_hand": "available",
    "cut_off": "unfinished",
    "held_bytes": "used_bytes",
    "track_seconds": "inference_seconds",
    "keep_files": "write_study_files",
    "keep_settings": "write_settings",
    "catch_up": "resume",
    "claim": "check_ownership",
    "judged": "with_leak_warning",
    "Watch": "TrialCallback",
    "Stopped": "StopTraining",
    "Ended": "TrialReport",
    "End": "TrialEnded",
    "Epoch": "EpochReported",
    "FoldEnd": "FoldReported",
    "Plan": "StudyConfig",
    "Kill": "KillReason",
    "Opened": "TestEvaluation",
    "Example": "LabelledTrack",
    "InputView": "InputSpec",
    "Shapes": "ModelInputs",
}
"""What no whole name may be, a leading underscore left out."""

OF_A_KIND: dict[tuple[str, Kind], str] = {
    ("held", "attribute"): "memory in use",
    ("held", "function"): "memory in use",
    ("opened", "function"): "open_model",
    ("judge", "function"): "classify_exit",
    ("spread", "function"): "evenly_spaced_subset",
    ("outer", "module"): "nested_cv",
    ("references", "module"): "simple_baselines",
    ("choice", "module"): "resolve",
    ("studio", "module"): "recording",
    ("draw", "module"): "stratified_split",
    ("tested", "module"): "final_scores",
    ("finals", "module"): "test_section",
    ("pairs", "module"): "pairwise_section",
}
"""What is a good word elsewhere: a trial may have held memory, in a local variable or in prose."""

DIALECT = {
    r"hear(?:s|d|ing)?": "embed",
    r"reckon(?:s|ed|ing)?": "estimate",
    r"at hand": "available",
    r"crown(?:s|ed|ing)?": "register as the champion",
    r"lanes?": "device",
    r"glances?": "memory in use",
    r"strangers?": "other processes",
}
"""What no text for users says, as patterns of whole words."""

FIELD_WORDS = {("harness.models.cnn2d", "variant")}
"""What some module may say all the same: EfficientNet's variants are called so."""

_DIALECT = re.compile(rf"\b(?:{'|'.join(DIALECT)})\b", re.IGNORECASE)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Identifier:
    """A name in a module.

    Attributes:
        defines: whether it is made here: a definition, a field, a parameter, an assignment.
        public: whether a reader elsewhere meets it: no leading underscore, and no local variable.
    """

    name: str
    kind: Kind
    line: int
    defines: bool = False

    @property
    def public(self) -> bool:
        return self.defines and self.kind != "variable" and not self.name.startswith("_")

    @property
    def instead(self) -> str:
        """What to say instead of it; empty where it is a good name."""
        plain = self.name.strip("_")
        return (
            next((PARTS[part.lower()] for part in _PART.findall(plain) if part.lower() in PARTS), "")
            or WHOLE.get(plain, "")
            or OF_A_KIND.get((plain, self.kind), "")
        )


@dataclass(frozen=True)
class Text:
    """What a user may read: a line of a document, or a string of the code.

    Attributes:
        help: whether it is one of a document, a template or the command line's help; messages are none of these.
    """

    path: Path
    line: int
    text: str
    help: bool = True

    @property
    def dialect(self) -> list[str]:
        return _DIALECT.findall(self.text)


def identifiers(module: str, tree: ast.Module) -> Iterator[Identifier]:
    """Yield the names in a module, its own first: those that it defines, and those that it uses."""
    yield from (each for each in _identifiers(module, tree) if (module, each.name) not in FIELD_WORDS)


def _identifiers(module: str, tree: ast.Module) -> Iterator[Identifier]:
    yield Identifier(module.rpartition(".")[2], "module", 1, defines=True)
    bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    statements = [each for body in bodies for each in body if isinstance(each, ast.Assign | ast.AnnAssign)]
    targets = [each.targets if isinstance(each, ast.Assign) else [each.target] for each in statements]
    fields = {id(target) for several in targets for target in several}
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                yield Identifier(node.name, "class", node.lineno, defines=True)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield Identifier(node.name, "function", node.lineno, defines=True)
            case ast.arg():
                yield Identifier(node.arg, "parameter", node.lineno, defines=True)
            case ast.keyword(arg=str(name)):
                yield Identifier(name, "keyword", node.value.lineno)
            case ast.Attribute():
                yield Identifier(node.attr, "attribute", node.lineno, defines=isinstance(node.ctx, ast.Store))
            case ast.Name():
                kind: Kind = "attribute" if id(node) in fields else "variable"
                yield Identifier(node.id, kind, node.lineno, defines=isinstance(node.ctx, ast.Store))
            case ast.alias():
                yield Identifier(node.name.rpartition(".")[2], "variable", node.lineno)


def texts(root: Path) -> Iterator[Text]:
    """Yield what users of the project at `root` may read."""
    pages = sorted([*(root / "docs").glob("*.md"), *(root / "docs").glob("*.ipynb")])
    documents = [root / "README.md", root / "CONTRIBUTING.md", *pages]
    for path in (*documents, *sorted((root / "reports" / "templates").glob("*"))):
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            yield from (Text(path, number, line) for number, line in enumerate(lines, 1))
    for package in (*PACKAGES, "benchmarks/gpu", "benchmarks/memory"):
        for path in sorted((root / package).rglob("*.py")):
            yield from _strings(path, ast.parse(path.read_text(encoding="utf-8")))


def _strings(path: Path, tree: ast.Module) -> Iterator[Text]:
    """Yield the strings of a module. Docstrings are for its readers, but the command line's are its help."""
    is_help = "cli" in (path.stem, path.parent.name)
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docstrings = {id(value) for value in statements if isinstance(value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (is_help or id(node) not in docstrings):
            for number, line in enumerate(node.value.splitlines()):
                yield Text(path, node.lineno + number, line, is_help)
