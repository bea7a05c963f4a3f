"""Phones of a Praat TextGrid, as the Montreal Forced Aligner writes them.

praatio reads the file, in Praat's long or short text format, UTF-8 or UTF-16.
"""

from dataclasses import dataclass
from pathlib import Path

from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.errors import DataError

PHONE_TIER = "phones"


class TextGridError(DataError):
    """A TextGrid that cannot be used; ``reason`` is ``kind: detail``."""

    def __init__(self, path: Path | str, reason: str) -> None:
        """Keep the reason apart from the path, for a list of rejects."""
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class PhoneTier:
    """Labelled intervals of a tier.

    Attributes:
        segments: In time order; intervals without a label (silence) are left out.
        end_s: Where the last interval, labelled or not, ends: the length of the sound
            that the tier was made for, or less if the file was cut off.
    """

    segments: list[PhoneSegment]
    end_s: float


def read_textgrid(path: Path | str, tier: str = PHONE_TIER) -> PhoneTier:
    """Read the phones of one utterance.

    Args:
        path: The ``.TextGrid``.
        tier: Name of the interval tier; ``<speaker> - <tier>``, which MFA writes where
            it knows the speaker, will do as well if there is only one of these.

    Raises:
        TextGridError: Not a TextGrid, intervals that overlap or have no length, no
            such tier (those that there are get named), or a label of several words.
    """
    from praatio import textgrid
    from praatio.utilities import errors

    try:
        grid = textgrid.openTextgrid(
            str(path),
            includeEmptyIntervals=True,
            reportingMode="silence",
            duplicateNamesMode="rename",
        )
    except errors.TextgridException as error:
        reason = " ".join(str(error).split())
        raise TextGridError(path, f"inconsistent: {reason}") from error
    except OSError as error:
        raise TextGridError(path, f"unreadable: {error.strerror}") from error
    except (errors.PraatioException, ValueError, IndexError, KeyError) as error:
        # praatio has no error of its own for most files that are not TextGrids
        raise TextGridError(path, "unreadable: not a TextGrid of Praat") from error
    found = grid.getTier(_choose(path, grid.tierNames, tier))
    if not isinstance(found, textgrid.IntervalTier):
        raise TextGridError(path, f"malformed: tier '{found.name}' holds points")
    segments = []
    end_s = 0.0
    for start, end, label in found.entries:
        end_s = float(end)
        if len(label.split()) > 1:
            raise TextGridError(path, f"malformed: {label!r} at {start} s is no phone")
        if label:
            segments.append(PhoneSegment(float(start), end - start, label))
    return PhoneTier(segments, end_s)


def _choose(path: Path | str, names: tuple[str, ...], tier: str) -> str:
    """Name of the tier in this file."""
    if tier in names:
        return tier
    of_speakers = [name for name in names if name.endswith(f" - {tier}")]
    if len(of_speakers) == 1:
        return of_speakers[0]
    present = ", ".join(f"'{name}'" for name in names) or "none"
    what = f"{len(of_speakers)} tiers end with" if of_speakers else "no tier"
    raise TextGridError(path, f"malformed: {what} '{tier}'; tiers: {present}")
