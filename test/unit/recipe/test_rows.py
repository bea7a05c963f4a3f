"""conf/tables.yaml: every row of the paper once, and what a mistake there says."""

import re
from pathlib import Path

import pytest
import yaml

from espnet2_dq.analysis.published import published_tables
from espnet2_dq.bin import rows as rows_command
from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe.rows import TABLES, read_tables
from espnet2_dq.recipe.table_plan import Place, plan_row, shared_steps

RECIPE = Path(__file__).parents[3] / "egs2" / "commonvoice_dq" / "ssl1"
FILE = RECIPE / "conf" / "tables.yaml"
# Rows that work on the run of another one, or that the paper does not have.
OWN = {"random", "speaker"}


@pytest.fixture(scope="module")
def tables():
    return read_tables(FILE)


@pytest.mark.parametrize("number", TABLES)
def test_every_published_row_is_one_of_ours(tables, number):
    ours = [row.tables[number] for row in tables.rows.values() if number in row.tables]
    published = [row.label for row in published_tables()[number].rows]
    assert sorted(ours) == sorted(published)


def test_rows_outside_the_paper_are_these(tables):
    assert {name for name, row in tables.rows.items() if not row.tables} == OWN


def test_every_overlay_belongs_to_a_row(tables):
    used = set()
    for row in tables.rows.values():
        used |= {row.overlay(FILE.parent), row.first_overlay(FILE.parent)}
    assert {p.stem for p in used if p} == {
        path.stem for path in (FILE.parent / "rows").glob("*.yaml")
    }


def test_rows_with_words_in_table_three_are_fine_tuned_to_characters(tables):
    wanted = {name for name, row in tables.rows.items() if "III" in row.tables}
    assert wanted == {n for n, row in tables.rows.items() if "char" in row.units}


def test_options_of_rows_and_scales_are_run_sh_s(tables):
    template = RECIPE.parents[1] / "TEMPLATE" / "dq1"
    shell = "".join((template / n).read_text() for n in ("dq.sh", "recipe.sh"))
    known = set(re.findall(r"^ +option (\w+) ", shell, re.M))
    for item in (*tables.rows.values(), *tables.scales.values()):
        assert set(item.options) <= known


def test_selecting_adds_what_is_needed_and_puts_it_first(tables):
    names = [row.id for row in tables.selected(["transcoder", "dq_sd"])]
    assert set(names) == {"transcoder", "dq_sd", "unidata2vec_two_stage"}
    assert names.index("unidata2vec_two_stage") < names.index("transcoder")
    everything = [row.id for row in tables.selected([])]
    assert sorted(everything) == sorted(tables.rows)
    for row in tables.rows.values():
        if row.needs:
            assert everything.index(row.needs) < everything.index(row.id)


def test_an_unknown_row_lists_all(tables):
    with pytest.raises(ConfigError) as caught:
        tables.selected(["dq_ddd"])
    assert "Did you mean 'dq_dd'?" in str(caught.value)
    assert all(name in str(caught.value) for name in tables.rows)
    with pytest.raises(ConfigError, match="unknown scale 'large'"):
        tables.scale("large")


def write(tmp_path, **rows):
    (tmp_path / "rows").mkdir(exist_ok=True)
    (tmp_path / "rows" / "a.yaml").write_text("all: {}")
    path = tmp_path / "tables.yaml"
    path.write_text(yaml.safe_dump({"rows": rows}))
    return path


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": {"titel": "x"}}, "unknown key 'titel'. Did you mean 'title'?"),
        ({"a": {"tables": {"VII": "x"}}}, "unknown key 'VII'"),
        ({"a": {"flow": "train"}}, "'train' is not one of"),
        ({"a": {"needs": "z"}}, "needs: 'z', which is no row"),
        ({"a": {"needs": "a"}}, "needs: itself"),
        ({"t": {"flow": "transcoder"}}, "add needs"),
        ({"b": {}}, "b.yaml: cannot be read"),
        ({"a": {"options": {"first_stage": "c"}}}, "c.yaml: cannot be read"),
        ({"a": 3}, "expected a mapping"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, rows, message):
    with pytest.raises(ConfigError) as caught:
        read_tables(write(tmp_path, **rows))
    assert message in str(caught.value)


