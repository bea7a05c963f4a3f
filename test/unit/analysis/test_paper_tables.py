"""The tables: published figures, statistics over seeds, orderings, files."""

import json
import math
import re
from pathlib import Path

import pytest
from table_records import LANGUAGES, code, make_failed, make_record

from espnet2_dq.analysis import table_words as words
from espnet2_dq.analysis.paper_tables import EIGHT, THREE, paper_tables
from espnet2_dq.analysis.published import published_tables
from espnet2_dq.analysis.seed_statistics import Stat, compare_orderings, stat_of
from espnet2_dq.analysis.table_files import replace_part, write_tables
from espnet2_dq.bin import tables as tables_command
from espnet2_dq.errors import DataError
from espnet2_dq.recipe.rows import read_tables

CONF = Path(__file__).parents[3] / "egs2" / "commonvoice_dq" / "ssl1" / "conf"


@pytest.fixture(scope="module")
def conf():
    return read_tables(CONF / "tables.yaml")


def tables_of(conf, *records):
    return {table.number: table for table in paper_tables(conf.rows, records)}


def line_of(table, row):
    return next(line for line in table.lines if line.row == row)


# ------------------------------------------------------------- published


@pytest.mark.parametrize(
    ("number", "average", "languages"),
    [("II", "Avg", EIGHT), ("III", "Avg8", EIGHT), ("III", "Avg3", THREE)],
)
def test_printed_averages_are_those_of_the_printed_cells(number, average, languages):
    checked = 0
    for row in published_tables()[number].rows:
        if average in row.values:
            mean = sum(row.values[lang] for lang in languages) / len(languages)
            # XLSR and UniData2vec are printed with one digit
            assert abs(mean - row.values[average]) < 0.04
            checked += 1
    assert checked >= 4


def test_published_tables_are_complete():
    tables = published_tables()
    assert list(tables) == ["I", "II", "III", "IV", "V", "VI"]
    assert [len(t.rows) for t in tables.values()] == [9, 14, 6, 3, 9, 11]
    assert sum(row.values["hours"] for row in tables["I"].rows) == 2082
    outcomes = [row.label[:2] for row in tables["VI"].rows if row.outcome]
    assert outcomes == ["S3", "S5", "S6"]
    for table in tables.values():
        for row in table.rows:
            assert set(row.values) <= set(table.columns)


# ------------------------------------------------------------ statistics


def test_mean_and_spread_over_seeds():
    stat = stat_of([1.0, None, 3.0])
    assert (stat.mean, stat.sd, stat.n) == (2.0, math.sqrt(2.0), 2)
    assert stat_of([5.0]).sd is None
    assert stat_of([None]) is None


def test_orderings_that_agree_and_that_do_not():
    published = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    same = compare_orderings("x", published, {k: 10 * v for k, v in published.items()})
    assert (same.tau, same.pairs, same.disagreements) == (1.0, 6, [])
    turned = compare_orderings("x", published, {k: -v for k, v in published.items()})
    assert turned.tau == -1.0
    assert len(turned.disagreements) == 6
    swapped = compare_orderings("x", published, {"a": 2, "b": 1, "d": 5})
    assert swapped.rows == ["a", "b", "d"]
    (pair,) = swapped.disagreements
    assert (pair.a, pair.b, pair.published, pair.ours) == ("a", "b", -1.0, 1)
    assert math.isclose(swapped.tau, 1 / 3)


