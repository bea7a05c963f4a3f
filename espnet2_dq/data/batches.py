"""Batches of one epoch: languages balanced, lengths bucketed, reproducible.

ESPnet's ``catpow`` sampler draws batches in random length order and counts
unpadded samples; here a batch is bounded by its *padded* size and holds
utterances of similar length. Everything follows from ``(seed, epoch)``, so a
resumed run sees the batches an uninterrupted one would have seen.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_dq.errors import ConfigError, DataError


@dataclass(frozen=True)
class Draw:
    """One use of an utterance in an epoch.

    Attributes:
        utt_id: Utterance id.
        ordinal: 0 for its first use in this epoch, 1 for the next, ...; part of
            the seed of crop and mask, so that repeats are not copies.
    """

    utt_id: str
    ordinal: int = 0


def language_probabilities(
    hours: Mapping[str, float], power: float
) -> dict[str, float]:
    """Share of each language, p_l proportional to (n_l / N)^power (paper, IV.B).

    Args:
        hours: Duration of each language, in any unit.
        power: 1 keeps the corpus' shares, 0.5 is the paper's, 0 is uniform.
    """
    total = sum(hours.values())
    weights = {lang: (n / total) ** power for lang, n in hours.items()}
    norm = sum(weights.values())
    return {lang: w / norm for lang, w in weights.items()}


class BalancedPlan:
    """The batches of every epoch of one training set.

    Args:
        num_samples: Samples of each utterance as the model sees it (after the
            crop), per utterance id.
        languages: Language of each utterance id.
        batch_samples: Largest padded size of a batch, utterances x longest, over
            all ranks together.
        num_batches: Batches in an epoch; ``None`` is one pass over the hours.
        power: Exponent of the language balance.
        seed: Seed of the run.
        min_utterances: Fewest utterances in a batch (number of ranks).

    Raises:
        DataError: No utterance, or an utterance without a language.
        ConfigError: An utterance is longer than a whole batch.
    """

    def __init__(
        self,
        num_samples: Mapping[str, int],
        languages: Mapping[str, str],
        *,
        batch_samples: int,
        num_batches: int | None,
        power: float,
        seed: int,
        min_utterances: int = 1,
    ) -> None:
        if not num_samples:
            raise DataError("training set: 0 utterances; see the filter stage's report")
        longest = max(num_samples, key=lambda utt: num_samples[utt])
        if num_samples[longest] * min_utterances > batch_samples:
            raise ConfigError(
                f"batch_seconds: utterance {longest} has {num_samples[longest]} samples"
                f" and a batch needs {min_utterances} such utterances, but holds only"
                f" {batch_samples} samples; raise batch_seconds or lower crop_seconds"
            )
        self.num_samples = dict(num_samples)
        self.batch_samples = batch_samples
        self.seed = seed
        self.min_utterances = min_utterances
        self.members: dict[str, list[str]] = {}
        for utt in sorted(num_samples):
            if utt not in languages:
                raise DataError(f"utt2lang: no language for utterance {utt}")
            self.members.setdefault(languages[utt], []).append(utt)
        self.samples = {
            lang: float(sum(num_samples[u] for u in utts))
            for lang, utts in self.members.items()
        }
        self.shares = language_probabilities(self.samples, power)
        total = sum(self.samples.values())
        self.num_batches = num_batches or max(1, round(total / batch_samples))

    def epoch(self, epoch: int) -> list[list[Draw]]:
        """Return exactly ``num_batches`` batches for ``epoch`` (counted from 1)."""
        rng = np.random.default_rng((self.seed, epoch))
        pool = self._pool(epoch)
        batches = self._bucket(pool, rng)
        order = rng.permutation(len(batches))[: self.num_batches]
        return [batches[i] for i in order]

    def _pool(self, epoch: int) -> list[Draw]:
        """Draw each language's utterances from its endless shuffled sequence.

        The language's share is one of audio, not of utterances (reading R22), and
        every utterance is used before any is used again.
        """
        # Bucketing leaves some room unused, hence a pool that fills every batch.
        wanted = self.num_batches * self.batch_samples * 1.02
        draws: list[Draw] = []
        for lang, utts in self.members.items():
            mean = self.samples[lang] / len(utts)
            count = max(1, round(wanted * self.shares[lang] / mean))
            start = (epoch - 1) * count
            draws.extend(self._slice(lang, utts, start, count))
        shortfall = wanted - sum(self.num_samples[d.utt_id] for d in draws)
        return draws if shortfall <= 0 else self._top_up(draws, shortfall, epoch)

    def _slice(self, lang: str, utts: list[str], start: int, count: int) -> list[Draw]:
        """Positions ``start .. start + count`` of the language's sequence."""
        seen: dict[str, int] = {}
        draws = []
        position = start
        while position < start + count:
            turn, offset = divmod(position, len(utts))
            key = (self.seed, zlib.crc32(lang.encode()), turn)
            order = np.random.default_rng(key).permutation(len(utts))
            stop = min(len(utts), offset + start + count - position)
            for index in order[offset:stop]:
                utt = utts[index]
                draws.append(Draw(utt, seen.get(utt, 0)))
                seen[utt] = seen.get(utt, 0) + 1
            position += stop - offset
        return draws

    def _top_up(self, draws: list[Draw], shortfall: float, epoch: int) -> list[Draw]:
        """Rounding may leave the pool short of audio: repeat some of its draws."""
        rng = np.random.default_rng((self.seed, epoch, 1))
        extra = []
        seen: dict[str, int] = {}
        for draw in draws:
            seen[draw.utt_id] = max(seen.get(draw.utt_id, 0), draw.ordinal + 1)
        while shortfall > 0:
            utt = draws[int(rng.integers(len(draws)))].utt_id
            extra.append(Draw(utt, seen[utt]))
            seen[utt] += 1
            shortfall -= self.num_samples[utt]
        return draws + extra

    def _bucket(
        self, pool: Sequence[Draw], rng: np.random.Generator
    ) -> list[list[Draw]]:
        """Cut the pool, sorted by jittered length, into batches of bounded size."""
        lengths = np.array([self.num_samples[d.utt_id] for d in pool], dtype=np.float64)
        # The jitter mixes languages whose utterances differ a little in length.
        order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(pool)), kind="stable")
        batches: list[list[Draw]] = [[]]
        longest = 0
        for index in order:
            length = int(lengths[index])
            grown = max(longest, length)
            if batches[-1] and grown * (len(batches[-1]) + 1) > self.batch_samples:
                batches.append([])
                grown = length
            batches[-1].append(pool[index])
            longest = grown
        return [b for b in batches if len(b) >= self.min_utterances]


def sequential_batches(
    num_samples: Mapping[str, int], batch_samples: int, min_utterances: int = 1
) -> list[list[Draw]]:
    """Every utterance once, longest first, for validation and decoding.

    Args:
        num_samples: Samples per utterance id.
        batch_samples: Largest padded size; a longer utterance stands alone.
        min_utterances: Fewest utterances in a batch, so that every rank gets one;
            the last batch takes utterances again to reach it.
    """
    order = sorted(num_samples, key=lambda utt: (-num_samples[utt], utt))
    batches: list[list[Draw]] = []
    for utt in order:
        last = batches[-1] if batches else []
        grown = num_samples[last[0].utt_id] * (len(last) + 1) if last else 0
        if last and (grown <= batch_samples or len(last) < min_utterances):
            last.append(Draw(utt))
        else:
            batches.append([Draw(utt)])
    if batches and len(batches[-1]) < min_utterances:
        missing = min_utterances - len(batches[-1])
        batches[-1].extend(Draw(order[i % len(order)], 1) for i in range(missing))
    return batches
