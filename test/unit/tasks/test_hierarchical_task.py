"""The two-stream task with ESPnet's trainer, through the entry point."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from factories import make_kaldi_dir
from hier_factories import SPLIT, TOKEN_LISTS, hier_config, ids_of

from espnet2_dq.asr.hierarchical_build import load_hierarchical_model
from espnet2_dq.bin.hier_train import main
from espnet2_dq.data.batches import Draw
from espnet2_dq.data.tables import read_table, write_table

SECONDS = 0.5
SENTENCES = ("가 나", "값", "나 다", "가나")


@pytest.fixture
def corpus(tmp_path):
    """Eight utterances of half a second; the units stage has passed."""
    data = tmp_path / "data"
    made = make_kaldi_dir(data, langs=("ko",), utterances=8, seconds=SECONDS)
    for head in SPLIT:
        rows = {
            u.utt: " ".join(map(str, ids_of(head, SENTENCES[i % 4])))
            for i, u in enumerate(made)
        }
        write_table(data / f"{head}.int", rows)
        tokens = tmp_path / "units" / head / "tokens.txt"
        tokens.parent.mkdir(parents=True)
        tokens.write_text("".join(f"{t}\n" for t in TOKEN_LISTS[head]))
    config = hier_config(
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
    del config["token_lists"], config["model_conf"]["heads"]
    return SimpleNamespace(root=tmp_path, data=data, config=config)


def arguments(corpus, name: str, **changes) -> list[str]:
    path = corpus.root / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**corpus.config, **changes}))
    return [
        *("--config", str(path), "--output_dir", str(corpus.root / name)),
        *("--train_data", str(corpus.data), "--valid_data", str(corpus.data)),
        *("--units_dir", str(corpus.root / "units")),
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

    from espnet2_dq.tasks.hierarchical import HierarchicalTask

    monkeypatch.setattr(HierarchicalTask, "_training_plan", classmethod(plan))


def assert_same(found, expected, tolerance) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=name
        )


def test_config_holds_all_that_decoding_needs(corpus) -> None:
    directory = train(corpus, "exp")
    model, config = load_hierarchical_model(directory)
    assert model.token_lists == TOKEN_LISTS
    assert set(config["token_lists_sha256"]) == set(TOKEN_LISTS)
    assert config["best_model_criterion"] == [["valid", "wer", "min"]]
    assert (directory / "valid.wer.best.pth").exists()
    assert model.num_updates == 2.0
    line = records(directory)[-1]
    for head in TOKEN_LISTS:
        for gauge in ("loss", "blank_ratio", "impossible", "ter"):
            assert f"{gauge}_{head}" in line
    assert "wer" in line


def test_pretrained_encoder_and_one_head(corpus) -> None:
    """A single-task model starts where the multi-task one does."""
    start = train(corpus, "start")
    options = ("--init", str(start), "--heads", "syllable")
    tuned = train(corpus, "tuned", *options, init=None, optim_conf={"lr": 0.0})
    model, config = load_hierarchical_model(tuned)
    assert model.heads == ("syllable",)
    assert list(config["token_lists"]) == ["syllable"]
    found, before = weights(tuned / "1epoch.pth"), weights(start / "1epoch.pth")
    assert not any(name.startswith("ctc_heads.grapheme") for name in found)
    encoder = {k: v for k, v in before.items() if k.startswith(("encoder.", "preenc"))}
    assert_same({k: found[k] for k in encoder}, encoder, 0.0)
    name = "ctc_heads.syllable.ctc_lo.weight"
    assert not torch.equal(found[name], before[name])


def test_utterances_that_lack_a_stream_are_left_out(corpus, capsys) -> None:
    for head, utts in (("grapheme", [1]), ("syllable", [1, 2])):
        rows = read_table(corpus.data / f"{head}.int")
        for number in utts:
            rows[sorted(rows)[number]] = ""
        write_table(corpus.data / f"{head}.int", rows)
    directory = train(corpus, "exp")
    for head in SPLIT:
        assert len(read_table(directory / "data" / "train" / f"{head}.int")) == 6
    message = "left out 2 without transcript (grapheme 1, syllable 2)"
    assert message in capsys.readouterr().err


def test_accumulated_batches_give_the_update_of_one_batch(corpus, monkeypatch) -> None:
    """Also when they hold different numbers of utterances."""
    sgd = {"optim": "sgd", "scheduler": None, "grad_clip": 1e9}
    use_plan(monkeypatch, 8)
    one = weights(train(corpus, "one", num_iters_per_epoch=1, **sgd) / "1epoch.pth")
    use_plan(monkeypatch, 3, 5)
    two = weights(train(corpus, "two", accum_grad=2, **sgd) / "1epoch.pth")
    assert one["num_updates"] == 1.0
    assert_same(two, one, 1e-6)
    # the test can fail: half of the data is another update
    use_plan(monkeypatch, 4)
    half = weights(train(corpus, "half", num_iters_per_epoch=1, **sgd) / "1epoch.pth")
    for head in SPLIT:
        name = f"ctc_heads.{head}.ctc_lo.weight"
        assert (half[name] - one[name]).abs().max() > 1e-4


def test_resumed_run_ends_where_an_uninterrupted_one_ends(corpus, monkeypatch) -> None:
    from espnet2_dq.tasks.ctc import CTCTrainer

    conf = {"subsample": 2, "freeze_updates": 1, "syllable_delay_updates": 3}
    changes = {"model_conf": conf, "max_epoch": 2}
    whole = train(corpus, "whole", **changes)
    assert [r["frozen"] for r in records(whole)] == [1, 0, 0, 0]
    assert [r["delayed"] for r in records(whole)] == [1, 1, 1, 0]
    plain = CTCTrainer.train_one_epoch.__func__

    def killed_in_epoch_2(cls, *args, reporter, **kwargs):
        if reporter.get_epoch() == 2:
            raise KeyboardInterrupt
        return plain(cls, *args, reporter=reporter, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(CTCTrainer, "train_one_epoch", classmethod(killed_in_epoch_2))
        with pytest.raises(KeyboardInterrupt):
            train(corpus, "parts", **changes)
    parts = train(corpus, "parts", "--resume", "true", **changes)
    assert_same(weights(parts / "2epoch.pth"), weights(whole / "2epoch.pth"), 0.0)


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (("--heads", "jamo"), {}, "--heads: 'jamo'"),
        ((), {"model_conf": {"syllable_wieght": 1}}, "Did you mean 'syllable_weight'"),
        ((), {"time_maks": None}, "Did you mean 'time_mask'"),
        (("--init", "random"), {"crop_seconds": 1.0}, "crop_seconds: 1.0"),
    ],
)
def test_bad_configurations_end_with_one_line(
    corpus, capsys, options, changes, message
) -> None:
    assert main([*arguments(corpus, "exp", **changes), *options]) == 1
    assert message in capsys.readouterr().err


def test_missing_option_is_named(capsys) -> None:
    assert main(["--heads", "syllable"]) == 1
    assert "--train_data: missing" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_give_what_one_gives(corpus) -> None:
    """Parameters go without gradient while encoder and syllables rest."""
    conf = {"subsample": 2, "freeze_updates": 1, "syllable_delay_updates": 1}
    changes = {
        "model_conf": conf,
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
    module = [sys.executable, "-m", "espnet2_dq.bin.hier_train"]
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


CONF = Path(__file__).parents[3] / "egs2" / "ksponspeech_kwav2vec" / "asr1" / "conf"


@pytest.mark.parametrize(
    ("name", "updates", "audio_s"),
    [
        ("train_hier_960h.yaml", 320000, 1600.0),
        ("train_hier_100h.yaml", 80000, 1600.0),
        ("train_hier_mini.yaml", None, None),
    ],
)
def test_recipe_configurations_build(name, updates, audio_s) -> None:
    """Every key is known and used; the reference's sizes are METHODS 7.3's."""
    from espnet2_dq.asr.hierarchical_build import build_hierarchical_model
    from espnet2_dq.tasks.base import check_config_keys
    from espnet2_dq.tasks.hierarchical import HierarchicalTask

    content = yaml.safe_load((CONF / name).read_text())
    parser = HierarchicalTask.get_parser()
    check_config_keys(parser, content, name)
    args = parser.parse_args(["--config", str(CONF / name)])
    if updates is not None:
        assert HierarchicalTask.updates_total(args) == updates
        assert args.batch_seconds * args.accum_grad == audio_s
    assert HierarchicalTask.updates_total(args) > 0
    args.output_dir, args.token_lists, args.init = "exp", TOKEN_LISTS, "random"
    small = {"num_blocks": 1, "output_size": 16, "attention_heads": 2}
    args.encoder_conf |= small | {"linear_units": 32, "positional": {"groups": 2}}
    HierarchicalTask.settle_architecture(args)
    model = build_hierarchical_model(vars(args))
    assert model.heads == ("grapheme", "syllable")
    assert len(model.additional.blocks) == args.model_conf["additional_layers"]
    collate = HierarchicalTask.build_collate_fn(args, train=True)
    assert (collate.time_mask is None) == (args.time_mask is None)
    assert HierarchicalTask.build_collate_fn(args, train=False).time_mask is None
