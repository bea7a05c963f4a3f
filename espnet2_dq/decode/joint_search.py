"""One-pass search over syllables with both heads' posteriors: the ``joint`` mode.

ESPnet's search with our scorer and the safe end of ``decode.beam``: hypotheses are
extended by syllables, best first, until no running one can overtake.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from espnet2_dq.decode.beam import BeamOptions, build_search
from espnet2_dq.decode.joint_hypothesis import JointHypothesis
from espnet2_dq.decode.joint_lattice import LOG_LINEAR, MIXTURE
from espnet2_dq.decode.joint_scorer import JointPrefixScorer
from espnet2_dq.decode.joint_vocabulary import CandidateOptions, JointVocabulary
from espnet2_dq.decode.spelling import GRAPHEME, HEADS, SPACE, SYLLABLE
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.hangul import join_syllables


@dataclass(frozen=True)
class JointOptions:
    """What a user chooses.

    Attributes:
        beam_size: Hypotheses kept at each step.
        nbest: Hypotheses returned; at most the beam.
        weight: Of the syllable head, 0 to 1; the grapheme head has the rest.
        combination: ``log_linear``: weighted sum of log-probabilities; ``mixture``:
            logarithm of the weighted sum of probabilities, as ``merge`` combines.
        candidates: Syllables that an utterance may use, at most (in a long one, one per
            frame); None: all.
        margin: A candidate costs at most so many nats against the best path.
        open_vocabulary: Syllables outside the list may be found through the graphemes.
        unk_penalty: What they cost in the syllable head, nats, which scores them as
            any token; None: it scores ``<unk>``.
        batched: BatchBeamSearch (faster) rather than BeamSearch.
    """

    beam_size: int = 10
    nbest: int = 1
    weight: float = 0.5
    combination: str = LOG_LINEAR
    candidates: int | None = CandidateOptions.count
    margin: float = CandidateOptions.margin
    open_vocabulary: bool = CandidateOptions.open_vocabulary
    unk_penalty: float | None = CandidateOptions.unk_penalty
    batched: bool = True

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for values that mean nothing."""
        if self.combination not in (LOG_LINEAR, MIXTURE):
            raise ConfigError(
                f"combination: {self.combination!r}; {LOG_LINEAR} or {MIXTURE} is "
                "allowed"
            )
        if self.candidates is not None and self.candidates < 1:
            raise ConfigError(
                f"candidates: {self.candidates}; give at least 1, or null for all"
            )
        if not self.margin >= 0:
            raise ConfigError(f"margin: {self.margin}; give 0 or more nats")
        if self.unk_penalty is not None and not self.unk_penalty >= 0:
            raise ConfigError(
                f"unk_penalty: {self.unk_penalty}; give 0 or more nats, or null for "
                "the probability of <unk>"
            )


class _SideBySide:
    """Stands for a model where the search's input is both heads' posteriors."""

    def __init__(self, grapheme_size: int) -> None:
        self.grapheme_size = grapheme_size

    def __call__(self, log_probs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take ``(1, T, V_g + V_s)`` apart."""
        size = self.grapheme_size
        return {GRAPHEME: log_probs[..., :size], SYLLABLE: log_probs[..., size:]}


class JointSearch:
    """Joint decoding of one utterance after another.

    Args:
        token_lists: ``grapheme`` and ``syllable`` -> tokens by id, blank first.
        options: What the user chose.

    Raises:
        ConfigError: Lists or options that do not fit each other.
    """

    def __init__(
        self, token_lists: Mapping[str, Sequence[str]], options: JointOptions
    ) -> None:
        self.options = options
        self.vocabulary = JointVocabulary(
            token_lists,
            CandidateOptions(
                options.candidates,
                options.margin,
                options.open_vocabulary,
                options.unk_penalty,
            ),
        )
        self.scorer = JointPrefixScorer(
            _SideBySide(len(token_lists[GRAPHEME])),
            self.vocabulary,
            weight=options.weight,
            combination=options.combination,
        )
        self.search = build_search(
            {"joint": self.scorer},
            {"joint": 1.0},
            options=BeamOptions(
                options.beam_size, options.nbest, batched=options.batched
            ),
            vocab_size=self.vocabulary.size,
            eos=self.vocabulary.eos,
        )

    def decode(self, log_probs: Mapping[str, np.ndarray]) -> list[JointHypothesis]:
        """Search one utterance.

        Args:
            log_probs: Head -> ``(T, V)`` natural logarithms, T >= 1, no padding.

        Returns:
            Up to ``nbest`` hypotheses of different texts, best first. Scores are exact:
            the combination of each head's log P(tokens | all frames) as ``ctc_loss``
            gives it (a syllable outside the list as ``unk_penalty`` says).

        Raises:
            DataError: No frames, NaN, or heads of different lengths.
            ConfigError: Widths that are not those of the token lists.
        """
        frames = {head: len(log_probs[head]) for head in HEADS}
        if len(set(frames.values())) > 1 or not frames[SYLLABLE]:
            raise DataError(
                f"frames of the heads: {frames}; the same number, at least "
                "1, is expected"
            )
        both = np.concatenate([log_probs[head] for head in HEADS], axis=1)
        with torch.no_grad():
            # maxlenratio 1: at most T tokens, and no end detection (see decode.beam)
            ended = self.search(x=torch.from_numpy(both).double(), maxlenratio=1.0)
        return self._ranked([tuple(hyp.yseq.tolist()) for hyp in ended])

    def _ranked(self, found: list[tuple[int, ...]]) -> list[JointHypothesis]:
        """Exact scores of the found texts.

        Spaces at the ends and repeated ones are no part of a text: it is scored without
        them, like the texts that a model is trained on.
        """
        tokens = self.scorer.candidates.tokens
        texts: dict[str, list[int]] = {}
        for ids in found:
            sequence = self.scorer.candidates_of(ids)
            if sequence is not None:
                sequence = _single_spaces(sequence, tokens)
                text = join_syllables(tokens[i] for i in sequence)
                texts.setdefault(text, sequence)
        texts = texts or {"": []}
        lattice = self.scorer.lattice
        heads = {
            head: one.log_probs(list(texts.values()))
            for head, one in lattice.heads.items()
        }
        scores = lattice.combine(heads)
        each = [
            {head: float(v[i]) for head, v in heads.items()} for i in range(len(texts))
        ]
        made = map(JointHypothesis, texts, scores.tolist(), each)
        ranked = sorted(made, key=lambda hypothesis: -hypothesis.score)
        possible = [h for h in ranked if h.score > -np.inf] or ranked[:1]
        return possible[: self.options.nbest]


def _single_spaces(sequence: Sequence[int], tokens: Sequence[str]) -> list[int]:
    """Candidates without spaces at the ends and after spaces."""
    kept: list[int] = []
    for candidate in sequence:
        if tokens[candidate] != SPACE or (kept and tokens[kept[-1]] != SPACE):
            kept.append(candidate)
    return kept[:-1] if kept and tokens[kept[-1]] == SPACE else kept
