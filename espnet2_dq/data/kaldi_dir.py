"""Kaldi data directories: typed in memory, sorted and atomic on disk.

Files: ``wav.scp utt2spk spk2utt utt2lang utt2num_samples`` always, ``text``,
``phn.ctm`` and ``reject.tsv`` where there is something to say; ``text_rule``, one line,
where a rule made the transcripts from those of the corpus. Files of other names
that hold one line per utterance (``EXTRA_FILES``) travel along when a directory is
filtered.
"""

import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.data.ctm import (
    PhoneSegment,
    read_ctm,
    read_rejects,
    write_ctm,
    write_rejects,
)
from espnet2_dq.data.tables import read_lines, read_table, write_lines, write_table
from espnet2_dq.errors import DataError

REQUIRED_FILES = ("wav.scp", "utt2spk", "utt2lang", "utt2num_samples")
OPTIONAL_FILES = ("text", "phn.ctm", "reject.tsv", "text_rule")
KNOWN_FILES = (*REQUIRED_FILES, *OPTIONAL_FILES, "spk2utt")
EXTRA_FILES = (
    "utt2*", "phn", "char", "bpe", "grapheme", "syllable", "*.int", "text_*"
)  # fmt: skip


@dataclass(frozen=True)
class Utterance:
    """One utterance; ``num_samples`` counts 16 kHz mono samples."""

    utt: str
    path: str
    text: str | None
    speaker: str
    lang: str
    num_samples: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / SAMPLE_RATE_HZ


