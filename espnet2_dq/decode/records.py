"""Decoded sets on disk: ``hyp``, ``hyp.jsonl``, ``failed.tsv`` and ``rtf.json``.

``hyp`` is a Kaldi table (utterance, tokens; or the text where tokens are not what is
scored). Utterances that could not be decoded
stand there with no tokens, so that scoring counts all of their tokens as deleted, and
in ``failed.tsv`` with the reason. Nothing here imports torch.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from espnet2_dq.data.tables import read_lines, write_lines, write_table
from espnet2_dq.errors import DataError


@dataclass(frozen=True)
class Record:
    """One line of ``hyp.jsonl``.

    Attributes:
        utt: Utterance id.
        lang: Its language.
        tokens: The best hypothesis.
        score: Its log-probability: of the best path (greedy), of the token sequence
            over all paths (beam).
        start_s: Seconds at which each token begins.
        end_s: Seconds at which it ends.
        token_scores: Log-probability of each token in its surest frame.
        audio_s: Seconds of audio.
        nbest: Further hypotheses, best first, as ``{"tokens", "score"}`` (or "text").
        error: Why there is no hypothesis; None where there is one.
        text: The hypothesis as written text; None: the tokens are all there is.
        scores: Log-probability of the text by head; None: the head cannot emit it.
        words: ``{"word", "start_s", "end_s"}`` of the text's words.
    """

    utt: str
    lang: str
    tokens: list[str]
    score: float
    start_s: list[float]
    end_s: list[float]
    token_scores: list[float]
    audio_s: float
    nbest: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    text: str | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    words: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def failed(cls, utt: str, lang: str, audio_s: float, reason: str) -> "Record":
        """An utterance that could not be decoded."""
        return cls(utt, lang, [], 0.0, [], [], [], audio_s, error=reason)

    @property
    def line(self) -> str:
        """What stands in ``hyp``."""
        return " ".join(self.tokens) if self.text is None else self.text


@dataclass(frozen=True)
class RunStatistics:
    """What ``rtf.json`` holds.

    Attributes:
        options: What was decoded with what; the jobs of one run must agree on it.
        utterances: How many, failed ones included.
        failed: How many failed.
        audio_s: Seconds of audio.
        wall_s: Seconds of decoding, summed over jobs; loading the model excluded.
        parts_s: Its parts by name, where they were measured apart.
    """

    options: dict[str, Any]
    utterances: int
    failed: int
    audio_s: float
    wall_s: float
    parts_s: dict[str, float] = field(default_factory=dict)

    @property
    def rtf(self) -> float:
        """Seconds of decoding per second of audio."""
        return self.wall_s / self.audio_s if self.audio_s > 0 else 0.0


def job_dir(out: Path, job: int, num_jobs: int) -> Path:
    """Where job ``job`` of ``num_jobs`` writes; a single job writes the result."""
    return out if num_jobs == 1 else out / "jobs" / f"{job}of{num_jobs}"


def write_records(
    out: Path, records: Iterable[Record], statistics: RunStatistics
) -> None:
    """Write all files of a decoded set, sorted by utterance."""
    rows = sorted(records, key=lambda record: record.utt)
    write_lines(
        out / "hyp.jsonl", (json.dumps(_compact(r), ensure_ascii=False) for r in rows)
    )
    write_lines(
        out / "failed.tsv", (f"{r.utt}\t{r.error}" for r in rows if r.error is not None)
    )
    summary = {**asdict(statistics), "rtf": round(statistics.rtf, 6)}
    if not statistics.parts_s:
        del summary["parts_s"]
    write_lines(out / "rtf.json", [json.dumps(summary, indent=1, ensure_ascii=False)])
    # last: who finds `hyp` finds all
    write_table(out / "hyp", {r.utt: r.line for r in rows})


def _compact(record: Record) -> dict[str, Any]:
    """Without what is empty by default, and with a sensible number of digits."""
    row = asdict(record)
    for name in ("nbest", "error", "scores", "words"):
        if not row[name]:
            del row[name]
    if row["text"] is None:
        del row["text"]
    row["score"] = finite(row["score"])
    row["audio_s"] = round(row["audio_s"], 4)
    for name in ("start_s", "end_s", "token_scores"):
        row[name] = [round(value, 4) for value in row[name]]
    if record.scores:  # JSON has no -inf
        row["scores"] = {head: finite(score) for head, score in record.scores.items()}
    return row


def finite(score: float | None) -> float | None:
    """A score for JSON, which has no ``-inf``: None stands for it."""
    return None if score is None or not math.isfinite(score) else round(score, 4)


def read_records(path: Path) -> list[Record]:
    """Read ``hyp.jsonl``.

    Raises:
        DataError: Missing, or a line that is no record.
    """
    records = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            records.append(Record(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: not a decoded utterance ({error}); decode again"
            ) from error
    return records


def read_statistics(path: Path) -> RunStatistics:
    """Read ``rtf.json``.

    Raises:
        DataError: Missing, or not written by ``write_records``.
    """
    text = "\n".join(read_lines(path))
    try:
        values = json.loads(text)
        values.pop("rtf")
        return RunStatistics(**values)
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({error}); decode again") from error


def merge_jobs(out: Path, num_jobs: int, utterances: Sequence[str]) -> RunStatistics:
    """Put the results of all jobs together in ``out``.

    Args:
        out: Output directory of the run.
        num_jobs: Number of jobs it was split into.
        utterances: All utterances that were to be decoded.

    Raises:
        DataError: A job is missing, ran with other options, or an utterance is
            missing or occurs twice.
    """
    records: dict[str, Record] = {}
    parts: list[RunStatistics] = []
    for job in range(1, num_jobs + 1):
        folder = job_dir(out, job, num_jobs)
        parts.append(read_statistics(folder / "rtf.json"))
        if parts[-1].options != parts[0].options:
            changed = _changed(parts[0].options, parts[-1].options)
            raise DataError(
                f"{folder}: decoded with {changed}, job 1 with other values; decode "
                "all jobs again"
            )
        for record in read_records(folder / "hyp.jsonl"):
            if record.utt in records:
                raise DataError(f"{folder}: '{record.utt}' was decoded by two jobs")
            records[record.utt] = record
    _check_complete(out, records, utterances)
    statistics = RunStatistics(
        parts[0].options,
        len(records),
        sum(part.failed for part in parts),
        sum(part.audio_s for part in parts),
        sum(part.wall_s for part in parts),
        {
            name: round(sum(part.parts_s.get(name, 0.0) for part in parts), 3)
            for name in parts[0].parts_s
        },
    )
    write_records(out, records.values(), statistics)
    return statistics


def _changed(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The options whose values differ, with the second's values."""
    keys = sorted(first.keys() | other.keys())
    return ", ".join(
        f"{key} = {other.get(key)!r}"
        for key in keys
        if first.get(key) != other.get(key)
    )


def _check_complete(
    out: Path, records: Mapping[str, Record], utterances: Sequence[str]
) -> None:
    missing = sorted(set(utterances) - records.keys())
    extra = sorted(records.keys() - set(utterances))
    if missing or extra:
        raise DataError(
            f"{out}: {len(missing)} utterances were not decoded, {len(extra)} are not "
            f"in the data directory (first: {(missing + extra)[0]}); run all jobs with "
            "the same --data_dir and --num_jobs"
        )
