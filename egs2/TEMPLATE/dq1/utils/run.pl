#!/usr/bin/env bash
# Local jobs by the contract of Kaldi's run.pl. The name counts: espnet2.bin.launch
# decides by it what kind of machine it talks to. A run.pl earlier on PATH wins.
exec "${DQ_PYTHON:-python3}" -m espnet2_dq.bin.run_local "$@"
