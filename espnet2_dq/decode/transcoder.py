"""Words for the phonemes of a recogniser: ESPnet's BeamSearch over the TransCoder."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from espnet2_dq.asr.transcoder import Transcoder
from espnet2_dq.data.kaldi_dir import KaldiDir, Utterance
from espnet2_dq.decode.beam import BeamOptions, build_search
from espnet2_dq.decode.prefix_scorer import PrunedCTCPrefixScorer
from espnet2_dq.decode.records import Record
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.transcoder_data import language_tag, tagged_languages
from espnet2_dq.text.units import Inventory

_LOG_EVERY_S = 10.0


@dataclass(frozen=True)
class Spelling:
    """What the search found for one sentence.

    Attributes:
        characters: Tokens, ``<space>`` between words.
        score: Weighted log-probability of them and of the end.
        cut: Whether they fill all CTC frames: perhaps they should have gone on.
    """

    characters: list[str]
    score: float
    cut: bool


class TranscoderSearch:
    """Searches one sentence at a time.

    Args:
        model: In evaluation mode.
        beam_size: Hypotheses kept; 1 is greedy.
        ctc_weight: Share of CTC in the score: 0 the decoder alone, 1 CTC alone.
        device: Where the model computes.

    Raises:
        ConfigError: A beam that does not fit the characters, or a weight that is none.
    """

    def __init__(
        self,
        model: Transcoder,
        *,
        beam_size: int = 5,
        ctc_weight: float = 0.5,
        device: str = "cpu",
    ) -> None:
        if not 0.0 <= ctc_weight <= 1.0:
            raise ConfigError(f"--ctc_weight {ctc_weight}: between 0 and 1")
        self.model = model.to(device).eval()
        self.device = device
        self.phones = Inventory(tuple(model.src_token_list))
        self.languages = tagged_languages(model.src_token_list)
        scorers = {
            "decoder": (model.decoder, 1.0 - ctc_weight),
            "ctc": (PrunedCTCPrefixScorer(model.ctc, model.eos), ctc_weight),
        }
        used = {name: pair for name, pair in scorers.items() if pair[1] > 0}
        # Neither rewards longer hypotheses, so the search may stop as soon as no
        # running one can overtake.
        self.search = build_search(
            {name: scorer for name, (scorer, _) in used.items()},
            {name: weight for name, (_, weight) in used.items()},
            options=BeamOptions(beam_size, nbest=1, top_k=None),
            vocab_size=model.vocab_size,
            eos=model.eos,
        )

    @torch.no_grad()
    def spell(self, phones: Sequence[str], lang: str) -> Spelling:
        """Find the words of one sentence.

        Args:
            phones: Phonemes without word boundaries; none give no words.
            lang: Its language.

        Raises:
            ConfigError: The model has not learnt this language.
        """
        if not phones:
            return Spelling([], 0.0, False)
        if lang not in self.languages:
            raise ConfigError(
                f"language '{lang}': the TransCoder has learnt no text of it, only of"
                f" {' '.join(self.languages)}; train it with --text in this language"
            )
        tagged = [language_tag(lang), *phones]
        ids = torch.tensor([self.phones.encode(tagged)], device=self.device)
        encoded, _ = self.model.encode(ids, torch.tensor([ids.size(1)]))
        limit = ids.size(1) * self.model.conf.upsampling
        # A negative ratio is ESPnet's way to give the number itself.
        best = self.search(x=encoded[0], maxlenratio=-float(limit))[0]
        sequence = best.yseq.tolist()
        found = [i for i in sequence if i != self.model.eos]
        characters = [self.model.token_list[i] for i in found]
        return Spelling(characters, float(best.score), len(found) >= limit)

    def unknown(self, phones: Sequence[str]) -> int:
        """How many phonemes are not in the model's list."""
        return sum(phone not in self.phones.tokens for phone in phones)


def spell_set(
    search: TranscoderSearch, data: KaldiDir, hypotheses: Mapping[str, str], source: str
) -> list[Record]:
    """Spell the phonemes of every utterance of a set.

    Args:
        search: Model and search.
        data: The set: languages and durations.
        hypotheses: Utterance -> phonemes, blanks between them; may be empty.
        source: Where they are from, for messages.

    Raises:
        DataError: The two do not hold the same utterances.
    """
    _check_same(data, hypotheses, source)
    records: list[Record] = []
    unknown = total = cut = 0
    started = logged = time.perf_counter()
    for number, utterance in enumerate(data, start=1):
        phones = hypotheses[utterance.utt].split()
        spelling = search.spell(phones, utterance.lang)
        unknown, total = unknown + search.unknown(phones), total + len(phones)
        cut += spelling.cut
        records.append(_record(utterance, spelling))
        now = time.perf_counter()
        if now - logged >= _LOG_EVERY_S or number == len(data):
            logged = now
            left = (now - started) / number * (len(data) - number)
            logging.info("spelt %d/%d, %.0f s to go", number, len(data), left)
    if unknown:
        logging.warning(
            "%s: %d of %d phonemes are none that the TransCoder has learnt; many mean"
            " another G2P (stress marks?) than that of transcoder_data",
            source,
            unknown,
            total,
        )
    if cut:
        logging.warning(
            "%s: %d hypotheses fill all frames; a model with a larger"
            " model_conf.upsampling can write more characters for a phoneme",
            source,
            cut,
        )
    return records


def _record(utterance: Utterance, spelling: Spelling) -> Record:
    """Characters have no times: the phonemes' are in the recogniser's own file."""
    return Record(
        utterance.utt,
        utterance.lang,
        spelling.characters,
        spelling.score,
        start_s=[],
        end_s=[],
        token_scores=[],
        audio_s=utterance.duration_s,
    )


def _check_same(data: KaldiDir, hypotheses: Mapping[str, str], source: str) -> None:
    """Refuse phonemes of another set."""
    missing = sorted(data.utterances.keys() - hypotheses.keys())
    extra = sorted(hypotheses.keys() - data.utterances.keys())
    if missing or extra:
        raise DataError(
            f"{source}: {len(missing)} utterances of the set have no line and"
            f" {len(extra)} lines belong to no utterance, first"
            f" '{(missing + extra)[0]}'; decode this set (stage 10), or give the"
            " --data_dir that was decoded"
        )
