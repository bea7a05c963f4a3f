"""Where a model that learns from text alone finds its sentences."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from espnet2_dq.data.mini import LANGUAGES
from espnet2_dq.data.sentences import draw_sentences
from espnet2_dq.data.tables import read_lines, read_table
from espnet2_dq.errors import ConfigError, DataError

_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*")


@dataclass(frozen=True)
class Line:
    """A sentence as written, its language, and where it was found (``FILE:12``)."""

    lang: str
    text: str
    origin: str


def read_sentences(path: Path) -> list[Line]:
    r"""Sentences of a file or of a data directory; empty ones are passed over.

    Args:
        path: A directory with ``text`` and ``utt2lang``; the ``text`` of such a
            directory; or any other file, with lines ``lang TAB sentence``.

    Raises:
        DataError: With file, line, what stands there and what is expected.
    """
    if path.is_dir():
        return _read_directory(path)
    if path.name == "text" and path.with_name("utt2lang").exists():
        return _read_directory(path.parent)
    lines = []
    for number, row in enumerate(read_lines(path), start=1):
        lang, tab, text = row.partition("\t")
        if not row:
            continue
        if not tab or not _LANGUAGE_CODE.fullmatch(lang.strip()):
            raise DataError(
                f"{path}:{number}: {row[:40]!r} is not 'lang<TAB>sentence'; a Kaldi"
                " text needs its utt2lang beside it and the name 'text'"
            )
        if text.strip():
            lines.append(Line(lang.strip(), text.strip(), f"{path}:{number}"))
    return lines


def _read_directory(path: Path) -> list[Line]:
    """Transcripts of a Kaldi data directory."""
    texts = read_table(path / "text", allow_empty=True)
    languages = read_table(path / "utt2lang")
    missing = next((utt for utt in texts if utt not in languages), None)
    if missing is not None:
        raise DataError(
            f"{path / 'utt2lang'}: no line for '{missing}' of text; add its language"
        )
    return [
        Line(languages[utt], text, f"{path / 'text'}:{number}")
        for number, (utt, text) in enumerate(texts.items(), start=1)
        if text
    ]


def draw_mini_sentences(langs: Iterable[str], count: int, seed: int) -> list[Line]:
    """The first sentences that the mini corpus would speak for its training set.

    The corpus takes its own from the start of the same sequences, and goes on until
    its hours are full; so a large ``count`` gives more text than there is audio. No
    message and no name of them occurs in the corpus' dev or test set, where they
    belong to others by their hash (:func:`espnet2_dq.data.sentences.split_of`).

    Args:
        langs: Languages; those that the mini corpus lacks are passed over.
        count: Sentences per language.
        seed: Seed of the corpus.

    Raises:
        ConfigError: None of the languages is one of the mini corpus.
    """
    known: Sequence[str] = [lang for lang in langs if lang in LANGUAGES]
    if not known:
        raise ConfigError(
            f"no sentences of the mini corpus for {' '.join(langs) or 'no language'};"
            f" it has {' '.join(LANGUAGES)}: give --mini_sentences 0 and --text"
        )
    return [
        Line(lang, sentence.text, f"mini/{lang}:{number}")
        for lang in known
        for number, sentence in enumerate(
            islice(draw_sentences(lang, "train", seed), count), start=1
        )
    ]
