"""Building two heads from a configuration and loading what training wrote."""

import pytest
import torch
import yaml
from hier_factories import TOKEN_LISTS, hier_config

from espnet2_dq.asr.hierarchical_build import load_hierarchical_model
from espnet2_dq.asr.tokens import tokens_sha256
from espnet2_dq.errors import CheckpointError, ConfigError

HASHES = {head: tokens_sha256(tokens) for head, tokens in TOKEN_LISTS.items()}


def write_config(folder, **changes):
    config = {**hier_config(), "token_lists_sha256": HASHES, **changes}
    text = yaml.safe_dump(config, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def trained(tmp_path, make_hier):
    """Directory as training leaves it, and the model."""
    model = make_hier()
    write_config(tmp_path)
    torch.save(model.state_dict(), tmp_path / "3epoch.pth")
    (tmp_path / "valid.wer.best.pth").symlink_to("3epoch.pth")
    return tmp_path, model.eval()


def test_round_trip(trained, hier_batch) -> None:
    folder, model = trained
    loaded, config = load_hierarchical_model(folder)
    assert not loaded.training
    assert loaded.token_lists == TOKEN_LISTS
    assert config["token_lists_sha256"] == HASHES
    speech = hier_batch["speech"], hier_batch["speech_lengths"]
    expected, lengths = model.posteriors(*speech)
    found, found_lengths = loaded.posteriors(*speech)
    assert torch.equal(found_lengths, lengths)
    for head in expected:
        assert torch.equal(found[head], expected[head])


def test_changed_token_list_is_noticed(trained) -> None:
    folder, _ = trained
    changed = [*TOKEN_LISTS["grapheme"]]
    changed[4], changed[5] = changed[5], changed[4]
    write_config(folder, token_lists={**TOKEN_LISTS, "grapheme": changed})
    with pytest.raises(CheckpointError, match="token_lists.grapheme: its sha256"):
        load_hierarchical_model(folder)


def test_token_list_of_another_size_is_noticed(trained) -> None:
    folder, _ = trained
    longer = {**TOKEN_LISTS, "grapheme": [*TOKEN_LISTS["grapheme"], "x"]}
    write_config(folder, token_lists=longer, token_lists_sha256={})
    with pytest.raises(CheckpointError, match="outputs, but the token list has"):
        load_hierarchical_model(folder)


def test_missing_list_and_other_kinds_of_model(trained) -> None:
    folder, _ = trained
    only = {"syllable": TOKEN_LISTS["syllable"]}
    write_config(folder, token_lists=only)
    with pytest.raises(ConfigError, match="token_lists.grapheme: missing"):
        load_hierarchical_model(folder)
    write_config(folder, token_lists=None)
    with pytest.raises(CheckpointError, match="no hierarchical model"):
        load_hierarchical_model(folder)


def test_other_depth_is_noticed(trained) -> None:
    folder, _ = trained
    conf = {**hier_config()["model_conf"], "additional_layers": 1}
    write_config(folder, model_conf=conf)
    with pytest.raises(CheckpointError, match=r"additional.blocks.1"):
        load_hierarchical_model(folder)


def test_main_list_has_to_be_espnets(make_hier) -> None:
    from espnet2.asr.ctc import CTC

    from espnet2_dq.asr.hierarchical_model import HierarchicalCTCModel

    model = make_hier(("syllable",))
    parts = (model.frontend, model.preencoder, model.encoder)
    tokens = ["<blank>", "x"]
    with pytest.raises(ConfigError, match="token_lists.syllable"):
        HierarchicalCTCModel(2, tokens, *parts, CTC(2, 16), token_lists=TOKEN_LISTS)
    alone = HierarchicalCTCModel(2, tokens, *parts, CTC(2, 16), heads=["grapheme"])
    assert alone.token_lists == {"grapheme": tokens}
