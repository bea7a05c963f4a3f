import pytest

from espnet2_dq.errors import DataError
from espnet2_dq.score.report import ScoreOptions, compare, score, table

REFERENCES = {"u1": ["a", "b"], "u2": ["a"] * 8, "u3": ["c"]}
HYPOTHESES = {"u1": ["a", "x"], "u2": ["a"] * 8, "u3": ["c", "d"]}
LANGS = {"u1": "es", "u2": "es", "u3": "fr"}
OPTIONS = ScoreOptions(samples=20)


def run(metric="per", hypotheses=HYPOTHESES, options=OPTIONS, references=REFERENCES):
    return score(metric, references, hypotheses, LANGS, options)


def test_rates_per_language_on_average_and_pooled():
    section, _ = run()
    es, fr = section["languages"]["es"], section["languages"]["fr"]
    assert (es["rate"], es["sub"], es["ref"], es["utterances"]) == (0.1, 1, 10, 2)
    assert (fr["rate"], fr["ins"], fr["ref"], fr["utterances"]) == (1.0, 1, 1, 1)
    assert section["average"] == pytest.approx(0.55)
    assert section["pooled"] == pytest.approx(2 / 11)
    assert section["pooled_counts"] == {"sub": 1, "del": 0, "ins": 1, "ref": 11}
    low, high = section["ci95"]
    assert 0.5 <= low <= section["average"] <= high <= 0.75


def test_average_over_chosen_languages():
    section, _ = run(options=ScoreOptions(("fr",), 20))
    assert section["average"] == 1.0
    assert section["average_languages"] == ["fr"]
    assert set(section["languages"]) == {"es", "fr"}
    with pytest.raises(DataError, match="average over tt: the set has es fr"):
        run(options=ScoreOptions(("fr", "tt"), 20))


def test_words_are_counted_for_wer():
    references = {"u1": ["a", "b", "<space>", "c"], "u2": ["a"], "u3": ["c"]}
    hypotheses = {"u1": ["a", "x", "<space>", "c"], "u2": ["a"], "u3": ["c"]}
    wer, _ = run("wer", hypotheses, references=references)
    assert wer["pooled_counts"] == {"sub": 1, "del": 0, "ins": 0, "ref": 4}
    cer, _ = run("cer", hypotheses, references=references)
    assert cer["pooled_counts"] == {"sub": 1, "del": 0, "ins": 0, "ref": 6}


def test_language_with_empty_references_only():
    with pytest.raises(DataError, match="language 'fr': 1 references, all empty"):
        run(references={**REFERENCES, "u3": []})


def test_comparison_with_a_baseline():
    _, better = run()
    _, worse = run(hypotheses={utt: [] for utt in REFERENCES})
    difference = compare(better, worse, OPTIONS)
    assert difference.rate == pytest.approx(0.55 - 1.0)
    only_es = compare(better, worse, ScoreOptions(("es",), 20))
    assert only_es.rate == pytest.approx(0.1 - 1.0)


def test_table_holds_every_language():
    section, _ = run()
    lines = table(section).split("\n")
    assert lines[0].split()[:2] == ["language", "PER"]
    assert [line.split()[0] for line in lines[1:]] == ["es", "fr", "average", "pooled"]
    assert "10.00" in lines[1]
    assert "55.00" in lines[3]
