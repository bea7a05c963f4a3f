"""Text to pairs of phonemes and characters, from which the TransCoder learns to spell.

Phonemes come from the G2P that stage 4 uses for the references of the phoneme system,
characters are those that WER is scored on. The first phoneme of every sequence is a
tag of the language, ``<es>``: the same sounds are written differently elsewhere.
"""

import logging
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_dq.data.ctm import write_rejects
from espnet2_dq.data.tables import write_lines, write_table
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.characters import TextRejected, normalise_text, split_characters
from espnet2_dq.text.phonemes import phonemise
from espnet2_dq.text.sentence_sources import Line, read_sentences
from espnet2_dq.text.units import (
    BLANK,
    PAD,
    SOS_EOS,
    UNKNOWN,
    Inventory,
    build_inventory,
    format_tokens,
)

# What becomes of a line; each is a column of report.tsv.
FATES = ("kept", "held_out", "repeated", "rejected")
_HEADER = ("set", "lang", "lines", *FATES, "words", "phonemes", "characters")


def language_tag(lang: str) -> str:
    """The token before a sentence's phonemes.

    >>> language_tag("es")
    '<es>'
    """
    return f"<{lang}>"


def tagged_languages(tokens: Iterable[str]) -> list[str]:
    """Languages whose tags are among the tokens of the input, sorted.

    >>> tagged_languages(["<blank>", "<unk>", "<sv>", "a", "<es>", "<sos/eos>"])
    ['es', 'sv']
    """
    return sorted(
        token[1:-1]
        for token in set(tokens) - {BLANK, UNKNOWN, PAD, SOS_EOS}
        if len(token) > 2 and token[0] == "<" and token[-1] == ">"
    )


@dataclass
class Pairs:
    """Sentences as phonemes and as characters, by id, and what was left out.

    Attributes:
        phones: Language tag and phonemes.
        chars: Characters, ``<space>`` between words.
        langs: Language.
        fates: Lines by ``(lang, fate)``; fates are ``FATES``.
        words: Words that became examples of their own, by language.
        rejects: ``(origin, reason)`` of each line that cannot be written.
    """

    phones: dict[str, list[str]] = field(default_factory=dict)
    chars: dict[str, list[str]] = field(default_factory=dict)
    langs: dict[str, str] = field(default_factory=dict)
    fates: Counter[tuple[str, str]] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    rejects: list[tuple[str, str]] = field(default_factory=list)

    def reject(self, line: Line, reason: str) -> None:
        """Count a line that cannot be written."""
        self.fates[line.lang, "rejected"] += 1
        self.rejects.append((line.origin, reason))

    def add(self, lang: str, clean: str, phones: list[str]) -> None:
        """Add a sentence; ids sort at random, since ESPnet's sampler keeps their order.

        It sorts by length alone: with the languages one after the other, most batches
        would be of one language.
        """
        checksum = zlib.crc32(f"{lang} {clean}".encode())
        key = f"{checksum:08x}-{lang}-{len(self.langs)}"
        self.phones[key] = [language_tag(lang), *phones]
        self.chars[key] = split_characters(clean)
        self.langs[key] = lang


def clean_texts(lines: Iterable[Line]) -> set[str]:
    """Sentences in the form in which two are compared: characters as scored."""
    found = set()
    for line in lines:
        try:
            found.add(normalise_text(line.text, line.lang))
        except TextRejected:
            continue  # one like it is rejected as well
    return found


def make_pairs(
    lines: Iterable[Line],
    held_out: Collection[str],
    *,
    max_tokens: int,
    words: bool = False,
) -> Pairs:
    """Convert sentences, each once.

    Args:
        lines: Sentences as written.
        held_out: Sentences to leave out, as :func:`clean_texts` gives them, of
            whatever language.
        max_tokens: More phonemes or characters are rejected.
        words: Also make an example of each word that occurs. In short examples the
            model finds sooner which phonemes belong to which characters.
    """
    pairs = Pairs()
    chosen: dict[str, dict[str, Line]] = {}
    for line in lines:
        try:
            clean = normalise_text(line.text, line.lang)
        except TextRejected as rejected:
            pairs.reject(line, rejected.reason)
            continue
        same = chosen.setdefault(line.lang, {})
        if clean in held_out:
            pairs.fates[line.lang, "held_out"] += 1
        elif clean in same:
            pairs.fates[line.lang, "repeated"] += 1
        else:
            same[clean] = line
    for lang, sentences in sorted(chosen.items()):
        _add_sentences(pairs, lang, sentences, max_tokens)
        if words:
            found = {word for clean in sentences for word in clean.split()}
            _add_words(pairs, lang, sorted(found - sentences.keys() - set(held_out)))
    return pairs


def _add_sentences(
    pairs: Pairs, lang: str, sentences: Mapping[str, Line], max_tokens: int
) -> None:
    """Phonemes of the sentences as written: eSpeak phrases by their punctuation."""
    spoken = phonemise([line.text for line in sentences.values()], lang)
    for (clean, line), phones in zip(sentences.items(), spoken, strict=True):
        longest = max(len(phones), len(clean))
        if not phones:
            pairs.reject(line, "no phonemes: eSpeak says nothing")
        elif longest > max_tokens:
            pairs.reject(line, f"too long: {longest} tokens, at most {max_tokens}")
        else:
            pairs.add(lang, clean, phones)
            pairs.fates[lang, "kept"] += 1


