"""Synthetic posteriors of two heads over the same Korean text.

Peaky as a fine-tuned CTC model's: blanks between short peaks. Some syllables are
doubtful; a rival that differs in one jamo then takes a part of both heads' peaks, to
about the same degree (their errors are correlated).
"""

from dataclasses import dataclass

import numpy as np

from espnet2_dq.text.hangul import is_syllable, spell, syllables

SPECIALS = ("<blank>", "<unk>", "<pad>")
_FIRST, _SYLLABLES = 0xAC00, 11172


@dataclass(frozen=True)
class Example:
    """An utterance: its text, and the log-probabilities of each head, ``(T, V)``."""

    text: str
    log_probs: dict[str, np.ndarray]


def token_lists(syllable_size=2300, grapheme_size=75):
    """Token lists of the given sizes, as ``tokens.txt`` holds them."""
    jamo = sorted({j for i in range(_SYLLABLES) for j in spell(chr(_FIRST + i))})
    rest = [*jamo, *"0123456789"]
    lists = {"grapheme": [*SPECIALS, "<space>", *rest]}
    lists["grapheme"] = [*lists["grapheme"][: grapheme_size - 1], "<sos/eos>"]
    kept = _common_syllables(syllable_size - 5)
    lists["syllable"] = [*SPECIALS, "<space>", *kept, "<sos/eos>"]
    return lists


def _common_syllables(count):
    """Those of frequent jamo, as real texts have: most rivals are then in the list."""
    medials = "ㅏㅣㅗㅓㅜㅡㅔㅐㅕㅛㅑㅢㅘㅠㅚㅟㅖㅝㅒㅙㅞ"
    medial_rank = [medials.index(chr(0x314F + i)) for i in range(21)]
    finals = [0, 4, 8, 21, 1, 16, 17, 20, 19, 7, 25, 27, 26, 22]
    final_rank = {f: r for r, f in enumerate(finals)}
    ranked = sorted(
        range(_SYLLABLES),
        key=lambda i: (
            (1 + medial_rank[i // 28 % 21]) * (1 + final_rank.get(i % 28, 20)),
            i,
        ),
    )
    return [chr(_FIRST + i) for i in ranked[:count]]


def random_text(rng, syllable_tokens, count):
    """Words of 1 to 4 syllables of the token list."""
    pool = [token for token in syllable_tokens if len(token) == 1]
    words, left = [], count
    while left > 0:
        length = min(left, int(rng.integers(1, 5)))
        words.append("".join(pool[int(i)] for i in rng.integers(0, len(pool), length)))
        left -= length
    return " ".join(words)


def _rival(rng, syllable):
    """A syllable that differs in one jamo; other characters have none."""
    if not is_syllable(syllable):
        return syllable
    index = ord(syllable) - _FIRST
    initial, medial, final = index // 588, index // 28 % 21, index % 28
    part = rng.integers(0, 3)
    if part == 0:
        initial = (initial + int(rng.integers(1, 19))) % 19
    elif part == 1:
        medial = (medial + int(rng.integers(1, 21))) % 21
    else:
        final = (final + int(rng.integers(1, 28))) % 28
    return chr(_FIRST + (initial * 21 + medial) * 28 + final)


def _logits(rng, frames, vocab):
    """Noise under a sure blank: about 0.5 % for all other tokens together."""
    logits = rng.normal(0.0, 1.5, (frames, vocab))
    logits[:, 0] = np.log(vocab) + 1.1 + rng.normal(5.3, 1.0, frames)
    return logits


def _peak(rng, logits, frame, options):
    """Tokens with the given weights take over a frame, or two."""
    height = logits[frame, 0]
    blank = height - rng.normal(5.0, 1.5)  # now and then doubtful itself
    for at in range(frame, min(frame + int(rng.integers(1, 3)), len(logits))):
        logits[at, 0] = blank
        for token, weight in options:
            place = height + np.log(max(weight, 1e-4)) + rng.normal(0.0, 0.2)
            logits[at, token] = max(logits[at, token], place)


def example(lists, seed, *, frames=500, count=42, doubtful=0.12):
    """One utterance of ``count`` syllables."""
    rng = np.random.default_rng(seed)
    text = random_text(rng, lists["syllable"], count)
    index = {head: {t: i for i, t in enumerate(ts)} for head, ts in lists.items()}
    logits = {head: _logits(rng, frames, len(ts)) for head, ts in lists.items()}
    tokens = syllables(text)
    edges = np.linspace(2, frames - 2, len(tokens) + 1)
    for i, token in enumerate(tokens):
        start, end = int(edges[i]), int(edges[i + 1])
        weight = rng.uniform(0.1, 0.7) if rng.random() < doubtful else 0.003
        rival = _rival(rng, token)
        own = min(
            max(weight * np.exp(rng.normal(0, 0.3)), 0.001), 0.9
        )  # this head's view
        pair = [(token, 1 - own), (rival, own)]
        known = [(index["syllable"][t], w) for t, w in pair if t in index["syllable"]]
        _peak(rng, logits["syllable"], (start + end) // 2, known)
        _grapheme_peaks(
            rng,
            logits["grapheme"],
            index["grapheme"],
            (start, end),
            [(token, 1 - weight), (rival, weight)],
        )
    return Example(
        text, {head: _log_softmax(x).astype(np.float32) for head, x in logits.items()}
    )


def _grapheme_peaks(rng, logits, index, span, pair):
    (right, right_weight), (wrong, wrong_weight) = pair
    jamo, other = spell(right), spell(wrong)
    places = np.linspace(*span, max(len(jamo), len(other)) + 1).astype(int)
    for k, frame in enumerate(places[:-1]):
        weights = {}
        for tokens, weight in ((jamo, right_weight), (other, wrong_weight)):
            token = index[tokens[k]] if k < len(tokens) else 0
            weights[token] = weights.get(token, 0.0) + weight
        _peak(rng, logits, int(frame), [(t, w) for t, w in weights.items() if t])
        if 0 in weights:  # one of the two has no final
            logits[frame, 0] = logits[frame].max() + np.log(
                weights[0] / max(1 - weights[0], 1e-3)
            )


def _log_softmax(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


RECORDED = 5  # examples whose lists by pyctcdecode are in data/pyctcdecode.json


def recorded_token_lists():
    """Token lists of the recorded examples."""
    return token_lists(syllable_size=200)


def recorded_example(number):
    """One of the recorded examples, in float64; the later ones are noisier."""
    made = example(
        recorded_token_lists(), 100 + number, frames=60 + number, count=7, doubtful=0.4
    )
    heat = 1.0 + 0.4 * number
    return Example(
        made.text,
        {head: _log_softmax(x / heat) for head, x in made.log_probs.items()},
    )
