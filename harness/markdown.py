"""Markdown that reads as meant whatever the names in it: text, links, folded parts and tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from harness.units import ratio

# What markdown or a table would take as markup. Underscores inside a word are plain text on code hosts.
_MARKUP = re.compile(r"[\\|`*<>\[\]~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")


def escape(text: str) -> str:
    """Return `text` on one line, to be read literally in a markdown sentence or table cell."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))


def one_line(text: str) -> str:
    """Return `text` with every run of white space made one space."""
    return " ".join(text.split())


def link(text: str, address: str | None) -> str:
    """Return markdown that leads from `text` to a web address; `text` alone where there is none."""
    return text if address is None else f"[{text}](<{address}>)"


def folded(title: str, content: str) -> str:
    """Return markdown that a reader unfolds by its `title`, which is plain text."""
    return f"<details>\n<summary>{html.escape(one_line(title))}</summary>\n\n{content}\n\n</details>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> str:
    """Return a GitHub flavoured table; `numeric` names the columns set to the right.

    Cells are markdown: names that come from outside go through `escape` first.
    """
    rule = ["---:" if column in numeric else "---" for column in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [columns, rule, *rows])


def genre_table(scores: Iterable[tuple[str, float, float, float, int]]) -> str:
    """Return scores by genre as a table: rows of genre, precision, recall, F1 and the number of its tracks."""
    columns = ["Genre", "Precision", "Recall", "F1", "Tracks"]
    rows = [[escape(genre), *map(ratio, figures), str(tracks)] for genre, *figures, tracks in scores]
    return table(columns, rows, numeric=columns[1:])
