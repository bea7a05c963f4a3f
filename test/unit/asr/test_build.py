"""Building from a configuration and loading what training wrote."""

import pytest
import torch
import yaml
from asr_factories import TOKENS, tiny_config

from espnet2_dq.asr.build import build_ctc_model, load_ctc_model
from espnet2_dq.asr.tokens import check_same_tokens, read_tokens, tokens_sha256
from espnet2_dq.errors import CheckpointError, ConfigError, DataError


@pytest.fixture
def trained(tmp_path, make_model):
    """Directory as training leaves it, and the model."""
    model = make_model(model_conf={"subsample": 2})
    config = tiny_config(model_conf={"subsample": 2})
    config["token_list_sha256"] = tokens_sha256(TOKENS)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(model.state_dict(), tmp_path / "3epoch.pth")
    (tmp_path / "valid.ter.best.pth").symlink_to("3epoch.pth")
    return tmp_path, model


def test_round_trip(trained, batch) -> None:
    directory, model = trained
    loaded, config = load_ctc_model(directory)
    assert not loaded.training
    assert config["model_conf"] == {"subsample": 2}
    speech = batch["speech"], batch["speech_lengths"]
    expected, lengths = model.eval().encode(*speech)
    found, found_lengths = loaded.encode(*speech)
    assert torch.equal(found, expected)
    assert torch.equal(found_lengths, lengths)
    assert torch.equal(loaded.ctc.argmax(found), model.ctc.argmax(expected))
    by_name, _ = load_ctc_model(directory, "3epoch.pth")
    assert torch.equal(by_name.ctc.ctc_lo.weight, model.ctc.ctc_lo.weight)


def test_training_state_is_a_checkpoint_too(trained) -> None:
    directory, model = trained
    state = {"model": model.state_dict(), "optimizers": [{"state": {}}]}
    torch.save(state, directory / "checkpoint.pth")
    loaded, _ = load_ctc_model(directory, directory / "checkpoint.pth")
    assert torch.equal(loaded.ctc.ctc_lo.weight, model.ctc.ctc_lo.weight)


def test_missing_and_broken_files(trained) -> None:
    directory, _ = trained
    with pytest.raises(CheckpointError, match=r"no 9epoch.pth; present: 3epoch.pth"):
        load_ctc_model(directory, "9epoch.pth")
    path = directory / "3epoch.pth"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="best.pth"):
        load_ctc_model(directory)
    with pytest.raises(CheckpointError, match="directory that training wrote"):
        load_ctc_model(directory / "nowhere")


def test_another_token_list_is_noticed(trained) -> None:
    directory, model = trained
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config["token_list"][3] = "x"
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(CheckpointError, match="sha256"):
        load_ctc_model(directory)
    config["token_list"] = [*TOKENS, "e"]
    config["token_list_sha256"] = tokens_sha256(config["token_list"])
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(CheckpointError, match="6 outputs, but the token list has 7"):
        load_ctc_model(directory)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("ctc.")}
    torch.save(state, directory / "3epoch.pth")
    with pytest.raises(CheckpointError, match="no CTC head"):
        load_ctc_model(directory)


def test_other_architecture_is_noticed(trained) -> None:
    directory, _ = trained
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config["encoder_conf"]["num_blocks"] = 3
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(CheckpointError, match=r"encoder.blocks.2"):
        load_ctc_model(directory)


def test_token_list_file(tmp_path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("".join(f"{t}\n" for t in TOKENS))
    assert read_tokens(path) == TOKENS
    assert build_ctc_model(tiny_config(token_list=str(path))).token_list == TOKENS
    path.write_text("a\n<blank>\n")
    with pytest.raises(DataError, match=r"tokens.txt:1: 'a'"):
        read_tokens(path)
    path.write_text("<blank>\na\na\n")
    with pytest.raises(DataError, match=r"tokens.txt:3: token 'a' is also on line 2"):
        read_tokens(path)
    with pytest.raises(ConfigError, match="token_list"):
        build_ctc_model(tiny_config(token_list=None))


def test_decoding_with_other_units_is_refused() -> None:
    check_same_tokens(TOKENS, TOKENS, "exp", "units/phn/tokens.txt")
    with pytest.raises(CheckpointError, match="differ from id 2 on"):
        check_same_tokens(TOKENS, ["<blank>", "<unk>", "z"], "exp", "tokens.txt")
    with pytest.raises(CheckpointError, match="differ from id 5 on"):
        check_same_tokens(TOKENS, TOKENS[:5], "exp", "tokens.txt")


def test_unknown_head_key_names_its_section() -> None:
    with pytest.raises(ConfigError, match=r"ctc_conf: .*zero_infinite"):
        build_ctc_model(tiny_config(ctc_conf={"zero_infinite": True}))
