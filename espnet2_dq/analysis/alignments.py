"""Phone times of a data directory: where they come from, whether they fit the sounds.

``exact``: ``phn.ctm`` of the directory, from the synthesiser. ``textgrid`` and ``ctm``:
the user's files, from MFA or another aligner. ``ctc``: our own, see
:mod:`espnet2_dq.analysis.ctc_alignment`. No torch here.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from espnet2_dq.analysis.frame_labels import has_alignments, read_alignments
from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.data.ctm import PhoneSegment, read_ctm
from espnet2_dq.data.rejects import Reject, format_kinds
from espnet2_dq.data.tables import read_table
from espnet2_dq.data.textgrid import PHONE_TIER, TextGridError, read_textgrid
from espnet2_dq.errors import ConfigError, DataError

Kind = Literal["exact", "textgrid", "ctm", "ctc", "none"]
# Times rounded to 10 ms may meet by so much; a frame is 20 ms.
OVERLAP_S = 0.02
_USERS = (
    "phones from {} files: comparable with the paper's Tables IV and V only if MFA made"
    " them, with phones like the paper's"
)
_COMPARABLE: Mapping[Kind, str] = {
    "textgrid": _USERS.format("TextGrid"),
    "ctm": _USERS.format("CTM"),
    "ctc": "phones from our own CTC alignment: not comparable with the paper's Tables"
    " IV and V, which used MFA, nor with numbers from exact alignments",
}


@dataclass(frozen=True)
class AlignmentOptions:
    """What is accepted of alignments.

    Attributes:
        tier: Interval tier of TextGrid files.
        tolerance_s: How much earlier or later than its sound an alignment may end. A
            CTM without final silences ends early.
        max_reject_ratio: Stop when a larger share of the alignments is unusable.
    """

    tier: str = PHONE_TIER
    tolerance_s: float = 0.5
    max_reject_ratio: float = 0.05

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if self.tolerance_s < 0:
            raise ConfigError(
                f"--alignment_tolerance_s {self.tolerance_s}: expected at least 0"
            )


@dataclass(frozen=True)
class Alignments:
    """Aligned phones.

    Attributes:
        kind: Where they come from.
        source: File, folder or model; "" for ``none``.
        phones: By utterance, in time order; an utterance of silence has an empty list.
        rejects: Alignments that do not fit their sounds, with the reason.
        missing: Utterances of the directory that the source does not hold.
    """

    kind: Kind
    source: str
    phones: Mapping[str, Sequence[PhoneSegment]]
    rejects: list[Reject] = field(default_factory=list)
    missing: int = 0

    def notes(self) -> list[str]:
        """What a reader of numbers has to know about these alignments."""
        found = [_COMPARABLE[self.kind]] if self.kind in _COMPARABLE else []
        if self.rejects:
            found.append(
                f"{len(self.rejects)} alignments of {self.source} rejected:"
                f" {format_kinds(self.rejects)}"
            )
        if self.missing and self.kind != "none":
            found.append(f"{self.missing} utterances are not in {self.source}")
        return found


def exact_alignments(
    data_dir: Path | str, options: AlignmentOptions | None = None
) -> Alignments:
    """``phn.ctm`` of a data directory; of kind ``none`` where there is none."""
    path = Path(data_dir) / "phn.ctm"
    if not has_alignments(data_dir):
        return Alignments("none", "", {})
    phones = read_alignments(data_dir)
    return fit("exact", str(path), phones, {}, data_dir, options)


def user_alignments(
    path: Path | str, data_dir: Path | str, options: AlignmentOptions | None = None
) -> Alignments:
    """The user's alignments of a data directory.

    Args:
        path: A ``.ctm`` file (``utt 1 start_s dur_s phone``), or a folder, searched
            with its subfolders, of ``<utterance>.TextGrid``.
        data_dir: The utterances; alignments of others are passed over.
        options: What is accepted.

    Raises:
        DataError: Nothing there, none of it for this directory, or two files for one
            utterance.
    """
    place = Path(path)
    if place.is_dir():
        return _read_folder(place, data_dir, options or AlignmentOptions())
    if place.suffix.lower() == ".textgrid":
        raise DataError(
            f"{path}: a single TextGrid; give the folder that holds"
            " <utterance>.TextGrid for each utterance"
        )
    phones = read_ctm(place)
    return fit("ctm", str(path), phones, {}, data_dir, options)


def _read_folder(
    folder: Path, data_dir: Path | str, options: AlignmentOptions
) -> Alignments:
    """TextGrid files named by utterance."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() != ".textgrid":
            continue
        if path.stem in files:
            raise DataError(
                f"{path}: '{path.stem}' is also aligned in {files[path.stem]}; keep one"
            )
        files[path.stem] = path
    if not files:
        raise DataError(f"{folder}: holds no .TextGrid file")
    phones: dict[str, list[PhoneSegment]] = {}
    ends: dict[str, float] = {}
    rejects: list[Reject] = []
    wanted = read_table(Path(data_dir) / "utt2num_samples")
    for utt in (utt for utt in files if utt in wanted):
        try:
            tier = read_textgrid(files[utt], options.tier)
        except TextGridError as error:
            rejects.append((utt, error.reason))
        else:
            phones[utt], ends[utt] = tier.segments, tier.end_s
    where = str(folder)
    return fit("textgrid", where, phones, ends, data_dir, options, rejects=rejects)


