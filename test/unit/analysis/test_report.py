"""The report: every number from disk, nothing invented, nothing from outside."""

import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
from factories import make_kaldi_dir

from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.collect import collect, read_scores
from espnet2_dq.analysis.figures import plot_code_map, save_figure
from espnet2_dq.analysis.metrics import measure
from espnet2_dq.analysis.purity import ConditionalMap
from espnet2_dq.analysis.report import duration, plain_table, stage_rows
from espnet2_dq.analysis.results import main_score
from espnet2_dq.bin.report import main

VOID = {"meta", "link", "img", "br"}


class Checker(html.parser.HTMLParser):
    """Balanced tags; images with text; what is fetched; duplicate ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.images = 0
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        values = dict(attrs)
        self.sources += [values[k] for k in ("src", "href") if k in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img":
            assert values["alt"]
            self.images += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] not in ("style", "pre"):
            self.text += data


def section(metric: str, rates: dict[str, float]) -> dict:
    row = {"ref": 100, "sub": 5, "del": 5, "ins": 0, "utterances": 9}
    return {
        "metric": metric,
        "languages": {
            lang: {"rate": r, **row, "ci95": [r - 0.01, r + 0.01]}
            for lang, r in rates.items()
        },
        "average": float(np.mean(list(rates.values()))),
        "ci95": [0.1, 0.3],
    }


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_jsonl(path: Path, records: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A run with all parts, as the stages leave them."""
    for name in ("train", "test"):
        make_kaldi_dir(
            tmp_path / "dump" / name, utterances=3, phones=True, with_audio=False
        )
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "wav.scp").touch()
    (tmp_path / "dump" / "train" / "reject.tsv").write_text("u1\ttoo short: 0.1 s\n")
    write_json(tmp_path / "data" / "corpus.json", {"source": "synthetic", "sets": {}})
    shares = [{"lang": "es", "share": 0.375}, {"lang": "fr", "share": 0.625}]
    shares_file = tmp_path / "dump" / "language_shares.json"
    write_json(shares_file, {"power": 0.5, "languages": shares})
    exp = tmp_path / "exp" / "my_run"
    data_dir = tmp_path / "dump" / "test"
    codes = np.array([[0, 0]] * 25 + [[1, 0]] * 24)
    utts = [f"{lang}-spk{n % 2}-{n:03d}" for lang in ("es", "fr") for n in range(3)]
    utts.sort()
    table = CodeTable(
        utts,
        np.array([[int(u[0] == "f")] * 2 for u in utts]),
        np.tile(codes, (6, 1)),
        np.full(6, 49),
    )
    write_json(exp / "analysis" / "metrics.json", measure(table, data_dir))
    figure = plot_code_map(ConditionalMap(np.eye(2), ["a", "b"]), "t", "phone")
    save_figure(figure, exp / "analysis" / "phone_codes.png")
    log = [{"update": u, "loss": 4.0 / u, "lr": 1e-3} for u in (1, 2, 4)]
    for name in ("pretrain", "finetune_phn"):
        write_jsonl(exp / name / "log.jsonl", log)
        (exp / name / "config.yaml").write_text("note: 1 < 2 & <b>bold</b>\n")
    probe = [
        {
            "update": u,
            "layer": [0.4, best],
            "best": best,
            "best_layer": 1,
            "majority": 0.1,
            "network": "student",
        }
        for u, best in ((0, 0.45), (4, 0.52))
    ]
    write_jsonl(exp / "pretrain" / "probe.jsonl", probe)
    scores = {"per": section("per", {"es": 0.1, "fr": 0.3})}
    write_json(exp / "score_phn" / "test" / "scores.json", scores)
    for name, command in (
        ("06_pretrain", ["python", "-m", "x.ssl_train", "--tag", "a b"]),
        ("09_finetune_phn", ["python", "-m", "x.ctc_train"]),
    ):
        mark = {"stage": name, "command": command, "seconds": 75.25, "host": "h"}
        write_json(exp / ".done" / f"{name}.json", mark)
    mark = {"stage": "01_data", "command": ["python", "-m", "p.prepare_mini"]}
    write_json(tmp_path / "data" / ".done" / "01_data.json", {**mark, "seconds": 5})
    (exp / "commands.txt").write_text("./run.sh --corpus mini\n")
    return tmp_path


