"""A CTC "model" whose output can be read off its input sound."""

from types import SimpleNamespace

import numpy as np
import torch

from espnet2_dq.encoder.frame_grid import FrameGrid

TOKENS = ["<blank>", "<unk>", "a", "b", "c"]


class StubCTC(torch.nn.Module):
    """Frame t holds its token id, a hundredth of which most of its samples are.

    Padded frames are filled with garbage: who looks at them gets wrong tokens.
    """

    def __init__(self, tokens=TOKENS, subsample=1):
        super().__init__()
        self.token_list = list(tokens)
        self.frame_grid = FrameGrid()
        self.conf = SimpleNamespace(subsample=subsample)
        self.ctc = SimpleNamespace(log_softmax=self._log_softmax)
        self.batch_sizes = []

    def encode(self, speech, speech_lengths):
        self.batch_sizes.append(len(speech))
        grid, factor = self.frame_grid, self.conf.subsample
        frames = speech.unfold(1, grid.receptive_field, grid.hop)[:, ::factor]
        lengths = -(-grid.num_frames(speech_lengths) // factor)
        encoded = frames.median(-1, keepdim=True).values
        for row, length in zip(encoded, lengths.tolist(), strict=True):
            row[length:] = 0.04
        return encoded, lengths

    def _log_softmax(self, encoded):
        ids = torch.arange(len(self.token_list))
        return (-40 * (100 * encoded - ids).abs()).log_softmax(-1)


def spell(*ids, frames_each=3):
    """A sound that ``StubCTC`` hears as ``ids``, blanks between."""
    levels = [0, 0]
    for token in ids:
        levels += [token] * frames_each + [0] * frames_each
    return np.repeat(np.array(levels, dtype=np.float32) / 100, 320)
