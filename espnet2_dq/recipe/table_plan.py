"""What a row of the tables runs: commands, where it works, and when it is done."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet2_dq.recipe.digest import all_digests
from espnet2_dq.recipe.marks import read_mark
from espnet2_dq.recipe.overlay import overlay_files
from espnet2_dq.recipe.rows import Row, Scale, TableFile

RUN = "./run.sh"
TRANSCODER = "./transcoder.sh"
# Stages of the shared data: what changes there makes every row run again.
_SHARED = ("01_", "02_", "03_", "04_", "08_")


@dataclass(frozen=True)
class Place:
    """Where the runs of one call lie and what all of them are given.

    Attributes:
        scale: How large they are.
        work_dir: Where data, dump, units and exp are made.
        options: Further words for every ``run.sh``.
    """

    scale: Scale
    work_dir: Path
    options: tuple[str, ...] = ()

    def tag(self, row: str, seed: int) -> str:
        """``exp/<tag>`` of a run."""
        return f"tables_{self.scale.name}/{row}_s{seed}"

    def exp(self, row: str, seed: int) -> Path:
        """Directory of a run's experiment."""
        return self.work_dir / "exp" / self.tag(row, seed)


@dataclass(frozen=True)
class RowRun:
    """One row with one seed.

    Attributes:
        row: The row.
        seed: Of every training; the corpus and the labelled utterances have seed 0.
        exp: Directory of its experiment.
        steps: Commands, one after the other, in the recipe's directory.
        digest: Of all that decides its figures; another one is another run.
    """

    row: Row
    seed: int
    exp: Path
    steps: list[list[str]]
    digest: str

    @property
    def name(self) -> str:
        """For messages and for the file of its figures."""
        return f"{self.row.id}_s{self.seed}"

    @property
    def needs(self) -> str:
        """Name of the run that has to be there before, or ""."""
        return f"{self.row.needs}_s{self.seed}" if self.row.needs else ""


def shared_steps(rows: Sequence[Row], place: Place) -> list[list[str]]:
    """Commands that make what all rows read: stages 1 to 4, and 8."""
    units = dict.fromkeys(["phn", *(kind for row in rows for kind in row.units)])
    shared = [*_run(place), "--tag", f"tables_{place.scale.name}/shared"]
    steps = [[*shared, "--stage", "1", "--stop_stage", "4"]]
    for kind in list(units)[1:]:
        steps.append([*shared, *_stages(4, 4), "--units", kind])
    return steps + [[*shared, *_stages(8, 8), "--units", kind] for kind in units]


def plan_row(row: Row, seed: int, place: Place, tables: TableFile) -> RowRun:
    """What one row runs.

    Args:
        row: The row.
        seed: Its seed.
        place: Where, and how large.
        tables: All rows; the configurations lie beside their file.
    """
    steps = {
        "pretrain": _pretrain_steps,
        "random": _pretrain_steps,
        "transcoder": _transcoder_steps,
        "offline_kmeans": _kmeans_steps,
    }[row.flow](row, seed, place)
    exp = place.exp(row.id, seed)
    return RowRun(row, seed, exp, steps, _digest(row, steps, place, tables))


def _pretrain_steps(row: Row, seed: int, place: Place) -> list[list[str]]:
    """Stages 5 to 11; stage 8 is shared: its choice is that of seed 0."""
    tag = place.tag(row.id, seed)
    common = [*_run(place), "--row", row.id, "--tag", tag, "--seed", str(seed)]
    steps = [] if row.flow == "random" else [[*common, *_stages(5, 7)]]
    for kind in row.units:
        steps.append([*common, *_stages(9, 11), "--units", kind, "--asr_tag", kind])
    return steps


def _transcoder_steps(row: Row, seed: int, place: Place) -> list[list[str]]:
    """Spelling of what the needed row's phoneme recogniser has heard."""
    words = [TRANSCODER, "--exp", str(place.exp(row.needs, seed)), "--asr", "phn"]
    words += ["--seed", str(seed), "--work_dir", str(place.work_dir)]
    words += ["--transcoder", str(place.exp(row.id, seed) / "model")]
    return [[*words, *_option_words(place.scale.transcoder)]]


def _kmeans_steps(row: Row, seed: int, place: Place) -> list[list[str]]:
    """Clusters of the needed row's hidden states, with a mark as the other stages."""
    exp, source = place.exp(row.id, seed), place.exp(row.needs, seed) / "pretrain"
    dump, out = place.work_dir / "dump", exp / "analysis"
    stage = ["python", "-m", "espnet2_dq.bin.stage", "--name", "07_offline_kmeans"]
    stage += ["--mark", str(exp / ".done" / "07_offline_kmeans.json")]
    for file in (source / "latest.pth", source / "config.yaml", dump / "test/wav.scp"):
        stage += ["--input", str(file)]
    stage += ["--output", str(out / "metrics.json"), "--"]
    words = ["python", "-m", "espnet2_dq.bin.offline_kmeans", "--exp", str(source)]
    words += ["--train_dir", str(dump / "train"), "--test_dir", str(dump / "test")]
    words += ["--out", str(out), "--seed", str(seed)]
    return [[*stage, *words, *_option_words(place.scale.offline_kmeans)]]


def _run(place: Place) -> list[str]:
    words = [RUN, "--work_dir", str(place.work_dir)]
    return [*words, *_option_words(place.scale.options), *place.options]


def _stages(first: int, last: int) -> list[str]:
    return ["--stage", str(first), "--stop_stage", str(last)]


def _option_words(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _digest(row: Row, steps: list[list[str]], place: Place, tables: TableFile) -> str:
    """Of commands, configurations and data.

    All base configurations count: ``run.sh`` chooses among them, and finds out quickly
    that nothing has changed for it.
    """
    overlays = (row.overlay(tables.folder), row.first_overlay(tables.folder))
    files = [f for overlay in overlays if overlay for f in overlay_files(overlay)]
    files += sorted(tables.folder.glob("**/train_*.yaml"))
    content = [
        steps,
        sorted(row.options.items()),
        all_digests(files),
        _data_digests(place.work_dir),
        _digest_of_needed(row, place, tables),
    ]
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _digest_of_needed(row: Row, place: Place, tables: TableFile) -> str:
    return plan_row(tables.row(row.needs), 0, place, tables).digest if row.needs else ""


def _data_digests(work_dir: Path) -> dict[str, Any]:
    """What the marks of the shared stages say that these have written."""
    found = {}
    for area in ("data", "dump"):
        for path in sorted((work_dir / area / ".done").glob("*.json")):
            mark = read_mark(path)
            if mark is not None and mark.stage.startswith(_SHARED):
                found[mark.stage] = mark.outputs
    return found
