"""Stage 3: which utterances of a checked directory go on, and why others do not."""

from collections.abc import Iterable
from dataclasses import dataclass

from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.data.rejects import Reject, format_kinds
from espnet2_dq.errors import DataError


@dataclass(frozen=True)
class FilterRules:
    """Bounds on utterances; a bound of 0 is off.

    Attributes:
        min_duration_s: Shorter utterances go.
        max_duration_s: Longer utterances go.
        max_characters_per_s: Faster transcripts go: an encoder gives 50 frames a
            second, and CTC needs a frame per label.
        keep_unlabelled: Keep utterances with an empty transcript (pretraining can
            use them; the fine-tuning subset leaves them out).
    """

    min_duration_s: float = 0.4
    max_duration_s: float = 30.0
    max_characters_per_s: float = 50.0
    keep_unlabelled: bool = False

    def broken_by(self, utterance: Utterance) -> str | None:
        """The reason to leave ``utterance`` out, or ``None``."""
        seconds, text = utterance.duration_s, utterance.text
        if self.min_duration_s and seconds < self.min_duration_s:
            return f"too short: {seconds:.2f} s, minimum {self.min_duration_s} s"
        if self.max_duration_s and seconds > self.max_duration_s:
            return f"too long: {seconds:.2f} s, maximum {self.max_duration_s} s"
        if text is None:
            return None
        if not text.strip():
            return None if self.keep_unlabelled else "empty transcript: no text"
        rate = len(text) / seconds
        if self.max_characters_per_s and rate > self.max_characters_per_s:
            return (
                f"transcript too long: {rate:.0f} characters per second, maximum "
                f"{self.max_characters_per_s:g}"
            )
        return None


def filter_dir(
    directory: KaldiDir, rules: FilterRules, checked: Iterable[Reject], name: str
) -> KaldiDir:
    """Apply the check stage's rejects and ``rules``; reasons are kept.

    Args:
        directory: A set of stage 1.
        rules: Bounds on utterances.
        checked: (utterance, reason) pairs of stage 2.
        name: Name of the set, for messages.

    Raises:
        DataError: Nothing is left; the counts by rule are listed.
    """
    broken = {u: reason for u, reason in checked if u in directory.utterances}
    for utterance in directory:
        if utterance.utt not in broken:
            reason = rules.broken_by(utterance)
            if reason is not None:
                broken[utterance.utt] = reason
    rejects = [*directory.rejects, *sorted(broken.items())]
    if len(broken) == len(directory):
        raise DataError(
            f"{name}: 0 utterances left of {len(directory)}; dropped by rule: "
            f"{format_kinds(sorted(broken.items())) or 'none, the set was empty'}. "
            "Loosen the rule that drops most (python -m espnet2_dq.bin.filter_data "
            "--help)"
        )
    kept = directory.subset([u.utt for u in directory if u.utt not in broken])
    kept.rejects = rejects
    return kept
