"""The templates of this package, and what those of the report are filled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class Section:
    """What stands under one heading of the report.

    Attributes:
        heading: markdown, on one line.
        parts: paragraphs, lists and tables as markdown.
        pictures: SVG bytes by file name; `parts` link them as `pictures/<name>`.
    """

    heading: str
    parts: tuple[str, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def load_template(name: str) -> Template:
    """Load a template by its file name; only values for HTML are escaped by it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
