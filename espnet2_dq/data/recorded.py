"""Recorded human prompts: the Asterisk core sounds, where they can be had.

Debian packages hold sound (``asterisk-core-sounds-XX-g722``, 16 kHz) and transcripts
(``asterisk-core-sounds-XX``) of five languages, about 25 minutes each, under
CC-BY-SA-3.0 and CC-BY-3.0. ``apt-get download`` and ``dpkg -x`` need no root. One
voice per language, and English and Spanish share theirs: this corpus cannot tell a
language code from a speaker code; the synthetic one can.
"""

import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from espnet2_dq.data.audio import SAMPLE_RATE_HZ
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.prompts import clashing_ids, parse_prompts
from espnet2_dq.data.sentences import SPLITS, split_of
from espnet2_dq.errors import DataError

RECORDED_LANGUAGES = ("en", "es", "fr", "it", "ru")
RECORDED_DIR_VARIABLE = "DQ_RECORDED_DIR"
_BIT_RATE = 64000
_MIN_DURATION_S = 0.3
_TIMEOUT_S = 300


class RecordedUnavailableError(DataError):
    """No recorded prompts here; the message says why."""


@dataclass(frozen=True)
class RecordedSource:
    """Unpacked prompts of one language: transcript file and folder of sounds."""

    lang: str
    transcripts: Path
    sounds: Path


def obtain_recorded(
    langs: Sequence[str], work: Path, recorded_dir: str = ""
) -> list[RecordedSource]:
    """Find or download the prompts of those ``langs`` that exist.

    Args:
        langs: Languages of the corpus; others than the five recorded are passed over.
        work: Folder for downloads and unpacked files.
        recorded_dir: Local copy (packages, or their unpacked files, at any depth);
            without it the environment variable ``DQ_RECORDED_DIR``, then ``apt-get``.

    Raises:
        RecordedUnavailableError: Nothing was found; why, and what to do.
    """
    wanted = [lang for lang in langs if lang in RECORDED_LANGUAGES]
    if not wanted:
        raise RecordedUnavailableError(
            f"recorded prompts exist for {' '.join(RECORDED_LANGUAGES)} only"
        )
    local = recorded_dir or os.environ.get(RECORDED_DIR_VARIABLE, "")
    if local and not Path(local).is_dir():
        raise RecordedUnavailableError(f"--recorded_dir {local}: no such folder")
    folder = Path(local) if local else _download(wanted, work / "packages")
    unpacked = work / "unpacked"
    packages = sorted(folder.rglob("asterisk-core-sounds-*.deb"))
    for package in packages:
        _run(["dpkg", "-x", str(package), str(unpacked)])
    found = _find_sources(wanted, [unpacked] if packages else [folder])
    if not found:
        raise RecordedUnavailableError(
            f"{folder}: no pair of core-sounds-XX.txt[.gz] and .g722 files for "
            f"{' '.join(wanted)}; put the Debian packages asterisk-core-sounds-XX and "
            "asterisk-core-sounds-XX-g722 there"
        )
    return found


def _find_sources(langs: Sequence[str], folders: list[Path]) -> list[RecordedSource]:
    """Pairs of transcript file and sound folder (``en_US_f_Allison``)."""
    found: list[RecordedSource] = []
    for folder in folders:
        for lang in langs:
            texts = sorted(folder.rglob(f"core-sounds-{lang}.txt*"))
            sounds = sorted(
                path
                for path in folder.rglob(f"{lang}*")
                if path.is_dir() and any(path.glob("*.g722"))
            )
            if texts and sounds:
                found.append(RecordedSource(lang, texts[0], sounds[0]))
    return found


