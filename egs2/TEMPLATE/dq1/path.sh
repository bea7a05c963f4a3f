# shellcheck shell=bash
# Environment of every recipe: which Python, which package, which job launcher.

dq_template=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dq_root=$(cd "${dq_template}/../../.." && pwd)

# The interpreter: --python, else an active environment, else the one 'make' made.
if [ -z "${DQ_PYTHON:-}" ]; then
    if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "${dq_root}/.venv/bin/python" ]; then
        PATH=${dq_root}/.venv/bin:${PATH}
    fi
    DQ_PYTHON=$(command -v python3 || true)
fi
export DQ_PYTHON

# In a checkout its package goes before an installed one.
if [ -d "${dq_root}/espnet2_dq" ]; then
    export PYTHONPATH=${dq_root}${PYTHONPATH:+:${PYTHONPATH}}
fi

# Last on PATH: a site's own run.pl, slurm.pl or queue.pl wins.
export PATH=${PATH}:${dq_template}/utils
export LC_ALL=C PYTHONIOENCODING=UTF-8 PYTHONUTF8=1
