"""A two-head "model" whose output can be read off its input sound."""

from types import SimpleNamespace

import numpy as np
import torch
from hier_factories import END, SPECIALS

from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.text.hangul import graphemes, spell, syllables

TEXTS = ("가나 다", "값", "나 나 ㅋ", "다값")
# "닭" is no token of the syllable head: only the graphemes can spell it.
UNSEEN = "닭"


def _units(split, texts):
    return [*SPECIALS, *sorted({t for text in texts for t in split(text)}), END]


TOKEN_LISTS = {
    "grapheme": _units(graphemes, (*TEXTS, UNSEEN)),
    "syllable": _units(syllables, TEXTS),
}
SHEET = [*TOKEN_LISTS["syllable"], UNSEEN]  # sample level n / 100 sounds like SHEET[n]
FRAMES_EACH = 4


class StubHier(torch.nn.Module):
    """The syllable head hears each token, the grapheme head its jamo in turn.

    Padded frames are filled with garbage: who looks at them gets wrong tokens.
    """

    def __init__(self, heads=("grapheme", "syllable")):
        super().__init__()
        self.heads = tuple(heads)
        self.main = self.heads[-1]
        self.token_lists = {head: TOKEN_LISTS[head] for head in heads}
        self.frame_grid = FrameGrid()
        self.conf = SimpleNamespace(subsample=1)
        self.batch_sizes = []

    def posteriors(self, speech, speech_lengths):
        self.batch_sizes.append(len(speech))
        grid = self.frame_grid
        lengths = grid.num_frames(speech_lengths)
        frames = speech.unfold(1, grid.receptive_field, grid.hop)
        levels = (100 * frames.median(-1).values).round().long()
        for row, length in zip(levels, lengths.tolist(), strict=True):
            row[length:] = 4
        found = {}
        for head in self.heads:
            ids = torch.stack([self._ids(head, row) for row in levels])
            logits = 8.0 * torch.nn.functional.one_hot(ids, len(TOKEN_LISTS[head]))
            found[head] = logits.log_softmax(-1)
        return found, lengths

    def _ids(self, head, levels):
        tokens, ids, run = TOKEN_LISTS[head], [], 0
        for i, level in enumerate(levels.tolist()):
            run = run + 1 if i and level == levels[i - 1] else 0
            token = SHEET[level]
            if head == "grapheme" and level:
                parts = spell(token)
                token = parts[run] if run < len(parts) else "<blank>"
            ids.append(tokens.index(token) if token in tokens else 1)
        return torch.tensor(ids)


def sing(text):
    """A sound that ``StubHier`` hears as ``text``."""
    levels = [0, 0]
    for token in syllables(text):
        levels += [SHEET.index(token)] * FRAMES_EACH + [0] * 2
    return np.repeat(np.array(levels, dtype=np.float32) / 100, 320)
