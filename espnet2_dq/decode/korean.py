"""Decoding of Korean posteriors: four modes, one interface (METHODS 7.6).

``greedy``: the best path of one head, at no cost. ``merge``: K-wav2vec's mixture of
two n-best lists. ``rescore``: the texts of both lists, scored exactly by both heads.
``joint``: one search over syllables that both heads score from the start.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_dq.decode.greedy import greedy_path
from espnet2_dq.decode.joint_hypothesis import JointHypothesis
from espnet2_dq.decode.posterior_checks import check_log_probs
from espnet2_dq.decode.spelling import GRAPHEME, SYLLABLE, spellings
from espnet2_dq.errors import ConfigError, DataError

MODES = ("greedy", "merge", "rescore", "joint")
Posteriors = Mapping[str, np.ndarray]
_Decode = Callable[[Posteriors, int | None], list[JointHypothesis]]


@dataclass(frozen=True)
class KoreanDecodeOptions:
    """What a user chooses.

    Attributes:
        mode: One of ``MODES``.
        head: Whose best path ``greedy`` takes; None: the syllable head's if there is
            one. The other modes use it to search one head only.
        beam_size: Hypotheses that each search keeps; at most the syllables' number.
        nbest: Texts returned, at most; at most the beam.
        weight: Of the syllable head, 0 to 1; the grapheme head has the rest.
        variant: Of ``merge``: ``sum`` or ``max``.
        combination: Of ``rescore`` and ``joint``: ``log_linear`` or ``mixture``.
        unk_penalty: What a syllable outside the list costs in the syllable head, nats,
            in ``rescore`` and ``joint``; None: it scores ``<unk>``.
        beam_logp: Of ``merge`` and ``rescore``, see ``PrefixSearchOptions``.
        token_logp: Likewise.
    """

    mode: str = "rescore"
    head: str | None = None
    beam_size: int = 100
    nbest: int = 1
    weight: float = 0.5
    variant: str = "sum"
    combination: str = "log_linear"
    unk_penalty: float | None = 5.0
    beam_logp: float = -10.0
    token_logp: float = -5.0

    def __post_init__(self) -> None:
        """Raise ``ConfigError`` for what needs no model to be seen wrong."""
        _one_of("mode", self.mode, MODES)
        _one_of("head", self.head, (None, GRAPHEME, SYLLABLE))
        _one_of("variant", self.variant, ("sum", "max"))
        _one_of("combination", self.combination, ("log_linear", "mixture"))
        if not 0.0 <= self.weight <= 1.0:
            raise ConfigError(
                f"weight: {self.weight}; the syllable head's share, 0 to 1, is allowed"
            )
        if self.beam_size < 1 or self.nbest < 1:
            raise ConfigError(
                f"beam_size: {self.beam_size}, nbest: {self.nbest}; give at least 1"
            )
        if self.nbest > self.beam_size:
            raise ConfigError(
                f"nbest: {self.nbest}; 1 to beam_size ({self.beam_size}) is allowed"
            )
        if self.unk_penalty is not None and not self.unk_penalty >= 0:
            raise ConfigError(
                f"unk_penalty: {self.unk_penalty}; give 0 or more nats, or null for "
                "the probability of <unk>"
            )


def _one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        choices = ", ".join(str(choice) for choice in allowed)
        raise ConfigError(f"{name}: {value!r}; one of {choices} is allowed")


class KoreanDecoder:
    """Decodes posteriors of one utterance after another.

    Args:
        token_lists: Head -> tokens by id, as ``model.token_lists``.
        options: What the user chose.

    Attributes:
        spellings: Head -> how it writes texts.

    Raises:
        ConfigError: Options that do not fit the model: a beam above the vocabulary, a
            mode that needs both heads for a model with one.
    """

    def __init__(
        self,
        token_lists: Mapping[str, Sequence[str]],
        options: KoreanDecodeOptions | None = None,
    ) -> None:
        self.options = options or KoreanDecodeOptions()
        heads = list(token_lists) if self.options.head is None else [self.options.head]
        missing = [head for head in heads if head not in token_lists]
        if missing:
            raise ConfigError(
                f"head: {missing[0]}; the model has {', '.join(token_lists)}"
            )
        self.spellings = spellings({head: token_lists[head] for head in heads})
        self._check_beam()
        simple = {
            "greedy": self._greedy,
            "merge": self._merge,
            "rescore": self._rescore,
        }
        mode = self.options.mode
        self._decode: _Decode = simple[mode] if mode in simple else self._joint()

    def decode(self, log_probs: Posteriors) -> list[JointHypothesis]:
        """Decode one utterance.

        Args:
            log_probs: Head -> ``(T, V)`` float32 natural logarithms, T >= 1, blank in
                column 0, no padding.

        Returns:
            One to ``nbest`` hypotheses, best first; a text may be empty.

        Raises:
            DataError: No frames, NaN, values above 0, or heads of different lengths.
            ConfigError: Widths that are not those of the token lists.
        """
        return self._decode(self._checked(log_probs), self.options.nbest)

    def candidates(self, log_probs: Posteriors) -> list[JointHypothesis]:
        """All hypotheses of one utterance, best first; see :meth:`decode`.

        The texts of both lists in ``merge`` and ``rescore``: with each head's score
        of them, ``tune_weight`` finds the best weight.
        """
        return self._decode(self._checked(log_probs), None)

    def lists(self, log_probs: Posteriors) -> dict[str, list[tuple[str, float]]]:
        """Each head's n-best texts with the scores of its own search.

        Args:
            log_probs: As for :meth:`decode`.
        """
        # numba: half a second that the greedy mode does not need
        from espnet2_dq.decode.prefix_search import PrefixSearchOptions, prefix_search

        o = self.options
        search = PrefixSearchOptions(o.beam_size, o.beam_logp, o.token_logp)
        found = {}
        for head, spelling in self.spellings.items():
            hypotheses = prefix_search(
                log_probs[head],
                search,
                space=spelling.space,
                forbidden=spelling.forbidden,
            )
            found[head] = [(spelling.text(ids), score) for ids, score in hypotheses]
        return found

    def _greedy(self, log_probs: Posteriors, _: int | None) -> list[JointHypothesis]:
        head = SYLLABLE if SYLLABLE in self.spellings else GRAPHEME
        spelling = self.spellings[head]
        path = greedy_path(log_probs[head])
        ids = [i for i in path.ids if i not in spelling.forbidden]
        return [JointHypothesis(spelling.text(ids), path.score, {head: path.score})]

    def _merge(self, log_probs: Posteriors, nbest: int | None) -> list[JointHypothesis]:
        from espnet2_dq.decode.merge import merge

        o = self.options
        return merge(self.lists(log_probs), o.weight, variant=o.variant)[:nbest]

    def _rescore(
        self, log_probs: Posteriors, nbest: int | None
    ) -> list[JointHypothesis]:
        from espnet2_dq.decode.rescore import RescoreOptions, rescore

        o = self.options
        options = RescoreOptions(o.weight, o.combination, o.unk_penalty)
        lists = self.lists(log_probs)
        return rescore(lists, log_probs, self.spellings, options, nbest=nbest)

    def _joint(self) -> _Decode:
        """The search is built once."""
        from espnet2_dq.decode.joint_search import JointOptions, JointSearch

        o = self.options
        options = JointOptions(
            beam_size=o.beam_size,
            nbest=o.nbest,
            weight=o.weight,
            combination=o.combination,
            unk_penalty=o.unk_penalty,
        )
        token_lists = {head: s.tokens for head, s in self.spellings.items()}
        search = JointSearch(token_lists, options)
        return lambda log_probs, _: search.decode(log_probs)

    def _check_beam(self) -> None:
        """A beam beyond the syllables is a slip, and ESPnet's search would fail."""
        syllable = self.spellings.get(SYLLABLE)
        if self.options.mode == "greedy" or syllable is None:
            return  # a prefix search of graphemes may well keep more than there are
        if self.options.beam_size > len(syllable.tokens):
            raise ConfigError(
                f"beam_size: {self.options.beam_size}; the syllable head has "
                f"{len(syllable.tokens)} tokens, so 1 to {len(syllable.tokens)} is "
                "allowed"
            )

    def _checked(self, log_probs: Posteriors) -> dict[str, np.ndarray]:
        """The heads' posteriors, if they are what the searches expect."""
        checked = {}
        for head, spelling in self.spellings.items():
            if head not in log_probs:
                raise ConfigError(
                    f"no posteriors of the {head} head, but of {', '.join(log_probs)}"
                )
            frames = log_probs[head]
            if frames.ndim != 2 or frames.shape[1] != len(spelling.tokens):
                raise ConfigError(
                    f"{head}: posteriors of shape {frames.shape}; the token list has "
                    f"{len(spelling.tokens)} tokens, so (T, {len(spelling.tokens)}) is "
                    "expected; use the list of the model"
                )
            checked[head] = frames
        lengths = {head: len(frames) for head, frames in checked.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"frames of the heads: {lengths}; they have to be the same")
        for head, frames in checked.items():
            check_log_probs(frames, head)
        return checked
