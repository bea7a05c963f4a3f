"""Stage 1 for CommonVoice: splits of a local release as Kaldi data directories.

Utterance ids are ``<lang>-<client16>-<clip>`` and speakers ``<lang>-<client16>``,
with 16 hexadecimal digits of the client id (64 bits: no two clients meet; 8 digits
would merge some of 1e5). Equal widths make the ids sort as their speakers do.
"""

import functools
import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from espnet2_dq.data.audio import AudioError, AudioInfo
from espnet2_dq.data.commonvoice_release import (
    TABLES,
    Clip,
    find_release,
    language_folder,
    read_clip_list,
    read_clips,
)
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.probing import ProbeCache, probe_all
from espnet2_dq.data.rejects import EXCLUDED, Reject
from espnet2_dq.errors import DataError

SPLITS = ("train", "dev", "test")
LISTED = "list"
TRAIN_SOURCES = ("train", "validated", "other", "invalidated")


@dataclass(frozen=True)
class CommonVoiceOptions:
    """What becomes of a release.

    Attributes:
        langs: Language codes, in any order.
        train_sources: Tables that feed ``train``, the first wins a clip.
        lists: Split -> path pattern with ``{lang}``. dev and test then hold the clips
            listed there, from whichever table knows them; those of train join it
            with ``utt2source`` "list".
        train_only_listed: ``train`` holds the listed clips only.
        allow_overlap: Keep speakers and prompts that two splits share.
        workers: Threads that read headers.
    """

    langs: Sequence[str]
    train_sources: Sequence[str] = ("train",)
    lists: Mapping[str, str] = field(default_factory=dict)
    train_only_listed: bool = False
    allow_overlap: bool = False
    workers: int = 8

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if not self.langs:
            raise DataError("--langs: no language given; for example --langs 'es fr'")
        unknown = [s for s in self.train_sources if s not in TRAIN_SOURCES]
        if unknown or not self.train_sources:
            raise DataError(
                f"--train_sources: {' '.join(unknown) or 'nothing'} is not among "
                f"{' '.join(TRAIN_SOURCES)}"
            )
        if self.train_only_listed and "train" not in self.lists:
            raise DataError("--train_only_listed true needs a list of train")


@dataclass
class _Split:
    """The clips of one split while they are being chosen."""

    clips: list[Clip] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def prepare_commonvoice(
    corpus: Path, options: CommonVoiceOptions, cache: ProbeCache
) -> dict[str, KaldiDir]:
    """Read a release and return its splits; sounds stay where they are.

    Raises:
        DataError: No release, an unknown language, a table without needed columns,
            a list of which no clip is here, or a split without an utterance.
    """
    release = find_release(corpus, options.langs)
    logging.info("CommonVoice: %s", release)
    splits = {name: _Split() for name in SPLITS}
    for lang in dict.fromkeys(options.langs):
        choose_clips(language_folder(release, lang), lang, options, splits)
    separate(splits, options.allow_overlap)
    return {
        name: _to_kaldi(name, split, options, cache) for name, split in splits.items()
    }


class _Tables:
    """The tables of one language, each read at most once."""

    def __init__(self, folder: Path, lang: str) -> None:
        self.folder, self.lang = folder, lang
        self._read: dict[str, tuple[list[Clip], list[Reject]]] = {}

    def read(self, name: str) -> tuple[list[Clip], list[Reject]]:
        """Clips and unreadable lines of ``<name>.tsv``."""
        if name not in self._read:
            self._read[name] = read_clips(self.folder / f"{name}.tsv", self.lang)
        return self._read[name]

    @functools.cached_property
    def known(self) -> dict[str, Clip]:
        """Every clip of the language by id, from the first table that has it."""
        clips: dict[str, Clip] = {}
        for name in TABLES:
            if (self.folder / f"{name}.tsv").exists():
                for clip in self.read(name)[0]:
                    clips.setdefault(clip.clip, clip)
        return clips


def choose_clips(
    folder: Path, lang: str, options: CommonVoiceOptions, splits: Mapping[str, _Split]
) -> None:
    """Add one language to ``splits``; a clip goes to test, else dev, else train."""
    tables = _Tables(folder, lang)
    taken: set[str] = set()
    for name in reversed(SPLITS):
        split, rows = splits[name], []
        sources: Sequence[str] = (name,)
        if name == "train":
            sources = () if options.train_only_listed else options.train_sources
        if name in options.lists:
            rows = _listed(tables, options.lists[name], name, split)
            sources = sources if name == "train" else ()
        for source in sources:
            clips, bad = tables.read(source)
            rows += clips
            split.rejects += bad
        _add_once(rows, taken, split, name)
    counts = {n: sum(c.lang == lang for c in s.clips) for n, s in splits.items()}
    logging.info("%s: %s", lang, ", ".join(f"{n} {k}" for n, k in counts.items()))


