"""What the joint search may emit: the syllable list, and syllables outside of it.

Ids below V_s are those of the syllable list. Ids from V_s on are *open*: each utterance
gives them to syllables that only the grapheme head can spell. The syllable head scores
an open syllable as any token at a penalty, or as ``<unk>``, see
``spelling.wildcard_column``. With a penalty below about 1.5 nats a score may rise by an
open syllable, and the search then may end too early: frames of "any token" overlap with
those of its neighbours.

Each utterance searches the candidates that can matter. A candidate's *loss* under a
head is how much the best path loses if it must go through the candidate somewhere,
within the frames that it takes; the joint loss is the weighted sum over the heads. It
hardly exceeds what a hypothesis with that candidate is worse than the best, so that
the candidates of least loss are the ones to keep.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_dq.decode.greedy import BLANK_ID
from espnet2_dq.decode.joint_gains import syllable_gains
from espnet2_dq.decode.joint_lattice import LOG_LINEAR, Spellings, combine
from espnet2_dq.decode.spelling import (
    GRAPHEME,
    HEADS,
    SPECIALS,
    SYLLABLE,
    wildcard_column,
)
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.hangul import is_syllable, spell
from espnet2_dq.text.units import BLANK, SOS_EOS, UNKNOWN

_FIRST = ord("가")
_FINALS = 27
_HANGUL = 11172
_JAMO = (range(0x1100, 0x1113), range(0x1161, 0x1176), range(0x11A8, 0x11C3))
_NONE = -1


@dataclass(frozen=True)
class Candidates:
    """The C candidates of one utterance.

    Attributes:
        ids: ``(C,)`` ids in the search, distinct.
        tokens: Their syllable tokens.
        spellings: Head -> how it writes them.
    """

    ids: np.ndarray
    tokens: list[str]
    spellings: Mapping[str, Spellings]


@dataclass(frozen=True)
class CandidateOptions:
    """Which candidates an utterance has.

    Attributes:
        count: At most so many, or one per frame if that is more, those of least loss;
            at most so many are open. None: all.
        margin: And only those with at most this joint loss, nats.
        open_vocabulary: Whether syllables outside the list may be candidates.
        unk_penalty: Nats that the syllable head takes off for such a syllable, which
            it scores as any token; None: it scores ``<unk>``.
    """

    count: int | None = 300
    margin: float = 8.0
    open_vocabulary: bool = True
    unk_penalty: float | None = 5.0


class JointVocabulary:
    """Both token lists, seen as one set of syllables.

    Args:
        token_lists: ``grapheme`` and ``syllable`` -> tokens by id.
        options: Which candidates an utterance has.

    Attributes:
        size: Number of ids: V_s and the open ones.
        eos: Id that ends a hypothesis: ``<sos/eos>`` of the syllable list, else blank.

    Raises:
        ConfigError: A list is missing, or holds no blank first, or no ``<unk>`` where
            one is needed.
    """

    def __init__(
        self, token_lists: Mapping[str, Sequence[str]], options: CandidateOptions
    ) -> None:
        _check(token_lists, options)
        self.options = options
        self.token_lists = {head: list(token_lists[head]) for head in HEADS}
        index = {token: i for i, token in enumerate(self.token_lists[SYLLABLE])}
        self.eos = index.get(SOS_EOS, BLANK_ID)
        spelled = _universe(self.token_lists, options.open_vocabulary)
        if not spelled:
            raise ConfigError(
                "the grapheme list spells no token of the syllable list; use the two "
                "lists of one model"
            )
        self._tokens = list(spelled)
        self._spelled = list(spelled.values())
        self._hangul = np.array([_hangul_index(t) for t in spelled], np.int64)
        self._takes_final = (self._hangul >= 0) & (self._hangul % (_FINALS + 1) == 0)
        self._first = np.array([ids[0] for ids in spelled.values()], np.int64)
        self._starters = sorted(set(self._first.tolist()))
        self._unknown = index.get(UNKNOWN)
        self._column = np.array([index.get(t, len(index)) for t in spelled], np.int64)
        self._is_open = np.array([t not in index for t in spelled], np.bool_)
        limit = len(spelled) if options.count is None else options.count
        self._slots = min(limit, int(self._is_open.sum()))
        self.size = len(index) + self._slots

    def prepare(self, log_probs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Posteriors ``(T, V)`` of the heads, with the column of open syllables.

        Raises:
            ConfigError: A head's width is not that of its token list.
        """
        for head in HEADS:
            wanted, shape = len(self.token_lists[head]), log_probs[head].shape
            if len(shape) != 2 or shape[1] != wanted:
                raise ConfigError(
                    f"{head}: posteriors of shape {shape}; the token list has {wanted} "
                    f"tokens, so (T, {wanted}) is expected; use the list of the model"
                )
        syllable = log_probs[SYLLABLE]
        if self.options.open_vocabulary:
            penalty = self.options.unk_penalty
            anything = wildcard_column(syllable, self._unknown, penalty)
            syllable = np.column_stack([syllable, anything])
        return {GRAPHEME: log_probs[GRAPHEME], SYLLABLE: syllable}

    def select(
        self,
        log_probs: Mapping[str, np.ndarray],
        weights: Mapping[str, float],
        combination: str = LOG_LINEAR,
    ) -> Candidates:
        """Candidates of one utterance.

        Args:
            log_probs: As ``prepare`` returns them.
            weights: Head -> weight.
            combination: How the heads' scores are combined.
        """
        gains = {}
        if weights[GRAPHEME] > 0:
            hopeless = -self.options.margin / weights[GRAPHEME]
            gains[GRAPHEME] = self._grapheme_gains(log_probs[GRAPHEME], hopeless)
        if weights[SYLLABLE] > 0:
            gains[SYLLABLE] = _relative(log_probs[SYLLABLE]).max(0)[self._column]
        loss = -combine(gains, weights, combination)
        if weights[GRAPHEME] == 0:  # nobody could tell open syllables apart
            loss[self._is_open] = np.inf
        order = np.argsort(loss, kind="stable")
        likely = (loss[order] <= self.options.margin) & np.isfinite(loss[order])
        likely[0] = True  # a search needs at least one
        kept = order[likely][: self._limit(len(log_probs[SYLLABLE]))]
        is_open = self._is_open[kept]
        kept = kept[~is_open | (np.cumsum(is_open) <= self._slots)]
        return self._candidates(np.sort(kept))

    def _limit(self, frames: int) -> int | None:
        count = self.options.count
        return None if count is None else max(count, frames)

    def _grapheme_gains(self, log_probs: np.ndarray, hopeless: float) -> np.ndarray:
        """Minus the grapheme head's loss of every syllable; cut below ``hopeless``."""
        relative = _relative(log_probs)
        gain = relative.max(0)[self._first]
        index = {token: i for i, token in enumerate(self.token_lists[GRAPHEME])}
        impossible = np.full((len(relative), 1), -np.inf)
        columns = np.concatenate([relative, impossible], axis=1)
        jamo = [[index.get(chr(i), _NONE) for i in part] for part in _JAMO]
        initials, medials, finals = (
            np.ascontiguousarray(columns[:, ids]) for ids in jamo
        )
        blank = np.ascontiguousarray(relative[:, BLANK_ID])
        hangul = syllable_gains(initials, medials, finals, blank, hopeless)
        known = self._hangul >= 0
        gain[known] = hangul.ravel()[self._hangul[known]]
        return gain

    def _candidates(self, kept: np.ndarray) -> Candidates:
        is_open = self._is_open[kept]
        opened = len(self.token_lists[SYLLABLE]) + np.cumsum(is_open) - 1
        columns = self._column[kept]
        return Candidates(
            np.where(is_open, opened, columns),
            [self._tokens[i] for i in kept],
            {
                GRAPHEME: Spellings(
                    [self._spelled[i] for i in kept],
                    self._takes_final[kept],
                    self._starters,
                ),
                SYLLABLE: Spellings(
                    [(int(column),) for column in columns],
                    np.zeros(len(kept), np.bool_),
                ),
            },
        )


