"""Stage 5: lengths of runs and estimates, against numbers worked out by hand."""

import json

import pytest
import yaml

from espnet2_dq.bin import stats as command
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.stats import cost_of, plan_of, summary
from espnet2_dq.errors import ConfigError

# The paper's model and run: 12 layers of 768, 85 M in the blocks, 400,000 updates.
BASE = {
    "batch_seconds": 1000.0,
    "accum_grad": 2,
    "max_epoch": 100,
    "num_iters_per_epoch": 8000,
    "frontend": "waveform",
    "encoder_conf": {"output_size": 768, "linear_units": 3072, "num_blocks": 12},
}


def directory(seconds):
    return KaldiDir(
        {
            f"{lang}-{number}": Utterance(
                f"{lang}-{number}",
                "x.wav",
                "t",
                f"{lang}{number}",
                lang,
                int(s * 16000),
            )
            for lang, values in seconds.items()
            for number, s in enumerate(values)
        }
    )


def test_plan_counts_updates_and_hours():
    plan = plan_of(BASE, train_hours=100.0)
    assert plan.updates == 400_000
    assert plan.audio_hours_per_update == pytest.approx(2000 / 3600)
    assert plan.passes == pytest.approx(400_000 * 2000 / 3600 / 100)


@pytest.mark.parametrize("key", ["batch_seconds", "max_epoch", "num_iters_per_epoch"])
def test_a_run_without_length_is_refused(key):
    with pytest.raises(ConfigError, match=key):
        plan_of({k: v for k, v in BASE.items() if k != key}, 1.0)


def test_cost_of_the_base_model_is_near_what_was_counted():
    cost = cost_of(BASE, plan_of(BASE, 100.0))
    # 85 M in the blocks, 4.2 M in the convolutions.
    assert cost.parameters_m == pytest.approx(89.1, abs=0.5)
    # An update on 2 x 5 s was counted at 520 GFLOP.
    assert cost.gflop_per_audio_s * 10 == pytest.approx(520, rel=0.1)
    # Measured: 3.94 CPU-seconds for such an update under bf16.
    per_update = cost.device_hours["CPU core (bf16)"] * 3600 / 400_000 / 200
    assert per_update == pytest.approx(3.94, rel=0.15)
    assert cost.disk_gib > cost.checkpoint_gib > 4 * 0.3


def test_log_mel_frontend_costs_less():
    plan = plan_of(BASE, 100.0)
    mel = cost_of({**BASE, "frontend": "log_mel"}, plan)
    assert mel.gflop_per_audio_s < 0.75 * cost_of(BASE, plan).gflop_per_audio_s


def test_summary_holds_sets_and_balanced_shares():
    sets = {
        "train": directory({"en": [90, 90], "ky": [20]}),
        "dev": directory({"en": [9]}),
    }
    content = summary(sets, BASE, power=0.5)
    assert content["sets"]["train"]["utterances"] == 3
    assert content["sets"]["dev"]["hours"] == {"en": pytest.approx(9 / 3600)}
    shares = {row["lang"]: row["share"] for row in content["balance"]}
    # sqrt(0.9) : sqrt(0.1) = 3 : 1
    assert shares == {"en": pytest.approx(0.75), "ky": pytest.approx(0.25)}


def test_command_reads_directories_and_writes_json(tmp_path, capsys):
    directory({"en": [9, 8], "fr": [7]}).write(tmp_path / "dump" / "train")
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(BASE))
    out = tmp_path / "stats.json"
    words = ["--dump", str(tmp_path / "dump"), "--sets", "train"]
    assert command.main([*words, "--config", str(config), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["plan"]["updates"] == 400_000
    printed = capsys.readouterr().out
    assert "400000 updates" in printed
    assert "train: 3 utterances" in printed