def _add_once(rows: Iterable[Clip], taken: set[str], split: _Split, name: str) -> None:
    """Add clips that no split has yet; ``taken`` (this language's clip ids) grows."""
    mine: dict[str, str] = {}
    for clip in rows:
        if clip.clip not in taken:
            taken.add(clip.clip)
            mine[clip.clip] = clip.source
            split.clips.append(clip)
            continue
        if mine.get(clip.clip) == clip.source:
            reason = f"duplicate id: again in {clip.source}.tsv"
        elif clip.clip in mine or (name == "train" and clip.source != "train"):
            continue  # tables such as validated repeat clips by design
        else:
            reason = f"{EXCLUDED}: the clip is in another split, too"
        split.rejects.append((utterance_id(clip), reason))


def _listed(tables: _Tables, pattern: str, name: str, split: _Split) -> list[Clip]:
    """The clips of a user's list; ids that no table knows are counted and listed."""
    lang, known = tables.lang, tables.known
    path = Path(pattern.replace("{lang}", lang))
    wanted = read_clip_list(path)
    missing = [clip for clip in wanted if clip not in known]
    found = len(wanted) - len(missing)
    logging.info(
        "%s: %s: %d of %d clips of the list are in this release (%.1f%%)%s",
        path,
        name,
        found,
        len(wanted),
        100 * found / len(wanted),
        f"; missing ones are in {name}/reject.tsv" if missing else "",
    )
    if not found:
        raise DataError(
            f"{path}: none of its {len(wanted)} clips is in {tables.folder}, first "
            f"'{wanted[0]}'; the list belongs to another language or release"
        )
    reason = f"{EXCLUDED}: listed in {path.name}, not in this release"
    split.rejects += [(f"{lang}-{clip}", reason) for clip in missing]
    return [replace(known[c], source=LISTED) for c in wanted if c in known]


def separate(splits: Mapping[str, _Split], allow_overlap: bool) -> None:
    """Drop from train what dev or test share with it, and from dev what test shares.

    A speaker is a client id in any language; a prompt is compared without case,
    punctuation and blanks. What is shared is counted in any case.
    """
    speakers: dict[str, str] = {}
    prompts: dict[tuple[str, str], str] = {}
    for name in reversed(SPLITS):
        split, kept = splits[name], []
        counts: Counter[str] = Counter()
        for clip in split.clips:
            prompt = (clip.lang, prompt_key(clip.sentence))
            if speakers.get(clip.client, name) != name:
                what = f"speaker also in {speakers[clip.client]}"
            elif prompt[1] and prompts.get(prompt, name) != name:
                what = f"prompt also in {prompts[prompt]}"
            else:
                kept.append(clip)
                continue
            counts[what] += 1
            if not allow_overlap:
                split.rejects.append((utterance_id(clip), f"{EXCLUDED}: {what}"))
        verb = "kept (--allow_overlap)" if allow_overlap else "dropped"
        for what, count in sorted(counts.items()):
            logging.info("%s: %d clips %s: %s", name, count, verb, what)
        if not allow_overlap:
            split.clips = kept
        for clip in split.clips:
            speakers.setdefault(clip.client, name)
            prompts.setdefault((clip.lang, prompt_key(clip.sentence)), name)


def prompt_key(sentence: str) -> str:
    """A prompt without case, punctuation, symbols and blanks.

    >>> prompt_key("Hello, World!") == prompt_key("hello world")
    True
    """
    folded = unicodedata.normalize("NFKC", sentence).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] not in "PSZC")


def speaker_id(clip: Clip) -> str:
    """``<lang>-<16 digits>``; client ids of another form are hashed."""
    client = clip.client
    if not re.fullmatch(r"[0-9a-f]{16,}", client):
        client = hashlib.sha256(client.encode()).hexdigest()
    return f"{clip.lang}-{client[:16]}"


def utterance_id(clip: Clip) -> str:
    """``<speaker>-<clip>``."""
    return f"{speaker_id(clip)}-{clip.clip}"


def _to_kaldi(
    name: str, split: _Split, options: CommonVoiceOptions, cache: ProbeCache
) -> KaldiDir:
    """Probe the clips of a split and turn them into utterances."""
    headers = probe_all(
        (clip.path for clip in split.clips),
        cache,
        workers=options.workers,
        label=f"{name}: headers",
    )
    rejects = list(split.rejects)
    utterances, sources = [], {}
    for clip in split.clips:
        utt, header = utterance_id(clip), headers[clip.path]
        if isinstance(header, AudioError):
            rejects.append((utt, header.reason))
        elif not clip.sentence:
            rejects.append((utt, "empty transcript: no text in the table"))
        else:
            utterances.append(_utterance(clip, header))
            sources[utt] = clip.source
    if not utterances:
        raise DataError(
            f"{name}: 0 of {len(split.clips)} utterances are usable, for "
            f"{' '.join(options.langs)}; first rejects: {rejects[:3]}"
        )
    directory = KaldiDir.from_utterances(utterances, rejects=rejects)
    directory.extra["utt2source"] = sources
    return directory


def _utterance(clip: Clip, header: AudioInfo) -> Utterance:
    """The utterance of a clip whose header is good."""
    return Utterance(
        utterance_id(clip),
        clip.path,
        clip.sentence,
        speaker_id(clip),
        clip.lang,
        header.num_samples(),
    )
