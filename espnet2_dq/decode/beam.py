"""CTC prefix beam search: ESPnet's search with our scorer and a safe end.

Two traps of ESPnet's search with CTC alone are closed here. Its end detection
(maxlenratio 0) stops when hypotheses ended at three lengths in a row with scores far
below the best: where few tokens are possible, every prefix of a sure answer ends like
that while the answer itself is still running. And at the length bound ``<eos>`` is
appended unscored, even twice. So end detection is switched off, the bound is the
number of frames, where nothing is left to come and every score is exact, and the
search stops when no running hypothesis can overtake: a prefix is never less probable
than its continuations.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from espnet2_dq.decode.alignment import ctc_log_probs
from espnet2_dq.decode.greedy import BLANK_ID
from espnet2_dq.decode.hypothesis import CTCHypothesis
from espnet2_dq.decode.prefix_scorer import PrunedCTCPrefixScorer
from espnet2_dq.errors import ConfigError
from espnet2_dq.espnet_compat import BatchBeamSearch, BeamSearch, stop_search


class _StopsWhenSafe:
    """Mixin: end the search as soon as the n best can no longer change.

    Sound where no scorer rewards longer hypotheses: each step's score is at most 0.
    """

    nbest = 1

    def post_process(
        self,
        i: int,
        maxlen: int,
        minlen: int,
        maxlenratio: float,
        running_hyps: Any,
        ended_hyps: list[Any],
    ) -> Any:
        """ESPnet's bookkeeping of one step, then our test."""
        running = super().post_process(  # type: ignore[misc]
            i, maxlen, minlen, maxlenratio, running_hyps, ended_hyps
        )
        if len(running) == 0 or len(ended_hyps) < self.nbest:
            return running
        ended = sorted((float(hyp.score) for hyp in ended_hyps), reverse=True)
        hope = (
            max(float(hyp.score) for hyp in running)
            if isinstance(running, list)
            else float(running.score.max())
        )
        return stop_search(self, running) if ended[self.nbest - 1] >= hope else running


class SafeBeamSearch(_StopsWhenSafe, BeamSearch):  # type: ignore[misc]
    """ESPnet's BeamSearch for scorers whose scores never rise."""


class SafeBatchBeamSearch(_StopsWhenSafe, BatchBeamSearch):  # type: ignore[misc]
    """ESPnet's BatchBeamSearch, one utterance at a time, likewise."""


class Posteriors(torch.nn.Module):
    """Stands for a CTC head where the "encoder output" is log-probabilities already."""

    def log_softmax(self, log_probs: torch.Tensor) -> torch.Tensor:
        """The input, ``(B, T, V)``."""
        return log_probs


@dataclass(frozen=True)
class BeamOptions:
    """What a user chooses.

    Attributes:
        beam_size: Hypotheses kept at each step; at most the vocabulary.
        nbest: Hypotheses returned; at most the beam.
        top_k: Tokens per frame that may be searched; None: all of them.
        batched: BatchBeamSearch (faster) rather than BeamSearch.
    """

    beam_size: int = 10
    nbest: int = 1
    top_k: int | None = 20
    batched: bool = True


def build_search(
    scorers: Mapping[str, Any],
    weights: Mapping[str, float],
    *,
    options: BeamOptions,
    vocab_size: int,
    eos: int,
) -> Any:
    """Build the search over any scorers whose scores never rise.

    Args:
        scorers: Name -> ESPnet scorer.
        weights: Name -> weight, each positive.
        options: Beam and number of results.
        vocab_size: Columns that the scorers return.
        eos: Id of the end, also the start of every prefix.

    Raises:
        ConfigError: Sizes that do not fit each other.
    """
    beam = options.beam_size
    if not 1 <= beam <= vocab_size:
        raise ConfigError(
            f"beam_size: {beam}; the vocabulary has {vocab_size} tokens, so 1 to "
            f"{vocab_size} is allowed"
        )
    if not 1 <= options.nbest <= beam:
        raise ConfigError(f"nbest: {options.nbest}; 1 to beam_size ({beam}) is allowed")
    if options.top_k is not None and options.top_k < 1:
        raise ConfigError(f"top_k: {options.top_k}; give at least 1, or null for all")
    cls = SafeBatchBeamSearch if options.batched else SafeBeamSearch
    search = cls(
        scorers=dict(scorers),
        weights=dict(weights),
        beam_size=beam,
        vocab_size=vocab_size,
        sos=eos,
        eos=eos,
        # CTC alone has no full scorer to pre-select tokens by
        pre_beam_score_key=None,
    )
    search.nbest = options.nbest
    for base in cls.__mro__:  # ESPnet logs lines, and a false warning, per utterance
        if base.__module__.startswith("espnet"):
            logging.getLogger(base.__module__).setLevel(logging.ERROR)
    return search


class BeamDecoder:
    """Prefix beam search over one utterance's posteriors.

    Args:
        vocab_size: V, blank included.
        options: Beam and number of results.
        eos: Id of ``<sos/eos>``; None: the vocabulary has none.

    Raises:
        ConfigError: Sizes that do not fit each other.
    """

    def __init__(
        self, vocab_size: int, options: BeamOptions, *, eos: int | None = None
    ) -> None:
        self.options = options
        self.eos = BLANK_ID if eos is None else eos
        self.search = build_search(
            {"ctc": PrunedCTCPrefixScorer(Posteriors(), self.eos, top_k=options.top_k)},
            {"ctc": 1.0},
            options=options,
            vocab_size=vocab_size,
            eos=self.eos,
        )

    def decode(self, log_probs: torch.Tensor) -> list[CTCHypothesis]:
        """Search one utterance.

        Args:
            log_probs: ``(T, V)`` natural logarithms, T >= 1, no padding.

        Returns:
            Up to ``nbest`` hypotheses, best first; scores are exact:
            log P(tokens | all frames), as ``ctc_loss`` gives it.
        """
        with torch.no_grad():
            # maxlenratio 1: at most T tokens, and no end detection (see above)
            ended = self.search(x=log_probs.cpu().double(), maxlenratio=1.0)
            found = {tuple(self._tokens(hyp.yseq.tolist())): None for hyp in ended}
            sequences = list(found) or [()]
            scores = ctc_log_probs(log_probs, sequences)
        ranked = sorted(zip(scores, sequences, strict=True), key=lambda x: -x[0])
        possible = [(s, ids) for s, ids in ranked if s > -float("inf")] or ranked[:1]
        return [CTCHypothesis(ids, s) for s, ids in possible[: self.options.nbest]]

    def _tokens(self, yseq: list[int]) -> list[int]:
        """Tokens between the start and the end, which may stand there twice."""
        return [token for token in yseq if token != self.eos]
