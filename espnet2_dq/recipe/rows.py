"""The rows of the paper's tables, as ``conf/tables.yaml`` names them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from espnet2_dq.config import from_mapping, unknown_key_message
from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe.overlay import overlay_files, read_yaml

TABLE_FILE = Path("conf/tables.yaml")
ROW_FOLDER = "rows"
TABLES = ("II", "III", "IV", "VI")
# Keys of both sections of conf/tables.yaml
SECTIONS = ("rows", "scales")


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        id: Its name, and that of ``conf/rows/<id>.yaml``.
        title: As in the paper, or what it is.
        tables: Table of the paper -> label of the row there; none for our own rows.
        flow: ``pretrain``: stages 5 to 11; ``random``: 9 to 11 without pretraining;
            ``transcoder`` and ``offline_kmeans`` work on the run of another row.
        units: What it is fine-tuned to, one after the other.
        options: Of ``run.sh``, where the caller gives none.
        needs: Row whose run, same seed, has to be there before.
        expect: How it ended in the paper, where it did not end well.
    """

    id: str = ""
    title: str = ""
    tables: Mapping[str, str] = field(default_factory=dict)
    flow: Literal["pretrain", "random", "transcoder", "offline_kmeans"] = "pretrain"
    units: tuple[str, ...] = ("phn",)
    options: Mapping[str, str] = field(default_factory=dict)
    needs: str = ""
    expect: Literal["", "collapse", "explosion"] = ""

    def overlay(self, folder: Path) -> Path | None:
        """``rows/<id>.yaml`` in the folder of configurations; ``None`` without."""
        return overlay_of(folder, self.id) if self.flow == "pretrain" else None

    def first_overlay(self, folder: Path) -> Path | None:
        """Overlay of the first of two stages of pretraining."""
        name = self.options.get("first_stage")
        return overlay_of(folder, name) if name else None


def overlay_of(folder: Path, name: str) -> Path:
    """Where the overlay ``name`` lies."""
    return folder / ROW_FOLDER / f"{name}.yaml"


@dataclass(frozen=True)
class Scale:
    """How large the runs of a table are.

    Attributes:
        name: ``smoke``, ``mini`` or ``base``.
        work_dir: Where data, dump, units and exp are made.
        options: Of every call of ``run.sh``.
        threads: CPU threads of one row's run; 0: the machine is not shared.
        transcoder: Options of ``transcoder.sh``.
        offline_kmeans: Options of ``espnet2_dq.bin.offline_kmeans``.
        figures: Whether the figures mean anything; without, it is only shown that
            the rows run.
        note: What the figures of this scale can say.
    """

    name: str = ""
    work_dir: str = "."
    options: Mapping[str, str] = field(default_factory=dict)
    threads: int = 0
    transcoder: Mapping[str, str] = field(default_factory=dict)
    offline_kmeans: Mapping[str, str] = field(default_factory=dict)
    figures: bool = True
    note: str = ""


@dataclass(frozen=True)
class TableFile:
    """``conf/tables.yaml``."""

    path: Path
    rows: Mapping[str, Row]
    scales: Mapping[str, Scale]

    @property
    def folder(self) -> Path:
        """Where the configurations lie."""
        return self.path.parent

    def row(self, name: str) -> Row:
        """One row.

        Raises:
            ConfigError: Unknown; the message lists all.
        """
        if name not in self.rows:
            raise ConfigError(unknown_key_message(name, self.rows, "tables", "row"))
        return self.rows[name]

    def scale(self, name: str) -> Scale:
        """One scale.

        Raises:
            ConfigError: Unknown; the message lists all.
        """
        if name not in self.scales:
            raise ConfigError(unknown_key_message(name, self.scales, "tables", "scale"))
        return self.scales[name]

    def selected(self, names: list[str]) -> list[Row]:
        """The named rows (none: all), in the file's order, each after what it needs."""
        wanted = {self.row(name).id for name in names} if names else set(self.rows)
        for name in list(wanted):
            while name := self.rows[name].needs:
                wanted.add(name)
        chosen = [row for row in self.rows.values() if row.id in wanted]
        return sorted(chosen, key=self._depth)

    def _depth(self, row: Row) -> int:
        return 1 + self._depth(self.rows[row.needs]) if row.needs else 0


def read_tables(path: Path) -> TableFile:
    """Read and check ``conf/tables.yaml``.

    Raises:
        ConfigError: Naming row and key.
    """
    content = read_yaml(path)
    for section in content:
        if section not in SECTIONS:
            raise ConfigError(unknown_key_message(section, SECTIONS, str(path)))
    rows = {
        name: replace(_parsed(Row, values, f"{path}: rows.{name}"), id=name)
        for name, values in (content.get("rows") or {}).items()
    }
    scales = {
        name: replace(_parsed(Scale, values, f"{path}: scales.{name}"), name=name)
        for name, values in (content.get("scales") or {}).items()
    }
    tables = TableFile(path, rows, scales)
    for row in rows.values():
        _check(row, tables)
    return tables


def _parsed(cls: Any, values: Any, where: str) -> Any:
    """The dataclass; options may be numbers, they become words."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a mapping, got {values!r}")
    words = {
        key: {str(k): _word(v) for k, v in value.items()}
        if isinstance(value, Mapping)
        else value
        for key, value in values.items()
    }
    return from_mapping(cls, words, where)


def _word(value: Any) -> str:
    """YAML reads ``yes`` and ``false`` as booleans; ``run.sh`` knows true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(row: Row, tables: TableFile) -> None:
    where = f"{tables.path}: rows.{row.id}"
    for table in row.tables:
        if table not in TABLES:
            raise ConfigError(unknown_key_message(table, TABLES, f"{where}.tables"))
    seen = [row.id]
    while needs := tables.rows[seen[-1]].needs:
        if needs not in tables.rows or needs in seen:
            problem = "itself" if needs in seen else f"'{needs}', which is no row"
            raise ConfigError(f"{where}.needs: {problem}")
        seen.append(needs)
    if row.flow in ("transcoder", "offline_kmeans") and not row.needs:
        raise ConfigError(
            f"{where}: flow {row.flow} reads another row's run: add needs"
        )
    for overlay in (row.overlay(tables.folder), row.first_overlay(tables.folder)):
        if overlay is not None:
            overlay_files(overlay)
