"""The words of the house: names and texts say what an engineer of the field would say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.retired_words import PACKAGES, Text, identifiers, texts
from tests.helpers.command import ROOT


def offenders(module: str, source: str) -> list[str]:
    """The public names of a module that use a retired word, each with what to say instead."""
    return [
        f"{module}:{each.line}: {each.kind} {each.name}: say {each.instead}"
        for each in identifiers(module, ast.parse(source))
        if each.public and each.instead
    ]


def test_public_names_use_no_retired_word() -> None:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(paths) > 50
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    found = [each for module, path in dotted.items() for each in offenders(module, path.read_text(encoding="utf-8"))]
    assert found == [], "\n".join(found)


def test_texts_for_users_use_no_dialect() -> None:
    read = list(texts(ROOT))
    assert len({text.path for text in read}) > 50
    found = [
        f"{text.path.relative_to(ROOT)}:{text.line}: {', '.join(text.dialect)}: {text.text.strip()}"
        for text in read
        if text.dialect
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("harness.search.outer", "", "module outer: say nested_cv"),
        ("harness.a", "class HeardTrack: ...", "class HeardTrack: say embed"),
        ("harness.a", "class Family:\n    heard_with: str", "attribute heard_with: say embed"),
        ("harness.a", "def reckon_all(): ...", "function reckon_all: say estimate"),
        ("harness.a", "def place(number, at_hand): ...", "parameter at_hand: say available"),
        ("harness.a", "CPU_LANE = 1", "attribute CPU_LANE: say device slot"),
        ("harness.a", "def f(self):\n    self.held = 1", "attribute held: say memory in use"),
        ("harness.a", "class Plan: ...", "class Plan: say StudyConfig"),
    ],
)
def test_a_retired_word_is_found(module: str, source: str, message: str) -> None:
    (found,) = offenders(module, source)
    assert message in found


@pytest.mark.parametrize(
    "source",
    [
        "class OpeningRecord: ...\ndef planned(): ...\nheld_out = 1",
        "def f():\n    held = opened = 1\n    return held",
        "def _lane(): ...\nclass TrialEnded: ...\nclass Planet: ...",
    ],
)
def test_good_names_and_what_is_private_pass(source: str) -> None:
    assert offenders("harness.a", source) == []


def test_dialect_is_words_and_not_letters() -> None:
    def found(text: str) -> list[str]:
        return Text(Path("README.md"), 1, text).dialect

    assert found("It Reckons with what is at hand.") == ["Reckons", "at hand"]
    assert found("A planed shear; memory that a trial may hold, or held; opening the test set, on hand.") == []
