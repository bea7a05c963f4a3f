"""The record of a run: what is read, what is left out, and that it comes back."""

import json
import math
import os

import pytest
from table_records import make_experiment, make_failed, make_record, section

from espnet2_dq.analysis.row_figures import record_of
from espnet2_dq.analysis.row_record import read_record, read_records
from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe.row_failure import Failure


@pytest.fixture
def exp(tmp_path):
    return make_experiment(tmp_path / "exp" / "tables_mini" / "dq_sd_s1")


def test_figures_come_from_the_directory(exp):
    record = record_of(exp, "dq_sd", 1, "mini")
    assert record.state == "ok"
    assert record.rates["per"]["languages"]["tt"] == 0.25
    assert record.rates["per"]["system"] == "phn"
    assert record.updates == 20
    assert math.isclose(record.audio_hours, 20 * 18 / 3600)
    assert record.date == "2026-11-22T04:00:00+00:00"


def test_wall_time_is_that_of_the_stages_that_count(exp):
    record = record_of(exp, "dq_sd", 1, "mini")
    assert record.wall_seconds == 60 + 5 + 30 + 3 + 1


def test_two_stages_of_pretraining_add_up(tmp_path):
    exp = make_experiment(tmp_path / "a")
    (exp / "first").mkdir()
    for name in ("log.jsonl", "config.yaml"):
        (exp / "first" / name).write_bytes((exp / "pretrain" / name).read_bytes())
    record = record_of(exp, "xlsr_two_stage", 0, "mini")
    assert record.updates == 40
    assert math.isclose(record.audio_hours, 2 * 20 * 18 / 3600)


def test_only_the_plain_fine_tuning_counts_unless_another_is_named(tmp_path):
    exp = make_experiment(tmp_path / "a", systems=("phn_0.5m", "phn_random"))
    assert record_of(exp, "random", 0, "mini").rates["per"]["system"] == "phn_random"
    other = record_of(exp, "random", 0, "mini", systems={"per": "phn_0.5m"})
    assert other.rates["per"]["system"] == "phn_0.5m"
    less = make_experiment(tmp_path / "b", systems=("phn_0.5m",))
    assert record_of(less, "random", 0, "mini").rates == {}


def test_codes_have_their_controls(exp):
    part = {"joint": 0.3, "groups": [0.1, 0.2], "majority": 0.05}
    part["permutation"] = {"joint": 0.2, "groups": [0.01, 0.02]}
    speakers = {"utt2spk": {"nmi": part, "purity": part}}
    metrics = {
        "lnmi": part, "lp": None, "pnmi": None, "pp": None, "alignment": "exact",
        "acn": {"language": 5}, "agn": {"language": [3, 4]},
        "per_language": {"es": {"pp": part, "pnmi": part}, "fr": {"utterances": 3}},
        "utterance_codes": speakers,
    }  # fmt: skip
    (exp / "analysis").mkdir()
    (exp / "analysis" / "metrics.json").write_text(json.dumps(metrics))
    record = record_of(exp, "dq_sd", 0, "mini")
    assert set(record.codes) == {"lnmi", "snmi", "sp"}
    assert record.codes["lnmi"]["control"] == 0.2
    assert record.codes["lnmi"]["group_controls"] == [0.01, 0.02]
    assert record.by_language["es"]["pp"] == {"joint": 0.3, "control": 0.2}
    assert set(record.by_language) == {"es"}
    assert record.active["agn"] == {"language": [3, 4]}


def test_scores_of_the_transcoder_lie_in_another_run(tmp_path):
    source = make_experiment(tmp_path / "uni_s0", systems=("phn", "transcoder_phn"))
    words = source / "score_transcoder_phn" / "test" / "scores.json"
    cer = {"cer": section("cer", 0.2)}
    words.write_text(json.dumps({**section("wer", 0.5), "other_metrics": cer}))
    exp = tmp_path / "transcoder_s0"
    (exp / "model" / ".done").mkdir(parents=True)
    mark = {"stage": "train", "command": [], "seconds": 7.0, "started": "2026"}
    (exp / "model" / ".done" / "train.json").write_text(json.dumps(mark))
    systems = {"per": "", "wer": "transcoder_phn", "cer": "transcoder_phn"}
    record = record_of(exp, "transcoder", 0, "mini", source=source, systems=systems)
    assert set(record.rates) == {"wer", "cer"}
    assert record.rates["wer"]["average"] == 0.5
    assert record.wall_seconds == 7 + 30 + 3 + 1
    assert record.updates == 0


