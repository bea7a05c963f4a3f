"""Posteriors on disk, for tuning and pictures: one ``.npz`` per utterance.

``DIR/<utterance>.npz`` holds ``<head>`` ``(T, V)`` float32 natural logarithms for each
head and ``samples``, the length of the sound at 16 kHz; ``DIR/<head>.tokens.txt`` the
columns. Ids are percent-encoded, since a Kaldi id may hold a slash. Nothing here
imports torch.
"""

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from espnet2_dq.data.tables import read_lines, write_lines
from espnet2_dq.errors import DataError


def posterior_path(folder: Path | str, utt: str) -> Path:
    """File of one utterance."""
    return Path(folder) / f"{quote(utt, safe='')}.npz"


def utterances(folder: Path | str) -> list[str]:
    """Ids of the utterances that a folder holds, sorted.

    Raises:
        DataError: It holds none.
    """
    found = sorted(unquote(path.stem) for path in Path(folder).glob("*.npz"))
    if not found:
        raise DataError(
            f"{folder}: no posteriors; decode with --save_posteriors {folder}"
        )
    return found


def write_token_lists(
    folder: Path | str, token_lists: Mapping[str, Sequence[str]]
) -> None:
    """Write what the columns are."""
    for head, tokens in token_lists.items():
        write_lines(Path(folder) / f"{head}.tokens.txt", tokens)


def read_token_lists(folder: Path | str) -> dict[str, list[str]]:
    """Head -> tokens by column.

    Raises:
        DataError: There are none.
    """
    paths = sorted(Path(folder).glob("*.tokens.txt"))
    if not paths:
        raise DataError(f"{folder}: no HEAD.tokens.txt; decode with --save_posteriors")
    return {path.name.removesuffix(".tokens.txt"): read_lines(path) for path in paths}


def write_posteriors(
    folder: Path | str, utt: str, posteriors: Mapping[str, np.ndarray], samples: int
) -> None:
    """Write one utterance; an interrupted run leaves no half a file.

    Args:
        folder: Is made.
        utt: Utterance id.
        posteriors: Head -> ``(T, V)`` float32.
        samples: Length of the sound at 16 kHz.
    """
    path = posterior_path(folder, utt)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            arrays = {**posteriors, "samples": np.int64(samples)}
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_posteriors(folder: Path | str, utt: str) -> tuple[dict[str, np.ndarray], int]:
    """Head -> ``(T, V)`` float32 of one utterance, and the length of its sound.

    Raises:
        DataError: No such file, or a damaged one.
    """
    path = posterior_path(folder, utt)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        samples = int(found.pop("samples"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no posteriors of '{utt}'; decode its set with --save_posteriors"
            f" {folder}"
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); decode again") from error
    return found, samples
