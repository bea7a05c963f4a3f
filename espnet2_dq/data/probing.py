"""Headers of many sound files at once, remembered so that a second run is fast."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from espnet2_dq.data.audio import AudioError, AudioInfo, probe
from espnet2_dq.data.tables import read_lines, write_lines
from espnet2_dq.errors import DataError

_CHUNK = 8192
T = TypeVar("T")
R = TypeVar("R")


def map_threads(
    function: Callable[[T], R], items: Sequence[T], *, workers: int, label: str
) -> Iterator[R]:
    """Apply ``function`` in threads, in order, with percent and time left."""
    bar = tqdm(total=len(items), desc=label, mininterval=5, unit="file")
    with bar, ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        iterator = iter(items)
        # A pool takes all items at once: chunks keep memory flat for 1e6 files.
        while chunk := list(islice(iterator, _CHUNK)):
            for result in pool.map(function, chunk):
                bar.update()
                yield result


class ProbeCache:
    """Headers by path, valid while a file's size and time of change stay.

    The file holds ``size mtime_ns rate channels frames path`` lines, TAB separated.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.entries: dict[str, tuple[int, int, AudioInfo]] = {}
        if path is not None and path.exists():
            self._load(path)
        self.changed = False

    def _load(self, path: Path) -> None:
        """Read the file; a broken one is only slow, not wrong: it is dropped."""
        try:
            for line in read_lines(path):
                size, mtime, rate, channels, frames, name = line.split("\t", 5)
                info = AudioInfo(int(rate), int(channels), int(frames))
                self.entries[name] = (int(size), int(mtime), info)
        except (ValueError, DataError) as error:
            logging.warning("%s: ignored, it is broken (%s)", path, error)
            self.entries = {}

    def probe(self, path: str) -> AudioInfo | AudioError:
        """The header of a file, or why it cannot be used."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return self._fresh(path)
        key = (status.st_size, status.st_mtime_ns)
        entry = self.entries.get(path)
        if entry is not None and entry[:2] == key:
            return entry[2]
        info = self._fresh(path)
        if isinstance(info, AudioInfo):
            self.entries[path] = (*key, info)
            self.changed = True
        return info

    @staticmethod
    def _fresh(path: str) -> AudioInfo | AudioError:
        """Probe now; the error is returned, for it becomes a reject."""
        try:
            return probe(path)
        except AudioError as error:
            return error

    def save(self) -> None:
        """Write the file atomically if anything is new."""
        if self.path is None or not self.changed:
            return
        write_lines(
            self.path,
            (
                f"{size}\t{mtime}\t{i.rate}\t{i.channels}\t{i.frames}\t{name}"
                for name, (size, mtime, i) in sorted(self.entries.items())
                if "\n" not in name and "\r" not in name
            ),
        )
        self.changed = False


def probe_all(
    paths: Iterable[str], cache: ProbeCache, *, workers: int, label: str
) -> dict[str, AudioInfo | AudioError]:
    """Probe every path once, in threads, and save the cache."""
    names = list(dict.fromkeys(paths))
    results = map_threads(cache.probe, names, workers=workers, label=label)
    found = dict(zip(names, results, strict=True))
    cache.save()
    return found
