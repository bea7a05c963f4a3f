"""The paper's Tables I to VI as they are printed (``recipe/published.json``)."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class PublishedRow:
    """One row; ``values`` lacks what the paper does not give.

    Attributes:
        label: Its name in the paper.
        values: By column; error rates in percent, purity and information as shares.
        outcome: How it ended, in the paper's words, where there are no numbers.
    """

    label: str
    values: Mapping[str, float]
    outcome: str = ""


@dataclass(frozen=True)
class PublishedTable:
    """One table."""

    number: str
    title: str
    columns: list[str]
    rows: list[PublishedRow]

    def row(self, label: str) -> PublishedRow | None:
        """The row of that label."""
        return next((row for row in self.rows if row.label == label), None)


@functools.cache
def published_tables() -> dict[str, PublishedTable]:
    """All tables by number, ``I`` to ``VI``."""
    return {
        number: PublishedTable(
            number=number,
            title=table["title"],
            columns=table["columns"],
            rows=[PublishedRow(**row) for row in table["rows"]],
        )
        for number, table in _content()["tables"].items()
    }


def source() -> str:
    """Where the numbers are from."""
    return str(_content()["source"])


@functools.cache
def _content() -> dict[str, Any]:
    place = files("espnet2_dq.recipe") / "published.json"
    content: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return content
