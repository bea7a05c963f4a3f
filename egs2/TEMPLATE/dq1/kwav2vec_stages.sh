# shellcheck shell=bash disable=SC2034,SC2154
# What the Korean recipe does otherwise than stages.sh: a source model, two streams of
# units, a model with two heads, decoding modes.

set_paths() {
    local prefix=${opt[work_dir]%/}/
    prefix=${prefix#./}
    data=${prefix}data dump=${prefix}dump
    units=${prefix}units exp=${prefix}exp/${opt[tag]}
    source_model=${prefix}exp/english
    whole=${data} # what stage 1 wrote before silences were cut out
    if [ "${opt[remove_silence]}" = true ]; then whole=${data}_whole; fi
    labelled=train
    if [ -n "${opt[finetune_list]}" ] || [ "${opt[finetune_minutes]}" != all ]; then
        labelled=finetune_$(labelled_amount)
    fi
    asr=${opt[asr_tag]:-$(asr_tag)}
    finetune=${exp}/finetune_${asr} decode=${exp}/decode_${asr}
    score=${exp}/score_${asr}
    device=cpu one_gpu=0
    if [ "${opt[ngpu]}" -gt 0 ]; then device=cuda one_gpu=1; fi
    langs=()
    read -ra heads <<<"${opt[heads]}"
    read -ra modes <<<"${opt[modes]}"
    read -ra pretrain_args <<<"${opt[pretrain_args]}"
    read -ra source_args <<<"${opt[source_args]}"
    read -ra finetune_args <<<"${opt[finetune_args]}"
    read -ra decode_args <<<"${opt[decode_args]}"
    init_from=${opt[init_from]}
    if [ "${opt[corpus]}" = mini ] && [ -z "${init_from}" ]; then
        init_from=${source_model}/hf
    fi
}

# Name of a fine-tuning: its heads, and what is not as by default.
asr_tag() {
    local name=multi
    if [ "${opt[heads]}" != "grapheme syllable" ]; then name=${opt[heads]}; fi
    if [ "${labelled}" != train ]; then name+=_${labelled#finetune_}; fi
    if [ "${opt[init]}" = random ]; then name+=_random; fi
    echo "${name}"
}

# The units of a set, one file per head.
input_units() {
    local head
    for head in "${heads[@]}"; do input "$1/${head}.int"; done
}

# ------------------------------------------------------------- corpora (stage 1)

corpus_mini() {
    command=(prepare_mini_korean --out "${whole}" --scale "${opt[mini_scale]}"
        --train_hours "${opt[mini_hours]}" --english_hours "${opt[english_hours]}"
        --rule "${opt[rule]}" --seed "${opt[seed]}")
}

# --------------------------------------------------------------------- stages 1-4

# Cutting out long silences makes another corpus: training and test sets alike.
stage_data() {
    local command=()
    "corpus_${opt[corpus]}"
    output "${whole}"
    run_stage 01_data "${whole}" python -m "espnet2_dq.bin.${command[0]}" \
        "${command[@]:1}"
    if [ "${whole}" = "${data}" ]; then return 0; fi
    input "${whole}"
    output "${data}"
    run_stage 01_silence "${data}" python -m espnet2_dq.bin.remove_silence \
        --data "${whole}" --out "${data}"
}

stage_units() {
    local set kind
    needs_text 04_units || return 0
    for kind in grapheme syllable; do
        for set in "${sets[@]}"; do
            input "${dump}/${set}"/{text,utt2lang}
            output "${dump}/${set}/${kind}" "${dump}/${set}/${kind}.int"
        done
        output "${units}/${kind}/tokens.txt"
        run_stage "04_units_${kind}" "${dump}" python -m espnet2_dq.bin.units \
            --dump "${dump}" --sets "${sets[@]}" --train_sets train \
            --kind "${kind}" --out "${units}/${kind}"
    done
}

# -------------------------------------------------------------- pretraining (6-7)

stage_pretrain() {
    if [ "${opt[pretraining]}" = none ]; then
        echo "stage 06_pretrain: skip (--pretraining none)"
        return 0
    fi
    if [ "${init_from}" = "${source_model}/hf" ]; then pretrain_source; fi
    local training init=()
    training_options
    input_audio "${dump}/train"
    input_audio "${dump}/dev"
    input "${opt[train_config]}"
    if [ "${opt[pretraining]}" = further ]; then
        input "${init_from}"
        init=(--init_from "${init_from}")
    fi
    output "${exp}/pretrain"/{latest.pth,config.yaml,log.jsonl}
    fresh "${exp}/pretrain"
    on_cluster "${cuda_cmd}" "${opt[ngpu]}" "${exp}/pretrain/train.log"
    run_stage 06_pretrain "${exp}" python -m espnet2_dq.bin.ssl_train \
        --config "${opt[train_config]}" --output_dir "${exp}/pretrain" \
        --train_data "${dump}/train" --valid_data "${dump}/dev" \
        "${init[@]}" "${training[@]}" "${pretrain_args[@]}"
}

# No public checkpoint is at hand: mini makes its own English model, and hands it on
# as users hand on theirs, in Hugging Face's form.
pretrain_source() {
    local training
    training_options
    input_audio "${whole}/english/train"
    input_audio "${whole}/english/dev"
    input "${opt[train_config]}"
    output "${source_model}/pretrain"/{latest.pth,config.yaml,log.jsonl}
    fresh "${source_model}/pretrain"
    on_cluster "${cuda_cmd}" "${opt[ngpu]}" "${source_model}/pretrain/train.log"
    run_stage 06_source "${source_model}" python -m espnet2_dq.bin.ssl_train \
        --config "${opt[train_config]}" --output_dir "${source_model}/pretrain" \
        --train_data "${whole}/english/train" --valid_data "${whole}/english/dev" \
        "${training[@]}" "${source_args[@]}"
    input "${source_model}/pretrain"/{latest.pth,config.yaml}
    output "${source_model}/hf"
    run_stage 06_source_hf "${source_model}" python -m espnet2_dq.bin.export_hf \
        --exp_dir "${source_model}/pretrain" --out "${source_model}/hf"
}

stage_analyse() {
    if [ "${opt[pretraining]}" = none ]; then
        echo "stage 07_analyse: skip (--pretraining none)"
        return 0
    fi
    analyse dev
}

# ---------------------------------------------------------------- fine-tuning (8-9)

stage_subset() {
    needs_text 08_subset || return 0
    local command=(python -m espnet2_dq.bin.subset --data "${dump}/train"
        --out "${dump}/${labelled}" --seed "${opt[seed]}" --allow_less true)
    if [ "${labelled}" = train ]; then
        echo "stage 08_subset: skip (all of train is labelled)"
        return 0
    fi
    if [ -n "${opt[finetune_list]}" ]; then
        input "${opt[finetune_list]}"
        command+=(--list "${opt[finetune_list]}")
    else
        command+=(--minutes "${opt[finetune_minutes]}")
    fi
    input_data "${dump}/train"
    input "${dump}/train"/{grapheme,syllable}.int
    output_data "${dump}/${labelled}"
    output "${dump}/${labelled}"/{grapheme,syllable}.int
    run_stage "08_subset_${labelled}" "${dump}" "${command[@]}"
}

stage_finetune() {
    local training init=() head
    needs_text 09_finetune || return 0
    training_options
    input_audio "${dump}/${labelled}"
    input_audio "${dump}/dev"
    input_units "${dump}/${labelled}"
    input_units "${dump}/dev"
    for head in "${heads[@]}"; do input "${units}/${head}/tokens.txt"; done
    input "${opt[finetune_config]}"
    if [ "${opt[init]}" = random ]; then
        input "${opt[train_config]}"
        init=(--init random --architecture "${opt[train_config]}")
    elif [ "${opt[pretraining]}" = none ]; then
        [ -n "${init_from}" ] || die "--pretraining none: give --init_from or --init random"
        input "${init_from}"
        init=(--init "${init_from}")
    else
        input "${exp}/pretrain/latest.pth"
        init=(--init "${exp}/pretrain/latest.pth")
    fi
    output "${finetune}"/{latest.pth,config.yaml,log.jsonl}
    fresh "${finetune}"
    on_cluster "${cuda_cmd}" "${opt[ngpu]}" "${finetune}/train.log"
    run_stage "09_finetune_${asr}" "${exp}" python -m espnet2_dq.bin.hier_train \
        --config "${opt[finetune_config]}" --output_dir "${finetune}" \
        --train_data "${dump}/${labelled}" --valid_data "${dump}/dev" \
        --units_dir "${units}" --heads "${heads[@]}" "${init[@]}" \
        "${training[@]}" "${finetune_args[@]}"
}

# --------------------------------------------------------------- evaluation (10-13)

stage_decode() {
    local set tuned=()
    needs_text 10_decode || return 0
    if [ "${opt[weight]}" = tuned ] && [ ${#heads[@]} -eq 2 ]; then
        tune_weights
        tuned=(--tuned "${decode}/weights.json")
    elif [ "${opt[weight]}" != tuned ]; then
        tuned=(--weight "${opt[weight]}")
    fi
    for set in "${tests[@]}"; do decode_set "${set}" "${decode}/${set}"; done
}

# The weight between the heads is chosen on dev, never on a test set.
tune_weights() {
    local tuned=() mode wanted=() posteriors=${decode}/posteriors/dev
    for mode in "${modes[@]}"; do
        case ${mode} in merge | rescore | joint) wanted+=("${mode}") ;; esac
    done
    if [ ${#wanted[@]} -eq 0 ]; then wanted=(rescore); fi
    local modes=(greedy_syllable)
    decode_set dev "${decode}/dev" --save_posteriors "${posteriors}"
    input "${decode}/dev/greedy_syllable/hyp" "${dump}/dev/text"
    output "${decode}/weights.json"
    run_stage "10_tune_${asr}" "${exp}" python -m espnet2_dq.bin.tune_weight \
        --posteriors "${posteriors}" --data_dir "${dump}/dev" \
        --modes "${wanted[@]}" --beam_size "${opt[beam]}" --out "${decode}/weights.json"
}

# decode_set SET OUT [OPTION...]
decode_set() {
    local set=$1 out=$2 nj=${opt[nj]} name=${asr}_$1 mode command
    shift 2
    command=(python -m espnet2_dq.bin.decode_korean --data_dir "${dump}/${set}"
        --out "${out}" --modes "${modes[@]}" --beam_size "${opt[beam]}"
        --num_jobs "${nj}")
    input_audio "${dump}/${set}"
    input "${finetune}"/{latest.pth,config.yaml}
    input_if "${finetune}"/valid.*.best.pth
    if [ ${#tuned[@]} -gt 0 ] && [ "${tuned[0]}" = --tuned ]; then
        input "${tuned[1]}"
    fi
    if [ "${nj}" -eq 1 ]; then output "${modes[@]/#/${out}/}"; fi
    on_cluster "${decode_cmd}" "${one_gpu}" "${out}/log/decode.JOB.log" "${nj}"
    run_stage "10_decode_${name}" "${exp}" "${command[@]}" --model_dir "${finetune}" \
        --units_dir "${units}" --ngpu "${one_gpu}" --job JOB "${tuned[@]}" "$@" \
        "${decode_args[@]}"
    if [ "${nj}" -gt 1 ]; then
        for mode in "${modes[@]}"; do input "${out}/${mode}/jobs"; done
        output "${modes[@]/#/${out}/}"
        run_stage "10_merge_${name}" "${exp}" "${command[@]}" --merge true \
            "${decode_args[@]}"
    fi
}

stage_score() {
    local set mode
    needs_text 11_score || return 0
    for set in "${tests[@]}"; do
        for mode in "${modes[@]}"; do
            input "${decode}/${set}/${mode}/hyp" "${dump}"/{"${set}",train}/text
            output "${score}/${set}/${mode}"/{scores.json,summary.txt}
            run_stage "11_score_${asr}_${set}_${mode}" "${exp}" \
                python -m espnet2_dq.bin.score_korean --data_dir "${dump}/${set}" \
                --hyp "${decode}/${set}/${mode}/hyp" \
                --train_text "${dump}/${labelled}/text" --out "${score}/${set}/${mode}"
        done
    done
}
