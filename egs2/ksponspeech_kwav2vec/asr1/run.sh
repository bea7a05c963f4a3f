#!/usr/bin/env bash
# K-Wav2vec 2.0 on KsponSpeech or ClovaCall; --corpus mini needs no download.
# ./run.sh --help lists every option; what stands here are this recipe's defaults.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

corpus=mini # mini, ksponspeech, clovacall or kaldi
tag=kwav2vec # exp/<tag>

exec ../../TEMPLATE/dq1/kwav2vec.sh --corpus "${corpus}" --tag "${tag}" "$@"
