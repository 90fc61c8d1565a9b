"""What a file's suffix says of it: audio that is read, audio that is not and what to do, or what lies beside music."""

from __future__ import annotations

from harness.datasets.decode import AUDIO_SUFFIXES

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
_BESIDE_MUSIC = (
    ".accurip .bmp .css .csv .cue .db .doc .docx .ffp .gif .htm .html .ini .jpeg .jpg .json .log .lrc .m3u .m3u8 .md "
    ".md5 .nfo .npy .pdf .pls .png .rtf .sfv .sha1 .sha256 .svg .tif .tiff .tsv .txt .url .webp .xml .xspf .yaml "
    ".yml"
)

UNSERVED = {
    **dict.fromkeys(f"{_OTHER_AUDIO} {_VIDEO}".split(), _CONVERT),
    **dict.fromkeys(_ARCHIVES.split(), _UNPACK),
    **dict.fromkeys(_UNFINISHED.split(), _FETCH),
}
"""Suffix -> why a file that is music all the same cannot serve."""

NO_AUDIO = frozenset(_BESIDE_MUSIC.split())
"""Suffixes of what lies beside music: pictures, texts, tables, playlists."""


def is_archive(suffix: str) -> bool:
    """Return whether a suffix, in lower case, is that of something to unpack."""
    return UNSERVED.get(suffix) == _UNPACK
