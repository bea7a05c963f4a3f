#!/usr/bin/env bash
# Words for the phonemes of an experiment (paper, Table III: "+ Transcoder"), by a model
# that learns from text alone: ./transcoder.sh --exp exp/dq, after run.sh.
# ./transcoder.sh --help lists every option; what stands here are this recipe's defaults.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=mini # mini, commonvoice or kaldi

exec ../../TEMPLATE/dq1/transcoder.sh --corpus "${corpus}" "$@"
