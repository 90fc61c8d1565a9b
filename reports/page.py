"""A report as one HTML page: no script, no request, light and dark, wide and narrow."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, MutableMapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.templating import load_template

if TYPE_CHECKING:
    from markdown_it.token import Token

# What a line must not part: a figure and its unit or its spread, F1 and its figure, the ends of a range.
_UNIT = re.compile(r"(?<=\d) (?=(?:%|[KMG]iB|ms|s|tracks?)(?!\w))|(?<=F1|.±) (?=\d)| (?=±)")
_RANGE = re.compile(r"(?<=\d)–(?=\d)")

# A picture that is wider than this, in points, is not shrunk to the window: it scrolls.
_LARGE = 500
_WIDTH = re.compile(rb'<svg [^>]*width="([0-9.]+)pt"')


class _Heading(NamedTuple):
    """What the contents list of a heading."""

    level: int
    anchor: str
    text: str


def html_page(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """Return `markdown` as an HTML page that holds its SVG `pictures`, which it links as `pictures/<name>`.

    The text is trusted to have no raw HTML but the report's own; what comes from outside is escaped where it enters.
    """
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML

    def image(
        self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
    ) -> str:
        picture = pictures[str(tokens[index].attrs["src"]).removeprefix("pictures/")]
        content = base64.b64encode(picture).decode("ascii")
        tokens[index].attrs["src"] = f"data:image/svg+xml;base64,{content}"
        width = _WIDTH.search(picture)
        if width is not None and float(width[1]) > _LARGE:
            tokens[index].attrs["class"] = "large"
        return f'<span class="wide">{self.image(tokens, index, options, env)}</span>'

    def text(
        self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
    ) -> str:
        tokens[index].content = _RANGE.sub("–\u2060", _UNIT.sub("\u00a0", tokens[index].content))
        return self.text(tokens, index, options, env)

    def table_open(self: RendererHTML, *_: Any) -> str:
        # In a box that scrolls by itself, and that the keyboard reaches.
        return '<div class="wide" tabindex="0"><table>\n'

    def table_close(self: RendererHTML, *_: Any) -> str:
        return "</table></div>\n"

    parser = MarkdownIt("commonmark").enable("table")
    for rule in (image, text, table_open, table_close):
        parser.add_render_rule(rule.__name__, rule)
    tokens = parser.parse(markdown)
    headings = _anchored(tokens)
    body = parser.renderer.render(tokens, parser.options, {})
    title = next((heading.text for heading in headings if heading.level == 2), "Results")
    return load_template("page.html.j2").render(title=title, headings=headings, body=body)


def _anchored(tokens: Sequence[Token]) -> list[_Heading]:
    """Give each heading below the first level an anchor of its own, and return them."""
    found: list[_Heading] = []
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open" or opening.tag == "h1":
            continue
        text = "".join(child.content for child in inline.children or ())
        anchor = re.sub(r"\W+", "-", text.lower()).strip("-")
        while any(heading.anchor == anchor for heading in found):
            anchor += "-"
        opening.attrs["id"] = anchor
        found.append(_Heading(int(opening.tag[1]), anchor, text))
    return found
