"""Labels of weakly supervised pretraining: languages, and phonemes of some of them."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet2_dq.asr.training_set import possible_target, read_targets
from espnet2_dq.data.tables import read_table
from espnet2_dq.errors import DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSet:
    """Labels of one data directory.

    Attributes:
        lang: Language id of every utterance.
        phn: Phoneme ids ``(L,)`` int64 of the utterances that have some; they are
            never cropped, since a part of the sound does not say the whole transcript
            (trap T10).
        replace_prob: Share of frames and utterances replaced by codes.
        exact_half: Exactly that share of an utterance's frames.
    """

    lang: dict[str, int]
    phn: dict[str, np.ndarray]
    replace_prob: float = 0.5
    exact_half: bool = False

    def draw_frames(self, frames: int, rng: np.random.Generator) -> np.ndarray:
        """``(T,)`` bool, True = replaced (readings R19)."""
        if not self.exact_half:
            return rng.random(frames) < self.replace_prob
        chosen = np.zeros(frames, dtype=bool)
        count = int(self.replace_prob * frames)
        chosen[rng.permutation(frames)[:count]] = True
        return chosen


def language_names(folder: Path) -> list[str]:
    """Languages of a data directory, sorted; the order of the language head."""
    return sorted(set(read_table(folder / "utt2lang").values()))


@functools.lru_cache(maxsize=4)
def read_labels(
    folder: Path,
    languages: tuple[str, ...],
    supervised: tuple[str, ...],
    num_tokens: int,
    max_samples: int,
    replace_prob: float = 0.5,
    exact_half: bool = False,
    strict: bool = True,
) -> LabelSet:
    """Read the labels of a data directory.

    Args:
        folder: With ``utt2lang`` and, for phonemes, ``phn.int`` of the units stage.
        languages: All languages, in the order of their ids.
        supervised: Languages whose phonemes may be used; empty reads no phonemes.
        num_tokens: Size of the token list.
        max_samples: Longer utterances lose their phonemes, and are cropped like others.
        replace_prob: See :class:`LabelSet`.
        exact_half: See :class:`LabelSet`.
        strict: Refuse a supervised language without labels; a validation set need not
            have one.

    Raises:
        DataError: A language is unknown, or declared high-resource and without
            labels; or the files do not fit together.
    """
    utt2lang = read_table(folder / "utt2lang")
    ids = {name: number for number, name in enumerate(languages)}
    for utt, name in utt2lang.items():
        if name not in ids:
            raise DataError(
                f"{folder / 'utt2lang'}: '{utt}' is in language '{name}', which the"
                f" training set has not ({', '.join(languages)}); leave it out of"
                " validation, or add the language to training"
            )
    phn: dict[str, np.ndarray] = {}
    if supervised:
        phn = _phonemes(folder, utt2lang, supervised, num_tokens, strict)
        phn = _usable(folder, phn, max_samples)
    return LabelSet(
        {utt: ids[name] for utt, name in utt2lang.items()},
        phn,
        replace_prob,
        exact_half,
    )


def _phonemes(
    folder: Path,
    utt2lang: dict[str, str],
    supervised: Sequence[str],
    num_tokens: int,
    strict: bool,
) -> dict[str, np.ndarray]:
    """Non-empty targets of the supervised languages."""
    if not strict and not (folder / "phn.int").exists():
        logger.warning("%s: no phn.int, so no CTC loss in validation", folder)
        return {}
    targets = read_targets(folder, "phn", num_tokens)
    found: dict[str, np.ndarray] = {}
    for lang in supervised:
        utterances = [utt for utt, name in utt2lang.items() if name == lang]
        labelled = [utt for utt in utterances if targets.get(utt)]
        if not labelled and not strict:
            logger.warning(
                "%s: no phoneme labels in '%s', so no CTC loss in validation",
                folder,
                lang,
            )
        elif not labelled:
            present = ", ".join(sorted(set(utt2lang.values())))
            why = (
                f"none of its {len(utterances)} utterances has a transcript in phn.int;"
                " run stage 4 on a set with text"
                if utterances
                else f"it has no utterance there (present: {present})"
            )
            raise DataError(
                f"{folder}: '{lang}' is declared high-resource"
                f" (--supervised_langs), but {why}"
            )
        elif len(labelled) < len(utterances):
            lost = next(utt for utt in utterances if not targets.get(utt))
            logger.warning(
                "%s: %d of %d utterances in '%s' have no phoneme labels (first '%s');"
                " they are pretrained on without",
                folder,
                len(utterances) - len(labelled),
                len(utterances),
                lang,
                lost,
            )
        found |= {utt: np.asarray(targets[utt], np.int64) for utt in labelled}
    return found


def _usable(
    folder: Path, phn: dict[str, np.ndarray], max_samples: int
) -> dict[str, np.ndarray]:
    """Without what no batch can hold or no frame can emit; both are counted."""
    samples = {utt: int(n) for utt, n in read_table(folder / "utt2num_samples").items()}
    long = [utt for utt in phn if samples[utt] > max_samples]
    short = [
        utt
        for utt, ids in phn.items()
        if not possible_target(ids.tolist(), samples[utt])
    ]
    for utterances, why in (
        (long, f"are longer than a batch ({max_samples} samples): raise batch_seconds"),
        (short, "have more phonemes than their sound has frames"),
    ):
        if utterances:
            logger.warning(
                "%s: phoneme labels of %d of %d utterances are not used, they %s"
                " (first '%s')",
                folder,
                len(utterances),
                len(phn),
                why,
                utterances[0],
            )
    lost = {*long, *short}
    return {utt: ids for utt, ids in phn.items() if utt not in lost}
