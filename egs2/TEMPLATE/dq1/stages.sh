# shellcheck shell=bash
# One function per stage, all with the same rhythm: name what is read and written,
# then let espnet2_dq.bin.stage decide whether the command has to run.

# Options come from options.sh, the words of cmd.sh from the recipe.
# shellcheck disable=SC2154

# ------------------------------------------------------------------ helpers

io=() # arguments of bin.stage that say what the next stage reads and writes

input() { io+=("${@/#/--input=}"); }
input_if() { io+=("${@/#/--input_if=}"); }
output() { io+=("${@/#/--output=}"); }
output_if() { io+=("${@/#/--output_if=}"); }

# The files of a data directory; sound files are not read, wav.scp names them.
input_data() {
    input "$1"/{wav.scp,utt2spk,utt2lang,utt2num_samples}
    input_if "$1"/{text,phn.ctm}
}
input_audio() { input "$1"/{wav.scp,utt2lang,utt2num_samples}; }
output_data() {
    output "$1"/{wav.scp,utt2spk,spk2utt,utt2lang,utt2num_samples}
    output_if "$1"/{text,phn.ctm,text_rule}
}

# on_cluster WORDS GPUS LOG [JOBS]: the next command goes through words of cmd.sh
on_cluster() {
    local launcher
    read -ra launcher <<<"$1"
    if [ "$2" -gt 0 ]; then launcher+=(--gpu "$2"); fi
    io+=("${launcher[@]/#/--launcher=}" "--log=$3" "--jobs=${4:-0}")
}

# run_stage NAME AREA COMMAND...: the mark lies in AREA/.done
run_stage() {
    local name=$1 area=$2 force=false wanted
    shift 2
    for wanted in ${opt[force]//,/ }; do
        case ${wanted} in all | "${name}" | "${name#*_}") force=true ;; esac
    done
    "${DQ_PYTHON}" -m espnet2_dq.bin.stage --name "${name}" \
        --mark "${area}/.done/${name}.json" --force "${force}" \
        --dry_run "${opt[dry_run]}" "${io[@]}" -- "$@"
    io=()
}

# Set by --row (pretraining.sh): what is laid over train_config, and what runs.
overlay=() overlay_files=() flow=pretrain

# pretrains STAGE: say so and fail if the row has no pretraining
pretrains() {
    if [ "${flow}" = pretrain ]; then return 0; fi
    echo "stage $1: skip (row ${opt[row]} has no pretraining)"
    return 1
}

