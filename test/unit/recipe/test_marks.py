"""Done-marks: what makes a stage run again, and what does not."""

import dataclasses
import json

import pytest

from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe import digest as digest_module
from espnet2_dq.recipe.digest import all_digests, digests, file_digest
from espnet2_dq.recipe.marks import (
    Mark,
    Stage,
    attempt_file,
    checked_outputs,
    clear_way,
    decide,
    read_mark,
    write_mark,
)


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "in").write_text("a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").write_text("b")
    return Stage(
        name="03_x",
        command=["python", "-m", "thing", "--nj", "2"],
        inputs=[tmp_path / "in"],
        outputs=[tmp_path / "out"],
        optional_inputs=[tmp_path / "maybe"],
        params={"seed": "0"},
    )


def mark_of(stage):
    return Mark(
        stage=stage.name,
        command=stage.command,
        params=stage.params,
        inputs=all_digests(stage.inputs + stage.optional_inputs),
        outputs=checked_outputs(stage),
        started="2026-01-01",
        seconds=1.0,
        cpu_seconds=1.0,
        host="h",
    )


def test_nothing_changed_is_done(stage):
    assert not decide(stage, mark_of(stage)).run


def test_no_mark_runs(stage):
    assert decide(stage, None) == dataclasses.replace(
        decide(stage, None), run=True, reason="not done yet"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"params": {"seed": "1"}}, "seed changed from 0 to 1"),
        ({"params": {}}, "seed changed from 0 to None"),
        ({"command": ["python", "-m", "thing", "--nj", "3"]}, "--nj 2 -> 3"),
        ({"command": ["python", "-m", "thing"]}, "removed --nj 2"),
    ],
)
def test_other_command_or_parameters_run(stage, change, reason):
    decision = decide(dataclasses.replace(stage, **change), mark_of(stage))
    assert decision.run
    assert reason in decision.reason


def test_changed_input_is_named(stage):
    mark = mark_of(stage)
    stage.inputs[0].write_text("z")
    assert decide(stage, mark).reason == f"input {stage.inputs[0]} changed"


def test_optional_input_that_appears_is_a_change(stage):
    mark = mark_of(stage)
    stage.optional_inputs[0].write_text("new")
    assert decide(stage, mark).reason == f"input {stage.optional_inputs[0]} changed"


def test_damaged_and_missing_outputs_are_named(stage):
    mark = mark_of(stage)
    file = stage.outputs[0] / "x"
    file.write_text("B")
    assert decide(stage, mark).reason == f"output {file} changed"
    file.unlink()
    assert decide(stage, mark).reason == f"output {file} missing"


def test_same_content_with_a_new_date_is_done(stage):
    mark = mark_of(stage)
    for file in (stage.inputs[0], stage.outputs[0] / "x"):
        file.write_text(file.read_text())
    assert not decide(stage, mark).run


def test_files_that_later_stages_add_to_an_output_directory_do_not_count(stage):
    mark = mark_of(stage)
    (stage.outputs[0] / "y").write_text("later")
    assert not decide(stage, mark).run


def test_missing_output_after_a_run_is_an_error(stage, tmp_path):
    other = dataclasses.replace(stage, outputs=[tmp_path / "never"])
    with pytest.raises(ConfigError, match="never"):
        checked_outputs(other)


def test_mark_survives_the_disk_and_a_broken_one_counts_as_none(stage, tmp_path):
    path = tmp_path / ".done" / "m.json"
    write_mark(path, mark_of(stage))
    assert read_mark(path) == mark_of(stage)
    assert set(json.loads(path.read_text())) >= {"stage", "seconds", "cpu_seconds"}
    path.write_text(path.read_text()[:30])
    assert read_mark(path) is None


def test_directories_skip_hidden_files_and_do_not_read_audio(tmp_path):
    for name in ("a.txt", ".hidden", "x.wav"):
        (tmp_path / name).write_text("1")
    before = digests(tmp_path)
    assert str(tmp_path / ".hidden") not in before
    (tmp_path / "x.wav").write_text("other content")
    assert digests(tmp_path) == before
    (tmp_path / "x.wav").unlink()
    assert digests(tmp_path) != before


def test_large_files_are_hashed_by_size_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(digest_module, "WHOLE_BELOW_BYTES", 100)
    monkeypatch.setattr(digest_module, "END_BYTES", 10)
    file = tmp_path / "large"
    file.write_bytes(b"a" * 200)
    before = file_digest(file)
    file.write_bytes(b"a" * 199 + b"b")
    end_changed = file_digest(file)
    file.write_bytes(b"b" + b"a" * 199)
    head_changed = file_digest(file)
    file.write_bytes(b"a" * 201)
    assert len({before, end_changed, head_changed, file_digest(file)}) == 4


class TestClearWay:
    """When a training may go on in a directory."""

    def folder(self, tmp_path):
        folder = tmp_path / "pretrain"
        folder.mkdir()
        (folder / "checkpoint.pth").write_text("c")
        return folder

    def test_interrupted_run_goes_on(self, stage, tmp_path):
        mark = tmp_path / "m.json"
        inputs = all_digests(stage.inputs)
        clear_way(stage, inputs, mark, tmp_path / "pretrain")
        folder = self.folder(tmp_path)
        assert clear_way(stage, inputs, mark, folder) is None
        assert (folder / "checkpoint.pth").exists()

    def test_other_settings_start_afresh(self, stage, tmp_path):
        mark = tmp_path / "m.json"
        clear_way(stage, all_digests(stage.inputs), mark, tmp_path / "pretrain")
        folder = self.folder(tmp_path)
        other = dataclasses.replace(stage, params={"seed": "1"})
        moved = clear_way(other, all_digests(stage.inputs), mark, folder)
        assert moved == tmp_path / "old" / "pretrain-1"
        assert (moved / "checkpoint.pth").exists()
        assert not folder.exists()

    def test_ended_run_starts_afresh_and_keeps_every_old_one(self, stage, tmp_path):
        mark = tmp_path / "m.json"
        inputs = all_digests(stage.inputs)
        clear_way(stage, inputs, mark, tmp_path / "pretrain")
        write_mark(mark, mark_of(stage))
        for number in (1, 2):
            moved = clear_way(stage, inputs, mark, self.folder(tmp_path))
            assert moved == tmp_path / "old" / f"pretrain-{number}"
        assert attempt_file(mark).exists()
