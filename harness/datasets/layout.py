"""The layout of a data set on disk: which folders are its genres, which files lie under them, and what is litter."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.datasets import gtzan
from harness.datasets.decode import AUDIO_SUFFIXES
from harness.errors import DataError

_CONVERT = f"not one of {', '.join(AUDIO_SUFFIXES)}: convert it"
_UNPACK = "an archive: unpack it"
_FETCH = "an unfinished download: fetch it again"
_OTHER_AUDIO = (
    ".3ga .aa .aac .aax .ac3 .adts .alac .amr .ape .at3 .awb .dff .dsf .dts .eac3 .gsm .it .kar .m4a .m4b .m4p .m4r "
    ".mid .midi .mka .mod .mp1 .mpa .mpc .mpga .oma .ofr .ra .rm .s3m .sd2 .shn .sph .spx .tak .tta .voc .weba .wma "
    ".wv .xm"
)
_VIDEO = ".3g2 .3gp .asf .avi .divx .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogm .ogv .ogx .ts .vob .webm .wmv"
_ARCHIVES = ".7z .bz2 .gz .rar .tar .tgz .xz .zip"
_UNFINISHED = ".crdownload .download .part .partial"
_UNSERVED = {
    **dict.fromkeys(f"{_OTHER_AUDIO} {_VIDEO}".split(), _CONVERT),
    **dict.fromkeys(_ARCHIVES.split(), _UNPACK),
    **dict.fromkeys(_UNFINISHED.split(), _FETCH),
}
"""Suffix -> why a file that is music all the same cannot serve."""

_BESIDE_MUSIC = (
    ".accurip .bmp .css .csv .cue .db .doc .docx .ffp .gif .htm .html .ini .jpeg .jpg .json .log .lrc .m3u .m3u8 .md "
    ".md5 .nfo .npy .pdf .pls .png .rtf .sfv .sha1 .sha256 .svg .tif .tiff .tsv .txt .url .webp .xml .xspf .yaml "
    ".yml"
)
_NO_AUDIO = frozenset(_BESIDE_MUSIC.split())
"""Suffixes of what lies beside music: pictures, texts, tables, playlists."""

_SYSTEM_FOLDERS = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "found.000",
        "lost+found",
        "recycler",
        "system volume information",
    }
)
"""Folders that operating systems and network disks make by themselves; those with a dot are strays anyway."""

_MAGIC = re.compile(
    rb"RIFF....WAVE|RF64|fLaC|OggS|FORM....AIF|\.snd|caff|ID3|\xff[\xf1-\xf3\xf9-\xfb]"
    rb"|MAC |wvpk|....ftyp|\x1aE\xdf\xa3",
    re.DOTALL,
)
"""First bytes of audio and video: of what libsndfile reads, of AAC, Monkey's Audio, WavPack, MP4 and Matroska."""

_NOWHERE = "a link that leads nowhere (No such file or directory): mend or remove it"


class AudioFile(NamedTuple):
    """A file that is to be decoded, and its path below the genre folders' folder as records hold it."""

    path: Path
    name: str

    @property
    def genre(self) -> str:
        return self.name.partition("/")[0]


@dataclass
class Layout:
    """What lies in the genre folders of a data set; nothing of it has been decoded.

    Attributes:
        base: the folder whose folders are the genres.
        files: those to decode, sorted by name.
        refused: name of a file or folder that is not looked into -> the reason.
        ignored: suffix -> how many files are no audio, whatever genre they lie in.
        genres: the name of every genre folder -> whether its loss would be one of music: it holds what may be audio.
        loose: names of files beside the genre folders that hold music, or may.
        empty: names of genre folders without a file.
    """

    base: Path
    files: list[AudioFile] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    genres: dict[str, bool] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


def find_layout(root: Path) -> Layout:
    """Return what lies in the genre folders of a data set.

    Args:
        root: holds one folder a genre, or a folder such as `genres/` that does.

    Raises:
        DataError: it is no folder, or has no genre folders with audio in them at any depth.
        OSError: it cannot be listed.
    """
    if root.is_file():
        advice = (
            "unpack it, and name the folder" if _UNSERVED.get(root.suffix.lower()) == _UNPACK else "name the folder"
        )
        raise DataError(f"{root}: is a file: {advice} that holds the genre folders.")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Name the folder that holds the genre folders.")
    for base in (*(root / layout for layout in gtzan.LAYOUTS), root):
        if base.is_dir() and ((found := _walked(base)).files or found.refused):
            return found
    lie = f" What lies directly in it is in no genre's folder: {', '.join(found.loose[:3])}." if found.loose else ""
    raise DataError(
        f"{root}: no genre folders with audio in it.{lie} A data set is one folder a genre, with "
        f"{', '.join(AUDIO_SUFFIXES)} files, directly in it or in {', '.join(gtzan.LAYOUTS)}."
    )


