"""Every row's configuration builds the model that its name promises."""

import functools
from pathlib import Path

import pytest
import torch

from espnet2_dq.recipe.overlay import merged_config, read_yaml
from espnet2_dq.ssl.build import build_ssl_model

CONF = Path(__file__).parents[3] / "egs2" / "commonvoice_dq" / "ssl1" / "conf"
ROWS = sorted(path.stem for path in (CONF / "rows").glob("*.yaml"))
BASES = {
    "smoke": CONF / "tuning" / "train_ssl_smoke.yaml",
    "mini": CONF / "train_ssl_mini.yaml",
    "mini_conv": CONF / "train_ssl_mini_conv.yaml",
    "base": CONF / "train_ssl_base.yaml",
    "base_1gpu": CONF / "train_ssl_base_1gpu.yaml",
}
LANGUAGES, TOKENS, SPEAKERS = 9, 60, 26


def configured(row, size):
    """The merged configuration, with the numbers that follow from the data."""
    config = merged_config(BASES[size], CONF / "rows" / f"{row}.yaml").values
    conf = config["model_conf"]
    language = conf.get("language", {})
    if language.get("clusters") == 0:
        speakers = language.get("target") == "utt2spk"
        language["clusters"] = SPEAKERS if speakers else LANGUAGES
    if "supervision" in conf:
        conf["supervision"] |= {"languages": LANGUAGES, "tokens": TOKENS}
    return config


@functools.cache
def model_of(row, size):
    with torch.device("meta"):  # full size, but no memory and no random numbers
        return build_ssl_model(configured(row, size), updates_total=100)


@pytest.mark.parametrize("size", [s for s in BASES if s != "base_1gpu"])
@pytest.mark.parametrize("row", ROWS)
def test_the_model_can_be_built(row, size):
    parameters = sum(p.numel() for p in model_of(row, size).parameters())
    assert parameters > (90e6 if size == "base" else 10e3)


def conf_of(row, size="mini"):
    return model_of(row, size).conf


def test_branches_are_on_where_the_name_says_so():
    switched = {row: (c.language.enable, c.phoneme.enable)
                for row in ROWS if hasattr(c := conf_of(row), "language")}  # fmt: skip
    assert switched["dq_sd"] == switched["dq_dd"] == (True, True)
    assert switched["s7_no_cnn"] == switched["s2_one_group"] == (True, True)
    for row in ("dq_sd_no_pqt", "dq_dd_no_pqt", "s4_ins_language"):
        assert switched[row] == (True, False)
    for row in ("dq_sd_no_lqt", "dq_dd_no_lqt", "s1_gumbel", "s3_l2_phoneme",
                "s5_transformer", "s6_cnn"):  # fmt: skip
        assert switched[row] == (False, True)
    for row in ("data2vec", "data2vec_no_db", "unidata2vec", "unidata2vec_first",
                "unidata2vec_two_stage"):  # fmt: skip
        assert switched[row] == (False, False)


def test_labels_are_used_where_the_name_says_so():
    uses = {row: (conf_of(row).supervision.language, conf_of(row).supervision.phoneme)
            for row in ROWS if hasattr(conf_of(row), "language")}  # fmt: skip
    assert uses["dq_dd"] == uses["s7_no_cnn"] == (True, "mixed")
    assert uses["dq_dd_no_pqt"] == (True, "off")
    assert uses["dq_dd_no_lqt"] == (False, "mixed")
    assert uses["unidata2vec"] == uses["unidata2vec_first"] == (False, "output")
    others = set(uses) - {"dq_dd", "s7_no_cnn", "dq_dd_no_pqt", "dq_dd_no_lqt",
                          "unidata2vec", "unidata2vec_first"}  # fmt: skip
    assert {uses[row] for row in others} == {(False, "off")}


def test_switches_of_the_ablations():
    additional = {
        row: (
            conf_of(row).language.additional.type,
            conf_of(row).phoneme.additional.type,
        )
        for row in ("dq_sd", "dq_dd", "s5_transformer", "s6_cnn", "s7_no_cnn")
    }
    assert additional == {
        "dq_sd": ("none", "none"),
        "dq_dd": ("conv", "conv"),
        "s5_transformer": ("none", "transformer"),
        "s6_cnn": ("none", "conv"),
        "s7_no_cnn": ("none", "none"),
    }
    assert conf_of("s1_gumbel").phoneme.quantizer == "gumbel"
    assert conf_of("s2_one_group").language.groups == 1
    assert conf_of("s2_one_group").phoneme.groups == 1
    assert conf_of("s3_l2_phoneme").phoneme.norm == "l2"
    assert conf_of("s4_ins_language").language.norm == "ins"
    assert conf_of("speaker").language.target == "utt2spk"


@pytest.mark.parametrize(
    "row",
    [
        "data2vec_no_db",
        "xlsr_two_stage",
        "unispeech_two_stage",
        "unidata2vec_two_stage",
    ],
)
def test_rows_without_balance(row):  # fmt: skip
    for size in BASES:
        assert configured(row, size)["language_power"] == 1.0


@pytest.mark.parametrize("size", BASES)
@pytest.mark.parametrize("name", ["xlsr", "unispeech", "unidata2vec"])
def test_two_stages_have_the_budget_of_one(name, size):
    stages = [configured(f"{name}_{s}", size) for s in ("first", "two_stage")]
    epochs = sum(config["max_epoch"] for config in stages)
    assert epochs == read_yaml(BASES[size])["max_epoch"]


@pytest.mark.parametrize("row", ["s1_gumbel"])
@pytest.mark.parametrize("size", BASES)
def test_gumbel_s_temperature_falls_within_the_run(row, size):
    config = configured(row, size)
    batches = config["max_epoch"] * config["num_iters_per_epoch"]
    updates = batches / config["accum_grad"]
    start, end, factor = conf_of(row, size).phoneme.gumbel_temperature
    assert start * factor**updates <= end * 1.2
    assert start * factor ** (updates / 20) > end
