"""The sets of a corpus written by stage 1, whatever the corpus."""

import logging
from collections.abc import Mapping
from pathlib import Path

from espnet2_dq.data.kaldi_dir import KaldiDir
from espnet2_dq.data.rejects import format_kinds, require_few_rejects


def write_sets(
    sets: Mapping[str, KaldiDir], out: Path, max_reject_ratio: float
) -> None:
    """Write every set, say what it holds, then stop if too much was rejected.

    Raises:
        DataError: More than ``max_reject_ratio`` of a set is faulty; all files,
            ``reject.tsv`` among them, are written before.
    """
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
