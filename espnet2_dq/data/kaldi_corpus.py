"""Stage 1 for a user's own Kaldi data directories, of any origin and any language.

What others' directories contain is repaired where that is safe and said (unsorted
files), rejected by utterance (inconsistent files, broken sounds), or refused with the
fix (duplicates, no ``utt2spk``). Sounds are read in place; only pipes and segments
are cut into files of their own.
"""

import fnmatch
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet2_dq.data.audio import AudioError
from espnet2_dq.data.ctm import PhoneSegment, read_ctm
from espnet2_dq.data.cut import Source, cut_all, read_segments
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance, read_rule
from espnet2_dq.data.pcm import log_odd_files
from espnet2_dq.data.probing import ProbeCache, probe_all
from espnet2_dq.data.rejects import EXCLUDED, Reject
from espnet2_dq.data.tables import read_table
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.kspon_transcription import PLAIN, TextRejected, clean_plain

UNDETERMINED = "und"
TEXT_RULES = ("none", PLAIN)
# Counted anew at 16 kHz, or about features that are not used.
_NOT_PASSED = ("utt2spk", "utt2lang", "utt2num_samples", "utt2num_frames", "utt2dur")


@dataclass(frozen=True)
class KaldiCorpusOptions:
    """How foreign directories are read.

    Attributes:
        lang: Language of sets without ``utt2lang``; ``""`` is not given.
        langs: Languages to keep; none means all. One alone serves as ``lang``, too.
        rule: ``none`` keeps the transcripts as they are; ``plain`` is for Korean ones:
            marks go, Latin letters become capitals, NFC (``clean_plain``).
        workers: Threads that read headers.
    """

    lang: str = ""
    langs: Sequence[str] = ()
    rule: str = "none"
    workers: int = 8

    def __post_init__(self) -> None:
        """Refuse rules that do not exist."""
        if self.rule not in TEXT_RULES:
            raise ConfigError(
                f"--rule {self.rule}: expected one of {' '.join(TEXT_RULES)}"
            )


def find_sets(root: Path) -> list[str]:
    """The sets of a tree: ``train``, ``dev`` and every ``test*``.

    Raises:
        DataError: ``train`` or ``dev`` is missing.
    """
    present = sorted(
        entry.name
        for entry in (root.iterdir() if root.is_dir() else ())
        if (entry / "wav.scp").is_file()
    )
    missing = [name for name in ("train", "dev") if name not in present]
    if missing:
        raise DataError(
            f"{root}: no {' and no '.join(f'{m}/wav.scp' for m in missing)}; found "
            f"{' '.join(present) or 'no directory with a wav.scp'}. Expected: "
            "train, dev, test*, each with wav.scp, utt2spk and, for several languages, "
            "utt2lang; text in those that serve fine-tuning and scoring"
        )
    tests = [name for name in present if fnmatch.fnmatch(name, "test*")]
    if not tests:
        logging.warning("%s: no test*: nothing will be decoded and scored", root)
    return ["train", "dev", *tests]


def prepare_kaldi(
    root: Path, out: Path, options: KaldiCorpusOptions, cache: ProbeCache
) -> dict[str, KaldiDir]:
    """Read all sets of a tree.

    Args:
        root: Folder with ``train``, ``dev`` and ``test*``; only read.
        out: Folder of stage 1's results; pipes and segments go to ``out/audio``.
        options: How to read.
        cache: Headers of earlier runs.

    Raises:
        DataError: With file, line, value and the fix.
    """
    if out.resolve() == root.resolve():
        raise DataError(f"{out}: --out must not be --data_root; take another folder")
    names = find_sets(root)
    sets = {
        name: read_foreign(root / name, out / "audio" / name, options, cache)
        for name in names
    }
    _warn_shared_speakers(sets)
    return sets


