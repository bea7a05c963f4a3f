"""The Korean recipe: all 13 stages, twice; the tests share one working directory."""

import json
import sys

import pytest

from test.recipe.conftest import ROOT, Recipe

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("korean_smoke")]

KOREAN = ROOT / "egs2" / "ksponspeech_kwav2vec" / "asr1"
SMOKE = (
    *("--corpus", "mini", "--mini_scale", "smoke", "--beam", "4"),
    *("--train_config", "conf/tuning/train_ssl_smoke.yaml"),
    *("--finetune_config", "conf/tuning/train_hier_smoke.yaml"),
    *("--ngpu", "0", "--python", sys.executable),
)
MODES = ("greedy_syllable", "greedy_grapheme", "merge", "rescore", "joint")


class KoreanRecipe(Recipe):
    def script(self):
        return str(KOREAN / "run.sh")


@pytest.fixture(scope="module")
def korean(tmp_path_factory):
    return KoreanRecipe(tmp_path_factory.mktemp("korean"))


@pytest.fixture(scope="module")
def first(korean):
    outcome = korean(*SMOKE)
    assert outcome.code == 0, outcome.output[-4000:]
    return outcome


def test_results_hold_every_mode_of_every_set(first, korean):
    folder = korean.work / "exp" / "kwav2vec" / "report"
    modes = json.loads((folder / "results.json").read_text())["modes"]["multi"]
    assert set(modes) == {"test_clean", "test_other"}
    for found in modes.values():
        assert tuple(found) == MODES
        for rates in found.values():
            assert rates["cer"] > 0
            assert rates["rtf"] > 0
            assert rates["text_rule"].startswith("orthographic")
    page = (folder / "index.html").read_text()
    assert "Error rates by decoding mode" in page
    assert "Posteriors of the grapheme and the syllable head" in page


def test_last_lines_are_the_table_and_the_report(first, korean):
    assert "CER-sp" in first.output
    report = korean.work / "exp" / "kwav2vec" / "report" / "index.html"
    assert first.output.splitlines()[-1] == f"report: {report}"


def test_source_model_goes_through_hugging_face_form(first, korean):
    exp = korean.work / "exp"
    assert (exp / "english" / "hf" / "model.safetensors").is_file()
    log = (exp / "kwav2vec" / "pretrain" / "train.log").read_text()
    assert "quantizer, project_q, final_proj: 100.0% of the parameters loaded" in log


def test_weight_is_chosen_on_dev(first, korean):
    decode = korean.work / "exp" / "kwav2vec" / "decode_multi"
    chosen = json.loads((decode / "weights.json").read_text())
    assert set(chosen) == {"merge", "rescore", "joint"}
    rtf = json.loads((decode / "test_clean" / "joint" / "rtf.json").read_text())
    assert rtf["options"]["weight"] == chosen["joint"]["weight"]


def test_second_run_does_nothing(first, korean):
    outcome = korean(*SMOKE)
    assert outcome.code == 0
    assert outcome.stages("run") == []
    done = [*first.stages("run"), *first.stages("skip")]
    assert sorted(outcome.stages("skip")) == sorted(done)


def test_one_head_and_random_initialisation(first, korean):
    outcome = korean(
        *SMOKE,
        *("--heads", "syllable", "--init", "random", "--stage", "9"),
        *("--finetune_args", "--model_conf syllable_delay_updates=0"),
    )
    assert outcome.code == 0, outcome.output[-4000:]
    results = korean.work / "exp" / "kwav2vec" / "report" / "results.json"
    modes = json.loads(results.read_text())["modes"]
    assert set(modes["syllable_random"]["test_clean"]) == {"greedy_syllable"}


def test_transcribe_says_what_the_recipe_says(first, korean):
    from espnet2_dq.data.tables import read_table
    from espnet2_dq.decode.transcriber import Transcriber

    exp, dump = korean.work / "exp" / "kwav2vec", korean.work / "dump" / "test_clean"
    hyp = read_table(
        exp / "decode_multi" / "test_clean" / "greedy_syllable" / "hyp",
        allow_empty=True,
    )
    model = Transcriber.load(exp / "finetune_multi", mode="greedy_syllable")
    for utt, path in read_table(dump / "wav.scp").items():
        assert model.transcribe(path).text == hyp[utt]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--heads", "word"), "--heads 'word' is not one of"),
        (("--modes", "best"), "'best' is not one of"),
        (("--corpus", "ksponspeech"), "set KSPONSPEECH in db.sh"),
        (("--pretraining", "further", "--corpus", "kaldi"), "needs --init_from"),
    ],
)
def test_wrong_options_are_named(korean, options, message):
    outcome = korean(*SMOKE, *options)
    assert outcome.code == 2
    assert message in outcome.output
