"""Decoding with two heads: time of ``merge`` and ``rescore``, and quality of search.

Synthetic posteriors (``test/korean_posteriors.py``): T = 500, 2300 syllables, 75
graphemes, peaky, with correlated doubts. One thread, CPU seconds, turns A B A B over
the same utterances, medians:

* ``merge``, ``rescore``: ours, from posteriors to the best text;
* ``ctc_beam_decoder``: the C++ peer on both heads, then K-wav2vec's merging;
* ``pyctcdecode``: what K-wav2vec itself uses; it pins numpy<2, so it is rarely
  installed beside us: skipped then.

Quality: joint log-probability (exact, of both heads) of the best text of ``rescore``
minus that of ``merge``, paired, and character errors, which need not follow.

    python benchmarks/korean_decode.py --repeats 3 --utterances 200
"""

import argparse
import json
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))

from korean_posteriors import Example, example, token_lists

from espnet2_dq.decode.korean import KoreanDecodeOptions, KoreanDecoder
from espnet2_dq.decode.merge import merge
from espnet2_dq.score.error_rates import count_errors
from espnet2_dq.text.hangul import normalise

TIMED = 4  # utterances in each turn
Decode = Callable[[Example], str]


def labels(tokens: list[str]) -> list[str]:
    """What the peers are told; tokens that are no text get private characters."""
    special = {"<blank>": "", "<space>": " "}
    return [
        special.get(t, t if len(t) == 1 else chr(0xE000 + i))
        for i, t in enumerate(tokens)
    ]


def peer(module: str, lists: dict[str, list[str]], beam: int) -> Decode | None:
    """A package with pyctcdecode's interface, on both heads, and merged."""
    try:
        package = __import__(module)
    except ImportError:
        return None
    decoders = {h: package.build_ctcdecoder(labels(t)) for h, t in lists.items()}

    def decode(case: Example) -> str:
        found = {}
        for head, decoder in decoders.items():
            hypotheses = decoder.decode_beams(case.log_probs[head], beam_width=beam)
            found[head] = [(normalise(h[0]), float(h[3])) for h in hypotheses]
        return merge(found)[0].text

    return decode


def ours(mode: str, lists: dict[str, list[str]], beam: int, **values: str) -> Decode:
    decoder = KoreanDecoder(lists, KoreanDecodeOptions(mode, beam_size=beam, **values))
    return lambda case: decoder.decode(case.log_probs)[0].text


def measure_time(
    lists: dict[str, list[str]], cases: list[Example], beam: int, repeats: int
) -> dict:
    """Median CPU milliseconds per utterance, and ratios."""
    modules = ("ctc_beam_decoder", "pyctcdecode")
    functions = {mode: ours(mode, lists, beam) for mode in ("merge", "rescore")}
    for module in modules:
        function = peer(module, lists, beam)
        if function is None:
            print(f"{module} is not installed: skipped")
        else:
            functions[module] = function
    for name, function in functions.items():  # compiles, and fills caches
        texts = [function(case) for case in cases]
        if name in modules and texts != [functions["merge"](case) for case in cases]:
            raise RuntimeError(f"{name} and merge decode differently")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for case in cases:
            for name, function in functions.items():
                start = time.process_time()
                function(case)
                seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "bench": "korean_decode_time",
        "beam": beam,
        "cpu_ms": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "merge_to": {
            name: round(medians["merge"] / medians[name], 3)
            for name in modules
            if name in medians
        },
        "rescore_adds": round(medians["rescore"] / medians["merge"] - 1, 3),
    }


def measure_quality(
    lists: dict[str, list[str]], cases: list[Example], beam: int, combination: str
) -> dict:
    """Joint log-probability of ``rescore`` minus ``merge``, and character errors."""
    options = KoreanDecodeOptions("rescore", beam_size=beam, combination=combination)
    rescore = KoreanDecoder(lists, options)
    merged = ours("merge", lists, beam)
    differences, errors, characters = [], {"merge": 0, "rescore": 0}, 0
    for case in cases:
        scores = {h.text: h.score for h in rescore.candidates(case.log_probs)}
        texts = {
            "merge": merged(case),
            "rescore": rescore.decode(case.log_probs)[0].text,
        }
        differences.append(scores[texts["rescore"]] - scores[texts["merge"]])
        characters += len(case.text)
        for mode, text in texts.items():
            errors[mode] += count_errors(case.text, text).errors
    values = np.array(differences)
    return {
        "bench": "korean_decode_quality",
        "beam": beam,
        "combination": combination,
        "utterances": len(cases),
        "mean_difference_nat": round(float(values.mean()), 4),
        "standard_error": round(float(values.std(ddof=1)) / math.sqrt(len(values)), 4),
        "wins": int((values > 1e-6).sum()),
        "losses": int((values < -1e-6).sum()),
        "cer_percent": {m: round(100 * e / characters, 3) for m, e in errors.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--beams", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--utterances", type=int, default=200)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # the peers complain about missing extras
    lists = token_lists()
    count = max(TIMED, args.utterances)
    cases = [example(lists, seed, frames=args.frames) for seed in range(count)]
    rows = []
    for beam in args.beams:
        rows.append(measure_time(lists, cases[:TIMED], beam, args.repeats))
        for combination in ("log_linear", "mixture"):
            chosen = cases[: args.utterances]
            rows.append(measure_quality(lists, chosen, beam, combination))
    for row in rows:
        print(json.dumps(row))
    for row in rows:
        if "cpu_ms" in row:
            shown = ", ".join(f"{n} {v} ms" for n, v in row["cpu_ms"].items())
            ratios = ", ".join(f"{v}x of {n}" for n, v in row["merge_to"].items())
            print(
                f"beam {row['beam']}: {shown}; merge is {ratios}; rescore adds "
                f"{100 * row['rescore_adds']:.0f} %"
            )
        else:
            print(
                f"beam {row['beam']}, {row['combination']}: rescore - merge = "
                f"{row['mean_difference_nat']} +- {row['standard_error']} nat, "
                f"{row['wins']} wins, {row['losses']} losses of {row['utterances']}"
            )


if __name__ == "__main__":
    main()
