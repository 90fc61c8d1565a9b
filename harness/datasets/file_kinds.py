"""What a file is by its first bytes, where that is nothing that can be read, whatever its name says."""

from __future__ import annotations

import re

HEAD = 512
"""Bytes that are enough to tell."""

_CONVERT = "which libsndfile cannot read: convert it to .flac or .wav, as with ffmpeg"
_UNPACK = "no audio: unpack it"
_AGAIN = "no audio: get the file anew"

_KINDS: tuple[tuple[bytes, str, str], ...] = (
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
    (rb"PK\x03\x04|7z\xbc\xaf\x27\x1c|Rar!|\x1f\x8b|BZh|\xfd7zXZ", "a packed archive", _UNPACK),
    (rb"(?i:\s*<(!doctype|html|\?xml|head))", "a web page", _AGAIN),
    (rb"version https://git-lfs", "a pointer of Git LFS", "no audio: `git lfs pull` fetches the file"),
    (rb"\xff\xd8\xff|\x89PNG|GIF8", "a picture", _AGAIN),
    (rb"%PDF", "a PDF document", _AGAIN),
)


def unreadable_kind(head: bytes) -> str | None:
    """Return what a file is and what to do, as "this is AAC audio, ...", or None where libsndfile shall decide.

    Args:
        head: its first `HEAD` bytes; behind an ID3 tag, where it has one.
    """
    for pattern, kind, advice in _KINDS:
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
