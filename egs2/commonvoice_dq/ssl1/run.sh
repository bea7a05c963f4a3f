#!/usr/bin/env bash
# DQ-Data2vec on nine languages of CommonVoice; --corpus mini needs no download.
# ./run.sh --help lists every option; what stands here are this recipe's defaults.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=mini # mini, commonvoice or kaldi
tag=dq      # exp/<tag>

exec ../../TEMPLATE/dq1/dq.sh --corpus "${corpus}" --tag "${tag}" "$@"
