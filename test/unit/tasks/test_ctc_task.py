"""The fine-tuning task with ESPnet's trainer, through the entry point."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from asr_factories import TOKENS, tiny_config
from factories import make_kaldi_dir

from espnet2_dq.bin.ctc_train import main
from espnet2_dq.data.batches import Draw
from espnet2_dq.data.tables import read_table, write_table

SECONDS = 0.5


@pytest.fixture
def corpus(tmp_path):
    """Eight utterances of half a second in two languages, and a configuration."""
    data = tmp_path / "data"
    made = make_kaldi_dir(data, seconds=SECONDS, phones=False)
    targets = {u.utt: f"{2 + i % 4} 3 {2 + i % 3}" for i, u in enumerate(made)}
    write_table(data / "phn.int", targets)
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "tokens.txt").write_text("".join(f"{t}\n" for t in TOKENS))
    config = tiny_config(
        model_conf={"subsample": 2, "head_lr_scale": 3.0},
        time_mask={"prob": 0.3, "length": 3},
        channel_mask={"prob": 0.3, "length": 4, "min_masks": 0},
        init="random",
        batch_seconds=8 * SECONDS,
        num_iters_per_epoch=2,
        max_epoch=1,
        optim="adam",
        optim_conf={"lr": 1e-3},
        scheduler="tristagelr",
        num_workers=0,
        progress_interval=1,
        keep_nbest_models=3,
        use_tensorboard=False,
    )
    del config["token_list"]
    return SimpleNamespace(root=tmp_path, data=data, config=config)


def arguments(corpus, name: str, **changes) -> list[str]:
    path = corpus.root / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**corpus.config, **changes}))
    return [
        *("--config", str(path), "--output_dir", str(corpus.root / name)),
        *("--train_data", str(corpus.data), "--valid_data", str(corpus.data)),
        *("--units_dir", str(corpus.root / "units"), "--unit", "phn"),
    ]


def train(corpus, name: str, *options: str, **changes) -> Path:
    assert main([*arguments(corpus, name, **changes), *options]) == 0
    return corpus.root / name


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def records(directory: Path) -> list[dict]:
    lines = (directory / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def use_plan(monkeypatch, *sizes: int) -> None:
    """Batches of the given numbers of utterances, in order of their ids."""

    def plan(_cls, _args, lengths, _batch_samples):
        ids = iter(sorted(lengths))
        batches = [[Draw(next(ids)) for _ in range(size)] for size in sizes]
        return SimpleNamespace(epoch=lambda _epoch: batches)

    from espnet2_dq.tasks.ctc import CTCTask

    monkeypatch.setattr(CTCTask, "_training_plan", classmethod(plan))


def assert_same(found, expected, tolerance) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=name
        )


def test_accumulated_batches_give_the_update_of_one_batch(corpus, monkeypatch) -> None:
    """Also when they hold different numbers of utterances."""
    sgd = {"optim": "sgd", "scheduler": None, "grad_clip": 1e9}
    use_plan(monkeypatch, 8)
    one = train(corpus, "one", num_iters_per_epoch=1, **sgd)
    use_plan(monkeypatch, 3, 5)
    two = train(corpus, "two", accum_grad=2, **sgd)
    assert [r["update"] for r in records(two)] == [1]
    start = weights(one / "1epoch.pth")
    assert start["num_updates"] == 1.0
    assert_same(weights(two / "1epoch.pth"), start, 1e-6)
    # the test can fail: half of the data is another update
    use_plan(monkeypatch, 4)
    half = weights(train(corpus, "half", num_iters_per_epoch=1, **sgd) / "1epoch.pth")
    gap = half["ctc.ctc_lo.weight"] - start["ctc.ctc_lo.weight"]
    assert gap.abs().max() > 1e-4


def test_backbone_trains_from_its_update_on(corpus) -> None:
    directory = train(
        corpus,
        "exp",
        max_epoch=2,
        model_conf={"freeze_updates": 2, "subsample": 2},
        optim="adamw",
        optim_conf={"lr": 1e-3, "weight_decay": 0.1},
    )
    assert [r["frozen"] for r in records(directory)] == [1, 1, 0, 0]
    first, second = (weights(directory / f"{n}epoch.pth") for n in (1, 2))
    start = weights(train(corpus, "start", optim_conf={"lr": 0.0}) / "1epoch.pth")
    for name in start:
        if name.startswith("encoder.blocks"):
            assert torch.equal(first[name], start[name]), name
            assert not torch.equal(second[name], start[name]), name
    head = "ctc.ctc_lo.weight"
    assert not torch.equal(first[head], start[head])


def test_config_holds_all_that_decoding_needs(corpus) -> None:
    from espnet2_dq.asr.build import load_ctc_model

    directory = train(corpus, "exp")
    model, config = load_ctc_model(directory)
    assert model.token_list == TOKENS
    assert config["scheduler_conf"]["max_steps"] == 2
    assert config["best_model_criterion"] == [["valid", "ter", "min"]]
    assert (directory / "valid.ter.best.pth").exists()
    assert model.num_updates == 2.0


def test_pretrained_weights_and_one_language(corpus) -> None:
    pretrained = train(corpus, "pretrained")
    directory = train(
        corpus,
        "tuned",
        *("--init", str(pretrained / "1epoch.pth"), "--lang", "fr"),
        init=None,
        encoder_conf={"dropout_rate": 0.2},
        frontend=None,
        frontend_conf={},
        optim_conf={"lr": 0.0},
    )
    tuned, before = (
        weights(directory / "1epoch.pth"),
        weights(pretrained / "1epoch.pth"),
    )
    backbone = {k: v for k, v in before.items() if k.startswith(("encoder.", "preenc"))}
    assert_same({k: tuned[k] for k in backbone}, backbone, 0.0)
    assert not torch.equal(tuned["ctc.ctc_lo.weight"], before["ctc.ctc_lo.weight"])
    saved = yaml.safe_load((directory / "config.yaml").read_text())
    assert saved["encoder_conf"]["dropout_rate"] == 0.2
    assert saved["encoder_conf"]["num_blocks"] == 2
    languages = read_table(directory / "data" / "train" / "utt2lang")
    assert set(languages.values()) == {"fr"}


def test_resumed_run_ends_where_an_uninterrupted_one_ends(corpus, monkeypatch) -> None:
    from espnet2_dq.tasks.ctc import CTCTrainer

    freeze = {"model_conf": {"freeze_updates": 3, "subsample": 2}, "max_epoch": 2}
    whole = train(corpus, "whole", **freeze)
    plain = CTCTrainer.train_one_epoch.__func__

    def killed_in_epoch_2(cls, *args, reporter, **kwargs):
        if reporter.get_epoch() == 2:
            raise KeyboardInterrupt
        return plain(cls, *args, reporter=reporter, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(CTCTrainer, "train_one_epoch", classmethod(killed_in_epoch_2))
        with pytest.raises(KeyboardInterrupt):
            train(corpus, "parts", **freeze)
    parts = train(corpus, "parts", "--resume", "true", **freeze)
    assert_same(weights(parts / "2epoch.pth"), weights(whole / "2epoch.pth"), 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_seconds": 1.0}, "crop_seconds: 1.0"),
        ({"model_conf": {"freeze_update": 3}}, "Did you mean 'freeze_updates'"),
        ({"time_maks": None}, "Did you mean 'time_mask'"),
        ({"init": None}, "--init random"),
        ({"num_iters_per_epoch": 3, "accum_grad": 2}, "multiple of accum_grad"),
    ],
)
def test_bad_configurations_end_with_one_line(
    corpus, capsys, monkeypatch, changes, message
) -> None:
    use_plan(monkeypatch, 4, 4)
    assert main(arguments(corpus, "exp", **changes)) == 1
    assert message in capsys.readouterr().err


def test_missing_option_is_named(capsys) -> None:
    assert main(["--unit", "phn"]) == 1
    assert "--train_data: missing" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_give_what_one_gives(corpus) -> None:
    """With a frozen backbone at first, so that parameters go without gradient."""
    changes = {
        "model_conf": {"freeze_updates": 1, "subsample": 2},
        "optim": "sgd",
        "scheduler": None,
        "grad_clip": 1e9,
    }
    one = train(corpus, "one", **changes)
    options = [
        *arguments(corpus, "two", **changes),
        *("--dist_world_size", "2", "--ngpu", "0"),
        *("--multiprocessing_distributed", "false"),
        *("--dist_init_method", f"file://{corpus.root / 'rendezvous'}"),
    ]
    module = [sys.executable, "-m", "espnet2_dq.bin.ctc_train"]
    ranks = [
        subprocess.Popen(
            [*module, *options, "--dist_rank", str(rank)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in ranks:
        _, err = process.communicate(timeout=900)
        assert process.returncode == 0, err[-3000:]
    found = weights(corpus.root / "two" / "1epoch.pth")
    assert_same(found, weights(one / "1epoch.pth"), 1e-5)


CONF = Path(__file__).parents[3] / "egs2" / "commonvoice_dq" / "ssl1" / "conf"


@pytest.mark.parametrize(
    ("name", "updates", "audio_s"),
    [
        ("train_ctc_base.yaml", 13000, 1600.0),
        ("train_ctc_mini.yaml", 1500, 16.0),
        ("tuning/train_ctc_smoke.yaml", 4, 16.0),
    ],
)
def test_recipe_configurations_build(name, updates, audio_s) -> None:
    """Every key is known and used, and the sizes are what the comments say."""
    from espnet2_dq.asr.build import build_ctc_model
    from espnet2_dq.tasks.base import check_config_keys
    from espnet2_dq.tasks.ctc import CTCTask

    content = yaml.safe_load((CONF / name).read_text())
    parser = CTCTask.get_parser()
    check_config_keys(parser, content, name)
    args = parser.parse_args(["--config", str(CONF / name)])
    assert CTCTask.updates_total(args) == updates
    assert args.batch_seconds * args.accum_grad == audio_s
    args.output_dir, args.token_list, args.init = "exp", TOKENS, "random"
    small = {"num_blocks": 1, "output_size": 16, "attention_heads": 2}
    args.encoder_conf |= small | {"linear_units": 32, "positional": {"groups": 2}}
    CTCTask.settle_architecture(args)
    assert build_ctc_model(vars(args)).conf.subsample == args.model_conf["subsample"]
    collate = CTCTask.build_collate_fn(args, train=True)
    assert (collate.time_mask is None) == (args.time_mask is None)
    assert collate.channels == 16
    assert CTCTask.build_collate_fn(args, train=False).time_mask is None
