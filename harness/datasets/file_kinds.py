"""What a file is by its first bytes, whatever its name says: what cannot be read, and what is music all the same."""

from __future__ import annotations

import re
from pathlib import Path

HEAD = 512
"""Bytes that are enough to tell."""

_CONVERT = "which libsndfile cannot read: convert it to .flac or .wav, as with ffmpeg"
_UNPACK = "no audio: unpack it"
_AGAIN = "no audio: get the file anew"

_Kinds = tuple[tuple[bytes, str, str], ...]
"""The beginning of a file, what it then is, and what to do."""

_NO_MUSIC: _Kinds = (
    (rb"PK\x03\x04|7z\xbc\xaf\x27\x1c|Rar!|\x1f\x8b|BZh|\xfd7zXZ", "a packed archive", _UNPACK),
    (rb"(?i:\s*<(!doctype|html|\?xml|head))", "a web page", _AGAIN),
    (rb"version https://git-lfs", "a pointer of Git LFS", "no audio: `git lfs pull` fetches the file"),
    # Of pictures, some lie in the container of MP4.
    (rb"\xff\xd8\xff|\x89PNG|GIF8|.{4}ftyp(heic|heix|heim|mif1|msf1|avif|avis|crx )", "a picture", _AGAIN),
    (rb"%PDF", "a PDF document", _AGAIN),
)
_MUSIC: _Kinds = (
    # Layer 0, which MPEG audio has not: MP3 has the same twelve bits in front.
    (rb"\xff[\xf0\xf1\xf8\xf9]|ADIF", "AAC audio", _CONVERT),
    (rb".{4}(ftypM4A|ftypM4B)", "AAC or ALAC audio in an MP4 file (.m4a)", _CONVERT),
    (rb".{4}(ftyp|moov|mdat|wide)", "an MP4 or QuickTime file", _CONVERT),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (.wma or another ASF)", _CONVERT),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM file", _CONVERT),
    (rb"OggS.{24}Speex   ", "Speex audio", _CONVERT),
    (rb"MAC ", "Monkey's Audio (.ape)", _CONVERT),
    (rb"wvpk", "WavPack audio (.wv)", _CONVERT),
    (rb"MPCK|MP\+", "Musepack audio (.mpc)", _CONVERT),
    (rb"TTA[12]", "True Audio (.tta)", _CONVERT),
    (rb"tBaK", "TAK audio", _CONVERT),
    (rb"DSD |FRM8.{8}DSD ", "DSD audio", _CONVERT),
    (rb"\x0b\x77", "AC-3 audio", _CONVERT),
    (rb"\x7f\xfe\x80\x01", "DTS audio", _CONVERT),
    (rb"#!AMR", "AMR audio", _CONVERT),
    (rb"\.RMF|\.ra\xfd", "a RealMedia file", _CONVERT),
    (rb"FLV\x01", "a Flash video", _CONVERT),
    (rb"RIFF.{4}AVI ", "a video (.avi)", _CONVERT),
    (rb"MThd|RIFF.{4}RMID", "a MIDI file", "notes and no audio: render it first"),
)
_READABLE = re.compile(
    rb"RIFF.{4}WAVE|RIFX.{4}WAVE|RF64|riff\x2e\x91\xcf\x11|fLaC|OggS|FORM.{4}AIF|\.snd|caff|ID3"
    rb"|\xff[\xe2\xe3\xf2-\xf7\xfa-\xfd][\x10-\xef]",
    re.DOTALL,
)
"""The beginning of what libsndfile reads; last, a frame of MPEG audio with a bit rate."""

_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")


def unreadable_kind(head: bytes) -> str | None:
    """Return what a file is and what to do, as "this is AAC audio, ...", or None where libsndfile shall decide.

    Args:
        head: its first `HEAD` bytes; behind an ID3 tag, where it has one.
    """
    return _kind(head, _NO_MUSIC) or _kind(head, _MUSIC)


def disguised_music(path: Path) -> str | None:
    """Return what to do with a file that is no audio by its name, but audio or video by its first bytes, else None.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        front = file.read(HEAD)
        file.seek(id3_length(front))
        head = file.read(HEAD)
    # Texts, too, begin with `MAC ` or `ID3`; the headers that do have lengths in them, so bytes that no text has.
    is_text = _TEXT.fullmatch(front) and not front.startswith(b"\xff")
    if is_text or _kind(head, _NO_MUSIC):
        return None
    if kind := _kind(head, _MUSIC):
        return kind
    if _READABLE.match(front):
        return "audio or video by its first bytes, but not by its suffix: rename or convert it"
    return None


def _kind(head: bytes, kinds: _Kinds) -> str | None:
    for pattern, kind, advice in kinds:
        if re.match(pattern, head, re.DOTALL):
            return f"this is {kind}, {advice}"
    return None


def id3_length(head: bytes) -> int:
    """Return how many bytes the ID3 tag takes that begins with `head`, of at least 10 bytes; 0 where none does."""
    if len(head) < 10 or not head.startswith(b"ID3") or max(head[6:10]) > 0x7F:
        return 0
    first, second, third, fourth = head[6:10]
    footer = 10 if head[5] & 0x10 else 0
    return 10 + (first << 21 | second << 14 | third << 7 | fourth) + footer
