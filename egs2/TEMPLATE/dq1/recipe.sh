# shellcheck shell=bash disable=SC2034,SC2154
# What all recipes share: options of every run, the environment, the loop over stages.
# A recipe declares its own options and values (recipe_options, check_recipe_options).

stage_names=(data check filter units stats pretrain analyse subset finetune decode
    score report pack)

declare_options() {
    heading "What to run"
    option stage 1 "first stage: 1-13 or its name (${stage_names[*]})"
    option stop_stage 13 "last stage"
    option dry_run false "true: say what would run and why; touch nothing"
    option force "" "stages to run though they are done: names, or all"
    option tag dq "name of the experiment: exp/<tag>"
    option work_dir . "where data, dump, units and exp are made"
    option resume auto "trainings: auto (an interrupted run), must or never"
    option seed 0 "seed of every stage"
    option python "" "interpreter (default: the active environment's, or .venv)"

    heading "Machine"
    option nj 1 "parallel jobs of stage 10"
    option ngpu auto "GPUs of one training or decoding job; auto: 1 if there is one"

    recipe_options
}

# Values that depend on others, and values that cannot be.
check_options() {
    require_one_of dry_run true false
    require_one_of resume auto must never
    require_one_of keep_unlabelled true false
    require_one_of init pretrained random
    declare -F "corpus_${opt[corpus]}" >/dev/null ||
        die "--corpus '${opt[corpus]}' is not one of: $(known_corpora)"
    require_number seed nj beam
    if [ "${opt[ngpu]}" = auto ]; then
        opt[ngpu]=0
        if nvidia-smi -L >/dev/null 2>&1; then opt[ngpu]=1; fi
    fi
    require_number ngpu
    opt["stage"]=$(stage_number "${opt[stage]}")
    opt["stop_stage"]=$(stage_number "${opt[stop_stage]}")
    check_recipe_options
}

# Names of the corpus_NAME functions.
known_corpora() {
    local line
    declare -F | while read -r line; do
        case ${line} in *" corpus_"*) printf '%s ' "${line##* corpus_}" ;; esac
    done
}

# A corpus that is not there is an error before anything is written.
check_corpus() {
    local command=()
    "corpus_${opt[corpus]}"
    io=()
}

set_default() { [ -n "${opt[$1]}" ] || opt[$1]=$2; }

# stage_number WORD: 1-13 for a number or a name
stage_number() {
    local index
    for index in "${!stage_names[@]}"; do
        if [ "$1" = "$((index + 1))" ] || [ "$1" = "${stage_names[index]}" ]; then
            echo "$((index + 1))" && return
        fi
    done
    die "stage '$1' is neither 1-13 nor one of: ${stage_names[*]}"
}

# The interpreter must have what the package depends on; say how to get it.
check_python() {
    "${DQ_PYTHON}" -c 'import espnet2_dq, importlib.util as u
assert all(map(u.find_spec, ("espnet2", "torch", "soundfile")))' 2>/dev/null ||
        die "${DQ_PYTHON:-python3} has no espnet2_dq with what it needs: 'make env'" \
            "in the repository, or pip install, or name another with --python"
}

# What to look at when all is done.
summary() {
    local file
    if [ "${opt[dry_run]}" = true ]; then
        echo "A stage that is done now runs again if an earlier one changes its input."
        return
    fi
    for file in "${score}"/*/summary.txt "${exp}/report/index.html"; do
        if [ ! -e "${file}" ]; then continue; fi
        case ${file} in
        *.txt) echo "${file%/*}:" && cat "${file}" ;;
        *) echo "report: $(cd "${file%/*}" && pwd)/${file##*/}" ;;
        esac
    done
}

main() {
    local number file
    declare_options
    parse_options "$@"
    if [ -n "${opt[python]}" ]; then export DQ_PYTHON=${opt[python]}; fi
    # shellcheck source=path.sh
    . ./path.sh
    # shellcheck source=cmd.sh
    . ./cmd.sh
    # shellcheck source=/dev/null
    for file in db.sh local/data.sh; do if [ -f "${file}" ]; then . "./${file}"; fi; done
    check_python
    check_options
    set_paths
    if [ "${opt["stage"]}" -eq 1 ]; then check_corpus; fi
    if [ "${opt[dry_run]}" = false ]; then write_command "$@"; fi
    for ((number = opt[stage]; number <= opt[stop_stage]; number++)); do
        "stage_${stage_names[number - 1]}"
    done
    summary
}
