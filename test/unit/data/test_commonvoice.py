import logging

import pytest
from factories import COMMONVOICE_COLUMNS, make_commonvoice, write_files

from espnet2_dq.data.commonvoice import (
    CommonVoiceOptions,
    prepare_commonvoice,
    prompt_key,
    speaker_id,
)
from espnet2_dq.data.commonvoice_release import (
    Clip,
    clean_sentence,
    find_release,
    find_split_lists,
    language_folder,
    read_clip_list,
    read_clips,
)
from espnet2_dq.data.probing import ProbeCache
from espnet2_dq.errors import DataError


def prepare(corpus, langs=("es", "fr"), **options):
    return prepare_commonvoice(
        corpus, CommonVoiceOptions(langs=langs, workers=2, **options), ProbeCache(None)
    )


def append(path, line):
    with path.open("ab") as stream:
        stream.write(line if isinstance(line, bytes) else line.encode())


def row(table, **values):
    """A line in the columns of an existing table, after its first row."""
    header, first = table.read_text().splitlines()[:2]
    fields = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    return "\t".join({**fields, **values}.values()) + "\n"


@pytest.mark.parametrize("release", sorted(COMMONVOICE_COLUMNS))
def test_every_generation_of_columns(tmp_path, release):
    make_commonvoice(tmp_path, release=release, seconds=0.5)
    sets = prepare(tmp_path)
    assert {name: len(s) for name, s in sets.items()} == dict.fromkeys(sets, 8)
    for directory in sets.values():
        assert directory.languages == ["es", "fr"]
        for utterance in directory:
            assert utterance.utt.startswith(f"{utterance.speaker}-common_voice_")
            assert utterance.speaker.startswith(f"{utterance.lang}-")
            assert utterance.num_samples == 8000
            assert utterance.path.endswith(".mp3")


def test_ids_sort_as_speakers_do(tmp_path):
    make_commonvoice(tmp_path, clips=8, seconds=0.1)
    for directory in prepare(tmp_path).values():
        speakers = [u.speaker for u in directory]
        assert speakers == sorted(speakers)
        assert len(set(speakers)) == 8


def test_the_release_folder_itself_may_be_given(tmp_path):
    release = make_commonvoice(tmp_path, langs=("es",), clips=1, seconds=0.1)
    assert find_release(release, ["es"]) == find_release(tmp_path, ["es"]) == release


def test_what_is_missing_says_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(DataError) as caught:
        prepare(tmp_path / "nowhere", langs=("tt",))
    for part in ("no such folder", "6.0 or later for tt", "db.sh", "COMMONVOICE"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match="no <language>/train.tsv"):
        find_release(tmp_path, ["es"])
    (tmp_path / "cv-corpus-6.0-es.tar.gz").touch()
    with pytest.raises(DataError, match=r"1 archives.*tar -xzf"):
        find_release(tmp_path, ["es"])


def test_several_releases_must_be_told_apart(tmp_path):
    make_commonvoice(tmp_path, langs=("es",), clips=1, seconds=0.1)
    make_commonvoice(tmp_path, langs=("es",), clips=1, seconds=0.1, release="8.0")
    with pytest.raises(DataError, match=r"several releases.*6\.0.*8\.0"):
        find_release(tmp_path, ["es"])


def test_unknown_language_lists_those_that_are_here(tmp_path):
    make_commonvoice(tmp_path, clips=1, seconds=0.1)
    with pytest.raises(DataError, match=r"language 'xx' is not here.*holds: es fr"):
        prepare(tmp_path, langs=("es", "xx"))


def test_regional_codes(tmp_path):
    release = make_commonvoice(
        tmp_path, langs=("sv-SE", "zh-CN", "zh-TW"), clips=1, seconds=0.1
    )
    assert language_folder(release, "sv").name == "sv-SE"
    with pytest.raises(DataError, match=r"'zh' is ambiguous.*zh-CN zh-TW"):
        language_folder(release, "zh")
    assert prepare(tmp_path, langs=("sv",))["test"].languages == ["sv"]


def test_missing_columns_are_named(tmp_path):
    folder = write_files(tmp_path / "es", {"train.tsv": "client_id\tclip\ttext\n"})
    with pytest.raises(DataError, match=r"train.tsv:1: columns path sentence are miss"):
        read_clips(folder / "train.tsv", "es")


def test_missing_table(tmp_path):
    release = make_commonvoice(tmp_path, langs=("es",), clips=1, seconds=0.1)
    (release / "es" / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"dev.tsv: cannot be read.*unpack"):
        prepare(tmp_path, langs=("es",))


def test_unbalanced_quotes_swallow_no_line(tmp_path):
    release = make_commonvoice(tmp_path, langs=("es",), clips=2, seconds=0.1)
    table = release / "es" / "train.tsv"
    lines = table.read_text().splitlines()
    lines[1] = lines[1].replace("one small", '"one small')
    table.write_text("\n".join(lines) + "\n")
    clips, rejects = read_clips(table, "es")
    assert len(clips) == 2
    assert clips[0].sentence == '"one small step train'
    assert rejects == []


