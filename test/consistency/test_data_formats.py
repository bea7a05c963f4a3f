"""docs/data_formats.md shows files that the code reads, and names all of them."""

import re
from pathlib import Path

import pytest

from espnet2_dq.data.commonvoice_release import read_clip_list
from espnet2_dq.data.cut import read_segments
from espnet2_dq.data.kaldi_dir import KNOWN_FILES, KaldiDir
from espnet2_dq.data.rejects import kind_of

PAGE = Path(__file__).parents[2] / "docs" / "data_formats.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def blocks_after(page, title):
    """The code blocks between a title in bold and the next one."""
    part = page[page.index(f"**`{title}`**") + 4 :]
    part = re.split(r"\n(?:\*\*|## )", part)[0]
    return re.findall(r"```\n(.*?)```", part, re.DOTALL)


def test_the_samples_form_a_readable_directory(page, tmp_path):
    for name in ("wav.scp", "text", "utt2lang", "utt2num_samples", "utt2source"):
        (block,) = blocks_after(page, name)
        assert len(block.splitlines()) == 2
        (tmp_path / name).write_text(block, encoding="utf-8")
    speakers, utterances = blocks_after(page, "utt2spk")
    (tmp_path / "utt2spk").write_text(speakers, encoding="utf-8")
    (tmp_path / "spk2utt").write_text(utterances, encoding="utf-8")
    directory = KaldiDir.read(tmp_path)
    assert len(directory) == 2
    assert directory.languages == ["es"]
    assert set(directory.extra) == {"utt2source"}
    (ctm,) = blocks_after(page, "phn.ctm")
    (tmp_path / "phn.ctm").write_text(ctm.replace("it-m1-0007", directory_first(page)))
    assert len(KaldiDir.read(tmp_path).phones) == 1


def directory_first(page):
    return blocks_after(page, "wav.scp")[0].split()[0]


def test_every_file_and_kind_of_reject_is_named(page):
    for name in KNOWN_FILES:
        assert f"**`{name}`**" in page
    (rejects,) = blocks_after(page, "reject.tsv")
    for line in rejects.splitlines():
        assert f"`{kind_of(line.split(chr(9))[1])}`" in page
    sources = (PAGE.parents[1] / "espnet2_dq" / "data").glob("*.py")
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    kinds = set(re.findall(r'AudioError\(\s*\w+,\s*f?"([a-z ]+):', code))
    assert {"truncated", "missing file", "empty file"} <= kinds
    kinds |= set(re.findall(r'(?:reason = |return |, )f?"([a-z ]+): ', code))
    prose = {"commonvoice", "mini"}
    assert {k for k in kinds - prose if f"`{k}`" not in page} == set()


def test_user_file_samples_parse(page, tmp_path):
    (tmp_path / "list").write_text("common_voice_es_1\n")
    assert read_clip_list(tmp_path / "list")
    block = page.rsplit("```\n", 2)[1]
    (tmp_path / "segments").write_text(block)
    assert read_segments(tmp_path / "segments")["u2"] == ("rec1", 3.0, None)