def read_foreign(
    path: Path, audio_out: Path, options: KaldiCorpusOptions, cache: ProbeCache
) -> KaldiDir:
    """Read one foreign directory.

    Raises:
        DataError: A missing or broken file, or no usable utterance.
    """
    sources, rejects = _sources(path)
    speakers = _read_speakers(path)
    text = _read_sorted(path / "text", allow_empty=True)
    langs = _read_languages(path, sources, options)
    tables = {"utt2spk": speakers, "utt2lang": langs}
    rejects += _inconsistent(sources, tables, text)
    usable = {u: s for u, s in sources.items() if all(u in t for t in tables.values())}
    rejects += _other_languages(usable, langs, options.langs)
    if options.rule != "none" and text is not None:
        rejects += _clean_texts(usable, text)
    paths, cut_rejects = cut_all(usable, audio_out)
    rejects += cut_rejects
    headers = probe_all(
        paths.values(), cache, workers=options.workers, label=f"{path.name}: headers"
    )
    log_odd_files(path.name, paths.values())
    utterances = []
    for utt, sound in paths.items():
        header = headers[sound]
        if isinstance(header, AudioError):
            rejects.append((utt, header.reason))
        else:
            words = None if text is None else text.get(utt, "")
            row = (utt, sound, words, speakers[utt], langs[utt], header.num_samples())
            utterances.append(Utterance(*row))
    if not utterances:
        raise DataError(
            f"{path}: 0 of {len(sources)} utterances are usable; first rejects: "
            f"{rejects[:3]}"
        )
    kept = {u.utt for u in utterances}
    directory = KaldiDir.from_utterances(
        utterances, phones=_read_phones(path, kept), rejects=rejects
    )
    directory.extra = _read_extra(path, kept)
    directory.text_rule = _rule_of(path, options)
    return directory


def _sources(path: Path) -> tuple[dict[str, Source], list[Reject]]:
    """Where each utterance's sound is: a file, a pipe, or a part of one of these."""
    recordings = _read_sorted(path / "wav.scp") or {}
    resolved = {name: _resolve(value, path) for name, value in recordings.items()}
    if not (path / "segments").exists():
        return {utt: Source(value) for utt, value in resolved.items()}, []
    sources, rejects = {}, []
    for utt, (recording, start_s, end_s) in read_segments(path / "segments").items():
        if recording in resolved:
            sources[utt] = Source(resolved[recording], start_s, end_s)
        else:
            reason = f"inconsistent: recording '{recording}' is not in wav.scp"
            rejects.append((utt, reason))
    return sources, rejects


def _resolve(value: str, path: Path) -> str:
    """An absolute path; relative ones may start at the set, its parent or the cwd.

    A path that exists nowhere is resolved at the set: its reject then names it.
    """
    if value.endswith("|"):
        return value
    candidates = [base / value for base in (path, path.parent, Path.cwd())]
    found = next((c for c in candidates if c.exists()), candidates[0])
    return str(found.absolute())


def _read_sorted(path: Path, *, allow_empty: bool = False) -> dict[str, str] | None:
    """A table sorted in memory; that it was not sorted is said."""
    if not path.exists():
        return None
    table = read_table(path, allow_empty=allow_empty)
    order = list(table)
    for previous, key in zip(order, order[1:], strict=False):
        if key < previous:
            logging.info(
                "%s:%d: not in LC_ALL=C order ('%s' after '%s'); sorted in the copy",
                path,
                order.index(key) + 1,
                key,
                previous,
            )
            return {key: table[key] for key in sorted(table)}
    return table


def _read_speakers(path: Path) -> dict[str, str]:
    """``utt2spk``, which cannot be guessed."""
    table = _read_sorted(path / "utt2spk")
    if table is None:
        names = "segments" if (path / "segments").exists() else "wav.scp"
        raise DataError(
            f"{path}/utt2spk: missing. One line '<utterance> <speaker>' per utterance; "
            "if the speakers are unknown, call every utterance its own speaker: "
            f"awk '{{print $1, $1}}' {path}/{names} > {path}/utt2spk"
        )
    return table


