"""Modes and the picture of posteriors in the report of a Korean run."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from espnet2_dq.analysis.collect import read_json
from espnet2_dq.analysis.modes import METRICS, mode_results, mode_table, read_modes
from espnet2_dq.analysis.posterior_picture import draw, posterior_picture
from espnet2_dq.decode.posterior_files import write_posteriors, write_token_lists

TOKENS = {"grapheme": ["<blank>", "ᄀ", "ᅡ", "<space>"], "syllable": ["<blank>", "가"]}


def write_mode(exp, mode, rate, recall):
    row = {"rate": rate, "ci95": [rate, rate]}
    scores = {
        "unit": "korean",
        "text_rule": "orthographic",
        "metrics": dict.fromkeys(METRICS, row),
        "unseen_syllables": {"recall": recall},
    }
    decoding = {"audio_s": 10.0, "parts_s": {"search": 0.5}, "rtf": 0.2, "options": {}}
    for folder, name, content in (
        ("score_multi", "scores.json", scores),
        ("decode_multi", "rtf.json", decoding),
    ):
        path = exp / folder / "test_clean" / mode / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))


@pytest.fixture
def rows(tmp_path):
    write_mode(tmp_path, "joint", 0.1, 0.5)
    write_mode(tmp_path, "greedy_syllable", 0.2, 0.0)
    other = tmp_path / "score_phn" / "test" / "x" / "scores.json"
    other.parent.mkdir(parents=True)
    other.write_text('{"unit": "phn"}')
    return read_modes(tmp_path, read_json)


def test_modes_are_found_in_their_order_and_others_are_not(rows):
    assert [row.mode for row in rows] == ["greedy_syllable", "joint"]


def test_results_hold_rates_recall_and_speed(rows):
    found = mode_results(rows)["multi"]["test_clean"]["joint"]
    assert found["cer"] == 0.1
    assert found["unseen_syllable_recall"] == 0.5
    assert found["search_rtf"] == pytest.approx(0.05)


def test_table_shows_percent(rows):
    last = mode_table(rows).splitlines()[2].split()
    assert last[:3] == ["multi", "test_clean", "joint"]
    assert last[3:] == ["10.00"] * 5 + ["50.00"]


def posteriors():
    grapheme = np.full((6, 4), 0.001)
    for frame, token in enumerate([0, 1, 2, 0, 3, 0]):
        grapheme[frame, token] = 0.997
    syllable = np.full((6, 2), 0.01)
    syllable[[0, 1, 3, 4, 5], 0] = 0.99
    syllable[2] = [0.2, 0.8]
    return {
        "grapheme": np.log(grapheme).astype(np.float32),
        "syllable": np.log(syllable).astype(np.float32),
    }


def letters(svg):
    root = ElementTree.fromstring(svg)
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    return [t for t in texts if len(t) == 1]


def test_picture_names_each_peak_once_in_order():
    assert letters(draw(posteriors(), TOKENS, 0.12, "가 <1>")) == [
        "ㄱ",
        "ㅏ",
        "␣",
        "가",
    ]


def test_picture_of_saved_posteriors_takes_an_utterance_with_reference(tmp_path):
    write_token_lists(tmp_path, TOKENS)
    for utt in ("a", "b"):
        write_posteriors(tmp_path, utt, posteriors(), 1920)
    svg = posterior_picture(tmp_path, {"b": "가"})
    assert svg is not None
    assert ">가</text>" in svg
    assert posterior_picture(tmp_path, {"c": "가"}) is None
    assert posterior_picture(tmp_path / "none", {"b": "가"}) is None