@dataclass
class KaldiDir:
    """A data directory; every utterance has all of the required fields.

    Attributes:
        utterances: By utterance id.
        phones: Exact alignments by utterance id; may lack utterances.
        rejects: (utterance, reason) of what was left out.
        extra: Further files: name -> utterance id -> value.
        text_rule: Which rule made ``text`` from the corpus' transcriptions, and its
            settings (error rates under different rules do not compare, trap T22);
            ``""`` where the transcripts are the corpus' own.
    """

    utterances: dict[str, Utterance]
    phones: dict[str, list[PhoneSegment]] = field(default_factory=dict)
    rejects: list[tuple[str, str]] = field(default_factory=list)
    extra: dict[str, dict[str, str]] = field(default_factory=dict)
    text_rule: str = ""

    def __iter__(self) -> Iterator[Utterance]:
        """Utterances in LC_ALL=C order of their ids."""
        return (self.utterances[utt] for utt in sorted(self.utterances))

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

    @property
    def has_text(self) -> bool:
        """Whether every utterance has a transcript."""
        return len(self) > 0 and all(u.text is not None for u in self)

    @property
    def languages(self) -> list[str]:
        """The language codes present, sorted."""
        return sorted({u.lang for u in self.utterances.values()})

    def hours(self) -> dict[str, float]:
        """Hours of audio per language, by sorted language code."""
        samples = dict.fromkeys(self.languages, 0)
        for utterance in self.utterances.values():
            samples[utterance.lang] += utterance.num_samples
        return {lang: n / SAMPLE_RATE_HZ / 3600 for lang, n in samples.items()}

    def subset(self, utts: Collection[str]) -> "KaldiDir":
        """Keep only ``utts``; alignments and extra files follow; rejects stay behind.

        Raises:
            DataError: An id that this directory does not hold.
        """
        unknown = [utt for utt in utts if utt not in self.utterances]
        if unknown:
            raise DataError(
                f"{len(unknown)} unknown utterances, first '{unknown[0]}'; "
                "take ids from the first column of wav.scp"
            )
        keep = set(utts)
        return KaldiDir(
            {u: x for u, x in self.utterances.items() if u in keep},
            {u: x for u, x in self.phones.items() if u in keep},
            [],
            {
                name: {u: x for u, x in table.items() if u in keep}
                for name, table in self.extra.items()
            },
            self.text_rule,
        )

    @classmethod
    def from_utterances(
        cls,
        utterances: Iterable[Utterance],
        *,
        phones: Mapping[str, Sequence[PhoneSegment]] | None = None,
        rejects: Iterable[tuple[str, str]] = (),
    ) -> "KaldiDir":
        """Build a directory in memory.

        Raises:
            DataError: Two utterances with one id.
        """
        table: dict[str, Utterance] = {}
        for utterance in utterances:
            if utterance.utt in table:
                raise DataError(
                    f"utterance id '{utterance.utt}' occurs twice "
                    f"({table[utterance.utt].path} and {utterance.path})"
                )
            table[utterance.utt] = utterance
        return cls(
            table, {u: list(p) for u, p in (phones or {}).items()}, list(rejects)
        )

    @classmethod
    def read(cls, path: Path | str) -> "KaldiDir":
        """Read and validate a directory that an earlier stage wrote.

        Raises:
            DataError: With file, line number, the value and the fix.
        """
        path = Path(path)
        tables = _read_tables(path)
        text = tables.get("text")
        _check_spk2utt(path, tables["utt2spk"])
        samples = _read_counts(path / "utt2num_samples", tables["utt2num_samples"])
        utterances = {
            utt: Utterance(
                utt,
                sound,
                None if text is None else text[utt],
                tables["utt2spk"][utt],
                tables["utt2lang"][utt],
                samples[utt],
            )
            for utt, sound in tables["wav.scp"].items()
        }
        return cls(
            utterances,
            _read_phones(path, utterances),
            read_rejects(path / "reject.tsv"),
            {name: _read_extra(path, name, utterances) for name in extra_files(path)},
            read_rule(path / "text_rule"),
        )

    def write(self, path: Path | str) -> None:
        """Write all files, sorted; files of an earlier run that no longer apply go.

        Raises:
            DataError: Only some utterances have a transcript, or bad ids or values.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        texts = {u.utt: u.text for u in self if u.text is not None}
        if texts and len(texts) < len(self):
            missing = next(u.utt for u in self if u.text is None)
            raise DataError(
                f"{path}: {len(texts)} of {len(self)} utterances have a transcript, "
                f"'{missing}' has none; give all or none"
            )
        speakers: dict[str, list[str]] = {}
        for utterance in self:
            speakers.setdefault(utterance.speaker, []).append(utterance.utt)
        tables: dict[str, dict[str, str]] = {
            **self.extra,
            "utt2spk": {u.utt: u.speaker for u in self},
            "spk2utt": {s: " ".join(utts) for s, utts in speakers.items()},
            "utt2lang": {u.utt: u.lang for u in self},
            "utt2num_samples": {u.utt: str(u.num_samples) for u in self},
            "wav.scp": {u.utt: u.path for u in self},
        }
        if texts:
            tables["text"] = texts
        for name, table in tables.items():
            write_table(path / name, table)
        write_rejects(path / "reject.tsv", self.rejects)
        if self.phones:
            write_ctm(path / "phn.ctm", self.phones)
        for name in {*extra_files(path), "text", "phn.ctm"} - tables.keys():
            if name != "phn.ctm" or not self.phones:
                (path / name).unlink(missing_ok=True)
        _write_rule(path / "text_rule", self.text_rule)


def extra_files(path: Path) -> list[str]:
    """Names of the further per-utterance files of a directory, sorted."""
    return sorted(
        entry.name
        for entry in path.iterdir()
        if entry.is_file()
        and entry.name not in KNOWN_FILES
        and any(fnmatch.fnmatch(entry.name, pattern) for pattern in EXTRA_FILES)
    )


def _read_tables(path: Path) -> dict[str, dict[str, str]]:
    """The required tables, and ``text`` where present, all with the same keys."""
    tables: dict[str, dict[str, str]] = {}
    for name in (*REQUIRED_FILES, "text"):
        if not (path / name).exists():
            if name == "text":
                continue
            raise DataError(
                f"{path}: no file '{name}'; the data stages (1 to 3) write "
                f"{' '.join(REQUIRED_FILES)}: run them again"
            )
        tables[name] = read_table(
            path / name, allow_empty=name == "text", require_sorted=True
        )
        _check_same_keys(path, name, tables["wav.scp"], tables[name])
    return tables


def _check_same_keys(
    path: Path, name: str, expected: Mapping[str, str], table: Mapping[str, str]
) -> None:
    """Both files must name the same utterances."""
    for missing, where, other in (
        (expected.keys() - table.keys(), name, "wav.scp"),
        (table.keys() - expected.keys(), "wav.scp", name),
    ):
        if missing:
            raise DataError(
                f"{path / where}: {len(missing)} utterances of {other} are missing, "
                f"first '{min(missing)}'; add them to {where} or remove them from "
                f"{other}"
            )


def _check_spk2utt(path: Path, utt2spk: Mapping[str, str]) -> None:
    """``spk2utt``, where present, must be ``utt2spk`` turned round."""
    name = path / "spk2utt"
    if not name.exists():
        return
    turned = {
        utt: speaker
        for speaker, utts in read_table(name, require_sorted=True).items()
        for utt in utts.split()
    }
    for utt in sorted(turned.keys() | utt2spk.keys()):
        if turned.get(utt) != utt2spk.get(utt):
            raise DataError(
                f"{name}: '{utt}' belongs to {turned.get(utt)!r} here and to "
                f"{utt2spk.get(utt)!r} in utt2spk; delete spk2utt, it is made again"
            )


def _read_counts(path: Path, table: Mapping[str, str]) -> dict[str, int]:
    """Sample counts as integers."""
    counts = {}
    for number, (utt, value) in enumerate(table.items(), start=1):
        if not value.isascii() or not value.isdigit() or int(value) == 0:
            raise DataError(
                f"{path}:{number}: '{utt}' has {value!r}; "
                "expected a positive number of 16 kHz samples"
            )
        counts[utt] = int(value)
    return counts


def read_rule(path: Path) -> str:
    """The one line of ``text_rule``; a missing file means none."""
    if not path.exists():
        return ""
    lines = read_lines(path)
    if len(lines) != 1 or not lines[0]:
        raise DataError(
            f"{path}: {len(lines)} lines; expected one, as 'orthographic'; run the "
            "stage that makes it again"
        )
    return lines[0]


def _write_rule(path: Path, rule: str) -> None:
    """Write ``text_rule``; no rule, no file."""
    if rule:
        write_lines(path, [rule])
    else:
        path.unlink(missing_ok=True)


def _read_phones(
    path: Path, utterances: Mapping[str, Utterance]
) -> dict[str, list[PhoneSegment]]:
    """``phn.ctm`` where present; it may lack utterances but not name others."""
    if not (path / "phn.ctm").exists():
        return {}
    phones = read_ctm(path / "phn.ctm")
    _check_known(path / "phn.ctm", phones.keys(), utterances)
    return phones


def _check_known(
    path: Path, utts: Collection[str], utterances: Mapping[str, Utterance]
) -> None:
    """Refuse ids that ``wav.scp`` does not hold."""
    unknown = [utt for utt in utts if utt not in utterances]
    if unknown:
        raise DataError(
            f"{path}: {len(unknown)} utterances are not in wav.scp, first "
            f"'{min(unknown)}'; delete {path.name} and run the stage that makes it "
            "again"
        )


def _read_extra(
    path: Path, name: str, utterances: Mapping[str, Utterance]
) -> dict[str, str]:
    """A further per-utterance file; lines of other utterances are refused."""
    table = read_table(path / name, allow_empty=True)
    _check_known(path / name, table.keys(), utterances)
    return table
