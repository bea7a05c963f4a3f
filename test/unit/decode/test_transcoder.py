"""Spelling phonemes: the search is exact where it can be, and bounded where not."""

import itertools
import logging

import pytest
import torch
from factories import make_kaldi_dir
from transcoder_factories import CHARACTERS, make_batch, tiny_model

from espnet2_dq.decode.transcoder import TranscoderSearch, spell_set
from espnet2_dq.errors import ConfigError, DataError

PHONES = ["a", "c"]


@torch.no_grad()
def log_probability(model, phones, characters, *, end=True):
    """Score of a spelling by the decoder's full forward pass."""
    batch = make_batch((f"<xx> {' '.join(phones)}", "A"))
    frames, lengths = model.encode(batch["src_text"], batch["src_text_lengths"])
    ids = [model.token_list.index(c) for c in characters]
    given = torch.tensor([[model.eos, *ids]])
    logits, _ = model.decoder(frames, lengths, given, torch.tensor([given.size(1)]))
    wanted = [*ids, model.eos] if end else ids
    steps = logits[0].log_softmax(-1)
    return float(sum(steps[i, token] for i, token in enumerate(wanted)))


def peaked(seed):
    """Random weights that prefer some characters clearly, and ending soon."""
    model = tiny_model(seed)
    with torch.no_grad():
        model.decoder.output_layer.weight *= 4.0
        model.decoder.output_layer.bias[model.eos] += 2.0
    return model


@pytest.mark.parametrize("seed", range(4))
def test_wide_beam_finds_the_best_of_all_short_spellings(seed):
    model = peaked(seed)
    spoken = CHARACTERS[:-1]
    all_short = [c for n in range(4) for c in itertools.product(spoken, repeat=n)]
    best = max(all_short, key=lambda c: log_probability(model, PHONES, c))
    found = TranscoderSearch(model, beam_size=8).spell(PHONES, "xx")
    assert not found.cut
    score = log_probability(model, PHONES, found.characters)
    assert found.score == pytest.approx(score, abs=1e-4)
    assert score >= log_probability(model, PHONES, best) - 1e-4


def test_beam_of_one_is_greedy():
    model = peaked(1)
    characters = []
    while len(characters) < 30:
        options = {
            c: log_probability(model, PHONES, [*characters, c], end=False)
            for c in CHARACTERS[:-1]
        }
        best = max(options, key=options.__getitem__)
        if log_probability(model, PHONES, characters) > options[best]:
            break
        characters.append(best)
    found = TranscoderSearch(model, beam_size=1).spell(PHONES, "xx")
    assert found.characters == characters[: len(found.characters)]
    assert found.cut or found.characters == characters


def test_spelling_that_never_ends_is_cut():
    model = tiny_model()
    with torch.no_grad():
        model.decoder.output_layer.bias[model.eos] = -1e4
        model.decoder.output_layer.bias[3] = 1e4
    found = TranscoderSearch(model, beam_size=2, max_characters=1.5).spell(PHONES, "xx")
    assert found.characters == ["A"] * 13  # 1.5 a phoneme and ten
    assert found.cut


def test_nothing_heard_is_nothing_written():
    found = TranscoderSearch(tiny_model()).spell([], "xx")
    assert (found.characters, found.score, found.cut) == ([], 0.0, False)


def test_language_and_phonemes_decide():
    search = TranscoderSearch(peaked(2), beam_size=2)
    scores = {
        search.spell(phones, lang).score
        for phones, lang in (("a", "xx"), ("a", "yy"), ("b", "xx"))
    }
    assert len(scores) == 3


def test_unknown_language_is_named():
    search = TranscoderSearch(tiny_model())
    with pytest.raises(ConfigError, match="language 'de': .*only of xx yy"):
        search.spell(["a"], "de")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beam_size": 9}, "1 to 8"), ({"max_characters": 0}, "max_characters 0")],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        TranscoderSearch(tiny_model(), **options)


@pytest.fixture
def data(tmp_path):
    return make_kaldi_dir(tmp_path / "test", langs=("xx",), utterances=3)


def test_a_set_is_spelt_whatever_its_order(data, caplog):
    search = TranscoderSearch(peaked(0), beam_size=3)
    phones = {u.utt: p for u, p in zip(data, ("a b", "", "q a"))}
    with caplog.at_level(logging.INFO):
        records = spell_set(search, data, dict(reversed(phones.items())), "hyp")
    assert [r.utt for r in records] == sorted(phones)
    for record in records:
        alone = search.spell(phones[record.utt].split(), "xx")
        assert record.tokens == alone.characters
        assert record.score == alone.score
        assert record.audio_s == 1.0
        assert record.error is None
    assert "1 of 4 phonemes are none that the TransCoder has learnt" in caplog.text
    assert "spelt 3/3" in caplog.text


def test_phonemes_of_another_set(data):
    search = TranscoderSearch(tiny_model())
    phones = {u.utt: "a" for u in data}
    phones["zz"] = phones.pop(min(phones))
    with pytest.raises(DataError, match="1 utterances of the set have no line and 1"):
        spell_set(search, data, phones, "hyp")
