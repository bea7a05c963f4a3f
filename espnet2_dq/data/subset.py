"""Stage 8: a labelled subset of the training set for fine-tuning."""

import fnmatch
import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.errors import DataError

# Sources whose transcripts volunteers have confirmed (commonvoice.py, utt2source).
TRUSTED_SOURCES = ("train", "dev", "test", "validated", "list")


def labelled(directory: KaldiDir, name: str) -> list[Utterance]:
    """Utterances whose transcript may serve as a label.

    Raises:
        DataError: The set has no transcripts.
    """
    if all(utterance.text is None for utterance in directory):
        raise DataError(
            f"{name}: no file 'text'; a set without transcripts serves pretraining "
            "only. Add text to the corpus and run stages 1 to 4 again"
        )
    source = directory.extra.get("utt2source", {})
    rows = [u for u in directory if u.text and u.text.strip()]
    trusted = [u for u in rows if source.get(u.utt, "train") in TRUSTED_SOURCES]
    if len(trusted) < len(directory):
        logging.info(
            "%s: %d utterances without a transcript and %d with an unconfirmed one "
            "are not used as labels",
            name,
            len(directory) - len(rows),
            len(rows) - len(trusted),
        )
    return trusted


def match_list(
    utterances: Sequence[Utterance], wanted: Iterable[str]
) -> tuple[list[Utterance], list[str]]:
    """Select by utterance id or by the stem of the sound file (a clip id).

    Returns:
        The utterances found, and the ids that matched none.
    """
    by_name: dict[str, Utterance] = {}
    for utterance in utterances:
        by_name.setdefault(Path(utterance.path).stem, utterance)
    by_name.update({utterance.utt: utterance for utterance in utterances})
    names = list(dict.fromkeys(wanted))
    found = {by_name[n].utt: by_name[n] for n in names if n in by_name}
    return list(found.values()), [n for n in names if n not in by_name]


def match_glob(utterances: Sequence[Utterance], pattern: str) -> list[Utterance]:
    """Select by a shell pattern on utterance ids, as ``es-*``."""
    return [u for u in utterances if fnmatch.fnmatchcase(u.utt, pattern)]


def spread_over_speakers(
    utterances: Sequence[Utterance], seed: int, lang: str
) -> list[Utterance]:
    """Order utterances in rounds, one of each speaker a round, both shuffled.

    The place of a speaker or utterance follows from its id and the seed alone: a
    smaller subset is the beginning of a larger one, and an utterance that another
    filter drops leaves the order of the others as it was.
    """

    def place(name: str) -> bytes:
        return hashlib.blake2b(f"{seed} {lang} {name}".encode()).digest()

    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in sorted(utterances, key=lambda u: place(u.utt)):
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    queues = [by_speaker[speaker] for speaker in sorted(by_speaker, key=place)]
    rounds = max((len(queue) for queue in queues), default=0)
    return [q[turn] for turn in range(rounds) for q in queues if turn < len(q)]


def take_minutes(
    utterances: Sequence[Utterance],
    minutes: float,
    *,
    seed: int,
    allow_less: bool = False,
) -> list[Utterance]:
    """Take utterances of each language until the next would exceed ``minutes``.

    Raises:
        DataError: A language has less, unless ``allow_less`` (then it is said).
    """
    chosen: list[Utterance] = []
    for lang in sorted({u.lang for u in utterances}):
        rows = [u for u in utterances if u.lang == lang]
        available = sum(u.duration_s for u in rows) / 60
        if available < minutes:
            message = (
                f"language '{lang}' has {available:.2f} minutes with transcripts, "
                f"{minutes:g} asked"
            )
            if not allow_less:
                raise DataError(
                    f"{message}; ask for less, or take what there is with "
                    "--allow_less true"
                )
            logging.warning("%s; all of it is taken", message)
        total = 0.0
        for utterance in spread_over_speakers(rows, seed, lang):
            if total + utterance.duration_s > minutes * 60 + 1e-6:
                break
            total += utterance.duration_s
            chosen.append(utterance)
    return chosen


def describe(utterances: Sequence[Utterance]) -> str:
    """One line per language: utterances, speakers, minutes."""
    lines = []
    for lang in sorted({u.lang for u in utterances}):
        rows = [u for u in utterances if u.lang == lang]
        minutes = sum(u.duration_s for u in rows) / 60
        speakers = len({u.speaker for u in rows})
        lines.append(
            f"  {lang}: {len(rows)} utterances, {speakers} speakers, {minutes:.2f} min"
        )
    return "\n".join(lines)
