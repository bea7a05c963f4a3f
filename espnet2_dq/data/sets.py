"""The sets of a corpus written by stage 1, whatever the corpus."""

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from espnet2_dq.data.kaldi_dir import KNOWN_FILES, KaldiDir, extra_files
from espnet2_dq.data.rejects import format_kinds, require_few_rejects
from espnet2_dq.data.tables import write_lines


def write_sets(
    sets: Mapping[str, KaldiDir], out: Path, max_reject_ratio: float, source: str
) -> None:
    """Write every set, say what it holds, then stop if too much was rejected.

    Args:
        sets: By name.
        out: Folder of stage 1; sets of another corpus that lie there are removed.
        max_reject_ratio: Share of faulty utterances that is accepted.
        source: What the sets were made from, for ``corpus.json`` and the report.

    Raises:
        DataError: More than ``max_reject_ratio`` of a set is faulty; all files,
            ``reject.tsv`` among them, are written before.
    """
    remove_other_sets(out, sets.keys())
    write_lines(out / "corpus.json", [json.dumps({"source": source})])
    for name, directory in sets.items():
        directory.write(out / name)
        hours = ", ".join(f"{k} {v:.2f} h" for k, v in directory.hours().items())
        logging.info("%s: %d utterances: %s", out / name, len(directory), hours)
        if directory.rejects:
            logging.info("%s: left out: %s", name, format_kinds(directory.rejects))
    for name, directory in sets.items():
        listed_in = str(out / name / "reject.tsv")
        require_few_rejects(
            name, len(directory), directory.rejects, max_reject_ratio, listed_in
        )


def remove_other_sets(out: Path, names: Collection[str]) -> None:
    """Remove sets that an earlier corpus left: later stages take every ``test*``.

    Only files that a data directory has are removed, so nothing else can get lost.
    """
    if not out.is_dir():
        return
    for folder in sorted(out.iterdir()):
        ours = all((folder / f).is_file() for f in ("wav.scp", "utt2num_samples"))
        if not ours or folder.name in names:
            continue
        logging.info("%s: removed, it belongs to another corpus", folder)
        for file in (*KNOWN_FILES, *extra_files(folder)):
            (folder / file).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
