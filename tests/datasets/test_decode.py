"""Decoding: the same music from any file, or the reason why it cannot serve."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.datasets.decode import ContentAddress, content_address, decode, open_blocks
from harness.datasets.signal import FULL_SCALE, SAMPLE_RATE, as_samples, quantised, resample
from harness.datasets.track_checks import TrackChecks
from harness.errors import DataError
from tests.helpers.audio import MP3_RATE, RATE, noise, without_length, write_audio, write_mp3


def seconds_of(path: Path) -> float:
    samples, rate = decode(path)
    return len(samples) / rate


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_decoding_and_resampling_gives_the_same_music_at_any_rate(tmp_path: Path, rate: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * 440 * np.arange(4 * rate) / rate)).astype(np.float32)

    path = write_audio(tmp_path / "tone.wav", np.stack([tone(rate), tone(rate) / 2], axis=1), rate, subtype="FLOAT")

    samples = resample(*decode(path))

    assert samples.dtype == np.float32
    assert samples.shape == (4 * SAMPLE_RATE,)
    middle = slice(SAMPLE_RATE, 3 * SAMPLE_RATE)
    np.testing.assert_allclose(samples[middle], tone(SAMPLE_RATE)[middle] * 0.75, atol=1e-3)


def test_what_cannot_serve_is_refused_with_the_reason_alone(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "silence.wav", np.zeros(16_000))
    with pytest.raises(DataError, match=r"^silent: its samples are all the same$"):
        decode(path)


def test_quantised_samples_come_back_within_half_a_step() -> None:
    samples = noise("any")
    assert quantised(samples).dtype == np.int16
    np.testing.assert_allclose(as_samples(quantised(samples)), samples, atol=0.51 / FULL_SCALE)


def test_blocks_are_the_track_and_give_its_address(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "long.wav", np.stack([noise(1, 100.0), noise(2, 100.0)], axis=1))

    rate, blocks = open_blocks(path)
    address, seen = ContentAddress(rate), []
    for block in blocks:
        address.update(block)
        seen.append(block)

    stored, _ = soundfile.read(path, dtype="float32")
    assert len(seen) > 1
    np.testing.assert_array_equal(np.concatenate(seen), stored.mean(axis=1, dtype=np.float32))
    np.testing.assert_array_equal(np.concatenate(seen), decode(path)[0])
    assert address.hexdigest() == content_address(*decode(path))


def test_blocks_that_are_not_taken_leave_no_file_open(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "one.wav")
    before = os.listdir("/proc/self/fd")
    _, blocks = open_blocks(path)
    next(blocks)
    del blocks
    assert os.listdir("/proc/self/fd") == before


def test_mp3_of_variable_bit_rate_is_read_to_its_end_without_a_header_that_tells_it(tmp_path: Path) -> None:
    whole = write_mp3(tmp_path / "whole.mp3")
    (tmp_path / "cut.mp3").write_bytes(without_length(whole))
    tagged = without_length(whole) + b"\0" * 20_000 + b"TAG" + b"x" * 125
    (tmp_path / "tagged.mp3").write_bytes(tagged)
    assert soundfile.info(tmp_path / "cut.mp3").frames < 6 * MP3_RATE, "libsndfile's guess is no longer short"

    assert seconds_of(tmp_path / "whole.mp3") == 8.0
    # The delay of the encoder comes along, of which the header told, too.
    assert 8.0 <= seconds_of(tmp_path / "cut.mp3") < 8.2
    np.testing.assert_array_equal(decode(tmp_path / "tagged.mp3")[0], decode(tmp_path / "cut.mp3")[0])
    # Continued where the guess ended, without a gap: the tone goes on as a tone.
    tone = decode(tmp_path / "cut.mp3")[0][MP3_RATE : -MP3_RATE // 2].astype(np.float64)
    np.testing.assert_allclose(tone[2:] + tone[:-2], 2 * np.cos(2 * np.pi * 300 / MP3_RATE) * tone[1:-1], atol=5e-3)


@pytest.mark.parametrize("between", [b"", b"TAG" + b"x" * 125, b"ID3\x03\0\0\0\0\x07\x76" + bytes(1014)])
def test_joined_mp3_are_read_one_behind_the_other(tmp_path: Path, between: bytes) -> None:
    first, second = write_mp3(tmp_path / "1.mp3"), write_mp3(tmp_path / "2.mp3", 6.0, channels=2)
    path = tmp_path / "joined.mp3"

    path.write_bytes(first + between + second)
    assert seconds_of(path) == 14.0
    path.write_bytes(first + between + without_length(second))
    assert 14.0 <= seconds_of(path) < 14.2
    path.write_bytes(without_length(first) + between + without_length(second))
    assert 14.0 <= seconds_of(path) < 14.4


@pytest.mark.parametrize("behind", [b"ID3\x03\0\0\0\0\x7f\x76" + bytes(16_374), b"TAG" + b"x" * 125])
@pytest.mark.parametrize("told", [True, False])
def test_tags_behind_an_mp3_are_no_part(tmp_path: Path, behind: bytes, told: bool) -> None:
    mp3 = write_mp3(tmp_path / "1.mp3")
    (tmp_path / "plain.mp3").write_bytes(mp3 if told else without_length(mp3))
    (tmp_path / "tagged.mp3").write_bytes((mp3 if told else without_length(mp3)) + behind)
    np.testing.assert_array_equal(decode(tmp_path / "tagged.mp3")[0], decode(tmp_path / "plain.mp3")[0])


def test_joined_parts_of_unlike_rates_are_refused(tmp_path: Path) -> None:
    parts = write_mp3(tmp_path / "1.mp3") + write_mp3(tmp_path / "2.mp3", rate=22_050)
    (tmp_path / "joined.mp3").write_bytes(parts)
    with pytest.raises(DataError, match="joined of parts of 16000 and 22050 Hz: convert it"):
        decode(tmp_path / "joined.mp3")


def test_an_mp3_behind_something_else_is_refused(tmp_path: Path) -> None:
    parts = write_mp3(tmp_path / "1.mp3") + b"between " * 50 + write_mp3(tmp_path / "2.mp3")
    (tmp_path / "joined.mp3").write_bytes(parts)
    with pytest.raises(DataError, match="another MP3 follows behind its end"):
        decode(tmp_path / "joined.mp3")


@pytest.mark.parametrize("suffix", [".ogg", ".flac"])
def test_chained_streams_are_read_one_behind_the_other(tmp_path: Path, suffix: str) -> None:
    links = [write_audio(tmp_path / f"{seconds}{suffix}", noise(seconds, seconds, 8_000), 8_000) for seconds in (4, 5)]
    path = tmp_path / f"chained{suffix}"
    path.write_bytes(b"".join(link.read_bytes() for link in links))
    np.testing.assert_array_equal(decode(path)[0], np.concatenate([decode(link)[0] for link in links]))


@pytest.mark.parametrize("length", [0, 100, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("suffix", [".wav", ".au"])
def test_a_recording_that_was_not_finished_is_read_to_the_end_of_the_file(
    tmp_path: Path, suffix: str, length: int
) -> None:
    path = write_audio(tmp_path / f"recorded{suffix}", subtype="PCM_16")
    right, content = decode(path)[0], bytearray(path.read_bytes())
    place = content.index(b"data") + 4 if suffix == ".wav" else 8
    content[place : place + 4] = length.to_bytes(4, "little" if suffix == ".wav" else "big")
    path.write_bytes(content)
    np.testing.assert_array_equal(decode(path)[0], right)


@pytest.mark.parametrize("behind", [b"LIST\x10\x00\x00\x00INFO" + b"x" * 12, bytes(50_000), b"odd"])
def test_what_stands_behind_the_samples_is_no_music(tmp_path: Path, behind: bytes) -> None:
    path = write_audio(tmp_path / "tagged.wav")
    right = decode(path)[0]
    path.write_bytes(path.read_bytes() + behind)
    np.testing.assert_array_equal(decode(path)[0], right)


@pytest.mark.parametrize("peak", [1.5, 10.0])
def test_slight_overs_serve(tmp_path: Path, peak: float) -> None:
    samples = noise("loud")
    samples *= peak / np.abs(samples).max()
    assert np.abs(decode(write_audio(tmp_path / "loud.wav", samples, subtype="FLOAT"))[0]).max() == pytest.approx(peak)


@pytest.mark.parametrize("scale", [FULL_SCALE, 1e18, 3e38])
@pytest.mark.parametrize("channels", [1, 2])
def test_float_files_in_another_scale_are_refused_for_it(tmp_path: Path, scale: float, channels: int) -> None:
    samples = np.stack([np.clip(noise("loud"), -1, 1) * np.float32(scale)] * channels, axis=1)
    path = write_audio(tmp_path / "scaled.wav", samples, subtype="FLOAT")
    with pytest.raises(DataError, match=r"^far beyond full scale: its samples reach .*\. Scale them to \[-1, 1\]$"):
        decode(path)


def test_a_damaged_frame_of_lossy_coding_is_no_other_scale() -> None:
    burst = noise("burst", 4.0)
    burst[:500] *= 1e5
    checks = TrackChecks(RATE, lossy=True)
    checks.see(burst)
    checks.finish()
    with pytest.raises(DataError, match="far beyond full scale"):
        TrackChecks(RATE).see(burst)


@pytest.mark.parametrize("leak", [0.0, 1e-3])
def test_channels_that_cancel_are_not_called_silent(tmp_path: Path, leak: float) -> None:
    left = noise("left")
    path = write_audio(tmp_path / "opposite.wav", np.stack([left, leak * noise("leak") - left], axis=1))
    with pytest.raises(DataError, match=r"^its channels cancel when mixed down"):
        decode(path)


def test_wide_stereo_serves(tmp_path: Path) -> None:
    left, right = noise("left"), noise("right")
    path = write_audio(tmp_path / "wide.wav", np.stack([left, 0.2 * right - 0.9 * left], axis=1))
    assert seconds_of(path) == 3.2


@pytest.mark.parametrize("silent", [0, 1])
@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_a_silent_channel_does_not_halve_the_other(tmp_path: Path, silent: int, suffix: str) -> None:
    sound = noise("sound", 30.0, MP3_RATE)
    channels = np.zeros((len(sound), 2), np.float32)
    channels[:, 1 - silent] = sound
    path = write_audio(tmp_path / f"one_sided{suffix}", channels, MP3_RATE)
    assert decode(path)[0].std() == pytest.approx(sound.std(), rel=0.05)


def test_a_channel_that_begins_later_is_mixed_in_from_the_beginning(tmp_path: Path) -> None:
    sound = noise("sound", 100.0)
    late = np.where(np.arange(len(sound)) < 90 * RATE, 0, noise("late", 100.0))
    path = write_audio(tmp_path / "late.wav", np.stack([sound, late], axis=1), subtype="FLOAT")
    np.testing.assert_array_equal(decode(path)[0][: 90 * RATE], sound[: 90 * RATE] / 2)


OTHERS = {
    "AAC audio": b"\xff\xf1\x5c\x40",
    "AAC or ALAC audio in an MP4 file": b"\0\0\0\x20ftypM4A ",
    "an MP4 or QuickTime file": b"\0\0\0\x20ftypisom",
    "a Windows Media file": bytes.fromhex("3026b2758e66cf11"),
    "a Matroska or WebM file": bytes.fromhex("1a45dfa3"),
    "Monkey's Audio": b"MAC \x96\x0f",
    "WavPack audio": b"wvpk",
    "a MIDI file": b"MThd\0\0\0\6",
    "a packed archive": b"PK\x03\x04",
    "a web page": b"\n<!DOCTYPE html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1",
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("before", [b"", b"ID3\x04\0\0\0\0\0\x05hello"])
def test_first_bytes_say_what_a_file_is_whatever_its_name(tmp_path: Path, kind: str, before: bytes) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(before + OTHERS[kind] + b"\x21\x55" * 4_000)
    with pytest.raises(DataError, match=rf"^this is {kind}.*: .*(convert|render|unpack|get|git)"):
        decode(path)


@pytest.mark.parametrize("written", ["AIFF", "FLAC", "OGG"])
def test_what_can_be_read_serves_under_any_name(tmp_path: Path, written: str) -> None:
    assert seconds_of(write_audio(tmp_path / "song.wav", rate=8_000, format=written)) == 3.2


def test_flac_of_one_frame_without_its_length_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "stream.flac", noise("short", 0.5))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(DataError, match="does not say its length"):
        decode(path)


def test_folders_and_pipes_are_called_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(DataError, match=r"^no ordinary file$"):
        decode(tmp_path / "pipe.wav")
    with pytest.raises(DataError, match=r"^a folder, no file$"):
        decode(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take no names that are not UTF-8")
@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_a_name_need_not_be_utf8(tmp_path: Path, suffix: str) -> None:
    path = write_audio(tmp_path / f"song{suffix}", noise("song", rate=MP3_RATE), MP3_RATE)
    latin = Path(os.fsdecode(os.fsencode(tmp_path) + b"/citt\xe0" + suffix.encode()))
    right = decode(path)[0]
    path.rename(latin)
    np.testing.assert_array_equal(decode(latin)[0], right)
    latin.write_bytes(b"text")
    with pytest.raises(DataError, match=r"^not audio that libsndfile can read"):
        decode(latin)


@pytest.mark.parametrize("error", [MemoryError, soundfile.SoundFileRuntimeError, OSError])
def test_whatever_a_decoder_raises_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[int, str], Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error(5, "broken")

    path = write_audio(tmp_path / "one.wav")
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(DataError, match=r"memory|libsndfile|not readable"):
        decode(path)


def test_notes_of_decoders_are_not_shown_and_ours_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = write_mp3(tmp_path / "whole.mp3")
    (tmp_path / "damaged.mp3").write_bytes(whole + bytes(500))
    with soundfile.SoundFile(tmp_path / "damaged.mp3") as file:
        file.read(8 * MP3_RATE)
    assert capfd.readouterr().err, "libmpg123 has become silent"

    _, blocks = open_blocks(tmp_path / "damaged.mp3")
    for _ in blocks:
        os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"
