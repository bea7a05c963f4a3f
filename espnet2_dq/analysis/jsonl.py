"""JSON lines as training writes them: a line cut short by a kill is passed over."""

import json
from pathlib import Path
from typing import Any


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """Records of ``path`` that have an ``update``, in its order; none if missing.

    A resumed run may repeat an update: the last record of equal ``update`` and
    ``network`` stays.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    records: dict[tuple[Any, Any], dict[str, Any]] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("update"), int):
            records[record["update"], record.get("network")] = record
    return sorted(records.values(), key=lambda record: record["update"])
