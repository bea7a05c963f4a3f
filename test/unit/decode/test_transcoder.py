"""Spelling phonemes: the search is exact where it can be, and bounded where not."""

import itertools
import logging

import pytest
import torch
from factories import make_kaldi_dir
from transcoder_factories import CHARACTERS, make_batch, tiny_model

from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.decode.transcoder import TranscoderSearch, spell_set
from espnet2_dq.errors import ConfigError, DataError

PHONES = ["a", "c"]


@torch.no_grad()
def log_probability(model, phones, characters, weight, *, end=True):
    """Score of a spelling by the decoder's full forward pass and by ctc_loss."""
    batch = make_batch((f"<xx> {' '.join(phones)}", "A"))
    frames, lengths = model.encode(batch["src_text"], batch["src_text_lengths"])
    ids = [model.token_list.index(c) for c in characters]
    given = torch.tensor([[model.eos, *ids]])
    logits, _ = model.decoder(frames, lengths, given, torch.tensor([given.size(1)]))
    wanted = [*ids, model.eos] if end else ids
    steps = logits[0].log_softmax(-1)
    decoder = float(sum(steps[i, token] for i, token in enumerate(wanted)))
    if weight == 0:
        return decoder
    (ctc,) = ctc_log_probs(model.ctc.log_softmax(frames)[0], [tuple(ids)])
    return (1 - weight) * decoder + weight * ctc


def peaked(seed):
    """Random weights that prefer some characters clearly, and ending soon."""
    model = tiny_model(seed)
    with torch.no_grad():
        model.decoder.output_layer.weight *= 4.0
        model.decoder.output_layer.bias[model.eos] += 2.0
        model.ctc.weight *= 8.0
        model.ctc.bias.view(-1, len(CHARACTERS))[:, 0] += 2.0  # the blank
    return model


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_wide_beam_finds_the_best_of_all_short_spellings(seed, weight):
    model = peaked(seed)
    spoken = CHARACTERS[1:-1]
    all_short = [c for n in range(4) for c in itertools.product(spoken, repeat=n)]
    scores = [log_probability(model, PHONES, c, weight) for c in all_short]
    search = TranscoderSearch(model, beam_size=8, ctc_weight=weight)
    found = search.spell(PHONES, "xx")
    assert not found.cut
    score = log_probability(model, PHONES, found.characters, weight)
    assert found.score == pytest.approx(score, abs=1e-4)
    assert score >= max(scores) - 1e-4


def test_beam_of_one_is_greedy():
    model = peaked(1)
    characters = []
    while len(characters) < 9:
        options = {
            c: log_probability(model, PHONES, [*characters, c], 0.0, end=False)
            for c in CHARACTERS[:-1]
        }
        best = max(options, key=options.__getitem__)
        if log_probability(model, PHONES, characters, 0.0) > options[best]:
            break
        characters.append(best)
    search = TranscoderSearch(model, beam_size=1, ctc_weight=0.0)
    assert search.spell(PHONES, "xx").characters == characters


def test_spelling_that_never_ends_is_cut_at_the_frames():
    model = tiny_model(upsampling=2)
    with torch.no_grad():
        model.decoder.output_layer.bias[model.eos] = -1e4
        model.decoder.output_layer.bias[3] = 1e4
    search = TranscoderSearch(model, beam_size=2, ctc_weight=0.0)
    found = search.spell(PHONES, "xx")
    assert found.characters == ["A"] * 6  # two for the tag and for each phoneme
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
    [({"beam_size": 9}, "1 to 8"), ({"ctc_weight": 1.5}, "ctc_weight 1.5: between")],
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