set_paths() {
    local prefix=${opt[work_dir]%/}/
    prefix=${prefix#./}
    data=${prefix}data dump=${prefix}dump
    units=${prefix}units/${opt[units]} exp=${prefix}exp/${opt[tag]}
    phonemes=${prefix}units/phn
    labelled=finetune_$(labelled_amount)
    labelled=${labelled/finetune_finetune_/finetune_}
    if [ -n "${opt[finetune_langs]}" ]; then
        labelled+=_${opt[finetune_langs]// /-}
    fi
    asr=${opt[asr_tag]:-$(asr_tag)}
    finetune=${exp}/finetune_${asr} decode=${exp}/decode_${asr}
    score=${exp}/score_${asr}
    device=cpu one_gpu=0
    if [ "${opt[ngpu]}" -gt 0 ]; then device=cuda one_gpu=1; fi
    read -ra langs <<<"${opt[langs]}"
    read -ra pretrain_args <<<"${opt[pretrain_args]}"
    read -ra finetune_args <<<"${opt[finetune_args]}"
    read -ra decode_args <<<"${opt[decode_args]}"
}

# How much is labelled, as a word for names: minutes, or the list's name.
labelled_amount() {
    local list=${opt[finetune_list]##*/}
    list=${list%.*}
    echo "${list:-${opt[finetune_minutes]}m}"
}

# Name of a fine-tuning: its units, and what is not as by default.
asr_tag() {
    local name=${opt[units]} amount
    amount=$(labelled_amount)
    if [ -n "${opt[finetune_langs]}" ]; then name+=_${opt[finetune_langs]// /-}; fi
    case ${amount} in
    "${default_minutes}m" | finetune_ids) ;;
    *) name+=_${amount} ;;
    esac
    if [ "${opt[init]}" = random ]; then name+=_random; fi
    echo "${name}"
}

# The exact command, once, for the report.
write_command() {
    local line
    line=$(printf ' %q' "$@")
    mkdir -p "${exp}"
    grep -qxF -- "./run.sh${line}" "${exp}/commands.txt" 2>/dev/null ||
        echo "./run.sh${line}" >>"${exp}/commands.txt"
}

# Set 'tests' (those given, or those that stage 1 made) and 'sets' (all).
find_sets() {
    local path
    read -ra tests <<<"${opt[test_sets]}"
    if [ ${#tests[@]} -eq 0 ]; then
        for path in "${data}"/test*/wav.scp; do
            path=${path%/wav.scp}
            tests+=("${path##*/}")
        done
    fi
    # Before stage 1 the pattern stands for itself.
    if [ "${tests[0]}" = "test*" ]; then tests=(test); fi
    sets=(train dev "${tests[@]}")
}

# needs_text STAGE: say so and fail if train has no transcripts; else set 'sets' and
# 'tests' to those that have some. Before stage 3 all are taken to have them.
needs_text() {
    local set labelled_sets=() labelled_tests=()
    find_sets
    if [ ! -e "${dump}/train/wav.scp" ]; then return 0; fi
    for set in "${sets[@]}"; do
        if [ -e "${dump}/${set}/text" ]; then
            labelled_sets+=("${set}")
            if [ "${set}" != train ] && [ "${set}" != dev ]; then
                labelled_tests+=("${set}")
            fi
        fi
    done
    sets=("${labelled_sets[@]}") tests=("${labelled_tests[@]}")
    if [ ! -e "${dump}/train/text" ]; then
        echo "stage $1: skip (${dump}/train has no text: pretraining only)"
        return 1
    fi
}

# Set 'training': options of both trainings.
training_options() {
    training=(--ngpu "${opt[ngpu]}" --seed "${opt[seed]}" --resume true)
    if [ "${opt[resume]}" = must ]; then training+=(--must_resume true); fi
    if [ "${opt[ngpu]}" -gt 1 ]; then
        training+=(--multiprocessing_distributed true)
    fi
}

# fresh DIR: a directory of an earlier run with other settings is moved aside,
# unless --resume must; an interrupted run of these settings goes on.
fresh() {
    case ${opt[resume]} in
    auto) io+=("--fresh=$1") ;;
    never) io+=("--fresh=$1" "--restart=true") ;;
    esac
}

# ------------------------------------------------------------- corpora (stage 1)

# corpus_NAME sets 'command' and names its inputs; a recipe adds its own in
# local/data.sh.
corpus_mini() {
    command=(prepare_mini --out "${data}" --scale "${opt[mini_scale]}"
        --train_hours "${opt[mini_hours]}" --seed "${opt[seed]}"
        --recorded "${opt[recorded]}" --recorded_dir "${MINI_RECORDED:-}")
    if [ ${#langs[@]} -gt 0 ]; then command+=(--langs "${langs[@]}"); fi
}

corpus_kaldi() {
    local path
    [ -n "${opt[data_root]}" ] ||
        die "--corpus kaldi needs --data_root DIR with DIR/train, DIR/dev, DIR/test"
    for path in "${opt[data_root]}"/{train,dev}; do
        [ -d "${path}" ] || die "--data_root: no directory ${path} (from ${PWD})"
    done
    command=(prepare_kaldi --data_root "${opt[data_root]}" --out "${whole:-${data}}"
        --max_reject_ratio "${opt[max_reject_ratio]}")
    if [ ${#langs[@]} -gt 0 ]; then command+=(--langs "${langs[@]}"); fi
    if [ -n "${opt[rule]:-}" ]; then command+=(--lang ko --rule plain); fi
    for path in "${opt[data_root]}"/{train,dev,test*}; do
        input "${path}/wav.scp" "${path}/utt2spk"
        input_if "${path}"/{text,segments,utt2lang,phn.ctm}
    done
}

# -------------------------------------------------------------------- stages 1-5

stage_data() {
    local command=()
    "corpus_${opt[corpus]}"
    output "${data}"
    run_stage 01_data "${data}" python -m "espnet2_dq.bin.${command[0]}" \
        "${command[@]:1}"
}

stage_check() {
    local set
    find_sets
    for set in "${sets[@]}"; do input_data "${data}/${set}"; done
    output "${dump}/check"
    run_stage 02_check "${dump}" python -m espnet2_dq.bin.check_data \
        --data "${data}" --sets "${sets[@]}" --out "${dump}/check" \
        --decode_share "${opt[decode_share]}" \
        --max_reject_ratio "${opt[max_reject_ratio]}"
}

stage_filter() {
    local set
    find_sets
    for set in "${sets[@]}"; do
        input_data "${data}/${set}"
        input "${dump}/check/${set}"
        output_data "${dump}/${set}"
    done
    output "${dump}/language_shares.json"
    run_stage 03_filter "${dump}" python -m espnet2_dq.bin.filter_data \
        --data "${data}" --sets "${sets[@]}" --check "${dump}/check" \
        --out "${dump}" --keep_unlabelled "${opt[keep_unlabelled]}" \
        --min_duration_s "${opt[min_duration_s]}" \
        --max_duration_s "${opt[max_duration_s]}"
}

stage_units() {
    needs_text 04_units || return 0
    make_units "${opt[units]}" "${units}"
    if [ -n "${opt[supervised_langs]}" ] && [ "${opt[units]}" != phn ]; then
        make_units phn "${phonemes}"
    fi
}

make_units() {
    local kind=$1 out=$2 set
    for set in "${sets[@]}"; do
        input "${dump}/${set}"/{text,utt2lang}
        output "${dump}/${set}/${kind}" "${dump}/${set}/${kind}.int"
    done
    output "${out}/tokens.txt"
    run_stage "04_units_${kind}" "${dump}" python -m espnet2_dq.bin.units \
        --dump "${dump}" --sets "${sets[@]}" --train_sets train \
        --kind "${kind}" --out "${out}"
}

stage_stats() {
    local set command=(python -m espnet2_dq.bin.stats --dump "${dump}")
    pretrains 05_stats || return 0
    find_sets
    command+=(--sets "${sets[@]}" --config "${opt[train_config]}" "${overlay[@]}")
    for set in "${sets[@]}"; do input_data "${dump}/${set}"; done
    input "${opt[train_config]}" "${overlay_files[@]}"
    output "${exp}/stats.json"
    run_stage 05_stats "${exp}" "${command[@]}" --out "${exp}/stats.json"
    if [ "${opt[dry_run]}" = true ] && [ -e "${dump}/train/wav.scp" ]; then
        "${DQ_PYTHON}" "${command[@]:1}" | tail -n 2 # what the run would cost
    fi
}

# -------------------------------------------------------------- pretraining (6-7)

stage_analyse() {
    pretrains 07_analyse || return 0
    find_sets
    analyse "${tests[0]}"
}

# analyse SET: what the codes of the pretrained model say on it
analyse() {
    input_data "${dump}/$1"
    input "${exp}/pretrain"/{latest.pth,config.yaml}
    output "${exp}/analysis/metrics.json"
    on_cluster "${cuda_cmd}" "${one_gpu}" "${exp}/analysis/analyse.log"
    run_stage 07_analyse "${exp}" python -m espnet2_dq.bin.analyse \
        --exp "${exp}/pretrain" --data_dir "${dump}/$1" \
        --out "${exp}/analysis" --device "${device}"
}

# ---------------------------------------------------------------- fine-tuning (8-9)

stage_subset() {
    needs_text 08_subset || return 0
    local command=(python -m espnet2_dq.bin.subset --data "${dump}/train"
        --out "${dump}/${labelled}" --seed "${opt[seed]}" --allow_less true)
    if [ -n "${opt[finetune_list]}" ]; then
        input "${opt[finetune_list]}"
        command+=(--list "${opt[finetune_list]}")
    else
        command+=(--minutes "${opt[finetune_minutes]}")
    fi
    if [ -n "${opt[finetune_langs]}" ]; then
        command+=(--langs "${opt[finetune_langs]}")
    fi
    input_data "${dump}/train"
    input "${dump}/train/${opt[units]}.int"
    output_data "${dump}/${labelled}"
    output "${dump}/${labelled}/${opt[units]}.int"
    run_stage "08_subset_${labelled}_${opt[units]}" "${dump}" "${command[@]}"
}

stage_finetune() {
    local training init=()
    needs_text 09_finetune || return 0
    training_options
    input_audio "${dump}/${labelled}"
    input_audio "${dump}/dev"
    input {"${dump}/${labelled}","${dump}/dev"}"/${opt[units]}.int"
    input "${units}/tokens.txt" "${opt[finetune_config]}"
    if [ "${opt[init]}" = pretrained ]; then
        input "${exp}/pretrain/latest.pth"
        init=(--init "${exp}/pretrain/latest.pth")
    else
        input "${opt[train_config]}"
        init=(--init random --architecture "${opt[train_config]}")
    fi
    output "${finetune}"/{latest.pth,config.yaml,log.jsonl}
    fresh "${finetune}"
    on_cluster "${cuda_cmd}" "${opt[ngpu]}" "${finetune}/train.log"
    run_stage "09_finetune_${asr}" "${exp}" python -m espnet2_dq.bin.ctc_train \
        --config "${opt[finetune_config]}" --output_dir "${finetune}" \
        --train_data "${dump}/${labelled}" --valid_data "${dump}/dev" \
        --units_dir "${units}" --unit "${opt[units]}" "${init[@]}" \
        "${training[@]}" "${finetune_args[@]}"
}

# --------------------------------------------------------------- evaluation (10-13)

stage_decode() {
    local set
    needs_text 10_decode || return 0
    for set in "${tests[@]}"; do decode_set "${set}" "${decode}/${set}"; done
}

decode_set() {
    local set=$1 out=$2 nj=${opt[nj]} mode=(--mode greedy) name command
    if [ "${opt[beam]}" -gt 1 ]; then mode=(--mode beam --beam_size "${opt[beam]}"); fi
    name=${asr}_${set}
    command=(python -m espnet2_dq.bin.decode --data_dir "${dump}/${set}" --out "${out}"
        --units "${opt[units]}" "${mode[@]}" --num_jobs "${nj}")
    input_audio "${dump}/${set}"
    input "${finetune}"/{latest.pth,config.yaml} "${units}/tokens.txt"
    input_if "${finetune}"/valid.*.best.pth
    if [ "${nj}" -eq 1 ]; then output "${out}/hyp"; fi
    on_cluster "${decode_cmd}" "${one_gpu}" "${out}/log/decode.JOB.log" "${nj}"
    run_stage "10_decode_${name}" "${exp}" "${command[@]}" --model_dir "${finetune}" \
        --token_list "${units}/tokens.txt" --ngpu "${one_gpu}" --job JOB \
        "${decode_args[@]}"
    if [ "${nj}" -gt 1 ]; then
        input "${out}/jobs"
        output "${out}/hyp"
        run_stage "10_merge_${name}" "${exp}" "${command[@]}" --merge true \
            "${decode_args[@]}"
    fi
}

stage_score() {
    local set
    needs_text 11_score || return 0
    for set in "${tests[@]}"; do
        input "${decode}/${set}/hyp" "${dump}/${set}"/{"${opt[units]}",utt2lang,utt2spk}
        output "${score}/${set}"/{scores.json,summary.txt}
        run_stage "11_score_${asr}_${set}" "${exp}" python -m espnet2_dq.bin.score \
            --hyp "${decode}/${set}/hyp" --data_dir "${dump}/${set}" \
            --units "${opt[units]}" --out "${score}/${set}"
    done
}

stage_report() {
    input_if "${exp}"/{pretrain,finetune_*}/{log,probe}.jsonl
    input_if "${exp}/analysis/metrics.json" "${exp}"/score_*/*/scores.json
    input_if "${dump}/language_shares.json" "${exp}/stats.json"
    output "${exp}/report"/{index.html,results.json}
    run_stage 12_report "${exp}" python -m espnet2_dq.bin.report --exp "${exp}" \
        --data "${data}" --dump "${dump}" --out "${exp}/report"
}

stage_pack() {
    input_if "${exp}"/{pretrain,finetune_*}/{latest.pth,config.yaml}
    input_if "${exp}"/finetune_*/valid.*.best.pth "${exp}/report/results.json"
    output "${exp}/pack"
    run_stage 13_pack "${exp}" python -m espnet2_dq.bin.pack --exp "${exp}" \
        --data "${data}" --dump "${dump}" --out "${exp}/pack"
}
