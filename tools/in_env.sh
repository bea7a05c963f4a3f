#!/usr/bin/env bash
# Run a command in the project's virtual environment, made first if need be.
#
#   tools/in_env.sh COMMAND [ARG]...      PYTHON=python3.12 selects the interpreter
#
# The environment is .venv-3.11 or .venv-3.12 (ESPnet 202511 or 202611); .venv
# points at the one made last. It is made anew when pyproject.toml or the
# constraints file changes. No root and no apt are needed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { echo "set-up: $*" >&2; }

# The interpreter's real path, or nothing if it does not run. pyenv's shims print
# help instead of running a version that is installed but not selected: ask pyenv.
find_python() {
    local name=$1 version
    if "${name}" -c 'import sys; print(sys.executable)' 2>/dev/null; then return; fi
    command -v pyenv >/dev/null || return 0
    version=$(pyenv whence "${name}" 2>/dev/null | tail -n 1) || return 0
    if [ -n "${version}" ]; then
        PYENV_VERSION=${version} "${name}" -c 'import sys; print(sys.executable)'
    fi
}

python_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# Which Python: $PYTHON if given, else the first of the usual names that we support.
choose_python() {
    local name path
    for name in ${PYTHON:-python3 python3.11 python3.12}; do
        path=$(find_python "${name}")
        [ -n "${path}" ] || continue
        case $(python_version "${path}") in
        3.11 | 3.12) echo "${path}" && return ;;
        esac
        say "${name} is Python $(python_version "${path}"); 3.11 or 3.12 is needed"
    done
    say "no Python 3.11 or 3.12 runs under the name '${PYTHON:-python3}'."
    say "Install one, or name one: PYTHON=/path/to/python3.11 make ..."
    say "(with pyenv: PYENV_VERSION=3.12.1 PYTHON=python3.12 make ...)"
    return 2
}

# Set 'pip' to the command that installs: uv if it can be had (from PATH, or from
# the registry into a folder of its own), else the environment's own pip.
make_venv() {
    local python=$1 venv=$2 tool=$2/bootstrap
    export UV_PYTHON_DOWNLOADS=never
    rm -rf "${venv}"
    if uv --version >/dev/null 2>&1; then
        uv venv --quiet --python "${python}" "${venv}" && pip=(uv pip)
        return
    fi
    if ! "${python}" -m venv "${venv}"; then
        say "Python's venv module does not work (Debian: package python3-venv);"
        say "either install it or put uv on PATH (pip install --user uv)"
        return 2
    fi
    pip=("${venv}/bin/python" -m pip)
    if "${python}" -m venv "${tool}" &&
        "${tool}/bin/python" -m pip install --quiet uv >&2; then
        pip=("${tool}/bin/uv" pip)
    else
        say "uv cannot be had here; going on with plain pip (slower)"
    fi
}

install() {
    local python=$1 venv=$2 version=$3 pip=()
    local constraints=${root}/constraints/py${version/./}.txt
    say "making ${venv##*/} with ${python} (some minutes, once)"
    make_venv "${python}" "${venv}"
    VIRTUAL_ENV=${venv} "${pip[@]}" install --constraint "${constraints}" \
        --editable "${root}[mini,dev]" >&2
    ln -sfn "${venv##*/}" "${root}/.venv"
}

main() {
    local python version venv stamp
    python=$(choose_python)
    version=$(python_version "${python}")
    venv=${root}/.venv-${version}
    stamp=$(cat "${root}/pyproject.toml" \
        "${root}/constraints/py${version/./}.txt" | cksum)
    if [ "$(cat "${venv}/stamp" 2>/dev/null)" != "${stamp}" ]; then
        install "${python}" "${venv}" "${version}"
        echo "${stamp}" >"${venv}/stamp"
    fi
    export VIRTUAL_ENV=${venv} PATH=${venv}/bin:${PATH}
    exec "$@"
}

main "$@"
