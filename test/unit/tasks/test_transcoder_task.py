"""Training the TransCoder with ESPnet's trainer, and decoding with what it leaves."""

import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from factories import make_kaldi_dir
from transcoder_factories import OFF, SMALL

from espnet2_dq.asr.transcoder import load_transcoder
from espnet2_dq.bin import score, transcoder_data, transcoder_decode
from espnet2_dq.bin.transcoder_train import main
from espnet2_dq.data.tables import read_table, write_table
from espnet2_dq.errors import ConfigError
from espnet2_dq.tasks.transcoder import TranscoderTask
from espnet2_dq.text.phonemes import phonemise

CONFIG = {
    "model_conf": {**SMALL, "noise": OFF},
    "batch_size": 12,
    "fold_length": [16, 20],
    "max_epoch": 2,
    "num_iters_per_epoch": 3,
    "optim": "adam",
    "optim_conf": {"lr": "1e-2"},
    "scheduler": "tristagelr",
    "num_threads": 1,
    "use_tensorboard": False,
    "seed": 4,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Eight sentences twice, as a set with audio's tables and as pairs."""
    root = tmp_path_factory.mktemp("pairs")
    data = make_kaldi_dir(root / "test", langs=("en",), utterances=8, with_audio=False)
    more = make_kaldi_dir(root / "dev", langs=("en",), utterances=8, with_audio=False)
    lines = "".join(f"en\tthe {u.text}\n" for u in data)
    (root / "more.tsv").write_text(lines, encoding="utf-8")
    options = ["--text", str(root / "more.tsv"), "--valid", str(root / "dev")]
    assert transcoder_data.main([*options, "--out", str(root / "pairs")]) == 0
    return SimpleNamespace(root=root, pairs=root / "pairs", data=data, dev=more)


def train(corpus, folder, *options, **changes):
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    words = ["--config", str(path), "--data", str(corpus.pairs)]
    return main([*words, "--output_dir", str(folder), *options])


def weights(folder):
    return torch.load(folder / "latest.pth", weights_only=True)


def test_what_training_leaves_is_decoded_and_scored(corpus, tmp_path):
    assert train(corpus, tmp_path / "m") == 0
    config = yaml.safe_load((tmp_path / "m" / "config.yaml").read_text())
    assert config["model_conf"]["label_smoothing"] == 0.0
    assert config["scheduler_conf"]["max_steps"] == 6
    assert config["src_token_list"][:2] == ["<blank>", "<unk>"]
    assert (tmp_path / "m" / "valid.ter.best.pth").exists()
    model = load_transcoder(tmp_path / "m")
    assert model.conf.noise.off
    phones = {u.utt: phonemise([u.text], "en")[0] for u in corpus.data}
    write_table(tmp_path / "phn", {u: " ".join(p) for u, p in phones.items()})
    chars = {u.utt: " ".join(u.text.replace(" ", "_")) for u in corpus.data}
    target = corpus.root / "test" / "char"
    write_table(target, {u: c.replace("_", "<space>") for u, c in chars.items()})
    test_set = ["--data_dir", str(corpus.root / "test")]
    words = ["--model_dir", str(tmp_path / "m"), "--hyp", str(tmp_path / "phn")]
    out = tmp_path / "decode"
    words += ["--out", str(out)]
    assert transcoder_decode.main([*words, *test_set]) == 0
    assert read_table(out / "hyp", allow_empty=True).keys() == phones.keys()
    statistics = json.loads((out / "rtf.json").read_text())
    assert statistics["options"]["beam_size"] == 5
    assert statistics["options"]["ctc_weight"] == 0.5
    assert statistics["audio_s"] == 8.0
    words = ["--hyp", str(out / "hyp"), *test_set, "--units", "char"]
    assert score.main([*words, "--out", str(tmp_path / "score")]) == 0
    scores = json.loads((tmp_path / "score" / "scores.json").read_text())
    assert scores["metric"] == "wer"
    assert scores["languages"]["en"]["rate"] > 0


def test_a_run_that_was_cut_short_goes_on_as_if_it_had_not_been(corpus, tmp_path):
    """Noise included: it is drawn from the trainer's seed of the epoch."""
    conf = {"model_conf": {**SMALL, "dropout": 0.1}}
    assert train(corpus, tmp_path / "whole", **conf) == 0
    schedule = {"scheduler_conf": {"max_steps": 6}}
    assert train(corpus, tmp_path / "cut", max_epoch=1, **schedule, **conf) == 0
    assert train(corpus, tmp_path / "cut", "--must_resume", "true", **conf) == 0
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_noise_and_seed_change_the_run(corpus, tmp_path):
    runs = {
        "plain": {},
        "seed": {"seed": 5},
        "noise": {"model_conf": {**SMALL}},
    }
    found = {}
    for name, changes in runs.items():
        assert train(corpus, tmp_path / name, max_epoch=1, **changes) == 0
        found[name] = weights(tmp_path / name)["decoder.output_layer.bias"]
    assert not torch.equal(found["plain"], found["seed"])
    assert not torch.equal(found["plain"], found["noise"])


@pytest.mark.slow
def test_spelling_is_learnt(corpus, tmp_path):
    """Enough updates on eight sentences: they are spelt without an error."""
    conf = {**SMALL, "width": 32, "feed_forward": 64, "noise": OFF}
    long = {"num_iters_per_epoch": 300, "optim_conf": {"lr": 1e-2}}
    assert train(corpus, tmp_path / "m", max_epoch=1, model_conf=conf, **long) == 0
    from espnet2_dq.decode.transcoder import TranscoderSearch

    search = TranscoderSearch(load_transcoder(tmp_path / "m"), beam_size=2)
    right = 0
    for utterance in corpus.data:
        text = f"the {utterance.text}"
        found = search.spell(phonemise([text], "en")[0], "en")
        right += "".join(found.characters).replace("<space>", " ") == text
    assert right >= 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_conf": {"withd": 4}}, "Did you mean 'width'"),
        ({"modell_conf": {}}, "Did you mean 'model_conf'"),
        ({"num_iters_per_epoch": None}, "num_iters_per_epoch: None"),
        ({"accum_grad": 2}, r"a multiple of accum_grad \(2\)"),
    ],
)
def test_configurations_that_cannot_be(corpus, tmp_path, capsys, changes, message):
    import re

    assert train(corpus, tmp_path / "m", **changes) == 1
    assert re.search(message, capsys.readouterr().err)


def test_must_resume_without_a_checkpoint(corpus, tmp_path, capsys):
    assert train(corpus, tmp_path / "m", "--must_resume", "true") == 1
    assert "checkpoint.pth: not found" in capsys.readouterr().err


def test_a_directory_that_holds_no_pairs(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--output_dir", str(tmp_path / "m")]) == 1
    assert "no train/phn.int; run transcoder_data" in capsys.readouterr().err
    assert main(["--output_dir", str(tmp_path / "m")]) == 1
    assert "--data: missing" in capsys.readouterr().err


def test_model_needs_its_token_lists():
    args = SimpleNamespace(src_token_list=None, token_list=None, model_conf={})
    with pytest.raises(ConfigError, match="src_token_list: missing"):
        TranscoderTask.build_model(args)


def test_decoding_without_a_gpu_says_so(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    write_table(tmp_path / "phn", {u.utt: "a" for u in corpus.data})
    words = ["--model_dir", str(tmp_path), "--hyp", str(tmp_path / "phn")]
    words += ["--data_dir", str(corpus.root / "test"), "--out", str(tmp_path / "d")]
    assert transcoder_decode.main([*words, "--ngpu", "1"]) == 1
    assert "finds no GPU" in capsys.readouterr().err
