"""How long entry points take to start, against ``import torch``.

Each command is a fresh process that imports everything its work needs; interleaved
with ``import torch``, CPU seconds, medians. Only training may pay for ESPnet's tasks;
every other entry point should stay within 1.3 of ``import torch``.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys

IMPORT_TORCH = "import torch"
ENTRY_POINTS = {
    "prepare": "import espnet2_dq.bin.prepare_commonvoice",
    "check": "import espnet2_dq.bin.check_data, espnet2_dq.data.checks",
    "units": "import espnet2_dq.bin.units, espnet2_dq.data.unit_files",
    "stage": "import espnet2_dq.bin.stage",
    "score": "import espnet2_dq.bin.score, espnet2_dq.score.report",
    "report": "import espnet2_dq.bin.report",
    "build pretraining model": "import espnet2_dq.ssl.build",
    "build CTC model": "import espnet2_dq.asr.build",
    "decode": "import espnet2_dq.bin.decode, espnet2_dq.decode.corpus",
    "analyse": "import espnet2_dq.bin.analyse, espnet2_dq.analysis.stage",
    "pretrain (may pay)": "import espnet2_dq.tasks.ssl",
    "fine-tune (may pay)": "import espnet2_dq.tasks.ctc",
}


def cpu_seconds(statement: str) -> float:
    """User and system time of a fresh interpreter that runs ``statement``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Measure and print one JSON line per entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    cpu_seconds(IMPORT_TORCH)  # fills the disk cache
    for name, statement in ENTRY_POINTS.items():
        pairs = [
            (cpu_seconds(statement), cpu_seconds(IMPORT_TORCH)) for _ in range(repeats)
        ]
        ours, torch_s = (
            statistics.median(column) for column in zip(*pairs, strict=True)
        )
        row = {
            "benchmark": "startup",
            "entry_point": name,
            "cpu_s": round(ours, 2),
            "import_torch_cpu_s": round(torch_s, 2),
            "ratio": round(statistics.median(a / b for a, b in pairs), 2),
        }
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
