"""What a data set is: its tracks, what cannot serve and why, which tracks are the same, and whose they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.records.study import DatasetRecord

ARTIST_TABLE = "artists.csv"
"""Beside the genre folders: the artist of every track."""

SYNTHETIC_NOTICE = "SYNTHETIC.txt"
"""Beside the genre folders: says that no one played this music."""


@dataclass(frozen=True, slots=True)
class Track:
    """One audio file with one genre.

    Attributes:
        id: the file's stem where stems are unique in the data set, else `genre/stem`, else more of its path.
        genre: the name of the genre folder that it lies in, at any depth.
        path: the file.
        digest: the content address of its decoded audio, mono at its own rate.
        seconds: its length.
    """

    id: str
    genre: str
    path: Path
    digest: str
    seconds: float


@dataclass(frozen=True)
class Dataset:
    """All usable tracks of a folder.

    Attributes:
        name: the folder's name, layout folders such as `genres` left out.
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