def _download(langs: Sequence[str], folder: Path) -> Path:
    """Fetch the packages of ``langs`` with apt, as any user."""
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise RecordedUnavailableError(f"no '{program}' on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        f"asterisk-core-sounds-{lang}{suffix}"
        for lang in langs
        for suffix in ("", "-g722")
    ]
    options = ["-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    try:
        _run(["apt-get", *options, "download", *names], folder)
    except RecordedUnavailableError:
        # Package lists may be missing or old; private ones need no root.
        with tempfile.TemporaryDirectory() as private:
            for name in ("state/lists/partial", "cache/archives/partial"):
                (Path(private) / name).mkdir(parents=True)
            options += ["-o", f"Dir::State={private}/state"]
            options += ["-o", f"Dir::Cache={private}/cache"]
            options += ["-o", "Dir::State::status=/var/lib/dpkg/status"]
            options += ["-o", "APT::Sandbox::User=root"]
            _run(["apt-get", *options, "update"], folder)
            _run(["apt-get", *options, "download", *names], folder)
    return folder


def _run(command: list[str], cwd: Path | None = None) -> None:
    """Run a program quietly.

    Raises:
        RecordedUnavailableError: With the last line that the program wrote.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RecordedUnavailableError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise RecordedUnavailableError(
            f"{' '.join(command[:1] + command[-2:])}: {''.join(last)[:200]}"
        )


def decode_g722(path: Path) -> np.ndarray:
    """Samples (S,) int16 at 16 kHz of a headerless G.722 file of 64 kbit/s.

    Raises:
        RecordedUnavailableError: Neither the package 'G722' nor ffmpeg is there.
    """
    raw = path.read_bytes()
    try:
        from G722 import G722
    except ImportError:
        return _decode_with_ffmpeg(path)
    return np.asarray(G722(SAMPLE_RATE_HZ, _BIT_RATE).decode(raw), dtype=np.int16)


def _decode_with_ffmpeg(path: Path) -> np.ndarray:
    if shutil.which("ffmpeg") is None:
        raise RecordedUnavailableError(
            f"{path}: install the package 'G722' (extra 'mini') or ffmpeg to decode it"
        )
    command = ["ffmpeg", "-v", "error", "-f", "g722", "-i", str(path), "-f", "s16le"]
    done = subprocess.run([*command, "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype="<i2").astype(np.int16)


def build_recorded(
    sources: Sequence[RecordedSource], audio: Path
) -> dict[str, KaldiDir]:
    """Decode and split all prompts; a text (in any prompt) lives in one set only.

    Args:
        sources: From :func:`obtain_recorded`.
        audio: Folder that receives 16 kHz wav files.

    Returns:
        ``train``, ``dev`` and ``test``; rejects of all languages are in ``train``'s.
    """
    utterances: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    rejects: list[tuple[str, str]] = []
    for source in sources:
        for item in _language_prompts(source, audio / source.lang):
            if isinstance(item, Utterance):
                utterances[split_of(item.text or "")].append(item)
            else:
                rejects.append(item)
    return {
        split: KaldiDir.from_utterances(
            utterances[split], rejects=rejects if split == "train" else ()
        )
        for split in SPLITS
    }


def _language_prompts(
    source: RecordedSource, audio: Path
) -> Iterator[Utterance | tuple[str, str]]:
    """Utterances of one language, and (utterance, reason) of what is left out."""
    raw = source.transcripts.read_bytes()
    if source.transcripts.suffix == ".gz":
        raw = gzip.decompress(raw)
    prompts = parse_prompts(raw, source.lang)
    files = {
        path.relative_to(source.sounds).with_suffix("").as_posix(): path
        for path in sorted(source.sounds.rglob("*.g722"))
    }
    yield from ((_utt(source.lang, p), why) for p, why in prompts.rejects)
    known = {prompt for prompt, _ in prompts.rejects} | prompts.texts.keys()
    for prompt in sorted(files.keys() - known):
        yield _utt(source.lang, prompt), "no transcript: sound without a text"
    clashing = clashing_ids(_utt(source.lang, prompt) for prompt in prompts.texts)
    audio.mkdir(parents=True, exist_ok=True)
    for prompt, text in sorted(prompts.texts.items()):
        utt = _utt(source.lang, prompt)
        if utt in clashing:
            yield utt, f"ambiguous id: {clashing[utt]}"
        elif prompt not in files:
            yield utt, f"missing file: no {prompt}.g722"
        else:
            yield _write_prompt(utt, text, source.lang, files[prompt], audio)


def _utt(lang: str, prompt: str) -> str:
    """Utterance id; the speaker ``rec_<lang>`` stands in front, as Kaldi wants it."""
    return f"rec_{lang}_" + "".join(
        c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in prompt
    )


def _write_prompt(
    utt: str, text: str, lang: str, sound: Path, audio: Path
) -> Utterance | tuple[str, str]:
    """Decode one prompt to wav."""
    samples = decode_g722(sound)
    duration_s = len(samples) / SAMPLE_RATE_HZ
    if duration_s < _MIN_DURATION_S:
        return utt, f"too short: {duration_s:.2f} s, minimum {_MIN_DURATION_S} s"
    path = audio.resolve() / f"{utt}.wav"
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return Utterance(utt, str(path), text, f"rec_{lang}", lang, len(samples))
