"""What a data set is: its tracks, what cannot serve and why, which tracks are the same, and whose they are."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.records.study import DatasetRecord

ARTIST_TABLE = "artists.csv"
"""Beside the genre folders: the artist of every track."""

SYNTHETIC_NOTICE = "SYNTHETIC.txt"
"""Beside the genre folders: says that no one played this music."""


def dataset_name(folder: str) -> str:
    """Return what a data set in a folder of this name is called: letters of any script, digits, `_`, `.` and `-`.

    The name is part of names in MLflow, where some other signs have a meaning. It is in NFC.
    """
    signs = unicodedata.normalize("NFC", folder)
    kept = "".join(sign if sign in "_." or unicodedata.category(sign)[0] in "LMN" else "-" for sign in signs)
    return re.sub("-+", "-", kept).strip("-") or "dataset"


@dataclass(frozen=True, slots=True)
class Track:
    """One audio file with one genre.

    Attributes:
        id: the file's stem where stems are unique in the data set, else `genre/stem`, else more of its path.
        genre: the name of the genre folder that it lies in, at any depth.
        path: the file.
        digest: the content address of its decoded audio, mono at its own rate.
        seconds: its length.
        acoustic_fingerprint: what it sounds like (`fingerprint.py`); None where that is no evidence.
    """

    id: str
    genre: str
    path: Path
    digest: str
    seconds: float
    acoustic_fingerprint: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Dataset:
    """All usable tracks of a folder.

    Attributes:
        name: the folder's name, layout folders such as `genres` left out; see `dataset_name`.
        root: the folder that was scanned.
        genres: sorted; their order is the order of the classes.
        tracks: sorted by id.
        quarantined: relative path of a file that cannot serve -> the reason.
        replicas: sets of ids of tracks that are one recording.
        fingerprint: changes when any track's audio, id or genre changes, and not when the folder moves.
        synthetic: whether the audio was made by `harness data make`.
        groups: track id -> group (artist); empty when unknown, else complete.
        groups_from: where the groups come from, for a reader.
        replica_reasons: one of `replicas` -> why it is one recording.
        notes: what a user should know of the folders, a line each.
    """

    name: str
    root: Path
    genres: tuple[str, ...]
    tracks: tuple[Track, ...]
    quarantined: dict[str, str]
    replicas: tuple[tuple[str, ...], ...]
    fingerprint: str
    synthetic: bool
    groups: Mapping[str, str] = field(default_factory=dict)
    groups_from: str = ""
    replica_reasons: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def group_members(self) -> dict[str, list[str]]:
        """Group -> the ids of its tracks; empty when groups are unknown."""
        members = defaultdict(list)
        for track, group in self.groups.items():
            members[group].append(track)
        return dict(members)

    def record(self) -> DatasetRecord:
        """Return what reports and trackers keep of this data set."""
        return DatasetRecord(
            name=self.name,
            fingerprint=self.fingerprint,
            genres=self.genres,
            tracks=len(self.tracks),
            synthetic=self.synthetic,
            replicas=self.replicas,
            quarantined=self.quarantined,
        )
