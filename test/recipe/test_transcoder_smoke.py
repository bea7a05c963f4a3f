"""transcoder.sh as a user calls it; the tests build on each other in one directory.

The phonemes that it spells are the references, laid where stage 10 would write its
hypotheses: no system has to be pretrained and fine-tuned for them.
"""

import json
import shutil
import sys

import pytest

from espnet2_dq.data.tables import read_table
from test.recipe.conftest import RECIPE, Recipe

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("transcoder_smoke")]

SMOKE = (
    *("--mini_sentences", "20", "--beam", "2", "--decode_args", "--ctc_weight 0.3"),
    *("--transcoder_config", "conf/tuning/train_transcoder_smoke.yaml"),
    *("--ngpu", "0", "--python", sys.executable),
)
STAGES = [
    "04_units_char",
    "pairs",
    "train",
    "10_decode_transcoder_phn_test",
    "11_score_transcoder_phn_test",
]


class TranscoderRecipe(Recipe):
    def script(self):
        return str(RECIPE / "transcoder.sh")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Stages 1 to 4 of run.sh."""
    folder = tmp_path_factory.mktemp("transcoder")
    options = ("--mini_scale", "smoke", "--recorded", "no", "--langs", "en es")
    options += ("--stop_stage", "4", "--ngpu", "0", "--python", sys.executable)
    outcome = Recipe(folder)(*options)
    assert outcome.code == 0, outcome.output[-4000:]
    return folder


@pytest.fixture(scope="module")
def transcoder(work):
    return TranscoderRecipe(work)


@pytest.fixture(scope="module")
def untranscribed(transcoder):
    """Called before the experiment has decoded anything."""
    return transcoder(*SMOKE)


@pytest.fixture(scope="module")
def first(transcoder, work, untranscribed):
    folder = work / "exp" / "dq" / "decode_phn" / "test"
    folder.mkdir(parents=True)
    shutil.copy(work / "dump" / "test" / "phn", folder / "hyp")
    outcome = transcoder(*SMOKE)
    assert outcome.code == 0, outcome.output[-4000:]
    return outcome


def test_without_phonemes_it_says_which_are_missing(untranscribed, work):
    assert untranscribed.code == 2
    last = untranscribed.output.splitlines()[-1]
    assert f"no {work}/exp/dq/decode_phn/{{test}}/hyp" in last
    assert "run.sh --tag dq" in last
    assert untranscribed.stages("run") == STAGES[:3]


def test_every_stage_runs_once(first, transcoder):
    assert first.stages("skip") == STAGES[:3]  # done before the phonemes were there
    assert first.stages("run") == STAGES[3:]
    again = transcoder(*SMOKE)
    assert again.code == 0
    assert again.stages("skip") == STAGES
    assert again.stages("run") == []


def test_words_of_every_utterance_are_scored(first, work):
    exp = work / "exp" / "dq"
    hypotheses = read_table(
        exp / "decode_transcoder_phn" / "test" / "hyp", allow_empty=True
    )
    assert hypotheses.keys() == read_table(work / "dump" / "test" / "text").keys()
    folder = exp / "score_transcoder_phn" / "test"
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["metric"] == "wer"
    assert set(scores["languages"]) == {"en", "es"}
    assert "cer" in scores["other_metrics"]
    assert (folder / "summary.txt").read_text().strip() in first.output


def test_reference_phonemes_go_beside_the_model(first, transcoder, work):
    outcome = transcoder(*SMOKE, "--reference", "true", "--stage", "decode")
    assert outcome.code == 0, outcome.output[-4000:]
    assert outcome.stages("run") == [
        "10_decode_reference_test",
        "11_score_reference_test",
    ]
    scores = work / "exp" / "transcoder" / "score_reference" / "test" / "scores.json"
    # the phonemes of the experiment are the references here
    other = work / "exp" / "dq" / "score_transcoder_phn" / "test" / "scores.json"
    average = [json.loads(path.read_text())["average"] for path in (scores, other)]
    assert average[0] == average[1]


def test_text_of_the_user_replaces_and_adds(first, transcoder, work):
    more = work / "more.tsv"
    more.write_text("es\tla casa roja\nen\tone red boat\n", encoding="utf-8")
    options = ("--text", str(more), "--corpus", "kaldi", "--transcripts", "false")
    outcome = transcoder(
        *SMOKE[2:],
        *options,
        *("--words", "false", "--transcoder", str(work / "exp" / "own")),
        *("--stop_stage", "pairs"),
    )
    assert outcome.code == 0, outcome.output[-4000:]
    chars = read_table(work / "exp" / "own" / "data" / "train" / "char")
    texts = {c.replace(" ", "").replace("<space>", " ") for c in chars.values()}
    assert texts == {"la casa roja", "one red boat"}
    assert (work / "exp" / "transcoder" / ".done" / "pairs.json").exists()


def test_dry_run_touches_nothing(first, transcoder, work):
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()}
    outcome = transcoder(*SMOKE, "--seed", "1", "--dry_run", "true")
    assert outcome.code == 0
    assert outcome.stages("run") == ["pairs", "train"]
    assert before == {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--beem", "3"), "Did you mean 'beam'"),
        (("--stage", "10"), "--stage '10' is not one of: units pairs train"),
        (("--size", "huge"), "no conf/train_transcoder_huge.yaml"),
        (("--stage", "score", "--stop_stage", "train"), "comes after"),
    ],
)
def test_options_that_cannot_be(transcoder, options, message):
    outcome = transcoder(*options, "--python", sys.executable)
    assert outcome.code == 2
    assert message in outcome.output


def test_help_shows_every_option(transcoder):
    outcome = transcoder("--help")
    assert outcome.code == 0
    assert outcome.output.startswith("usage: ./transcoder.sh")
    for name in ("exp", "asr", "transcoder", "text", "size", "beam", "reference"):
        assert f"  --{name} " in outcome.output