def _read_languages(
    path: Path, sources: Mapping[str, Source], options: KaldiCorpusOptions
) -> dict[str, str]:
    """``utt2lang``, or one language for all."""
    table = _read_sorted(path / "utt2lang")
    if table is None:
        lang = options.lang or (options.langs[0] if len(options.langs) == 1 else "")
        if not lang:
            lang = UNDETERMINED
            logging.warning(
                "%s: no utt2lang and no --lang: language '%s' (phonemes will need a "
                "real code)",
                path,
                UNDETERMINED,
            )
        return dict.fromkeys(sources, lang)
    for number, (utt, lang) in enumerate(table.items(), start=1):
        if re.search(r"\s|/", lang):
            raise DataError(
                f"{path}/utt2lang:{number}: '{utt}' has {lang!r}; expected one "
                "language code such as 'de'"
            )
    return table


def _inconsistent(
    sources: Mapping[str, Source],
    tables: Mapping[str, Mapping[str, str]],
    text: Mapping[str, str] | None,
) -> list[Reject]:
    """Utterances that some file lacks; a missing transcript alone is no reason."""
    rejects = []
    for name, table in tables.items():
        rejects += [
            (utt, f"inconsistent: in wav.scp, not in {name}")
            for utt in sources
            if utt not in table
        ]
    for name, table in {**tables, "text": text or {}}.items():
        rejects += [
            (utt, f"inconsistent: in {name}, no sound in wav.scp or segments")
            for utt in table
            if utt not in sources
        ]
    if text is not None:
        without = sum(utt not in text for utt in sources)
        if without:
            logging.warning(
                "%d utterances have no line in text: their transcript is empty "
                "(stage 3 drops them unless --keep_unlabelled true)",
                without,
            )
    return rejects


def _other_languages(
    usable: dict[str, Source], langs: Mapping[str, str], wanted: Sequence[str]
) -> list[Reject]:
    """Take utterances of languages that were not asked for out of ``usable``."""
    others = [utt for utt in usable if wanted and langs[utt] not in wanted]
    for utt in others:
        del usable[utt]
    return [(u, f"{EXCLUDED}: language '{langs[u]}' not asked") for u in others]


def _clean_texts(usable: dict[str, Source], text: dict[str, str]) -> list[Reject]:
    """Clean the transcripts in place; those that cannot be leave ``usable``."""
    rejects = []
    for utt in [utt for utt in usable if text.get(utt)]:
        try:
            text[utt] = clean_plain(text[utt])
        except TextRejected as error:
            rejects.append((utt, error.reason))
            del usable[utt]
    return rejects


def _rule_of(path: Path, options: KaldiCorpusOptions) -> str:
    """The line of ``text_rule``: ours, or what the directory brings."""
    return options.rule if options.rule != "none" else read_rule(path / "text_rule")


def _read_phones(path: Path, kept: set[str]) -> dict[str, list[PhoneSegment]]:
    """``phn.ctm`` of the utterances that are kept."""
    if not (path / "phn.ctm").exists():
        return {}
    return {u: p for u, p in read_ctm(path / "phn.ctm").items() if u in kept}


def _read_extra(path: Path, kept: set[str]) -> dict[str, dict[str, str]]:
    """Further ``utt2*`` tables, reduced to the utterances that are kept."""
    extra = {}
    for entry in sorted(path.glob("utt2*")):
        if entry.is_file() and entry.name not in _NOT_PASSED:
            table = read_table(entry, allow_empty=True)
            extra[entry.name] = {u: v for u, v in table.items() if u in kept}
    return extra


def _warn_shared_speakers(sets: Mapping[str, KaldiDir]) -> None:
    """The user's splits stay as they are, but shared speakers are said."""
    train = {u.speaker for u in sets["train"]}
    for name, directory in sets.items():
        shared = {u.speaker for u in directory} & train if name != "train" else set()
        if shared:
            logging.warning(
                "%s: %d speakers are in train, too, first '%s': its error rates say "
                "little about new speakers",
                name,
                len(shared),
                min(shared),
            )
