"""Korean texts as token ids of the two heads, and back."""

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from espnet2_dq.decode.encoded import Encoded
from espnet2_dq.decode.greedy import BLANK_ID
from espnet2_dq.errors import ConfigError
from espnet2_dq.text.hangul import compose, join_syllables, spell
from espnet2_dq.text.units import BLANK, PAD, SOS_EOS, UNKNOWN

GRAPHEME, SYLLABLE = HEADS = ("grapheme", "syllable")
SPACE = "<space>"
#: Tokens that stand for no text; no search emits them.
SPECIALS = (UNKNOWN, PAD, SOS_EOS)
_MOST = 3  # graphemes of a syllable
_END = "\n"  # between texts; a normalised text holds none


class HeadSpelling:
    """How one head writes texts.

    Args:
        head: ``grapheme`` or ``syllable``.
        tokens: Its token list, blank first.

    Attributes:
        space: Id of the space; None: the list has none.
        forbidden: Ids of the tokens that stand for no text.
        wildcard: An id after the last, for what the list lacks.

    Raises:
        ConfigError: An unknown head, or a list that does not start with the blank.
    """

    def __init__(self, head: str, tokens: Sequence[str]) -> None:
        if head not in HEADS:
            raise ConfigError(f"head {head!r}; {GRAPHEME} and {SYLLABLE} are known")
        if len(tokens) < 2 or tokens[BLANK_ID] != BLANK:
            raise ConfigError(
                f"{head}: the token list has {len(tokens)} tokens and does not start "
                f"with {BLANK} and another one; use the list of the model"
            )
        self.head = head
        self.tokens = list(tokens)
        self.index = {token: i for i, token in enumerate(tokens)}
        self.space = self.index.get(SPACE)
        self.forbidden = [self.index[t] for t in SPECIALS if t in self.index]
        self.wildcard = len(self.tokens)
        self._join = compose if head == GRAPHEME else join_syllables
        # row of each code point in the table of its ids; 0: not learned yet
        self._row = np.zeros(sys.maxunicode + 1, np.int64)
        self._table = np.zeros((1, _MOST), np.int64)
        self._count = np.zeros(1, np.int64)
        self._learn([_END])

    def text(self, ids: Sequence[int]) -> str:
        """The normalised text of token ids."""
        return self._join([self.tokens[i] for i in ids])

    def ids(self, text: str) -> list[int]:
        """Token ids of a normalised text, ``wildcard`` for what the list lacks."""
        return self.encode([text]).flat[:-1].tolist()  # type: ignore[no-any-return]

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of normalised texts; all at once, for there are hundreds."""
        joined = "".join(text + _END for text in texts).encode("utf-32-le")
        points = np.frombuffer(joined, np.uint32)
        new = points[self._row[points] == 0]
        if len(new):
            self._learn([chr(point) for point in np.unique(new).tolist()])
        rows = self._row[points]
        if self.head == GRAPHEME:
            counts = self._count[rows]
            ends = np.cumsum(counts)
            # place of each id: where its character's begin, and how far behind that
            place = np.repeat(rows * _MOST - (ends - counts), counts)
            flat = self._table.ravel()[place + np.arange(len(place))]
        else:
            flat = self._table[rows, 0]
        stops = np.flatnonzero(flat == self.wildcard + 1)
        return Encoded(flat, np.diff(stops, prepend=-1) - 1)

    def can_spell(self, text: str) -> bool:
        """Whether the list has all tokens of a normalised text."""
        return self.wildcard not in self.ids(text)

    def _learn(self, characters: Sequence[str]) -> None:
        """Add characters to the table."""
        spelled = [self._spell(character) for character in characters]
        rows = np.zeros((len(spelled), _MOST), np.int64)
        for row, ids in zip(rows, spelled, strict=True):
            row[: len(ids)] = ids
        points = [ord(character) for character in characters]
        self._row[points] = np.arange(len(points)) + len(self._table)
        self._table = np.concatenate([self._table, rows])
        self._count = np.append(self._count, [len(ids) for ids in spelled])

    def _spell(self, character: str) -> list[int]:
        if character == _END:
            return [self.wildcard + 1]
        token = SPACE if character == " " else character
        parts = spell(token) if self.head == GRAPHEME else (token,)
        return [self.index.get(part, self.wildcard) for part in parts]


def spellings(token_lists: Mapping[str, Sequence[str]]) -> dict[str, HeadSpelling]:
    """One spelling per head of a model.

    Raises:
        ConfigError: No head, or a list that is none.
    """
    if not token_lists:
        raise ConfigError("no token lists; a model has one per head")
    return {head: HeadSpelling(head, tokens) for head, tokens in token_lists.items()}


def wildcard_column(
    log_probs: np.ndarray, unknown: int | None, penalty: float | None
) -> np.ndarray:
    """Log-probabilities of a token that the head does not have.

    The same as the joint search has for open syllables: any token at a penalty, since
    a head whose training texts held no ``<unk>`` has learned to never emit it.

    Args:
        log_probs: ``(T, V)`` natural logarithms.
        unknown: Id of ``<unk>``.
        penalty: Nats that "any token but the blank" costs; None: the column is that of
            ``<unk>``.

    Returns:
        ``(T,)``.

    Raises:
        ConfigError: Neither a penalty nor ``<unk>``.
    """
    if penalty is None:
        if unknown is None:
            raise ConfigError(f"no {UNKNOWN} in the token list; give an unk_penalty")
        return np.asarray(log_probs[:, unknown])
    spoken = -np.expm1(np.minimum(log_probs[:, BLANK_ID], 0.0))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(spoken) - penalty)
