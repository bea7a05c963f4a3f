"""What both heads say about one utterance, along one time axis, as an SVG.

Drawn here and not by matplotlib, whose fonts have no Hangul; a browser's have.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from espnet2_dq.decode.posterior_files import (
    read_posteriors,
    read_token_lists,
    utterances,
)
from espnet2_dq.decode.spelling import HEADS
from espnet2_dq.encoder.frame_grid import SAMPLE_RATE_HZ

_WIDTH, _LANE, _MARGIN = 960, 120, 70
_COLOURS = ("#1b6ca8", "#b5541c")
_SHOWN = 0.15  # a token is drawn where it is at least this probable
_SECONDS = 5.0  # longer sounds are cut: letters would run into each other


def posterior_picture(folder: Path, references: Mapping[str, str]) -> str | None:
    """SVG of the first utterance with a reference of medium length.

    Args:
        folder: What ``decode_korean --save_posteriors`` wrote.
        references: Utterance -> text.

    Returns:
        The SVG, or ``None`` if the folder holds nothing.
    """
    if not folder.is_dir() or not any(folder.glob("*.npz")):
        return None
    known = [utt for utt in utterances(folder) if references.get(utt)]
    if not known:
        return None
    utt = min(known, key=lambda u: (abs(len(references[u]) - 14), u))
    posteriors, samples = read_posteriors(folder, utt)
    return draw(
        posteriors, read_token_lists(folder), samples / SAMPLE_RATE_HZ, references[utt]
    )


def draw(
    posteriors: Mapping[str, np.ndarray],
    token_lists: Mapping[str, Sequence[str]],
    duration_s: float,
    title: str,
) -> str:
    """One lane per head: blank in grey, tokens as filled curves with their letters.

    Args:
        posteriors: Head -> ``(T, V)`` natural logarithms, blank in column 0.
        token_lists: Head -> V tokens.
        duration_s: Of the sound, in seconds.
        title: Text above the lanes.
    """
    heads = [head for head in HEADS if head in posteriors]
    height = 34 + _LANE * len(heads) + 28
    shown_s = min(duration_s, _SECONDS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_MARGIN}" y="20">{escape(title)}</text>',
    ]
    for lane, head in enumerate(heads):
        bottom = 34 + _LANE * (lane + 1) - 8
        frames = np.exp(posteriors[head].astype(np.float64))
        keep = max(1, round(len(frames) * shown_s / duration_s))
        parts += _lane(
            frames[:keep], token_lists[head], head, bottom, _COLOURS[lane % 2]
        )
    for second in range(int(shown_s) + 1):
        x = _MARGIN + (_WIDTH - _MARGIN - 10) * second / shown_s
        parts.append(
            f'<text x="{x:.1f}" y="{height - 8}" fill="#555">{second} s</text>'
        )
    return "\n".join([*parts, "</svg>"])


def _lane(
    frames: np.ndarray, tokens: Sequence[str], head: str, bottom: float, colour: str
) -> list[str]:
    """One head; ``frames`` ``(T, V)`` are probabilities."""
    top = _LANE - 36
    xs = _MARGIN + (_WIDTH - _MARGIN - 10) * (np.arange(len(frames)) + 0.5) / len(
        frames
    )

    def area(curve: np.ndarray, fill: str, opacity: float) -> str:
        points = " ".join(
            f"{x:.1f},{bottom - top * y:.1f}" for x, y in zip(xs, curve, strict=True)
        )
        return (
            f'<polygon points="{xs[0]:.1f},{bottom:.1f} {points} '
            f'{xs[-1]:.1f},{bottom:.1f}" fill="{fill}" opacity="{opacity}"/>'
        )

    parts = [
        f'<text x="4" y="{bottom - top / 2:.0f}">{head}</text>',
        area(frames[:, 0], "#bbbbbb", 0.35),
    ]
    for token in (np.flatnonzero((frames[:, 1:] >= _SHOWN).any(0)) + 1).tolist():
        curve = frames[:, token]
        parts.append(area(curve, colour, 0.6))
        parts += [
            f'<text x="{xs[peak]:.1f}" y="{bottom - top * curve[peak] - 4:.1f}"'
            f' text-anchor="middle" fill="{colour}">{escape(_letter(tokens[token]))}'
            "</text>"
            for peak in _peaks(curve)
        ]
    return parts


def _peaks(curve: np.ndarray) -> list[int]:
    """Highest frame of each stretch in which a token is probable."""
    above = np.flatnonzero(curve >= _SHOWN)
    stretches = np.split(above, np.flatnonzero(np.diff(above) > 1) + 1)
    return [int(s[np.argmax(curve[s])]) for s in stretches if len(s)]


def _letter(token: str) -> str:
    """What to print: a jamo that is to join others is shown as a letter of its own."""
    if token == "<space>":
        return "␣"
    words = unicodedata.name(token, "").split() if len(token) == 1 else []
    if words[:1] == ["HANGUL"] and words[1] in ("CHOSEONG", "JUNGSEONG", "JONGSEONG"):
        try:
            return unicodedata.lookup(" ".join(["HANGUL LETTER", *words[2:]]))
        except KeyError:  # an old jamo
            return token
    return token
