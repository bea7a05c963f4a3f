#!/usr/bin/env bash
# Rows of the paper's tables, side by side, then the tables: published and ours.
# ./tables.sh --help lists the options; conf/tables.yaml the rows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# shellcheck source=path.sh
. ./path.sh
exec "${DQ_PYTHON}" -m espnet2_dq.bin.run_tables "$@"
