"""Stage 2: every sound file of a set is looked at before anything is computed."""

import json
import logging
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet2_dq.data.audio import SAMPLE_RATE_HZ, AudioError, AudioInfo, decode
from espnet2_dq.data.ctm import write_rejects
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.probing import ProbeCache, map_threads, probe_all
from espnet2_dq.data.rejects import Reject, count_kinds, require_few_rejects
from espnet2_dq.data.tables import write_lines


@dataclass(frozen=True)
class CheckOptions:
    """What is checked.

    Attributes:
        decode_share: Share of the files that are decoded, chosen by utterance id.
        shortest_s: Below this no frame exists (400 samples of 16 kHz).
        longest_s: Above this a file is hardly one utterance.
        max_reject_ratio: Share of faulty utterances above which the stage fails.
        workers: Threads that read files.
    """

    decode_share: float = 0.02
    shortest_s: float = 0.025
    longest_s: float = 600.0
    max_reject_ratio: float = 0.01
    workers: int = 8


@dataclass
class CheckReport:
    """What the check of one set found."""

    name: str
    utterances: int
    hours: dict[str, float]
    speakers: dict[str, int]
    rejects: list[Reject]
    earlier_rejects: dict[str, int]
    decoded: int
    rates: dict[int, int] = field(default_factory=dict)
    channels: dict[int, int] = field(default_factory=dict)
    empty_transcripts: int = 0
    has_text: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``summary.json``; rejects as counts by kind."""
        return {**vars(self), "rejects": count_kinds(self.rejects)}


def check_set(
    directory: KaldiDir, name: str, options: CheckOptions, cache: ProbeCache
) -> CheckReport:
    """Probe every file of a set and decode a share of them."""
    utterances = list(directory)
    headers = probe_all(
        (u.path for u in utterances),
        cache,
        workers=options.workers,
        label=f"{name}: headers",
    )
    broken: dict[str, str] = {}
    for utterance in utterances:
        reason = _header_fault(utterance, headers[utterance.path], options)
        if reason is not None:
            broken[utterance.utt] = reason
    sample = [
        u
        for u in utterances
        if u.utt not in broken and _in_sample(u.utt, options.decode_share)
    ]
    reasons = map_threads(
        _decode_fault, sample, workers=options.workers, label=f"{name}: decoding"
    )
    for utterance, reason in zip(sample, reasons, strict=True):
        if reason is not None:
            broken[utterance.utt] = reason
    good = [x for x in headers.values() if isinstance(x, AudioInfo)]
    return CheckReport(
        name=name,
        utterances=len(utterances),
        hours=directory.hours(),
        speakers=_speakers(utterances),
        rejects=sorted(broken.items()),
        earlier_rejects=count_kinds(directory.rejects),
        decoded=len(sample),
        rates=dict(Counter(info.rate for info in good)),
        channels=dict(Counter(info.channels for info in good)),
        empty_transcripts=sum(u.text is not None and not u.text for u in utterances),
        has_text=directory.has_text,
    )


def _header_fault(
    utterance: Utterance, header: AudioInfo | AudioError, options: CheckOptions
) -> str | None:
    """What a header tells against an utterance."""
    if isinstance(header, AudioError):
        return header.reason
    samples, seconds = header.num_samples(), header.duration_s
    if seconds < options.shortest_s:
        return f"too short: {seconds:.3f} s, minimum {options.shortest_s} s"
    if seconds > options.longest_s:
        return f"too long: {seconds:.0f} s, maximum {options.longest_s:.0f} s"
    if samples != utterance.num_samples:
        return (
            f"changed: {samples} samples now, {utterance.num_samples} in "
            "utt2num_samples; run stage 1 again"
        )
    return None


def _decode_fault(utterance: Utterance) -> str | None:
    """What decoding tells against an utterance."""
    try:
        samples, _ = decode(utterance.path)
    except AudioError as error:
        return error.reason
    # Per-utterance normalisation would divide by zero.
    if samples.min() == samples.max():
        return "silent: all samples have one value"
    return None


def _in_sample(utt: str, share: float) -> bool:
    """A choice that depends on the id only, hence the same in every run."""
    return zlib.crc32(utt.encode()) < share * 2**32


def _speakers(utterances: list[Utterance]) -> dict[str, int]:
    """Number of speakers per language."""
    pairs = {(u.lang, u.speaker) for u in utterances}
    return dict(sorted(Counter(lang for lang, _ in pairs).items()))


def log_report(report: CheckReport) -> None:
    """Say what was found, and what will be done about it."""
    logging.info(
        "%s: %d utterances, %.2f h, %d languages; %d decoded, %d rejected %s",
        report.name,
        report.utterances,
        sum(report.hours.values()),
        len(report.hours),
        report.decoded,
        len(report.rejects),
        count_kinds(report.rejects) or "",
    )
    for rate, count in sorted(report.rates.items()):
        if rate != SAMPLE_RATE_HZ:
            logging.info(
                "%s: %d files at %d Hz: resampled to %d Hz when read",
                report.name,
                count,
                rate,
                SAMPLE_RATE_HZ,
            )
    for channels, count in sorted(report.channels.items()):
        if channels > 1:
            logging.info(
                "%s: %d files with %d channels: averaged to mono when read",
                report.name,
                count,
                channels,
            )
    if report.empty_transcripts:
        logging.info(
            "%s: %d empty transcripts; stage 3 decides about them",
            report.name,
            report.empty_transcripts,
        )
    if not report.has_text:
        logging.info("%s: no transcripts: serves pretraining only", report.name)


def warn_one_language(report: CheckReport) -> None:
    """A training set in one language has nothing to balance or to tell apart."""
    if len(report.hours) == 1:
        logging.warning(
            "%s: one language only ('%s'): language balance changes nothing, and a "
            "language quantizer has no languages to separate; switch it off in the "
            "training configuration",
            report.name,
            next(iter(report.hours)),
        )


def write_report(report: CheckReport, folder: Path, max_reject_ratio: float) -> None:
    """Write ``reject.tsv`` and ``summary.json``, then stop if too much is faulty.

    Raises:
        DataError: More than ``max_reject_ratio`` of the utterances are rejected.
    """
    write_rejects(folder / "reject.tsv", report.rejects)
    text = json.dumps(report.to_json(), indent=1, ensure_ascii=False, sort_keys=True)
    write_lines(folder / "summary.json", [text])
    require_few_rejects(
        report.name,
        report.utterances - len(report.rejects),
        report.rejects,
        max_reject_ratio,
        str(folder / "reject.tsv"),
    )
