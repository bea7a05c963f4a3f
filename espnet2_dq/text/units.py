"""Token lists shared by all languages, and the numbers to judge them by.

Specials. The paper counts 169 phonemes and 5 specials, 174 in all, and its CTC has
174 outputs: the blank is among them (METHODS 2.8, reading R20: fairseq's ``<s>`` as
blank, ``<pad>``, ``</s>``, ``<unk>``, and the word boundary ``|``). The same five
stand here under ESPnet's names: ``<blank>``, ``<unk>``, ``<pad>``, ``|``, and, last as
ESPnet's decoders expect, ``<sos/eos>``. Only ``<blank>`` and ``<unk>`` ever occur: PER
excludes word boundaries. Characters, graphemes and syllables have ``<space>`` in place
of ``|``, among the tokens of the texts.
"""

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet2_dq.errors import ConfigError, DataError

BLANK, UNKNOWN, PAD, BOUNDARY, SOS_EOS = "<blank>", "<unk>", "<pad>", "|", "<sos/eos>"
_FIRST_SPECIALS: dict[str, tuple[str, ...]] = {
    "phn": (BLANK, UNKNOWN, PAD, BOUNDARY),
    "char": (BLANK, UNKNOWN, PAD),
    "bpe": (BLANK, UNKNOWN, PAD),
    "grapheme": (BLANK, UNKNOWN, PAD),
    "syllable": (BLANK, UNKNOWN, PAD),
}
KINDS = tuple(_FIRST_SPECIALS)


@dataclass(frozen=True)
class Inventory:
    """Tokens by id.

    >>> units = build_inventory([["a", "b"], ["a"]], "char")
    >>> units.tokens
    ('<blank>', '<unk>', '<pad>', 'a', 'b', '<sos/eos>')
    >>> units.encode(["b", "z"]), units.decode([4, 3])
    ([4, 1], ['b', 'a'])
    """

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        """An index for encoding; tokens must be distinct and hold no blanks."""
        index = {token: i for i, token in enumerate(self.tokens)}
        bad = [token for token in self.tokens if len(token.split()) != 1]
        if len(index) < len(self.tokens) or bad:
            what = f"{bad[0]!r} holds a blank" if bad else "a token occurs twice"
            raise DataError(f"token list: {what}")
        object.__setattr__(self, "_index", index)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids; tokens outside the list become ``<unk>``."""
        index: dict[str, int] = self.__dict__["_index"]
        return [index.get(token, index[UNKNOWN]) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Tokens of ids."""
        return [self.tokens[i] for i in ids]


def build_inventory(
    sequences: Iterable[Sequence[str]], kind: str, *, min_count: int = 1
) -> Inventory:
    """Tokens of the training texts by falling frequency, with the kind's specials.

    Args:
        sequences: Token sequences of all languages' training texts.
        kind: One of ``KINDS``.
        min_count: Rarer tokens are left to ``<unk>``.

    Raises:
        DataError: No tokens, or a text token that reads like a special.
    """
    counts = Counter(token for sequence in sequences for token in sequence)
    specials = (*_FIRST_SPECIALS[kind], SOS_EOS)
    clash = [token for token in specials if counts[token]]
    if clash:
        raise DataError(f"the token {clash[0]!r} of the texts is reserved; remove it")
    kept = [token for token, count in counts.items() if count >= min_count]
    if not kept:
        raise DataError(
            f"no {kind} token occurs {min_count} times in the training texts; check "
            "that the training sets have a text, or lower --min_count"
        )
    kept.sort(key=lambda token: (-counts[token], token))
    return Inventory((*specials[:-1], *kept, SOS_EOS))


@dataclass(frozen=True)
class Coverage:
    """How an inventory fits the texts of one set and language.

    Attributes:
        utterances: Texts that were converted.
        rejected: Texts that were not.
        tokens: Running tokens.
        types: Distinct tokens.
        unknown: Running tokens outside the inventory.
        unknown_types: These tokens, most frequent first.
    """

    utterances: int
    rejected: int
    tokens: int
    types: int
    unknown: int
    unknown_types: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of running tokens inside the inventory; 1 for no tokens."""
        return 1 - self.unknown / max(self.tokens, 1)


def measure_coverage(
    inventory: Inventory, sequences: Sequence[Sequence[str]], rejected: int
) -> Coverage:
    """Count tokens inside and outside ``inventory``."""
    counts = Counter(token for sequence in sequences for token in sequence)
    known = set(inventory.tokens)
    outside = [token for token, _ in counts.most_common() if token not in known]
    return Coverage(
        len(sequences),
        rejected,
        counts.total(),
        len(counts),
        sum(counts[token] for token in outside),
        tuple(outside),
    )


def train_sentencepiece(texts: Iterable[str], path: Path, size: int) -> Any:
    """Train a unigram model of at most ``size`` pieces and write it to ``path``.

    Raises:
        ConfigError: The package is missing, or ``size`` is below the number of
            characters.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise ConfigError("units 'bpe' need the package 'sentencepiece'") from error
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            hard_vocab_limit=False,  # few texts hold fewer pieces
            character_coverage=1.0,
            num_threads=1,  # the result depends on it
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConfigError(f"--bpe_size {size}: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def format_tokens(tokens: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Token sequences as values of a Kaldi table."""
    return {utt: " ".join(sequence) for utt, sequence in tokens.items()}