def _add_words(pairs: Pairs, lang: str, words: Sequence[str]) -> None:
    for word, phones in zip(words, phonemise(words, lang), strict=True):
        if phones:
            pairs.add(lang, word, phones)
            pairs.words[lang] += 1


@dataclass(frozen=True)
class TextSets:
    """What to make training and validation pairs of.

    Attributes:
        train: Sentences to learn from.
        valid: Data directory (or file) whose sentences choose the best model.
        held_out: Those that the system is tested on.
    """

    train: Sequence[Line]
    valid: Path
    held_out: Sequence[Path]


def write_pairs(
    sets: TextSets, out: Path, *, max_tokens: int = 400, words: bool = False
) -> None:
    """Write ``OUT/{train,valid}``, the two token lists and a report.

    ``words`` makes examples of single words for training, see :func:`make_pairs`. No
    sentence of ``valid`` or ``held_out`` is trained on, and none of ``held_out``
    validates: equal ones are left out and counted, whatever their language.

    Raises:
        ConfigError: ``max_tokens`` below 1.
        DataError: Nothing is left to train or to validate on.
    """
    if max_tokens < 1:
        raise ConfigError(f"--max_tokens {max_tokens}: at least 1")
    valid_lines = read_sentences(sets.valid)
    tested = clean_texts(line for path in sets.held_out for line in _tested(path))
    held_out = tested | clean_texts(valid_lines)
    train = make_pairs(sets.train, held_out, max_tokens=max_tokens, words=words)
    _require(train, "train", "give more sentences (--text, --mini_sentences)")
    langs = set(train.langs.values())
    known = [line for line in valid_lines if line.lang in langs]
    if len(known) < len(valid_lines):
        absent = sorted({line.lang for line in valid_lines} - langs)
        logging.warning(
            "%s: %d sentences of %s do not validate: no text to learn these from",
            sets.valid,
            len(valid_lines) - len(known),
            " ".join(absent),
        )
    valid = make_pairs(known, tested, max_tokens=max_tokens)
    _require(valid, "valid", f"look at {sets.valid}, or name another with --valid")
    phones = build_inventory(train.phones.values(), "phn")
    chars = build_inventory(train.chars.values(), "char")
    for name, pairs in (("train", train), ("valid", valid)):
        _write_set(out / name, pairs, phones, chars)
    write_lines(out / "phn_tokens.txt", phones.tokens)
    write_lines(out / "char_tokens.txt", chars.tokens)
    write_rejects(out / "reject.tsv", [*train.rejects, *valid.rejects])
    _report(out / "report.tsv", {"train": train, "valid": valid})


def _tested(path: Path) -> list[Line]:
    """Sentences of a test set; without transcripts there is nothing to hold out."""
    if path.is_dir() and not (path / "text").exists():
        logging.info("%s has no text: nothing to hold out", path)
        return []
    return read_sentences(path)


def _require(pairs: Pairs, name: str, remedy: str) -> None:
    if not pairs.phones:
        total: Counter[str] = Counter()
        for (_, fate), count in pairs.fates.items():
            total[fate] += count
        what = ", ".join(f"{total[fate]} {fate}" for fate in FATES[1:])
        raise DataError(f"{name}: no sentence is left ({what}); {remedy}")


def _write_set(path: Path, pairs: Pairs, phones: Inventory, chars: Inventory) -> None:
    """Tokens, ids and lengths; ESPnet's samplers batch by the lengths."""
    for name, tokens, units in (
        ("phn", pairs.phones, phones),
        ("char", pairs.chars, chars),
    ):
        write_table(path / name, format_tokens(tokens))
        ids = {
            key: " ".join(map(str, units.encode(row))) for key, row in tokens.items()
        }
        write_table(path / f"{name}.int", ids)
        write_table(
            path / f"{name}.len", {k: str(len(row)) for k, row in tokens.items()}
        )
    write_table(path / "utt2lang", pairs.langs)


def _report(path: Path, sets: Mapping[str, Pairs]) -> None:
    """Counts by set and language, to a file and to the log."""
    rows = ["\t".join(_HEADER)]
    for name, pairs in sets.items():
        for lang in sorted({lang for lang, _ in pairs.fates}):
            fates = [pairs.fates[lang, fate] for fate in FATES]
            keys = [key for key, its in pairs.langs.items() if its == lang]
            tokens = [
                sum(len(pairs.phones[key]) - 1 for key in keys),
                sum(len(pairs.chars[key]) for key in keys),
            ]
            counts = [sum(fates), *fates, pairs.words[lang], *tokens]
            rows.append("\t".join(map(str, [name, lang, *counts])))
    write_lines(path, rows)
    for row in rows:
        logging.info("  %s", row.replace("\t", "  "))