def run_report(work: Path, tag: str = "my_run") -> tuple[dict, Checker]:
    exp = work / "exp" / tag
    argv = ["--exp", exp, "--data", work / "data", "--dump", work / "dump"]
    assert main([str(word) for word in argv]) == 0
    page = (exp / "report" / "index.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    # inside the page, or a mark in it: nothing is fetched
    assert all(s.startswith(("data:", "#")) for s in checker.sources)
    assert not re.search(r"@import|url\(|<script", page)
    results = json.loads((exp / "report" / "results.json").read_text())
    return results, checker


def test_full_run(work: Path, capsys) -> None:
    results, page = run_report(work)
    assert results["per"] == {"es": 0.1, "fr": 0.3, "average": pytest.approx(0.2)}
    assert results["main"]["per"] == {"system": "phn", "set": "test"}
    assert results["wer"] is None
    assert results["pnmi"]["joint"] == pytest.approx(1.0)
    assert results["lnmi"]["joint"] == pytest.approx(1.0)
    assert results["probe"]["student"]["gain"] == pytest.approx(0.07)
    assert results["seconds"]["06_pretrain"] == 75.2
    assert results["tag"] == "my_run"
    assert (results["corpus"]["name"], results["corpus"]["source"]) == (
        "mini",
        "synthetic",
    )
    assert page.images == 4  # two curves, probe, one heat map
    for words in (
        "20.0 %",
        "45.0 % at update 0",
        "1 min 15 s",
        "synthetic speech",
        "1 too short",
        "+7.0",
    ):
        assert words in page.text
    assert "ssl_train --tag 'a b'" in page.text
    out = capsys.readouterr().out
    assert "average   20.00" in out
    assert out.rstrip().endswith("index.html")


def test_configuration_is_escaped(work: Path) -> None:
    run_report(work)
    page = (work / "exp" / "my_run" / "report" / "index.html").read_text()
    assert "1 &lt; 2 &amp; &lt;b&gt;bold" in page


def test_empty_experiment_invents_nothing(work: Path, capsys) -> None:
    (work / "exp" / "empty").mkdir()
    results, page = run_report(work, "empty")
    for key in ("per", "wer", "lnmi", "lp", "pnmi", "pp", "probe"):
        assert results[key] is None
    assert page.text.count("not run") > 15
    assert page.images == 0
    assert "PER: not run" in capsys.readouterr().out


def test_run_without_quantizers_or_alignments(work: Path) -> None:
    exp = work / "exp" / "plain"
    table = CodeTable(["es-spk0-000"], None, None, np.array([49]))
    metrics = measure(table, work / "dump" / "test")
    write_json(exp / "analysis" / "metrics.json", metrics)
    results, page = run_report(work, "plain")
    assert results["pnmi"] is None
    assert "no phoneme quantizer" in page.text


def test_scores_of_any_layout_are_found(tmp_path: Path) -> None:
    per, wer = section("per", {"es": 0.2}), section("wer", {"es": 0.5})
    write_json(
        tmp_path / "score_phn" / "scores.json",
        {"units": "phn", "sets": {"test": {"per": per}, "test_rec": {"per": per}}},
    )
    write_json(tmp_path / "score_phn_random" / "test" / "scores.json", per)
    char = {
        "unit": "char",
        **wer,
        "other_metrics": {"cer": section("cer", {"es": 0.3})},
    }
    write_json(tmp_path / "score_char" / "test" / "scores.json", char)
    (tmp_path / "score_broken").mkdir()
    (tmp_path / "score_broken" / "scores.json").write_text("{")
    scores = read_scores(tmp_path)
    assert {k: sorted(v) for k, v in scores.items()} == {
        "char": ["test"],
        "phn": ["test", "test_rec"],
        "phn_random": ["test"],
    }
    main_per = main_score(scores, "per")
    assert (main_per.system, main_per.set_name) == ("phn", "test")
    del scores["phn"]
    assert main_score(scores, "per").system == "phn_random"
    assert main_score(scores, "wer").system == "char"
    assert main_score(scores, "cer").section["average"] == 0.3


def test_stages_without_mark_are_not_run(work: Path) -> None:
    run = collect(work / "exp" / "my_run", data=work / "data", dump=work / "dump")
    rows = stage_rows(run)
    assert [row.number for row in rows] == list(range(1, 14))
    assert [row.number for row in rows if row.seconds is not None] == [1, 6, 9]
    assert rows[9].started == "not run"
    assert rows[11].started == "wrote this page"
    assert "fr        30.00" in plain_table(run)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (75, "1 min 15 s"), (7261, "2 h 1 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_missing_experiment(tmp_path: Path) -> None:
    assert main(["--exp", str(tmp_path / "none")]) == 1
