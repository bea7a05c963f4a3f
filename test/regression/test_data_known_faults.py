"""Faults that other toolkits had with the same files, kept from coming back."""

import csv
import os
import stat

import numpy as np
import pytest
import soundfile
from factories import make_commonvoice, make_kaldi_dir, make_wav

from espnet2_dq.data.audio import AudioError, read_audio
from espnet2_dq.data.commonvoice_release import read_clips
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.tables import read_table, write_table


def test_a_csv_reader_would_have_lost_lines(tmp_path):
    """Unbalanced quotes: the reader of the standard library merges three rows."""
    release = make_commonvoice(tmp_path, langs=("es",), clips=4, seconds=0.1)
    table = release / "es" / "train.tsv"
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace("one small", '"one small')
    table.write_text("\n".join(lines) + "\n")
    with table.open(newline="") as stream:
        assert len(list(csv.DictReader(stream, delimiter="\t"))) < 4
    assert len(read_clips(table, "es")[0]) == 4


@pytest.mark.parametrize("blank", ["\u2028", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_unicode_line_separators_do_not_end_lines(tmp_path, blank):
    """``str.splitlines`` ends lines at these; transcripts hold them."""
    write_table(tmp_path / "text", {"u1": f"a{blank}b", "u2": "c"})
    assert read_table(tmp_path / "text") == {"u1": f"a{blank}b", "u2": "c"}


def test_order_is_that_of_bytes_whatever_the_locale(tmp_path):
    """Kaldi's checks want LC_ALL=C; a locale's order puts ``B`` behind ``a``."""
    utts = ["a_1", "B-1", "b 1".replace(" ", "-"), "É", "z", "\U0001f600", "\uffee"]
    directory = KaldiDir.from_utterances(
        Utterance(utt, "/x.wav", None, utt, "es", 1) for utt in utts
    )
    directory.write(tmp_path / "d")
    for name in ("wav.scp", "utt2spk", "spk2utt", "utt2lang"):
        lines = (tmp_path / "d" / name).read_bytes().splitlines()
        assert lines == sorted(lines)


def test_paths_with_blanks_survive(tmp_path):
    make_wav(tmp_path / "my sounds" / "a b.wav")
    row = Utterance("u", f"{tmp_path}/my sounds/a b.wav", "x", "s", "es", 16000)
    KaldiDir.from_utterances([row]).write(tmp_path / "d")
    (again,) = KaldiDir.read(tmp_path / "d")
    assert len(read_audio(again.path)) == 16000


def test_a_truncated_mp3_does_not_pass_as_shorter_speech(tmp_path):
    """libsndfile decodes what is there and reports no error."""
    path = make_wav(tmp_path / "a.mp3", seconds=2.0, rate=48000)
    path.write_bytes(path.read_bytes()[:-2000])
    samples, _ = soundfile.read(str(path))
    assert 0 < len(samples) < 96000
    with pytest.raises(AudioError, match="truncated"):
        read_audio(path)


def test_files_are_readable_for_the_group(tmp_path):
    """``tempfile`` makes files for the owner alone; shared corpora need more."""
    old = os.umask(0o022)
    try:
        make_kaldi_dir(tmp_path / "d", with_audio=False)
    finally:
        os.umask(old)
    mode = stat.S_IMODE((tmp_path / "d" / "wav.scp").stat().st_mode)
    assert mode == 0o644


def test_clipping_floats_are_not_wrapped(tmp_path):
    soundfile.write(
        str(tmp_path / "a.wav"), np.array([1.5, -1.5] * 50), 16000, subtype="FLOAT"
    )
    assert np.abs(read_audio(tmp_path / "a.wav")).max() == 1.5