def test_orderings_without_a_meaning():
    assert compare_orderings("x", {"a": 1.0}, {"a": 2.0}).tau is None
    alike = compare_orderings("x", {"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 3.0})
    assert (alike.tau, alike.pairs) == (None, 0)
    tied = compare_orderings("x", {"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 2.0})
    assert len(tied.disagreements) == 1


# --------------------------------------------------------------- tables


def test_rates_are_percent_and_averages_leave_english_out(conf):
    record = make_record("dq_sd")
    record.rates["per"]["languages"] |= {"en": 0.9, "es": 0.28}
    table = tables_of(conf, record)["II"]
    ours = line_of(table, "dq_sd").ours
    assert ours["es"].mean == pytest.approx(28.0)
    assert ours["Avg"].mean == pytest.approx((28 + 7 * 20) / 8)


def test_an_average_needs_all_its_languages(conf):
    record = make_record("dq_sd")
    del record.rates["per"]["languages"]["sv"]
    ours = line_of(tables_of(conf, record)["II"], "dq_sd").ours
    assert "es" in ours
    assert "sv" not in ours
    assert "Avg" not in ours


def test_every_finished_seed_counts_and_failed_ones_are_listed(conf):
    records = [
        make_record("data2vec", 0, 0.2),
        make_record("data2vec", 1, 0.3),
        make_failed("data2vec", 2),
    ]
    line = line_of(tables_of(conf, *records)["II"], "data2vec")
    assert line.ours["Avg"].values == pytest.approx((20.0, 30.0))
    state = words.state_of(line)
    assert state.startswith("seeds 0 1; seed 2: collapse in 06_pretrain")
    assert "phoneme quantizer group 1" in state
    assert words.budget_cells(line) == ["2", "0.50", "100", "1 min 30 s"]


def test_figures_of_a_failed_run_never_count(conf):
    failed = make_failed("dq_sd")
    failed.codes["lnmi"] = code(0.9)
    line = line_of(tables_of(conf, failed)["VI"], "dq_sd")
    assert line.ours == {}
    assert words.our_cell(line, "LNMI") == words.EMPTY


def test_a_row_that_was_not_run_says_so(conf):
    line = line_of(tables_of(conf)["II"], "unispeech")
    assert words.state_of(line) == "not run"
    assert words.our_cell(line, "Avg") == words.EMPTY


def test_seeds_of_different_configurations_are_pointed_out(conf):
    other = {"pretrain": {"updates": 7, "audio_hours": 1.0, "config": "def"}}
    records = [make_record("dq_sd", 0), make_record("dq_sd", 1, trainings=other)]
    line = line_of(tables_of(conf, *records)["II"], "dq_sd")
    assert "seeds differ in their configuration" in words.state_of(line)
    alike = line_of(tables_of(conf, *(records[:1] * 2))["II"], "dq_sd")
    assert not alike.mixed


def test_codes_stand_with_their_control(conf):
    records = [
        make_record("dq_sd", s, codes={"lnmi": code(0.3 + s / 10), "pnmi": code(0.5)})
        for s in (0, 1)
    ]
    line = line_of(tables_of(conf, *records)["IV"], "dq_sd")
    assert words.our_cell(line, "LNMI") == "0.350 ± 0.071 [0.100]"
    assert words.our_cell(line, "LP") == words.EMPTY
    assert words.published_cell(line, "LNMI") == "0.34"


def test_languages_of_the_shallow_model(conf):
    part = {"joint": 0.6, "control": 0.2}
    by_language = {lang: {"pp": part, "pnmi": part} for lang in LANGUAGES}
    record = make_record("dq_sd", by_language=by_language, corpus_hours={"es": 1.5})
    tables = tables_of(conf, record)
    assert [line.label for line in tables["V"].lines] == [*EIGHT, "Avg"]
    assert all(line.ours["PP"].mean == 0.6 for line in tables["V"].lines)
    assert len(tables["V"].orderings[0].rows) == 8
    assert tables["I"].lines[1].ours["hours"].mean == 1.5


def test_order_of_the_rows(conf):
    records = [
        make_record("data2vec", per=0.10),
        make_record("dq_sd", per=0.20),
        make_record("dq_dd", per=0.05),
    ]
    (ordering,) = tables_of(conf, *records)["II"].orderings
    assert len(ordering.rows) == 3
    (pair,) = ordering.disagreements
    assert {pair.a, pair.b} == {"data2vec", "DQ-Data2vec (SD)"}
    assert "pairs that disagree: 1 of 3" in words.ordering_words(ordering)
    (line,) = words.disagreement_words(ordering)
    assert line == "data2vec minus DQ-Data2vec (SD): published +0.76, ours -10.00"


def test_what_became_of_rows_that_ended_badly_in_the_paper(conf):
    records = [
        make_failed("s5_transformer", 0),
        make_record("s5_transformer", 1),
        make_record("s3_l2_phoneme"),
        make_failed("s6_cnn", kind="error"),
    ]
    found = words.outcome_words(tables_of(conf, *records)["VI"])
    assert "quick collapse; the same in 1 of 2 runs" in found[1]
    assert "loss explosion near 350k updates; the same in 0 of 1 runs" in found[0]
    assert "slow collapse; the same in 0 of 1 runs" in found[2]


# ---------------------------------------------------------------- files


@pytest.fixture
def records():
    return [
        make_record("data2vec", 0, 0.2),
        make_record("data2vec", 1, 0.3),
        make_record("random", 0, 0.4),
        make_failed("s6_cnn"),
    ]


def test_the_files_hold_published_and_own_figures(conf, records, tmp_path):
    report = tmp_path / "RESULTS.md"
    report.write_text("# Mine\n\nby hand\n")
    scale = conf.scale("mini")
    page = write_tables(conf.rows, scale, records, tmp_path / "out", report)
    html = page.read_text()
    assert not re.search(r"(src|href)=\"?https?:", html)
    assert '25.00<span class="ci">± 7.07</span>' in html
    assert "25.00 ± 7.07" in report.read_text()
    for text in (html, report.read_text()):
        assert "17.67" in text
        assert "slow collapse" in text
        assert "phoneme quantizer group 1" in text
        assert "Not run: " in text
        assert "no pretraining" in text
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(content["tables"]) == {"I", "II", "III", "IV", "V", "VI", "own"}
    assert [run["state"] for run in content["runs"]] == ["ok", "ok", "ok", "failed"]
    markdown = report.read_text()
    assert markdown.startswith("# Mine\n\nby hand\n")
    assert 'make tables SCALE=mini ROWS="data2vec" SEEDS="0 1"' in markdown
    for line in markdown.splitlines():
        if line.startswith("| s6_cnn"):
            assert line.count("|") == 9  # the cause's own bar would break the row


def test_a_scale_without_figures_shows_only_what_has_run(conf, records, tmp_path):
    report = tmp_path / "RESULTS.md"
    write_tables(conf.rows, conf.scale("smoke"), records, tmp_path, report)
    text = report.read_text()
    assert "17.67" not in text
    assert "Table II" not in text
    assert "| data2vec | 1 | ok |" in text
    assert json.loads((tmp_path / "results.json").read_text())["tables"] == {}


def test_writing_again_replaces_the_part_and_nothing_else(tmp_path):
    path = tmp_path / "R.md"
    path.write_text("a\n")
    for name, part in (("mini", "1"), ("smoke", "2"), ("mini", "3")):
        lines = replace_part(path, name, [part])
        path.write_text("\n".join([*lines, ""]))
    assert path.read_text().splitlines() == [
        "a",
        "",
        "<!-- tables mini -->",
        "3",
        "<!-- end of tables mini -->",
        "",
        "<!-- tables smoke -->",
        "2",
        "<!-- end of tables smoke -->",
    ]
    path.write_text("<!-- end of tables mini -->\n<!-- tables mini -->\n")
    with pytest.raises(DataError, match="each once"):
        replace_part(path, "mini", [])


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (7.4, "7 s"), (75, "1 min 15 s"), (3700, "1 h 1 min")],
)
def test_durations(seconds, shown):
    assert words.duration_words(seconds) == shown


def test_cells():
    assert words.stat_cell(Stat((0.5,)), 2) == "0.50"
    assert words.stat_cell(None, 2) == words.EMPTY


# -------------------------------------------------------------- command


def run_command(tmp_path, *options):
    return tables_command.main(
        [
            *("--scale", "mini", "--tables", str(CONF / "tables.yaml")),
            *("--results", str(tmp_path / "results")),
            *("--markdown", str(tmp_path / "R.md"), *options),
        ]
    )


def test_a_run_made_by_hand_is_recorded(tmp_path, capsys):
    from table_records import make_experiment

    exp = make_experiment(tmp_path / "exp" / "mine", systems=("phn_0.5m",))
    words_ = ("--record", str(exp), "--row", "dq_sd", "--seed", "4")
    assert run_command(tmp_path, *words_) == 1
    assert "--phn_system" in capsys.readouterr().err
    assert run_command(tmp_path, *words_, "--phn_system", "phn_0.5m") == 0
    assert (tmp_path / "results" / "mini" / "dq_sd_s4.json").exists()
    assert "seed 4" in (tmp_path / "R.md").read_text()
    assert run_command(tmp_path, *words_[:4]) == 1
    assert "needs --row and --seed" in capsys.readouterr().err


def test_runs_of_tables_sh_are_recorded_if_they_have_ended(tmp_path):
    from table_records import make_experiment

    exp = tmp_path / "exp"
    for name in ("dq_sd_s0", "dq_dd_s1", "nobody_s0", "data2vec_s0"):
        make_experiment(exp / "tables_mini" / name)
    state = {"digest": "x", "failure": None}
    for name in ("dq_sd_s0", "nobody_s0"):
        (exp / "tables_mini" / name / "row.json").write_text(json.dumps(state))
    failure = {"kind": "collapse", "cause": "CollapseError: x", "stage": "", "log": ""}
    path = exp / "tables_mini" / "data2vec_s0" / "row.json"
    path.write_text(json.dumps({"digest": "y", "failure": failure}))
    assert run_command(tmp_path, "--exp", str(exp)) == 0
    found = {p.name for p in (tmp_path / "results" / "mini").glob("*_s?.json")}
    assert found == {"dq_sd_s0.json", "data2vec_s0.json"}
    assert "collapse" in (tmp_path / "R.md").read_text()
