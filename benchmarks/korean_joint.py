"""The one-pass joint search: time, memory, and quality of search.

Synthetic posteriors (``test/korean_posteriors.py``): T = 500, 2300 syllables, 75
graphemes. One thread, CPU seconds, turns A B A B, medians.

* ``espnet``: ESPnet's BeamSearch with its CTCPrefixScorer on the syllable head alone.
  It takes a minute and more for an utterance, so a few output tokens are timed and
  scaled to the length that ``joint`` found (the first token, which is cheaper, once).
  ``--full`` runs it to the end.
* ``joint``: ESPnet's BeamSearch with our scorer of both heads.
* ``joint_batch``: the same in BatchBeamSearch.

Memory: peak of a child process that imports and decodes. Quality: joint
log-probability of the best text, paired with that of ``rescore``.

    python benchmarks/korean_joint.py --repeats 3 --utterances 50
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))

from korean_posteriors import Example, example, token_lists

from espnet2_dq.decode.beam import Posteriors
from espnet2_dq.decode.joint_search import JointOptions, JointSearch
from espnet2_dq.decode.korean import KoreanDecodeOptions, KoreanDecoder
from espnet2_dq.espnet_compat import BeamSearch, CTCPrefixScorer, espnet_version
from espnet2_dq.text.hangul import syllables

TIMED_TOKENS = 3


class CopiedPosteriors(Posteriors):
    """ESPnet's scorer writes into padded batches; the input must survive."""

    def log_softmax(self, log_probs: torch.Tensor) -> torch.Tensor:
        return log_probs.clone()


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def espnet_search(vocab: int, beam: int) -> BeamSearch:
    return BeamSearch(
        scorers={"ctc": CTCPrefixScorer(CopiedPosteriors(), vocab - 1)},
        weights={"ctc": 1.0},
        beam_size=beam,
        vocab_size=vocab,
        sos=vocab - 1,
        eos=vocab - 1,
    )


def espnet_seconds(search: BeamSearch, case: Example, tokens: int, full: bool) -> float:
    """CPU seconds of ESPnet's search, for ``tokens`` and the end."""
    x = torch.from_numpy(case.log_probs["syllable"])
    if full:
        return cpu_seconds(lambda: search(x=x, maxlenratio=0.0))
    first = cpu_seconds(lambda: search(x=x, maxlenratio=-1))
    more = cpu_seconds(lambda: search(x=x, maxlenratio=-TIMED_TOKENS))
    return first + (more - first) / (TIMED_TOKENS - 1) * tokens


def measure_time(args: argparse.Namespace, lists: dict[str, list[str]]) -> dict:
    """Median CPU seconds of each contender, and ratios to ESPnet's."""
    case = example(lists, 0, frames=args.frames)
    searches = {
        name: JointSearch(lists, JointOptions(args.beam, batched=batched))
        for name, batched in (("joint", False), ("joint_batch", True))
    }
    (best,) = searches["joint"].decode(case.log_probs)  # compiles as well
    searches["joint_batch"].decode(case.log_probs)
    tokens = len(syllables(best.text))
    peer = espnet_search(len(lists["syllable"]), args.beam)
    seconds: dict[str, list[float]] = {"espnet": [], **{name: [] for name in searches}}
    for _ in range(args.repeats):
        seconds["espnet"].append(espnet_seconds(peer, case, tokens, args.full))
        for name, search in searches.items():
            seconds[name].append(cpu_seconds(lambda s=search: s.decode(case.log_probs)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "bench": "korean_joint_time",
        "espnet_version": espnet_version(),
        "frames": args.frames,
        "vocab": {head: len(tokens) for head, tokens in lists.items()},
        "beam": args.beam,
        "tokens_found": tokens,
        "candidates": len(searches["joint"].scorer.candidates.tokens),
        "espnet_scaled": not args.full,
        "cpu_s": {name: round(value, 3) for name, value in medians.items()},
        "faster": {n: round(medians["espnet"] / medians[n], 1) for n in searches},
    }


def measure_memory(args: argparse.Namespace) -> dict:
    """Peak resident memory of a process that decodes two utterances, MiB."""
    command = [sys.executable, __file__, "--memory_child", "--beam", str(args.beam)]
    command += ["--frames", str(args.frames)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"bench": "korean_joint_memory", **json.loads(run.stdout)}


def memory_child(args: argparse.Namespace, lists: dict[str, list[str]]) -> None:
    imported = peak_mib()
    search = JointSearch(lists, JointOptions(args.beam, batched=False))
    for seed in range(2):
        search.decode(example(lists, seed, frames=args.frames).log_probs)
    print(json.dumps({"imports_mib": imported, "peak_mib": peak_mib()}))


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure_quality(
    args: argparse.Namespace, lists: dict[str, list[str]], rescore_beam: int
) -> dict:
    """Joint log-probability of the best text: ``joint`` minus ``rescore``, paired."""
    joint = JointSearch(lists, JointOptions(args.beam))
    options = KoreanDecodeOptions(mode="rescore", beam_size=rescore_beam)
    rescore = KoreanDecoder(lists, options)
    differences = []
    for seed in range(args.utterances):
        log_probs = example(lists, 1000 + seed, frames=args.frames).log_probs
        ours, theirs = joint.decode(log_probs)[0], rescore.decode(log_probs)[0]
        differences.append(ours.score - theirs.score)
    values = np.array(differences)
    return {
        "bench": "korean_joint_quality",
        "utterances": args.utterances,
        "joint_beam": args.beam,
        "rescore_beam": rescore_beam,
        "mean_difference_nats": round(float(values.mean()), 4),
        "standard_error": round(float(values.std(ddof=1) / len(values) ** 0.5), 4),
        "wins": int((values > 1e-3).sum()),
        "losses": int((values < -1e-3).sum()),
        "worst_nats": round(float(values.min()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--vocab", type=int, default=2300)
    parser.add_argument("--beam", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--utterances", type=int, default=50)
    parser.add_argument("--full", action="store_true", help="run ESPnet to the end")
    parser.add_argument("--memory_child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    lists = token_lists(syllable_size=args.vocab)
    if args.memory_child:
        memory_child(args, lists)
        return
    print(json.dumps(measure_time(args, lists)), flush=True)
    print(json.dumps(measure_memory(args)), flush=True)
    for rescore_beam in (10, 100):
        print(json.dumps(measure_quality(args, lists, rescore_beam)), flush=True)


if __name__ == "__main__":
    main()