def test_malformed_lines_are_rejected_with_their_number(tmp_path):
    release = make_commonvoice(tmp_path, langs=("es",), clips=1, seconds=0.1)
    table = release / "es" / "train.tsv"
    append(table, "too\tfew\tfields\n")
    append(table, row(table, path="a b.mp3"))
    append(table, row(table, client_id=""))
    append(table, row(table, path="x.mp3").encode().replace(b"one", b"\xff\xfe"))
    clips, rejects = read_clips(table, "es")
    assert len(clips) == 1
    assert [utt for utt, _ in rejects] == [f"es-train.tsv:{n}" for n in (3, 4, 5, 6)]
    assert all(reason.startswith("malformed: ") for _, reason in rejects)
    assert "3 fields, the header has 10" in rejects[0][1]


def test_broken_clips_empty_sentences_and_repeats_become_rejects(tmp_path):
    release = make_commonvoice(tmp_path, langs=("es",), clips=6, seconds=0.1)
    table = release / "es" / "train.tsv"
    names = [line.split("\t")[1] for line in table.read_text().splitlines()[1:]]
    clips = release / "es" / "clips"
    (clips / names[0]).unlink()
    (clips / names[1]).write_bytes(b"")
    (clips / names[2]).write_bytes(b"<html>404</html>")
    append(table, row(table, path=names[3], sentence="again"))
    append(table, row(table, path=names[4].replace(".mp3", "0.mp3"), sentence="  "))
    (clips / names[5]).rename(clips / names[4].replace(".mp3", "0.mp3"))
    train = prepare(tmp_path, langs=("es",))["train"]
    assert len(train) == 2
    reasons = sorted(reason.partition(":")[0] for _, reason in train.rejects)
    assert reasons == [
        "duplicate id", "empty file", "empty transcript", "missing file",
        "missing file", "unreadable",
    ]  # fmt: skip


@pytest.fixture
def overlapping(tmp_path):
    """Train shares a speaker with test and a prompt with dev; dev one with test."""
    release = make_commonvoice(tmp_path, langs=("es",), clips=4, seconds=0.1)
    folder = release / "es"
    tables = {n: (folder / f"{n}.tsv").read_text() for n in ("train", "dev", "test")}
    lines = {name: text.splitlines() for name, text in tables.items()}
    speaker = lines["test"][1].split("\t")[0]
    old = lines["train"][1].split("\t")[0]
    lines["train"][1] = lines["train"][1].replace(old, speaker)
    lines["train"][4] = lines["train"][4].replace(
        "the red boat sails train", "One small step, DEV!"
    )
    lines["dev"][4] = lines["dev"][4].replace("sails dev", "sails test")
    for name, rows in lines.items():
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_speakers_and_prompts_are_not_shared(overlapping, caplog):
    caplog.set_level(logging.INFO)
    sets = prepare(overlapping, langs=("es",))
    assert {name: len(s) for name, s in sets.items()} == {
        "train": 2, "dev": 3, "test": 4,
    }  # fmt: skip
    reasons = sorted(reason for _, reason in sets["train"].rejects)
    assert reasons == ["excluded: prompt also in dev", "excluded: speaker also in test"]
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not {u.speaker for u in sets[one]} & {u.speaker for u in sets[other]}
        assert not {prompt_key(u.text) for u in sets[one]} & {
            prompt_key(u.text) for u in sets[other]
        }
    assert "train: 1 clips dropped: speaker also in test" in caplog.text


def test_overlap_may_be_allowed_and_is_said(overlapping, caplog):
    caplog.set_level(logging.INFO)
    sets = prepare(overlapping, langs=("es",), allow_overlap=True)
    assert {name: len(s) for name, s in sets.items()} == dict.fromkeys(sets, 4)
    assert sets["train"].rejects == []
    assert "train: 1 clips kept (--allow_overlap): speaker also in test" in caplog.text


def test_a_clip_is_in_one_split_only(tmp_path):
    release = make_commonvoice(tmp_path, langs=("es",), clips=2, seconds=0.1)
    test = release / "es" / "test.tsv"
    append(release / "es" / "train.tsv", test.read_text().splitlines()[1] + "\n")
    train = prepare(tmp_path, langs=("es",))["train"]
    assert len(train) == 2
    assert train.rejects[0][1].startswith("excluded: the clip is in another split")


def test_further_tables_feed_pretraining_and_say_so(tmp_path):
    make_commonvoice(tmp_path, langs=("es",), clips=2, seconds=0.1)
    sources = ("train", "validated", "other", "invalidated")
    sets = prepare(tmp_path, langs=("es",), train_sources=sources)
    counts = list(sets["train"].extra["utt2source"].values())
    assert {s: counts.count(s) for s in sources} == {
        "train": 2, "validated": 0, "other": 2, "invalidated": 1,
    }  # fmt: skip
    assert len(sets["test"]) == 2
    assert sets["train"].rejects == []


