"""Side files of a data directory: aligned phones (``phn.ctm``) and rejects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_dq.data.tables import read_lines, write_lines
from espnet2_dq.errors import DataError


@dataclass(frozen=True)
class PhoneSegment:
    """One aligned phone of an utterance, times in seconds."""

    start_s: float
    duration_s: float
    phone: str


def read_ctm(path: Path | str) -> dict[str, list[PhoneSegment]]:
    """Read ``utt 1 start_s dur_s phone`` lines, grouped by utterance in time order.

    Raises:
        DataError: A line of another shape, or a negative or non-finite time.
    """
    phones: dict[str, list[PhoneSegment]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        columns = line.split()
        try:
            utt, _, start, duration, phone = columns
            segment = PhoneSegment(float(start), float(duration), phone)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: {line[:80]!r} is not 'utt 1 start_s dur_s phone'"
            ) from error
        if not (0 <= segment.start_s < 1e9 and 0 <= segment.duration_s < 1e9):
            raise DataError(f"{path}:{number}: times {start} {duration} must be >= 0 s")
        phones.setdefault(utt, []).append(segment)
    for segments in phones.values():
        segments.sort(key=lambda segment: segment.start_s)
    return phones


def write_ctm(path: Path | str, phones: Mapping[str, Sequence[PhoneSegment]]) -> None:
    """Write alignments sorted by utterance and time; 1e-7 s resolves any 16 kHz tick.

    Raises:
        DataError: A phone that is empty or holds a blank.
    """
    lines = []
    for utt in sorted(phones):
        for segment in sorted(phones[utt], key=lambda segment: segment.start_s):
            if len(segment.phone.split()) != 1:
                raise DataError(f"{path}: '{utt}': {segment.phone!r} is not one phone")
            times = f"{segment.start_s:.7f} {segment.duration_s:.7f}"
            lines.append(f"{utt} 1 {times} {segment.phone}")
    write_lines(path, lines)


def read_rejects(path: Path | str) -> list[tuple[str, str]]:
    """Read ``utt TAB reason`` lines; a missing file means no rejects."""
    if not Path(path).exists():
        return []
    rejects = []
    for line in read_lines(path):
        utt, _, reason = line.partition("\t")
        rejects.append((utt, reason))
    return rejects


def write_rejects(path: Path | str, rejects: Iterable[tuple[str, str]]) -> None:
    """Write ``utt TAB reason`` lines, sorted, each once; reasons stay on one line."""
    rows = {(utt, " ".join(reason.split())) for utt, reason in rejects}
    write_lines(path, (f"{utt}\t{reason}" for utt, reason in sorted(rows)))
