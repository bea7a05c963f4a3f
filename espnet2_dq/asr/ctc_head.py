"""One CTC head: checks, logits, loss, and the gauges that go into the log."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from espnet2.asr.ctc import CTC
from rapidfuzz.distance import Levenshtein
from torch import nn

from espnet2_dq.asr.frames import required_frames
from espnet2_dq.errors import ConfigError
from espnet2_dq.score.tokens import BLANK_ID


def init_head(ctc: CTC) -> None:
    """Initialise the output layer as fairseq does (METHODS 7.1)."""
    nn.init.xavier_uniform_(ctc.ctc_lo.weight)
    nn.init.zeros_(ctc.ctc_lo.bias)


def check_head(ctc: CTC, token_list: Sequence[str], vocab_size: int) -> None:
    """The head must fit the token list, and be one whose loss we compute ourselves.

    Raises:
        ConfigError: It does not.
    """
    if ctc.ctc_type != "builtin" or ctc.dropout_rate != 0.0:
        raise ConfigError(
            f"ctc_conf: ctc_type {ctc.ctc_type}, dropout_rate {ctc.dropout_rate};"
            " only 'builtin' and 0 (use model_conf.final_dropout)"
        )
    if len(token_list) != vocab_size or ctc.ctc_lo.out_features != vocab_size:
        raise ConfigError(
            f"token_list: {len(token_list)} tokens, vocab_size {vocab_size}, head"
            f" {ctc.ctc_lo.out_features}; all three must agree"
        )
    if token_list[BLANK_ID] != "<blank>":
        raise ConfigError(
            f"token_list: the first token is {token_list[0]!r}; it must be '<blank>'"
        )


def head_logits(ctc: CTC, frames: torch.Tensor) -> torch.Tensor:
    """``(B, T, D)`` -> ``(B, T, V)`` in fp32.

    ``CTC.forward`` is not used: its dropout stays on in evaluation.
    """
    with torch.autocast(frames.device.type, enabled=False):
        logits: torch.Tensor = ctc.ctc_lo(frames.float())
    return logits


@dataclass(frozen=True)
class Targets:
    """Reference token ids of a batch.

    Attributes:
        ids: ``(B, L)`` int64; padding may hold anything.
        lengths: ``(B,)``.
    """

    ids: torch.Tensor
    lengths: torch.Tensor

    @property
    def tokens(self) -> int:
        """Number of tokens of the batch."""
        return int(self.lengths.sum())


def ctc_sum(
    ctc: CTC, logits: torch.Tensor, lengths: torch.Tensor, targets: Targets
) -> torch.Tensor:
    """Sum of the utterances' losses; 0 for targets that cannot be emitted.

    Args:
        ctc: Its ``ctc_loss`` decides about infinities.
        logits: ``(B, T, V)``; padded frames may hold anything finite.
        lengths: ``(B,)`` valid frames.
        targets: What to emit.
    """
    steps = torch.arange(targets.ids.size(1), device=targets.ids.device)
    valid = steps < targets.lengths[:, None]
    with torch.autocast(logits.device.type, enabled=False):
        # (B, T, V) -> (T, B, V); targets end to end
        losses: torch.Tensor = ctc.ctc_loss(
            logits.transpose(0, 1).log_softmax(2),
            targets.ids[valid],
            lengths,
            targets.lengths,
        )
    return losses.sum()


@torch.no_grad()
def blank_ratio(best: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Share of the valid frames of ``best (B, T)`` whose token is the blank."""
    valid = torch.arange(best.size(1), device=best.device) < lengths[:, None]
    return ((best == BLANK_ID) & valid).sum() / valid.sum().clamp(min=1)


@torch.no_grad()
def impossible_ratio(lengths: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Share of utterances with fewer frames than their target needs."""
    needed = required_frames(targets.ids, targets.lengths)
    return (needed > lengths).float().mean()


def references(targets: Targets) -> list[list[int]]:
    """Target ids per utterance, without padding."""
    rows = zip(targets.ids.cpu(), targets.lengths.tolist(), strict=True)
    return [row[:count].tolist() for row, count in rows]


def word_errors(
    found: list[list[int]], expected: list[list[int]], space: int | None
) -> tuple[int, int]:
    """Edit operations between words, and reference words.

    Args:
        found: Token ids per utterance.
        expected: Reference token ids.
        space: Id of ``<space>``, at which words split; None: an utterance is a word.
    """
    errors = words = 0
    for output, target in zip(found, expected, strict=True):
        reference = split_words(target, space)
        errors += Levenshtein.distance(split_words(output, space), reference)
        words += len(reference)
    return errors, words


def split_words(ids: Sequence[int], space: int | None) -> list[tuple[int, ...]]:
    """Ids between spaces; several spaces in a row count as one.

    >>> split_words([9, 3, 4, 9, 9, 5], space=9)
    [(3, 4), (5,)]
    """
    words: list[tuple[int, ...]] = []
    word: list[int] = []
    for token in ids:
        if token != space:
            word.append(token)
        elif word:
            words.append(tuple(word))
            word = []
    return [*words, tuple(word)] if word else words
