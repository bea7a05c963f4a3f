"""The rule of the transcripts travels with the data directory."""

import pytest
from factories import make_kaldi_dir

from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.sets import remove_other_sets
from espnet2_dq.errors import DataError


def test_written_read_kept_by_subsets_and_removed(tmp_path):
    data = make_kaldi_dir(tmp_path / "set", langs=("ko",))
    data.text_rule = "phonetic max_train_characters=200"
    data.write(tmp_path / "set")
    found = KaldiDir.read(tmp_path / "set")
    assert found.text_rule == data.text_rule
    assert found.extra == {}
    assert found.subset(list(found.utterances)[:1]).text_rule == data.text_rule
    found.text_rule = ""
    found.write(tmp_path / "set")
    assert KaldiDir.read(tmp_path / "set").text_rule == ""
    data.write(tmp_path / "set")
    remove_other_sets(tmp_path, [])
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("content", ["", "\n", "orthographic\nphonetic\n"])
def test_anything_but_one_line_is_refused(tmp_path, content):
    make_kaldi_dir(tmp_path / "set", langs=("ko",))
    (tmp_path / "set" / "text_rule").write_text(content)
    with pytest.raises(DataError, match="text_rule: . lines; expected one"):
        KaldiDir.read(tmp_path / "set")
