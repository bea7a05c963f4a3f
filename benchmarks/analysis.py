"""Time and memory of stage 7 behind the model: metrics and figures of given codes.

As large as the paper's: 100,000 frames, 2 x 174 codes (30,276 joint ones), 174 phones,
9 languages. A process of its own makes codes in memory, measures them mixed and by
language with three shuffles each, and draws Figs. 2 and 3: seconds of CPU and wall, and
the most memory that it held. The bounds are 30 s and 1 GiB. One count in a full table
of labels x codes, of more than a hundred that are made, is timed beside ours.

    python benchmarks/analysis.py --frames 100000 --repeats 3
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from espnet2_dq.analysis.alignments import Alignments
from espnet2_dq.analysis.codes import CodeTable
from espnet2_dq.analysis.metrics import Quantizers, measure
from espnet2_dq.analysis.purity import count_pairs, joint_code
from espnet2_dq.analysis.stage_figures import code_figures
from espnet2_dq.data.ctm import PhoneSegment
from espnet2_dq.data.tables import write_table
from espnet2_dq.encoder.frame_grid import FrameGrid

PHONES, CLUSTERS, LANGUAGES, SPEAKERS = 174, 174, 9, 40
FRAMES_PER_UTTERANCE = 250
FRAMES_PER_PHONE = 4


def make_corpus(folder: Path, frames: int) -> tuple[CodeTable, Alignments]:
    """Random phones; codes that know a little of them, so that all codes occur."""
    rng = np.random.default_rng(0)
    number = -(-frames // FRAMES_PER_UTTERANCE)
    utts = [f"u{i:06d}" for i in range(number)]
    lengths = np.full(number, FRAMES_PER_UTTERANCE)
    lengths[-1] -= int(lengths.sum()) - frames
    langs = {utt: f"l{i % LANGUAGES}" for i, utt in enumerate(utts)}
    tables = {
        "utt2lang": langs,
        "utt2spk": {utt: f"s{i % SPEAKERS:02d}" for i, utt in enumerate(utts)},
        "utt2num_samples": {
            utt: str(320 * int(n) + 80) for utt, n in zip(utts, lengths, strict=True)
        },
    }
    for name, table in tables.items():
        write_table(folder / name, table)
    step = 0.02 * FRAMES_PER_PHONE
    phones, codes = {}, []
    for utt, length in zip(utts, lengths.tolist(), strict=True):
        spoken = rng.integers(0, PHONES, -(-length // FRAMES_PER_PHONE))
        phones[utt] = [
            PhoneSegment(i * step, step, f"p{p:03d}") for i, p in enumerate(spoken)
        ]
        label = np.repeat(spoken, FRAMES_PER_PHONE)[:length]
        noise = rng.integers(0, CLUSTERS, (length, 2))
        known = rng.random((length, 2)) < 0.2
        codes.append(np.where(known, label[:, None] % CLUSTERS, noise))
    language = rng.integers(0, LANGUAGES, (number, 2))
    table = CodeTable(
        utts, language.astype(np.int32), np.concatenate(codes).astype(np.int32), lengths
    )
    return table, Alignments("ctm", "memory", phones)


def peak_mib() -> float:
    """Most resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(frames: int) -> dict:
    """One measurement in this process."""
    grid = FrameGrid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, aligned = make_corpus(folder, frames)
        before = peak_mib()
        wall, cpu = time.perf_counter(), time.process_time()
        metrics = measure(
            table,
            folder,
            grid=grid,
            alignments=aligned,
            quantizers=Quantizers({"phoneme": CLUSTERS, "language": LANGUAGES}),
        )
        measured = time.process_time() - cpu
        code_figures(table, aligned, folder, metrics, grid)
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "bench": "analysis",
        "frames": frames,
        "joint_codes_in_use": metrics["acn"]["phoneme"],
        "metrics_cpu_s": round(measured, 2),
        "cpu_s": round(cpu_s, 2),
        "wall_s": round(wall_s, 2),
        "imports_and_data_mib": round(before),
        "peak_mib": round(peak_mib()),
    }


def dense_against_sparse(frames: int) -> dict:
    """One count of labels x joint codes: ours, and in a full table."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, PHONES, frames)
    codes = rng.integers(0, CLUSTERS, (frames, 2))
    joint = joint_code(codes)
    start = time.process_time()
    count_pairs(labels, joint)
    ours = time.process_time() - start
    start = time.process_time()
    table = np.zeros((PHONES, CLUSTERS**2))
    np.add.at(table, (labels, codes[:, 0] * CLUSTERS + codes[:, 1]), 1)
    theirs = time.process_time() - start
    return {
        "bench": "analysis_one_count",
        "sparse_cpu_s": round(ours, 4),
        "dense_cpu_s": round(theirs, 4),
        "dense_mib": round(table.nbytes / 2**20),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.frames)))
        return 0
    command = [sys.executable, __file__, "--child", "--frames", str(args.frames)]
    rows = []
    for _ in range(args.repeats):
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(run.stdout))
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(dense_against_sparse(args.frames)))
    seconds = statistics.median(row["wall_s"] for row in rows)
    peak = max(row["peak_mib"] for row in rows)
    print(f"median {seconds:.1f} s (bound 30), peak {peak} MiB (bound 1024)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
