"""Mixing and heads of deep decoupling (Eqs. 11 to 13)."""

import pytest
import torch
import yaml
from torch.nn import functional as F

from espnet2_dq.config import from_mapping
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.ssl.supervision import (
    Labels,
    LanguageHead,
    PhonemeHead,
    SupervisionConfig,
    mix,
)

DIM, TOKENS = 6, 5
CONF = SupervisionConfig(
    language=True, phoneme="mixed", languages=3, tokens=TOKENS, dropout=0.0
)


def heads_input(seed=0):
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(3, 12, DIM, generator=generator)
    lengths = torch.tensor([12, 9, 11])
    phn = torch.tensor([[1, 2, 2, 4], [3, 1, -1, -1], [-1, -1, -1, -1]])
    return frames, lengths, phn, torch.tensor([4, 2, 0])


def test_mix_takes_codes_where_told_and_routes_gradients():
    states = torch.randn(2, 4, DIM, requires_grad=True)
    codes = torch.randn(2, 4, DIM, requires_grad=True)
    replaced = torch.tensor([[True, False, False, True], [False, False, True, False]])
    mixed = mix(states, codes, replaced)
    for b in range(2):
        for t in range(4):
            source = codes if replaced[b, t] else states
            assert torch.equal(mixed[b, t], source[b, t])
    mixed.sum().backward()
    assert torch.equal(states.grad[..., 0] == 0, replaced)
    assert torch.equal(codes.grad[..., 0] == 0, ~replaced)


def test_phoneme_head_sums_the_labelled_utterances_only():
    torch.manual_seed(0)
    head = PhonemeHead(DIM, CONF)
    frames, lengths, phn, phn_lengths = heads_input()
    frames[2] = torch.nan  # no label: it may hold anything
    frames[1, 9:] = 1e4  # padding
    term = head(frames, lengths, phn, phn_lengths)
    expected = 0.0
    for row, target in ((0, [1, 2, 2, 4]), (1, [3, 1])):
        logits = head.linear(frames[row, : lengths[row]]).log_softmax(-1)
        expected += F.ctc_loss(
            logits[:, None],
            torch.tensor([target]),
            (int(lengths[row]),),
            (len(target),),
            reduction="sum",
        ).item()
    assert term.loss.item() == pytest.approx(expected, rel=1e-5)
    assert (term.items, term.references) == (2, 6)
    assert 0 <= term.wrong <= 30


def test_a_batch_without_labels_has_a_connected_zero():
    head = PhonemeHead(DIM, CONF)
    frames, lengths, phn, phn_lengths = heads_input()
    frames.requires_grad_()
    term = head(frames, lengths, phn, torch.zeros_like(phn_lengths))
    term.loss.backward()
    assert term.loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())
    assert not frames.grad.any()
    assert all(value.isnan() for value in term.stats("loss", "ter").values())


def test_targets_longer_than_their_frames_cost_nothing():
    head = PhonemeHead(DIM, CONF)
    frames, _, phn, phn_lengths = heads_input()
    term = head(frames, torch.tensor([3, 9, 11]), phn, phn_lengths)
    alone = head(frames[1:2], torch.tensor([9]), phn[1:2], phn_lengths[1:2])
    assert term.loss.item() == pytest.approx(alone.loss.item(), rel=1e-6)


def test_batch_mates_and_padding_do_not_change_a_loss():
    head = PhonemeHead(DIM, CONF)
    frames, lengths, phn, phn_lengths = heads_input()
    both = head(frames, lengths, phn, phn_lengths).loss
    single = [
        head(frames[[b], :n], lengths[[b]], phn[[b]], phn_lengths[[b]])
        for b, n in ((0, 12), (1, 9))
    ]
    assert both.item() == pytest.approx(sum(t.loss.item() for t in single), rel=1e-5)


def test_language_head_is_cross_entropy():
    head = LanguageHead(DIM, CONF)
    pooled, lang = torch.randn(4, DIM), torch.tensor([0, 2, 1, 1])
    term = head(pooled, lang)
    logs = head.linear(pooled).log_softmax(-1)
    expected = -sum(logs[i, lang[i]].item() for i in range(4))
    assert term.loss.item() == pytest.approx(expected, rel=1e-5)
    assert term.items == term.references == 4
    assert term.wrong == (logs.argmax(-1) != lang).sum()


def test_heads_stay_in_float32_under_autocast():
    head = PhonemeHead(DIM, CONF)
    frames, lengths, phn, phn_lengths = heads_input()
    plain = head(frames, lengths, phn, phn_lengths).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = head(frames, lengths, phn, phn_lengths).loss
    assert torch.equal(plain, mixed)


def test_missing_labels_are_named_with_what_to_give():
    with pytest.raises(DataError, match=r"no phn, phn_lengths.*--supervised_langs"):
        Labels.of_batch(
            {n: torch.zeros(1) for n in ("lang", "mix_frames", "mix_utterance")}
        )


@pytest.mark.parametrize(
    "wrong",
    [{"replace_prob": 1.5}, {"dropout": -0.1}, {"weight": -1.0}, {"layer": -1}],
)
def test_meaningless_values_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SupervisionConfig(**wrong)


def test_a_head_without_outputs_is_refused():
    with pytest.raises(ConfigError, match=r"supervision.tokens: 0"):
        SupervisionConfig(phoneme="output").check_sizes()
    with pytest.raises(ConfigError, match=r"supervision.languages: 1"):
        SupervisionConfig(language=True, languages=1).check_sizes()
    SupervisionConfig().check_sizes()


def test_bare_off_of_yaml_is_the_word():
    values = yaml.safe_load("{phoneme: off}")
    assert values == {"phoneme": False}
    conf = from_mapping(SupervisionConfig, values, "model_conf.supervision")
    assert conf.phoneme == "off"
    with pytest.raises(ConfigError, match="True is not one of"):
        from_mapping(SupervisionConfig, {"phoneme": True}, "model_conf.supervision")
