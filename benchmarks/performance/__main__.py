"""Measure rows, print them, and renew docs/performance.md.

    python -m benchmarks.performance [ROW...] [--again] [--quick] [--data DIR] [--report]

Rows that have been measured are not measured again: `build/bench/ROW.json` has their figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.performance import document
from benchmarks.performance.measure import has_failed, measure, stored
from benchmarks.performance.row import Row, Setting
from benchmarks.performance.rows import rows


def main() -> int:
    """Measure what the arguments ask for; 1 where a contender failed, 2 for arguments that cannot be."""
    arguments = _parser().parse_args()
    setting = Setting(arguments.quick)
    known = {row.name: row for row in rows(setting)}
    if unknown := [name for name in arguments.rows if name not in known]:
        print(f"no such row: {', '.join(unknown)}. There are: {', '.join(known)}.", file=sys.stderr)
        return 2
    if arguments.data is not None and not arguments.report:
        _name_music(setting, arguments.data.resolve())
    chosen = [known[name] for name in arguments.rows] or [
        row for row in known.values() if row.by_default and (row.in_quick or not setting.quick)
    ]
    failed = False if arguments.report else _measure_all(chosen, setting, arguments.again)
    if not setting.quick:
        document.renew(list(known.values()), setting)
    return int(failed)


def _measure_all(chosen: list[Row], setting: Setting, again: bool) -> bool:
    """Measure rows and print them; return whether a contender failed."""
    failed = False
    for row in chosen:
        result = None if again else stored(row, setting)
        if result is None:
            result = measure(row, setting)
        print(f"\n{row.name}\n\n{document.section(row, result)}", flush=True)
        failed = failed or has_failed(result)
    return failed


def _name_music(setting: Setting, data: Path) -> None:
    """Let all rows read a user's music, under a name that tells nothing of this machine."""
    link = Path(setting.music)
    if link.exists() and link.resolve() != data:
        raise SystemExit(f"{link}: other music was measured before. Remove {setting.folder} first.")
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all but those that must be named")
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, no peers, no document")
    parser.add_argument("--data", type=Path, help="music in GTZAN's layout; default: a synthetic set is made")
    parser.add_argument("--report", action="store_true", help="measure nothing; renew the document")
    return parser


if __name__ == "__main__":
    sys.exit(main())