def _check(token_lists: Mapping[str, Sequence[str]], options: CandidateOptions) -> None:
    """Raise ``ConfigError`` for what no search can use."""
    missing = [head for head in HEADS if not token_lists.get(head)]
    if missing:
        raise ConfigError(
            f"no token list of the {missing[0]} head; joint decoding needs a model "
            "with both heads"
        )
    for head in HEADS:
        if token_lists[head][BLANK_ID] != BLANK:
            raise ConfigError(
                f"{head}: the first token is {token_lists[head][BLANK_ID]!r}, not "
                f"{BLANK}; use the token list of the model"
            )
    needs_unk = options.open_vocabulary and options.unk_penalty is None
    if needs_unk and UNKNOWN not in token_lists[SYLLABLE]:
        raise ConfigError(
            f"the syllable list has no {UNKNOWN}; give an unk_penalty, or switch "
            "open_vocabulary off"
        )


def _universe(
    token_lists: Mapping[str, Sequence[str]], open_vocabulary: bool
) -> dict[str, tuple[int, ...]]:
    """All syllables that may ever be searched, and their graphemes' ids."""
    graphemes = {token: i for i, token in enumerate(token_lists[GRAPHEME])}
    syllables = [t for t in token_lists[SYLLABLE] if t not in (BLANK, *SPECIALS)]
    if open_vocabulary:
        syllables += [chr(_FIRST + i) for i in range(_HANGUL)]
    return {
        token: tuple(graphemes[jamo] for jamo in spell(token))
        for token in syllables
        if not _is_jamo(token) and all(jamo in graphemes for jamo in spell(token))
    }


def _is_jamo(token: str) -> bool:
    """A conjoining jamo of its own, which no complete text holds.

    After a syllable it could not be told from a part of it.
    """
    return len(token) == 1 and 0x1100 <= ord(token) <= 0x11FF


def _hangul_index(token: str) -> int:
    """``(L * 21 + V) * 28 + T`` (METHODS 7.5); -1 for other tokens."""
    return ord(token) - _FIRST if is_syllable(token) else _NONE


def _relative(log_probs: np.ndarray) -> np.ndarray:
    """Log-probabilities against the best of each frame, float64."""
    exact = log_probs.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    return exact
