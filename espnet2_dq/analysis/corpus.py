"""What the report says about the data: sets, hours, speakers, languages, rejects."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet2_dq.data.ctm import read_rejects
from espnet2_dq.data.tables import read_table

_HOURS = 16000 * 3600


@dataclass(frozen=True)
class SetSummary:
    """One set, after filtering where that has happened.

    Attributes:
        name: ``train``, ``dev``, ``test``, ...
        utterances: By language.
        hours: By language.
        speakers: Different speakers.
        aligned: Whether exact phone alignments are there.
        rejects: Utterances left out, by reason.
    """

    name: str
    utterances: dict[str, int]
    hours: dict[str, float]
    speakers: int
    aligned: bool
    rejects: dict[str, int]


@dataclass(frozen=True)
class CorpusSummary:
    """All sets.

    Attributes:
        name: ``mini``, ``commonvoice``, ``kaldi``, or "" if stage 1 left no trace.
        source: What the corpus says of itself (``synthetic``, ``recorded``,
            ``synthetic+recorded``), or "".
        sets: In the order train, dev, test, others.
        shares: Share of each language in pretraining's batches; empty if unknown.
    """

    name: str = ""
    source: str = ""
    sets: list[SetSummary] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def languages(self) -> list[str]:
        """Languages of all sets."""
        return sorted({lang for s in self.sets for lang in s.utterances})

    @property
    def hours(self) -> float:
        """Hours of all sets."""
        return sum(sum(s.hours.values()) for s in self.sets)


def read_corpus(data: Path, dump: Path, command: list[str]) -> CorpusSummary:
    """Summarise the sets of stage 1, as stage 3 left them.

    Args:
        data: Directory of stage 1.
        dump: Directory of stage 3; a set that is not there is taken from ``data``.
        command: Stage 1's command; tells which corpus it was.
    """
    names = {p.parent.name for p in data.glob("*/wav.scp")}
    names = names or {
        p.parent.name
        for p in dump.glob("*/wav.scp")
        if not p.parent.name.startswith("finetune_")
    }
    first = {"train": 0, "dev": 1, "test": 2}
    ordered = sorted(names, key=lambda name: (first.get(name, 3), name))
    return CorpusSummary(
        name=_name(command),
        source=str(_read_json(data / "corpus.json").get("source", "")),
        sets=[_summarise(name, data, dump) for name in ordered],
        shares={
            row["lang"]: row["share"]
            for row in _read_json(dump / "language_shares.json").get("languages", [])
        },
    )


def _name(command: list[str]) -> str:
    for word in command:
        if "prepare_" in word:
            return word.rpartition("prepare_")[2]
    return ""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _summarise(name: str, data: Path, dump: Path) -> SetSummary:
    folder = dump / name if (dump / name / "wav.scp").is_file() else data / name
    languages = _table(folder / "utt2lang")
    samples = _table(folder / "utt2num_samples")
    utterances = Counter(languages.values())
    total: Counter[str] = Counter()
    for utt, lang in languages.items():
        total[lang] += int(samples.get(utt, 0))
    # Each stage writes its own rejects; a later one may carry the earlier ones on.
    places = (data / name, dump / "check" / name, dump / name)
    rejects = {row for place in places for row in read_rejects(place / "reject.tsv")}
    kinds = Counter(reason.partition(":")[0] for _, reason in rejects)
    return SetSummary(
        name=name,
        utterances=dict(sorted(utterances.items())),
        hours={lang: n / _HOURS for lang, n in sorted(total.items())},
        speakers=len(set(_table(folder / "utt2spk").values())),
        aligned=(folder / "phn.ctm").is_file(),
        rejects=dict(kinds.most_common()),
    )


def _table(path: Path) -> dict[str, str]:
    return read_table(path) if path.is_file() else {}