def printable(name: str) -> str:
    """Return a file's name without the bytes that are no text, which no record can hold."""
    return name.encode("utf-8", "replace").decode()


def _walked(base: Path) -> Layout:
    layout = Layout(base)
    walk = _Walk(layout)
    for entry in _entries(base):
        if entry.is_dir():
            layout.genres[printable(entry.name)] = False
            walk.entry(entry)
        elif entry.is_symlink() and not entry.exists():
            walk.refuse(entry, _NOWHERE)
        elif entry.suffix.lower() in (*AUDIO_SUFFIXES, *_UNSERVED):
            layout.loose.append(printable(entry.name))
    # Links come last: a folder is read where it really lies, if that is in this data set.
    while walk.links:
        walk.entry(walk.links.pop(0), follow=True)
    layout.files.sort(key=lambda file: file.path)
    layout.refused = dict(sorted(layout.refused.items()))
    layout.empty = [genre for genre in layout.genres if genre not in walk.filled]
    return layout


@dataclass
class _Walk:
    """The way through the folders of genres, at any depth; every folder is entered once.

    Attributes:
        layout: takes what is found.
        entered: folders, by `_identity`.
        links: folders that are links, and have not been followed yet.
        filled: names of genre folders in which there is any file.
    """

    layout: Layout
    entered: set[tuple[int, int]] = field(default_factory=set)
    links: list[Path] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)

    def entry(self, path: Path, *, follow: bool = False) -> None:
        """Take a file or folder; a link to a folder is put off unless it is to be followed now."""
        try:
            if not path.is_dir():
                self._file(path)
            elif path.is_symlink() and not follow:
                self.links.append(path)
            else:
                self._folder(path)
        except OSError as error:
            self.refuse(path, f"not readable ({error.strerror}): check its permissions")

    def _folder(self, folder: Path) -> None:
        target = folder.resolve()
        if self.layout.base.resolve().is_relative_to(target):
            self.refuse(folder, f"a link to a folder above it, {printable(str(target))}: remove it")
        elif _identity(folder) in self.entered:
            self.refuse(folder, f"a folder that is read already, {printable(str(target))}: remove the link")
        else:
            self.entered.add(_identity(folder))
            for path in _entries(folder):
                self.entry(path)

    def _file(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix in _NO_AUDIO:
            self.filled.add(self._genre(path))
            self.layout.ignored[suffix] += 1
        elif path.is_symlink() and not path.exists():
            self.refuse(path, _NOWHERE)
        elif not path.is_file():
            self.refuse(path, "neither a file nor a folder: remove it")
        elif suffix in AUDIO_SUFFIXES:
            self._may_be_music(path)
            self.layout.files.append(AudioFile(path, self._name(path)))
        elif suffix in _UNSERVED:
            self.refuse(path, _UNSERVED[suffix])
        elif _begins_as_audio(path):
            self.refuse(path, "audio or video by its first bytes, but not by its suffix: rename or convert it")
        else:
            # What no one knows may be music, so a genre of nothing else is not passed over.
            self._may_be_music(path)
            self.layout.ignored[suffix or "without a suffix"] += 1

    def refuse(self, path: Path, reason: str) -> None:
        self._may_be_music(path)
        self.layout.refused[self._name(path)] = reason

    def _may_be_music(self, path: Path) -> None:
        self.filled.add(self._genre(path))
        self.layout.genres[self._genre(path)] = True

    def _name(self, path: Path) -> str:
        return printable(path.relative_to(self.layout.base).as_posix())

    def _genre(self, path: Path) -> str:
        return self._name(path).partition("/")[0]


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not _is_stray(path.name))


def _is_stray(name: str) -> bool:
    """Whether it is litter that copies of GTZAN carry, or that systems make: `.DS_Store`, `lost+found`."""
    return (
        name.startswith(".")
        or name.endswith(".mf")
        or name.casefold() in {"thumbs.db", "desktop.ini"}
        or name.casefold() in _SYSTEM_FOLDERS
    )


def _identity(folder: Path) -> tuple[int, int]:
    """Return what is the same for one folder under all of its names."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _begins_as_audio(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(_MAGIC.match(file.read(12)))
    except OSError:
        return False


def ignored_kinds(layout: Layout) -> Iterator[str]:
    """Yield the kinds of files that are no audio, the commonest first: `12 .jpg`."""
    for suffix, count in sorted(layout.ignored.items(), key=lambda kind: (-kind[1], kind[0])):
        yield f"{count} {suffix}"
