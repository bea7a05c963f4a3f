# shellcheck shell=bash disable=SC2034,SC2154
# Rows of the tables, and stage 6: one pretraining, or two of which the second starts
# from the first.

# What conf/tables.yaml says of --row: its overlays, and options that were not given.
first_overlay=() first_overlay_files=()
read_row() {
    local lines key value name
    if [ -z "${opt[row]}${opt[first_stage]}" ]; then return 0; fi
    lines=$("${DQ_PYTHON}" -m espnet2_dq.bin.rows --row "${opt[row]}" \
        --first_stage "${opt[first_stage]}") || die "--row '${opt[row]}': see above"
    while read -r key value; do
        case ${key} in
        flow) flow=${value} ;;
        overlay) overlay=(--overlay "${value}") ;;
        first_overlay) first_overlay=(--overlay "${value}") ;;
        input) overlay_files+=("${value}") ;;
        first_input) first_overlay_files+=("${value}") ;;
        option)
            name=${value%% *} value=${value#* }
            [ -n "${opt[${name}]+known}" ] || unknown_option "${name}"
            [ -n "${given[${name}]+known}" ] || opt["${name}"]=${value}
            ;;
        esac
    done <<<"${lines}"
    case ${flow} in
    pretrain | random) ;;
    *) die "--row ${opt[row]} works on the run of another row: ./tables.sh runs both" ;;
    esac
}

# With --first_stage a model of its own, in exp/<tag>/first, from which the row's starts.
stage_pretrain() {
    local start=${opt[init_from]} supervised=${opt[supervised_langs]} options=()
    pretrains 06_pretrain || return 0
    if [ -n "${opt[first_stage]}" ]; then
        input "${first_overlay_files[@]}"
        options=("${first_overlay[@]}")
        pretrain first "${opt[first_langs]}" "${supervised}" "${start}"
        start=${exp}/first supervised=
    fi
    input "${overlay_files[@]}"
    options=("${overlay[@]}")
    pretrain pretrain "${opt[pretrain_langs]}" "${supervised}" "${start}"
}

# pretrain NAME LANGS SUPERVISED_LANGS INIT_FROM: with 'options', into exp/<tag>/NAME
pretrain() {
    local name=$1 langs=$2 supervised=$3 start=$4 out=${exp}/$1
    local from=${dump} given_io=("${io[@]}") training probe=()
    io=()
    if [ -n "${langs}" ]; then
        from=${exp}/data_${name}
        choose_languages "${name}" "${langs}" "${supervised}"
    fi
    io=("${given_io[@]}")
    training_options
    input_audio "${from}/train"
    input_audio "${from}/dev"
    input "${opt[train_config]}"
    output "${out}"/{latest.pth,config.yaml,log.jsonl}
    output_if "${out}/probe.jsonl"
    if [ "${opt[probe]}" = true ] && [ -e "${dump}/dev/phn.ctm" ]; then
        input "${dump}"/{train,dev}/phn.ctm
        probe=(--probe_train "${dump}/train" --probe_test "${dump}/dev")
    fi
    if [ -n "${supervised}" ]; then
        input "${from}/train/phn.int" "${phonemes}/tokens.txt"
        input_if "${from}/dev/phn.int"
        read -ra supervised <<<"${supervised}"
        options+=(--supervised_langs "${supervised[@]}")
        options+=(--token_list "${phonemes}/tokens.txt")
    fi
    if [ -n "${start}" ]; then
        input_model "${start}"
        options+=(--init_from "${start}")
    fi
    fresh "${out}"
    on_cluster "${cuda_cmd}" "${opt[ngpu]}" "${out}/train.log"
    run_stage "06_${name}" "${exp}" python -m espnet2_dq.bin.ssl_train \
        --config "${opt[train_config]}" --output_dir "${out}" \
        --train_data "${from}/train" --valid_data "${from}/dev" \
        "${probe[@]}" "${options[@]}" "${training[@]}" "${pretrain_args[@]}"
}

# A run of ours is known by two files: its logs may be newer. The first stage's are not
# there yet in a dry run.
input_model() {
    if [ -e "$1/latest.pth" ] || [ "$1" = "${exp}/first" ]; then
        input "$1"/{latest.pth,config.yaml}
    else
        input "$1"
    fi
}

# choose_languages NAME LANGS SUPERVISED_LANGS: into exp/<tag>/data_NAME; LANGS may be
# "not en"
choose_languages() {
    local set out chosen=(--langs "$2")
    case $2 in "not "*) chosen=(--not_langs "${2#not }") ;; esac
    for set in train dev; do
        out=${exp}/data_$1/${set}
        input_data "${dump}/${set}"
        output_data "${out}"
        if [ -n "$3" ]; then
            input_if "${dump}/${set}/phn.int"
            output_if "${out}/phn.int"
        fi
        run_stage "06_languages_$1_${set}" "${exp}" python -m espnet2_dq.bin.subset \
            --data "${dump}/${set}" --out "${out}" --unlabelled true "${chosen[@]}"
    done
}
