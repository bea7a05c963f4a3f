"""How far a user's or our own phone times are from exact ones, where there are both."""

from pathlib import Path
from typing import Any

import numpy as np

from espnet2_dq.analysis.alignments import exact_alignments
from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.labels import phone_labels
from espnet2_dq.analysis.purity import count_pairs, normalised_information
from espnet2_dq.encoder.frame_grid import FrameGrid


def agreement_with_exact(
    phones: np.ndarray,
    known: np.ndarray,
    table: CodeTable,
    data_dir: Path | str,
    grid: FrameGrid,
) -> dict[str, Any] | None:
    """Compare labels of frames with those of the directory's ``phn.ctm``.

    Args:
        phones: ``(N,)`` labels of the alignments in use.
        known: ``(N,)`` bool, frames that these cover.
        table: Utterances and frames.
        data_dir: May hold ``phn.ctm``.
        grid: Of the model's frontend.

    Returns:
        ``with frames``; ``share`` of frames with the same label, also of those that
        are speech (``share_of_speech``); ``nmi`` I/H(exact) and ``nmi_reversed``
        I/H(in use). ``None`` without exact alignments of the same utterances.
    """
    exact = exact_alignments(data_dir)
    truth, certain = phone_labels(table, exact.phones, grid)
    both = known & certain
    if not both.any():
        return None
    phones, truth = phones[both], truth[both]
    spoken = truth != "sil"
    same = phones == truth
    return {
        "with": "exact",
        "frames": int(both.sum()),
        "share": float(same.mean()),
        "share_of_speech": float(same[spoken].mean()) if spoken.any() else None,
        "nmi": normalised_information(count_pairs(truth, phones)),
        "nmi_reversed": normalised_information(count_pairs(phones, truth)),
    }