def fit(
    kind: Kind,
    source: str,
    phones: Mapping[str, Sequence[PhoneSegment]],
    ends: Mapping[str, float],
    data_dir: Path | str,
    options: AlignmentOptions | None = None,
    *,
    rejects: Sequence[Reject] = (),
) -> Alignments:
    """Keep what belongs to the directory and lasts as long as its sounds.

    Args:
        kind: Where the phones come from.
        source: For messages.
        phones: By utterance, in time order.
        ends: Where an alignment ends, silence included, in seconds; by default with
            its last phone.
        data_dir: Holds ``utt2num_samples``.
        options: What is accepted.
        rejects: Utterances that could not be read.

    Raises:
        DataError: The source holds none of the utterances.
    """
    options = options or AlignmentOptions()
    samples = read_table(Path(data_dir) / "utt2num_samples")
    kept: dict[str, Sequence[PhoneSegment]] = {}
    unfit = list(rejects)
    for utt, segments in phones.items():
        if utt not in samples:
            continue
        last = max((s.start_s + s.duration_s for s in segments), default=0.0)
        audio_s = int(samples[utt]) / SAMPLE_RATE_HZ
        reason = _misfit(segments, max(last, ends.get(utt, 0.0)), audio_s, options)
        if reason is None:
            kept[utt] = segments
        else:
            unfit.append((utt, reason))
    if not kept and not unfit:
        raise DataError(_nothing(source, phones, samples, data_dir))
    missing = len(samples) - len(kept) - len(unfit)
    logging.info(
        "alignments: %d of %d utterances (%s), %d rejected, %d missing",
        *(len(kept), len(samples), source, len(unfit), missing),
    )
    return Alignments(kind, source, kept, unfit, missing)


def _misfit(
    segments: Sequence[PhoneSegment],
    end_s: float,
    audio_s: float,
    options: AlignmentOptions,
) -> str | None:
    """Why an alignment cannot belong to its sound; ``None`` if it can."""
    for one, two in zip(segments, segments[1:], strict=False):
        if one.start_s + one.duration_s > two.start_s + OVERLAP_S:
            return (
                f"overlap: '{one.phone}' ends at {one.start_s + one.duration_s:.3f} s,"
                f" '{two.phone}' starts at {two.start_s:.3f} s"
            )
    if abs(end_s - audio_s) <= options.tolerance_s:
        return None
    name = "too short" if end_s < audio_s else "too long"
    return (
        f"{name}: the alignment ends at {end_s:.2f} s, the sound at {audio_s:.2f} s; a"
        f" difference of {options.tolerance_s:g} s is allowed (--alignment_tolerance_s)"
    )


def _nothing(
    source: str,
    phones: Mapping[str, object],
    samples: Mapping[str, str],
    data_dir: Path | str,
) -> str:
    theirs = f"'{min(phones)}'" if phones else "none"
    return (
        f"{source}: none of the {len(samples)} utterances of {data_dir} is aligned"
        f" there; first id here '{min(samples, default='')}', there {theirs}: files and"
        " lines are found by utterance id"
    )