def test_values_become_the_words_of_an_option(tmp_path):
    path = write(tmp_path, a={"options": {"probe": False, "finetune_minutes": 0.2}})
    row = read_tables(path).row("a")
    assert dict(row.options) == {"probe": "false", "finetune_minutes": "0.2"}


def test_the_command_says_what_run_sh_needs(capsys, monkeypatch):
    monkeypatch.chdir(RECIPE)
    assert rows_command.main(["--row", "unidata2vec_two_stage"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "flow pretrain"
    assert "overlay conf/rows/unidata2vec_two_stage.yaml" in lines
    assert "input conf/rows/data2vec.yaml" in lines
    assert "first_overlay conf/rows/unidata2vec_first.yaml" in lines
    assert "option pretrain_langs not en" in lines
    assert rows_command.main(["--row", "none"]) == 1
    assert "dq_sd" in capsys.readouterr().err


# ------------------------------------------------------------------ plans


@pytest.fixture
def place(tables, tmp_path):
    return Place(tables.scale("mini"), tmp_path, ("--nj", "2"))


def test_the_plan_of_a_row(tables, place):
    run = plan_row(tables.row("dq_sd"), 3, place, tables)
    stages = [[w[w.index(f"--{o}") + 1] for o in ("stage", "stop_stage")]
              for w in run.steps]  # fmt: skip
    assert stages == [["5", "7"], ["9", "11"], ["9", "11"]]
    for words in run.steps:
        assert words[words.index("--seed") + 1] == "3"
        assert words[words.index("--row") + 1] == "dq_sd"
        assert words[words.index("--nj") + 1] == "2"
    assert run.exp == place.work_dir / "exp" / "tables_mini" / "dq_sd_s3"
    random = plan_row(tables.row("random"), 0, place, tables)
    assert [w[w.index("--stage") + 1] for w in random.steps] == ["9"]


def test_rows_that_read_another_row_s_run(tables, place):
    for name in ("transcoder", "offline_kmeans"):
        run = plan_row(tables.row(name), 1, place, tables)
        assert run.needs == f"{tables.row(name).needs}_s1"
        assert str(place.exp(tables.row(name).needs, 1)) in " ".join(run.steps[0])


def test_shared_data_is_made_once_for_all_units(tables, place):
    phonemes = [tables.row("wav2vec2")]
    assert len(shared_steps(phonemes, place)) == 2
    both = shared_steps([*phonemes, tables.row("dq_sd")], place)
    units = [w[w.index("--units") + 1] for w in both if "--units" in w]
    assert units == ["char", "phn", "char"]
    assert not any("--seed" in words for words in both)


def test_a_digest_follows_configuration_options_and_data(tables, place, tmp_path):
    row = tables.row("dq_dd")
    digest = plan_row(row, 0, place, tables).digest
    assert plan_row(row, 0, place, tables).digest == digest
    assert plan_row(row, 1, place, tables).digest != digest
    other = Place(place.scale, place.work_dir, ("--nj", "3"))
    assert plan_row(row, 0, other, tables).digest != digest
    mark = tmp_path / "data" / ".done" / "01_data.json"
    mark.parent.mkdir(parents=True)
    mark.write_text(
        '{"stage": "01_data", "command": [], "params": {}, "inputs": {},'
        ' "outputs": {"a": "1"}, "started": "", "seconds": 1, "cpu_seconds": 1,'
        ' "host": ""}'
    )
    assert plan_row(row, 0, place, tables).digest != digest


def test_a_digest_follows_what_the_row_extends(tmp_path):
    path = write(tmp_path, a={}, b={})
    (tmp_path / "rows" / "b.yaml").write_text("extends: a")
    place = Place(read_tables(FILE).scale("smoke"), tmp_path)

    def digest():
        tables = read_tables(path)
        return plan_row(tables.row("b"), 0, place, tables).digest

    before = digest()
    (tmp_path / "rows" / "a.yaml").write_text("all: {max_epoch: 1}")
    assert digest() != before
