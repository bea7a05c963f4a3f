"""CPU time of CTC beam search in ESPnet's own search, with our scorer and ESPnet's.

Contenders, each over the same synthetic posteriors (peaky, with confusions), one
thread, CPU seconds, turns A B A B, medians:

* ``espnet``: BatchBeamSearch with CTCPrefixScorer alone;
* ``ours``: the same class with our scorer in its place (same results, checked);
* ``decoder``: our BeamDecoder (safe end, pruning, exact scores) as the recipe uses it.

Prints JSON lines and a table.

    python benchmarks/decode.py --repeats 3
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from espnet2_dq.decode.beam import BeamDecoder, BeamOptions, Posteriors
from espnet2_dq.decode.prefix_scorer import PrunedCTCPrefixScorer
from espnet2_dq.espnet_compat import (
    BatchBeamSearch,
    BeamSearch,
    CTCPrefixScorer,
    espnet_version,
)


class CopiedPosteriors(Posteriors):
    """ESPnet's scorer writes into padded batches; the input must survive."""

    def log_softmax(self, log_probs: torch.Tensor) -> torch.Tensor:
        return log_probs.clone()


def synthetic_log_probs(frames: int, vocab: int, tokens: int) -> torch.Tensor:
    """``(T, V)``: tokens of 2-3 frames, each with a rival, blanks between."""
    generator = torch.Generator().manual_seed(frames + vocab)
    logits = torch.randn(frames, vocab, generator=generator)
    logits[:, 0] += 8.0
    starts = torch.linspace(1, frames - 4, tokens).round().long()
    for start in starts.tolist():
        best, rival = torch.randint(1, vocab, (2,), generator=generator).tolist()
        length = int(torch.randint(2, 4, (1,), generator=generator))
        logits[start : start + length, 0] -= 8.0
        logits[start : start + length, best] += 9.0
        logits[start : start + length, rival] += 7.0
    return logits.log_softmax(-1)


def search_with(
    scorer: object, vocab: int, beam: int, *, batched: bool
) -> Callable[[torch.Tensor], tuple[list[int], float]]:
    """ESPnet's search around one CTC scorer; returns the best tokens and score."""
    search = (BatchBeamSearch if batched else BeamSearch)(
        scorers={"ctc": scorer},
        weights={"ctc": 1.0},
        beam_size=beam,
        vocab_size=vocab,
        sos=0,
        eos=0,
    )

    def decode(log_probs: torch.Tensor) -> tuple[list[int], float]:
        best = search(x=log_probs)[0]
        return [i for i in best.yseq.tolist() if i], float(best.score)

    return decode


def contenders(
    vocab: int, beam: int, *, batched: bool
) -> dict[str, Callable[[torch.Tensor], tuple[list[int], float]]]:
    """Name -> function from posteriors to the best tokens and their score."""
    decoder = BeamDecoder(vocab, BeamOptions(beam_size=beam, batched=batched))

    def ours_full(log_probs: torch.Tensor) -> tuple[list[int], float]:
        (best,) = decoder.decode(log_probs)
        return list(best.ids), best.score

    theirs = CTCPrefixScorer(CopiedPosteriors(), 0)
    ours = PrunedCTCPrefixScorer(CopiedPosteriors(), 0)
    return {
        "espnet": search_with(theirs, vocab, beam, batched=batched),
        "ours": search_with(ours, vocab, beam, batched=batched),
        "decoder": ours_full,
    }


def measure(vocab: int, args: argparse.Namespace) -> dict[str, object]:
    """One row: median CPU seconds of each contender, and ratios to ESPnet's."""
    log_probs = synthetic_log_probs(args.frames, vocab, args.tokens)
    functions = contenders(vocab, args.beam, batched=args.search == "batch")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    results = {name: function(log_probs) for name, function in functions.items()}
    for _ in range(args.repeats):
        for name, function in functions.items():
            start = time.process_time()
            function(log_probs)
            seconds[name].append(time.process_time() - start)
    (ids, score), *others = results.values()
    for other_ids, other_score in others:
        if ids != other_ids or abs(score - other_score) > 1e-2:
            raise RuntimeError(f"results differ: {results}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "bench": "decode",
        "espnet_version": espnet_version(),
        "frames": args.frames,
        "vocab": vocab,
        "beam": args.beam,
        "search": args.search,
        "tokens_found": len(ids),
        "cpu_s": {name: round(value, 5) for name, value in medians.items()},
        "ratio": {
            name: round(medians[name] / medians["espnet"], 4)
            for name in ("ours", "decoder")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--tokens", type=int, default=30)
    parser.add_argument("--vocab", type=int, nargs="+", default=[60, 170])
    parser.add_argument("--beam", type=int, default=10)
    parser.add_argument("--search", choices=["batch", "single"], default="batch")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(vocab, args) for vocab in args.vocab]
    for row in rows:
        print(json.dumps(row))
    print(f"{'V':>5} {'espnet s':>10} {'ours s':>10} {'decoder s':>10} {'ratio':>8}")
    for row in rows:
        cpu, ratio = row["cpu_s"], row["ratio"]
        print(
            f"{row['vocab']:>5} {cpu['espnet']:>10.3f} {cpu['ours']:>10.4f}"
            f" {cpu['decoder']:>10.4f} {ratio['ours']:>7.3f}x"
        )


if __name__ == "__main__":
    main()
