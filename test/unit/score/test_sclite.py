import random
import stat
import sys

import pytest

from espnet2_dq.errors import DataError
from espnet2_dq.score.error_rates import ErrorCounts, count_corpus, pool
from espnet2_dq.score.sclite import (
    check_against_sclite,
    find_sclite,
    run_sclite,
    sclite_cost,
)
from espnet2_dq.score.trn import write_trn

REFERENCES = {"u1": ["a", "b", "c"], "u2": ["d", "e"]}
HYPOTHESES = {"u1": ["a", "x", "c"], "u2": ["d"]}
OURS = ErrorCounts(1, 1, 0, 5)


def fake_sclite(path, body):
    """A program that stands for sclite."""
    path.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def run(program, folder):
    return run_sclite(
        program, folder / "ref.trn", folder / "hyp.trn", folder / "report.txt"
    )


def test_sums_are_read(tmp_path):
    program = fake_sclite(
        tmp_path / "sclite",
        "print('| s1  |  1  2 | 1 1 0 0 1 1 |')\n"
        "print('| Sum   |    2      5 |    3      1      1      0      2      2 |')\n"
        "print(' '.join(sys.argv[1:]))",
    )
    got = run(program, tmp_path)
    assert got == ErrorCounts(1, 1, 0, 5)
    report = (tmp_path / "report.txt").read_text()
    assert "-i rm -s -e utf-8" in report
    check_against_sclite(got, REFERENCES, HYPOTHESES, OURS)


@pytest.mark.parametrize(
    "body", ["print('no sum')", "sys.exit(3)", "print('boom', file=sys.stderr)"]
)
def test_failures_are_errors(tmp_path, body):
    program = fake_sclite(tmp_path / "sclite", body)
    with pytest.raises(DataError, match="sclite"):
        run(program, tmp_path)


@pytest.mark.parametrize(
    "theirs",
    [
        ErrorCounts(2, 1, 0, 5),
        ErrorCounts(1, 1, 0, 4),
        ErrorCounts(0, 1, 0, 5),
    ],
)
def test_disagreement_is_an_error(theirs):
    with pytest.raises(DataError, match="sclite disagrees"):
        check_against_sclite(theirs, REFERENCES, HYPOTHESES, OURS)


def test_other_split_of_equal_weight_is_agreement():
    """Three substitutions and a match less weigh as much as 2 + 2 around a match."""
    references, hypotheses = {"u": ["a", "b", "c"]}, {"u": ["c", "x", "y"]}
    assert sclite_cost(references, hypotheses) == 12
    ours = pool(count_corpus(references, hypotheses))
    assert ours == ErrorCounts(3, 0, 0, 3)
    check_against_sclite(ErrorCounts(0, 2, 2, 3), references, hypotheses, ours)


@pytest.mark.skipif(find_sclite() is None, reason="no sclite on PATH")
@pytest.mark.parametrize("seed", range(3))
def test_real_sclite_agrees(tmp_path, seed):
    rng = random.Random(seed)
    alphabet = [
        "a",
        "A",
        "ɑ̃",
        "tʃ",
        "{",
        "@",
        "(",
        ")",
        "a{b",
        "%",
        ";;",
        "/",
        "한",
        "é",
    ]
    references, hypotheses, speakers = {}, {}, {}
    for number in range(40):
        utt = f"s-{number % 3}-Utt_{number}"
        speakers[utt] = f"s-{number % 3}"
        references[utt] = rng.choices(alphabet, k=rng.randrange(12))
        hypotheses[utt] = [
            rng.choice(alphabet) if rng.random() < 0.4 else token
            for token in references[utt]
            if rng.random() < 0.8
        ]
        if rng.random() < 0.3:
            hypotheses[utt].append(rng.choice(alphabet))
    write_trn(tmp_path / "ref.trn", references, speakers)
    write_trn(tmp_path / "hyp.trn", hypotheses, speakers)
    ours = pool(count_corpus(references, hypotheses))
    theirs = run(find_sclite(), tmp_path)
    check_against_sclite(theirs, references, hypotheses, ours)
    assert theirs.reference == ours.reference
    assert ours.errors <= theirs.errors <= 1.1 * ours.errors
