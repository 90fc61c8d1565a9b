"""docs/performance.md, made from the figures that are kept beside this module; nothing is measured here."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.performance.measure import Result, stored
from benchmarks.performance.processes import PEERS, PEERS_PYTHON
from benchmarks.performance.row import Aim, Measured, Picture, Row, Setting
from harness.files import write_atomically
from harness.markdown import escape, folded, table
from harness.units import MIB, NOTHING
from reports.svg import GRID, SERIES, draw_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE = Path("docs", "performance.md")
_IMAGES = Path("docs", "images")
_RESULTS = Path(__file__).parent / "results.json"
_TEMPLATE = Path(__file__).parent / "page.md"
_VERDICTS = {True: "met", False: "**missed**", None: "not measured"}
_FACTS = ("processor", "memory", "system", "versions", "music")


def renew(rows: Sequence[Row], setting: Setting) -> None:
    """Take what was measured into the figures that are kept, and write the page anew from these."""
    results: dict[str, Result] = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    results.update({row.name: found for row in rows if (found := stored(row, setting)) is not None})
    write_atomically(_RESULTS, json.dumps(results, indent=1, sort_keys=True) + "\n")
    for row in rows:
        if row.picture is not None and row.name in results:
            write_atomically(_IMAGES / _image(row), drawn(row.picture, Measured(results[row.name]["rounds"])))
    write_atomically(_PAGE, page(rows, results))


def page(rows: Sequence[Row], results: Mapping[str, Result]) -> str:
    """Return the whole page: the template, with the figures of the rows."""
    from jinja2 import Environment, StrictUndefined

    found = {row.name: Measured(results.get(row.name, {}).get("rounds", {})) for row in rows}
    aims = [
        [f"[{row.name}](#{row.name})", _text(aim), told, _VERDICTS[met]]
        for row in rows
        for aim, told, met in _verdicts(row, found[row.name])
    ]
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(_TEMPLATE.read_text())
    return template.render(
        aims=table(["row", "aim", "measured", ""], aims),
        places=_places(results),
        rows={row.name: section(row, results[row.name]) if row.name in results else "Not measured." for row in rows},
    )


def section(row: Row, result: Result) -> str:
    """Return what was measured of a row as markdown: its table, its aims and its commands."""
    measured = Measured(result["rounds"])
    parts = [_table(row, measured)]
    if row.picture is not None:
        parts.append(f"![{row.picture.y} by {row.picture.x}](images/{_image(row)})")
    for aim, told, met in _verdicts(row, measured):
        why = f" {aim.why_missed}" if met is False and aim.why_missed else ""
        parts.append(f"Aim: {_text(aim)}. Measured: {told}, {_VERDICTS[met]}.{why}")
    parts += [f"{name} failed: {escape(text.splitlines()[-1])}" for name, text in result["failed"].items()]
    commands = "\n".join(" ".join(each.command).replace(PEERS, PEERS_PYTHON) for each in row.contenders)
    parts.append(folded(f"Commands, {_rounds(measured)}", f"```\n{commands}\n```"))
    return "\n\n".join(parts)


def drawn(picture: Picture, measured: Measured) -> bytes:
    """Draw how something grows, as SVG; equal bytes for equal figures."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for (name, (x, y)), colour in zip(picture.lines(measured).items(), SERIES, strict=False):
            axes.plot(x, y, "o-" if len(x) < 10 else "-", color=colour, label=name, markersize=4)
        if picture.log:
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.set_ylim(None if picture.log else 0)
        axes.set_xlabel(picture.x)
        axes.set_ylabel(picture.y)
        axes.grid(color=GRID)
        axes.legend()

    return draw_svg(6.0, 3.2, draw)


def told(figure: str, value: float) -> str:
    """Return a figure for a reader, by the unit in its name; a ratio without one."""
    figure = figure.partition("[")[0]
    if figure.endswith("_bytes"):
        return f"{value / MIB:,.0f} MiB"
    if figure.endswith("_seconds"):
        return f"{1000 * value:.3g} ms" if value < 0.1 else f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"
    return f"{value:.3g} dB" if figure.endswith("_db") else f"{value:.3g}"


def _table(row: Row, measured: Measured) -> str:
    headings = ["", *row.columns.values(), *([f"times {row.compared[1]}"] if row.compared else [])]
    lines = []
    for contender in row.contenders:
        cells = [_cell(figure, measured.values(contender.name, figure)) for figure in row.columns]
        if row.compared is not None:
            try:
                cells.append(f"{measured.times(row.compared[0], contender.name, row.compared[1]):.3g}")
            except LookupError:
                cells.append(NOTHING)
        lines.append([contender.name, *cells])
    return table(headings, lines, numeric=headings[1:])


def _cell(figure: str, values: Sequence[float]) -> str:
    """Return the median of a figure, and between which values its rounds lay."""
    if not values:
        return NOTHING
    low, high = told(figure, min(values)), told(figure, max(values))
    return told(figure, statistics.median(values)) + ("" if low == high else f" ({low} to {high})")


def _verdicts(row: Row, measured: Measured) -> list[tuple[Aim, str, bool | None]]:
    """Return each aim with what was measured, and whether that meets it; None where nothing was measured."""
    found: list[tuple[Aim, str, bool | None]] = []
    for aim in row.aims:
        try:
            value = aim.value(measured)
        except (LookupError, ZeroDivisionError):
            found.append((aim, NOTHING, None))
        else:
            found.append((aim, _with_unit(value, aim.unit), aim.is_met(value)))
    return found


def _text(aim: Aim) -> str:
    limits = [("at least", aim.at_least), ("at most", aim.at_most)]
    return f"{aim.what}: " + " and ".join(
        f"{word} {_with_unit(limit, aim.unit)}" for word, limit in limits if limit is not None
    )


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".strip()


def _rounds(measured: Measured) -> str:
    counts = {len(figures) for figures in measured.rounds.values()}
    return f"{max(counts, default=0)} rounds in turns" if max(counts, default=0) > 1 else "one round"


def _image(row: Row) -> str:
    return f"performance-{row.name}.svg"


def _places(results: Mapping[str, Result]) -> str:
    """Return where and when the rows were measured; what several of them share is said once."""
    lines = []
    for fact in _FACTS:
        said: dict[str, list[str]] = {}
        for name, result in results.items():
            said.setdefault(result["machine"][fact], []).append(name)
        everywhere = len(said) == 1
        lines += [
            f"- {fact}: {text}" + ("" if everywhere else f" ({', '.join(names)})") for text, names in said.items()
        ]
    rows = [[name, each["date"], each["machine"]["commit"], f"{each['load']:.2f}"] for name, each in results.items()]
    return "\n".join(lines) + "\n\n" + folded("Each row's day", table(["row", "date", "commit", "load before"], rows))
