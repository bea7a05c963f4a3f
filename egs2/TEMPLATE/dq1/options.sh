# shellcheck shell=bash
# Options of a recipe: declared once, shown by --help, read by name from ${opt[...]}.

declare -A opt=() opt_help=()
declare -A given=() # options on the command line; rows leave these alone
opt_lines=() # in the order of declaration; a line that is no option is a heading

# heading TEXT: starts a group in --help
heading() { opt_lines+=("# $1"); }

# option NAME DEFAULT HELP
option() {
    opt_lines+=("$1")
    opt[$1]=$2
    opt_help[$1]=$3
}

print_help() {
    local line
    echo "usage: ./run.sh [--option VALUE]..."
    for line in "${opt_lines[@]}"; do
        if [ -z "${opt_help[${line}]+known}" ]; then
            printf '\n%s\n' "${line#\# }"
        else
            printf '  --%-20s %s%s\n' "${line}" "${opt_help[${line}]}" \
                "${opt[${line}]:+ (default: ${opt[${line}]})}"
        fi
    done
}

die() {
    echo "run.sh: $*" >&2
    exit 2
}

# Refuse NAME and name the nearest known option.
unknown_option() {
    # shellcheck disable=SC2154
    PYTHONPATH=${template}/../../..${PYTHONPATH:+:${PYTHONPATH}} \
        "${DQ_PYTHON:-python3}" -c '
import sys
from espnet2_dq.config import unknown_key_message
print(unknown_key_message(sys.argv[1], sys.argv[2:], "run.sh options"))
' "$1" "${!opt[@]}" >&2 || true
    die "unknown option --$1 (./run.sh --help lists all)"
}

# parse_options ARG...: --name VALUE, --name=VALUE; '-' in a name is '_'.
parse_options() {
    local name value
    while [ $# -gt 0 ]; do
        case $1 in
        --help | -h) print_help && exit 0 ;;
        --?*=*) name=${1%%=*} value=${1#*=} && shift ;;
        --?*)
            name=$1
            [ $# -gt 1 ] || die "option $1 needs a value"
            value=$2 && shift 2
            ;;
        *) die "unexpected word '$1': options are --name VALUE" ;;
        esac
        name=${name#--} name=${name//-/_}
        [ -n "${opt[${name}]+known}" ] || unknown_option "${name}"
        opt[${name}]=${value}
        # shellcheck disable=SC2034
        given[${name}]=true
    done
}

# require_one_of NAME WORD...: the option's value must be one of the words
require_one_of() {
    local name=$1 word
    shift
    for word in "$@"; do
        [ "${opt[${name}]}" != "${word}" ] || return 0
    done
    die "--${name} '${opt[${name}]}' is not one of: $*"
}

# require_number NAME...: whole numbers
require_number() {
    local name
    for name in "$@"; do
        [[ ${opt[${name}]} =~ ^[0-9]+$ ]] ||
            die "--${name} '${opt[${name}]}' is not a whole number"
    done
}