def test_a_failed_run_keeps_its_cause_and_how_far_it_came(exp):
    cause = f"DataError: {exp}/pretrain/x and {exp.parents[2]}/dump/train: broken"
    failure = Failure("error", cause, "06_pretrain", "log")
    record = record_of(exp, "dq_sd", 1, "mini", failure=failure)
    assert (record.state, record.kind) == ("failed", "error")
    assert record.cause == "DataError: pretrain/x and dump/train: broken"
    assert record.updates == 20


def test_commands_lose_the_machine_s_paths_and_values_that_do_not_count(exp):
    (exp / "commands.txt").write_text(
        "./run.sh --tag dq --work_dir /home/me/w --tag a --python=/usr/bin/python3"
        " --pretrain_args '--seed 1'\n" * 2
    )
    record = record_of(exp, "dq_sd", 0, "mini")
    assert record.commands == ("./run.sh --tag a --pretrain_args '--seed 1'",)


def test_the_seed_is_no_part_of_the_configuration(tmp_path):
    def digest(name, **config):
        record = record_of(make_experiment(tmp_path / name, **config), "a", 0, "mini")
        return record.trainings["pretrain"]["config"]

    assert digest("a", seed=0) == digest("b", seed=1)
    assert digest("c", language_power=1.0) != digest("d", language_power=0.5)


def test_hours_of_the_corpus_come_from_stage_5_or_stage_3(exp, tmp_path):
    dump = tmp_path / "dump"
    dump.mkdir()
    shares = {"languages": [{"lang": "es", "hours": 1.5}]}
    (dump / "language_shares.json").write_text(json.dumps(shares))
    assert record_of(exp, "a", 0, "mini", dump=dump).corpus_hours == {"es": 1.5}
    stats = {"sets": {"train": {"hours": {"fr": 2.0}}, "dev": {"hours": {"fr": 1.0}}}}
    (exp / "stats.json").write_text(json.dumps(stats))
    assert record_of(exp, "a", 0, "mini", dump=dump).corpus_hours == {"fr": 2.0}


def test_records_come_back_in_order(tmp_path):
    records = [make_record("dq_sd", 10), make_record("dq_sd", 2), make_failed("a_s1")]
    for record in records:
        record.write(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    assert read_records(tmp_path) == [records[2], records[1], records[0]]


def test_a_run_that_is_recorded_again_keeps_its_versions(tmp_path):
    then, now = {"espnet": "1"}, {"espnet": "2"}
    make_record("a", environment=then).write(tmp_path)
    path = make_record("a", 0, 0.3, environment=now).write(tmp_path)
    again = read_record(path)
    assert again.environment == then
    assert again.rates["per"]["average"] == 0.3
    make_record("a", environment=now, date="2027-01-01").write(tmp_path)
    assert read_record(path).environment == now


def test_a_run_without_any_finished_stage_has_the_date_of_its_log(tmp_path):
    assert record_of(tmp_path, "a", 0, "mini").date == ""
    (tmp_path / "row.log").write_text("x")
    os.utime(tmp_path / "row.log", (86400, 86400))
    assert record_of(tmp_path, "a", 0, "mini").date == "1970-01-02T00:00:00+00:00"


def test_a_file_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "dq_sd_s0.json"
    path.write_text('{"row": "dq_sd", "seed": 0, "scale": "mini", "per": 3}')
    with pytest.raises(ConfigError, match="unknown key 'per'"):
        read_record(path)
    path.write_text('{"seed": 0}')
    with pytest.raises(ConfigError, match=r"dq_sd_s0\.json: .*missing"):
        read_record(path)
