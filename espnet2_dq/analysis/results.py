"""``results.json``: the numbers of a run for scripts; a missing one is ``None``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espnet2_dq.analysis.collect import Run, Scores
from espnet2_dq.analysis.modes import mode_results

MAIN_SET = "test"
METRICS = ("per", "wer", "cer")


def results(run: Run) -> dict[str, Any]:
    """The numbers of a run.

    Returns:
        ``tag corpus``; ``per wer cer``: rate by language and ``average``, of the
        system and set that ``main`` names; ``systems``: the same for every system and
        set; ``modes``: Korean, by system, set and mode; ``lnmi lp pnmi pp acn agn`` as
        in ``metrics.json``; ``probe``: first and last probe; ``seconds`` by stage.
    """
    found: dict[str, Any] = {
        "tag": run.tag,
        "corpus": {
            "name": run.corpus.name or None,
            "source": run.corpus.source or None,
            "languages": run.corpus.languages,
            "hours": {s.name: round(sum(s.hours.values()), 4) for s in run.corpus.sets},
        },
    }
    found["main"] = {}
    for metric in METRICS:
        main = main_score(run.scores, metric)
        found[metric] = None if main is None else rates(main.section)
        if main is not None:
            found["main"][metric] = {"system": main.system, "set": main.set_name}
    found["systems"] = {
        system: {
            name: {metric: rates(section) for metric, section in metrics.items()}
            for name, metrics in sets.items()
        }
        for system, sets in run.scores.items()
    }
    found["modes"] = mode_results(run.modes)
    for key in ("lnmi", "lp", "pnmi", "pp", "acn", "agn", "items_per_code"):
        found[key] = run.metrics.get(key)
    found["alignment"] = run.metrics.get("alignment")
    found["probe"] = probe_summary(run)
    found["seconds"] = {mark.name: round(mark.seconds, 1) for mark in run.marks}
    return found


def rates(section: Mapping[str, Any]) -> dict[str, float]:
    """Rate by language, and ``average``."""
    by_language = {lang: row["rate"] for lang, row in section["languages"].items()}
    return {**by_language, "average": section["average"]}


@dataclass(frozen=True)
class MainScore:
    """The score that stands for the run."""

    system: str
    set_name: str
    section: dict[str, Any]


def main_score(scores: Scores, metric: str) -> MainScore | None:
    """Plain system (``phn``, not ``phn_random``) first, then the set ``test``."""
    found = [
        MainScore(system, name, metrics[metric])
        for system, sets in scores.items()
        for name, metrics in sets.items()
        if metric in metrics
    ]

    def rank(score: MainScore) -> tuple[bool, bool, str, str]:
        suffixed = score.system not in ("phn", "char", "bpe")
        return suffixed, score.set_name != MAIN_SET, score.system, score.set_name

    return min(found, key=rank, default=None)


def probe_summary(run: Run) -> dict[str, Any] | None:
    """First and last probe of each network, and the change of the best layer."""
    by_network: dict[str, list[dict[str, Any]]] = {}
    for record in run.probe:
        by_network.setdefault(str(record.get("network", "student")), []).append(record)
    if not by_network:
        return None
    return {
        network: {
            "first": _probe_point(records[0]),
            "last": _probe_point(records[-1]),
            "gain": round(records[-1]["best"] - records[0]["best"], 5),
            "majority": records[-1]["majority"],
            "history": [[r["update"], r["best"]] for r in records],
        }
        for network, records in by_network.items()
    }


def _probe_point(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ("update", "best", "best_layer", "layer")}
