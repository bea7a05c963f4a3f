"""Labels that codes are judged by: of utterances from tables, of frames from phones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.frame_labels import label_frames, phone_table
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.tables import read_table
from espnet2_dq.encoder.frame_grid import FrameGrid
from espnet2_dq.errors import DataError

LANGUAGES = "utt2lang"
SPEAKERS = "utt2spk"


def utterance_labels(
    utterances: Sequence[str], data_dir: Path | str, table: str = LANGUAGES
) -> np.ndarray:
    """Label of each utterance ``(U,)``, strings.

    Args:
        utterances: ``U`` ids.
        data_dir: Holds ``table``.
        table: ``utt2lang``, ``utt2spk``, or another ``utt2*`` of the directory.

    Raises:
        DataError: No such table (those that there are get named), or an utterance that
            it does not hold.
    """
    path = Path(data_dir) / table
    if not path.is_file():
        present = sorted(p.name for p in Path(data_dir).glob("utt2*"))
        raise DataError(
            f"{path}: missing; labels of utterances are tables 'utterance label' of the"
            f" data directory; there are {', '.join(present) or 'none'}"
        )
    labels = read_table(path)
    absent = [utt for utt in utterances if utt not in labels]
    if absent:
        raise DataError(f"{path}: '{absent[0]}' of wav.scp has no label there")
    return np.array([labels[utt] for utt in utterances])


def phone_labels(
    table: CodeTable, phones: Mapping[str, Sequence[PhoneSegment]], grid: FrameGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Phone of every frame and which frames have one.

    Args:
        table: Utterances and their numbers of frames.
        phones: Aligned phones by utterance.
        grid: Of the model's frontend.

    Returns:
        Labels ``(N,)`` strings, and ``(N,)`` bool: False for the frames of utterances
        without alignment (recorded speech beside synthetic).
    """
    names = phone_table(phones.values())
    ids = {name: i for i, name in enumerate(names)}
    labels, known = [], []
    for utt, frames in zip(table.utterances, table.lengths.tolist(), strict=True):
        labels.append(label_frames(phones.get(utt, []), frames, ids, grid=grid))
        known.append(np.full(frames, utt in phones))
    return np.array(names)[np.concatenate(labels)], np.concatenate(known)