def test_unknown_sources_and_no_language():
    with pytest.raises(DataError, match="reported is not among train validated"):
        CommonVoiceOptions(langs=["es"], train_sources=["reported"])
    with pytest.raises(DataError, match="no language"):
        CommonVoiceOptions(langs=[])
    with pytest.raises(DataError, match="needs a list of train"):
        CommonVoiceOptions(langs=["es"], train_only_listed=True)


def clip_ids(release, lang, table):
    lines = (release / lang / f"{table}.tsv").read_text().splitlines()[1:]
    return [line.split("\t")[1].removesuffix(".mp3") for line in lines]


def test_user_lists_with_coverage(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    release = make_commonvoice(tmp_path, langs=("es",), clips=4, seconds=0.1)
    ids = {name: clip_ids(release, "es", name) for name in ("train", "dev", "test")}
    folder = write_files(
        tmp_path / "cpc" / "es",
        {
            "trainSeqs_1.0_uniform_new_version.txt": "\n".join(
                [*ids["dev"][:2], "common_voice_es_1"]
            ),
            "trainSeqs_5.0_uniform_new_version.txt": "other\n",
            "testSeqs_uniform_new_version.txt": "\n".join(ids["test"][:2]),
        },
    )
    lists = find_split_lists(folder.parent)
    assert set(lists) == {"train", "test"}
    sets = prepare(tmp_path, langs=("es",), lists=lists)
    names = {name: {u.utt.split("-")[2] for u in s} for name, s in sets.items()}
    assert names["test"] == set(ids["test"][:2])
    # dev comes first: a listed clip that the official dev holds stays there.
    assert names["dev"] == set(ids["dev"])
    assert names["train"] == set(ids["train"])
    assert "train: 2 of 3 clips of the list are in this release (66.7%)" in caplog.text
    reasons = dict(sets["train"].rejects)
    assert reasons["es-common_voice_es_1"].startswith("excluded: listed in trainSeqs_1")


def test_a_train_list_joins_or_replaces_train(tmp_path):
    release = make_commonvoice(tmp_path, langs=("es",), clips=4, seconds=0.1)
    other = clip_ids(release, "es", "other")
    write_files(tmp_path / "lists", {"es_train.txt": "\n".join(other) + "\n"})
    lists = find_split_lists(tmp_path / "lists")
    joined = prepare(tmp_path, langs=("es",), lists=lists)["train"]
    sources = sorted(joined.extra["utt2source"].values())
    assert sources == ["list"] * 2 + ["train"] * 4
    alone = prepare(tmp_path, langs=("es",), lists=lists, train_only_listed=True)
    assert {u.utt.split("-")[2] for u in alone["train"]} == set(other)


def test_a_list_of_another_release_is_refused(tmp_path):
    make_commonvoice(tmp_path, langs=("es",), clips=1, seconds=0.1)
    write_files(tmp_path / "l", {"es_test.txt": "a\nb\n"})
    with pytest.raises(DataError, match="none of its 2 clips.*first 'a'"):
        prepare(
            tmp_path, langs=("es",), lists={"test": f"{tmp_path}/l/{{lang}}_test.txt"}
        )
    with pytest.raises(DataError, match="no clip lists"):
        find_split_lists(tmp_path / "nothing")


def test_list_formats(tmp_path):
    write_files(
        tmp_path,
        {
            "cpc.txt": "common_voice_es_1\ncommon_voice_es_2\n",
            "uni.tsv": "/data/es/clips_16k\ncommon_voice_es_1.wav\t5000\t16000\n"
            "x/common_voice_es_2.wav\t7000\t16000\n",
            "mp3.txt": "clips/common_voice_es_1.mp3 a\ncommon_voice_es_2.mp3\n\n"
            "common_voice_es_2.mp3\n",
            "empty.txt": "\n",
        },
    )
    for name in ("cpc.txt", "uni.tsv", "mp3.txt"):
        expected = ["common_voice_es_1", "common_voice_es_2"]
        assert read_clip_list(tmp_path / name) == expected
    with pytest.raises(DataError, match="empty list"):
        read_clip_list(tmp_path / "empty.txt")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  a\u00a0 b\u2028c ", "a b c"),
        ('"He said ""no""."', 'He said "no".'),
        ('"Unbalanced', '"Unbalanced'),
        ('"', '"'),
        ('"a" and "b"', '"a" and "b"'),
        ("", ""),
    ],
)
def test_sentences(raw, clean):
    assert clean_sentence(raw) == clean


def test_speaker_ids_have_one_width():
    def speaker(client):
        return speaker_id(Clip("c", "/c.mp3", client, "s", "es", "train"))

    assert speaker("0123456789abcdef" * 8) == "es-0123456789abcdef"
    assert len(speaker("Jörg")) == len("es-") + 16
    assert speaker("Jörg") != speaker("Jorg")
