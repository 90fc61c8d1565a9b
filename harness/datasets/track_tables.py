"""Tables that users write about their tracks: how they are read, and how a row finds its track."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from harness.datasets.gtzan import canonical_name
from harness.errors import ProtocolError


def read_table(path: Path, columns: Iterable[str]) -> dict[str, str]:
    """Return the rows of a CSV whose first column is `track` and whose second is called one of `columns`.

    Raises:
        ProtocolError: no such file, no such columns, a row without a second value, or a track named twice.
    """
    expected = " or ".join(f"track,{column}" for column in columns)
    rows: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            if header[:1] != ["track"] or not set(header[1:2]) & set(columns):
                raise ProtocolError(f"{path}: its header is {','.join(header)!r}. It must begin with {expected}.")
            for row in reader:
                if not any(row):
                    continue
                if len(row) < 2:
                    raise ProtocolError(f"{path}: row {reader.line_num} has one column. Write {expected}.")
                name = row[0].strip()
                if name in rows:
                    raise ProtocolError(
                        f"{path}: row {reader.line_num} names {name} a second time. Remove one of them."
                    )
                rows[name] = row[1].strip()
    except OSError as error:
        raise ProtocolError(f"{path}: cannot be read ({error.strerror}). Name a CSV file with {expected}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProtocolError(f"{path}: not a CSV file in UTF-8 ({error}). Save it as one, with {expected}.") from None
    return rows


def matched(ids: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return for every track id which of the `names` in a user's table means it: the same one, else the same in form.

    A name that could mean two tracks, or an id that two names could mean, is left out.
    """
    ids, names = list(ids), list(names)
    exact = set(ids) & set(names)
    ids_by_form, names_by_form = _by_form(set(ids) - exact), _by_form(set(names) - exact)
    return {track: track for track in exact} | {
        ids_by_form[form]: names_by_form[form] for form in ids_by_form.keys() & names_by_form.keys()
    }


def _by_form(names: Collection[str]) -> dict[str, str]:
    forms = {name: canonical_name(name) for name in names}
    counts = Counter(forms.values())
    return {form: name for name, form in forms.items() if counts[form] == 1}
