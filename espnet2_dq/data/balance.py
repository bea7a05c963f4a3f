"""Language balance: the share of each language in pretraining (paper, IV.B)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from espnet2_dq.data.batches import language_probabilities
from espnet2_dq.data.tables import write_lines
from espnet2_dq.errors import DataError


@dataclass(frozen=True)
class LanguageShare:
    """One row of the balance table.

    Attributes:
        lang: Language code.
        hours: Hours of audio in the training set.
        utterances: Number of utterances in the training set.
        corpus_share: hours / total hours.
        share: Share of an epoch's hours that the sampler gives the language.
        repeat: How often an epoch uses each utterance on average; below 1, some
            utterances wait for a later epoch.
    """

    lang: str
    hours: float
    utterances: int
    corpus_share: float
    share: float
    repeat: float


def language_shares(
    hours: Mapping[str, float], utterances: Mapping[str, int], power: float = 0.5
) -> list[LanguageShare]:
    """Shares p_l ~ (n_l / N)^power on hours and repeat factors p_l N / n_l.

    Args:
        hours: n_l by language; all above 0.
        utterances: Utterance counts by language, for the table only.
        power: 1 keeps the corpus' shares, 0.5 is the paper's, 0 is uniform.

    Raises:
        DataError: No language, or one without audio; or a power outside [0, 1].
    """
    if not hours:
        raise DataError("language balance: 0 utterances; see the filter's counts")
    if not 0 <= power <= 1:
        raise DataError(f"language balance: power {power} is not in [0, 1]")
    empty = sorted(lang for lang, n in hours.items() if n <= 0)
    if empty:
        raise DataError(f"language balance: no audio for {' '.join(empty)}")
    total = sum(hours.values())
    shares = language_probabilities(hours, power)
    return [
        LanguageShare(
            lang,
            hours[lang],
            utterances.get(lang, 0),
            hours[lang] / total,
            shares[lang],
            shares[lang] * total / hours[lang],
        )
        for lang in sorted(hours)
    ]


def format_shares(shares: Sequence[LanguageShare]) -> str:
    """The balance table as text."""
    lines = ["language     hours  utterances  corpus  sampled  repeats/epoch"]
    lines += [
        f"{s.lang:<10}{s.hours:>8.2f}{s.utterances:>12d}{s.corpus_share:>8.3f}"
        f"{s.share:>9.3f}{s.repeat:>15.2f}"
        for s in shares
    ]
    total = sum(s.hours for s in shares)
    count = sum(s.utterances for s in shares)
    lines.append(f"{'total':<10}{total:>8.2f}{count:>12d}{1:>8.3f}{1:>9.3f}")
    return "\n".join(lines)


def write_shares(
    path: Path | str, shares: Sequence[LanguageShare], power: float
) -> None:
    """Write ``language_shares.json``: the exponent and one object per language."""
    content = {"power": power, "languages": [asdict(share) for share in shares]}
    write_lines(path, [json.dumps(content, indent=1, ensure_ascii=False)])
