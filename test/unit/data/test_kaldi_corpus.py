import logging

import numpy as np
import pytest
import soundfile
from factories import make_kaldi_tree, make_wav, write_files

from espnet2_dq.data.audio import read_audio
from espnet2_dq.data.kaldi_corpus import KaldiCorpusOptions, find_sets, prepare_kaldi
from espnet2_dq.data.kaldi_dir import KaldiDir, PhoneSegment
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.errors import DataError


def prepare(tree, out, **options):
    return prepare_kaldi(
        tree, out, KaldiCorpusOptions(workers=2, **options), ProbeCache(None)
    )


@pytest.fixture
def tree(tmp_path):
    return make_kaldi_tree(tmp_path / "mine")


def edit(path, change):
    path.write_text(change(path.read_text()), encoding="utf-8")


def test_other_languages_than_the_nine(tree, tmp_path):
    sets = prepare(tree, tmp_path / "data")
    assert {n: s.languages for n, s in sets.items()} == dict.fromkeys(
        ("train", "dev", "test"), ["de", "pl"]
    )
    assert all(len(s) == 6 for s in sets.values())
    sets["train"].write(tmp_path / "data" / "train")
    assert KaldiDir.read(tmp_path / "data" / "train") == sets["train"]


def test_the_users_tree_is_only_read(tree, tmp_path):
    before = {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    prepare(tree, tmp_path / "data")
    assert {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()} == before
    with pytest.raises(DataError, match="must not be --data_root"):
        prepare(tree, tree)


@pytest.mark.parametrize("start", ["set", "parent", "cwd", "absolute"])
def test_relative_paths(tree, tmp_path, monkeypatch, start):
    base = {"set": tree / "train", "parent": tree, "cwd": tmp_path / "w"}.get(
        start, tmp_path / "far"
    )
    (base).mkdir(exist_ok=True)
    for path in (tree / "wav").glob("*-train-*"):
        (base / "s").mkdir(exist_ok=True)
        path.rename(base / "s" / path.name)
    prefix = f"{base}/s/" if start == "absolute" else "s/"
    edit(tree / "train" / "wav.scp", lambda x: x.replace("wav/", prefix))
    if start == "cwd":
        monkeypatch.chdir(base)
    train = prepare(tree, tmp_path / "data")["train"]
    assert {u.path for u in train} == {str(p) for p in (base / "s").iterdir()}


def test_samples_are_counted_at_16_khz(tmp_path):
    tree = make_kaldi_tree(tmp_path / "mine", rate=8000)
    write_files(tree / "train", {"utt2num_samples": "de-train-0 8000\n"})
    assert {u.num_samples for u in prepare(tree, tmp_path / "d")["train"]} == {16000}


def test_a_set_without_text_serves_pretraining(tmp_path):
    tree = make_kaldi_tree(tmp_path / "mine", text=False)
    assert not prepare(tree, tmp_path / "data")["train"].has_text


def test_one_language_needs_no_utt2lang(tree, tmp_path, caplog):
    for name in ("train", "dev", "test"):
        (tree / name / "utt2lang").unlink()
    assert prepare(tree, tmp_path / "d", lang="cs")["dev"].languages == ["cs"]
    assert prepare(tree, tmp_path / "d", langs=["cs"])["dev"].languages == ["cs"]
    assert caplog.text == ""
    assert prepare(tree, tmp_path / "d")["dev"].languages == ["und"]
    assert "no utt2lang and no --lang" in caplog.text


def test_languages_may_be_chosen(tree, tmp_path):
    train = prepare(tree, tmp_path / "d", langs=["pl"])["train"]
    assert train.languages == ["pl"]
    assert {r for _, r in train.rejects} == {"excluded: language 'de' not asked"}


def test_missing_utt2spk_says_how_to_make_it(tree, tmp_path):
    (tree / "dev" / "utt2spk").unlink()
    with pytest.raises(DataError, match=r"dev/utt2spk: missing.*awk '\{print \$1, \$1"):
        prepare(tree, tmp_path / "d")


def test_missing_sets_are_named(tree, tmp_path, caplog):
    (tree / "dev" / "wav.scp").unlink()
    with pytest.raises(DataError, match=r"no dev/wav.scp; found test train"):
        find_sets(tree)
    with pytest.raises(DataError, match=r"no train/wav.scp and no dev/wav.scp"):
        find_sets(tmp_path / "nowhere")
    write_files(tree / "dev", {"wav.scp": "a b\n"})
    (tree / "test").rename(tree / "test_clean")
    assert find_sets(tree) == ["train", "dev", "test_clean"]
    assert caplog.text == ""
    (tree / "test_clean").rename(tree / "eval")
    assert find_sets(tree) == ["train", "dev"]
    assert "no test*" in caplog.text


def test_duplicate_ids_are_refused_with_both_lines(tree, tmp_path):
    edit(tree / "train" / "wav.scp", lambda x: x + x.splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"wav.scp:7: 'de-train-0' stands.*line 1"):
        prepare(tree, tmp_path / "d")


def test_unsorted_files_are_sorted_and_that_is_said(tree, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    expected = prepare(tree, tmp_path / "d")["train"]
    assert "LC_ALL=C" not in caplog.text
    for name in ("wav.scp", "text", "utt2spk"):
        edit(tree / "train" / name, lambda x: "\n".join(x.splitlines()[::-1]) + "\n")
    assert prepare(tree, tmp_path / "d")["train"] == expected
    assert "train/text:2: not in LC_ALL=C order ('pl-train-1' after" in caplog.text


def test_inconsistent_files_reject_the_utterance(tree, tmp_path, caplog):
    def without(utt):
        return lambda x: "".join(
            f"{line}\n" for line in x.splitlines() if not line.startswith(f"{utt} ")
        )

    edit(tree / "train" / "utt2spk", without("de-train-0"))
    edit(tree / "train" / "utt2lang", without("de-train-1"))
    edit(tree / "train" / "wav.scp", without("de-train-2"))
    edit(tree / "train" / "text", without("pl-train-0"))
    train = prepare(tree, tmp_path / "d")["train"]
    assert [u.utt for u in train] == ["pl-train-0", "pl-train-1", "pl-train-2"]
    assert ("de-train-0", "inconsistent: in wav.scp, not in utt2spk") in train.rejects
    assert ("de-train-1", "inconsistent: in wav.scp, not in utt2lang") in train.rejects
    reason = "inconsistent: in text, no sound in wav.scp or segments"
    assert ("de-train-2", reason) in train.rejects
    assert train.utterances["pl-train-0"].text == ""
    assert "1 utterances have no line in text" in caplog.text


def test_broken_sounds_are_rejected(tree, tmp_path):
    (tree / "wav" / "de-train-0.wav").unlink()
    (tree / "wav" / "de-train-1.wav").write_bytes(b"")
    sound = tree / "wav" / "de-train-2.wav"
    sound.write_bytes(sound.read_bytes()[:900])
    rejects = dict(prepare(tree, tmp_path / "d")["train"].rejects)
    assert [rejects[f"de-train-{n}"].partition(":")[0] for n in range(3)] == [
        "missing file", "empty file", "truncated",
    ]  # fmt: skip


def test_nothing_usable_is_an_error(tree, tmp_path):
    for path in (tree / "wav").glob("*-dev-*"):
        path.unlink()
    with pytest.raises(DataError, match="dev: 0 of 6 utterances are usable.*missing"):
        prepare(tree, tmp_path / "d")


def test_bad_language_codes_and_encodings(tree, tmp_path):
    edit(tree / "dev" / "utt2lang", lambda x: x.replace(" pl", " pl polish"))
    with pytest.raises(DataError, match=r"utt2lang:4: 'pl-dev-0' has 'pl polish'"):
        prepare(tree, tmp_path / "d")
    (tree / "train" / "text").write_bytes("de-train-0 Jörg\n".encode("latin-1"))
    with pytest.raises(DataError, match="train/text:1: not UTF-8"):
        prepare(tree, tmp_path / "d")


def test_alignments_and_extra_tables_pass_through(tree, tmp_path):
    write_files(
        tree / "train",
        {
            "phn.ctm": "de-train-0 1 0.0 0.5 a\nde-train-0 1 0.5 0.5 b\nzz 1 0 1 a\n",
            "utt2gender": "de-train-0 f\nzz m\n",
            "utt2dur": "de-train-0 1.0\n",
        },
    )
    train = prepare(tree, tmp_path / "d")["train"]
    assert train.phones == {
        "de-train-0": [PhoneSegment(0.0, 0.5, "a"), PhoneSegment(0.5, 0.5, "b")]
    }
    assert train.extra == {"utt2gender": {"de-train-0": "f"}}


def test_shared_speakers_are_said(tree, tmp_path, caplog):
    edit(tree / "test" / "utt2spk", lambda x: x.replace("pl-test\n", "pl-train\n"))
    prepare(tree, tmp_path / "d")
    assert "test: 1 speakers are in train, too, first 'pl-train'" in caplog.text


@pytest.fixture
def segmented(tree):
    """Train is two segments of a long stereo file and one of a piped one."""
    make_wav(tree / "long.wav", seconds=4.0, rate=32000, channels=2)
    write_files(
        tree / "train",
        {
            "wav.scp": f"rec1 long.wav\nrec2 cat {tree}/long.wav |\n",
            "segments": "u1 rec1 0.5 1.5\nu2 rec1 3.0 -1\nu3 rec2 0 2.25\n",
            "utt2spk": "u1 s\nu2 s\nu3 s\n",
            "utt2lang": "u1 de\nu2 de\nu3 de\n",
            "text": "u1 a\nu2 b\nu3 c\n",
        },
    )
    return tree


def test_segments_and_pipes_are_cut_once(segmented, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    out = tmp_path / "data"
    train = prepare(segmented, out)["train"]
    assert "3 utterances are pipes or segments: cut into flac" in caplog.text
    assert {u.utt: u.num_samples for u in train} == {
        "u1": 16000, "u2": 16000, "u3": 36000,
    }  # fmt: skip
    whole = read_audio(segmented / "long.wav")
    for utt, begin in (("u1", 8000), ("u2", 48000), ("u3", 0)):
        part = read_audio(train.utterances[utt].path)
        assert np.abs(part - whole[begin : begin + len(part)]).max() < 1e-4
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")}
    assert len(times) == 3
    assert prepare(segmented, out)["train"] == train
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")} == times


def test_changed_segments_are_cut_again(segmented, tmp_path):
    prepare(segmented, tmp_path / "d")
    edit(segmented / "train" / "segments", lambda x: x.replace("0.5 1.5", "0.5 1.0"))
    (tmp_path / "d" / "audio" / "train" / "u2.flac").unlink()
    train = prepare(segmented, tmp_path / "d")["train"]
    assert train.utterances["u1"].num_samples == 8000
    assert train.utterances["u2"].num_samples == 16000


def test_bad_segments_and_pipes_are_rejected(segmented, tmp_path):
    write_files(
        segmented / "train",
        {
            "wav.scp": f"rec1 long.wav\nrec2 cat {segmented}/none.wav |\n"
            "rec3 echo no sound |\n",
            "segments": "u1 rec1 0.5 1.5\nu2 rec1 3.0 9.0\nu3 rec2 0 1\nu4 rec3 0 1\n"
            "u5 rec9 0 1\nu6 rec1 3.5 4.4\n",
            "utt2spk": "".join(f"u{n} s\n" for n in range(1, 7)),
            "utt2lang": "".join(f"u{n} de\n" for n in range(1, 7)),
            "text": "".join(f"u{n} a\n" for n in range(1, 7)),
        },
    )
    train = prepare(segmented, tmp_path / "d")["train"]
    assert {u.utt: u.num_samples for u in train} == {"u1": 16000, "u6": 8000}
    rejects = dict(train.rejects)
    assert rejects["u2"] == "bad segment: 3.0-9.0 s of a recording of 4.00 s"
    assert rejects["u3"].startswith("pipe failed: exit code 1, 'cat ")
    assert "writes no sound" in rejects["u4"]
    assert rejects["u5"].startswith("inconsistent: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1 rec1 1.0", "segments:1: .*is not 'utterance recording start_s end_s'"),
        ("u1 rec1 a b", "segments:1: "),
        ("u1 rec1 2.0 1.0", r"segments:1: 'u1' lasts from 2.0 to 1.0 s; expected 0 <="),
        ("u1 rec1 nan 1.0", "segments:1: 'u1' lasts from nan"),
        ("u1 rec1 0 1\nu1 rec1 1 2", "segments:2: 'u1' occurs twice"),
    ],
)
def test_broken_segment_lines(segmented, tmp_path, line, message):
    write_files(segmented / "train", {"segments": f"{line}\n"})
    with pytest.raises(DataError, match=message):
        prepare(segmented, tmp_path / "d")


def test_a_pipe_without_segments_and_a_streamed_header(tree, tmp_path):
    content = bytearray((tree / "wav" / "de-train-0.wav").read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    (tree / "stream.wav").write_bytes(content)
    first = f"de-train-0 cat {tree}/stream.wav |"
    edit(tree / "train" / "wav.scp", lambda x: x.replace(x.splitlines()[0], first))
    train = prepare(tree, tmp_path / "d")["train"]
    row = train.utterances["de-train-0"]
    assert row.num_samples == 16000
    assert row.path.endswith("audio/train/de-train-0.flac")
    assert soundfile.info(row.path).samplerate == 16000
    assert len(list((tmp_path / "d").rglob("*.flac"))) == 1
