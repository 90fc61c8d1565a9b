"""The report as files. Each is replaced whole, so a reader never meets half a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.files import write_atomically
from harness.records.base import RunLinks
from harness.records.study import StudyResults
from reports.document import build_report, results_table
from reports.markers import inject
from reports.page import html_page


def write_markdown(studies: Sequence[StudyResults], output: Path) -> list[Path]:
    """Write the comparison and return the files: markdown at `output`, `scores.json` and `pictures/` beside it.

    The markdown is written last: what it links is there before it.

    Raises:
        UsageError: there is no study, or the place is a folder.
        WorkspaceError: the place cannot be written to.
    """
    _check_no_folder(output, "--output")
    report = build_report(studies)
    pictures = {output.parent / "pictures" / name: picture for name, picture in sorted(report.pictures.items())}
    files = {**pictures, output.parent / "scores.json": report.scores.encode(), output: report.markdown.encode()}
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)


def write_page(studies: Sequence[StudyResults], output: Path, links: RunLinks | None = None) -> Path:
    """Write the comparison as one HTML page that needs nothing else, with `links` to tracked runs; return the path.

    Raises:
        UsageError: there is no study, or the place is a folder.
        WorkspaceError: the place cannot be written to.
    """
    _check_no_folder(output, "--html")
    report = build_report(studies, links)
    write_atomically(output, html_page(report.markdown, report.pictures))
    return output


def inject_into(path: Path, studies: Sequence[StudyResults]) -> Path:
    """Renew the results table between the markers of the document at `path`, and return the path.

    Line ends stay as they are.

    Raises:
        UsageError: there is no study, the file cannot be read, or the markers are not there.
        WorkspaceError: the file cannot be written.
    """
    _check_no_folder(path, "--inject")
    table = results_table(studies)
    try:
        document = path.read_bytes().decode()
        write_atomically(path, inject(table, document))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the table cannot be renewed ({error}). Name another file with --inject.") from error
    return path


def _check_no_folder(path: Path, option: str) -> None:
    # An empty name is that of the folder that this process is in.
    if os.path.isdir(path):
        raise UsageError(f"{option} {path}: a folder. Name a file, which may be in it.")
