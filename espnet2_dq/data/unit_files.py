"""Stage 4: transcripts of data directories to units, with a report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_dq.data.ctm import write_rejects
from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.rejects import Reject, require_few_rejects
from espnet2_dq.data.tables import write_lines, write_table
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.characters import TextRejected, normalise_text, split_characters
from espnet2_dq.text.hangul import graphemes, has_hangul, syllables
from espnet2_dq.text.phonemes import phonemise
from espnet2_dq.text.units import (
    KINDS,
    Coverage,
    Inventory,
    build_inventory,
    format_tokens,
    measure_coverage,
    train_sentencepiece,
)

_KOREAN_SPLITS = {"grapheme": graphemes, "syllable": syllables}
_HEADER = "set lang utterances rejected tokens types unknown coverage unknown_types"


@dataclass(frozen=True)
class UnitOptions:
    """How to write texts in units.

    Attributes:
        kind: ``phn``, ``char``, ``bpe`` (sentencepiece), or, for Korean, ``grapheme``
            or ``syllable``: these take texts as the corpus stage left them.
        train_sets: Sets whose texts make the token list.
        keep_stress: Phonemes with stress marks.
        bpe_size: Pieces of the sentencepiece model.
        min_count: Rarer tokens become ``<unk>``.
        max_reject_ratio: Stop when a larger share of a set cannot be written.
    """

    kind: str = "phn"
    train_sets: tuple[str, ...] = ("train",)
    keep_stress: bool = False
    bpe_size: int = 500
    min_count: int = 1
    max_reject_ratio: float = 0.05


@dataclass
class ConvertedSet:
    """Units of one set: texts or tokens by utterance, and what could not be written."""

    directory: KaldiDir
    tokens: dict[str, list[str]]
    rejects: list[Reject]

    def of(self, lang: str) -> list[list[str]]:
        """Token sequences of one language."""
        language = {u.utt for u in self.directory if u.lang == lang}
        return [tokens for utt, tokens in self.tokens.items() if utt in language]


def convert_sets(
    dump: Path, sets: Sequence[str], out: Path, options: UnitOptions
) -> Inventory:
    """Write ``dump/<set>/<kind>`` and ``<kind>.int``, ``out/tokens.txt`` and a report.

    Sets without ``text`` (audio for pretraining only) are passed over. Utterances
    that cannot be written lack a line in the two files and get one in the set's
    ``reject.tsv``; their audio stays in the set.

    Raises:
        ConfigError: An unknown kind, or a training set that is not among ``sets``.
        DataError: No text at all, or too many rejects.
    """
    if options.kind not in KINDS:
        raise ConfigError(f"--kind {options.kind}: expected one of {' '.join(KINDS)}")
    absent = [name for name in options.train_sets if name not in sets]
    if absent:
        raise ConfigError(
            f"--train_sets {absent[0]}: not among --sets {' '.join(sets)}"
        )
    converted = _convert_all(dump, sets, out, options)
    train = [converted[name] for name in options.train_sets if name in converted]
    inventory = build_inventory(
        (tokens for part in train for tokens in part.tokens.values()),
        options.kind,
        min_count=options.min_count,
    )
    for name, part in converted.items():
        _write_set(dump / name, part, inventory, options.kind)
    write_lines(out / "tokens.txt", inventory.tokens)
    _report(out / "report.tsv", converted, inventory)
    return inventory


def _convert_all(
    dump: Path, sets: Sequence[str], out: Path, options: UnitOptions
) -> dict[str, ConvertedSet]:
    """All sets that have a text, as tokens."""
    converted: dict[str, ConvertedSet] = {}
    for name in sets:
        directory = KaldiDir.read(dump / name)
        if not directory.has_text:
            logging.info("units: %s has no text, passed over", name)
            continue
        part = _convert_set(directory, options)
        require_few_rejects(
            name,
            len(part.tokens),
            part.rejects,
            options.max_reject_ratio,
            str(dump / name / "reject.tsv"),
        )
        converted[name] = part
    if not any(name in converted for name in options.train_sets):
        raise DataError(
            f"none of the training sets {' '.join(options.train_sets)} has a text: "
            "there is nothing to make units from; give a text, or stop after stage 7"
        )
    if options.kind == "bpe":
        texts = [
            "".join(tokens)
            for name in options.train_sets
            for tokens in converted[name].tokens.values()
        ]
        model = train_sentencepiece(texts, out / "bpe.model", options.bpe_size)
        for part in converted.values():
            for utt, (text,) in part.tokens.items():
                part.tokens[utt] = model.encode(text, out_type=str)
    return converted


def _convert_set(directory: KaldiDir, options: UnitOptions) -> ConvertedSet:
    """Texts of one set, language by language (the G2P is set up per language)."""
    part = ConvertedSet(directory, {}, [])
    for lang in directory.languages:
        texts = {u.utt: u.text or "" for u in directory if u.lang == lang}
        if options.kind == "phn":
            phones = phonemise(
                list(texts.values()), lang, keep_stress=options.keep_stress
            )
            for utt, sequence in zip(texts, phones, strict=True):
                if sequence:
                    part.tokens[utt] = sequence
                else:
                    reason = f"phn: no phonemes in {texts[utt][:40]!r}"
                    part.rejects.append((utt, reason))
        elif options.kind in _KOREAN_SPLITS:
            _split_korean(texts, options.kind, part)
        else:
            _convert_letters(texts, lang, options.kind, part)
    return part


def _split_korean(texts: Mapping[str, str], kind: str, part: ConvertedSet) -> None:
    """Graphemes or syllables; the rules of Korean corpora have cleaned the texts."""
    for utt, text in texts.items():
        if has_hangul(text):
            part.tokens[utt] = _KOREAN_SPLITS[kind](text)
        else:
            reason = f"{kind}: non-Korean text: no Hangul in {text[:40]!r}"
            part.rejects.append((utt, reason))


def _convert_letters(
    texts: Mapping[str, str], lang: str, kind: str, part: ConvertedSet
) -> None:
    """Characters; for sentencepiece the normalised text as a single token."""
    for utt, text in texts.items():
        try:
            clean = normalise_text(text, lang)
        except TextRejected as rejected:
            part.rejects.append((utt, f"{kind}: {rejected.reason}"))
        else:
            part.tokens[utt] = split_characters(clean) if kind == "char" else [clean]


def _write_set(path: Path, part: ConvertedSet, inventory: Inventory, kind: str) -> None:
    """The two tables; rejects of an earlier run of this kind are replaced."""
    write_table(path / kind, format_tokens(part.tokens))
    ids = {utt: inventory.encode(tokens) for utt, tokens in part.tokens.items()}
    write_table(
        path / f"{kind}.int", {u: " ".join(map(str, i)) for u, i in ids.items()}
    )
    others = [r for r in part.directory.rejects if not r[1].startswith(f"{kind}: ")]
    write_rejects(path / "reject.tsv", [*others, *part.rejects])


def _report(
    path: Path, converted: Mapping[str, ConvertedSet], inventory: Inventory
) -> None:
    """Counts and coverage per set and language, to a file and to the log."""
    rows = ["\t".join(_HEADER.split())]
    for name, part in converted.items():
        for lang in part.directory.languages:
            langs = {u.utt for u in part.directory if u.lang == lang}
            rejected = sum(utt in langs for utt, _ in part.rejects)
            coverage = measure_coverage(inventory, part.of(lang), rejected)
            rows.append("\t".join([name, lang, *_columns(coverage)]))
    write_lines(path, rows)
    logging.info("units: %d tokens", len(inventory.tokens))
    for row in rows:
        logging.info("  %s", row.replace("\t", "  "))


def _columns(coverage: Coverage) -> list[str]:
    numbers = (
        coverage.utterances,
        coverage.rejected,
        coverage.tokens,
        coverage.types,
        coverage.unknown,
    )
    unknown = " ".join(coverage.unknown_types[:10])
    return [*map(str, numbers), f"{coverage.share:.4f}", unknown]
