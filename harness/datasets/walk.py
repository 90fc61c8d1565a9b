"""The walk through a folder of music at any depth: what is audio, what is not read and why; litter is passed over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from harness.datasets.decode import AUDIO_SUFFIXES
from harness.datasets.file_kinds import disguised_music
from harness.datasets.suffixes import NO_AUDIO, UNSERVED
from harness.paths import PathState, path_state, storable

_MADE_BY_SYSTEMS = (
    "#recycle #snapshot $recycle.bin .appledb .appledesktop .appledouble .apdisk .cache .directory "
    ".documentrevisions-v100 .dropbox .dropbox.cache .ds_store .dvc .fseventsd .git .hg .ipynb_checkpoints .localized "
    ".snapshot .snapshots .spotlight-v100 .stfolder .stversions .svn .temporaryitems .thumbnails .trash .trashes "
    ".unpacking .zfs @eadir @recently-snapshot @recycle @tmp __macosx desktop.ini found.000 lost+found recycler "
    "thumbs.db"
)
_LITTER = frozenset([*_MADE_BY_SYSTEMS.split(), "system volume information", "network trash folder", "temporary items"])
"""What operating systems, network disks, version control and programs that copy make by themselves, in lower case."""

_LITTER_NAMES = re.compile(r"\._|\.trash-\d|\.nfs[0-9a-f]{8}|\.fuse_hidden|\.~lock\.", re.IGNORECASE)
"""How the names of such files begin that differ from place to place; `._` are those of a Mac on other disks."""

_NOT_READABLE = "not readable ({}): check its permissions"


class Found(NamedTuple):
    """A file, or a folder that is not looked into.

    Attributes:
        kind: `audio` is to be decoded; `refused` is a file that is music, or may be, and cannot be; `closed` may be a
            file or a folder and cannot be looked at; `again` is a link to a folder that the walk passes anyway;
            `other` is no audio; `unknown` is called as no one knows, and does not begin as audio does.
        reason: why it is not read, and what to do; of what is no audio, its suffix.
    """

    path: Path
    kind: Literal["audio", "refused", "closed", "again", "other", "unknown"]
    reason: str = ""


def walk(folder: Path) -> Iterator[Found]:
    """Yield what lies in a folder at any depth, sorted, but what links lead to last. Every folder is entered once.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    return _Walk(folder).found()


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, without litter.

    Raises:
        OSError: it cannot be listed.
    """
    return sorted(path for path in folder.iterdir() if not _is_litter(path))


def seen(path: Path, state: PathState) -> Found:
    """Return what a path is that is no folder."""
    suffix = path.suffix.lower()
    if suffix in NO_AUDIO and state.kind != "file":
        return Found(path, "other", suffix)
    if state.kind == "missing":
        return Found(path, "closed", f"a link that leads nowhere ({state.why}): mend or remove it")
    if state.kind == "unreadable":
        return Found(path, "closed", _NOT_READABLE.format(state.why))
    if state.kind == "other":
        return Found(path, "refused", "neither a file nor a folder: remove it")
    if suffix in AUDIO_SUFFIXES:
        return Found(path, "audio")
    if suffix in UNSERVED:
        return Found(path, "refused", UNSERVED[suffix])
    # Settings of programs are called `.keep`; what no one knows may be music.
    other = suffix in NO_AUDIO or (not suffix and path.name.startswith("."))
    try:
        reason = disguised_music(path)
    except OSError as error:
        reason = None if other else _not_readable(error)
    if reason is not None:
        return Found(path, "refused", reason)
    return Found(path, "other" if other else "unknown", suffix or "without a suffix")


class _Walk:
    """The way through a folder.

    Links to folders come last: a folder is read where it really lies, if the walk comes there.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._entered: set[tuple[int, int]] = set()
        self._links: list[Path] = []

    def found(self) -> Iterator[Found]:
        for path in entries(self._base):
            yield from self._entry(path)
        while self._links:
            yield from self._folder(self._links.pop(0))

    def _entry(self, path: Path) -> Iterator[Found]:
        state = path_state(path)
        if state.kind != "folder":
            yield seen(path, state)
        elif path.is_symlink():
            self._links.append(path)
        else:
            yield from self._folder(path)

    def _folder(self, folder: Path) -> Iterator[Found]:
        try:
            target, identity, inside = folder.resolve(), _identity(folder), entries(folder)
        except OSError as error:
            yield Found(folder, "closed", _not_readable(error))
            return
        if self._base.resolve().is_relative_to(target):
            yield Found(folder, "again", f"a link to a folder above it, {storable(str(target))}: remove it")
        elif identity in self._entered:
            yield Found(folder, "again", f"a folder that is read already, {storable(str(target))}: remove the link")
        else:
            self._entered.add(identity)
            for path in inside:
                yield from self._entry(path)


def _is_litter(path: Path) -> bool:
    name = path.name
    if name.casefold() in _LITTER or _LITTER_NAMES.match(name):
        return True
    # Copies of GTZAN carry lists of their files.
    return name.endswith(".mf") and path_state(path).kind != "folder"


def _identity(folder: Path) -> tuple[int, int]:
    """Return what is the same for one folder under all of its names."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _not_readable(error: OSError) -> str:
    return _NOT_READABLE.format(error.strerror)
